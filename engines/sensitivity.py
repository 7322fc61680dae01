"""How much each product of a graph would lose in 8 bits: what it gives for real frames, against what it would give.

Activations of transformers have outliers: a few tokens and channels are hundreds of times larger than the rest, and one
scale for all of them leaves the rest next to nothing. They sit in few layers, most of all before the second product of
a perceptron, and these are left in the wider type.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.checkpoint import need
from engines.layers import exposed
from streamcap.models.graph import INPUT

__all__ = ["product_errors"]

Tensor = NDArray[np.float32]
PRODUCTS = ("MatMul", "Gemm")
# Enough to know an error to a tenth of itself: frames, and rows of each product's input that are multiplied.
_FRAMES = 4
_ROWS = 400
# Inputs looked at in one run; all of a large model's at once would not fit into memory.
_AT_ONCE = 16
_LEVELS = 127


def product_errors(graph: Path, fed: Sequence[Tensor], *, dynamic: bool = False) -> dict[str, float]:
    """Relative error of each product by a constant: the norm of what it would be wrong by, over that of what it gives.

    Args:
        fed: inputs of the graph; some are taken.
        dynamic: the scale of activations is found for each input, as ``int8-dynamic`` does.

    Returns:
        By the names of nodes.
    """
    onnx = need("onnx")
    model = onnx.load(graph)
    constants = {each.name: each for each in model.graph.initializer}
    nodes = [each for each in model.graph.node if each.op_type in PRODUCTS and each.input[1] in constants]
    names = list(dict.fromkeys(node.input[0] for node in nodes))
    some = fed[:: max(1, len(fed) // _FRAMES)][:_FRAMES]
    errors: dict[str, float] = {}
    for start in range(0, len(names), _AT_ONCE):
        wanted = names[start : start + _AT_ONCE]
        session = exposed(graph, wanted)
        runs = [dict(zip(wanted, session.run(wanted, {INPUT: one}), strict=True)) for one in some]
        for node in nodes:
            if node.input[0] in wanted:
                weight = onnx.numpy_helper.to_array(constants[node.input[1]]).astype(np.float32)
                given = [run[node.input[0]].astype(np.float32) for run in runs]
                errors[node.name] = _error(given, weight.T if _transposed(node) else weight, dynamic=dynamic)
    return errors


def _transposed(node: Any) -> bool:
    return any(each.name == "transB" and each.i for each in node.attribute)


def _error(given: Sequence[Tensor], weight: Tensor, *, dynamic: bool) -> float:
    most = max(float(np.abs(each).max()) for each in given) / _LEVELS
    channels = np.maximum(np.abs(weight).max(0) / _LEVELS, 1e-12)
    coarse = np.round(weight / channels) * channels
    wrong = whole = 0.0
    for each in given:
        scale = max(float(each.max() - each.min()) / (2 * _LEVELS) if dynamic else most, 1e-12)
        rows = each.reshape(-1, each.shape[-1])
        rows = rows[:: max(1, len(rows) * len(given) // _ROWS)]
        exact = rows @ weight
        wrong += float(np.square(exact - (np.round(rows / scale) * scale) @ coarse).sum())
        whole += float(np.square(exact).sum())
    return float(np.sqrt(wrong / max(whole, 1e-12)))
