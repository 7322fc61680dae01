"""Vehicles and riders: who drives through, parks, rides, gets in and out; and the camera's own drive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from streamcap.facts.scene import SALIENCY, Scene, about
from streamcap.geometry import centre, contained, place, touches
from streamcap.instances import Track
from streamcap.labels import VEHICLES
from streamcap.types import Box, Fact, Side, Skill

__all__ = ["Boarding", "Driving", "OwnDrive", "Riding"]

MOUNTS = frozenset({"bicycle", "motorcycle", "horse"})
# Cars and the like, which stand about and which people get into.
CABINS = VEHICLES - {"motorcycle", "train"} | {"vehicle"}

# Own sizes (the longer side of the box) a second: a vehicle drives, or stands.
DRIVE_SPEED = 0.16
STAND_SPEED = 0.05
# One that was there from the start drives by: so long (seconds), and so far in own sizes or in frame sizes.
DRIVE_S = 1.2
DRIVE_SIZES = 0.5
DRIVE_FRAMES = 0.15
# Standing so long (seconds) after a drive of so many own sizes, it is parked; a queue at a light is more than two.
PARK_S = 15.0
PARK_SIZES = 1.0
QUEUE = 3

# Rider and mount keep together for this long (seconds) while they move at this speed (rider's heights a second) and
# their offset changes by less than this share of the mount's width or height.
RIDE_S = 0.55
RIDE_SPEED = 0.15
RIDE_DRIFT = 0.4
# Feet on pedals end above the wheels (share of the mount's height); who pushes stands on the ground, unless faster
# (own heights a second) than people walk.
PEDALS = 0.02
FASTER_THAN_WALKING = 1.2

# Who gets in: beside the vehicle or before it, of whose box so much of the person's lies in it.
AT_VEHICLE = 0.25
# A person on foot at a vehicle reaches down this far of its height, and is at least this high by it: else it is
# somebody in it, or far behind it.
FEET_LEVEL = 0.7
LEAST_HEIGHT = 0.45
# Slowed down (own heights a second) before getting in; a walker who is hidden by the vehicle goes on as fast.
SLOWED = 0.35
# Gone, or there before, within this time (seconds) and so many own widths: the same one hidden for a while.
HIDDEN_S = 4.0
HIDDEN_WIDTHS = 4.0
EDGE = 0.03

# The camera's own drive is told where vehicles were seen within this time (seconds).
ROAD_S = 6.0


@dataclass(slots=True)
class _Journey:
    """What one vehicle has done so far.

    Attributes:
        resident: it was there when the scene began, so nobody has told that it came.
        moving_since: since when it drives, and from where.
        came: it has driven far enough that standing still for long is parking.
    """

    resident: bool
    moving_since: float | None = None
    start: tuple[float, float] = (0.0, 0.0)
    came: bool = False
    still_since: float | None = None
    rested: bool = False
    told: bool = False


@dataclass(slots=True)
class Driving:
    """Drive through (of those that were there from the start: of others it is told that they enter), and park."""

    _journeys: dict[int, _Journey] = field(default_factory=dict)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.ended:
            self._journeys.pop(track.id, None)
        for track in scene.tracks.confirmed:
            self._journeys[track.id] = _Journey(scene.was_there(track))
        if scene.camera.moving:
            for journey in self._journeys.values():
                journey.moving_since = journey.still_since = None
            return
        vehicles = [t for t in scene.tracks.active if t.label in VEHICLES and t.id in self._journeys]
        for track in vehicles:
            yield from self._follow(track, self._journeys[track.id], scene.pts, len(vehicles))

    def _follow(self, track: Track, journey: _Journey, pts: float, others: int) -> Iterator[Fact]:
        speed = track.speed(1.0)
        if speed > DRIVE_SPEED:
            journey.still_since = None
            if journey.moving_since is None:
                journey.moving_since, journey.start = pts, centre(track.box)
            sizes, frames = _distance(journey.start, track.box)
            journey.came |= sizes >= PARK_SIZES
            drives = pts - journey.moving_since >= DRIVE_S and (sizes >= DRIVE_SIZES or frames >= DRIVE_FRAMES)
            if drives and journey.resident and not journey.rested and not journey.told:
                journey.told = True
                yield about(track, "drive_through", journey.moving_since, pts, _way(journey.start, track.box), 0.85)
        elif speed < STAND_SPEED:
            journey.moving_since, journey.rested = None, True
            journey.still_since = journey.still_since if journey.still_since is not None else pts
            if journey.came and others < QUEUE and pts - journey.still_since >= PARK_S:
                journey.came = False
                yield about(track, "park", journey.still_since, pts, place(track.box), 0.6)


def _distance(start: tuple[float, float], box: Box) -> tuple[float, float]:
    """From a point to the middle of a box: in the box's own sizes, and in frame sizes."""
    x, y = centre(box)
    frames = max(abs(x - start[0]), abs(y - start[1]))
    return frames / max(box[2] - box[0], box[3] - box[1], 1e-3), frames


