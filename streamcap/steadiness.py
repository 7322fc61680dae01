"""Since when the whole picture has not moved: while it does, what comes and goes is the camera's doing."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.camera import CameraReading
from streamcap.transform import moves_all_over

__all__ = ["SteadyWatch", "stays"]

# What structure is: the picture less its surroundings over this many pixels, of at least this many grey levels.
SURROUNDINGS = 3.0
EDGE_LEVEL = 10.0
# Of these cells (columns, rows), those with edges on this share of their pixels tell whether the picture stays.
CELLS = (8, 6)
CELL_EDGES = 0.02
# In a cell that stays the structure changes by less than this part of itself; so many cells stay, as a share and at
# least, where things move in front of a camera that rests. In a swing nearly none does; under a car seen from above,
# with the exposure following it, a third do.
CHANGED = 0.5
STAYING = 0.25
LEAST_CELLS = 4


class SteadyWatch:
    """Follows the picture of one stream.

    Attributes:
        since: media seconds since when the whole picture has not moved; minus infinity where it never did.
    """

    def __init__(self) -> None:
        self.since = -math.inf
        self._last: NDArray[np.uint8] | None = None

    def update(
        self, grey: NDArray[np.uint8], pts: float, changed: NDArray[np.bool_], camera: CameraReading, *, drives: bool
    ) -> float:
        """Look at one frame.

        Args:
            grey: (h, w) uint8.
            pts: media seconds, increasing.
            changed: (rows, columns) the blocks that the gate saw change.
            camera: what the camera did.
            drives: the camera may be travelling forward.
        """
        before, self._last = self._last, grey
        if camera.cut:
            self.since = -math.inf
        elif drives or camera.transform.quick or (moves_all_over(changed) and not stays(before, grey)):
            self.since = pts
        return self.since


def stays(before: NDArray[np.uint8] | None, after: NDArray[np.uint8]) -> bool:
    """The edges of a good part of the picture are where they were, each (h, w) uint8.

    A change of exposure, or an encoder that begins anew, changes the grey levels all over and moves nothing.
    """
    if before is None or before.shape != after.shape:
        return False
    was, now = _structure(before), _structure(after)
    strong = (np.maximum(np.abs(was), np.abs(now)) > EDGE_LEVEL).astype(np.float32)
    edges, strength, change = (
        cv2.resize(p, CELLS, interpolation=cv2.INTER_AREA)
        for p in (strong, np.maximum(np.abs(was), np.abs(now)) * strong, np.abs(now - was) * strong)
    )
    enough = edges > CELL_EDGES
    staying = int((enough & (change < CHANGED * strength)).sum())
    return staying >= max(LEAST_CELLS, STAYING * int(enough.sum()))


def _structure(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The picture less its surroundings, float32 grey levels."""
    levels = picture.astype(np.float32)
    return np.asarray(levels - cv2.GaussianBlur(levels, (0, 0), SURROUNDINGS), np.float32)
