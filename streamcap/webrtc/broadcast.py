"""One stream's video for all who watch it by WebRTC: encoded once, by its publisher or here.

What a publisher sends is passed on as it is. Of every other source the analysed frames are encoded, once for all
viewers, from the first viewer's coming to the last one's leaving.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from fractions import Fraction
from typing import Final

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from streamcap.frames import View
from streamcap.sources.ports import EncodedFrame, Port, Publication
from streamcap.types import Frame

__all__ = ["Broadcast", "Seat"]

logger = logging.getLogger(__name__)

# A viewer whose network is slower than the video loses what is older, and begins again with a key frame.
WAITING_FRAMES: Final = 90
CODEC: Final = "vp8"  # every browser decodes it (RFC 7742), and FFmpeg's own libvpx encodes it
CLOCK: Final = 90_000
BIT_RATE: Final = 1_200_000  # of at most 1280 pixels at 5 frames a second
KEY_EVERY: Final = 50  # frames, where nobody asks for one
_OPTIONS: Final = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"}


class Seat:
    """One viewer's frames."""

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast
        self._frames: deque[EncodedFrame] = deque()
        self._ready = asyncio.Event()
        self._needs_key = True

    def put(self, frame: EncodedFrame | None) -> None:
        """Take a frame, or None for the end. Never waits."""
        if frame is not None:
            if len(self._frames) >= WAITING_FRAMES:
                self._frames.clear()
                self._needs_key = True
            if self._needs_key and not frame.key:
                self.ask_key()
                return
            self._needs_key = False
            self._frames.append(frame)
        self._ready.set()

    async def get(self) -> EncodedFrame | None:
        """The next frame, None at the end. Cancellation loses nothing."""
        while not self._frames:
            if self._broadcast.over.is_set():
                return None
            self._ready.clear()
            await self._ready.wait()
        return self._frames.popleft()

    def ask_key(self) -> None:
        """Have the next frame be a key frame, as soon as that can be."""
        self._broadcast.ask_key()


class Broadcast:
    """The video of one stream, for as long as somebody watches. For one event loop.

    Args:
        port: where a publisher of the stream would come in.
        view: its analysed frames.

    Attributes:
        codec: of all its frames.
        over: set once no more frames come.
    """

    def __init__(self, port: Port, view: View) -> None:
        self._view = view
        self._seats: set[Seat] = set()
        self._key_asked = True
        self._encoder: _Encoder | None = None
        self.over = asyncio.Event()
        publication = port.publication
        self._publication = publication if publication is not None and publication.codec else None
        self.codec = self._publication.codec if self._publication is not None else CODEC

    @property
    def watched(self) -> bool:
        """True while somebody has a seat."""
        return bool(self._seats)

    def sit(self) -> Seat:
        """A place for one more viewer."""
        seat = Seat(self)
        self._seats.add(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """Give a place back. Idempotent."""
        self._seats.discard(seat)

    def ask_key(self) -> None:
        """See ``Seat.ask_key``."""
        if self._publication is not None:
            self._publication.ask_key()
        self._key_asked = True

    async def run(self) -> None:
        """Serve the seats until the stream has no more video, or this is cancelled: then all of them end."""
        try:
            if self._publication is not None:
                await self._relay(self._publication)
            else:
                await self._encode()
        finally:
            self.over.set()
            self._hand_out(None)

    async def _relay(self, publication: Publication) -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def take(frame: EncodedFrame | None) -> None:
            if frame is None or frame.codec != self.codec:  # another codec needs another answer
                loop.call_soon_threadsafe(ended.set)
            else:
                self._hand_out(frame)

        stop = publication.listen(take)
        try:
            await ended.wait()
        finally:
            stop()

    async def _encode(self) -> None:
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

    def _hand_out(self, frame: EncodedFrame | None) -> None:
        for seat in self._seats:
            seat.put(frame)


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
