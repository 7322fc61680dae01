"""Where two graphs of one model part ways: the same tensors of both, compared one by one.

Graphs of two precisions are exported from one module, so the tensors that stand for a layer's output bear one name in
both. Names that the exporter counts up (``val_17``) shift with every cast and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.checkpoint import need
from engines.sessions import open_session
from engines.verify import Tensor, cosine

__all__ = ["Layer", "exposed", "layer_report"]

_COUNTED = re.compile(r"^(val|tmp|_val|_inlfunc.*|node)_?\d*(_.*)?$")
# Tensors looked at in one run: all of a large model's at once would not fit into memory.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Layer:
    """One tensor of both graphs.

    Attributes:
        name: of the tensor.
        operator: that computes it.
        place: how many of the compared come before it.
        cosine: mean over its vectors.
        error: largest difference, in standard deviations of the reference.
    """

    name: str
    operator: str
    place: int
    cosine: float
    error: float


def layer_report(reference: Path, other: Path, fed: Sequence[Tensor]) -> list[Layer]:
    """Compare what both graphs compute inside, the worst first.

    Args:
        reference: the graph in single precision.
        fed: inputs; the one that agrees least counts.

    Raises:
        ModelLoadError: ONNX Runtime does not load one of them.
    """
    operators = _common(reference, other)
    names = list(operators)
    layers: list[Layer] = []
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        one, two = exposed(reference, some), exposed(other, some)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in some}
        for feed in fed:
            for name, a, b in zip(some, _run(one, some, feed), _run(two, some, feed), strict=True):
                if a.shape == b.shape and a.ndim > 1:
                    found[name].append(_compared(a, b))
        for place, name in enumerate(some, start):
            if pairs := found[name]:
                worst, error = min(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
                layers.append(Layer(name, operators[name], place, worst, error))
    return sorted(layers, key=lambda layer: layer.cosine)


def _common(reference: Path, other: Path) -> dict[str, str]:
    """Names of tensors that nodes of both graphs compute, in the order of the first, with the operator there."""
    there = _computed(other)
    return {name: kind for name, kind in _computed(reference).items() if name in there and not _COUNTED.match(name)}


def _computed(graph: Path) -> dict[str, str]:
    onnx = need("onnx")
    model = onnx.load(graph, load_external_data=False)
    return {name: node.op_type for node in model.graph.node for name in node.output if name}


def exposed(graph: Path, names: Sequence[str]) -> Any:
    """A session of the graph in which further tensors are outputs."""
    onnx = need("onnx")
    model = onnx.load(graph)
    had = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in had)
    return open_session(model.SerializeToString(), fused=False)


def _run(session: Any, names: Sequence[str], feed: Tensor) -> list[Tensor]:
    return [np.asarray(each, np.float32) for each in session.run(list(names), {"pixel_values": feed})]


def _compared(a: Tensor, b: Tensor) -> tuple[float, float]:
    one, other = a.astype(np.float64), b.astype(np.float64)  # places that are masked hold the largest single number
    return float(cosine(a, b).mean()), float(np.abs(one - other).max()) / max(float(one.std()), 1e-12)
