"""The silhouette of a person by BlazePose GHUM (full, float16, 256×256) through LiteRT.

The network looks at a square with one upright person in its middle; beside joints, which are not used here, it tells
how sure it is that somebody is there and which pixels are that person (Google, "MediaPipe BlazePose GHUM 3D", model
card 2021). Of two people side by side it cuts out the one in the middle, which a network of classes cannot.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.models.base import Image
from streamcap.models.crops import crop_to_picture, square
from streamcap.models.litert import Network, packed
from streamcap.types import Box

__all__ = ["BlazePose"]

SIZE = 256
# The network in the bundle, beside a detector that is not needed: the box is known.
MEMBER = "pose_landmarks_detector.tflite"
# Side of the crop by the longer side of the box, as in MediaPipe's graph.
ROOM = 1.25
# Less sure than this (0..1) that somebody is there: sign posts that were called people have 0.05 to 0.15.
SURE = 0.2
# Whoever is this much wider than high may be lying: turned to either side, too. Quarter turns.
WIDE = 1.2
UPRIGHT, TURNED = (0,), (0, 1, 3)
# Beyond this a logit says no more, and its exponent would be no float32.
LOGIT_MOST = 30.0


class BlazePose:
    """Silhouettes of people: about 10 ms each on one core, three times that of who may be lying.

    Args:
        path: MediaPipe's ``.task`` bundle.
        interpreters: how many people may be in the network at once; each costs about 25 MB.

    Raises:
        ModelLoadError: the file or the runtime does not load.
    """

    def __init__(self, path: Path, *, interpreters: int = 1) -> None:
        content = packed(path, MEMBER, "the segmenter")
        self._network = Network(path, "the segmenter", interpreters=interpreters, content=content)
        by_shape = {shape: index for index, shape in self._network.outputs.items()}
        self._presence, self._mask = by_shape[1, 1], by_shape[1, SIZE, SIZE, 1]

    def segment(self, image: Image, box: Box, label: str) -> NDArray[np.float32] | None:
        """See :class:`streamcap.models.base.Segmenter`."""
        if label != "person":
            return None
        height, width = image.shape[:2]
        to_picture = crop_to_picture(box, (width, height), side=SIZE, room=ROOM)
        crop = square(image, to_picture, SIZE)
        across, down = (box[2] - box[0]) * width, (box[3] - box[1]) * height
        looks = [self._look(crop, turns) for turns in (TURNED if across > WIDE * down else UPRIGHT)]
        around = _reach(across, down)
        sure, mask = max(looks, key=lambda look: look[0] * _filled(look[1], around))
        if sure < SURE:
            return None
        return np.asarray(cv2.warpAffine(mask, to_picture, (width, height), flags=cv2.INTER_LINEAR), np.float32)

    def _look(self, crop: Image, turns: int) -> tuple[float, NDArray[np.float32]]:
        """How sure somebody is there (0..1), and (256, 256) how likely each pixel shows them, 0..1."""
        scaled = np.ascontiguousarray(np.rot90(crop, turns), np.float32) / np.float32(255)
        presence, logits = self._network.run(scaled, self._presence, self._mask)
        share = 1.0 / (1.0 + np.exp(-np.clip(np.rot90(logits[..., 0], -turns), -LOGIT_MOST, LOGIT_MOST)))
        return float(presence[0]), np.ascontiguousarray(share, np.float32)


def _reach(across: float, down: float) -> tuple[slice, slice]:
    """The box as rows and columns of the crop."""
    side = max(across, down, 1.0) * ROOM
    half = [max(1, round(length / side * SIZE / 2)) for length in (down, across)]
    rows, columns = (slice(SIZE // 2 - h, SIZE // 2 + h) for h in half)
    return rows, columns


def _filled(mask: NDArray[np.float32], around: tuple[slice, slice]) -> float:
    """Share of the box from end to end that a mask reaches over, 0..1: one that leaves out the head reaches less."""
    inside = mask[around] >= 0.5
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not rows.size:
        return 0.0
    return float((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) / inside.size)
