"""How much a product would lose in 8 bits: what it gives for real frames, against what it would give.

What it loses differs a hundredfold from product to product; those that lose most are left in the wider type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def product_error(given: Sequence[Tensor], exact: Sequence[Tensor], weight: Tensor, most: float | None) -> float:
    """Relative error of a product: the norm of what it would be wrong by, over that of what it gives.

    Args:
        given: rows of its input, frame by frame.
        exact: what it gives for them.
        weight: (input channels, output channels).
        most: largest magnitude of its input, which fixes the scale; None where each frame has a scale of its own.
    """
    channels = np.maximum(np.abs(weight).max(0) / _LEVELS, _TINY)
    coarse = np.round(weight / channels) * channels
    wrong = whole = 0.0
    for rows, right in zip(given, exact, strict=True):
        scale = max((float(rows.max() - rows.min()) / 2 if most is None else most) / _LEVELS, _TINY)
        wrong += float(np.square(right - (np.round(rows / scale) * scale) @ coarse).sum())
        whole += float(np.square(right).sum())
    return float(np.sqrt(wrong / max(whole, _TINY)))
