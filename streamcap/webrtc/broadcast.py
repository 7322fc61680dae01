"""One stream's video for all who watch it by WebRTC: encoded once, by its camera, its publisher or here.

Which of them it is, is chosen when the first viewer comes: see ``relaying`` and ``encoding``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from streamcap.sources.ports import CLOCK, EncodedFrame

__all__ = ["Broadcast", "Seat"]

# A viewer whose network is slower than the video loses what is older, and begins again with a key frame.
WAITING_FRAMES: Final = 90
# Frames of the past, which a new viewer's decoder needs, follow each other so closely (seconds): ten seconds of video
# in one, and no more at once than networks take.
CATCH_UP_S: Final = 0.004


class Seat:
    """One viewer's frames. Until the first is asked for, none wait."""

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast
        self._frames: deque[EncodedFrame] = deque()
        self._ready = asyncio.Event()
        self._begun = False
        self._needs_key = True
        self._past = 0  # frames of the past that wait

    def put(self, frame: EncodedFrame | None) -> None:
        """Take a frame, or None for the end. Never waits."""
        if frame is not None:
            if not self._begun:
                return
            if len(self._frames) - self._past >= WAITING_FRAMES:
                self._frames.clear()
                self._past = 0
                self._needs_key = True
            if self._needs_key and not frame.key:
                self.ask_key()
                return
            self._needs_key = False
            self._frames.append(frame)
        self._ready.set()

    async def get(self) -> EncodedFrame | None:
        """The next frame, None at the end. Cancellation loses nothing."""
        if not self._begun:
            self._begun = True
            self._frames.extend(_hurried(self._broadcast.past))
            self._past = len(self._frames)
            self._needs_key = not self._frames
        if self._past:
            await asyncio.sleep(CATCH_UP_S)
        while not self._frames:
            if self._broadcast.over.is_set():
                return None
            self._ready.clear()
            await self._ready.wait()
        self._past = max(0, self._past - 1)
        return self._frames.popleft()

    def ask_key(self) -> None:
        """Have the next frame be a key frame, as soon as that can be."""
        self._broadcast.ask_key()


class Broadcast(ABC):
    """The video of one stream, for as long as somebody watches. For one event loop.

    Args:
        codec: of all its frames.

    Attributes:
        over: set once no more frames come.
        past: the frames since the newest key frame, where they are kept for who comes next.
    """

    past: Sequence[EncodedFrame] = ()

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self.over = asyncio.Event()
        self._seats: set[Seat] = set()

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

    @abstractmethod
    def ask_key(self) -> None:
        """See ``Seat.ask_key``."""

    async def run(self) -> None:
        """Serve the seats until the stream has no more video, or this is cancelled: then all of them end."""
        try:
            await self._serve()
        finally:
            self.over.set()
            self._hand_out(None)

    @abstractmethod
    async def _serve(self) -> None:
        """Hand out frames until there are no more."""

    def _hand_out(self, frame: EncodedFrame | None) -> None:
        for seat in self._seats:
            seat.put(frame)


def _hurried(frames: Sequence[EncodedFrame]) -> list[EncodedFrame]:
    """Frames of the past with time stamps that have them shown at once: the newest keeps its own."""
    if not frames:
        return []
    step, newest = round(CATCH_UP_S * CLOCK), frames[-1].timestamp
    return [replace(each, timestamp=newest - (len(frames) - 1 - at) * step) for at, each in enumerate(frames)]
