"""Stick figures for tests: joints of a person in a known posture, as a good pose estimator would report them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamcap.pose import Joint, Pose

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
