"""The sidecar of an exported graph: what it must say, and what becomes of a graph that it does not fit."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from streamcap.errors import UsageError, WeightsCorrupt, WeightsUnavailable, WrongModel
from streamcap.models.graph import (
    PatchGrid,
    Precision,
    Role,
    TensorInfo,
    engines_command,
    engines_root,
    find_graph,
    make_command,
    read_graph,
    sidecar_of,
    write_whole,
)
from tests.graphs import encoder_info, written
from tests.patience import LONG_S
from tests.prerequisites import ROOT


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, seed=None, labels=("a",), external={}, versions={"torch": "2.13"})
    info = read_graph(path, role=Role.ENCODER)
    assert info == encoder_info(info.sha256, seed=None, labels=("a",), versions={"torch": "2.13"})
    assert info.size == (32, 32)
    assert info.output("patch_tokens").shape == ("batch", 4, 8)
    assert info.digest == info.sha256 == hashlib.sha256(b"graph").hexdigest()


def test_a_graph_that_changed_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(b"grapg")
    with pytest.raises(WeightsCorrupt, match=r"fp32\.onnx does not match") as caught:
        read_graph(path)
    assert caught.value.hint == "python -m engines make tiny --random --precision fp32"
    assert read_graph(path, check_hash=False).model == "tiny"


def test_weights_beside_the_graph_count(tmp_path: Path) -> None:
    data = tmp_path / "fp32.onnx.data"
    data.write_bytes(b"weights")
    path = written(tmp_path, external={data.name: hashlib.sha256(b"weights").hexdigest()})
    info = read_graph(path)
    assert info.digest != info.sha256
    assert info.digest != info.model_copy(update={"external": {data.name: "0" * 64}}).digest
    data.write_bytes(b"other")
    with pytest.raises(WeightsCorrupt, match=data.name):
        read_graph(path)
    data.unlink()
    with pytest.raises(WeightsUnavailable, match=data.name):
        read_graph(path)


def test_a_graph_or_sidecar_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="no graph"):
        read_graph(tmp_path / "none.onnx")
    path = written(tmp_path)
    sidecar_of(path).unlink()
    with pytest.raises(WeightsUnavailable, match="no sidecar"):
        read_graph(path)


def test_another_role_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongModel, match="detector is needed") as caught:
        read_graph(written(tmp_path), role=Role.DETECTOR)
    assert "name it as the encoder" in caught.value.hint


def test_the_command_makes_the_same_graph_again() -> None:
    trained = encoder_info("0" * 64, seed=None, model="clip")
    assert make_command(trained, Precision.FP16) == "python -m engines make clip --precision fp16"
    small = encoder_info("0" * 64, seed=3, model="clip-tiny")
    assert make_command(small) == "python -m engines make clip --random --tiny --precision fp32"


@pytest.mark.parametrize("name", ["/", "../graphs", "folder/of/graphs"])
def test_a_path_without_a_graph_is_not_taken_for_a_model(name: str) -> None:
    with pytest.raises(WeightsUnavailable, match="no graph") as caught:
        find_graph(name)
    assert "name a folder" in caught.value.hint


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"\x00" * 9])
def test_a_sidecar_that_is_no_json(tmp_path: Path, text: bytes) -> None:
    path = written(tmp_path)
    sidecar_of(path).write_bytes(text)
    with pytest.raises(WeightsCorrupt, match="not JSON"):
        read_graph(path)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("format", 2, "format"),
        ("sha256", "abc", "sha256"),
        ("sha256", 7, "sha256"),
        ("surprise", 1, "surprise"),
        ("std", [0.0, 1.0, 1.0], "std"),
        ("std", ["1", "1", "1"], "std"),
        ("outputs", [], "image_embeds"),
        ("input", {"name": "x", "dtype": "float32", "shape": ["batch", 3, 32, 32]}, "pixel_values"),
        ("input", {"name": "pixel_values", "dtype": "float32", "shape": ["batch", 3, "height", 32]}, "height"),
        ("external", {"../weights": "0" * 64}, "external"),
    ],
)
def test_a_sidecar_that_says_what_cannot_be(tmp_path: Path, key: str, value: object, place: str) -> None:
    path = written(tmp_path)
    said = json.loads(sidecar_of(path).read_text())
    sidecar_of(path).write_text(json.dumps(said | {key: value}))
    with pytest.raises(WrongModel, match=place):
        read_graph(path)


def test_a_detector_has_labels() -> None:
    outputs = tuple(TensorInfo(name=n, dtype="float32", shape=("batch", 4, 4)) for n in ("logits", "pred_boxes"))
    with pytest.raises(ValidationError, match="labels"):
        encoder_info("0" * 64, role=Role.DETECTOR, outputs=outputs, grid=None)
    assert encoder_info("0" * 64, role=Role.DETECTOR, outputs=outputs, grid=None, labels=("person",))


def test_a_command_of_tools_that_are_not_installed_says_where_they_are(tmp_path: Path) -> None:
    """As after ``pip install streamcap``, whose folder holds the package alone, and beside another's ``engines``."""
    (tmp_path / "streamcap").symlink_to(ROOT / "streamcap")
    asked = (
        f"import os, sys; sys.path = [{str(tmp_path)!r}, *(p for p in sys.path if not os.path.isdir(p + '/engines'))];"
        "from streamcap.models.graph import engines_command; print(engines_command('make clip'))"
    )
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-Pc", asked], capture_output=True, text=True, timeout=LONG_S, check=True
        )
        said.append(done.stdout.strip())
        (tmp_path / "engines").mkdir(exist_ok=True)
        (tmp_path / "engines" / "__init__.py").touch()
    assert said == ["in a checkout of streamcap, or in its engines image: python -m engines make clip"] * 2
    assert engines_command("make clip") == "python -m engines make clip"