def _way(start: tuple[float, float], box: Box) -> str:
    """The side that it drives towards."""
    x, y = centre(box)
    dx, dy = x - start[0], y - start[1]
    if abs(dx) >= abs(dy):
        return Side.LEFT if dx < 0 else Side.RIGHT
    return Side.TOP if dy < 0 else Side.BOTTOM


@dataclass(slots=True)
class _Pair:
    since: float
    offset: tuple[float, float]


@dataclass(slots=True)
class Riding:
    """Ride: a person on a bicycle, motorcycle or horse, both moving as one. Each person is told once."""

    _pairs: dict[tuple[int, int], _Pair] = field(default_factory=dict)
    _told: set[int] = field(default_factory=set)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.ended:
            self._told.discard(track.id)
        if scene.camera.cut:
            self._pairs.clear()
            return
        mounts = [t for t in scene.tracks.active if t.label in MOUNTS]
        people = [t for t in scene.tracks.active if t.label == "person" and t.id not in self._told]
        pairs: dict[tuple[int, int], _Pair] = {}
        for person in people:
            for mount in mounts:
                if not _sits_on(person, mount):
                    continue
                key, offset = (person.id, mount.id), _offset(person.box, mount.box)
                known = self._pairs.get(key)
                drifted = known is None or max(abs(a - b) for a, b in zip(offset, known.offset, strict=True))
                pair = _Pair(_together_since(person, mount), offset) if known is None or drifted > RIDE_DRIFT else known
                if known is not None and scene.pts - pair.since >= RIDE_S:  # two looks at least
                    self._told.add(person.id)
                    yield _ride(person, mount, pair.since, scene.pts)
                    break
                pairs[key] = pair
        self._pairs = pairs


def _sits_on(person: Track, mount: Track) -> bool:
    p, m = person.box, mount.box
    width, height = m[2] - m[0], m[3] - m[1]
    middle = (p[0] + p[2]) / 2
    speed = min(person.speed(1.0), mount.speed(1.0) * max(width, height) / max(p[3] - p[1], 1e-3))
    over = m[0] - 0.1 * width <= middle <= m[2] + 0.1 * width and p[1] < m[1] + 0.2 * height
    feet = m[1] + 0.2 * height <= p[3] <= m[3] + 0.05 * height
    lifted = p[3] <= m[3] - PEDALS * height or speed >= FASTER_THAN_WALKING
    return speed >= RIDE_SPEED and over and feet and lifted


def _together_since(person: Track, mount: Track) -> float:
    """Since when, in media seconds, mount and rider are where they are now of each other, while both were seen."""
    mounts = dict(mount.trail)
    both = [(t, _offset(box, mounts[t])) for t, box in person.trail if t in mounts]
    if not both:
        return person.trail[-1][0]
    since, now = both[-1]
    for t, (x, y) in reversed(both):
        if max(abs(x - now[0]), abs(y - now[1])) > RIDE_DRIFT:
            break
        since = t
    return since


def _offset(person: Box, mount: Box) -> tuple[float, float]:
    (px, py), (mx, my) = centre(person), centre(mount)
    return (px - mx) / max(mount[2] - mount[0], 1e-3), (py - my) / max(mount[3] - mount[1], 1e-3)


def _ride(person: Track, mount: Track, start: float, end: float) -> Fact:
    fact = about(person, "ride", start, end, place(mount.box), 0.8)
    fact.detail["vehicle"] = mount.label
    return fact


@dataclass(slots=True)
class _Gone:
    """Somebody who vanished at a vehicle."""

    track: Track
    vehicle: Track
    at: float


