"""Whether the camera itself travels forward: flow that runs out from one point, steadily, for seconds.

A camera that moves forward sees everything run away from the focus of expansion (Gibson 1950), near things faster than
far ones. The focus is where the lines along the flow vectors meet: found by sampling pairs (RANSAC, Fischler and
Bolles 1981) and then by least squares over those that agree. A zoom runs out from a point as well, but as fast for
near things as for far ones, so its speed is the distance from the focus times a constant.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Expansion", "ForwardMotion", "expansion"]

CORNERS = 140
CORNER_QUALITY = 0.005
CORNER_DISTANCE = 9.0
# Flow (pixels of the analysis picture) below this has no direction, and so many vectors are needed.
LEAST_FLOW = 0.6
LEAST_VECTORS = 24
# A vector agrees with a focus when it points away from it within this angle (cosine: 20°).
AGREE_COS = 0.94
AGREE_SHARE = 0.5
SAMPLES = 80
# The focus of who drives lies ahead, not beside the picture (0..1 of the frame).
AHEAD_X = (0.15, 0.85)
AHEAD_Y = (0.15, 0.8)
# Share of the speeds' variance that distance from the focus alone explains; above it, it is a zoom.
ZOOM_FIT = 0.9
# Vectors on both sides of the focus: an approaching lorry runs out from a point as well.
SIDE_SHARE = 0.12
SPREAD = 0.35
# One reading in so many seconds; it drives when this share of so many seconds' readings expands, from a focus that
# stays within this distance (frame sizes, median), and until less than this share of them changes at the rim.
STEP_S = 0.35
SPAN_S = 2.5
SPAN_SHARE = 0.7
STEADY = 0.1
GOES_ON = 0.3
# Half of so many last readings raise a suspicion.
SUSPECT = 3
# Outer blocks that change at least; the sky and the bonnet do not.
RIM = 0.15


@dataclass(frozen=True, slots=True)
class Expansion:
    """A focus of expansion: its place in 0..1 of the frame, and the share of flow vectors that run away from it."""

    x: float
    y: float
    share: float


class ForwardMotion:
    """Watches for steady expansion. State is one picture and a few seconds of readings; 2 ms three times a second."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was seen: after a cut."""
        self._last: NDArray[np.uint8] | None = None
        self._readings: deque[tuple[float, bool, Expansion | None]] = deque()  # when, whether the rim changes, focus
        self._due = 0.0
        self.driving = False

    def update(self, grey: NDArray[np.uint8], pts: float, changed: NDArray[np.bool_]) -> bool:
        """Look at one frame; tells whether the camera drives.

        Args:
            grey: (h, w) uint8 analysis picture.
            pts: media seconds, increasing.
            changed: (rows, columns) blocks that changed.
        """
        before, self._last = self._last, grey
        if before is None or before.shape != grey.shape or pts < self._due:
            return self.driving
        self._due = pts + STEP_S
        rim = np.concatenate([changed[0], changed[-1], changed[1:-1, 0], changed[1:-1, -1]])
        changing = float(rim.mean()) >= RIM
        # Who drives goes on until the picture rests: only the beginning needs a focus.
        focus = expansion(before, grey) if changing and not self.driving else None
        self._readings.append((pts, changing, focus))
        while pts - self._readings[0][0] > SPAN_S + STEP_S:
            self._readings.popleft()
        if self.driving:
            self.driving = float(np.mean([changes for _, changes, _ in self._readings])) >= GOES_ON
        elif pts - self._readings[0][0] >= SPAN_S - STEP_S:
            self.driving = self._is_steady()
        return self.driving

    @property
    def suspected(self) -> bool:
        """The last readings expand: too few to say that it drives, enough not to trust what pixels say of others."""
        last = [focus is not None for _, _, focus in list(self._readings)[-SUSPECT:]]
        return self.driving or (sum(last) >= SUSPECT / 2)

    def _is_steady(self) -> bool:
        found = [focus for _, _, focus in self._readings if focus is not None]
        if len(found) < SPAN_SHARE * len(self._readings):
            return False
        places = np.asarray([(focus.x, focus.y) for focus in found])
        off = np.abs(places - np.median(places, axis=0)).max(axis=1)
        return float(np.median(off)) <= STEADY


