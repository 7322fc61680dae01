"""Coarse motion of the whole picture, for swings that are too quick or too blurred to follow by corners.

The middle of one thumbnail is looked for in the other, by normalised correlation, both ways: two pictures of one place
find each other at opposite shifts, two scenes do not.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Swing", "swing"]

# The thumbnail, and the margin (share of it) around the part that is looked for: the largest shift that is found.
SIZE = (64, 36)
MARGIN = 0.25
# Both ways the shifts agree to within this (share of the frame).
AGREE = 0.06
# The middle of a thumbnail whose grey levels spread less than this shows nothing to look for.
FLAT = 2.0


class Swing(NamedTuple):
    """Shift of the picture in frame widths and heights, and how alike the two are at it: 0 where there is none."""

    dx: float
    dy: float
    likeness: float


def swing(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Swing:
    """How far the picture moved between two grey pictures, each (h, w) uint8; up to a quarter of the frame is found."""
    x, y = (cv2.resize(p, SIZE, interpolation=cv2.INTER_AREA).astype(np.float32) for p in (before, after))
    (ax, ay, a), (bx, by, b) = _found(x, y), _found(y, x)
    if abs(ax + bx) > AGREE or abs(ay + by) > AGREE:
        return Swing(0.0, 0.0, 0.0)
    return Swing((ax - bx) / 2, (ay - by) / 2, min(a, b))


def _found(source: NDArray[np.float32], target: NDArray[np.float32]) -> tuple[float, float, float]:
    """Where the middle of ``source`` lies in ``target``: shift in frame sizes, and correlation."""
    left, top = round(SIZE[0] * MARGIN), round(SIZE[1] * MARGIN)
    core = source[top:-top, left:-left]
    if float(core.std()) < FLAT:
        return 0.0, 0.0, 0.0
    _, likeness, _, (col, row) = cv2.minMaxLoc(cv2.matchTemplate(target, core, cv2.TM_CCOEFF_NORMED))
    return (col - left) / SIZE[0], (row - top) / SIZE[1], float(likeness)
