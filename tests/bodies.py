"""Stick figures for tests: joints of a person in a known posture, as a good pose estimator would report them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamcap.camera import CameraReading
from streamcap.facts import Rule, Scene
from streamcap.instances import Observed, Stage, Track, TrackerUpdate
from streamcap.pose import Joint, Pose
from streamcap.tracks import birth
from streamcap.transform import Transform
from streamcap.types import Box, Fact

ASPECT = 4 / 3

# Joints of a figure seen from in front, in torsos from the middle of the hips (x to the viewer's right, y down).
# The figure looks at the camera: its left is on the viewer's right.
STANDING: dict[str, tuple[float, float]] = {
    "nose": (0.0, -1.45), "left_eye": (0.06, -1.5), "right_eye": (-0.06, -1.5), "left_ear": (0.13, -1.45),
    "right_ear": (-0.13, -1.45), "left_shoulder": (0.35, -1.0), "right_shoulder": (-0.35, -1.0),
    "left_elbow": (0.45, -0.45), "right_elbow": (-0.45, -0.45), "left_wrist": (0.45, 0.05),
    "right_wrist": (-0.45, 0.05), "left_hip": (0.2, 0.0), "right_hip": (-0.2, 0.0), "left_knee": (0.2, 0.8),
    "right_knee": (-0.2, 0.8), "left_ankle": (0.2, 1.6), "right_ankle": (-0.2, 1.6),
}  # fmt: skip

HIGH_CAMERA = {
    "left_knee": (0.2, 0.6),
    "right_knee": (-0.2, 0.6),
    "left_ankle": (0.2, 1.08),
    "right_ankle": (-0.2, 1.08),
}
SITTING = {"left_knee": (0.3, 0.35), "right_knee": (-0.3, 0.35), "left_ankle": (0.3, 1.2), "right_ankle": (-0.3, 1.2)}
SITTING_SIDE = {
    "left_knee": (0.8, 0.1), "right_knee": (0.75, 0.12), "left_ankle": (0.7, 0.9), "right_ankle": (0.65, 0.9),
}  # fmt: skip
CROUCHING = {"left_knee": (0.6, -0.1), "right_knee": (0.4, -0.1), "left_ankle": (0.1, 0.3), "right_ankle": (0.0, 0.3)}
BENT_SIDE = {
    "nose": (1.4, 0.2), "left_eye": (1.45, 0.15), "right_eye": (1.45, 0.15), "left_ear": (1.4, 0.0),
    "right_ear": (1.4, 0.0), "left_shoulder": (1.0, 0.05), "right_shoulder": (0.98, 0.0), "left_elbow": (1.05, 0.55),
    "right_elbow": (1.0, 0.5), "left_wrist": (1.1, 1.1), "right_wrist": (1.05, 1.1),
}  # fmt: skip
BENT_AWAY = {
    "nose": (0.0, -0.5), "left_eye": (0.06, -0.5), "right_eye": (-0.06, -0.5), "left_ear": (0.1, -0.5),
    "right_ear": (-0.1, -0.5), "left_shoulder": (0.35, -0.6), "right_shoulder": (-0.35, -0.6),
    "left_elbow": (0.45, -0.2), "right_elbow": (-0.45, -0.2), "left_wrist": (0.45, 0.3), "right_wrist": (-0.45, 0.3),
}  # fmt: skip
HANDS_UP = {
    "left_elbow": (0.55, -1.3), "right_elbow": (-0.55, -1.3), "left_wrist": (0.5, -1.9), "right_wrist": (-0.5, -1.9),
}  # fmt: skip
EATING = {"left_elbow": (0.5, -0.5), "left_wrist": (0.2, -1.2)}


def figure(
    *changes: dict[str, tuple[float, float]], at: tuple[float, float] = (0.5, 0.5), torso: float = 0.15,
    turned: float = 0.0, score: float = 0.7, hidden: tuple[str, ...] = (), hidden_score: float = 0.1,
) -> NDArray[np.float32]:  # fmt: skip
    """Joints of a standing figure with some of them elsewhere.

    Args:
        changes: joints that are elsewhere, in torsos from the hips.
        at: middle of the hips in 0..1 of the frame.
        torso: in frame heights.
        turned: the whole body turned about the hips, in degrees clockwise; 90 lies on its side.
        score: of joints that are seen.
        hidden: joints (or parts of their names) that are not.
    """
    places = dict(STANDING)
    for change in changes:
        places |= change
    angle = np.deg2rad(turned)
    rows = []
    for joint in Joint:
        x, y = places[joint.name.lower()]
        x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
        poor = any(part in joint.name.lower() for part in hidden)
        rows.append((at[0] + x * torso / ASPECT, at[1] + y * torso, hidden_score if poor else score))
    return np.asarray(rows, np.float32)


def pose(*changes: dict[str, tuple[float, float]], t: float = 0.0, **how: object) -> Pose:
    """A pose of :func:`figure`."""
    return Pose(t, figure(*changes, **how), ASPECT)  # type: ignore[arg-type]


class Performer:
    """One person whose joints a test writes down: plays them to rules of facts, at five looks a second.

    Args:
        rule: what is under test.
        box: where the tracker follows the person, unless a look says otherwise.
    """

    def __init__(self, rule: Rule, *, box: Box = (0.4, 0.2, 0.6, 0.8), others: Sequence[Track] = ()) -> None:
        self._rule, self._box, self._others = rule, box, others
        self.track = birth(Observed(box, 0.9, "person"), -0.2)
        self.track.stage, self.track.id = Stage.ACTIVE, 1
        for _ in range(4):  # the name is sure
            self.track.vote.add("person", 0.9)
        self.said: list[Fact] = []
        self._t = 0.0

    def act(self, seconds: float, *looks: NDArray[np.float32], box: Box | None = None, moving: bool = False) -> None:
        """Play looks for a while, over and over; with none the joints are not seen."""
        for n in range(round(seconds * 5)):
            self.track.observe(Observed(box or self._box, 0.9, "person"), self._t)
            if looks:
                self.track.body.add(Pose(self._t, looks[n % len(looks)], ASPECT))
            update = TrackerUpdate((self.track, *self._others), (), (), ())
            camera = CameraReading(Transform(), moving, ())
            self.said += self._rule.update(Scene(self._t, self._t + 5.0, update, camera, (), ASPECT))
            self._t += 0.2

    @property
    def told(self) -> list[str]:
        """What was told, with its pose where it has one."""
        return [f"{fact.what} {fact.detail.get('pose', '')}".strip() for fact in self.said]


def path(start: NDArray[np.float32], end: NDArray[np.float32], steps: int) -> list[NDArray[np.float32]]:
    """Looks on the way from one figure to the other, at even steps, the last one being there."""
    return [np.asarray(start + (end - start) * n / steps, np.float32) for n in range(1, steps + 1)]
