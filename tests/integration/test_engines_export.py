"""Every family of ``engines``, exported: the graphs give what transformers gives, in every precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamcap.models.graph import Precision, Role, read_graph
from tests.prerequisites import missing

if not missing("engines"):
    import onnx

    from engines import layers
    from engines.frames import inputs, patchify, pictures
    from engines.sessions import open_session, run_graph
    from engines.verify import agreement, reference_outputs
    from tests.engine_graphs import MODELS, Made, tiny_work
else:
    MODELS = []


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_a_graph_gives_what_transformers_gives(made: Made, name: str, precision: Precision) -> None:
    path = made.graph(name, precision)
    verdict = made.work(name).verify(precision)
    assert verdict.passed, verdict
    assert [output.output for output in verdict.outputs] == [output.name for output in read_graph(path).outputs]


@pytest.mark.parametrize("name", MODELS)
def test_a_picture_gives_the_same_in_any_batch(made: Made, name: str) -> None:
    path = made.graph(name, Precision.FP32)
    model = made.work(name).model
    if not model.varies:
        assert model.patches is not None
        return
    fed = inputs(model, pictures((), 5))
    session = open_session(path)
    alone = run_graph(session, fed)
    together = run_graph(session, [np.concatenate(fed)])[0]
    assert agreement(model, alone, [[each[n : n + 1] for each in together] for n in range(5)])[0].least > 0.9999
    # Pictures that differ give something that differs, or parity would say nothing.
    assert not np.allclose(together[0][0], together[0][4], atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_is_in_the_graph_itself(made: Made, name: str) -> None:
    graph = onnx.load(made.graph(name, Precision.FP16)).graph
    bytes_of = dict.fromkeys(("FLOAT", "FLOAT16"), 0)
    for tensor in graph.initializer:
        if (kind := onnx.TensorProto.DataType.Name(tensor.data_type)) in bytes_of:
            bytes_of[kind] += int(np.prod(tensor.dims)) * (2 if kind == "FLOAT16" else 4)
    # Rotary angles stay single, and the decoder of a detector.
    assert bytes_of["FLOAT16"] > 0
    if made.work(name).model.role is Role.ENCODER:
        assert bytes_of["FLOAT"] < 100
    assert {each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("name", ["siglip2-b16", "qwen2.5-vl-3b-vision"])
def test_bfloat16_is_in_the_graph_itself(made: Made, name: str) -> None:
    path = made.graph(name, Precision.BF16)
    onnx.checker.check_model(str(path), full_check=True)
    kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer if len(tensor.dims) > 1}
    assert onnx.TensorProto.BFLOAT16 in kinds
    verdict = made.work(name).verify(Precision.BF16)
    assert verdict.passed
    assert verdict.by == "torch"


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("clip-vit-b16", Precision.INT8),
        ("clip-vit-b16", Precision.INT8_DYNAMIC),
        ("qwen3-vl-2b-vision", Precision.INT8),
    ],
)
def test_eight_bits_stay_near(made: Made, name: str, precision: Precision) -> None:
    path = made.graph(name, precision)
    assert made.work(name).verify(precision).passed
    assert path.stat().st_size < made.graph(name, Precision.FP32).stat().st_size / 1.3
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    wanted = {"QuantizeLinear", "DequantizeLinear"} if precision is Precision.INT8 else {"MatMulInteger"}
    assert kinds >= wanted


def test_the_sidecar_says_how_to_use_the_graph(made: Made) -> None:
    info = read_graph(made.graph("clip-vit-b16", Precision.FP32), role=Role.ENCODER)
    assert (info.model, info.source, info.revision, info.seed) == ("clip-vit-b16-tiny", "random", "random", 1)
    assert (info.size, info.grid, info.prefix_tokens, info.resize) == ((32, 32), (4, 4), 1, "crop")
    assert info.output("image_embeds").shape == ("batch", 32)
    assert info.output("patch_tokens").shape == ("batch", 17, 64)
    assert info.versions.keys() >= {"torch", "transformers", "onnx"}
    detector = read_graph(made.graph("rtdetr-v2-r18", Precision.FP32), role=Role.DETECTOR)
    assert detector.labels[:3] == ("person", "bicycle", "car")
    assert detector.output("pred_boxes").shape == ("batch", 20, 4)
    tiles = read_graph(made.graph("smolvlm2-500m-vision", Precision.FP32), role=Role.TOWER)
    assert tiles.input.shape == ("tiles", 3, 64, 64)
    assert tiles.output("image_features").shape == ("tiles", 4, 48)
    patches = read_graph(made.graph("qwen3-vl-2b-vision", Precision.FP32), role=Role.TOWER)
    assert patches.patches is not None
    assert (patches.patches.frames, patches.patches.rows, patches.patches.columns) == (2, 12, 16)
    assert [each.name for each in patches.outputs] == ["image_features", "deepstack_0", "deepstack_1"]


def test_the_same_seed_gives_the_same_graph(made: Made, tmp_path: Path) -> None:
    first = read_graph(made.graph("clip-vit-b16", Precision.FP32))
    again = read_graph(tiny_work("clip-vit-b16", tmp_path, seed=1).export(Precision.FP32))
    assert again == first
    other = tiny_work("clip-vit-b16", tmp_path, seed=2)
    assert other.fed(1)[0].shape == (1, 3, 32, 32)
    (feature, _), (feature2, _) = (
        reference_outputs(each.model, other.fed(1))[0] for each in (other, made.work("clip-vit-b16"))
    )
    assert not np.allclose(feature, feature2, atol=1e-2)


def test_a_graph_that_differs_is_shown_layer_by_layer(made: Made) -> None:
    work = made.work("clip-vit-b16")
    path = made.graph("clip-vit-b16", Precision.FP32)
    model = onnx.load(path)
    # The first product of the last layer's perceptron.
    changed = [each for each in model.graph.initializer if tuple(each.dims) == (64, 128)][-1]
    changed.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(changed), changed.name))
    other = path.with_name("changed.onnx")
    onnx.save(model, other)
    fed = work.fed(2)
    found = agreement(work.model, reference_outputs(work.model, fed), run_graph(open_session(other), fed))
    assert min(each.least for each in found) < 0.99
    report = layers.layer_report(path, other, fed)
    assert [layer.cosine for layer in report] == sorted(layer.cosine for layer in report)
    # The product whose weights were turned round is the worst of all, and nothing before it differs.
    assert report[0].cosine < 0
    assert all(layer.cosine > 0.99999 for layer in report if layer.place < report[0].place - 1)


def test_patches_are_in_the_order_of_transformers(made: Made) -> None:
    grid = made.work("qwen3-vl-2b-vision").model.patches
    assert grid is not None
    width, height = grid.size
    video = np.zeros((grid.frames * grid.temporal, 3, height, width), np.float32)
    video[1, 2, grid.patch, 3 * grid.patch + 1] = 7.0
    patches = patchify(video, grid)
    # Row 1, column 3 of patches: the second merged token across, second row and second column in it.
    assert np.argwhere(patches).tolist() == [[1 * 4 + 1 * 2 + 1, (2 * grid.temporal + 1) * grid.patch**2 + 1]]
