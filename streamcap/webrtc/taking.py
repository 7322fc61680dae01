"""What aiortc does not show: encoded frames before it decodes them, and that a receiver asks for a key frame.

``RTCRtpReceiver`` hands whole encoded frames, in order and with lost packets asked for again, to a decoder thread
through a queue of its own. There is no public way to have them, so the queue is put in place of that one: a private
name, of releases that are named in ``pyproject.toml`` and looked at by ``tests/unit/test_webrtc_taking.py``.
"""

from __future__ import annotations

import logging
import queue
import time
from typing import TYPE_CHECKING, Any, Final

from streamcap.sources.ports import CODECS, EncodedFrame, Publication, is_key

if TYPE_CHECKING:
    from aiortc import RTCRtpReceiver, RTCRtpSender

__all__ = ["ask_key", "key_was_asked", "take_frames"]

logger = logging.getLogger(__name__)

_QUEUE: Final = "_RTCRtpReceiver__decoder_queue"
_ERROR: Final = "_RTCRtpReceiver__decoder_error"
_KEY_ASKED: Final = "_RTCRtpSender__force_keyframe"


class _Diverted(queue.Queue[Any]):
    """Puts frames into a publication; the decoder thread gets nothing but the word to end."""

    def __init__(self, publication: Publication) -> None:
        super().__init__()
        self._publication = publication

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is None:  # the sender said good-bye, or the connection is closed
            super().put(None)
            self._publication.close()
            return
        codec, frame = item
        name = codec.name.lower()
        if name not in CODECS:
            return
        self._publication.put(
            EncodedFrame(name, frame.data, frame.timestamp, is_key(name, frame.data), time.monotonic())
        )


def take_frames(receiver: RTCRtpReceiver, publication: Publication) -> None:
    """Have all frames of a receiver that has not begun go into a publication, on the event loop's thread."""
    if not (hasattr(receiver, _QUEUE) and hasattr(receiver, _ERROR)):
        raise RuntimeError("this release of aiortc is made otherwise than those that are known")
    setattr(receiver, _QUEUE, _Diverted(publication))


def ask_key(receiver: RTCRtpReceiver) -> None:
    """Ask the sender for a key frame, with the next packet of it that comes (RFC 4585, 6.3.1)."""
    getattr(receiver, _ERROR).set()


def key_was_asked(sender: RTCRtpSender) -> bool:
    """True once after the receiver has asked for a key frame. aiortc tells that to encoders of its own alone."""
    asked = bool(getattr(sender, _KEY_ASKED))
    setattr(sender, _KEY_ASKED, False)
    return asked
