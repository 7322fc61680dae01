"""Pictures for a vision–language model: what a stream looked like before a change, at its facts, and after it.

A fact is sure a second or so after the moment it speaks of, so the last seconds are held, small and uncompressed. What
a window needs of them is put aside while it is open. Only streams whose captioner looks at pictures have this.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from streamcap.frames.jpeg import narrowed
from streamcap.memory import Memory, Slot, consolidate
from streamcap.types import Frame, Look, Observation, Stretch, Window

__all__ = ["Looks"]

WIDTH: Final = 672  # pixels: two tiles of 336, the side that most vision towers were trained on
RECENT: Final = 8  # looks held, 0.8 MB each at 16:9
STEP_S: Final = 0.35  # media seconds between two of them at least: nearly three seconds in all
MOST: Final = 8  # looks of one window
WINDOWS: Final = 4  # windows for which looks are put aside
# Key frames of the past: so many, none of them younger than this (media seconds): that is in the looks already.
PAST: Final = 3
PAST_AGE_S: Final = 5.0
# Others of a span that are named beside its key frame: each costs a model that blends them a look of its own.
ALIKE: Final = 4


@dataclass(slots=True)
class _Recent:
    """A look, how long nothing in it changed, and the number of its scene."""

    look: Look
    until: float
    scene: int

    def nearest(self, t: float) -> float:
        return min(max(t, self.look.t), self.until)


@dataclass(slots=True)
class _Aside:
    """What is put aside for one window: looks by time, with what each is worth."""

    scene: int
    looks: dict[float, tuple[float, Look]] = field(default_factory=dict)

    def put(self, look: Look, worth: float) -> None:
        known, _ = self.looks.get(look.t, (0.0, look))
        self.looks[look.t] = max(known, worth), look
        if len(self.looks) > MOST:  # the first is the one before the change, the last how it is now
            del self.looks[min(sorted(self.looks)[1:-1], key=lambda t: self.looks[t][0])]


class Looks:
    """Keeps the looks of one stream's windows.

    Args:
        memory: the stream's memory as it is when asked for.
    """

    def __init__(self, memory: Callable[[], Memory]) -> None:
        self._memory = memory
        self._recent: deque[_Recent] = deque(maxlen=RECENT)
        self._scene = 0
        self._aside: dict[str, _Aside] = {}
        self._lock = threading.Lock()

    def take(self, frame: Frame, seen: Observation) -> None:
        """See the next frame and what perception made of it; on the worker thread."""
        self._scene += seen.scene_start
        last = self._recent[-1] if self._recent else None
        if last is not None and last.scene == self._scene:
            if not (seen.changed or seen.facts):
                last.until = seen.pts
                return
            if seen.pts - last.look.t < STEP_S:
                return
        visible = tuple(each for each in seen.instances if each.visible)
        look = Look(seen.pts, narrowed(frame.image, WIDTH), visible)
        with self._lock:
            self._recent.append(_Recent(look, seen.pts, self._scene))

    def note(self, window: Window) -> None:
        """Put aside what an open window needs, before newer frames push it out."""
        with self._lock:
            recent = tuple(self._recent)
        if not recent:
            return
        aside = self._aside.get(window.id)
        if aside is None:
            aside = self._aside[window.id] = _Aside(_nearest(recent, window.start).scene)
            while len(self._aside) > WINDOWS:
                del self._aside[next(iter(self._aside))]
            before = [r for r in recent if r.look.t < window.start and r.scene == aside.scene]
            if before and not window.scene_start:
                aside.put(replace(before[-1].look, t=before[-1].nearest(window.start)), 1.0)
        mine = [r for r in recent if r.scene == aside.scene]
        for fact in window.facts if mine else ():  # by its end it has happened
            aside.put(next((r for r in mine if r.until >= fact.end), mine[-1]).look, fact.saliency)

    def of(self, window: Window) -> tuple[Look, ...]:
        """The looks of a window that has closed, oldest first, at most 8; the last one is how it is now."""
        self.note(window)
        aside = self._aside.pop(window.id, None)
        if aside is None:
            return ()
        with self._lock:
            mine = [r for r in self._recent if r.scene == aside.scene]
        if mine:
            aside.put(mine[-1].look, 1.0)
        return tuple(aside.looks[t][1] for t in sorted(aside.looks))

    def past(self, before: float) -> tuple[Stretch, ...]:
        """What was seen before a moment (breakpoint reading) as spans of what looked alike, oldest first, at most 3.

        Takes some milliseconds; from any thread.
        """
        known = self._memory().breakpoint(before)
        slots: list[Slot] = [s for s in known if s.key.jpeg is not None and s.key.t < before - PAST_AGE_S]
        return tuple(_stretch(whole, slots) for whole in consolidate(slots, PAST)) if slots else ()


def _stretch(whole: Slot, slots: Sequence[Slot]) -> Stretch:
    """A merged slot with the weightiest of those that it was merged of."""
    parts = {slot.key.t: slot for slot in slots if whole.start <= slot.start and slot.end <= whole.end}
    own = parts.pop(whole.key.t)
    most = sorted(parts.values(), key=lambda slot: -slot.count)[:ALIKE]
    others = sorted(((slot.key, slot.count) for slot in most), key=lambda each: each[0].t)
    return Stretch(whole.key, own.count, tuple(others))


def _nearest(recent: tuple[_Recent, ...] | list[_Recent], t: float) -> _Recent:
    return min(recent, key=lambda each: abs(each.nearest(t) - t))