def test_a_name_finds_what_suits_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMCAP_CACHE", str(tmp_path))
    folder = engines_root() / "tiny"
    assert folder == tmp_path / "engines" / "tiny"
    with pytest.raises(WeightsUnavailable, match="no graph") as caught:
        find_graph("tiny")
    assert caught.value.hint == "python -m engines make tiny"
    for kind in (Precision.FP32, Precision.FP16, Precision.INT8):
        written(folder, name=f"{kind}.onnx", precision=kind)
    assert find_graph("tiny").name == "fp32.onnx"
    assert find_graph("tiny", gpu=True).name == "fp16.onnx"
    written(folder, name="int8-dynamic.onnx", precision=Precision.INT8_DYNAMIC)
    assert find_graph("tiny").name == "int8-dynamic.onnx"
    assert find_graph("tiny", gpu=True).name == "fp16.onnx"
    assert find_graph(str(folder), precision=Precision.FP32) == folder / "fp32.onnx"
    assert find_graph(str(folder / "fp32.onnx"), precision=Precision.FP32) == folder / "fp32.onnx"
    with pytest.raises(UsageError, match="not of precision fp16"):
        find_graph(str(folder / "fp32.onnx"), precision=Precision.FP16)
    with pytest.raises(WeightsUnavailable, match="no bf16 graph") as caught:
        find_graph("tiny", precision=Precision.BF16)
    assert caught.value.hint == "python -m engines make tiny --precision bf16"


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


GRID = {"frames": 1, "rows": 4, "columns": 6, "patch": 8, "temporal": 2, "merge": 2}


def test_a_tower_takes_tiles_or_patches() -> None:
    features = (TensorInfo(name="image_features", dtype="float32", shape=("tiles", 4, 16)),)
    tiles = TensorInfo(name="pixel_values", dtype="float32", shape=("tiles", 3, 32, 32))
    assert encoder_info("0" * 64, role=Role.TOWER, input=tiles, outputs=features, grid=None).size == (32, 32)
    patches = TensorInfo(name="pixel_values", dtype="float32", shape=(24, 384))
    grid = PatchGrid(**GRID)
    info = encoder_info("0" * 64, role=Role.TOWER, input=patches, outputs=features, grid=None, patches=grid)
    assert info.size == (48, 32)
    assert type(info).model_validate_json(info.model_dump_json()) == info
    with pytest.raises(ValidationError, match="of that grid"):
        encoder_info("0" * 64, role=Role.TOWER, input=tiles, outputs=features, patches=grid)
    with pytest.raises(ValidationError, match="height and width fixed"):
        encoder_info("0" * 64, role=Role.TOWER, input=patches, outputs=features)
    with pytest.raises(ValidationError, match="cannot be merged"):
        PatchGrid(**GRID | {"rows": 5})
