"""Does a graph give what torch gives? Cosine of the outputs, picture by picture, on real frames.

The reference is transformers' own code in single precision, not the module that was exported: what was rebuilt for the
export is held to it too. The least agreement of all pictures counts, see ``manifest.Tolerances``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engines.families.base import Exportable
from streamcap.models.graph import Role

__all__ = ["Agreement", "agreement", "reference_outputs"]

Tensor = NDArray[np.float32]
# Detections of which the reference is this sure are compared; of random weights, which are sure of nothing, the surest.
_SURE = 0.3
_AT_LEAST = 10
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near an output is to the reference.

    Attributes:
        output: its name.
        least: of the picture that agrees least, 1 for the same.
        mean: over all pictures.
        pictures: how many were compared.
    """

    output: str
    least: float
    mean: float
    pictures: int


def reference_outputs(model: Exportable, fed: Sequence[Tensor]) -> list[list[Tensor]]:
    """What transformers gives for each input."""
    with torch.inference_mode():
        return [[each.float().numpy() for each in model.reference(torch.from_numpy(one))] for one in fed]


def agreement(
    model: Exportable, wanted: Sequence[Sequence[Tensor]], got: Sequence[Sequence[Tensor]]
) -> list[Agreement]:
    """Compare outputs, picture by picture.

    Args:
        wanted, got: for each input, the outputs in order.
    """
    compare: Callable[..., list[float]] = _detections if model.role is Role.DETECTOR else _vectors
    scores = np.array([compare(one, other) for one, other in zip(wanted, got, strict=True)])
    return [
        Agreement(name, float(column.min()), float(column.mean()), len(column))
        for name, column in zip(model.outputs, scores.T, strict=True)
    ]


def _vectors(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> list[float]:
    """For each output the mean cosine of its vectors, which lie along the last axis."""
    return [float(cosine(one, other).mean()) for one, other in zip(wanted, got, strict=True)]


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """Cosine along the last axis; NaN counts as -1, so that it can never pass."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    same = (norms < _TINY) & np.isclose(a, b).all(-1)
    found = np.where(same, 1.0, (a * b).sum(-1) / np.maximum(norms, _TINY))
    return np.asarray(np.nan_to_num(found, nan=-1.0), np.float32)


def _detections(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> list[float]:
    """Cosine of the scores, and median overlap of the boxes, of detections that belong together.

    Queries are chosen by score: where two scores are near each other a rounding changes their order, and nothing that
    anybody sees. So each sure detection is compared with the one that is most like it.
    """
    (logits,), (boxes,) = wanted
    (logits2,), (boxes2,) = got
    scores, scores2 = _sigmoid(logits), _sigmoid(logits2)
    best = scores.max(-1)
    sure = np.argsort(-best)[: max(_AT_LEAST, int((best > _SURE).sum()))]
    distance = np.abs(boxes[sure][:, None] - boxes2[None]).sum(-1) + np.abs(scores[sure][:, None] - scores2).max(-1)
    match = distance.argmin(1)
    return [
        float(cosine(scores[sure], scores2[match]).mean()),
        float(np.median(_overlap(boxes[sure], boxes2[match]))),
    ]


def _sigmoid(x: Tensor) -> Tensor:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes given by centre and size, row by row."""
    low = np.maximum(one[:, :2] - one[:, 2:] / 2, other[:, :2] - other[:, 2:] / 2)
    high = np.minimum(one[:, :2] + one[:, 2:] / 2, other[:, :2] + other[:, 2:] / 2)
    inside = np.clip(high - low, 0, None).prod(-1)
    union = one[:, 2:].prod(-1) + other[:, 2:].prod(-1) - inside
    return np.asarray(inside / np.maximum(union, _TINY), np.float32)
