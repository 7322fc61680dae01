"""The newest analysed frame of a stream, as JPEG for any number of viewers: one encoding for all of one width."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from streamcap.frames.jpeg import narrowed, to_jpeg
from streamcap.types import Frame

__all__ = ["WIDTHS", "View", "ViewPicture"]

# Widths that are made, in pixels: each asked for is rounded up to one of them, so that a frame is encoded six times at
# most, however many viewers there are and whatever they ask for.
WIDTHS: Final = (160, 320, 480, 640, 960, 1280)


@dataclass(frozen=True, slots=True)
class ViewPicture:
    """A frame as JPEG.

    Attributes:
        number: counts the frames of the view; two pictures of one number and width are equal.
        t: media seconds.
        captured_at: Unix seconds.
        width: as asked for, rounded up; the picture itself may be narrower.
    """

    number: int
    t: float
    captured_at: float
    width: int
    jpeg: bytes


class View:
    """The newest frame of one stream. Lives as long as the stream does, over pauses and reconnects.

    To be used on the event loop's thread only. It holds one frame, and the encodings of that frame that were asked for.
    """

    def __init__(self) -> None:
        self._frame: Frame | None = None
        self._number = 0
        self._encoded: dict[int, asyncio.Future[ViewPicture]] = {}
        self._fresh = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        """True once no more frames will come."""
        return self._closed

    @property
    def number(self) -> int:
        """Number of the newest frame; 0 where there was none yet."""
        return self._number

    @property
    def frame(self) -> Frame | None:
        """The newest frame itself, None where there was none yet."""
        return self._frame

    def show(self, frame: Frame) -> None:
        """Take the newest frame; who waits for one is woken."""
        self._frame = frame
        self._number += 1
        self._encoded = {}
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()

    def close(self) -> None:
        """No more frames come; who waits for one is woken."""
        self._closed = True
        self._fresh.set()

    async def fresh(self, after: int) -> None:
        """Return once there is a frame with a number above ``after``, or the view is closed. May be cancelled."""
        while self._number <= after and not self._closed:
            await self._fresh.wait()

    async def picture(self, width: int, workers: Executor | None = None) -> ViewPicture | None:
        """The newest frame as JPEG, None where there was none yet. Cancelled, the encoding goes on for the others.

        Args:
            width: pixels at most, rounded up to one of ``WIDTHS``.
            workers: where it is encoded; None for the event loop's own threads.
        """
        frame = self._frame
        if frame is None:
            return None
        width = next((each for each in WIDTHS if each >= width), WIDTHS[-1])
        made = self._encoded.get(width)
        if made is None:
            loop = asyncio.get_running_loop()
            made = self._encoded[width] = loop.run_in_executor(workers, _encode, frame, self._number, width)
        return await asyncio.shield(made)


def _encode(frame: Frame, number: int, width: int) -> ViewPicture:
    return ViewPicture(number, frame.pts, frame.captured_at, width, to_jpeg(narrowed(frame.image, width)))
