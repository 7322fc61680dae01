"""Silhouettes by DeepLabV3 on MobileNetV2 (PASCAL VOC 2012, float32, 257×257) through LiteRT.

It names the class of each pixel (Chen et al., arXiv:1706.05587), so what stands beside an instance and is of its class
comes along; what is far from the box is for the caller to cut off. Its edges are coarse, as it decides every eighth
pixel: GrabCut (Rother, Kolmogorov, Blake, 2004) moves them to where the colours change, within a narrow band.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.labels import ANIMALS
from streamcap.models.base import Image
from streamcap.models.litert import Network, packed_lines
from streamcap.types import Box

__all__ = ["DeepLab"]

SIZE = 257
BACKGROUND = "background"
# Its scores are blown up from every eighth pixel: each second one tells as much in a quarter of the time.
THIN = 2
# Around the box, by its longer side: a class is recognised by what is around it.
PAD = 0.25
# Mean likelihood (0..1) of the pixels found, below which they are not to be trusted: on cars of 20 pixels and on half a
# chair it is 0.60 to 0.69, where the outline fits 0.78 to 0.93.
SURE = 0.75
# GrabCut: longer side of what it works on (pixels; its time goes by the area), rounds, and half the width of the band
# within which the edge may move.
CUT_SIDE, CUT_ROUNDS, BAND = 160, 2, 6

# Classes of VOC that may be what the detector or the tracks call so: it is enough to tell it from the background.
_ROAD = frozenset({"car", "bus", "train"})
_CYCLES = frozenset({"bicycle", "motorbike"})
_BEASTS = frozenset({"bird", "cat", "cow", "dog", "horse", "sheep"})
_CLASSES = {
    "car": _ROAD,
    "truck": _ROAD,
    "bus": _ROAD,
    "train": _ROAD,
    "vehicle": _ROAD | _CYCLES,
    "bicycle": _CYCLES,
    "motorcycle": _CYCLES,
    "boat": frozenset({"boat"}),
    "airplane": frozenset({"aeroplane"}),
    "bottle": frozenset({"bottle"}),
    "chair": frozenset({"chair", "sofa"}),
    "couch": frozenset({"chair", "sofa"}),
    "potted plant": frozenset({"potted plant"}),
    **dict.fromkeys(ANIMALS, _BEASTS),
}


class DeepLab:
    """Silhouettes of vehicles, animals, bottles and seats: about 12 ms each on one core, and 1 to 20 for the edge.

    Args:
        path: the ``.tflite`` file with its labels in the zip tail.
        interpreters: how many instances may be in the network at once; each costs about 15 MB.

    Raises:
        ModelLoadError: the file or the runtime does not load.
    """

    def __init__(self, path: Path, *, interpreters: int = 1) -> None:
        names = packed_lines(path, "labelmap.txt", "the segmenter")
        known = {name.strip(): index for index, name in enumerate(names) if name.strip()}
        self._classes = {
            label: sorted(known[name] for name in classes if name in known) for label, classes in _CLASSES.items()
        }
        # What has no name yet may be anything.
        self._classes["object"] = sorted(index for name, index in known.items() if name != BACKGROUND)
        self._network = Network(path, "the segmenter", interpreters=interpreters)
        (self._scores,) = self._network.outputs

    def segment(self, image: Image, box: Box, label: str) -> NDArray[np.float32] | None:
        """See :class:`streamcap.models.base.Segmenter`."""
        wanted = self._classes.get(label)
        around = _around(box, image.shape)
        if not wanted or around is None:
            return None
        left, top, right, bottom = around
        crop = image[top:bottom, left:right]
        scale = SIZE / max(crop.shape[:2])
        size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
        small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        # Zero is the middle of the network's input, so the part without a picture is of no colour.
        padded = np.zeros((SIZE, SIZE, 3), np.float32)
        padded[: size[1], : size[0]] = small.astype(np.float32) / np.float32(127.5) - 1.0
        seen = np.s_[: size[1] : THIN, : size[0] : THIN]
        share = self._network.read(padded, lambda scores: _share(scores[seen], wanted), self._scores)
        likely = share >= 0.5
        if not likely.any() or float(share[likely].mean()) < SURE:
            return None
        found = np.zeros(image.shape[:2], np.float32)
        found[top:bottom, left:right] = _edged(crop, cv2.resize(share, (right - left, bottom - top)))
        return found


def _share(scores: NDArray[np.float32], wanted: list[int]) -> NDArray[np.float32]:
    """Softmax over the classes, and of that the sum of those wanted."""
    grown = np.exp(scores - scores.max(axis=2, keepdims=True))
    return np.asarray(grown[..., wanted].sum(axis=2) / grown.sum(axis=2), np.float32)


def _edged(crop: Image, share: NDArray[np.float32]) -> NDArray[np.float32]:
    """A likelihood whose edge lies where the colours change; as it was where there are no two sorts of colours."""
    scale = min(1.0, CUT_SIDE / max(crop.shape[:2]))
    size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
    small = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
    likely = cv2.resize(share, size, interpolation=cv2.INTER_AREA) >= 0.5
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND + 1, 2 * BAND + 1))
    sure = cv2.erode(likely.astype(np.uint8), reach, borderType=cv2.BORDER_CONSTANT, borderValue=1).astype(bool)
    near = cv2.dilate(likely.astype(np.uint8), reach).astype(bool)
    if not sure.any() or near.all():  # too slim for a band, or nothing to tell it from
        return share
    marks = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    marks[sure], marks[~near] = cv2.GC_FGD, cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, marks, None, *models, CUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    cut = ((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.resize(cut, (crop.shape[1], crop.shape[0])), np.float32)


def _around(box: Box, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """The box with what is around it, in pixels inside of the picture; None where nothing of it is left."""
    height, width = shape[:2]
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    pad = PAD * max(x1 - x0, y1 - y0)
    left, top = max(0, int(x0 - pad)), max(0, int(y0 - pad))
    right, bottom = min(width, int(x1 + pad) + 1), min(height, int(y1 + pad) + 1)
    return (left, top, right, bottom) if right - left >= 2 and bottom - top >= 2 else None
