"""Pictures as JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["narrowed", "to_jpeg"]

QUALITY = 80  # of 100: no blocks that a person sees, a tenth of the raw picture


def narrowed(image: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """The picture scaled down to ``width`` pixels, its aspect kept; itself where it is no wider.

    Args:
        image: (h, w, 3) uint8.
        width: >= 1.
    """
    h, w = image.shape[:2]
    if w <= width:
        return image
    scaled = cv2.resize(image, (width, max(1, round(h * width / w))), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, np.uint8)


def to_jpeg(image: NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """The picture as JPEG.

    Args:
        image: (h, w, 3) uint8 RGB.
        quality: 1..100.
    """
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))
    return bytes(data.tobytes())
