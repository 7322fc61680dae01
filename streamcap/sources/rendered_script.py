"""What happens in the rendered test scene, and where everything is at any moment: the truth that tests compare with.

One period lasts 60 s and then begins again. Times are media seconds, places are fractions of the frame.

    0–40 s, a street:   5 a person enters from the left, 10 stops, 14 walks on, 20 leaves to the right;
                        12 a bag appears on a ledge, 28 it is gone; 21–29 a person and a van cross, the van in front;
                        29 the street is empty; 30 the lights go off, 34 on
    40 s, cut to a yard with a parked car, which never moves:
                        46–49 the camera pans right, 50–51.5 tilts up, 52–55 zooms in, 56–57.5 shakes; then quiet
    60 s, cut back
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from streamcap.types import Box

__all__ = ["PERIOD", "Actor", "Camera", "SceneEvent", "TrueObject", "actors", "brightness", "camera", "script", "truth"]

PERIOD = 60.0
CUT = 40.0
_RAMP = 0.2  # seconds in which the lights change
_DARK = 0.1  # what is left of the light


@dataclass(frozen=True, slots=True)
class SceneEvent:
    """One thing that happens.

    Attributes:
        what: enter, leave, stop, start, appear, disappear, occlude, empty, lights_off, lights_on, cut, pan, tilt, zoom,
            shake.
        start, end: media seconds; equal for what takes no time.
        who: ids of the objects it is about.
        label: ``person``, ``truck``, ``bag``, ``scene`` or ``camera``.
        where: side or direction: left, right, up, in; empty where it has none.
    """

    what: str
    start: float
    end: float
    who: tuple[int, ...] = ()
    label: str = "scene"
    where: str = ""


@dataclass(frozen=True, slots=True)
class TrueObject:
    """An object as it is at one moment.

    Attributes:
        box: the part inside the frame, 0..1.
        visible: share of the whole object that is inside the frame and not behind another, 0..1.
    """

    id: int
    label: str
    box: Box
    visible: float


@dataclass(frozen=True, slots=True)
class Actor:
    """An object with its path.

    Attributes:
        size: (width, height) at rest, fractions of the frame.
        path: (time, x of the centre, y of the bottom), in order of time; between them it moves evenly.
        depth: smaller is nearer; the nearer one hides the other.
    """

    id: int
    label: str
    size: tuple[float, float]
    path: tuple[tuple[float, float, float], ...]
    depth: int

    def place(self, time: float) -> tuple[float, float] | None:
        """(x of the centre, y of the bottom) at a moment of the period, None where it is not there."""
        if not self.path[0][0] <= time < self.path[-1][0]:
            return None
        for (t0, x0, y0), (t1, x1, y1) in zip(self.path, self.path[1:], strict=False):
            if time < t1:
                share = (time - t0) / (t1 - t0)
                return x0 + share * (x1 - x0), y0 + share * (y1 - y0)
        return None


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera looks: the point in the middle of the picture, and how near."""

    x: float = 0.5
    y: float = 0.5
    zoom: float = 1.0

    def project(self, x: float, y: float) -> tuple[float, float]:
        """A place in the scene (frame fractions at rest) to a place in the picture."""
        return (x - self.x) * self.zoom + 0.5, (y - self.y) * self.zoom + 0.5


_ACTORS = (
    Actor(1, "person", (0.07, 0.34), ((5, -0.035, 0.88), (10, 0.42, 0.88), (14, 0.42, 0.88), (20, 1.035, 0.88)), 2),
    Actor(2, "bag", (0.05, 0.08), ((12, 0.84, 0.40), (28, 0.84, 0.40)), 4),
    Actor(3, "person", (0.065, 0.30), ((21, -0.0325, 0.84), (29, 1.0325, 0.84)), 3),
    Actor(4, "truck", (0.28, 0.36), ((22, 1.14, 0.93), (28, -0.14, 0.93)), 1),
    Actor(5, "car", (0.22, 0.15), ((CUT, 0.6, 0.68), (PERIOD, 0.6, 0.68)), 1),
)
_EVENTS = (
    SceneEvent("enter", 5, 5.8, (1,), "person", "left"),
    SceneEvent("stop", 10, 10, (1,), "person"),
    SceneEvent("appear", 12, 12, (2,), "bag"),
    SceneEvent("start", 14, 14, (1,), "person"),
    SceneEvent("leave", 19.3, 20, (1,), "person", "right"),
    SceneEvent("enter", 21, 21.5, (3,), "person", "left"),
    SceneEvent("enter", 22, 23.3, (4,), "truck", "right"),
    SceneEvent("occlude", 24.6, 25.4, (3, 4), "person"),
    SceneEvent("leave", 26.7, 28, (4,), "truck", "left"),
    SceneEvent("disappear", 28, 28, (2,), "bag"),
    SceneEvent("leave", 28.5, 29, (3,), "person", "right"),
    SceneEvent("empty", 29, 29),
    SceneEvent("lights_off", 30, 30 + _RAMP),
    SceneEvent("lights_on", 34, 34 + _RAMP),
    SceneEvent("cut", CUT, CUT),
    SceneEvent("pan", 46, 49, (), "camera", "right"),
    SceneEvent("tilt", 50, 51.5, (), "camera", "up"),
    SceneEvent("zoom", 52, 55, (), "camera", "in"),
    SceneEvent("shake", 56, 57.5, (), "camera"),
)


