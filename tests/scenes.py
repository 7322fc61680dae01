"""Pictures and actors that tests draw by themselves, so that it is known what is to be seen."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.camera import CameraChange, CameraReading
from streamcap.facts import FactEngine, Scene
from streamcap.geometry import contained
from streamcap.instances import Observed, Stage, Tracker, TrackerUpdate
from streamcap.sources import rendered_script
from streamcap.sources.rendered_script import truth
from streamcap.transform import Transform
from streamcap.types import Box, Fact, Frame, Instance, Observation, Skill

Grey = NDArray[np.uint8]
Image = NDArray[np.uint8]

GREY_SIZE = (320, 176)
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
STILL = CameraReading(Transform(), False, ())


# ---- pictures


@functools.cache
def canvas(seed: int, size: tuple[int, int] = (960, 640)) -> Grey:
    """A place with structure of all sizes, larger than a view of it: (height, width) uint8, mean about 120."""
    rng = np.random.default_rng(seed)
    width, height = size
    picture = np.full((height, width), 120.0, np.float32)
    for grain, strength in ((96, 35.0), (32, 22.0), (12, 16.0), (5, 10.0)):
        coarse = rng.normal(0, 1, (height // grain + 2, width // grain + 2)).astype(np.float32)
        picture += strength * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(60):  # edges and corners, as walls and windows have them
        x, y = int(rng.integers(0, width - 40)), int(rng.integers(0, height - 40))
        w, h = rng.integers(12, 60, 2).tolist()
        cv2.rectangle(picture, (x, y), (x + w, y + h), float(rng.integers(30, 220)), -1)
    result = np.clip(picture, 0, 255).astype(np.uint8)
    result.flags.writeable = False
    return result


def view(place: Grey, *, x: float = 0.0, y: float = 0.0, zoom: float = 1.0, size: tuple[int, int] = GREY_SIZE) -> Grey:
    """What a camera sees of a canvas.

    Args:
        x, y: where it looks, in frame widths and heights from the middle of the canvas.
        zoom: magnification.
        size: (width, height) of the picture.
    """
    width, height = size
    cx, cy = place.shape[1] / 2 + x * width, place.shape[0] / 2 + y * height
    matrix = np.array([[zoom, 0, width / 2 - zoom * cx], [0, zoom, height / 2 - zoom * cy]], np.float32)
    return np.asarray(cv2.warpAffine(place, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


def noisy(picture: Grey, sigma: float, rng: np.random.Generator) -> Grey:
    """The picture with the noise of a sensor."""
    return np.clip(np.rint(picture + rng.normal(0, sigma, picture.shape)), 0, 255).astype(np.uint8)


def lit(picture: Grey, gain: float, lift: float = 0.0) -> Grey:
    """The picture in other light."""
    return np.asarray(np.clip(picture.astype(np.float32) * gain + lift, 0, 255), np.uint8)


def with_patch(picture: Grey, box: Box, seed: int = 0) -> Grey:
    """The picture with a textured object at ``box``; the same seed gives the same object."""
    height, width = picture.shape
    x0, y0, x1, y1 = round(box[0] * width), round(box[1] * height), round(box[2] * width), round(box[3] * height)
    inside = _inside(y0, y1, height), _inside(x0, x1, width)
    ys, xs = np.mgrid[inside]
    result = picture.copy()
    result[inside] = 255 - canvas(1000 + seed)[ys - y0, xs - x0]
    return result


def _inside(start: int, end: int, size: int) -> slice:
    return slice(min(max(start, 0), size), min(max(start, end, 0), size))


# ---- values


def instance(id: int, label: str = "person", box: Box = (0.4, 0.4, 0.5, 0.7), **values: object) -> Instance:
    """An instance that is surely what it is called and in view."""
    known: dict[str, object] = {"confidence": 1.0, "velocity": (0.0, 0.0), "first_seen": 0.0, "last_seen": 1.0}
    return Instance(id=id, label=label, box=box, **{**known, **values})  # type: ignore[arg-type]


def fact(what: str, *who: int, label: str = "person", where: str = "", at: float = 0.0, **values: object) -> Fact:
    """A fact of one moment."""
    known: dict[str, object] = {"start": at, "end": at, "confidence": 0.8, "skill": Skill.ACTION, "saliency": 0.6}
    boxes = tuple((0.4, 0.4, 0.5, 0.7) for _ in who)
    return Fact(what=what, who=who, label=label, where=where, boxes=boxes, **{**known, **values})  # type: ignore[arg-type]


def observation(
    pts: float,
    facts: Sequence[Fact] = (),
    instances: Sequence[Instance] = (),
    *,
    scene_start: bool = False,
    settled: bool = True,
    likely: Sequence[Fact] = (),
) -> Observation:
    """What perception might tell of one frame; captured 1000 s after the epoch."""
    captured_at = 1000.0 + pts
    return Observation(
        pts, captured_at, bool(facts), scene_start, settled, tuple(facts), tuple(instances), likely=tuple(likely)
    )


def frame(image: Image, pts: float = 0.0) -> Frame:
    """A frame of stream ``s``."""
    return Frame("s", round(pts * 25), pts, 1000.0 + pts, image)


# ---- actors


class Play(Protocol):
    """Something with a place at each moment."""

    @property
    def label(self) -> str:
        """What a detector calls it."""
        ...

    @property
    def score(self) -> float:
        """How sure the detector is of it."""
        ...

    @property
    def look(self) -> int:
        """Number of its colours; actors with other numbers look other."""
        ...

    def box(self, time: float) -> Box | None:
        """Where it is, None where it is not there."""
        ...


@dataclass(frozen=True)
class Actor:
    """Something with a path, and what a detector says of it.

    Attributes:
        path: (time, x of the centre, y of the centre), in order of time; it is there from the first to the last.
        size: (width, height), fractions of the frame.
    """

    path: tuple[tuple[float, float, float], ...]
    size: tuple[float, float] = (0.08, 0.3)
    label: str = "person"
    score: float = 0.7
    look: int = 0

    def box(self, time: float) -> Box | None:
        """The whole of it, also what is outside the frame; None where it is not there."""
        if not self.path[0][0] <= time <= self.path[-1][0]:
            return None
        for (t0, x0, y0), (t1, x1, y1) in itertools.pairwise(self.path):
            if time <= t1:
                share = (time - t0) / max(t1 - t0, 1e-9)
                x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
                w, h = self.size[0] / 2, self.size[1] / 2
                return x - w, y - h, x + w, y + h
        return None


@dataclass(frozen=True)
class Shaped:
    """Something whose box is a function of time."""

    shape: Callable[[float], Box | None]
    label: str = "person"
    score: float = 0.7
    look: int = 0

    def box(self, time: float) -> Box | None:
        """Where it is, None where it is not there."""
        return self.shape(time)


@dataclass(frozen=True)
class Scripted:
    """An object of the rendered scene's script as an actor; its box is what is inside the frame."""

    id: int
    score: float = 0.7

    @property
    def label(self) -> str:
        return next(a.label for a in script_actors() if a.id == self.id)

    @property
    def look(self) -> int:
        return self.id

    def box(self, time: float) -> Box | None:
        """Where the truth has it."""
        return next((o.box for o in truth(time) if o.id == self.id), None)


