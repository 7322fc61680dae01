"""Eight-bit floating point: ``fp8`` graphs.

Weights of products and what they are multiplied by become ``float8e4m3fn`` (arXiv:2209.05433), by pairs of quantise and
dequantise nodes with one scale for each tensor: its largest magnitude, on real frames, becomes the largest number of
the type. All else, softmax and normalisations among it, stays in half precision. It is by such pairs that TensorRT
finds its products of that type. A scale for each output channel gains nothing, since a floating-point number is equally
exact at any size, and not every kernel takes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.checkpoint import need
from engines.quantize import written

__all__ = ["quantize_fp8", "rounded"]

Tensor = NDArray[np.float32]
# The largest number of float8e4m3fn; there is no infinity, so larger ones are cut off.
_LARGEST = 448.0
# Scales are in half precision: no smaller than its smallest number that has all its digits.
_LEAST_SCALE = 2.0**-14
_ZERO = "fp8_zero"


def rounded(value: Tensor, most: float) -> Tensor:
    """What is left of numbers of which ``most`` is the largest magnitude."""
    scale = max(most / _LARGEST, _LEAST_SCALE)
    return np.asarray(_in_eight_bits(value, scale).astype(np.float32) * scale)


def quantize_fp8(graph: Path, path: Path, ranges: Mapping[str, float], *, keep: Collection[str] = ()) -> None:
    """Write the ``fp8`` graph of one in half precision.

    Args:
        ranges: largest magnitudes of what products are given, by the names of tensors; products of others are left.
        keep: names of products that are left as they are.

    Raises:
        ModelError: it cannot be quantised, or the disk is full.
    """
    onnx = need("onnx")

    def write(fresh: Path) -> None:
        model = onnx.load(graph)
        edit = _Edit(model)
        for node in list(model.graph.node):
            if edit.takes(node) and node.input[0] in ranges and node.name not in keep:
                edit.put(node, ranges[node.input[0]])
        edit.finish()
        onnx.save(model, fresh)

    written(write, path)


class _Edit:
    """Changes of a graph, which is the one that is given."""

    def __init__(self, model: Any) -> None:
        self._onnx = need("onnx")
        self._graph = model.graph
        self._constants = {each.name: each for each in model.graph.initializer}
        self._pairs: dict[str, str] = {}  # tensors that are in eight bits, and what stands for them
        self._before: dict[str, list[Any]] = {}  # nodes to add, by the node that needs them first
        self._added: list[Any] = []

    def takes(self, node: Any) -> bool:
        """Whether it is a product by a constant."""
        return node.op_type in ("MatMul", "Gemm") and node.input[1] in self._constants

    def put(self, node: Any, most: float) -> None:
        """Compute a product in eight bits, of an input of which ``most`` is the largest magnitude."""
        weight, kind = node.input[1], self._constants[node.input[1]].data_type
        if node.input[0] not in self._pairs:
            self._pairs[node.input[0]] = self._activation(node, most, kind)
        if weight not in self._pairs:
            self._pairs[weight] = self._weight(node, weight, kind)
        node.input[0], node.input[1] = self._pairs[node.input[0]], self._pairs[weight]

    def _activation(self, node: Any, most: float, kind: int) -> str:
        name = node.input[0]
        scale, _ = self._scale(name, most, kind)
        self._node(node, "QuantizeLinear", [name, scale, _ZERO], f"{name}_fp8")
        return self._node(node, "DequantizeLinear", [f"{name}_fp8", scale], f"{name}_fp8_back")

    def _weight(self, node: Any, name: str, kind: int) -> str:
        value = self._onnx.numpy_helper.to_array(self._constants[name]).astype(np.float32)
        scale, number = self._scale(name, float(np.abs(value).max()), kind)
        self._constant(f"{name}_fp8", _in_eight_bits(value, number))
        return self._node(node, "DequantizeLinear", [f"{name}_fp8", scale], f"{name}_fp8_back")

    def _scale(self, tensor: str, most: float, kind: int) -> tuple[str, float]:
        """The name of a tensor's scale, and the number as the graph's type has it."""
        value = np.array(max(most / _LARGEST, _LEAST_SCALE), self._onnx.helper.tensor_dtype_to_np_dtype(kind))
        return self._constant(f"{tensor}_fp8_scale", value), float(value)

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._added.append(self._onnx.numpy_helper.from_array(value, name))
        return name

    def _node(self, before: Any, operator: str, given: list[str], gives: str) -> str:
        made = self._onnx.helper.make_node(operator, given, [gives], name=f"{gives}_{operator}")
        self._before.setdefault(before.name, []).append(made)
        return gives

    def finish(self) -> None:
        """Put new nodes before those that need them, and take away weights that nobody uses any more."""
        onnx, graph = self._onnx, self._graph
        self._added.append(onnx.helper.make_tensor(_ZERO, onnx.TensorProto.FLOAT8E4M3FN, [], b"\0", raw=True))
        nodes = [each for node in graph.node for each in (*self._before.get(node.name, ()), node)]
        used = {name for node in nodes for name in node.input}
        kept = [each for each in (*graph.initializer, *self._added) if each.name in used]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(nodes)
        graph.initializer.extend(kept)


def _in_eight_bits(value: Tensor, scale: float) -> NDArray[Any]:
    eight: NDArray[Any] = np.clip(value / scale, -_LARGEST, _LARGEST).astype(need("ml_dtypes").float8_e4m3fn)
    return eight
