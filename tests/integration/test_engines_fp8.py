"""Graphs in floating point of eight bits: what they give, what is in them, and the plans that are made of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamcap.errors import UsageError
from streamcap.models.graph import Precision, read_graph
from streamcap.models.plans import BatchProfile
from tests.prerequisites import missing

if not missing("engines"):
    import onnx
    from onnx import TensorProto, helper
    from onnx.numpy_helper import from_array, to_array

    from engines.build import build_plan
    from engines.fp8 import quantize_fp8, rounded
    from engines.sessions import open_session, run_graph
    from streamcap.models.onnx import OnnxEngine
    from tests.engine_graphs import MODELS, Made

    NAMES = [name for name in MODELS if name != "rtdetr-v2-r18"]
else:
    NAMES = []

pytestmark = pytest.mark.requires("engines")


def test_numbers_keep_three_binary_digits_at_any_size() -> None:
    """The format: 448 is the largest, four exponent bits and three of the fraction, gradual underflow to 2^-9."""
    given = np.array([448, 500, -500, 17, 18, 0.013, 2.0**-9, 2.0**-11, 0], np.float32)
    assert rounded(given, 448.0).tolist() == [448, 448, -448, 16, 18, 0.013671875, 2.0**-9, 0, 0]
    some = np.random.default_rng(0).uniform(0.05, 7.0, 1000).astype(np.float32)
    assert np.abs(rounded(some, 7.0) / some - 1).max() <= 2.0**-4
    assert not rounded(np.zeros(3, np.float32), 0.0).any()


def product(folder: Path, weight: np.ndarray[tuple[int, ...], np.dtype[np.float16]], *, transposed: bool) -> Path:
    """A graph of two products by one constant, one after an addition, between single-precision ends."""
    last = "Gemm" if transposed else "MatMul"
    options = {"transB": 1} if transposed else {}
    nodes = [
        helper.make_node("Cast", ["pixel_values"], ["half"], name="in", to=TensorProto.FLOAT16),
        helper.make_node(last, ["half", "weight"], ["once"], name="first", **options),
        helper.make_node("Add", ["half", "half"], ["doubled"], name="add"),
        helper.make_node(last, ["doubled", "weight"], ["twice"], name="second", **options),
        helper.make_node("Concat", ["once", "twice"], ["both"], name="join", axis=1),
        helper.make_node("Cast", ["both"], ["out"], name="out", to=TensorProto.FLOAT),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", side])]
        for name, side in (("pixel_values", 32), ("out", 96))
    ]
    graph = helper.make_graph(nodes, "g", *ends, [from_array(weight.T.copy() if transposed else weight, "weight")])
    path = folder / "whole.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_gives_what_the_type_gives(tmp_path: Path, transposed: bool) -> None:
    """Computed here by rounding both factors, there by the runtime's own kernels."""
    random = np.random.default_rng(1)
    weight = random.standard_normal((32, 48)).astype(np.float16)
    fed = random.uniform(-4, 4, (5, 32)).astype(np.float16).astype(np.float32)
    whole, path = product(tmp_path, weight, transposed=transposed), tmp_path / "fp8.onnx"
    quantize_fp8(whole, path, {"half": 4.0, "doubled": 8.0})
    onnx.checker.check_model(str(path), full_check=True)
    ((found,),) = run_graph(open_session(path, fused=False), [fed])
    coarse = rounded(weight.astype(np.float32), float(np.abs(weight).max()))
    wanted = np.concatenate([rounded(fed, 4.0) @ coarse, rounded(2 * fed, 8.0) @ coarse], 1)
    # Scales are rounded to half precision there, which moves a few numbers to the next step.
    assert np.linalg.norm(found - wanted) < 0.01 * np.linalg.norm(wanted)
    exact = np.concatenate([fed @ weight, 2 * fed @ weight], 1)
    assert 0.01 < np.linalg.norm(found - exact) / np.linalg.norm(exact) < 0.06
    graph = onnx.load(path).graph
    assert [each.name for each in graph.initializer if each.data_type == TensorProto.FLOAT16 and each.dims] == []
    kept = tmp_path / "kept.onnx"
    quantize_fp8(whole, kept, {"half": 4.0, "doubled": 8.0}, keep={"second"})
    assert sum(node.op_type == "QuantizeLinear" for node in onnx.load(kept).graph.node) == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_model_of_products_stays_near(made: Made, name: str) -> None:
    path = made.graph(name, Precision.FP8)
    verdict = made.work(name).verify(Precision.FP8)
    assert verdict.passed, verdict
    onnx.checker.check_model(str(path), full_check=True)
    graph = onnx.load(path).graph
    eight = [each for each in graph.initializer if each.data_type == TensorProto.FLOAT8E4M3FN and len(each.dims) == 2]
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    makers = {name: node for node in graph.node for name in node.output}
    for node in products:
        by = [makers[name].op_type if name in makers else "" for name in node.input[:2]]
        # Both factors or none: attention, of which neither is a constant, stays in half precision.
        assert by.count("DequantizeLinear") in (0, 2), node.name
    assert len(eight) == sum(makers[n.input[1]].op_type == "DequantizeLinear" for n in products if n.input[1] in makers)
    scales = [each for each in graph.initializer if each.name.endswith("_fp8_scale")]
    assert scales
    assert all(each.data_type == TensorProto.FLOAT16 and not each.dims and to_array(each) > 0 for each in scales)


