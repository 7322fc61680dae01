"""Where the frames that captions point at are kept."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["FrameStore", "MemoryFrames", "StoredFrame", "nearest_of"]

MEMORY_BYTES: Final = 8 * 1024 * 1024  # of each stream: some 400 frames


@dataclass(frozen=True, slots=True, order=True)
class StoredFrame:
    """A frame that was kept.

    Attributes:
        t: media seconds.
        captured_at: Unix seconds.
        jpeg: 480 pixels wide at most.
    """

    t: float
    captured_at: float
    jpeg: bytes


class FrameStore(Protocol):
    """Keeps frames by stream and media time, bounded: the oldest go first."""

    def put(self, stream: str, frame: StoredFrame) -> None:
        """Keep a frame; from any thread, returns at once. One of the same time is replaced."""
        ...

    async def nearest(self, stream: str, t: float) -> StoredFrame | None:
        """The kept frame nearest to ``t`` (media seconds), None where there is none.

        Raises:
            FeedError: the frames cannot be read.
        """
        ...

    async def close(self) -> None:
        """Write what waits, and let go of everything. Idempotent."""
        ...


def nearest_of(times: Sequence[float], t: float) -> float | None:
    """The one of ``times`` (increasing) that lies nearest to ``t``; None where there is none."""
    at = bisect_left(times, t)
    return min(times[max(0, at - 1) : at + 1], key=lambda each: abs(each - t), default=None)


class MemoryFrames:
    """Keeps frames in memory.

    Args:
        size: bytes of JPEG of one stream, at most.
    """

    def __init__(self, size: int = MEMORY_BYTES) -> None:
        self._size = size
        self._frames: dict[str, dict[float, StoredFrame]] = {}
        self._times: dict[str, list[float]] = {}
        self._bytes: dict[str, int] = {}
        self._lock = threading.Lock()

    def put(self, stream: str, frame: StoredFrame) -> None:
        """See ``FrameStore``."""
        with self._lock:
            frames, times = self._frames.setdefault(stream, {}), self._times.setdefault(stream, [])
            before = frames.get(frame.t)
            if before is None:
                insort(times, frame.t)
            frames[frame.t] = frame
            total = self._bytes.get(stream, 0) + len(frame.jpeg) - (len(before.jpeg) if before else 0)
            while total > self._size and times:
                total -= len(frames.pop(times.pop(0)).jpeg)
            self._bytes[stream] = total

    async def nearest(self, stream: str, t: float) -> StoredFrame | None:
        """See ``FrameStore``."""
        with self._lock:
            found = nearest_of(self._times.get(stream, []), t)
            return None if found is None else self._frames[stream][found]

    async def close(self) -> None:
        """See ``FrameStore``."""
