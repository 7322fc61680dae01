"""What happened: facts from instance histories and the camera, each said once.

A rule looks at one frame's :class:`Scene` and yields facts. Rules keep their own hysteresis and share nothing; a new
sort of fact is a new rule in :data:`RULES`. Thresholds stand here, with units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from streamcap.camera import CameraReading
from streamcap.geometry import area, nearest_side, place, touches
from streamcap.instances import Stage, Track, TrackerUpdate
from streamcap.labels import MOVERS, group
from streamcap.types import Fact, Skill

__all__ = ["RULES", "FactEngine", "Rule", "Scene"]

# Scene start: seconds in which what is found was there already.
SETTLE_S = 1.2
# How near (share of the frame) to a side something enters or leaves.
EDGE = 0.05
# Something that moves at birth came; something still was only found late. Share of its box in motion; heights a second.
BORN_MOVING = 0.12
BORN_SPEED = 0.25
# A thing that does not move by itself is only held to have appeared on stronger signs.
THING_MOTION = 0.3
THING_HITS = 5
THING_SURE = 0.75
# An unnamed instance waits this long (seconds) for the detector to name it before it is spoken of.
NAME_WAIT_S = 1.6
# From this confidence on it is spoken of at once; a poorer name waits a little for a better one.
NAME_AT_ONCE = 0.8
NAME_POOR_S = 0.6
# Below this confidence a wrong noun is likelier than a right one.
NAME_LEAST = 0.5
# People in a group hide each other: this close (own widths) to another of its kind, nothing appears or disappears.
CROWDED = 0.8
# Nobody in view for this long: the scene is empty again.
EMPTY_S = 0.6
# Own heights (the longer side of the box) a second.
MOVING_SPEED = 0.16
STILL_SPEED = 0.07
STILL_S = 1.0
# A stop is news after this long a walk, a start after this long a rest (seconds).
WALK_S = 1.5
REST_S = 3.0
# In a scene with more movers than this, single stops and starts are no news.
BUSY = 4

SALIENCY = {
    "enter": 0.7, "leave": 0.65, "appear": 0.55, "disappear": 0.45, "empty": 0.4, "stop": 0.35, "start": 0.35,
    "cut": 0.9, "pan": 0.45, "tilt": 0.45, "zoom": 0.45, "shake": 0.35, "light": 0.75,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the rules see of one frame.

    Attributes:
        pts: media seconds.
        since_start: seconds since the scene began (start of stream, or cut).
        tracks: what the tracker did.
        camera: what the camera did.
        lost: tracks that are out of sight but not given up.
    """

    pts: float
    since_start: float
    tracks: TrackerUpdate
    camera: CameraReading
    lost: tuple[Track, ...] = ()

    @property
    def settling(self) -> bool:
        """What is found now was there already."""
        return self.since_start < SETTLE_S


class Rule(Protocol):
    """Looks at every frame in order; yields a fact when it is sure of it."""

    def update(self, scene: Scene) -> Iterator[Fact]:
        """Facts that this frame made sure."""
        ...


class FactEngine:
    """Runs the rules over a stream."""

    def __init__(self) -> None:
        self._rules = [make() for make in RULES]

    def update(self, scene: Scene) -> list[Fact]:
        """Facts of one frame, most salient first."""
        found = [fact for rule in self._rules for fact in rule.update(scene)]
        return sorted(found, key=lambda fact: -fact.saliency)


def _about(track: Track, what: str, start: float, end: float, where: str, confidence: float) -> Fact:
    instance = track.instance()
    label = instance.label if instance.confidence >= NAME_LEAST else "object"
    size = min(1.0, area(track.box) * 10)
    saliency = SALIENCY[what] * (1.0 if label == "person" else 0.9) * (0.85 + 0.15 * size)
    if label == "object":
        saliency *= 0.6
    return Fact(
        what, start, max(start, end), confidence, Skill.ACTION, (instance.id,), label, where, saliency,
        (track.trail[-1][1],),
    )  # fmt: skip


def _moves_by_itself(track: Track) -> bool:
    return track.label in MOVERS


