"""Who falls and lies: read from how a person's box changes, which needs no pose and survives a poor one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streamcap.facts.scene import Scene, about
from streamcap.geometry import place
from streamcap.instances import Track
from streamcap.types import Box, Fact

__all__ = ["Posture"]

# Height by width, in pixels, of who stands or sits, and of who lies.
UPRIGHT = 1.1
FLAT = 0.75
# A fall takes at least and at most this long (seconds), and the head comes down by this share of the height.
FALL_QUICKEST_S = 0.3
FALL_LONGEST_S = 2.0
DROP = 0.35
# The feet stay where they are: the bottom of the box moves less than this share of the height.
FEET = 0.3
# Flat for this long: it was no glitch of the box. On the floor for this long after it: lies.
FLAT_S = 0.3
LIE_S = 1.5


@dataclass(slots=True)
class _Fallen:
    since: float
    told: bool = False


@dataclass(slots=True)
class Posture:
    """Fall, and lie after it."""

    _fallen: dict[int, _Fallen] = field(default_factory=dict)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.ended:
            self._fallen.pop(track.id, None)
        if scene.camera.moving:
            return
        for track in scene.tracks.active:
            if track.label != "person":
                continue
            fallen = self._fallen.get(track.id)
            if fallen is None:
                yield from self._fall(track, scene)
            elif _shape(track.trail[-1][1], scene.aspect) > UPRIGHT:
                del self._fallen[track.id]
            elif not fallen.told and scene.pts - fallen.since >= LIE_S:
                fallen.told = True
                yield about(track, "lie", fallen.since, scene.pts, place(track.box), 0.8)

    def _fall(self, track: Track, scene: Scene) -> Iterator[Fact]:
        began = fall_began(list(track.trail), scene.aspect)
        if began is not None:
            self._fallen[track.id] = _Fallen(scene.pts)
            yield about(track, "fall", began, scene.pts, place(track.box), 0.75)


def fall_began(trail: list[tuple[float, Box]], aspect: float) -> float | None:
    """When a fall that is over now began (media seconds), or None.

    Args:
        trail: (media seconds, box) of a person, the newest last.
        aspect: width of the frame by its height.
    """
    now, last = trail[-1]
    flat = [t for t, box in trail if now - t <= FLAT_S + 0.05 and _shape(box, aspect) < FLAT]
    if len(flat) < 2 or now - flat[0] < FLAT_S - 0.15 or _shape(last, aspect) >= FLAT:
        return None
    for t, box in reversed(trail):
        if not FALL_QUICKEST_S <= flat[0] - t <= FALL_LONGEST_S:
            continue
        height = box[3] - box[1]
        if (
            _shape(box, aspect) >= UPRIGHT
            and last[1] - box[1] >= DROP * height
            and abs(last[3] - box[3]) <= FEET * height
        ):
            return t
    return None


def _shape(box: Box, aspect: float) -> float:
    """Height by width in pixels."""
    return (box[3] - box[1]) / max((box[2] - box[0]) * aspect, 1e-6)
