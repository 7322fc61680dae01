"""How a person holds the body, from the joints that a pose estimator finds. Pure.

All lengths are in *torsos* (shoulders to hips of the same person), angles in degrees, so that near and far people are
judged alike. A joint that is poorly seen, or lies at the border of the frame, says nothing: who stands behind a table
has no legs here, and does not sit for that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from streamcap.labels import SEATS
from streamcap.types import Box

__all__ = ["Facing", "Joint", "Pose", "Posture", "Vector", "seat_of"]

# (x, y) in frame heights: the picture's own shape is taken out.
Vector = tuple[float, float]

# Least score of a joint that is believed.
SEEN = 0.3
# Nearer than this (share of the frame) to the border a joint is cut off, or guessed to lie there.
BORDER = 0.01
# Least number of believed joints, of 17, and mean score of these, for a body to be read at all.
JOINTS = 6
SURE = 0.4


class Joint(IntEnum):
    """COCO's joints; left and right are the person's own."""

    NOSE = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    LEFT_EAR = 3
    RIGHT_EAR = 4
    LEFT_SHOULDER = 5
    RIGHT_SHOULDER = 6
    LEFT_ELBOW = 7
    RIGHT_ELBOW = 8
    LEFT_WRIST = 9
    RIGHT_WRIST = 10
    LEFT_HIP = 11
    RIGHT_HIP = 12
    LEFT_KNEE = 13
    RIGHT_KNEE = 14
    LEFT_ANKLE = 15
    RIGHT_ANKLE = 16


class Posture(StrEnum):
    """Words for how somebody holds the body."""

    UNKNOWN = ""
    STANDING = "standing"
    SITTING = "sitting"
    CROUCHING = "crouching"
    BENT = "bending"
    LYING = "lying"


WORDS = tuple(word for word in Posture if word)


class Facing(StrEnum):
    """Where a head looks, as the viewer sees it."""

    UNKNOWN = ""
    TOWARDS = "towards"
    AWAY = "away"
    LEFT = "left"
    RIGHT = "right"


SHOULDERS = (Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER)
HIPS = (Joint.LEFT_HIP, Joint.RIGHT_HIP)
KNEES = (Joint.LEFT_KNEE, Joint.RIGHT_KNEE)
ANKLES = (Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE)
FACE = (Joint.NOSE, Joint.LEFT_EYE, Joint.RIGHT_EYE)
HEAD = (*FACE, Joint.LEFT_EAR, Joint.RIGHT_EAR)
ARMS = (
    (Joint.LEFT_SHOULDER, Joint.LEFT_ELBOW, Joint.LEFT_WRIST),
    (Joint.RIGHT_SHOULDER, Joint.RIGHT_ELBOW, Joint.RIGHT_WRIST),
)

# Angle of the torso from the vertical, degrees: up to the first it is upright, from the second on it is level.
UPRIGHT_DEG = 35.0
LEVEL_DEG = 60.0
# Legs under the body: their angle from the vertical, in the same sense.
LEGS_UNDER_DEG = 40.0
LEGS_LEVEL_DEG = 62.0
# Height of hip above knee by height of knee above ankle. Who stands shows 0.8 and more from any height of the camera,
# who sits on a chair 0.5 and less, seen from the side or from the front.
THIGH_BY_SHIN_SITTING = 0.5
THIGH_BY_SHIN_STANDING = 0.8
# The same where the feet are out of sight: height of hip above knee in torsos.
THIGH_BENT = 0.25
THIGH_STANDING = 0.55
# Height of hips above ankles in torsos: who crouches has them nearly on the heels.
HIPS_CROUCHING = 0.45
HIPS_SITTING = 0.65
# Legs that are seen this poorly (score) tell standing, never sitting: half hidden ones are drawn too short.
LEGS_SURE = 0.4
# Head above hips by hips above ankles has come down to this share of what it was while standing: bent over, also where
# that is towards the camera or away from it.
STOOPED = 0.62
STRAIGHT = 0.8
# Beyond the joints the head and the feet go on by this much (torsos).
HEAD_ROOM = 0.4
FOOT_ROOM = 0.2
# Wrist to mouth, in torsos: the hand goes on beyond the wrist by about a third of a torso. The forearm points up, the
# wrist above the elbow by this much (torsos).
AT_MOUTH = 0.5
FOREARM_UP = 0.25
# A raised hand is above the eyes by this much (torsos).
RAISED = 0.1
# A reaching arm: from shoulder to wrist at least this long, and sideways from the shoulder at least this far (torsos).
REACH = 0.75
REACH_ACROSS = 0.5
# Shoulders this far apart (torsos) are seen from in front or from behind.
BROADSIDE = 0.3


@dataclass(frozen=True)
class Pose:
    """The joints of one person at one moment.

    Attributes:
        t: media seconds.
        joints: (17, 3) float32: x and y in 0..1 of the frame, score 0..1.
        aspect: width of the frame by its height.
    """

    t: float
    joints: NDArray[np.float32]
    aspect: float

    @cached_property
    def _points(self) -> dict[Joint, Vector]:
        return {
            Joint(n): (x * self.aspect, y)
            for n, (x, y, score) in enumerate(self.joints.tolist())
            if score >= SEEN and BORDER < x < 1 - BORDER and BORDER < y < 1 - BORDER
        }

    @cached_property
    def _middles(self) -> dict[tuple[Joint, ...], Vector | None]:
        return {}  # what was asked of this pose: rules ask for the same few again and again

    def point(self, *joints: Joint) -> Vector | None:
        """Middle of those of the joints that are seen, in frame heights (x grows to the right, y down), or None."""
        if joints not in self._middles:
            found = [self._points[j] for j in joints if j in self._points]
            self._middles[joints] = _middle(found) if found else None
        return self._middles[joints]

    def score(self, *joints: Joint) -> float:
        """Mean score of joints, 0..1; of those out of the frame it counts as 0."""
        return sum(float(self.joints[j, 2]) for j in joints if j in self._points) / len(joints)

    @cached_property
    def torso(self) -> float:
        """Shoulders to hips in frame heights; 0 where they are not both seen."""
        shoulders, hips = self.point(*SHOULDERS), self.point(*HIPS)
        return math.dist(shoulders, hips) if shoulders and hips else 0.0

    @cached_property
    def readable(self) -> bool:
        """Enough of a body is seen to speak of it."""
        scores = [float(self.joints[j, 2]) for j in self._points]
        return len(scores) >= JOINTS and sum(scores) / len(scores) >= SURE and self.torso > 0

    @cached_property
    def tilt(self) -> float | None:
        """Angle of the torso from the vertical: 0 upright, 90 level, beyond that the head is lower than the hips."""
        return _angle(self.point(*SHOULDERS), self.point(*HIPS))

    @cached_property
    def legs_tilt(self) -> float | None:
        """Angle of the legs (hips to ankles, or to the knees) from the vertical."""
        return _angle(self.point(*HIPS), self.point(*ANKLES) or self.point(*KNEES))

    @cached_property
    def rise(self) -> float | None:
        """Head above hips by hips above ankles: about 1 for who stands, whatever the height of the camera."""
        head, hips, ankles = self.point(*HEAD) or self.point(*SHOULDERS), self.point(*HIPS), self.point(*ANKLES)
        if head is None or hips is None or ankles is None or ankles[1] - hips[1] < 0.6 * self.torso:
            return None
        return (hips[1] - head[1]) / (ankles[1] - hips[1])

    @property
    def head(self) -> Vector | None:
        """Middle of the head in frame heights."""
        return self.point(*HEAD)

    @cached_property
    def extent(self) -> Box | None:
        """Around all joints that are seen, with room for the top of the head and the feet; 0..1 of the frame."""
        if not self._points or not self.torso:
            return None
        xs, ys = zip(*self._points.values(), strict=True)
        x0, x1 = min(xs) / self.aspect, max(xs) / self.aspect
        return x0, min(ys) - HEAD_ROOM * self.torso, x1, max(ys) + FOOT_ROOM * self.torso

    @property
    def top(self) -> float | None:
        """Height (y in 0..1 of the frame) of the head, or of the shoulders where they are higher or alone are seen."""
        heights = [point[1] for point in (self.point(*HEAD), self.point(*SHOULDERS)) if point]
        return min(heights) if heights else None

    @property
    def hips(self) -> float | None:
        """Height (y in 0..1 of the frame) of the hips."""
        hips = self.point(*HIPS)
        return hips[1] if hips else None

    @property
    def wrists(self) -> tuple[Vector, ...]:
        """Places of the wrists that are seen, as x and y in 0..1 of the frame; the person's left one first."""
        found = [self.point(arm[2]) for arm in ARMS]
        return tuple((x / self.aspect, y) for x, y in (p for p in found if p is not None))

    @property
    def hand_boxes(self) -> tuple[Box, ...]:
        """Where the hands and what they hold should be: squares of 0.6 torsos around a point beyond each wrist."""
        boxes: list[Box] = []
        for _, elbow, wrist in ARMS:
            at, bend = self.point(wrist), self.point(elbow)
            if at is None or not self.torso:
                continue
            x, y = at if bend is None else (at[0] + 0.4 * (at[0] - bend[0]), at[1] + 0.4 * (at[1] - bend[1]))
            half = 0.3 * self.torso
            boxes.append(((x - half) / self.aspect, y - half, (x + half) / self.aspect, y + half))
        return tuple(boxes)

    @property
    def stoop(self) -> float:
        """How far the lower hand is on its way from hip height (0) to the floor (1); 0 where that is not seen."""
        hips, ankles = self.point(*HIPS), self.point(*ANKLES)
        hands = [p[1] for arm in ARMS if (p := self.point(arm[2]))]
        if not hands or hips is None or ankles is None or ankles[1] - hips[1] < 0.2 * self.torso:
            return 0.0
        return min(1.0, max(0.0, (max(hands) - hips[1]) / (ankles[1] - hips[1])))

    @property
    def reaching(self) -> tuple[Vector, ...]:
        """Wrists (0..1 of the frame) of arms that are stretched out away from the body, to the side or down."""
        found = []
        for shoulder, _, wrist in ARMS:
            at, start = self.point(wrist), self.point(shoulder)
            if at is None or start is None or not self.torso:
                continue
            if math.dist(at, start) >= REACH * self.torso and abs(at[0] - start[0]) >= REACH_ACROSS * self.torso:
                found.append((at[0] / self.aspect, at[1]))
        return tuple(found)

    @property
    def raised(self) -> int:
        """How many hands are held up above the eyes, the elbow above the hip."""
        head = self.head or self.point(*SHOULDERS)
        if head is None or not self.torso:
            return 0
        count = 0
        for shoulder, elbow, wrist in ARMS:
            at, bend, start = self.point(wrist), self.point(elbow), self.point(shoulder)
            if at is None or start is None:
                continue
            bent_up = bend is None or bend[1] < start[1] + 0.5 * self.torso
            count += bent_up and at[1] < min(head[1], start[1]) - RAISED * self.torso
        return count

    @property
    def hand_at_mouth(self) -> bool:
        """A wrist is so near the mouth that the hand is at it, the forearm pointing up, and the face is seen."""
        nose, shoulders = self.point(*FACE), self.point(*SHOULDERS)
        if nose is None or shoulders is None or not self.torso or self.facing is Facing.AWAY:
            return False
        mouth = (nose[0] + 0.15 * (shoulders[0] - nose[0]), nose[1] + 0.25 * (shoulders[1] - nose[1]))
        for _, elbow, wrist in ARMS:
            at, bend = self.point(wrist), self.point(elbow)
            if at is None or bend is None or bend[1] - at[1] < FOREARM_UP * self.torso:
                continue
            if math.dist(at, mouth) <= AT_MOUTH * self.torso and at[1] > nose[1] - 0.1 * self.torso:
                return True
        return False

    @property
    def facing(self) -> Facing:
        """Where the head looks."""
        left, right = self.point(Joint.LEFT_SHOULDER), self.point(Joint.RIGHT_SHOULDER)
        nose = self.point(Joint.NOSE)
        ears = self.point(Joint.LEFT_EAR, Joint.RIGHT_EAR)
        if left is None or right is None or not self.torso:
            return Facing.UNKNOWN
        broad = (left[0] - right[0]) / self.torso
        if abs(broad) >= BROADSIDE:
            return Facing.TOWARDS if broad > 0 else Facing.AWAY
        if nose is None or ears is None or abs(nose[0] - ears[0]) < 0.1 * self.torso:
            return Facing.UNKNOWN
        return Facing.LEFT if nose[0] < ears[0] else Facing.RIGHT

    def likelihoods(self, standing_rise: float | None = None) -> dict[Posture, float]:
        """How well each posture fits, each 0..1; empty where the body cannot be read.

        Args:
            standing_rise: ``rise`` of this person while standing, where known.
        """
        tilt = self.tilt
        if not self.readable or tilt is None:
            return {}
        level = _ramp(tilt, UPRIGHT_DEG, LEVEL_DEG)
        flat = _ramp(self.legs_tilt or 0.0, LEGS_UNDER_DEG, LEGS_LEVEL_DEG)
        legs = self._legs
        if legs is None:
            return {word: level * flat if word is Posture.LYING else 0.0 for word in WORDS} if level * flat > 0 else {}
        straight, low = legs
        stooped = 0.0
        if standing_rise and (rise := self.rise) is not None:
            stooped = _ramp(-rise / standing_rise, -STRAIGHT, -STOOPED)
        over = max(level, stooped) * straight * (1 - flat)
        # Bending forward from a chair is still sitting, until the body is level.
        seated = (1 - _ramp(tilt, LEVEL_DEG - 10, LEVEL_DEG + 15)) * (1 - straight)
        return {
            Posture.STANDING: (1 - level) * straight * (1 - stooped),
            Posture.BENT: over,
            Posture.SITTING: seated * (1 - low),
            Posture.CROUCHING: max(seated, level * (1 - straight) * (1 - flat)) * low,
            Posture.LYING: level * flat,
        }

    @cached_property
    def _legs(self) -> tuple[float, float] | None:
        """How straight the legs are under the body, and how near the hips are to the heels, each 0..1."""
        hips, knees, ankles = self.point(*HIPS), self.point(*KNEES), self.point(*ANKLES)
        if hips is None or knees is None or not self.torso:
            return None
        thigh = (knees[1] - hips[1]) / self.torso
        if ankles is None:  # who is cut off by the border has short thighs too: no word but "standing" here
            straight, low = _ramp(thigh, THIGH_BENT, THIGH_STANDING), 0.0
            return (straight, low) if straight > 0.5 else None
        shin = (ankles[1] - knees[1]) / self.torso
        ratio = thigh / max(shin, 0.15)
        low = 1 - _ramp(thigh + shin, HIPS_CROUCHING, HIPS_SITTING)
        straight = _ramp(ratio, THIGH_BY_SHIN_SITTING, THIGH_BY_SHIN_STANDING) * (1 - low)
        if self.score(*KNEES) < LEGS_SURE and straight < 0.5:
            return None
        return straight, low


def seat_of(person: Box, things: Sequence[tuple[str, Box]]) -> str:
    """Label of the thing that the person sits on, or empty: a seat that the lower half of the person lies in."""
    x, y = (person[0] + person[2]) / 2, person[1] + 0.65 * (person[3] - person[1])
    for label, box in things:
        margin = 0.1 * (box[2] - box[0])
        if label in SEATS and box[0] - margin <= x <= box[2] + margin and box[1] <= y <= box[3]:
            return label
    return ""


def _middle(points: Sequence[Vector]) -> Vector:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _angle(top: Vector | None, bottom: Vector | None) -> float | None:
    if top is None or bottom is None:
        return None
    return math.degrees(math.atan2(abs(bottom[0] - top[0]), bottom[1] - top[1]))


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to ``low``, 1 from ``high`` on, straight between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