def expansion(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Expansion | None:
    """The focus from which the flow between two grey pictures, each (h, w) uint8, runs out; None where it does not."""
    points = cv2.goodFeaturesToTrack(before, CORNERS, CORNER_QUALITY, CORNER_DISTANCE)
    if points is None or len(points) < LEAST_VECTORS:
        return None
    moved, status, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, winSize=(15, 15), maxLevel=3)
    good = status.reshape(-1).astype(bool)
    places, flow = points.reshape(-1, 2)[good], (moved - points).reshape(-1, 2)[good]
    speed = np.hypot(flow[:, 0], flow[:, 1])
    moving = speed >= LEAST_FLOW
    if int(moving.sum()) < LEAST_VECTORS:
        return None
    h, w = before.shape
    return _focus(places[moving].astype(np.float64), flow[moving].astype(np.float64), (w, h))


def _focus(places: NDArray[np.float64], flow: NDArray[np.float64], size: tuple[int, int]) -> Expansion | None:
    speed = np.hypot(flow[:, 0], flow[:, 1])
    way = flow / speed[:, None]
    # The same pictures give the same answer.
    pairs = np.random.default_rng(0).integers(0, len(places), (SAMPLES, 2))
    foci = _crossings(places[pairs], way[pairs])
    candidates = _agrees(foci, places, way)
    most = int(candidates.sum(axis=1).argmax())
    focus, agree = foci[most], candidates[most]
    if agree.mean() < AGREE_SHARE:
        return None
    refined = _crossing(places[agree], way[agree])
    if refined is not None and (better := _agrees(refined[None], places, way)[0]).sum() >= agree.sum():
        focus, agree = refined, better
    x, y = float(focus[0] / size[0]), float(focus[1] / size[1])
    ahead = AHEAD_X[0] <= x <= AHEAD_X[1] and AHEAD_Y[0] <= y <= AHEAD_Y[1]
    if not ahead or not _all_round(places[agree] - focus, size):
        return None
    if _is_zoom(np.hypot(*(places[agree] - focus).T), speed[agree]):
        return None
    return Expansion(x, y, float(agree.mean()))


def _crossing(places: NDArray[np.float64], way: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The point nearest to all lines through ``places`` (n, 2) along the unit vectors ``way`` (n, 2)."""
    normal = np.column_stack([-way[:, 1], way[:, 0]])
    gram = normal.T @ normal
    if np.linalg.det(gram) < 1e-3:
        return None  # parallel
    return np.asarray(np.linalg.solve(gram, normal.T @ (normal * places).sum(axis=1)), np.float64)


def _crossings(places: NDArray[np.float64], way: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the lines of each pair meet: (n, 2, 2) places and unit vectors to (n, 2) points, far off for parallels."""
    (p, q), (u, v) = places.transpose(1, 0, 2), way.transpose(1, 0, 2)
    cross = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    cross = np.where(np.abs(cross) < 1e-3, 1e-9, cross)
    along = ((q[:, 0] - p[:, 0]) * v[:, 1] - (q[:, 1] - p[:, 1]) * v[:, 0]) / cross
    return np.asarray(p + along[:, None] * u, np.float64)


def _agrees(foci: NDArray[np.float64], places: NDArray[np.float64], way: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(foci, places) bool: which vectors point away from which focus; foci (m, 2), places and unit vectors (n, 2)."""
    out = places[None] - foci[:, None]
    distance = np.maximum(np.hypot(out[..., 0], out[..., 1]), 1e-6)
    return np.asarray((out * way[None]).sum(axis=-1) / distance >= AGREE_COS, np.bool_)


def _all_round(out: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Vectors lie to the left and right of the focus, and over a fair part of the picture."""
    right = float((out[:, 0] > 0).mean())
    wide = float(np.ptp(out[:, 0])) >= SPREAD * size[0] and float(np.ptp(out[:, 1])) >= SPREAD / 2 * size[1]
    return SIDE_SHARE <= right <= 1 - SIDE_SHARE and wide


def _is_zoom(distance: NDArray[np.float64], speed: NDArray[np.float64]) -> bool:
    rate = float((distance * speed).sum() / max((distance**2).sum(), 1e-9))
    left = float(((speed - rate * distance) ** 2).sum())
    return left < (1 - ZOOM_FIT) * float(((speed - speed.mean()) ** 2).sum())
