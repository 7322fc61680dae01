"""The analysed frames of a stream for all who watch it, encoded once for all of them while there are some."""

from __future__ import annotations

import asyncio
import logging
import time
from fractions import Fraction
from typing import Final

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from streamcap.frames import View
from streamcap.sources.ports import CLOCK, EncodedFrame
from streamcap.types import Frame
from streamcap.webrtc.broadcast import Broadcast

__all__ = ["CODEC", "EncodedBroadcast"]

logger = logging.getLogger(__name__)

CODEC: Final = "vp8"  # every browser decodes it (RFC 7742), and FFmpeg's own libvpx encodes it
BIT_RATE: Final = 1_200_000  # of at most 1280 pixels at 5 frames a second
KEY_EVERY: Final = 50  # frames, where nobody asks for one
_OPTIONS: Final = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"}


class EncodedBroadcast(Broadcast):
    """What the captioner sees, as VP8.

    Args:
        view: the analysed frames.
    """

    def __init__(self, view: View) -> None:
        super().__init__(CODEC)
        self._view = view
        self._key_asked = True
        self._encoder: _Encoder | None = None

    def ask_key(self) -> None:
        """The next frame is one."""
        self._key_asked = True

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        try:
            while not self._view.closed:
                await self._view.fresh(number)
                frame, number = self._view.frame, self._view.number
                if frame is None:
                    continue
                key, self._key_asked = self._key_asked, False
                for encoded in await loop.run_in_executor(None, self._encoded, frame, key):
                    self._hand_out(encoded)
        except av.FFmpegError as error:
            logger.warning("frames cannot be encoded for viewers: %s", error)

    def _encoded(self, frame: Frame, key: bool) -> list[EncodedFrame]:
        """One frame in, what the encoder gives out; in a worker thread, one call at a time."""
        height, width = frame.image.shape[:2]
        if self._encoder is None or self._encoder.size != (width, height):
            self._encoder = _Encoder(width, height)
        return self._encoder.encode(frame, key=key)


class _Encoder:
    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        context = av.CodecContext.create("libvpx", "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height = width, height
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, CLOCK)
        context.bit_rate = BIT_RATE
        context.gop_size = KEY_EVERY
        context.options = dict(_OPTIONS)
        self._context = context
        self._last = -1

    def encode(self, frame: Frame, *, key: bool) -> list[EncodedFrame]:
        picture = VideoFrame.from_ndarray(frame.image, format="rgb24").reformat(format="yuv420p", threads=1)
        self._last = max(self._last + 1, round(frame.pts * CLOCK))
        picture.pts, picture.time_base = self._last, Fraction(1, CLOCK)
        picture.pict_type = PictureType.I if key else PictureType.NONE
        return [
            EncodedFrame(CODEC, bytes(packet), packet.pts or self._last, packet.is_keyframe, time.monotonic())
            for packet in self._context.encode(picture)
        ]
