"""One instance over time: what was seen of it, where it goes, and what follows from that."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from streamcap.appearance import Appearance
from streamcap.body import Body
from streamcap.geometry import centre, depth, nearest_side, outward, touches
from streamcap.labels import Vote, group
from streamcap.load import Load
from streamcap.transform import Transform
from streamcap.types import Box, Instance, Side

__all__ = ["HITS_STILL", "Observed", "Stage", "Track", "birth"]

# g-h filter (Brookner 1998): share of the residual that goes to the place, and to the velocity.
GAIN_PLACE = 0.75
GAIN_VELOCITY = 0.35
GAIN_SIZE = 0.5
# In its first sightings, a step of more than this (own sizes) is no trembling of the box: the second sighting tells
# where it goes and how fast, else what is quick would be lost before the filter has caught up. People take no such
# steps; their neighbours in a crowd stand that far away.
YOUNG = 2
STRIDE = 0.45
# From this speed on (own sizes a second) it is quick: people who walk are slower.
QUICK = 1.0
# Gone this far, in its own sizes or (what is large) in frame sizes, it goes about by itself.
ROAM = 1.2
ROAM_FRAMES = 0.2
# The filter spreads a jump: its largest step is this part of it, the other way round.
JUMP = 1.33
# Confirmation: detections needed; a moving thing needs one less than a still one.
HITS_STILL = 3
HISTORY = 64
# How near (share of the frame) to a side it leaves, and how fast (frame sizes a second) it then goes that way.
EDGE = 0.05
OUTWARD_SPEED = 0.01
# The same when it was last seen: less steady, so more of it is asked of what the side does not cut off.
OUTWARD_COURSE = 0.03
# It left the way that it went over its last seconds.
HEADING_S = 1.5
# A place is left where less than this part remains of what there was before the background: this much (share of the
# box) at least, as next to nothing remains of next to nothing.
VACATED = 0.3
COVERED_LEAST = 0.05
# At its speed it may be out by now, within this much (share of the frame). The middle of what a border cuts off goes
# half as fast as the thing itself.
OUT_MARGIN = 0.12
CUT_SPEED = 2.0
# Near: it takes up this much of the frame's height, or of the frame. Far: of a kind whose size is known, only so much
# of the height.
NEAR_HEIGHT = 0.7
NEAR_AREA = 0.2
FAR_HEIGHT = {"person": 0.12, "vehicle": 0.07}
# A sighting of the whole keeps this far (share of the frame) from the border; of a person, the box (in shares of the
# frame's sides) is this much higher than wide.
WHOLE_MARGIN = 0.01
UPRIGHT = 1.3
# From this confidence on a posture is part of what is told of a person.
POSTURE_SURE = 0.6
# Whose hair the frame cuts off, and who is this high, is seen whole all the same.
WHOLE_HEIGHT = 0.75


@dataclass(frozen=True, slots=True)
class Observed:
    """Something seen in this frame.

    Attributes:
        box: in 0..1.
        score: 0..1.
        label: the detector's class, or empty for a blob of motion.
        look: (22,) float32 colour shares (colours.py), or None.
        motion: share of the box that moves, 0..1.
    """

    box: Box
    score: float
    label: str = ""
    look: NDArray[np.float32] | None = None
    motion: float = 0.0


class Stage(Enum):
    """Where a track is in its life."""

    TENTATIVE = 0
    ACTIVE = 1
    LOST = 2
    ENDED = 3


@dataclass(slots=True, eq=False)
class Track:
    """One instance over time. Only the tracker writes it (the pose stage its ``body``, Carrying its ``load``).

    Attributes:
        id: 0 while tentative.
        velocity: of the centre, in frame sizes a second, camera motion removed; ``course``: as it was when last seen.
        seen: last time that it was observed; ``looked``: last time it should have been.
        appearance: its colours.
        again: it left and came back; ``first_seen``: when it was seen for the first time of all.
        continuous: it was there since then, as far as anybody can tell: it did not come back, and somebody watched.
        ready: when all was there to confirm it.
        trail: (media seconds, box) of its observations as the camera stands now, the newest last, at most 64.
        start_motion: largest motion share of its first observations.
        covered: share of its place, 0..1, that differed from the background when it was last seen; 0 where that
            background is not known any more.
        disturbed: pixels changed at its place while it was not seen.
        hole: share of its place, 0..1, that differs from the background while it is missed, until it is lost: later
            somebody who stands there unseen has become background.
        roams: it has gone some way by itself.
        lingers: last time that it was taken to be there because it fills the frame and its pixels changed.
        body: how the person held the body over the last seconds; empty for what is no person.
        load: what the person carries, as far as was seen.
    """

    box: Box
    born: float
    seen: float
    looked: float
    moved: float
    stage: Stage = Stage.TENTATIVE
    id: int = 0
    hits: int = 0
    misses: int = 0
    velocity: tuple[float, float] = (0.0, 0.0)
    course: tuple[float, float] = (0.0, 0.0)
    vote: Vote = field(default_factory=Vote)
    appearance: Appearance = field(default_factory=Appearance)
    again: bool = False
    first_seen: float = 0.0
    continuous: bool = True
    ready: float | None = None
    motion: float = 0.0
    start_motion: float = 0.0
    best: float = 0.0
    covered: float = 0.0
    disturbed: bool = False
    hole: float = 0.0
    roams: bool = False
    confirmed: float = 0.0
    trail: deque[tuple[float, Box]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    twin_since: float | None = None
    lingers: float = -1.0
    body: Body = field(default_factory=Body)
    load: Load = field(default_factory=Load)

    @property
    def label(self) -> str:
        """What it is by vote; ``object`` where that is open."""
        label, _ = self.vote.result(roams=self.roams)
        # A laptop stands on something: a screen that hangs into the picture from above is on a wall.
        return "tv" if label == "screen" and self.box[1] <= EDGE else label

    @property
    def confidence(self) -> float:
        """How sure the label is, 0..1."""
        label, share = self.vote.result(roams=self.roams)
        return share * self.vote.sureness(label)

    @property
    def outside(self) -> bool:
        """Its centre, as expected or seen, has left the frame."""
        x, y = centre(self.box)
        return not (0.0 < x < 1.0 and 0.0 < y < 1.0)

    def instance(self) -> Instance:
        """The track as a value."""
        label = self.label
        return Instance(
            self.id,
            label,
            self.confidence,
            self.box,
            self.velocity,
            self.first_seen,
            self.trail[-1][0],
            attributes=self._attributes(label),
            posture=self._posture(label),
            visible=self.stage is Stage.ACTIVE,
            near=self._near(label),
            carries=self.load.carries if label == "person" else (),
            continuous=self.continuous,
        )

    def _near(self, label: str) -> bool | None:
        width, height = self.box[2] - self.box[0], self.box[3] - self.box[1]
        if height >= NEAR_HEIGHT or width * height >= NEAR_AREA:
            return True
        far = FAR_HEIGHT.get(label if label == "person" else group(label))
        return False if far is not None and height <= far and not touches(self.box, WHOLE_MARGIN) else None

    def _posture(self, label: str) -> str:
        word, sure = self.body.posture(self.moved)
        return word.value if label == "person" and sure >= POSTURE_SURE else ""

    def _attributes(self, label: str) -> tuple[str, ...]:
        # Words were chosen for what it was held to be at the time.
        clothes = any(" " in word for word in self.appearance.words)
        return self.appearance.words if clothes == (label == "person") else ()

    def _is_whole(self, box: Box) -> bool:
        """All of it is in view: of someone cut off by the border the hair would pass for a jacket."""
        width, height = box[2] - box[0], box[3] - box[1]
        if self.label == "person" and height <= UPRIGHT * width:
            return False
        cut = touches(box, WHOLE_MARGIN)
        return not cut or (cut == {Side.TOP} and height >= WHOLE_HEIGHT)

    def speed(self, span: float) -> float:
        """Mean speed over the last ``span`` seconds of its trail, in its own heights a second."""
        if len(self.trail) < 2:
            return 0.0
        end, last = self.trail[-1]
        t, first = end, last
        for earlier, box in reversed(self.trail):
            if end - earlier > span:
                break
            t, first = earlier, box
        if end - t <= 0:
            return 0.0
        size = max(last[3] - last[1], last[2] - last[0], 1e-3)
        (x0, y0), (x1, y1) = centre(first), centre(last)
        return float(np.hypot(x1 - x0, y1 - y0)) / size / (end - t)

    @property
    def is_quick(self) -> bool:
        """It goes so fast that it is somewhere else in the next frame."""
        return self.speed(1.0) >= QUICK

    def follow(self, camera: Transform) -> None:
        """Carry place and trail over into the picture as the camera has moved it: what is left is its own motion."""
        self.box = _seen_by(camera, self.box)
        self.trail = deque(((t, _seen_by(camera, box)) for t, box in self.trail), maxlen=HISTORY)

    def shift(self, dx: float, dy: float) -> None:
        """Move on by a share of the frame."""
        x0, y0, x1, y1 = self.box
        self.box = (x0 + dx, y0 + dy, x1 + dx, y1 + dy)

    def expected(self, pts: float) -> Box:
        """Where to look for it in the frame of ``pts``: what is quick has gone on by then."""
        dx, dy = (v * max(0.0, pts - self.moved) for v in self.velocity) if self.is_quick else (0.0, 0.0)
        return self.box[0] + dx, self.box[1] + dy, self.box[2] + dx, self.box[3] + dy

    def hold(self, pts: float) -> None:
        """Its pixels have not changed: it is where it was last observed, and still."""
        self.box = self.trail[-1][1]
        self.velocity = (0.0, 0.0)
        self.motion = 0.0
        self.moved = pts
        self.trail.append((pts, self.box))

    def linger(self, pts: float) -> None:
        """It fills the frame and stirs, but was not recognised: it is where it was."""
        self.box = self.trail[-1][1]
        self.velocity = (0.0, 0.0)
        self.moved = self.lingers = pts

    def move(self, box: Box, pts: float) -> None:
        """Blend a measured box into the track's place and velocity."""
        dt = pts - self.moved
        self.moved = pts
        if dt <= 0:
            self.box = box
            return
        (px, py), (mx, my) = centre(self.box), centre(box)
        size = max(box[2] - box[0], box[3] - box[1])
        young = self.hits <= YOUNG and not self.vote.includes("person")
        strides = young and math.hypot(mx - px, my - py) > STRIDE * size
        place, speed = (1.0, 1.0) if strides else (GAIN_PLACE, GAIN_VELOCITY)
        x, y = px + place * (mx - px), py + place * (my - py)
        vx, vy = self.velocity
        self.velocity = (vx + speed * (mx - px) / dt, vy + speed * (my - py) / dt)
        w = _blend(self.box[2] - self.box[0], box[2] - box[0]) / 2
        h = _blend(self.box[3] - self.box[1], box[3] - box[1]) / 2
        self.box = (x - w, y - h, x + w, y + h)

    def interrupt(self, pts: float) -> None:
        """Nobody watched until ``pts``: how it went and held itself before then says nothing of how it does now."""
        self.velocity = self.course = (0.0, 0.0)
        self.seen = self.looked = pts
        self.moved = math.inf  # where it is seen next it has not gone from here
        self.trail = deque([self.trail[-1]], maxlen=HISTORY)
        self.body = Body()
        self.twin_since = None
        self.continuous = False

    def find(self, pts: float) -> None:
        """It was seen again after that: where it was before is no part of its way, and whoever asks sees it anew."""
        self.confirmed = pts
        self.trail = deque([self.trail[-1]], maxlen=HISTORY)

    def observe(self, seen: Observed, pts: float) -> None:
        """Take in a sighting."""
        self.move(seen.box, pts)
        self.seen = self.looked = pts
        self.course = self.velocity
        self.disturbed = False
        self.trail.append((pts, self.box))
        self.hits += 1
        self.misses = 0
        self.motion = seen.motion
        self.best = max(self.best, seen.score if seen.label else 0.0)
        if self.hits <= HITS_STILL:
            self.start_motion = max(self.start_motion, seen.motion)
        if self.stage is Stage.LOST:
            self.stage = Stage.ACTIVE
        self.vote.add(seen.label, seen.score)
        if seen.look is not None:
            self.appearance.add(seen.look, whole=self._is_whole(seen.box), label=self.label)

    @property
    def vacated(self) -> bool:
        """When it was missed its place showed the background again: nothing of it was left, nothing stood before it."""
        return self.covered >= COVERED_LEAST and self.hole < VACATED * self.covered

    @property
    def went_out(self) -> bool:
        """Its last place is at a side, and it was moving that way or is cut off by it."""
        return self.outside or bool(self._sides_towards())

    def is_out(self, pts: float) -> bool:
        """It went over the border: at its speed there was time for that, or its place was seen empty.

        Who stands there, cut off, is missed by the detector now and then, for seconds; and the place of who goes along
        the border is empty, too, when he is found elsewhere under another id.
        """
        if not self.went_out:
            return False
        outwards, most = outward(self.course), max(map(abs, self.course))
        straight = any(outwards[side] >= most for side in self._sides_towards())
        return self.may_be_out(pts) or (straight and self.vacated)

    def exit_side(self) -> Side | None:
        """The side of the frame by which it left, if it did."""
        last = self.trail[-1][1]
        sides = self._sides_towards()
        if self.outside:
            sides = touches(last, EDGE) or touches(self.box, EDGE)
        return nearest_side(last, self.heading(HEADING_S), sides) if sides else None

    def may_be_out(self, pts: float) -> bool:
        """Since it was last seen there was time to go out of the frame, the way and as fast as it went then.

        Who comes close stands at the lower border and is missed by the detector now and then: no reason to be gone.
        """
        if self.outside:
            return True
        last, gone = self.trail[-1][1], pts - self.trail[-1][0]
        away = [outward(v) for v in (self.velocity, self.course, self.heading(HEADING_S))]
        return any(
            depth(last, side) <= CUT_SPEED * max(way[side] for way in away) * gone + OUT_MARGIN
            for side in self._sides_towards()
        )

    def _sides_towards(self) -> set[Side]:
        away, went = outward(self.velocity), outward(self.course)
        last = self.trail[-1][1]
        near, cut = (touches(last, EDGE), touches(last, WHOLE_MARGIN)) if self.disturbed else (set(), set())
        return {
            side
            for side in near
            if away[side] > OUTWARD_SPEED or went[side] > (OUTWARD_SPEED if side in cut else OUTWARD_COURSE)
        }

    def heading(self, span: float) -> tuple[float, float]:
        """Mean velocity (frame sizes a second) over the last ``span`` seconds; steadier than the momentary one."""
        end, last = self.trail[-1]
        t, first = next((t, box) for t, box in self.trail if end - t <= span)
        if end <= t:
            return self.velocity
        (x0, y0), (x1, y1) = centre(first), centre(last)
        return (x1 - x0) / (end - t), (y1 - y0) / (end - t)

    def return_as(self, key: int, appearance: Appearance, first_seen: float) -> None:
        """It is who was here before under this id."""
        self.id, self.again, self.first_seen, self.continuous = key, True, first_seen, False
        words = appearance.words or self.appearance.words
        self.appearance = replace(self.appearance, words=words, whole=appearance.whole + self.appearance.whole)

    def travelled(self) -> tuple[float, float]:
        """Distance from the first to the last observation: in its own sizes, and in frame sizes."""
        (x0, y0), (x1, y1) = centre(self.trail[0][1]), centre(self.trail[-1][1])
        size = max(self.box[3] - self.box[1], self.box[2] - self.box[0], 1e-3)
        distance = float(np.hypot(x1 - x0, y1 - y0))
        return distance / size, distance

    def has_gone(self) -> bool:
        """It went some way, and was seen on the way; unless carried, by itself.

        The largest step does not count: of two things that look the same one may be taken for the other.
        """
        sizes, frames = self.travelled()
        if sizes <= ROAM and frames <= ROAM_FRAMES:
            return False
        middles = np.asarray([centre(box) for _, box in self.trail])
        jump = JUMP * float(np.hypot(*np.diff(middles, axis=0).T).max(initial=0.0))
        share = max(0.0, 1 - jump / max(frames, 1e-6))
        return sizes * share > ROAM or frames * share > ROAM_FRAMES

    def is_fixture(self) -> bool:
        """Stands still where nothing changes: not seen now, but nothing says that it went."""
        return not self.disturbed and self.motion < 0.1 and self.speed(2.0) < 0.15


def birth(seen: Observed, pts: float) -> Track:
    """A tentative track from its first sighting."""
    track = Track(seen.box, pts, pts, pts, pts, first_seen=pts)
    track.observe(seen, pts)
    return track


def _seen_by(camera: Transform, box: Box) -> Box:
    x0, y0 = camera.apply(box[0], box[1])
    x1, y1 = camera.apply(box[2], box[3])
    return x0, y0, x1, y1


def _blend(old: float, new: float) -> float:
    return old + GAIN_SIZE * (new - old)
