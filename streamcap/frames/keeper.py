"""Which frames are kept: those at the evidence times of facts and captions, and some in between.

A fact is sure a second or so after the moment it speaks of, and that somebody has gone 4 s after the last sight. So the
last two seconds are held small and uncompressed, and of the four before them two frames a second; a frame is compressed
only where something points at it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamcap.frames.jpeg import narrowed, to_jpeg
from streamcap.frames.store import FrameStore, StoredFrame
from streamcap.frames.view import View
from streamcap.types import Frame

__all__ = ["FrameKeeper", "StreamFrames"]

WIDTH: Final = 480  # pixels: a person is still recognised, and a frame takes 20 KB
RECENT: Final = 12  # frames held uncompressed, 0.4 MB each
STEP_S: Final = 0.18  # media seconds between two of them at least: two seconds in all, also at a high rate
OLDER: Final = 8  # frames from before that are held likewise
OLDER_STEP_S: Final = 0.5  # media seconds between two of those at least: a frame this near shows the same
WANTED_MAX: Final = 64  # times that wait for the next frame
EVIDENCE_S: Final = 0.5  # media seconds: a frame this near shows the same, so two a second are kept at most


@dataclass(slots=True)
class _Recent:
    """A picture, and how long nothing in it changed."""

    t: float
    until: float
    captured_at: float
    image: NDArray[np.uint8]

    def nearest(self, t: float) -> float:
        """The moment nearest to ``t`` that it shows."""
        return min(max(t, self.t), self.until)


class FrameKeeper:
    """Keeps the frames of one run of a stream that something points at.

    Args:
        stream: id under which they are stored.
        store: where they go.
    """

    def __init__(self, stream: str, store: FrameStore) -> None:
        self._stream, self._store = stream, store
        self._recent: deque[_Recent] = deque()
        self._older: deque[_Recent] = deque(maxlen=OLDER)
        self._wanted: list[float] = []
        self._kept: deque[float] = deque(maxlen=RECENT)
        self._lock = threading.Lock()

    def want(self, times: Iterable[float]) -> None:
        """Have the frames at these times (media seconds) kept with the next call of ``take``; from any thread."""
        with self._lock:
            self._wanted = [*self._wanted, *times][-WANTED_MAX:]

    def take(self, frame: Frame, times: Iterable[float]) -> None:
        """See the next frame, and keep those at ``times``, its own or earlier. On one worker thread."""
        if not self._recent or frame.pts - self._recent[-1].t >= STEP_S:
            small = narrowed(frame.image, WIDTH).copy()
            self._recent.append(_Recent(frame.pts, frame.pts, frame.captured_at, small))
            if len(self._recent) > RECENT:
                self._grow_old(self._recent.popleft())
        self.want(times)
        self.flush()

    def unchanged(self, frame: Frame) -> None:
        """See a frame that shows what the one before it showed: nothing is copied. On the worker thread."""
        if self._recent:
            self._recent[-1].until = frame.pts
        self.flush()

    def flush(self) -> None:
        """Keep what was wanted since the last frame: nothing more comes."""
        with self._lock:
            wanted, self._wanted = self._wanted, []
        for t in wanted:
            if not self._recent:
                return
            if any(abs(kept - t) < EVIDENCE_S for kept in self._kept):
                continue
            best = min((*self._older, *self._recent), key=lambda each: abs(each.nearest(t) - t))
            moment = best.nearest(t)
            self._kept.append(moment)
            captured_at = best.captured_at + moment - best.t
            self._store.put(self._stream, StoredFrame(moment, captured_at, to_jpeg(best.image)))

    def _grow_old(self, picture: _Recent) -> None:
        if not self._older or picture.until - self._older[-1].until >= OLDER_STEP_S:
            self._older.append(picture)


@dataclass(frozen=True, slots=True)
class StreamFrames:
    """All that is shown of one stream's pictures.

    Attributes:
        view: the newest frame.
        keeper: picks what is kept.
    """

    view: View
    keeper: FrameKeeper
