"""Tiny graphs and their sidecars, made for tests: what an export writes, in a few kilobytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcap.models.graph import GraphInfo, PatchGrid, Precision, Role, TensorInfo, write_graph_info
from streamcap.models.store import sha256_of

__all__ = ["COLOURS", "GRID", "detector_info", "encoder_info", "make_detector", "make_encoder", "make_tower", "written"]

SIDE, PATCH, WIDTH, DIM = 32, 16, 8, 16
COLOURS = ("red", "green", "blue")
GRID = PatchGrid(frames=1, rows=4, columns=6, patch=2, temporal=2, merge=2)


def encoder_info(sha256: str, **changes: object) -> GraphInfo:
    """The sidecar of an encoder of 32×32 pixels, 16 numbers and 4 patches."""
    fields: dict[str, object] = {
        "role": Role.ENCODER,
        "model": "tiny",
        "source": "made up",
        "revision": "local",
        "seed": 0,
        "licence": "Apache-2.0",
        "precision": Precision.FP32,
        "sha256": sha256,
        "input": TensorInfo(name="pixel_values", dtype="float32", shape=("batch", 3, SIDE, SIDE)),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "resize": "crop",
        "outputs": (
            TensorInfo(name="image_embeds", dtype="float32", shape=("batch", DIM)),
            TensorInfo(name="patch_tokens", dtype="float32", shape=("batch", 4, WIDTH)),
        ),
        "grid": (2, 2),
        "opset": 20,
    }
    return GraphInfo.model_validate(fields | changes)


def detector_info(sha256: str, **changes: object) -> GraphInfo:
    """The sidecar of a detector that has a query for each quarter of the picture and a class for each colour."""
    outputs = (
        TensorInfo(name="logits", dtype="float32", shape=("batch", 4, 3)),
        TensorInfo(name="pred_boxes", dtype="float32", shape=("batch", 4, 4)),
    )
    zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    changes = {
        "role": Role.DETECTOR, "outputs": outputs, "labels": COLOURS, "grid": None, "resize": "squash",
        "mean": zero, "std": one,
    } | changes  # fmt: skip
    return encoder_info(sha256, **changes)


def written(folder: Path, content: bytes = b"graph", name: str = "fp32.onnx", **changes: object) -> Path:
    """A file with a sidecar that fits it; its content need not be ONNX."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    write_graph_info(path, encoder_info(sha256_of(path), **changes))
    return path


def make_encoder(folder: Path, precision: Precision = Precision.FP32) -> Path:
    """An encoder that sees where light is, with its sidecar: ``fp32``, ``fp16``, or ``int8`` as QDQ."""
    kind = np.float16 if precision is Precision.FP16 else np.float32
    path = _save(folder / f"{precision}.onnx", _encoder(np.dtype(kind)))
    if precision is Precision.INT8:
        _quantise(path)
    dtype = np.dtype(kind).name
    outputs = [
        TensorInfo.model_validate({**output.model_dump(), "dtype": dtype}) for output in encoder_info("0" * 64).outputs
    ]
    source = TensorInfo.model_validate({**encoder_info("0" * 64).input.model_dump(), "dtype": dtype})
    info = encoder_info(sha256_of(path), precision=precision, input=source, outputs=tuple(outputs))
    write_graph_info(path, info)
    return path


def make_detector(folder: Path) -> Path:
    """A detector that names the colour of each quarter of the picture, with its sidecar."""
    path = _save(folder / "fp32.onnx", _detector())
    write_graph_info(path, detector_info(sha256_of(path)))
    return path


