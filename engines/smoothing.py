"""Outliers of activations moved into weights before both are put into 8 bits: SmoothQuant (arXiv:2211.10438).

One scale serves a whole activation, and in trained transformers a few channels are hundreds of times larger than the
rest, which one scale leaves next to nothing. A product stays what it is where each channel of its input is divided by a
number and the row of its weights for that channel multiplied by it. The numbers are worked out from the largest
magnitudes on real frames, ``activation ** strength / weight ** (1 - strength)``, with the strength for each input that
makes its products least wrong. The division is folded into the layer normalisation before them; where there is none, it
is a multiplication by a constant, which compilers join with the activation function before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.checkpoint import need
from engines.export import INLINE_BYTES
from engines.files import disk
from engines.layers import exposed
from engines.progress import Progress, quiet
from engines.sensitivity import product_error, sampled
from engines.sessions import open_session
from streamcap.errors import ModelError
from streamcap.models.graph import INPUT, Precision

__all__ = ["Smoothed", "smooth"]

Tensor = NDArray[np.float32]
PRODUCTS = ("MatMul", "Gemm")
# How much of the range of a channel moves into the weights; tried in turn. The paper has 0.5 for most models and 0.75
# to 0.8 where outliers are large; 0 is nothing at all, and all that floating point wants: it is as exact for small
# numbers as for outliers, and loses by what moves into the weights (docs/decisions/037-eight-bit-floats.md).
_STRENGTHS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_STRENGTHS_FP8 = (0.0,)
# Frames that products are tried on; maxima are taken of all.
_FRAMES = 4
# Inputs looked at in one run; all of a large model's at once would not fit into memory.
_AT_ONCE = 16
# Channels that are (nearly) always nothing would be enlarged without end.
_LEAST = 1e-5


@dataclass(frozen=True, slots=True)
class Smoothed:
    """What is known of a graph that was smoothed.

    Attributes:
        errors: relative error of each product by a constant in 8 bits, by the names of nodes.
        ranges: largest magnitude of each of their inputs on all frames, by the names of tensors.
    """

    errors: dict[str, float]
    ranges: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Choice:
    """How the input of some products is put into 8 bits.

    Attributes:
        divisor: of its channels.
        most: largest magnitude.
        errors: of the products.
    """

    divisor: Tensor
    most: float
    errors: list[float]

    def cost(self) -> float:
        """What is made small: the squares of the errors."""
        return float(np.square(self.errors).sum())


@dataclass(slots=True)
class _Group:
    """Products of one input, which is divided by one vector for all of them.

    Attributes:
        name: of the input.
        nodes: the products.
        weights: of each, (input channels, output channels).
    """

    name: str
    nodes: list[Any]
    weights: list[Tensor]

    def divisor(self, largest: Tensor, strength: float) -> Tensor:
        """What its channels are divided by; 1 on the geometric mean."""
        if not strength:
            return np.ones_like(largest)
        weight = np.maximum(np.max([np.abs(each).max(1) for each in self.weights], axis=0), _LEAST)
        numbers = np.maximum(largest, _LEAST) ** strength / weight ** (1 - strength)
        return np.asarray(numbers / np.exp(np.log(numbers).mean()), np.float32)


def smooth(
    graph: Path, path: Path, fed: Sequence[Tensor], precision: Precision, progress: Progress = quiet
) -> Smoothed:
    """Write the smoothed graph: in exact arithmetic it gives what the other gives.

    Args:
        graph: in half or single precision.
        fed: inputs that ranges are measured on.
        precision: of 8 bits, in which products will be computed.
        progress: told of frames and of inputs that are done.

    Raises:
        ModelError: the runtime fails, or a file cannot be written.
    """
    onnx = need("onnx")
    model = onnx.load(graph)
    groups = _groups(model)
    largest = _largest(model, groups, fed, progress)
    some = fed[:: max(1, len(fed) // _FRAMES)][:_FRAMES]
    found = Smoothed({}, {})
    edit = _Edit(model)
    for start in range(0, len(groups), _AT_ONCE):
        few = groups[start : start + _AT_ONCE]
        given = _given(graph, [group.name for group in few], some)
        for place, group in enumerate(few, start + 1):
            best = _best(group, given.pop(group.name), largest[group.name], precision)
            found.errors.update(zip((node.name for node in group.nodes), best.errors, strict=True))
            found.ranges[edit.divide(group, best.divisor)] = best.most
            progress("inputs of products", place, len(groups))
    edit.write(path)
    return found


def _groups(model: Any) -> list[_Group]:
    onnx = need("onnx")
    constants = {each.name: each for each in model.graph.initializer}
    groups: dict[str, _Group] = {}
    for node in model.graph.node:
        if node.op_type in PRODUCTS and node.input[1] in constants:
            weight = onnx.numpy_helper.to_array(constants[node.input[1]]).astype(np.float32)
            group = groups.setdefault(node.input[0], _Group(node.input[0], [], []))
            group.nodes.append(node)
            group.weights.append(weight.T if _transposed(node) else weight)
    return list(groups.values())


def _transposed(node: Any) -> bool:
    return any(each.name == "transB" and each.i for each in node.attribute)


def _largest(model: Any, groups: Sequence[_Group], fed: Sequence[Tensor], progress: Progress) -> dict[str, Tensor]:
    """The largest magnitude of each channel of each input on all frames. The graph itself takes the maxima: a run then
    gives a few numbers instead of every activation.
    """
    onnx = need("onnx")
    helper, graph = onnx.helper, onnx.ModelProto()
    graph.CopyFrom(model)
    names = []
    constants = {"smooth_axis": np.array([0], np.int64)}
    for place, group in enumerate(groups):
        shape = f"smooth_shape_{place}"
        constants[shape] = np.array([-1, len(group.weights[0])], np.int64)
        rows, sizes, most = (f"smooth_{what}_{place}" for what in ("flat", "size", "most"))
        graph.graph.node.extend(
            [
                helper.make_node("Reshape", [group.name, shape], [rows]),
                helper.make_node("Abs", [rows], [sizes]),
                helper.make_node("ReduceMax", [sizes, "smooth_axis"], [most], keepdims=0),
            ]
        )
        names.append(most)
    graph.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(graph.SerializeToString())
    found: list[Tensor] = []
    try:
        for place, one in enumerate(fed, 1):
            now = [np.asarray(each, np.float32) for each in session.run(names, {INPUT: one})]
            found = [np.maximum(*pair) for pair in zip(found, now, strict=True)] if found else now
            progress("ranges on frames", place, len(fed))
    except Exception as error:  # ONNX Runtime raises a dozen unrelated classes without a common base
        raise ModelError(f"ONNX Runtime failed: {str(error).partition(chr(10))[0]}") from error
    return {group.name: most for group, most in zip(groups, found, strict=True)}


def _given(graph: Path, names: Sequence[str], some: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """Some rows of each input, frame by frame."""
    session = exposed(graph, names)
    kept: dict[str, list[Tensor]] = {name: [] for name in names}
    for one in some:
        for name, value in zip(names, session.run(list(names), {INPUT: one}), strict=True):
            kept[name].append(sampled(value, len(some)))
    return kept


def _best(group: _Group, given: Sequence[Tensor], largest: Tensor, precision: Precision) -> _Choice:
    """What makes the products of an input least wrong."""
    exact = [[rows @ weight for rows in given] for weight in group.weights]

    def tried(strength: float) -> _Choice:
        divisor = group.divisor(largest, strength)
        most = float((largest / divisor).max())
        rows = [each / divisor for each in given]
        errors = [
            product_error(rows, right, weight * divisor[:, None], most, precision)
            for right, weight in zip(exact, group.weights, strict=True)
        ]
        return _Choice(divisor, most, errors)

    return min(map(tried, _STRENGTHS_FP8 if precision is Precision.FP8 else _STRENGTHS), key=_Choice.cost)


class _Edit:
    """Changes of a graph, which is the one that is given."""

    def __init__(self, model: Any) -> None:
        self._onnx = need("onnx")
        self._model = model
        self._constants = {each.name: each for each in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._users: dict[str, int] = {output.name: 1 for output in model.graph.output}
        for node in model.graph.node:
            for name in node.input:
                self._users[name] = self._users.get(name, 0) + 1
        self._divisions: dict[str, Any] = {}  # by the node before which they come

    def divide(self, group: _Group, divisor: Tensor) -> str:
        """Divide the input of products by a vector and multiply their weights by it; returns the new input's name."""
        if (divisor == 1).all():
            return group.name
        for node, weight in zip(group.nodes, group.weights, strict=True):
            scaled = weight * divisor[:, None]
            node.input[1] = self._constant(node.input[1], scaled.T if _transposed(node) else scaled, node.name)
        maker = self._makers.get(group.name)
        alone = self._users[group.name] == len(group.nodes)
        if maker is not None and alone and self._normalises(maker):
            for place in range(1, len(maker.input)):
                old = self._onnx.numpy_helper.to_array(self._constants[maker.input[place]]).astype(np.float32)
                maker.input[place] = self._constant(maker.input[place], old / divisor, maker.name)
            return group.name
        name = f"{group.name}_smooth"
        inverse = self._constant(group.nodes[0].input[1], 1 / divisor, f"{group.name}_divisor")
        division = self._onnx.helper.make_node("Mul", [group.name, inverse], [name], name=f"{name}_mul")
        self._divisions[group.nodes[0].name] = division
        for node in group.nodes:
            node.input[0] = name
        return name

    def _normalises(self, node: Any) -> bool:
        return node.op_type == "LayerNormalization" and all(name in self._constants for name in node.input[1:])

    def _constant(self, like: str, value: NDArray[Any], owner: str) -> str:
        """A new constant of the type of another one. Others may use that one, so it stays until nobody does."""
        name = f"{like}_smooth_{owner}"
        kind = self._onnx.helper.tensor_dtype_to_np_dtype(self._constants[like].data_type)
        self._constants[name] = self._onnx.numpy_helper.from_array(np.ascontiguousarray(value, kind), name)
        return name

    def write(self, path: Path) -> None:
        """Write the graph; large weights beside it."""
        graph = self._model.graph
        for first, division in self._divisions.items():
            graph.node.insert(next(at for at, node in enumerate(graph.node) if node.name == first), division)
        had = {each.name for each in graph.initializer}
        graph.initializer.extend(each for name, each in self._constants.items() if name not in had)
        used = {name for node in graph.node for name in node.input}
        for at in reversed(range(len(graph.initializer))):
            if graph.initializer[at].name not in used:
                del graph.initializer[at]
        external = sum(len(each.raw_data) for each in graph.initializer) > INLINE_BYTES
        with disk(path.parent):
            self._onnx.save(self._model, path, save_as_external_data=external, location=f"{path.name}.data")
