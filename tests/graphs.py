"""Tiny graphs and their sidecars, made for tests: what an export writes, in a few kilobytes."""

from __future__ import annotations

from pathlib import Path

from streamcap.models.graph import GraphInfo, Precision, Role, TensorInfo, write_graph_info
from streamcap.models.store import sha256_of

__all__ = ["encoder_info", "written"]


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
        "input": TensorInfo(name="pixel_values", dtype="float32", shape=("batch", 3, 32, 32)),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "resize": "crop",
        "outputs": (
            TensorInfo(name="image_embeds", dtype="float32", shape=("batch", 16)),
            TensorInfo(name="patch_tokens", dtype="float32", shape=("batch", 4, 8)),
        ),
        "grid": (2, 2),
        "opset": 20,
    }
    return GraphInfo.model_validate(fields | changes)


def written(folder: Path, content: bytes = b"graph", name: str = "fp32.onnx", **changes: object) -> Path:
    """A file with a sidecar that fits it; its content need not be ONNX."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    write_graph_info(path, encoder_info(sha256_of(path), **changes))
    return path
