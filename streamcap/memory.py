"""Short and long memory of frame features, bounded for ever.

MovieChat (arXiv:2307.16449) merges a full short memory and appends the result to a long one; MA-LMM (arXiv:2404.05726)
merges the most similar neighbours one pair at a time; Streaming DVC (arXiv:2404.01297) weights merges by count. Here
all three together, online: only *adjacent* slots merge, by cosine, weighted by how many frames each stands for, and
both memories have a hard cap. Cost per frame is O(1): the caps are constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamcap.types import KeyFrame

__all__ = ["Memory", "Slot"]

SHORT_CAP = 18
SHORT_KEEP = 2
LONG_CAP = 256


@dataclass(frozen=True, slots=True)
class Slot:
    """A span of the stream and what it looked like.

    Attributes:
        feature: (d,) float32, count-weighted mean of the merged unit features.
        start, end: media seconds.
        count: frames that it stands for.
        key: the frame that represents it: of merged slots, the one with the larger count.
    """

    feature: NDArray[np.float32]
    start: float
    end: float
    count: int
    key: KeyFrame

    def merge(self, later: Slot) -> Slot:
        """This slot and the one right after it as one."""
        count = self.count + later.count
        feature = (self.feature * self.count + later.feature * later.count) / np.float32(count)
        key = later.key if later.count > self.count else self.key
        return Slot(feature.astype(np.float32), self.start, later.end, count, key)


def consolidate(slots: list[Slot], keep: int) -> list[Slot]:
    """Merge the most similar adjacent pair until ``keep`` slots are left; the order of time is kept."""
    slots = list(slots)
    similar = [_cosine(a, b) for a, b in pairwise(slots)]
    while len(slots) > max(keep, 1):
        at = int(np.argmax(similar))
        slots[at : at + 2] = [slots[at].merge(slots[at + 1])]
        del similar[at]
        if at > 0:
            similar[at - 1] = _cosine(slots[at - 1], slots[at])
        if at < len(similar):
            similar[at] = _cosine(slots[at], slots[at + 1])
    return slots


class Memory:
    """Short memory of single frames, long memory of merged spans.

    Args:
        short_cap: frames held before they are consolidated, at least 2.
        short_keep: slots that are left of a full short memory, below ``short_cap``.
        long_cap: most slots of the long memory, at least 1.

    The sum of the counts is the number of frames added, whatever was merged.
    """

    def __init__(self, *, short_cap: int = SHORT_CAP, short_keep: int = SHORT_KEEP, long_cap: int = LONG_CAP) -> None:
        if not (1 <= short_keep < short_cap and long_cap >= 1):
            raise ValueError("need 1 <= short_keep < short_cap and long_cap >= 1")
        self._short_cap, self._short_keep, self._long_cap = short_cap, short_keep, long_cap
        self._short: list[Slot] = []
        self._long: list[Slot] = []

    def add(self, feature: NDArray[np.float32], t: float, key: KeyFrame | None = None) -> None:
        """Remember one frame.

        Args:
            feature: (d,) float32 of unit length.
            t: media seconds, not before the last one.
            key: what represents the frame; its time alone where left out.

        Raises:
            ValueError: time goes back, or the feature has another length than before.
        """
        newest = self._short[-1] if self._short else self._long[-1] if self._long else None
        if newest is not None and (t < newest.end or feature.shape != newest.feature.shape):
            raise ValueError(f"frame at {t} with shape {feature.shape} does not follow {newest.end}")
        self._short.append(Slot(feature.astype(np.float32), t, t, 1, key or KeyFrame(t)))
        if len(self._short) >= self._short_cap:
            self._long += consolidate(self._short, self._short_keep)
            self._short = []
            self._long = consolidate(self._long, self._long_cap)

    def reading(self) -> tuple[Slot, ...]:
        """Global reading: the long memory, and what has not reached it yet."""
        return (*self._long, *self._short)

    def breakpoint(self, t: float) -> tuple[Slot, ...]:
        """Breakpoint reading: what was known at media time ``t``, the slot around ``t`` last."""
        return tuple(slot for slot in self.reading() if slot.start <= t)

    def similarity(self, feature: NDArray[np.float32]) -> float:
        """Cosine of ``feature`` with the newest frame, −1..1; −1 where nothing is remembered."""
        slots: Sequence[Slot] = self._short or self._long
        if not slots:
            return -1.0
        newest = slots[-1].feature
        return float(newest @ feature / (np.linalg.norm(newest) * np.linalg.norm(feature) + 1e-12))

    def __len__(self) -> int:
        return len(self._short) + len(self._long)


def _cosine(a: Slot, b: Slot) -> float:
    norm = float(np.linalg.norm(a.feature) * np.linalg.norm(b.feature))
    return float(a.feature @ b.feature) / norm if norm else 0.0