def make_tower(folder: Path) -> Path:
    """A tower of the patches of one grid, with a further output for a first layer, and its sidecar."""
    from onnx import helper

    rng = np.random.default_rng(5)
    merged = GRID.patches // GRID.merge**2
    outputs = {"image_features": (merged, DIM), "deepstack_0": (merged, DIM)}
    weights: dict[str, NDArray[Any]] = {"shape": np.array([merged, -1], np.int64)}
    nodes = [helper.make_node("Reshape", ["pixel_values", "shape"], ["merged"])]
    for place, name in enumerate(outputs):
        weights[f"project_{place}"] = rng.normal(0, 1, (GRID.merge**2 * GRID.values, DIM)).astype(np.float32)
        nodes.append(helper.make_node("MatMul", ["merged", f"project_{place}"], [name]))
    shape = (GRID.patches, GRID.values)
    path = _save(folder / "fp32.onnx", _model(nodes, weights, outputs, np.dtype(np.float32), shape))
    told = tuple(TensorInfo(name=name, dtype="float32", shape=each) for name, each in outputs.items())
    source = TensorInfo(name="pixel_values", dtype="float32", shape=shape)
    info = encoder_info(sha256_of(path), role=Role.TOWER, input=source, outputs=told, grid=None, patches=GRID)
    write_graph_info(path, info)
    return path


def _encoder(dtype: np.dtype[Any]) -> Any:
    """Patches of 16×16 projected to 8 numbers each; their mean projected to 16."""
    from onnx import helper

    rng = np.random.default_rng(7)
    weights = {
        "patch": rng.normal(0, 0.1, (WIDTH, 3, PATCH, PATCH)).astype(dtype),
        "project": rng.normal(0, 1, (WIDTH, DIM)).astype(dtype),
        "shape": np.array([0, WIDTH, 4], np.int64),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["pixel_values", "patch"], ["patches"], strides=[PATCH, PATCH]),
        helper.make_node("Reshape", ["patches", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["patch_tokens"], perm=[0, 2, 1]),
        helper.make_node("Tanh", ["patch_tokens"], ["bent"]),
        helper.make_node("ReduceMean", ["bent", "axis"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "project"], ["image_embeds"]),
    ]
    outputs = {"image_embeds": ("batch", DIM), "patch_tokens": ("batch", 4, WIDTH)}
    return _model(nodes, weights, outputs, dtype)


def _detector() -> Any:
    from onnx import helper

    weights: dict[str, NDArray[Any]] = {
        "shape": np.array([0, 3, 4], np.int64),
        "slope": np.array(20, np.float32),
        "half": np.array(10, np.float32),
        "nothing": np.zeros((4, 4), np.float32),
        "quarters": np.array(
            [[[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]]],
            np.float32,
        ),
        "pad": np.array([0, 0, 0, 0, 0, 1], np.int64),
    }
    nodes = [
        helper.make_node(
            "AveragePool", ["pixel_values"], ["mean"], kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH]
        ),
        helper.make_node("Reshape", ["mean", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["colours"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["colours", "slope"], ["steep"]),
        helper.make_node("Sub", ["steep", "half"], ["logits"]),
        helper.make_node("Pad", ["colours", "pad"], ["four"]),
        helper.make_node("MatMul", ["four", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "quarters"], ["pred_boxes"]),
    ]
    return _model(nodes, weights, {"logits": ("batch", 4, 3), "pred_boxes": ("batch", 4, 4)}, np.dtype(np.float32))


def _model(
    nodes: Any,
    weights: dict[str, NDArray[Any]],
    outputs: dict[str, Any],
    dtype: np.dtype[Any],
    shape: tuple[int | str, ...] = ("batch", 3, SIDE, SIDE),
) -> Any:
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(dtype)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixel_values", kind, list(shape))],
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _save(path: Path, model: Any) -> Path:
    import onnx

    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def _quantise(path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            rng = np.random.default_rng(3)
            batches = [rng.uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32) for _ in range(8)]
            batches += [np.full((1, 3, SIDE, SIDE), level, np.float32) for level in (-1, 1)]
            self._batches: Iterator[NDArray[np.float32]] = iter(batches)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"pixel_values": batch}

    quantize_static(path, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
