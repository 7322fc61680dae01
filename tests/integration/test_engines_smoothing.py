"""Outliers, which trained activations have and random ones have not: what 8 bits make of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamcap.models.graph import Precision, Role
from tests.prerequisites import missing

if not missing("engines"):
    import onnx
    from onnx.numpy_helper import from_array, to_array

    from engines.quantize import quantize_dynamic, quantize_static
    from engines.sessions import open_session, run_graph
    from engines.smoothing import Smoothed, smooth
    from engines.verify import agreement
    from tests.engine_graphs import Made

pytestmark = pytest.mark.requires("engines")

# Channels of what each layer normalisation gives, and how much larger than the rest they are made.
OUTLIERS, TIMES = [3, 17, 40], 200.0


@pytest.fixture
def outlying(made: Made, tmp_path: Path) -> Path:
    """A graph that gives what the tiny CLIP gives, with outliers before the products that follow normalisations."""
    model = onnx.load(made.graph("clip-vit-b16", Precision.FP32))
    constants = {each.name: each for each in model.graph.initializer}
    for norm in (node for node in model.graph.node if node.op_type == "LayerNormalization"):
        users = [node for node in model.graph.node if norm.output[0] in node.input]
        if not all(node.op_type == "MatMul" for node in users):
            continue
        for name, axis, factor in [
            *((name, 0, TIMES) for name in norm.input[1:]),
            *((node.input[1], 0, 1 / TIMES) for node in users),
        ]:
            value = to_array(constants[name]).copy()
            np.moveaxis(value, axis, 0)[OUTLIERS] *= factor
            constants[name].CopyFrom(from_array(value, name))
    path = tmp_path / "outlying.onnx"
    onnx.save(model, path)
    return path


def least(made: Made, path: Path) -> float:
    """Agreement with what the tiny CLIP gives, of the feature of the picture that agrees least."""
    work = made.work("clip-vit-b16")
    fed = work.fed(4)
    wanted = run_graph(open_session(made.graph("clip-vit-b16", Precision.FP32)), fed)
    return min(each.least for each in agreement(work.model, wanted, run_graph(open_session(path), fed)))


def smoothed(made: Made, graph: Path, *, precision: Precision = Precision.INT8) -> tuple[Path, Smoothed]:
    path = graph.with_name("smoothed.onnx")
    return path, smooth(graph, path, made.work("clip-vit-b16").fed(8), precision)


def test_a_smoothed_graph_gives_the_same(made: Made, outlying: Path) -> None:
    path, found = smoothed(made, outlying)
    onnx.checker.check_model(str(path), full_check=True)
    assert least(made, outlying) > 0.99999
    assert least(made, path) > 0.99999
    # Every product by a constant was looked at, none would be far off, and no scale has to reach to an outlier.
    assert len(found.errors) == 13
    assert max(found.errors.values()) < 0.03
    assert max(found.ranges.values()) < TIMES / 4
    # Where a normalisation comes before, nothing is added to the graph.
    kinds = [[node.op_type for node in onnx.load(each).graph.node] for each in (outlying, path)]
    added = len(kinds[1]) - len(kinds[0])
    assert added == kinds[1].count("Mul") - kinds[0].count("Mul") <= 4


def test_outliers_cost_eight_bits_little_once_they_are_smoothed(made: Made, outlying: Path, tmp_path: Path) -> None:
    path, found = smoothed(made, outlying)
    plain, better = tmp_path / "plain.onnx", tmp_path / "better.onnx"
    quantize_static(outlying, plain, made.work("clip-vit-b16").fed(8), Role.ENCODER)
    quantize_static(path, better, (), Role.ENCODER, ranges=found.ranges)
    assert least(made, plain) < 0.99 < 0.998 < least(made, better)


def test_ranges_that_are_found_as_it_runs_gain_too(made: Made, outlying: Path, tmp_path: Path) -> None:
    path, _ = smoothed(made, outlying, precision=Precision.INT8_DYNAMIC)
    plain, better = tmp_path / "plain.onnx", tmp_path / "better.onnx"
    quantize_dynamic(outlying, plain)
    quantize_dynamic(path, better)
    assert least(made, plain) < 0.99 < 0.998 < least(made, better)


def test_products_of_two_activations_are_left_as_they_are(made: Made) -> None:
    graph = onnx.load(made.graph("clip-vit-b16", Precision.INT8)).graph
    constants = {each.name for each in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    eight = 0
    for node in (each for each in graph.node if each.op_type in ("MatMul", "Gemm")):
        factors = [makers[name] for name in node.input[:2] if name in makers]
        pairs = [each for each in factors if each.op_type == "DequantizeLinear"]
        weights = [each for each in pairs if each.input[0] in constants]
        assert len(pairs) == 2 * len(weights), f"{node.name}: a product of two activations in 8 bits"
        eight += bool(pairs)
    assert eight == 13


def test_ranges_are_not_measured_on_the_last_of_several_clips(made: Made) -> None:
    work = made.work("clip-vit-b16")
    first, last = "test:?seconds=8&width=160&height=90", "test:?seconds=8&width=64&height=64"
    alone, both = (replace(work, clips=clips, _fed={}) for clips in ((first,), (first, last)))
    assert np.array_equal(np.concatenate(both.calibration()), np.concatenate(alone.calibration()))
    assert not np.array_equal(np.concatenate(both.fed(6)), np.concatenate(alone.fed(6)))
