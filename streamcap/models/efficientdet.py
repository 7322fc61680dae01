"""EfficientDet-Lite0 (COCO, int8, 320×320) through LiteRT.

Anchors and box decoding follow EfficientDet (Tan, Pang, Le, arXiv:1911.09070) with the Lite0 settings: levels 3–7,
three scales an octave, aspects 1, 2 and 1/2, anchor scale 4.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.models.base import Image
from streamcap.models.litert import Network, packed_lines
from streamcap.types import Detections

__all__ = ["EfficientDetLite0", "anchors", "decode"]

SIZE = 320
LEVELS = range(3, 8)
OCTAVES = 3
ASPECTS = (1.0, 2.0, 0.5)
ANCHOR_SCALE = 4.0
NMS_IOU = 0.5
# Enough for a crowd in one crop; bounds the cost of non-maximum suppression.
MAX_CANDIDATES = 200


def anchors() -> NDArray[np.float32]:
    """Anchor boxes as (19206, 4) float32 ``cy, cx, h, w`` in 0..1 of the network's input."""
    rows = []
    for level in LEVELS:
        stride = 2**level
        centres = (np.arange(0, SIZE, stride, dtype=np.float32) + stride / 2) / SIZE
        cy, cx = np.meshgrid(centres, centres, indexing="ij")
        sizes = [
            (side / np.sqrt(aspect), side * np.sqrt(aspect))
            for octave in range(OCTAVES)
            for side in [ANCHOR_SCALE * stride * 2 ** (octave / OCTAVES) / SIZE]
            for aspect in ASPECTS
        ]
        hw = np.asarray(sizes, np.float32)
        grid = np.stack([cy, cx], -1)[:, :, None, :].repeat(len(sizes), 2)
        rows.append(np.concatenate([grid, np.broadcast_to(hw, grid.shape)], -1).reshape(-1, 4))
    return np.concatenate(rows).astype(np.float32)


def decode(raw: NDArray[np.float32], anchor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn box codes into boxes.

    Args:
        raw: (n, 4) ``ty, tx, th, tw``.
        anchor: (n, 4) ``cy, cx, h, w``.

    Returns:
        (n, 4) float32 ``x0, y0, x1, y1`` clipped to 0..1.
    """
    cy = raw[:, 0] * anchor[:, 2] + anchor[:, 0]
    cx = raw[:, 1] * anchor[:, 3] + anchor[:, 1]
    h = np.exp(raw[:, 2]) * anchor[:, 2] / 2
    w = np.exp(raw[:, 3]) * anchor[:, 3] / 2
    return np.clip(np.stack([cx - w, cy - h, cx + w, cy + h], 1), 0, 1).astype(np.float32)


class EfficientDetLite0:
    """The embedded default detector: 90 COCO classes, about 5 ms a picture on one core.

    Args:
        path: the ``.tflite`` file with its labels in the zip tail.
        interpreters: how many pictures may be in the network at once; each costs about 12 MB.

    Raises:
        ModelLoadError: the file or the runtime does not load.
    """

    def __init__(self, path: Path, *, interpreters: int = 2) -> None:
        self._labels = packed_lines(path, "labels.txt", "the detector")
        self._network = Network(path, "the detector", interpreters=interpreters)
        outputs = {shape[-1]: index for index, shape in self._network.outputs.items()}
        self._boxes, self._scores = outputs[4], outputs[90]
        self._anchors = anchors()

    @property
    def labels(self) -> tuple[str, ...]:
        """COCO class names; ``???`` marks ids that COCO leaves out."""
        return self._labels

    def detect(self, image: Image, *, threshold: float, deadline: float | None = None) -> Detections:
        """See :class:`streamcap.models.base.Detector`."""
        picture, span = letterbox(image)
        # What is chosen is copied by the choosing: indices, not slices.
        return self._network.read(
            picture, lambda codes, scores: self._select(codes, scores, threshold, span), self._boxes, self._scores
        )

    def _select(
        self, codes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float, span: tuple[float, float]
    ) -> Detections:
        # Few anchors pass, so the maximum over the classes is taken for those alone: a fifth of the time.
        keep = np.unique(np.flatnonzero(scores.reshape(-1) >= threshold) // scores.shape[1])
        best = scores[keep].max(axis=1)
        if len(keep) > MAX_CANDIDATES:
            top = np.argpartition(-best, MAX_CANDIDATES)[:MAX_CANDIDATES]
            keep, best = keep[top], best[top]
        shares = np.asarray([*span, *span], np.float32)
        boxes = np.clip(decode(codes[keep], self._anchors[keep]) / shares, 0, 1).astype(np.float32)
        labels = scores[keep].argmax(axis=1).astype(np.int32)
        score = best.astype(np.float32)
        chosen = non_maximum(boxes, score)
        return Detections(boxes[chosen], labels[chosen], score[chosen])


def letterbox(image: Image) -> tuple[Image, tuple[float, float]]:
    """Fit a picture into the network's square without changing its aspect: squeezed people are called dogs.

    Args:
        image: (height, width, 3) uint8 RGB.

    Returns:
        (320, 320, 3) uint8, the picture at the top left on black; and the (width, height) share that it takes up.
    """
    height, width = image.shape[:2]
    scale = SIZE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((SIZE, SIZE, 3), np.uint8)
    square[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return square, (size[0] / SIZE, size[1] / SIZE)


def non_maximum(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float = NMS_IOU) -> NDArray[np.intp]:
    """Indices of the boxes that no better box overlaps by more than ``iou``, best first; class does not count."""
    xywh = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    chosen = cv2.dnn.NMSBoxes(xywh.tolist(), scores.tolist(), 0.0, iou)
    return np.asarray(chosen, dtype=np.intp).reshape(-1)