def test_the_service_runs_it_on_a_processor_too(made: Made) -> None:
    path = made.graph("clip-vit-b16", Precision.FP8)
    work = made.work("clip-vit-b16")
    fed = work.fed(2)[0]
    engine = OnnxEngine.of(path, read_graph(path))
    (found,) = engine.run(fed, "image_embeds")
    engine.close()
    ((wanted, _),) = run_graph(open_session(path, fused=False), [fed])
    assert np.allclose(found, wanted, atol=1e-2 * float(np.abs(wanted).max()))


def test_outliers_cost_it_nothing() -> None:
    """Where one channel is far larger than the rest, integers keep nothing of these, and floating point all."""
    random = np.random.default_rng(2)
    value = random.standard_normal((100, 64)).astype(np.float32)
    value[:, 3] *= 200
    most = float(np.abs(value).max())
    rest = np.delete(np.arange(64), 3)
    left = np.linalg.norm((rounded(value, most) - value)[:, rest]) / np.linalg.norm(value[:, rest])
    step = most / 127
    integers = np.linalg.norm((np.round(value / step) * step - value)[:, rest]) / np.linalg.norm(value[:, rest])
    assert left < 0.03 < 0.9 < integers


def test_a_detector_has_none(made: Made) -> None:
    """Its work is convolutions, which TensorRT-RTX does not compute in that type."""
    with pytest.raises(UsageError, match="rtdetr-v2-r18-tiny is not made in fp8"):
        made.work("rtdetr-v2-r18").export(Precision.FP8)


@pytest.mark.requires("tensorrt-rtx")
@pytest.mark.parametrize("name", ["siglip2-b16", "qwen2.5-vl-3b-vision"])
def test_it_becomes_a_plan_for_gpus_that_compute_in_it(made: Made, tmp_path: Path, name: str) -> None:
    path = made.graph(name, Precision.FP8)
    built = build_plan(
        path, read_graph(path), profile=BatchProfile(least=1, best=2, most=4), targets=["sm_89"], folder=tmp_path
    )
    assert built.architectures == ("sm_89",)


@pytest.mark.requires("tensorrt-rtx")
def test_no_plan_is_built_for_gpus_that_do_not(made: Made, tmp_path: Path) -> None:
    path = made.graph("clip-vit-b16", Precision.FP8)
    info, profile = read_graph(path), BatchProfile(least=1, best=2, most=4)
    built = build_plan(path, info, profile=profile, folder=tmp_path)
    assert built.architectures == ("sm_89", "sm_120"), "of those that are usual"
    with pytest.raises(UsageError, match="sm_80 does not compute in fp8") as caught:
        build_plan(path, info, profile=profile, targets=["sm_89", "sm_80"], folder=tmp_path)
    assert caught.value.hint == "sm_89 and newer do"


def test_products_that_lose_most_are_left_out_where_all_together_lose_too_much(made: Made, tmp_path: Path) -> None:
    work = made.work("clip-vit-b16")
    strict = work.entry.model_copy(update={"tolerances": work.entry.tolerances.model_copy(update={"fp8": 0.9999})})
    shutil.copy(made.graph("clip-vit-b16", Precision.FP16), tmp_path)  # what it starts from
    other = replace(work, entry=strict, folder=tmp_path, left={})
    other.export(Precision.FP8)
    few, all_, _ = other.left[Precision.FP8].replace(" of ", " ").split(" ", 2)
    assert 0 < int(few) < int(all_) == 13
