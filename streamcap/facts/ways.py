"""Which way and how somebody goes: who turns, runs, lingers. Read from paths; what poses tell is told elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from streamcap.facts.paths import Leg, Trail, angle, height, leg, size, within
from streamcap.facts.scene import NAME_LEAST, Scene, about, moves_by_itself
from streamcap.geometry import contained, place, touches
from streamcap.instances import Track
from streamcap.pose import Posture
from streamcap.types import Box, Fact

__all__ = ["Lingering", "Running", "Turning"]

# In a scene with more movers than this, single turns are no news.
BUSY = 4

# Turn: two straight legs of this long (seconds), each this far (own sizes), whose directions differ by this angle.
LEG_S = 1.2
LEG_SIZES = 0.5
LEG_STRAIGHT = 0.8
LEG_LOOKS = 4
TURN_DEG = 75.0
# So far round (degrees) it is turning back; what turns less is only told where it then goes across the picture.
ABOUT_DEG = 120.0
# Seconds that turning itself may take, between the legs.
PAUSES_S = (0.0, 0.6)
# Who turned does not turn again within this time (seconds).
TURN_AGAIN_S = 5.0

# Run, in own heights a second over RUN_S: people walk at 0.8 and stride at 1.2, who runs is above 1.5.
RUN_SPEED = 1.8
RUN_OVER = 1.2
RUN_S = 1.2
RUN_LOOKS = 5
RUN_STRAIGHT = 0.85
# A box that is not this much higher than wide (in pixels), or that a border cuts, does not tell the height.
RUN_UPRIGHT = 1.5
RUN_MARGIN = 0.02
# What carries people: who overlaps it is not on foot.
MOUNTS = frozenset({"bicycle", "motorcycle", "skateboard", "horse", "skis", "snowboard", "surfboard", "car", "truck"})

# Linger: who came and then for this long (seconds) stays within so many own heights of one place.
LINGER_S = 30.0
LINGER_HEIGHTS = 1.2
# Who was there within this time (seconds) of the scene's start did not come.
ARRIVED_S = 2.0
# The place is left when a look is further away than that for this long (seconds).
LINGER_AWAY_S = 1.0


@dataclass(slots=True)
class Turning:
    """Turn: a path that clearly changes its direction."""

    _turned: dict[int, float] = field(default_factory=dict)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        self._turned = {key: at for key, at in self._turned.items() if scene.pts - at < TURN_AGAIN_S}
        movers = [t for t in scene.tracks.active if moves_by_itself(t) and t.label != "object"]
        if scene.camera.moving or scene.driving or len(movers) > BUSY:
            return
        for track in movers:
            if track.id in self._turned:
                continue
            found = turn(list(track.trail), scene.aspect)
            if found is not None:
                after, degrees = found
                self._turned[track.id] = scene.pts
                where = "" if abs(after.dx) < 1.2 * abs(after.dy) else "right" if after.dx > 0 else "left"
                if where or degrees >= ABOUT_DEG:
                    began = scene.pts - after.seconds
                    yield about(track, "turn", began, scene.pts, where, 0.75 if degrees >= ABOUT_DEG else 0.65)


def turn(trail: Trail, aspect: float) -> tuple[Leg, float] | None:
    """The leg after a turn that is just over, and the degrees that it turned by, or None."""
    if len(trail) < 2 * LEG_LOOKS:
        return None
    now = trail[-1][0]
    least = LEG_SIZES * size(within(trail, now - 2 * LEG_S, now), aspect)
    after = leg(within(trail, now - LEG_S, now), aspect)
    if not _is_way(after, least):
        return None
    for pause in PAUSES_S:
        before = leg(within(trail, now - 2 * LEG_S - pause, now - LEG_S - pause), aspect)
        if _is_way(before, least) and (degrees := angle(before, after)) >= TURN_DEG:
            return after, degrees
    return None


def _is_way(part: Leg, least: float) -> bool:
    return part.looks >= LEG_LOOKS and part.far >= least and part.straight >= LEG_STRAIGHT


@dataclass(slots=True)
class Running:
    """Run: a person on foot much faster than anybody walks."""

    _running: set[int] = field(default_factory=set)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.ended:
            self._running.discard(track.id)
        if scene.camera.moving or scene.driving:
            return
        mounts = [t.box for t in scene.tracks.active if t.label in MOUNTS]
        for track in scene.tracks.active:
            if track.label != "person":
                continue
            speed = run_speed(list(track.trail), scene.aspect)
            if speed < RUN_OVER:
                self._running.discard(track.id)
            elif speed >= RUN_SPEED and track.id not in self._running and not _is_mounted(track.box, mounts):
                self._running.add(track.id)
                yield about(track, "run", scene.pts - RUN_S, scene.pts, place(track.box), min(0.85, 0.35 * speed))


def run_speed(trail: Trail, aspect: float) -> float:
    """Own heights a second, sustained over the last ``RUN_S`` seconds; 0 where the boxes do not tell it."""
    now = trail[-1][0]
    part = within(trail, now - RUN_S - 0.1, now)
    if len(part) < RUN_LOOKS or any(_is_misleading(box, aspect) for _, box in part):
        return 0.0
    whole = leg(part, aspect)
    middle = now - whole.seconds / 2
    halves = [leg(within(part, a, b), aspect) for a, b in ((now - RUN_S - 0.1, middle), (middle, now))]
    if whole.straight < RUN_STRAIGHT or any(half.seconds <= 0 for half in halves):
        return 0.0
    # Who is hidden below the waist is half as high: the largest height of late is the true one.
    tall = max(height(within(trail, now - 4 * RUN_S, now)), height(part))
    return min(half.far / half.seconds for half in halves) / max(tall, 1e-3)


def _is_misleading(box: Box, aspect: float) -> bool:
    return bool(touches(box, RUN_MARGIN)) or box[3] - box[1] < RUN_UPRIGHT * (box[2] - box[0]) * aspect


def _is_mounted(box: Box, mounts: list[Box]) -> bool:
    return any(contained(mount, box) > 0.1 or contained(box, mount) > 0.1 for mount in mounts)


@dataclass(slots=True)
class _Stay:
    """Somebody's stay at one place."""

    box: Box
    since: float
    near: float
    told: bool = False


