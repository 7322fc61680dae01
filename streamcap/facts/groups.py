"""Who meets and parts: people who come to stand together, and go from each other again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from streamcap.facts.paths import leg, size, within
from streamcap.facts.scene import SALIENCY, Scene
from streamcap.geometry import centre, place, union
from streamcap.instances import Track
from streamcap.types import Box, Fact, Skill

__all__ = ["Groups", "clusters", "of_group"]

# Together: feet this near each other, in body heights, across and (further away or nearer) up the picture.
NEAR_ACROSS = 0.75
NEAR_DEEP = 0.3
# Standing: own heights a second, over one second; walking past is faster.
STANDING_SPEED = 0.12
# They stand together for this long (seconds) before they are said to meet.
TOGETHER_S = 1.6
# Who came from apart (own heights, this long ago) need not stand still: they have slowed down to this share of their
# own walk, and at most this speed (own heights a second, square pixels), beside each other for this long (seconds).
CAME_FROM = 1.5
CAME_S = 3.0
SLOWED_SHARE = 0.6
SLOWED_SPEED = 0.3
SLOWED_S = 0.6
PACE_S = 1.2  # a speed is a mean over so long, so that they have been slow for two seconds by then
# Looks on each other that may fail meanwhile (seconds).
BLINK_S = 0.8
# People who met do not meet again within this time (seconds).
AGAIN_S = 20.0
# They part when all are this far from each other (own heights) for this long (seconds), and it is no news after that.
APART = 2.0
APART_S = 1.0
FORGOTTEN_S = 60.0


@dataclass(slots=True)
class _Meeting:
    """People who were told to have met."""

    who: frozenset[int]
    at: float
    apart_since: float | None = None


@dataclass(slots=True)
class _Together:
    since: float
    seen: float


@dataclass(slots=True)
class Groups:
    """Meet: at least two people, of whom not all were together before, stand together. Part: they go again."""

    _together: dict[frozenset[int], _Together] = field(default_factory=dict)
    _slowed: dict[frozenset[int], _Together] = field(default_factory=dict)
    _met: dict[int, float] = field(default_factory=dict)
    _meetings: list[_Meeting] = field(default_factory=list)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        if scene.camera.moving or scene.camera.cut or scene.driving:
            self._together.clear()
            self._slowed.clear()
            self._meetings.clear()
            return
        self._met = {key: at for key, at in self._met.items() if scene.pts - at < AGAIN_S}
        people = [t for t in scene.tracks.active if t.label == "person"]
        standing = [t for t in people if t.speed(1.0) <= STANDING_SPEED and scene.pts - scene.watched_since(t) >= 1.0]
        found = {frozenset(t.id for t in members): members for members in clusters(standing, scene.aspect)}
        self._together = _lasting(self._together, found, scene.pts, 0.0)
        for key, members in found.items():
            yield from self._stand(key, members, scene)
        near = [
            (a, b)
            for n, a in enumerate(people)
            for b in people[n + 1 :]
            if _near(a, b, scene.aspect) and _came_from_apart(a, b, scene)
        ]
        slowed = {t for t in {t for pair in near for t in pair} if _has_slowed(t, scene)}
        pairs = {frozenset((a.id, b.id)): [a, b] for a, b in near if a in slowed and b in slowed}
        self._slowed = _lasting(self._slowed, pairs, scene.pts, BLINK_S)
        for key, members in pairs.items():
            if scene.pts - self._slowed[key].since >= SLOWED_S and not key & self._met.keys():
                yield self._meet(key, members, self._slowed[key].since, scene.pts, 0.6)
        yield from self._part(people, scene)

    def _stand(self, key: frozenset[int], members: list[Track], scene: Scene) -> Iterator[Fact]:
        since = self._together[key].since
        if scene.settling:
            self._remember(key, scene.pts)
        elif scene.pts - since >= TOGETHER_S and any(who not in self._met for who in key):
            fresh = len([who for who in key if who not in self._met])
            if fresh >= 2 or fresh == len(key) - 1:
                yield self._meet(key, members, since, scene.pts, 0.7)
            self._remember(key, scene.pts)
        elif all(who in self._met for who in key):
            self._remember(key, scene.pts)

    def _meet(self, key: frozenset[int], members: list[Track], start: float, end: float, sure: float) -> Fact:
        self._remember(key, end)
        self._meetings = [m for m in self._meetings if not m.who & key and end - m.at < FORGOTTEN_S]
        self._meetings.append(_Meeting(key, end))
        return of_group("meet", members, start, end, sure)

    def _remember(self, key: Iterable[int], pts: float) -> None:
        self._met |= dict.fromkeys(key, pts)

    def _part(self, people: list[Track], scene: Scene) -> Iterator[Fact]:
        for meeting in list(self._meetings):
            members = [t for t in people if t.id in meeting.who]
            if len(members) < 2 or any(
                apart(a.box, b.box, scene.aspect) < APART for n, a in enumerate(members) for b in members[n + 1 :]
            ):
                meeting.apart_since = None
                continue
            since = meeting.apart_since = scene.pts if meeting.apart_since is None else meeting.apart_since
            if scene.pts - since >= APART_S:
                self._meetings.remove(meeting)
                yield of_group("part", members, since - 1.0, scene.pts, 0.65)


def of_group(what: str, members: list[Track], start: float, end: float, confidence: float) -> Fact:
    """A fact about people as a group."""
    around = members[0].box
    for track in members[1:]:
        around = union(around, track.box)
    ordered = sorted(members, key=lambda t: t.id)
    return Fact(
        what, start, end, confidence, Skill.ACTION, tuple(t.id for t in ordered), "person", place(around),
        SALIENCY[what], tuple(t.box for t in ordered),
    )  # fmt: skip


def clusters(
    tracks: list[Track], aspect: float, across: float = NEAR_ACROSS, deep: float = NEAR_DEEP
) -> list[list[Track]]:
    """Groups of at least two, each near some other member.

    Args:
        aspect: width of the frame by its height.
        across, deep: how near, in body heights.
    """
    left = list(tracks)
    groups = []
    while left:
        group = [left.pop()]
        for member in group:  # grows while it is walked through
            near = [t for t in left if _near(member, t, aspect, across, deep)]
            group += near
            left = [t for t in left if t not in near]
        if len(group) > 1:
            groups.append(group)
    return groups


def apart(a: Box, b: Box, aspect: float) -> float:
    """How far two people stand from each other, in their mean height; further up the picture counts double."""
    height = max((a[3] - a[1] + b[3] - b[1]) / 2, 1e-3)
    across = abs(centre(a)[0] - centre(b)[0]) * aspect
    return max(across, 2 * abs(a[3] - b[3])) / height


def _lasting(
    known: dict[frozenset[int], _Together], found: Iterable[frozenset[int]], pts: float, blink: float
) -> dict[frozenset[int], _Together]:
    """What is found now and since when, and what was found a moment ago."""
    kept = {key: item for key, item in known.items() if pts - item.seen <= blink}
    return kept | {key: _Together(known[key].since if key in known else pts, pts) for key in found}


def _has_slowed(track: Track, scene: Scene) -> bool:
    trail = list(track.trail)
    now = trail[-1][0]
    if now - trail[0][0] < CAME_S:
        return False
    own = size(within(trail, now - CAME_S, now), scene.aspect)
    paces = [
        (part.far / part.seconds)
        for t, _ in trail
        if now - CAME_S - PACE_S <= t <= now - PACE_S
        and (part := leg(within(trail, t - PACE_S / 2, t + PACE_S / 2), scene.aspect)).seconds >= PACE_S / 2
    ]
    pace = leg(within(trail, now - PACE_S, now), scene.aspect)
    if not paces or own <= 0 or pace.seconds < PACE_S / 2:
        return False
    speed = pace.far / pace.seconds
    return speed <= SLOWED_SPEED * own and speed <= SLOWED_SHARE * max(paces)


def _came_from_apart(a: Track, b: Track, scene: Scene) -> bool:
    before = [
        next(iter(within(list(t.trail), scene.pts - CAME_S - 1.0, scene.pts - CAME_S + 0.5)), None) for t in (a, b)
    ]
    if before[0] is None or before[1] is None:
        return False
    return apart(before[0][1], before[1][1], scene.aspect) >= CAME_FROM


def _near(a: Track, b: Track, aspect: float, near_across: float = NEAR_ACROSS, near_deep: float = NEAR_DEEP) -> bool:
    height = (a.box[3] - a.box[1] + b.box[3] - b.box[1]) / 2
    across = abs(centre(a.box)[0] - centre(b.box)[0]) * aspect
    deep = abs(a.box[3] - b.box[3])
    return across <= near_across * height and deep <= near_deep * height
