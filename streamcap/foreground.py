"""Where something moves in front of a still camera: an adaptive background model and its blobs."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.geometry import clip
from streamcap.types import Box

__all__ = ["Foreground"]

# Frames (not seconds: the gate hides quiet ones) until something that stands still becomes background.
HISTORY = 150
VARIANCE_THRESHOLD = 25.0
WARM_UP = 3
LEARNT = 12
# Smallest blob, as a share of the frame: at 768×576 about 12×18 pixels.
MIN_AREA = 0.0005
# More foreground than this is not objects: the light or the camera changed and the model is behind.
MAX_COVER = 0.6
MAX_BLOBS = 40


class Foreground:
    """Background subtraction by mixtures of Gaussians (Zivkovic 2004, OpenCV's MOG2)."""

    def __init__(self) -> None:
        self._model = cv2.createBackgroundSubtractorMOG2(HISTORY, VARIANCE_THRESHOLD, detectShadows=True)
        self._seen = 0
        self._mask: NDArray[np.uint8] | None = None

    def reset(self) -> None:
        """Forget the background: after a cut, or when the camera has moved. Costs nothing."""
        self._seen = 0
        self._mask = None

    def update(self, grey: NDArray[np.uint8]) -> list[Box]:
        """Learn one frame and return the boxes of what moves, largest first, at most 40.

        Args:
            grey: (h, w) uint8.
        """
        if self._mask is not None and self._mask.shape != grey.shape:
            self.reset()
        # A rate of 1 begins the model anew, in the memory that it has.
        rate = 1.0 if self._seen == 0 else 0.5 if self._seen < WARM_UP else -1.0
        raw = self._model.apply(grey, learningRate=rate)
        self._seen += 1
        mask = (raw == 255).astype(np.uint8)  # 127 marks a shadow
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
        # People are upright and their clothes match the wall in places: join parts above each other.
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((15, 7), np.uint8))
        self._mask = mask
        if not self.warm or mask.mean() > MAX_COVER:
            return []
        return _blobs(mask)

    @property
    def warm(self) -> bool:
        """The background is known well enough to tell what lies before it."""
        return self._seen > WARM_UP

    @property
    def learns(self) -> bool:
        """Quiet frames are worth learning: what is new stands out only from a background of some frames."""
        return self._seen < LEARNT

    @property
    def mask(self) -> NDArray[np.uint8] | None:
        """(h, w) uint8, not 0 where the last frame differs from the background; None while the model is not warm."""
        return self._mask if self.warm else None

    def cover(self, box: Box) -> float:
        """Share of a box, as far as it is in the frame, that moves, 0..1; 0 where the model is not warm."""
        if self._mask is None or not self.warm:
            return 0.0
        h, w = self._mask.shape
        x0, y0, x1, y1 = clip(box)
        part = self._mask[int(y0 * h) : math.ceil(y1 * h), int(x0 * w) : math.ceil(x1 * w)]
        return float(np.count_nonzero(part) / part.size) if part.size else 0.0


def _blobs(mask: NDArray[np.uint8]) -> list[Box]:
    h, w = mask.shape
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    rows = stats[1:]
    rows = rows[rows[:, cv2.CC_STAT_AREA] >= MIN_AREA * h * w]
    rows = rows[np.argsort(-rows[:, cv2.CC_STAT_AREA])][:MAX_BLOBS]
    return [(x / w, y / h, (x + bw) / w, (y + bh) / h) for x, y, bw, bh, _ in rows.tolist()]