@dataclass(slots=True)
class Lingering:
    """Loiter: who came, stays about one place and neither sits nor lies; told once of each."""

    _stays: dict[int, _Stay] = field(default_factory=dict)
    _began: float | None = None

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        self._began = scene.pts - scene.since_start
        for track in scene.tracks.ended:
            self._stays.pop(track.id, None)
        if scene.camera.moving or scene.driving:
            self._stays.clear()
            return
        for track in scene.tracks.active:
            if track.label == "person":
                yield from self._stay(track, scene)

    def _stay(self, track: Track, scene: Scene) -> Iterator[Fact]:
        stay = self._stays.get(track.id)
        if stay is None:
            self._stays[track.id] = _Stay(track.box, scene.pts, scene.pts)
            return
        if _steps(stay.box, track.box, scene.aspect) <= LINGER_HEIGHTS:
            stay.near = scene.pts
        elif scene.pts - stay.near > LINGER_AWAY_S:
            stay.box, stay.since, stay.near = track.box, scene.pts, scene.pts
        # What never went anywhere may be a post that is taken for a person.
        came = track.roams and self._began is not None and track.born > self._began + ARRIVED_S
        if stay.told or not came or scene.pts - stay.since < LINGER_S or not _is_about(track, scene):
            return
        if track.instance().confidence < NAME_LEAST:
            return
        stay.told = True
        yield about(track, "loiter", stay.since, scene.pts, place(track.box), 0.7)


def _is_about(track: Track, scene: Scene) -> bool:
    """On their feet, as far as is known."""
    word, _ = track.body.posture(scene.pts)
    if word in (Posture.SITTING, Posture.LYING):
        return False
    tall = median((b[3] - b[1]) / max((b[2] - b[0]) * scene.aspect, 1e-6) for _, b in track.trail)
    return word is Posture.STANDING or tall >= RUN_UPRIGHT


def _steps(a: Box, b: Box, aspect: float) -> float:
    """Distance between two places, in own heights."""
    across = ((a[0] + a[2]) - (b[0] + b[2])) / 2 * aspect
    return math.hypot(across, a[3] - b[3]) / max(b[3] - b[1], 1e-3)
