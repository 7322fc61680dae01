"""Many people: groups that form and break up, a crowd; and two who struggle."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean, median, pstdev

from streamcap.facts.groups import clusters, of_group
from streamcap.facts.paths import within
from streamcap.facts.scene import NAME_LEAST, SALIENCY, Scene
from streamcap.geometry import area, contained, union
from streamcap.instances import Track
from streamcap.types import Fact, Skill

__all__ = ["Crowds", "Struggles"]

# A group: so many people, each this near (body heights across, up the picture) to another, for this long (seconds).
GROUP = 5
ACROSS = 1.0
DEEP = 0.5
HOLD_S = 2.0
# Who only passes by does not belong to it: velocities differ from the group's by at most this (own heights a second).
SAME_WAY = 0.3
# It has broken up when of its members at most this many, and half of them, are still together for as long.
REST = 3
# A crowd: so many people in view at once for this long (seconds); it is over, and news again, below FEW.
CROWD = 10
CROWD_S = 3.0
FEW = 7

# Struggle: of at most so many people in view two overlap by this share, of like height, and for this long (seconds)
# nearly all of what they cover changes from frame to frame while their outlines change as quickly.
OTHERS = 4
OVERLAP = 0.25
LIKE_HEIGHT = 0.6
STRUGGLE_S = 2.0
STIR = 0.65
STIR_FRAMES = 0.8
STRUGGLE_LOOKS = 7
# Standard deviation of the boxes' widths by their mean; of people who walk or embrace it is under 0.1.
OUTLINE = 0.18
# Who passes by is gone from there: least overlap of the two as they are now and as they were at the beginning.
STAYS = 0.3
STRUGGLE_AGAIN_S = 30.0


@dataclass(slots=True)
class Crowds:
    """Group forms, group parts, crowd."""

    _groups: list[frozenset[int]] = field(default_factory=list)
    _forming: tuple[frozenset[int], float] | None = None
    _parting: dict[frozenset[int], float] = field(default_factory=dict)
    _many_since: float | None = None
    _crowded: bool = False

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        if scene.camera.cut:
            return
        people = [t for t in scene.tracks.active if t.label == "person"]
        yield from self._crowd(people, scene)
        if scene.camera.moving or scene.driving:
            return
        found = [_of_one_way(m, scene.aspect) for m in clusters(people, scene.aspect, ACROSS, DEEP) if len(m) >= GROUP]
        largest = max((m for m in found if len(m) >= GROUP), key=len, default=[])
        yield from self._form(largest, scene)
        yield from self._break_up(people, scene)

    def _form(self, members: list[Track], scene: Scene) -> Iterator[Fact]:
        who = frozenset(t.id for t in members)
        if not who or any(len(who & group) >= REST for group in self._groups):
            self._forming = None
            return
        # Who joins while it forms does not begin it anew.
        since = self._forming[1] if self._forming is not None and self._forming[0] & who else scene.pts
        self._forming = (who, since)
        if scene.settling or scene.pts - since >= HOLD_S:
            self._forming = None
            self._groups.append(who)
            if not scene.settling:
                yield of_group("group_forms", members, since, scene.pts, 0.65)

    def _break_up(self, people: list[Track], scene: Scene) -> Iterator[Fact]:
        for group in list(self._groups):
            seen = [t for t in people if t.id in group]
            together = max((len(m) for m in clusters(seen, scene.aspect, 2 * ACROSS, 2 * DEEP)), default=0)
            if together > min(REST, len(group) // 2):
                self._parting.pop(group, None)
                continue
            since = self._parting.setdefault(group, scene.pts)
            if scene.pts - since < HOLD_S:
                continue
            self._groups.remove(group)
            del self._parting[group]
            if len(seen) >= REST:  # still in view, and not only lost from sight
                yield of_group("group_parts", seen, since, scene.pts, 0.6)

    def _crowd(self, people: list[Track], scene: Scene) -> Iterator[Fact]:
        count = len(people)
        if count < FEW:
            self._crowded, self._many_since = False, None
        elif count < CROWD:
            self._many_since = None
        elif not self._crowded:
            self._many_since = scene.pts if self._many_since is None else self._many_since
            if scene.settling or scene.pts - self._many_since >= CROWD_S:
                self._crowded = True
                if scene.since_start >= 2 * CROWD_S:  # else it was there from the start
                    yield Fact(
                        "crowd", self._many_since, scene.pts, 0.75, Skill.ENVIRONMENT, saliency=SALIENCY["crowd"]
                    )


@dataclass(slots=True)
class _Bout:
    since: float
    start: tuple[tuple[float, float, float, float], tuple[float, float, float, float]]
    stirs: list[bool] = field(default_factory=list)


@dataclass(slots=True)
class Struggles:
    """Grapple: two people in fast mutual motion. Play and dance look alike, so it is never said surely."""

    _bouts: dict[tuple[int, int], _Bout] = field(default_factory=dict)
    _told: float | None = None

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        people = [t for t in scene.tracks.active if t.label == "person"]
        quiet = self._told is not None and scene.pts - self._told < STRUGGLE_AGAIN_S
        if scene.camera.moving or scene.driving or scene.settling or quiet or len(people) > OTHERS:
            self._bouts.clear()
            return
        entwined = {(a.id, b.id): (a, b) for a, b in combinations(people, 2) if _entwined(a, b)}
        self._bouts = {key: bout for key, bout in self._bouts.items() if key in entwined}
        for key, (a, b) in entwined.items():
            bout = self._bouts.setdefault(key, _Bout(scene.pts, (a.box, b.box)))
            bout.stirs.append(scene.stir(union(a.box, b.box)) >= STIR)
            if self._is_struggle(bout, a, b, scene.pts):
                self._told = scene.pts
                yield of_group("grapple", [a, b], bout.since, scene.pts, 0.4)
                return

    @staticmethod
    def _is_struggle(bout: _Bout, a: Track, b: Track, pts: float) -> bool:
        return (
            pts - bout.since >= STRUGGLE_S
            and len(bout.stirs) >= STRUGGLE_LOOKS
            and fmean(bout.stirs) >= STIR_FRAMES
            and contained(union(*bout.start), union(a.box, b.box)) >= STAYS
            and all(_outline(track, pts) >= OUTLINE for track in (a, b))
        )


def _of_one_way(members: list[Track], aspect: float) -> list[Track]:
    """Those who stand, or go as most of the others do."""
    vx, vy = (median(t.velocity[axis] for t in members) for axis in (0, 1))
    return [
        t
        for t in members
        if math.hypot((t.velocity[0] - vx) * aspect, t.velocity[1] - vy) <= SAME_WAY * (t.box[3] - t.box[1])
    ]


def _entwined(a: Track, b: Track) -> bool:
    if min(a.instance().confidence, b.instance().confidence) < NAME_LEAST or min(area(a.box), area(b.box)) <= 0:
        return False
    heights = sorted((a.box[3] - a.box[1], b.box[3] - b.box[1]))
    return max(contained(a.box, b.box), contained(b.box, a.box)) >= OVERLAP and heights[0] >= LIKE_HEIGHT * heights[1]


def _outline(track: Track, pts: float) -> float:
    """How much the width of the box changes."""
    widths = [box[2] - box[0] for _, box in within(list(track.trail), pts - STRUGGLE_S, pts)]
    return pstdev(widths) / max(fmean(widths), 1e-6) if len(widths) > 1 else 0.0
