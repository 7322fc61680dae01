"""Simulated detections with their truth: where everything is, and what a detector would have said of it.

Two sorts of scene: the rendered street of ``test:``, and crowds of walkers that cross, stop, turn and hide each other.
Each can be seen in full in every frame, or in part: only what lies inside some tiles drawn at random for each frame, as
a detector that looks at a few crops a frame sees it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamcap.geometry import area, clip, contained
from streamcap.sources.rendered_script import truth
from streamcap.types import Box

__all__ = ["COUNTED", "TILES", "Moment", "Scene", "Seen", "True_", "crowd", "street"]

# What the simulated detector does: position and size are off by this share of the size, a whole object is missed this
# often, this many boxes a frame are nothing at all, and this share of the objects is called by a wrong name.
JITTER = 0.04
MISSES = 0.08
FALSE_BOXES = 0.15
WRONG_NAMES = 0.05
NAMES = ("person", "chair", "dog", "handbag", "bicycle")
SCORE, SCORE_SPREAD, FALSE_SCORE = 0.65, 0.12, 0.34
LOWEST = 0.22
# An object counts, in the truth, from this share of it on.
COUNTED = 0.25
# Tiles of a 16:9 frame: squares of 0.6 of its height, and squares of its whole height.
_FINE = [(x, y, x + 0.3375, y + 0.6) for y in (0.0, 0.4) for x in (0.0, 0.22, 0.44, 0.6625)]
TILES: list[Box] = [*_FINE, *((x, 0.0, x + 0.5625, 1.0) for x in (0.0, 0.22, 0.4375))]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
STREET_S = 40.0  # then the scene is cut


@dataclass(frozen=True, slots=True)
class True_:  # noqa: N801 - "True" is taken
    """An object where it really is.

    Attributes:
        visible: share of it that is in the frame and not hidden, 0..1.
    """

    id: int
    label: str
    box: Box
    visible: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A detection."""

    box: Box
    score: float
    label: str


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame.

    Attributes:
        looks: what the detector looked at.
        changed: where pixels changed since the last frame: what moved, came or went.
    """

    t: float
    truth: tuple[True_, ...]
    seen: tuple[Seen, ...]
    looks: tuple[Box, ...]
    changed: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """A sequence of frames at ``fps``; ``seed`` is what it was made from."""

    name: str
    fps: float
    seed: int
    moments: tuple[Moment, ...]

    @property
    def objects(self) -> int:
        """Different objects that count at least half a second."""
        counts: dict[int, int] = {}
        for moment in self.moments:
            for each in moment.truth:
                counts[each.id] = counts.get(each.id, 0) + (each.visible >= COUNTED)
        return sum(count >= self.fps / 2 for count in counts.values())


def street(*, fps: float, seed: int, tiles: int | None) -> Scene:
    """The first 40 s of the rendered scene: people walk, stop and pass behind a van, a bag appears and is gone.

    Args:
        seed: of the simulated detector; what happens is always the same.
        tiles: drawn at random in each frame, of the 11 that there are; None: the whole frame is seen.
    """
    times = [i / fps for i in range(int(STREET_S * fps))]
    frames = [[True_(o.id, o.label, o.box, o.visible) for o in truth(t) if area(o.box) > 1e-6] for t in times]
    moments = _moments(times, frames, np.random.default_rng(seed), tiles)
    return Scene(f"street {fps:g}/s", fps, seed, moments)


def crowd(people: int, *, fps: float, seed: int, tiles: int | None, seconds: float = 40.0) -> Scene:
    """Walkers who come, cross, stop, turn and go; nearer ones hide farther ones.

    Args:
        people: how many in all; about half are there from the beginning.
        tiles: as for :func:`street`.
    """
    rng = np.random.default_rng(seed)
    walkers = [_Walker(i + 1, rng, begin=0.0 if i < people // 2 else rng.uniform(0, 20)) for i in range(people)]
    times = [i / fps for i in range(int(seconds * fps))]
    frames = []
    # The paths do not depend on the rate at which they are looked at.
    tick, steps = 0.05, round(seconds / 0.05)
    paths = [walker.path(steps, tick) for walker in walkers]
    for t in times:
        at = min(steps - 1, round(t / tick))
        boxes = {w.id: box for w, path in zip(walkers, paths, strict=True) if (box := path[at]) is not None}
        frames.append(_occluded(boxes))
    return Scene(f"crowd of {people} {fps:g}/s", fps, seed, _moments(times, frames, rng, tiles))


class _Walker:
    """Walks with a changing mind; perspective makes those lower in the frame larger and quicker."""

    def __init__(self, number: int, rng: Generator, *, begin: float) -> None:
        self.id, self._rng, self._begin = number, rng, begin
        self._y = float(rng.uniform(0.5, 0.97))
        self._height = 0.1 + 0.28 * (self._y - 0.3)
        self._way = float(rng.choice((-1.0, 1.0)))
        inside = begin == 0.0
        self._x = float(rng.uniform(0.1, 0.9)) if inside else (-0.02 if self._way > 0 else 1.02)
        self._pace = float(rng.uniform(0.25, 0.55)) * self._height

    def path(self, steps: int, tick: float) -> list[Box | None]:
        """Its box at each tick, None while it is not there."""
        found: list[Box | None] = []
        rng, x, y, vx, vy = self._rng, self._x, self._y, self._way * self._pace, 0.0
        still, gone = 0.0, False
        for step in range(steps):
            if step * tick < self._begin or gone:
                found.append(None)
                continue
            if step % round(1 / tick) == 0:  # once a second it may think again
                still = float(rng.uniform(1, 4)) if still <= 0 and rng.random() < 0.06 else still
                if rng.random() < 0.04:
                    vx = -vx
                vx += float(rng.normal(0, 0.12)) * self._pace
                vx = math.copysign(max(abs(vx), 0.4 * self._pace), vx)
                vy = float(np.clip(vy + rng.normal(0, 0.15) * self._pace, -0.3 * self._pace, 0.3 * self._pace))
            still -= tick
            if still <= 0:
                x, y = x + vx * tick, min(0.98, max(0.45, y + vy * tick))
            half = self._height * 0.225 / 2 * 1.6
            found.append((x - half, y - self._height, x + half, y))
            gone = x < -half or x > 1 + half
        return found


def _occluded(boxes: dict[int, Box]) -> list[True_]:
    found = []
    for key, box in boxes.items():
        inside = clip(box)
        if area(inside) <= 0:
            continue
        hidden = max(
            (contained(inside, other) for k, other in boxes.items() if k != key and other[3] > box[3]), default=0
        )
        found.append(True_(key, "person", inside, area(inside) / area(box) * (1 - hidden)))
    return found


def _moments(
    times: Sequence[float], frames: Sequence[list[True_]], rng: Generator, tiles: int | None
) -> tuple[Moment, ...]:
    moments = []
    before: dict[int, Box] = {}
    for t, frame in zip(times, frames, strict=True):
        now = {o.id: o.box for o in frame}
        looks = (WHOLE,) if tiles is None else _some(tiles, rng)
        moments.append(Moment(t, tuple(frame), _detect(frame, looks, rng), looks, _changed(before, now)))
        before = now
    return tuple(moments)


def _changed(before: dict[int, Box], now: dict[int, Box]) -> tuple[Box, ...]:
    still = {key for key, box in now.items() if key in before and not _moved(before[key], box)}
    return tuple(box for frame in (before, now) for key, box in frame.items() if key not in still)


def _some(tiles: int, rng: Generator) -> tuple[Box, ...]:
    chosen: NDArray[np.intp] = rng.choice(len(TILES), tiles, replace=False)
    return tuple(TILES[i] for i in chosen)


def _detect(objects: Sequence[True_], looks: Sequence[Box], rng: Generator) -> tuple[Seen, ...]:
    found = []
    for each in objects:
        chance = (1 - MISSES) * float(np.clip((each.visible - 0.15) / 0.45, 0, 1))
        score = float(rng.normal(SCORE, SCORE_SPREAD)) * (0.55 + 0.45 * each.visible)
        lucky, wrong, box = rng.random() < chance, rng.random() < WRONG_NAMES, _jittered(each.box, rng)
        label = str(rng.choice(NAMES)) if wrong else each.label
        if lucky and score >= LOWEST and any(contained(each.box, look) >= 0.95 for look in looks):
            found.append(Seen(box, min(score, 0.95), label))
    for _ in range(int(rng.poisson(FALSE_BOXES))):
        w, h = rng.uniform(0.02, 0.08), rng.uniform(0.06, 0.3)
        x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
        box = (float(x), float(y), float(x + w), float(y + h))
        score = float(np.clip(rng.normal(FALSE_SCORE, 0.08), LOWEST, 0.7))
        if any(contained(box, look) >= 0.95 for look in looks):
            found.append(Seen(box, score, str(rng.choice(NAMES))))
    return tuple(found)


def _jittered(box: Box, rng: Generator) -> Box:
    w, h = box[2] - box[0], box[3] - box[1]
    dx, dy = rng.normal(0, JITTER, 2) * (w, h)
    sw, sh = np.exp(rng.normal(0, JITTER, 2)) * (w / 2, h / 2)
    x, y = (box[0] + box[2]) / 2 + dx, (box[1] + box[3]) / 2 + dy
    return clip((float(x - sw), float(y - sh), float(x + sw), float(y + sh)))


def _moved(a: Box, b: Box) -> bool:
    return max(abs(p - q) for p, q in zip(a, b, strict=True)) > 0.0015
