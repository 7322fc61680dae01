"""How much a product would lose in 8 bits: what it gives for real frames, against what it would give.

What it loses differs a hundredfold from product to product; those that lose most are left in the wider type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.fp8 import rounded
from streamcap.models.graph import Precision

__all__ = ["product_error", "sampled"]

Tensor = NDArray[np.float32]
# Rows of a product's input that are multiplied: enough to know its error to a tenth of itself.
_ROWS = 400
_LEVELS = 127
_TINY = 1e-12


def sampled(value: NDArray[Any], frames: int) -> Tensor:
    """Rows of what a product is given for one of so many frames."""
    rows = value.reshape(-1, value.shape[-1])
    return rows[:: max(1, len(rows) * frames // _ROWS)].astype(np.float32)


def product_error(
    given: Sequence[Tensor], exact: Sequence[Tensor], weight: Tensor, most: float, precision: Precision
) -> float:
    """Relative error of a product: the norm of what it would be wrong by, over that of what it gives.

    Args:
        given: rows of its input, frame by frame.
        exact: what it gives for them.
        weight: (input channels, output channels).
        most: largest magnitude of its input, which fixes the scale; but for ``int8-dynamic``, where each frame has one
            of its own.
        precision: one of 8 bits.
    """
    if precision is Precision.FP8:
        coarse = rounded(weight, float(np.abs(weight).max()))
    else:
        coarse = _stepped(weight, np.abs(weight).max(0))
    wrong = whole = 0.0
    for rows, right in zip(given, exact, strict=True):
        if precision is Precision.FP8:
            near = rounded(rows, most)
        else:
            near = _stepped(rows, (rows.max() - rows.min()) / 2 if precision is Precision.INT8_DYNAMIC else most)
        wrong += float(np.square(right - near @ coarse).sum())
        whole += float(np.square(right).sum())
    return float(np.sqrt(wrong / max(whole, _TINY)))


def _stepped(value: Tensor, most: ArrayLike) -> Tensor:
    """What is left in integers, of which the largest stands for ``most``."""
    step = np.maximum(np.asarray(most, np.float32) / _LEVELS, _TINY)
    return np.asarray(np.round(value / step) * step, np.float32)
