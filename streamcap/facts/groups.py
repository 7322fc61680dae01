"""Who meets: people who come to stand together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streamcap.facts.scene import SALIENCY, Scene
from streamcap.geometry import centre, place, union
from streamcap.instances import Track
from streamcap.types import Fact, Skill

__all__ = ["Groups"]

# Together: feet this near each other, in body heights, across and (further away or nearer) up the picture.
NEAR_ACROSS = 0.75
NEAR_DEEP = 0.3
# Standing: own heights a second, over one second; walking past is faster.
STANDING_SPEED = 0.12
# They stand together for this long (seconds) before they are said to meet.
TOGETHER_S = 1.6
# People who met do not meet again within this time (seconds).
AGAIN_S = 20.0


@dataclass(slots=True)
class Groups:
    """Meet: at least two people, of whom not all stood together before, stand together."""

    _since: dict[frozenset[int], float] = field(default_factory=dict)
    _met: dict[int, float] = field(default_factory=dict)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        if scene.camera.moving or scene.camera.cut:
            self._since.clear()
            return
        self._met = {key: at for key, at in self._met.items() if scene.pts - at < AGAIN_S}
        people = [t for t in scene.tracks.active if t.label == "person"]
        standing = [t for t in people if t.speed(1.0) <= STANDING_SPEED and scene.pts - t.born >= 1.0]
        found = {frozenset(t.id for t in members): members for members in _clusters(standing, scene.aspect)}
        self._since = {key: self._since.get(key, scene.pts) for key in found}
        for key, members in found.items():
            if scene.settling:
                self._remember(key, scene.pts)
            elif scene.pts - self._since[key] >= TOGETHER_S and any(who not in self._met for who in key):
                fresh = len([who for who in key if who not in self._met])
                self._remember(key, scene.pts)
                if fresh >= 2 or fresh == len(key) - 1:
                    yield _meeting(members, self._since[key], scene.pts)
            elif all(who in self._met for who in key):
                self._remember(key, scene.pts)

    def _remember(self, key: frozenset[int], pts: float) -> None:
        self._met |= dict.fromkeys(key, pts)


def _meeting(members: list[Track], start: float, end: float) -> Fact:
    around = members[0].box
    for track in members[1:]:
        around = union(around, track.box)
    return Fact(
        "meet",
        start,
        end,
        0.7,
        Skill.ACTION,
        tuple(sorted(t.id for t in members)),
        "person",
        place(around),
        SALIENCY["meet"],
        tuple(t.box for t in sorted(members, key=lambda t: t.id)),
    )


def _clusters(tracks: list[Track], aspect: float) -> list[list[Track]]:
    """Groups of at least two, each near some other member."""
    left = list(tracks)
    groups = []
    while left:
        group = [left.pop()]
        for member in group:  # grows while it is walked through
            near = [t for t in left if _near(member, t, aspect)]
            group += near
            left = [t for t in left if t not in near]
        if len(group) > 1:
            groups.append(group)
    return groups


def _near(a: Track, b: Track, aspect: float) -> bool:
    height = (a.box[3] - a.box[1] + b.box[3] - b.box[1]) / 2
    across = abs(centre(a.box)[0] - centre(b.box)[0]) * aspect
    deep = abs(a.box[3] - b.box[3])
    return across <= NEAR_ACROSS * height and deep <= NEAR_DEEP * height