def script_actors() -> list[rendered_script.Actor]:
    """Those of the street, each once."""
    found = {actor.id: actor for time in range(40) for actor in rendered_script.actors(float(time))}
    return list(found.values())


def truthful(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
    """Reports each object of the rendered scene of which two fifths are to be seen."""
    playing = {actor.look for actor, _ in there}
    for item in truth(time):
        if item.visible >= 0.4 and item.id in playing:
            yield Observed(item.box, 0.7, item.label, colours(item.id))


def clipped(box: Box) -> Box:
    x0, y0, x1, y1 = (min(1.0, max(0.0, v)) for v in box)
    return x0, y0, x1, y1


def size_of(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def colours(number: int) -> NDArray[np.float32]:
    """An appearance of 22 numbers that sum to 1, unlike that of any other number."""
    rng = np.random.default_rng(number)
    counts = rng.gamma(0.3, 1.0, 22).astype(np.float32) + np.float32(1e-4)
    return np.asarray(counts / counts.sum(), np.float32)


# Seconds at rest after which something belongs to the background.
ABSORBED_S = 30.0

# Of the actors that are there at a moment (media seconds) with their whole boxes: which are reported, and how?
Detector = Callable[[float, Sequence[tuple[Play, Box]]], Iterable[Observed]]


def perfect(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
    """Reports all of which at least a third is inside the frame."""
    for actor, box in there:
        inside = clipped(box)
        if size_of(inside) >= size_of(box) / 3:
            yield Observed(inside, actor.score, actor.label, colours(actor.look))


@dataclass
class Stagehand:
    """Plays actors to a tracker and the fact engine, frame by frame, as perception would.

    Attributes:
        camera: what the camera does at a moment.
        looks: where the detector looks at a moment; the whole frame where left out.
        stir: share of a box that changes from frame to frame.
        steady: since when the whole picture has not moved, at a moment.
    """

    actors: Sequence[Play] = ()
    fps: float = 5.0
    detector: Detector = perfect
    camera: Callable[[float], CameraReading] = lambda _: STILL
    looks: Callable[[float], Sequence[Box]] = lambda _: (WHOLE,)
    stir: Callable[[Box], float] = lambda _: 0.0
    steady: Callable[[float], float] = lambda _: -math.inf
    tracker: Tracker = field(default_factory=Tracker)
    engine: FactEngine = field(default_factory=FactEngine)
    facts: list[Fact] = field(default_factory=list)
    likely: list[tuple[float, Fact]] = field(default_factory=list)  # with the frame at which it was likely
    updates: list[tuple[float, TrackerUpdate]] = field(default_factory=list)
    actives: list[tuple[float, tuple[Instance, ...]]] = field(default_factory=list)  # as they were at each frame
    _began: float = 0.0  # the scene
    _before: list[Box] = field(default_factory=list)
    _background: dict[Box, float] = field(default_factory=dict)  # what belongs to it, and when it was last there
    _resting: dict[Box, float] = field(default_factory=dict)  # since when

    def play(self, start: float, end: float) -> list[Fact]:
        """Facts of the time from ``start`` to before ``end``."""
        count = len(self.facts)
        for step in range(round((end - start) * self.fps)):
            self.frame(start + step / self.fps)
        return self.facts[count:]

    def come_back(self, time: float) -> None:
        """The camera was away until then, and shows the same place."""
        self.tracker.resume(time)
        self.engine, self._began = FactEngine(), time
        self._before = []

    def frame(self, time: float) -> TrackerUpdate:
        """One frame."""
        there = [(actor, box) for actor in self.actors if (box := actor.box(time)) is not None]
        present = [box for _, box in there]
        moved = self._moved(present)
        fore = self._foreground(present, time)
        seen = [Observed(o.box, o.score, o.label, o.look, _touched(o.box, moved)) for o in self.detector(time, there)]
        looks = self.looks(time)
        seen = [o for o in seen if any(contained(o.box, look) > 0.9 for look in looks)]
        reading = self.camera(time)
        update = self.tracker.update(
            seen,
            looks,
            reading.transform,
            time,
            changed=lambda box: _touched(box, moved),
            cover=lambda box: _touched(box, fore),
        )
        lost = tuple(t for t in self.tracker.tracks if t.stage is Stage.LOST)
        scene = Scene(time, time - self._began, update, reading, lost, stir=self.stir, steady_since=self.steady(time))
        self.facts += self.engine.update(scene)
        self.likely += [(time, fact) for fact in self.engine.likely]
        self.updates.append((time, update))
        self.actives.append((time, tuple(track.instance() for track in update.active)))
        return update

    def said(self, what: str) -> list[Fact]:
        """All facts of one sort."""
        return [f for f in self.facts if f.what == what]

    def _foreground(self, present: Sequence[Box], time: float) -> list[Box]:
        """What an adaptive background model would see: what is there and new, and what is not there any more."""
        if not self.updates:
            self._background = dict.fromkeys(present, time)
        self._resting = {box: self._resting.get(box, time) for box in present}
        self._background |= {box: time for box, since in self._resting.items() if time - since >= ABSORBED_S}
        self._background |= {box: time for box in present if box in self._background}
        self._background = {box: last for box, last in self._background.items() if time - last < ABSORBED_S}
        new = [box for box in present if box not in self._background]
        holes = [box for box in self._background if box not in present]
        return [*new, *holes]

    def _moved(self, boxes: list[Box]) -> list[Box]:
        """Places that something came to or went from since the last frame."""
        before, self._before = self._before, boxes
        return [box for box in [*boxes, *before] if (box in boxes) != (box in before)]


def _touched(box: Box, places: Sequence[Box]) -> float:
    """Share of a box that the places cover, 0..1; overlaps between places count once at most roughly."""
    return min(1.0, sum(contained(clipped(box), clipped(place)) for place in places)) if places else 0.0


def change(what: str, where: str = "", at: float = 0.0) -> CameraReading:
    """A camera reading that reports one change."""
    return CameraReading(Transform(), False, (CameraChange(what, where, at, at, 0.8),))


def lying_on(box: Box, instances: Iterable[Instance], least: float = 0.5) -> Instance | None:
    """The instance that lies on ``box``."""
    shares = [(min(contained(i.box, box), contained(box, i.box)), i) for i in instances]
    share, best = max(shares, key=lambda x: x[0], default=(0.0, None))
    return best if share >= least else None
