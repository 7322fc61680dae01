"""What an instance looks like, as a colour histogram: enough to tell people apart across an occlusion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.types import Box

__all__ = ["appearance"]

HUES, SATURATIONS, VALUES = 8, 2, 4
# Below this saturation (of 255) a hue is noise, and the brightness tells more.
GREY = 50


def appearance(image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
    """Histogram of the upper and the lower half of a box.

    Args:
        image: (height, width, 3) uint8 RGB.
        box: in 0..1.

    Returns:
        (40,) float32, sums to 1: per half 16 colours and 4 greys.
    """
    h, w = image.shape[:2]
    # The middle of the box: its rim is background.
    inset = 0.15 * (box[2] - box[0])
    x0, x1 = int(max(0.0, box[0] + inset) * w), int(np.ceil(min(1.0, box[2] - inset) * w))
    y0, y1 = int(max(0.0, box[1]) * h), int(np.ceil(min(1.0, box[3]) * h))
    part = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    if part.size == 0:
        return np.full(2 * (HUES * SATURATIONS + VALUES), 1 / 40, np.float32)
    hsv = cv2.cvtColor(cv2.resize(part, (16, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2HSV)
    hue, saturation, value = (c.astype(np.int32) for c in cv2.split(hsv))
    colour = (hue * HUES // 180).clip(max=HUES - 1) * SATURATIONS + (saturation > 120)
    code = np.where(saturation < GREY, HUES * SATURATIONS + value * VALUES // 256, colour)
    bins = HUES * SATURATIONS + VALUES
    halves = [np.bincount(half.reshape(-1), minlength=bins) for half in np.split(code, 2)]
    counts = np.concatenate(halves).astype(np.float32)
    return np.asarray(counts / counts.sum(), np.float32)
