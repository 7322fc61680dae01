"""First gate: has anything changed since the last frame that was kept?

VideoLLaMA 3's frame difference (arXiv:2501.13106) compares with the *previous* frame against a fixed tenth of a per
mille: sensor noise always opens it and slow drift never does. Here each block is compared with the last *kept* frame,
against a noise floor that is learnt per block: static noise stays closed, drift adds up until it opens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.types import Box

__all__ = ["BlockGate", "GateReading", "luma"]

LUMA_WIDTH = 320
BLOCK = 8
# A block has changed when its mean |Δ| exceeds GAIN × noise floor + MARGIN (grey levels, 0..255).
GAIN = 1.6
MARGIN = 2.5
# The floor follows quieter readings within seconds and louder ones within tens of seconds, so that a moving
# person does not raise it while leaves in the wind, given time, do.
FLOOR_FALL_S = 1.0
FLOOR_RISE_S = 15.0


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey picture for analysis.

    Args:
        image: (height, width, 3) uint8 RGB.

    Returns:
        (height', 320) uint8, aspect kept, both sides multiples of 8.
    """
    height, width = image.shape[:2]
    rows = max(BLOCK, round(height * LUMA_WIDTH / width / BLOCK) * BLOCK)
    # Grey first: half the time of making it small in three colours.
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (LUMA_WIDTH, rows), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True)
class GateReading:
    """What the gate saw.

    Attributes:
        open: something changed since the last kept frame.
        changed: (rows, columns) bool, the blocks that did.
    """

    open: bool
    changed: NDArray[np.bool_]

    def share(self, box: Box) -> float:
        """Share of the blocks of a box (0..1 of the frame) that changed, 0..1."""
        if not self.open:
            return 0.0
        rows, columns = self.changed.shape
        part = self.changed[
            max(0, int(box[1] * rows)) : max(0, math.ceil(box[3] * rows)),
            max(0, int(box[0] * columns)) : max(0, math.ceil(box[2] * columns)),
        ]
        return float(np.count_nonzero(part) / part.size) if part.size else 0.0


class BlockGate:
    """Compares each frame with the last kept one, block by block. O(pixels) a frame, state of three small arrays."""

    def __init__(self) -> None:
        self._kept: NDArray[np.uint8] | None = None
        self._last: NDArray[np.uint8] | None = None
        self._last_pts = 0.0
        self._floor: NDArray[np.float32] | None = None

    def update(self, grey: NDArray[np.uint8], pts: float) -> GateReading:
        """Look at one frame.

        Args:
            grey: (h, w) uint8 from :func:`luma`. A change of size opens the gate and starts anew.
            pts: media seconds, increasing.
        """
        if self._kept is None or self._last is None or self._kept.shape != grey.shape:
            self._kept = self._last = grey
            self._last_pts = pts
            self._floor = None
            everything = np.ones((grey.shape[0] // BLOCK, grey.shape[1] // BLOCK), np.bool_)
            return GateReading(True, everything)
        step = _block_difference(grey, self._last)
        floor = self._learn(step, pts - self._last_pts)
        since_kept = step if self._kept is self._last else _block_difference(grey, self._kept)
        changed = since_kept > GAIN * floor + MARGIN
        self._last, self._last_pts = grey, pts
        opened = bool(changed.any())
        if opened:
            self._kept = grey
        return GateReading(opened, changed)

    def _learn(self, step: NDArray[np.float32], dt: float) -> NDArray[np.float32]:
        if self._floor is None:
            # Before anything is known the median block stands for all: most of a picture is still.
            self._floor = np.full_like(step, np.median(step))
        seconds = np.where(step > self._floor, FLOOR_RISE_S, FLOOR_FALL_S)
        self._floor += (step - self._floor) * (1 - np.exp(-max(dt, 0.0) / seconds)).astype(np.float32)
        return self._floor


def _block_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean |a − b| of each block, in grey levels."""
    delta = cv2.absdiff(a, b).astype(np.float32)
    size = (a.shape[1] // BLOCK, a.shape[0] // BLOCK)
    return np.asarray(cv2.resize(delta, size, interpolation=cv2.INTER_AREA), np.float32)
