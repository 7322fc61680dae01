"""MoveNet SinglePose Lightning (float16, 192×192) through LiteRT: 17 joints of the one person in the middle of a crop.

The network expects a square crop with the person in its middle and some room around it (Google, "MoveNet: Ultra fast
and accurate pose detection model", model card 2021); it reports y, x, score of each joint in 0..1 of the crop.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.models.base import Image
from streamcap.models.litert import Network
from streamcap.types import Box

__all__ = ["MoveNetLightning", "crop_to_picture"]

SIZE = 192
# Side of the crop by the longer side of the box: a raised arm is often outside of the detector's box.
ROOM = 1.25


class MoveNetLightning:
    """The embedded default pose estimator: about 4 ms a person on one core.

    Args:
        path: the ``.tflite`` file.
        interpreters: how many people may be in the network at once; each costs about 10 MB.

    Raises:
        ModelLoadError: the file or the runtime does not load.
    """

    def __init__(self, path: Path, *, interpreters: int = 2) -> None:
        self._network = Network(path, "the pose estimator", interpreters=interpreters)
        (self._joints,) = self._network.outputs

    def estimate(self, image: Image, box: Box) -> NDArray[np.float32]:
        """See :class:`streamcap.models.base.PoseEstimator`."""
        to_picture = crop_to_picture(box, (image.shape[1], image.shape[0]))
        (found,) = self._network.run(_crop(image, to_picture), self._joints)
        y, x, score = found[0].T
        pixels = to_picture[:, :2] @ np.stack([x, y]) * SIZE + to_picture[:, 2:]
        height, width = image.shape[:2]
        return np.stack([pixels[0] / width, pixels[1] / height, score], 1).astype(np.float32)


def _crop(image: Image, to_picture: NDArray[np.float64]) -> Image:
    """The network's square, black where the picture ends."""
    scale = float(to_picture[0, 0])
    if scale >= 2:  # linear interpolation alone would skip pixels: halve what is needed of the picture first
        left, top = (max(0, int(v)) for v in to_picture[:, 2])
        right, bottom = (int(v + scale * SIZE) + 1 for v in to_picture[:, 2])
        image = image[top:bottom, left:right]
        if image.size == 0:
            return np.zeros((SIZE, SIZE, 3), np.uint8)
        height, width = image.shape[:2]
        size = max(1, round(width * 2 / scale)), max(1, round(height * 2 / scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        moved = to_picture - np.array([[0, 0, left], [0, 0, top]])
        to_picture = moved * np.array([[size[0] / width], [size[1] / height]])
    square = cv2.warpAffine(image, to_picture, (SIZE, SIZE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(square, np.uint8)


def crop_to_picture(box: Box, size: tuple[int, int]) -> NDArray[np.float64]:
    """The (2, 3) affine map from pixels of the network's square to pixels of the picture.

    Args:
        box: the person, in 0..1 of the picture.
        size: (width, height) of the picture in pixels.
    """
    width, height = size
    across, down = (box[2] - box[0]) * width, (box[3] - box[1]) * height
    scale = max(across, down, 1.0) * ROOM / SIZE
    x, y = (box[0] + box[2]) / 2 * width, (box[1] + box[3]) / 2 * height
    return np.array([[scale, 0, x - scale * SIZE / 2], [0, scale, y - scale * SIZE / 2]])
