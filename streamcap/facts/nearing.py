"""Who comes near or goes from it: the camera, or somebody or something that stands."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median

from streamcap.facts.paths import Trail, leg, size, within
from streamcap.facts.scene import NAME_LEAST, SALIENCY, Scene, about, moves_by_itself
from streamcap.geometry import area, place, touches
from streamcap.instances import Track
from streamcap.labels import VEHICLES
from streamcap.nearness import CloseUp
from streamcap.types import Box, Fact, Side, Skill

__all__ = ["ClosingIn", "Nearing", "NearingCamera"]

# Towards the camera: within this time (seconds) both sides of the box grow by this factor, steadily. One side alone
# grows when somebody stands up or stretches out the arms.
SPAN_S = 3.0
GROWTH = 1.35
LOOKS = 8
# It is then at least this large (share of the frame): what is far off and grows is not yet near.
NEAR = 0.12
# It was not cut by a border before: who walks in grows too.
MARGIN = 0.02
# Whom the lower border cuts off all the time is as high as before: the width alone grows, by so much more, and the head
# does not sink. No step is more than this part of it all, as it is when arms are stretched out.
CUT_GROWTH = 1.5
CUT_STEP = 0.35
# Close: this share of the frame, for this long (seconds), after it was at most that much; and it is over below.
CLOSE = 0.45
CLOSE_S = 0.6
CLOSE_BEFORE = 0.3
# Who came near or went back does not do so again within this time (seconds).
AGAIN_S = 8.0

# Towards somebody: from at least this many own sizes away to at most so many, straight, and slow then.
FROM = 2.0
TO = 0.8
WALK_S = 3.0
WALK_STRAIGHT = 0.85
SLOW = 0.3
# Standing: own heights a second over three seconds.
STANDING = 0.1
STOOD_S = 3.0
# In a scene with more movers than this it is no news who walks up to whom.
BUSY = 5


@dataclass(slots=True)
class NearingCamera:
    """Approach and retreat by the size, and close-up, of what has a name."""

    _told: dict[tuple[int, str], float] = field(default_factory=dict)
    _large_since: dict[int, float] = field(default_factory=dict)
    _was_small: set[int] = field(default_factory=set)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        self._told = {key: at for key, at in self._told.items() if scene.pts - at < AGAIN_S}
        for track in scene.tracks.ended:
            self._large_since.pop(track.id, None)
            self._was_small.discard(track.id)
        if scene.camera.moving or scene.driving:
            return
        for track in scene.tracks.active:
            if not moves_by_itself(track) or track.label == "object":
                continue
            yield from self._close(track, scene)
            way = growth(list(track.trail))
            if way is not None and (track.id, way) not in self._told:
                self._told[track.id, way] = scene.pts
                if (track.id, "close_up") not in self._told:
                    fact = about(track, way, scene.pts - SPAN_S, scene.pts, "", 0.7)
                    yield replace(fact, detail={"to": "camera"})

    def _close(self, track: Track, scene: Scene) -> Iterator[Fact]:
        share = area(track.box)
        if share <= CLOSE_BEFORE:
            self._was_small.add(track.id)
        if share < CLOSE or track.id not in self._was_small:
            self._large_since.pop(track.id, None)
            return
        since = self._large_since.setdefault(track.id, scene.pts)
        if scene.pts - since >= CLOSE_S:
            self._was_small.discard(track.id)
            self._told[track.id, "close_up"] = scene.pts
            yield about(track, "close_up", since, scene.pts, "", 0.75)


@dataclass(slots=True)
class ClosingIn:
    """Close-up of what has no name: a hand, or something else that comes before the lens from a border."""

    _told: CloseUp | None = None

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        before, self._told = self._told, scene.close
        if scene.close is not None and before is None:
            label = "hand" if scene.close.skin else "object"
            yield Fact(
                "close_up", scene.close.since, scene.pts, 0.6, Skill.ACTION, label=label,
                saliency=SALIENCY["close_up"], detail={"to": "camera"},
            )  # fmt: skip


def growth(trail: Trail) -> str | None:
    """``approach``, ``retreat``, or None where the box keeps its size or does not tell."""
    now = trail[-1][0]
    part = within(trail, now - SPAN_S, now)
    if len(part) < LOOKS or now - part[0][0] < 0.8 * SPAN_S:
        return None
    thirds = [_extent(within(part, now - SPAN_S * (1 - n / 3), now - SPAN_S * (2 - n) / 3)) for n in range(3)]
    if any(width <= 0 for width, _ in thirds):
        return None
    for way, (first, middle, last) in (("approach", thirds), ("retreat", thirds[::-1])):
        steady = all(a < b < c for a, b, c in zip(first, middle, last, strict=True))
        ends = trail[-1][1] if way == "retreat" else part[0][1]
        if (
            steady
            and all(c >= GROWTH * a for a, c in zip(first, last, strict=True))
            and last[0] * last[1] >= NEAR
            and not touches(ends, MARGIN)
        ):
            return way
    return "approach" if _grows_cut_off(part, thirds) else None


def _grows_cut_off(part: Trail, thirds: list[tuple[float, float]]) -> bool:
    """Only the lower border cuts it off, from the first look to the last, and it grows wider all the while."""
    (first, high), (middle, _), (last, higher) = thirds
    if any(touches(box, MARGIN) != {Side.BOTTOM} for _, box in part):
        return False
    widths = [box[2] - box[0] for _, box in part]
    step = max(b - a for a, b in pairwise(widths))
    gradual = step <= CUT_STEP * (widths[-1] - widths[0])
    return first < middle < last and last >= CUT_GROWTH * first and higher >= high and last * higher >= NEAR and gradual


def _extent(part: Trail) -> tuple[float, float]:
    """Median width and height."""
    if not part:
        return 0.0, 0.0
    return median(b[2] - b[0] for _, b in part), median(b[3] - b[1] for _, b in part)


@dataclass(slots=True)
class Nearing:
    """Approach: somebody walks up to a person, an animal or a vehicle that stands."""

    _told: dict[int, float] = field(default_factory=dict)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        self._told = {key: at for key, at in self._told.items() if scene.pts - at < AGAIN_S}
        movers = [t for t in scene.tracks.active if moves_by_itself(t)]
        if scene.camera.moving or scene.driving or len(movers) > BUSY:
            return
        standing = [t for t in movers if t.label != "object" and _stands(t, scene)]
        for track in movers:
            if track.label != "person" or track.id in self._told or track in standing:
                continue
            for other in standing:
                if approached(list(track.trail), other.box, scene.aspect):
                    self._told[track.id] = scene.pts
                    yield _to(about(track, "approach", scene.pts - WALK_S, scene.pts, place(track.box), 0.65), other)
                    break


def _to(fact: Fact, other: Track) -> Fact:
    known = other.instance()
    name = known.label if known.confidence >= NAME_LEAST else "vehicle" if known.label in VEHICLES else "person"
    return replace(fact, detail={"to": name})


def _stands(track: Track, scene: Scene) -> bool:
    return scene.pts - scene.watched_since(track) >= STOOD_S and track.speed(STOOD_S) <= STANDING


def approached(trail: Trail, other: Box, aspect: float) -> bool:
    """A walk that is just over led straight from afar to beside ``other``."""
    now = trail[-1][0]
    part = within(trail, now - WALK_S, now)
    walk, last = leg(part, aspect), leg(within(trail, now - 0.6, now), aspect)
    own = size(part, aspect)
    if own <= 0 or walk.seconds < 0.8 * WALK_S or walk.straight < WALK_STRAIGHT:
        return False
    slow = last.looks >= 3 and last.far / max(last.seconds, 1e-6) <= SLOW * own
    return slow and _gap(part[0][1], other, aspect) >= FROM * own and _gap(part[-1][1], other, aspect) <= TO * own


def _gap(a: Box, b: Box, aspect: float) -> float:
    """Distance across between two boxes, and between their feet up the picture, in frame heights."""
    across = max(0.0, max(a[0], b[0]) - min(a[2], b[2])) * aspect
    return math.hypot(across, a[3] - b[3])
