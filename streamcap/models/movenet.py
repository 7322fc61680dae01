"""MoveNet SinglePose Lightning (float16, 192×192) through LiteRT: 17 joints of the one person in the middle of a crop.

The network expects a square crop with the person in its middle and some room around it (Google, "MoveNet: Ultra fast
and accurate pose detection model", model card 2021); it reports y, x, score of each joint in 0..1 of the crop.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamcap.models.base import Image
from streamcap.models.crops import crop_to_picture, square
from streamcap.models.litert import Network
from streamcap.types import Box

__all__ = ["MoveNetLightning"]

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
        to_picture = crop_to_picture(box, (image.shape[1], image.shape[0]), side=SIZE, room=ROOM)
        (found,) = self._network.run(square(image, to_picture, SIZE), self._joints)
        y, x, score = found[0].T
        pixels = to_picture[:, :2] @ np.stack([x, y]) * SIZE + to_picture[:, 2:]
        height, width = image.shape[:2]
        return np.stack([pixels[0] / width, pixels[1] / height, score], 1).astype(np.float32)