def script(seconds: float = PERIOD) -> tuple[SceneEvent, ...]:
    """Everything that happens before ``seconds``, in order of time. Ids go on counting from period to period."""
    events: list[SceneEvent] = []
    for period in range(math.ceil(seconds / PERIOD)):
        begin = period * PERIOD
        if period:
            events.append(SceneEvent("cut", begin, begin))
        for event in _EVENTS:
            who = tuple(i + period * len(_ACTORS) for i in event.who)
            events.append(replace(event, start=event.start + begin, end=event.end + begin, who=who))
    return tuple(event for event in events if event.start < seconds)


def truth(time: float) -> tuple[TrueObject, ...]:
    """The objects in the picture at ``time`` (media seconds), by id."""
    period, moment = divmod(time, PERIOD)
    look = camera(time)
    seen: list[tuple[Actor, Box]] = []
    for actor in actors(time):
        place = actor.place(moment)
        if place is not None:
            seen.append((actor, _box(place, actor.size, look)))
    found = []
    for actor, box in seen:
        inside = _clip(box)
        hidden = max((_overlap(inside, other) for nearer, other in seen if nearer.depth < actor.depth), default=0.0)
        visible = (_area(inside) - hidden) / _area(box)
        if inside[2] > inside[0] and inside[3] > inside[1]:
            found.append(TrueObject(actor.id + int(period) * len(_ACTORS), actor.label, inside, max(0.0, visible)))
    return tuple(found)


def actors(time: float) -> tuple[Actor, ...]:
    """Those that are on the stage at ``time`` (media seconds); ids of the first period."""
    moment = time % PERIOD
    return tuple(actor for actor in _ACTORS if actor.place(moment) is not None)


def camera(time: float) -> Camera:
    """Where the camera looks at ``time`` (media seconds)."""
    moment = time % PERIOD
    if moment < CUT:
        return Camera()
    x = 0.5 + 0.15 * _ease(moment, 46, 49)
    y = 0.5 - 0.12 * _ease(moment, 50, 51.5)
    zoom = 1.0 + 0.4 * _ease(moment, 52, 55)
    if 56 <= moment < 57.5:
        x += 0.008 * (math.sin(moment * 29.0) + math.sin(moment * 47.0))
        y += 0.008 * (math.sin(moment * 37.0) + math.sin(moment * 53.0))
    return Camera(x, y, zoom)


def brightness(time: float) -> float:
    """How much light there is, 0..1."""
    moment = time % PERIOD
    return 1.0 - (1.0 - _DARK) * (_ease(moment, 30, 30 + _RAMP) - _ease(moment, 34, 34 + _RAMP))


def _ease(time: float, start: float, end: float) -> float:
    """0 before ``start``, 1 after ``end``, smooth between."""
    share = min(1.0, max(0.0, (time - start) / (end - start)))
    return share * share * (3.0 - 2.0 * share)


def _box(place: tuple[float, float], size: tuple[float, float], look: Camera) -> Box:
    (x, y), (width, height) = place, size
    x0, y0 = look.project(x - width / 2, y - height)
    x1, y1 = look.project(x + width / 2, y)
    return x0, y0, x1, y1


def _clip(box: Box) -> Box:
    x0, y0, x1, y1 = (min(1.0, max(0.0, value)) for value in box)
    return x0, y0, x1, y1


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _overlap(a: Box, b: Box) -> float:
    return _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