@dataclass(slots=True)
class Boarding:
    """Get in and get out: a person vanishes or appears at the side of a standing vehicle, away from the border."""

    _gone: list[_Gone] = field(default_factory=list)
    _stood: dict[int, tuple[float, Box]] = field(default_factory=dict)  # vehicles: last time that they stood, where

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        if scene.camera.moving or scene.camera.cut:
            self._gone.clear()
            return
        standing = [t for t in scene.tracks.active if t.label in CABINS and t.speed(1.0) < STAND_SPEED]
        people = [t for t in scene.tracks.active if t.label == "person"]
        fresh = {t.id for t in (*scene.tracks.confirmed, *scene.tracks.returned) if t.label == "person"}
        for person in people:
            if person.id in fresh:
                hidden = self._hidden(person)
                vehicle = _vehicle_at(person.trail[0][1], standing)
                newborn = person in scene.tracks.confirmed and not scene.was_there(person)
                if hidden is None and newborn and vehicle is not None and _steps_out(person, people):
                    yield _boards(person, vehicle, "get_out", person.born, scene.pts, 0.55)
        known = {gone.track.id for gone in self._gone}
        for track in (*scene.lost, *scene.tracks.ended):
            if track.label == "person" and track.id not in known and scene.pts - track.seen < HIDDEN_S:
                vehicle = _vehicle_at(track.trail[-1][1], standing)
                if vehicle is not None and _slows_down(track):
                    self._gone.append(_Gone(track, vehicle, track.seen))
        for gone in [gone for gone in self._gone if scene.pts - gone.at >= HIDDEN_S]:
            self._gone.remove(gone)
            if gone.track not in scene.tracks.active:
                yield _boards(gone.track, gone.vehicle, "get_in", gone.at, gone.at, 0.55)

    def _hidden(self, person: Track) -> _Gone | None:
        """Who comes out again where somebody vanished was only hidden by the vehicle."""
        for gone in self._gone:
            width = max(person.box[2] - person.box[0], 0.02)
            if abs(centre(person.trail[0][1])[0] - centre(gone.track.trail[-1][1])[0]) < HIDDEN_WIDTHS * width:
                self._gone.remove(gone)
                return gone
        return None


def _vehicle_at(box: Box, vehicles: Sequence[Track]) -> Track | None:
    """The standing vehicle that a person at ``box`` is at the side of."""
    if touches(box, EDGE):
        return None
    for vehicle in vehicles:
        v = vehicle.box
        height = v[3] - v[1]
        on_foot = box[3] >= v[1] + FEET_LEVEL * height and box[3] - box[1] >= LEAST_HEIGHT * height
        if on_foot and contained(box, v) >= AT_VEHICLE:
            return vehicle
    return None


def _slows_down(track: Track) -> bool:
    """Came on foot from elsewhere and was slow in the end."""
    return track.travelled()[0] >= 0.5 and track.speed(0.8) <= SLOWED


def _steps_out(person: Track, people: Sequence[Track]) -> bool:
    """Moves by itself, and nobody beside it can have hidden it."""
    width = max(person.box[2] - person.box[0], 0.02)
    first = centre(person.trail[0][1])[0]
    alone = all(other is person or abs(centre(other.box)[0] - first) > 1.5 * width for other in people)
    return alone and (person.start_motion > 0.12 or person.speed(1.0) > 0.1)


def _boards(person: Track, vehicle: Track, what: str, start: float, end: float, confidence: float) -> Fact:
    fact = about(person, what, start, end, place(vehicle.box), confidence)
    fact.detail["vehicle"] = vehicle.label
    return fact


@dataclass(slots=True)
class OwnDrive:
    """Drive through of the camera itself: told once a scene, where vehicles show that it is a road."""

    _seen: float | None = None
    _since: float | None = None
    _told: bool = False

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        if any(t.label in VEHICLES and t.hits >= 3 for t in scene.tracks.active):
            self._seen = scene.pts
        if not scene.driving:
            self._since = None
            return
        self._since = self._since if self._since is not None else scene.pts
        if not self._told and self._seen is not None and scene.pts - self._seen <= ROAD_S:
            self._told = True
            yield Fact(
                "drive_through", self._since, scene.pts, 0.85, Skill.CAMERA,
                label="camera", saliency=SALIENCY["drive_through"], detail={"along": "road"},
            )  # fmt: skip
