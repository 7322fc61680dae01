"""Which providers a session gets and why, and what becomes of files that are no such graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamcap.config import ModelSettings
from streamcap.errors import ModelError, ModelLoadError, WeightsCorrupt, WeightsUnavailable, WrongModel
from streamcap.models.choosing import open_encoder
from streamcap.models.cuda import gpu_present
from streamcap.models.engine import Device
from streamcap.models.graph import Precision, TensorInfo, read_graph, sidecar_of, write_graph_info
from streamcap.models.onnx import OnnxEngine, ProviderChoice, choose_provider, session
from streamcap.models.store import sha256_of
from tests.graphs import encoder_info, make_encoder, written
from tests.prerequisites import need

CPU, CUDA, OPENVINO = "CPUExecutionProvider", "CUDAExecutionProvider", "OpenVINOExecutionProvider"


@pytest.mark.parametrize(
    ("available", "device", "expected"),
    [
        ([CPU], Device.AUTO, (CPU,)),
        (["AzureExecutionProvider", CPU], Device.CPU, (CPU,)),
        ([CPU, OPENVINO], Device.AUTO, (OPENVINO, CPU)),
        ([CUDA, CPU], Device.AUTO, (CUDA, CPU)),
        ([CUDA, OPENVINO, CPU], Device.AUTO, (CUDA, OPENVINO, CPU)),
        ([CUDA, OPENVINO, CPU], Device.CPU, (OPENVINO, CPU)),
        ([CUDA, CPU], Device.CUDA, (CUDA,)),
    ],
)
def test_the_quickest_first_and_no_other_device_than_wished(
    available: list[str], device: Device, expected: tuple[str, ...]
) -> None:
    choice = choose_provider(available, device)
    assert choice.providers == expected
    assert (choice.why == "") == (expected[0] == CUDA)


def test_openvino_is_not_given_what_it_is_slow_at() -> None:
    choice = choose_provider([CUDA, OPENVINO, CPU], Device.CPU, "int8-dynamic")
    assert choice.providers == (CPU,)
    assert choose_provider([OPENVINO, CPU], Device.AUTO, "int8").providers == (OPENVINO, CPU)


def test_a_gpu_that_is_wished_and_cannot_be_had() -> None:
    with pytest.raises(ModelLoadError, match="no CUDA provider") as caught:
        choose_provider([CPU], Device.CUDA)
    assert "pip install 'streamcap[gpu]'" in caught.value.hint


def test_a_provider_that_does_not_start_leaves_the_next_one(tmp_path: Path) -> None:
    need("engines")
    path = make_encoder(tmp_path)
    opened, chosen = session(path, "the encoder", ProviderChoice((CUDA, CPU)), threads=1)
    assert opened.get_providers() == [CPU]
    assert chosen.providers == (CPU,)
    assert "CUDA" in chosen.why
    assert chosen.hint
    with pytest.raises(ModelLoadError, match="CUDA"):
        session(path, "the encoder", ProviderChoice((CUDA,)), threads=1)


def test_a_shape_that_the_graph_does_not_take(tmp_path: Path) -> None:
    need("engines")
    path = make_encoder(tmp_path)
    engine = OnnxEngine.of(path, read_graph(path), device=Device.CPU)
    for shape in ((1, 3, 32, 31), (3, 32, 32), (0, 3, 32, 32), (1, 1, 32, 32)):
        with pytest.raises(ModelError, match="a batch must be"):
            engine.run(np.zeros(shape, np.float32), "image_embeds")
    with pytest.raises(ModelError, match="failed"):
        engine.run(np.zeros((1, 3, 32, 32), np.float32), "nothing of that name")
    engine.close()


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    written(tmp_path, b"\x00" * 500)
    with pytest.raises(ModelLoadError, match=r"fp32\.onnx"):
        open_encoder(ModelSettings(encoder=str(tmp_path)))


def test_a_graph_that_is_not_what_its_sidecar_says(tmp_path: Path) -> None:
    need("engines")
    path = make_encoder(tmp_path)
    info = read_graph(path)
    more = (*info.outputs, TensorInfo(name="more", dtype="float32", shape=("batch", 2)))
    write_graph_info(path, encoder_info(info.sha256, outputs=more))
    with pytest.raises(WrongModel, match="not what its sidecar says"):
        open_encoder(ModelSettings(encoder=str(path)))
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(WeightsCorrupt, match="does not match the hash"):
        open_encoder(ModelSettings(encoder=str(path)))
    sidecar_of(path).unlink()
    with pytest.raises(WeightsUnavailable, match="no sidecar"):
        open_encoder(ModelSettings(encoder=str(path)))


@pytest.mark.parametrize(
    ("name", "said", "found"),
    [
        ("pixel_values", ("batch", 3, 48, 48), "(batch, 3, 32, 32)"),
        ("image_embeds", ("batch", 7), "(batch, 16)"),
        ("patch_tokens", ("batch", 4), "(batch, 4, 8)"),
    ],
)
def test_other_shapes_than_the_sidecar_says_are_refused_before_a_stream_runs(
    tmp_path: Path, name: str, said: tuple[object, ...], found: str
) -> None:
    need("engines")
    path = make_encoder(tmp_path)
    info = read_graph(path)
    fields = {"input": info.input, "outputs": info.outputs}
    if name == "pixel_values":
        fields["input"] = TensorInfo.model_validate({**info.input.model_dump(), "shape": said})
    else:
        fields["outputs"] = tuple(
            TensorInfo.model_validate({**output.model_dump(), "shape": said}) if output.name == name else output
            for output in info.outputs
        )
    write_graph_info(path, encoder_info(info.sha256, **fields))
    with pytest.raises(WrongModel, match="as its sidecar says") as caught:
        open_encoder(ModelSettings(encoder=str(path)))
    assert found in str(caught.value)


def test_what_the_runtime_says_is_told_in_one_line(tmp_path: Path) -> None:
    need("engines")
    engine = OnnxEngine(make_encoder(tmp_path), (3, 48, 48), device=Device.CPU)
    with pytest.raises(ModelError, match="Expected: 32") as caught:
        engine.run(np.zeros((1, 3, 48, 48), np.float32), "image_embeds")
    assert "\n" not in str(caught.value)


def test_random_weights_are_warned_of_and_real_ones_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    need("engines")
    path = make_encoder(tmp_path)
    open_encoder(ModelSettings(encoder=str(path))).close()
    assert f"{path} has random weights" in caplog.text
    caplog.clear()
    write_graph_info(path, read_graph(path).model_copy(update={"seed": None}))
    open_encoder(ModelSettings(encoder=str(path))).close()
    assert "random" not in caplog.text


def test_a_graph_that_only_a_gpu_computes_says_which_one_to_make(tmp_path: Path) -> None:
    need("engines")
    import onnx
    from onnx import helper

    path = make_encoder(tmp_path)
    model = onnx.load(path)
    kind = onnx.TensorProto.BFLOAT16
    node = next(each for each in model.graph.node if each.op_type == "Tanh")
    index = list(model.graph.node).index(node)
    casts = [
        helper.make_node("Cast", [node.input[0]], ["narrow"], to=kind),
        helper.make_node("Tanh", ["narrow"], ["bent_narrow"]),
        helper.make_node("Cast", ["bent_narrow"], [node.output[0]], to=onnx.TensorProto.FLOAT),
    ]
    nodes = [*model.graph.node[:index], *casts, *model.graph.node[index + 1 :]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    path.write_bytes(model.SerializeToString())
    write_graph_info(path, encoder_info(sha256_of(path), precision=Precision.BF16, model="clip", seed=None))
    with pytest.raises(ModelLoadError, match="is in bf16, which only a GPU computes in") as caught:
        open_encoder(ModelSettings.model_validate({"encoder": str(path), "device": "cpu"}))
    assert caught.value.hint == "python -m engines make clip --precision fp32"


def test_on_a_processor_the_command_for_a_quicker_graph_is_named(tmp_path: Path) -> None:
    need("engines")
    settings = ModelSettings.model_validate({"encoder": str(make_encoder(tmp_path)), "device": "cpu"})
    encoder = open_encoder(settings)
    assert encoder.info.hint == "python -m engines make tiny --random --precision int8-dynamic"
    assert "quicker on a processor" in encoder.info.why
    encoder.close()


def test_a_gpu_that_is_wished_is_not_replaced_by_the_processor(tmp_path: Path) -> None:
    need("engines")
    path = make_encoder(tmp_path)
    settings = ModelSettings.model_validate({"encoder": str(path), "device": "cuda"})
    try:
        encoder = open_encoder(settings)
    except ModelLoadError as error:
        assert "CUDA" in str(error)
        assert "no compiled engine either" in str(error)
        assert gpu_present() or "nvidia-smi shows whether there is a GPU" in error.hint
    else:  # there is one here
        assert encoder.info.device == "cuda"
        encoder.close()