@dataclass(slots=True)
class Presence:
    """Enter, leave, appear, disappear, and empty again."""

    _here: dict[int, Track] = field(default_factory=dict)
    _waiting: dict[int, Track] = field(default_factory=dict)
    _away: set[int] = field(default_factory=set)
    _empty_since: float | None = None
    _occupied: bool = False

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`Rule`."""
        for track in scene.tracks.confirmed:
            if scene.settling:
                self._here[track.id] = track
            else:
                self._waiting[track.id] = track
        yield from self._arrivals(scene)
        for track in scene.lost:
            if track.id in self._here and track.id not in self._away and _moves_by_itself(track) and _went_out(track):
                self._away.add(track.id)
                yield self._leaving(track)
        for track in scene.tracks.returned:
            if track.id in self._away:
                self._away.discard(track.id)
                if sides := touches(track.trail[-2][1], EDGE) if len(track.trail) > 1 else set():
                    side = nearest_side(track.trail[-2][1], _negated(track.velocity), sides)
                    yield _about(track, "enter", track.seen, scene.pts, side, 0.7)
        for track in scene.tracks.ended:
            yield from self._departure(track)
        yield from self._emptiness(scene)

    def _arrivals(self, scene: Scene) -> Iterator[Fact]:
        for key, track in list(self._waiting.items()):
            if track.stage is Stage.ENDED:
                del self._waiting[key]
                continue
            name = track.instance()
            patience = 0.0 if name.confidence >= NAME_AT_ONCE else NAME_POOR_S
            if (
                name.label not in MOVERS or name.label == "object"
            ):  # what moves and is called a chair needs another look
                patience = NAME_WAIT_S
            if scene.pts - track.confirmed < patience:
                continue
            del self._waiting[key]
            crowded = any(_beside(track, other) for other in self._here.values())
            self._here[key] = track
            yield from _arrival(track, scene.pts, crowded=crowded)

    def _departure(self, track: Track) -> Iterator[Fact]:
        known = self._here.pop(track.id, None)
        away = track.id in self._away
        self._away.discard(track.id)
        if known is None or away or track.twin_since is not None:
            return
        if _moves_by_itself(track) and _went_out(track):
            yield self._leaving(track)
        elif any(_beside(track, other) for other in self._here.values()):
            return
        elif track.disturbed and (track.roams or (_is_sure_thing(track) and _place_changed(track))):
            yield _about(track, "disappear", track.seen, track.seen, place(track.trail[-1][1]), 0.5)

    def _leaving(self, track: Track) -> Fact:
        box = track.trail[-1][1]
        sides = touches(box, EDGE) or touches(track.box, EDGE)
        side = nearest_side(box, track.velocity, sides)
        return _about(track, "leave", track.seen, track.seen, side, 0.8)

    def _emptiness(self, scene: Scene) -> Iterator[Fact]:
        here = [t for key, t in self._here.items() if key not in self._away and _moves_by_itself(t)]
        waiting = any(_moves_by_itself(t) for t in self._waiting.values())
        if here or waiting:
            self._occupied, self._empty_since = bool(here) or self._occupied, None
        elif self._occupied:
            self._empty_since = self._empty_since if self._empty_since is not None else scene.pts
            if scene.pts - self._empty_since >= EMPTY_S:
                self._occupied = False
                yield Fact("empty", self._empty_since, scene.pts, 0.8, Skill.ENVIRONMENT, saliency=SALIENCY["empty"])


def _beside(track: Track, other: Track) -> bool:
    """Two of one kind so close, when ``track`` was first or is last seen, that one may hide the other."""
    if other is track or group(other.label) != group(track.label):
        return False
    width = max(track.box[2] - track.box[0], 0.02) * CROWDED
    places = [box for _, box in other.trail]
    return any(
        mine[0] - width < theirs[2] and theirs[0] < mine[2] + width and mine[1] < theirs[3] and theirs[1] < mine[3]
        for mine in (track.trail[0][1], track.trail[-1][1])
        for theirs in places[-12:]
    )


def _arrival(track: Track, pts: float, *, crowded: bool) -> Iterator[Fact]:
    first = track.trail[0][1]
    moving = track.start_motion > BORN_MOVING or track.speed(2.0) > BORN_SPEED
    if not _moves_by_itself(track):
        if track.start_motion > THING_MOTION and _is_sure_thing(track):
            yield _about(track, "appear", track.born, pts, place(track.box), 0.5)
    elif moving and (sides := touches(first, EDGE)):
        side = nearest_side(first, _negated(track.velocity), sides)
        yield _about(track, "enter", track.born, pts, side, 0.85)
    elif moving and not crowded:
        yield _about(track, "appear", track.born, pts, place(track.box), 0.6)


def _is_sure_thing(track: Track) -> bool:
    instance = track.instance()
    return track.hits >= THING_HITS and instance.label != "object" and instance.confidence >= THING_SURE


def _place_changed(track: Track) -> bool:
    """Its place looks other than with it: as before it came, or as never before."""
    return abs(track.hole - track.covered) > THING_MOTION


def _went_out(track: Track) -> bool:
    """Its last place is at a side, and it was moving that way or is cut off by it."""
    box = track.trail[-1][1]
    x, y = (track.box[0] + track.box[2]) / 2, (track.box[1] + track.box[3]) / 2
    if not (0.0 < x < 1.0 and 0.0 < y < 1.0):
        return True
    sides = touches(box, EDGE)
    if not sides:
        return False
    vx, vy = track.velocity
    outward = {"left": -vx, "right": vx, "top": -vy, "bottom": vy}
    return any(outward[side] > 0.01 for side in sides) and track.disturbed


def _negated(velocity: tuple[float, float]) -> tuple[float, float]:
    return -velocity[0], -velocity[1]


@dataclass(slots=True)
class _Gait:
    moving: bool
    since: float
    still_since: float | None = None


@dataclass(slots=True)
class Motion:
    """Stop and start of what moves by itself."""

    _gaits: dict[int, _Gait] = field(default_factory=dict)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`Rule`."""
        for track in scene.tracks.ended:
            self._gaits.pop(track.id, None)
        if scene.camera.moving or scene.camera.cut:
            self._gaits.clear()
            return
        movers = [t for t in scene.tracks.active if _moves_by_itself(t)]
        for track in movers:
            fact = self._walk(track, scene.pts)
            if fact is not None and len(movers) <= BUSY and fact.label != "object":
                yield fact

    def _walk(self, track: Track, pts: float) -> Fact | None:
        speed = track.speed(1.0)
        gait = self._gaits.get(track.id)
        if gait is None:
            if pts - track.born >= 1.0:
                self._gaits[track.id] = _Gait(speed > MOVING_SPEED, track.born)
            return None
        if gait.moving:
            if speed >= STILL_SPEED:
                gait.still_since = None
            elif gait.still_since is None:
                gait.still_since = pts
            elif pts - gait.still_since >= STILL_S:
                walked = gait.still_since - gait.since
                self._gaits[track.id] = _Gait(False, gait.still_since)
                if walked >= WALK_S:
                    return _about(track, "stop", gait.still_since - 1.0, pts, place(track.box), 0.7)
        elif speed > MOVING_SPEED:
            rested = pts - gait.since
            self._gaits[track.id] = _Gait(True, pts)
            if rested >= REST_S:
                return _about(track, "start", pts - 0.5, pts, place(track.box), 0.7)
        return None


class Camera:
    """Cut, pan, tilt, zoom, shake and light, which the camera watch has already made sure of."""

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`Rule`."""
        for change in scene.camera.changes:
            skill = Skill.ENVIRONMENT if change.what in ("light", "cut") else Skill.CAMERA
            label = "scene" if skill is Skill.ENVIRONMENT else "camera"
            yield Fact(
                change.what, change.start, change.end, change.confidence, skill,
                label=label, where=change.where, saliency=SALIENCY[change.what],
            )  # fmt: skip


RULES: tuple[Callable[[], Rule], ...] = (Presence, Motion, Camera)
