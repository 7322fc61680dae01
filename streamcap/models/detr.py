"""Detectors of the DETR family (RT-DETR v2, arXiv:2407.17140; D-FINE, arXiv:2410.13842) over any engine.

Each query is one thing: a score for each class, and a box. There are no anchors; of two queries on one thing, which a
trained network seldom gives, the better one is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from streamcap.models.base import Image
from streamcap.models.batching import MicroBatcher
from streamcap.models.efficientdet import non_maximum
from streamcap.models.engine import Engine, EngineInfo, Tensor
from streamcap.models.pictures import PictureRule, prepare, to_picture
from streamcap.types import Detections

__all__ = ["DetrDetector", "decode"]

# Two people who overlap more than this are told apart by nobody; two queries on one person nearly coincide.
NMS_IOU = 0.8
# Some exports name COCO's classes as VOC does.
_COCO = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


class DetrDetector:
    """A detector. Where its engine profits from batches, the crops of all streams share them.

    Args:
        engine: owned: closed with the detector.
        rule: how pictures are made ready.
        labels: class names, in the order of the logits.
        batch: most pictures put through together; None for what the engine profits from. Above 1 a thread gathers them.
    """

    def __init__(self, engine: Engine, rule: PictureRule, labels: Sequence[str], *, batch: int | None = None) -> None:
        self._engine, self._rule = engine, rule
        self._labels = tuple(_COCO.get(label, label) for label in labels)
        self.batcher: MicroBatcher[Tensor, tuple[Tensor, Tensor]] | None = None
        size: int | Callable[[], int] = batch if batch is not None else lambda: engine.info.batch
        if (batch or engine.info.batch) > 1:
            self.batcher = MicroBatcher(self._run, size=size, lanes=engine.info.lanes, name="streamcap-detector")

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names."""
        return self._labels

    @property
    def info(self) -> EngineInfo:
        """What runs it."""
        return self._engine.info

    def detect(self, image: Image, *, threshold: float, deadline: float | None = None) -> Detections:
        """See :class:`streamcap.models.base.Detector`."""
        ready = prepare(image, self._rule)
        if self.batcher is not None:
            [(logits, boxes)] = self.batcher.map([ready], deadline=deadline)
        else:
            [(logits, boxes)] = self._run([ready])
        found = decode(logits, boxes, threshold)
        return Detections(to_picture(found.boxes, image.shape[:2], self._rule), found.labels, found.scores)

    def close(self) -> None:
        """End the thread and let go of the engine. May be called twice; not while pictures are looked at."""
        if self.batcher is not None:
            self.batcher.close()
        self._engine.close()

    def _run(self, pictures: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        logits, boxes = self._engine.run(np.stack(pictures), "logits", "pred_boxes")
        return list(zip(logits, boxes, strict=True))


def decode(logits: NDArray[np.float32], boxes: NDArray[np.float32], threshold: float) -> Detections:
    """What one picture's queries say.

    Args:
        logits: (queries, classes), before the sigmoid.
        boxes: (queries, 4) centre x, centre y, width, height in 0..1 of the network's input.
        threshold: least score, 0..1.

    Returns:
        Detections in 0..1 of the network's input, unclipped, best first.
    """
    labels = logits.argmax(axis=1)
    best = logits[np.arange(len(logits)), labels]
    scores = 1 / (1 + np.exp(-np.clip(best, -30, 30)))
    keep = np.flatnonzero(scores >= threshold)
    centre, half = boxes[keep, :2], boxes[keep, 2:] / 2
    corners = np.concatenate([centre - half, centre + half], 1).astype(np.float32)
    scores = scores[keep].astype(np.float32)
    chosen = non_maximum(corners, scores, NMS_IOU)
    return Detections(corners[chosen], labels[keep][chosen].astype(np.int32), scores[chosen])
