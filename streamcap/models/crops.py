"""Square crops around a box, for networks that expect one instance in the middle of their input."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.models.base import Image
from streamcap.types import Box

__all__ = ["crop_to_picture", "square"]


def crop_to_picture(box: Box, size: tuple[int, int], *, side: int, room: float) -> NDArray[np.float64]:
    """The (2, 3) affine map from pixels of a network's square to pixels of the picture.

    Args:
        box: the instance, in 0..1 of the picture.
        size: (width, height) of the picture in pixels.
        side: of the square in pixels.
        room: side of what is cut out by the longer side of the box.
    """
    width, height = size
    across, down = (box[2] - box[0]) * width, (box[3] - box[1]) * height
    scale = max(across, down, 1.0) * room / side
    x, y = (box[0] + box[2]) / 2 * width, (box[1] + box[3]) / 2 * height
    return np.array([[scale, 0, x - scale * side / 2], [0, scale, y - scale * side / 2]])


def square(image: Image, to_picture: NDArray[np.float64], side: int) -> Image:
    """The (side, side, 3) square of that map, black where the picture ends."""
    scale = float(to_picture[0, 0])
    if scale >= 2:  # linear interpolation alone would skip pixels: halve what is needed of the picture first
        left, top = (max(0, int(v)) for v in to_picture[:, 2])
        right, bottom = (int(v + scale * side) + 1 for v in to_picture[:, 2])
        image = image[top : max(0, bottom), left : max(0, right)]
        if image.size == 0:
            return np.zeros((side, side, 3), np.uint8)
        height, width = image.shape[:2]
        size = max(1, round(width * 2 / scale)), max(1, round(height * 2 / scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        moved = to_picture - np.array([[0, 0, left], [0, 0, top]])
        to_picture = moved * np.array([[size[0] / width], [size[1] / height]])
    cut = cv2.warpAffine(image, to_picture, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(cut, np.uint8)
