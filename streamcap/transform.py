"""The motion of the picture from one frame to the next, and whether it moves as a whole.

A similarity transform fitted by RANSAC to sparse Lucas–Kanade flow (Bouguet 2000) of corners (Shi and Tomasi 1994).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["IDENTITY", "Transform", "changed_everywhere", "estimate", "moves_all_over"]

CORNERS = 150
CORNER_QUALITY = 0.01
CORNER_DISTANCE = 8.0
MIN_POINTS = 16
MIN_INLIERS = 0.5
# What moves must move in all but one quarter of the picture, at least this share of it in each: one large moving
# object must not pass for the camera.
QUARTER_SHARE = 0.08
MIN_QUARTERS = 3

# The motion must explain the edges: of 6×4 cells with edges on this share of their pixels, so many must fit better
# (residual less than CELL_GAIN of that without it), and most of them.
CELLS = (6, 4)
CELL_EDGES = 0.02
CELL_GAIN = 0.8
MIN_CELLS = 12
CELL_AGREE = 0.65
# This share of the outer blocks on each of three sides changes when the whole picture moves, be it understood or not.
SIDE_CHANGED = 0.5
# A shift of the picture (frame sizes from one frame to the next) that takes a second or so to carry things out of view.
QUICK = 0.01
# Difference from the surroundings (of 255) that makes an edge.
EDGE_LEVEL = 10


@dataclass(frozen=True, slots=True)
class Transform:
    """Motion of the picture from one frame to the next: ``p' = scale · R(angle) · (p − centre) + centre + (dx, dy)``.

    Attributes:
        dx, dy: shift of the picture in frame widths and heights.
        scale: growth of the picture.
        angle: rotation in radians.
        trusted: false where too few corners agreed; the rest is then the identity.
    """

    dx: float = 0.0
    dy: float = 0.0
    scale: float = 1.0
    angle: float = 0.0
    trusted: bool = False

    @property
    def still(self) -> bool:
        """Less than a third of a percent of the frame: what a mast in the wind does."""
        return math.hypot(self.dx, self.dy) < 0.003 and abs(math.log(self.scale)) < 0.003

    @property
    def quick(self) -> bool:
        """The picture moves so fast that things come and go by it, and not only by themselves."""
        return math.hypot(self.dx, self.dy) >= QUICK or abs(math.log(self.scale)) >= QUICK

    def apply(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the earlier frame lies in the later one; coordinates in 0..1."""
        return (x - 0.5) * self.scale + 0.5 + self.dx, (y - 0.5) * self.scale + 0.5 + self.dy


IDENTITY = Transform()


def estimate(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Transform:
    """Fit the camera's motion between two grey pictures of one size, each (h, w) uint8."""
    points = cv2.goodFeaturesToTrack(before, CORNERS, CORNER_QUALITY, CORNER_DISTANCE)
    if points is None or len(points) < MIN_POINTS:
        return IDENTITY
    moved, status, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, winSize=(15, 15), maxLevel=3)
    good = status.reshape(-1).astype(bool)
    source, target = points.reshape(-1, 2)[good], moved.reshape(-1, 2)[good]
    if len(source) < MIN_POINTS:
        return IDENTITY
    matrix, inlier = cv2.estimateAffinePartial2D(source, target, method=cv2.RANSAC, ransacReprojThreshold=1.5)
    if matrix is None or inlier.mean() < MIN_INLIERS:
        return IDENTITY
    h, w = before.shape
    if _quarters(source[inlier.reshape(-1) > 0], (w, h)) < MIN_QUARTERS:
        return IDENTITY
    if not _explains(matrix, before, after):
        return IDENTITY
    centre = np.array([w / 2, h / 2])
    shift = matrix[:, :2] @ centre + matrix[:, 2] - centre
    scale = float(math.hypot(matrix[0, 0], matrix[1, 0]))
    angle = float(math.atan2(matrix[1, 0], matrix[0, 0]))
    return Transform(float(shift[0]) / w, float(shift[1]) / h, scale, angle, trusted=True)


def _explains(matrix: NDArray[np.float64], before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
    """Does the motion bring edges into line in most of the picture? Edges alone count: the exposure may change."""
    h, w = before.shape
    still, target = _edges(before), _edges(after)
    moved = cv2.warpAffine(still, matrix[:2], (w, h), borderMode=cv2.BORDER_REPLICATE)
    size = (CELLS[0], CELLS[1])
    strong = (np.maximum(np.abs(still), np.abs(target)) > EDGE_LEVEL).astype(np.float32)
    enough = cv2.resize(strong, size, interpolation=cv2.INTER_AREA) > CELL_EDGES
    without, with_it = (
        cv2.resize(np.abs(p - target) * strong, size, interpolation=cv2.INTER_AREA) for p in (still, moved)
    )
    better = enough & (with_it < CELL_GAIN * without)
    return int(better.sum()) >= MIN_CELLS and int(better.sum()) >= CELL_AGREE * int(enough.sum())


def _edges(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The picture less its surroundings, float32 grey levels."""
    smooth = picture.astype(np.float32)
    return np.asarray(smooth - cv2.GaussianBlur(smooth, (0, 0), 3), np.float32)


def moves_all_over(changed: NDArray[np.bool_]) -> bool:
    """The whole picture moves: a hand-held camera over water, or a swing too quick to be measured.

    Args:
        changed: (rows, columns) the blocks that the gate saw change.
    """
    sides = (changed[0], changed[-1], changed[:, 0], changed[:, -1])
    return sum(float(side.mean()) >= SIDE_CHANGED for side in sides) >= MIN_QUARTERS


def _quarters(points: NDArray[np.float32], size: tuple[int, int]) -> int:
    """In how many quarters of a picture of (width, height) a fair share of the points (n, 2) lies."""
    if len(points) == 0:
        return 0
    right, low = points[:, 0] >= size[0] / 2, points[:, 1] >= size[1] / 2
    counts = np.bincount(2 * low + right, minlength=4)
    return int((counts >= QUARTER_SHARE * len(points)).sum())


def changed_everywhere(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
    """The structure is another one in all parts, not only where one large object came or went."""
    edges = [np.abs(_edges(p)) > EDGE_LEVEL for p in (before, after)]
    rows, columns = np.nonzero(edges[0] ^ edges[1])
    h, w = before.shape
    return _quarters(np.column_stack([columns, rows]).astype(np.float32), (w, h)) >= MIN_QUARTERS
