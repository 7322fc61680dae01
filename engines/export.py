"""Torch to ONNX, by torch's dynamo exporter.

Weights and activations have their type in the graph itself: TensorRT takes types from the graph alone ("strongly
typed"). Inputs and outputs are float32 whatever is computed in, so whoever runs a graph need not know.
"""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines.checkpoint import Checkpoint, need
from engines.families.base import Exportable
from engines.files import disk, replace_all
from engines.manifest import ModelEntry
from streamcap.errors import ModelError, UsageError
from streamcap.models.graph import GraphInfo, Precision, TensorInfo, write_graph_info
from streamcap.models.store import sha256_of

__all__ = ["OPSET", "TORCH_PRECISIONS", "export_onnx", "info_of", "typed_outputs", "write_sidecar"]

Tensor = NDArray[np.float32]
OPSET = 20  # the first with Gelu as one operator
OPSET_BF16 = 22  # the first whose convolutions may be in bfloat16
# From here on weights lie in a file of their own: one protobuf message ends at 2 GiB.
INLINE_BYTES = 1_800_000_000
_DTYPES = {Precision.FP32: torch.float32, Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}
TORCH_PRECISIONS = tuple(_DTYPES)
_TALKATIVE = ("torch", "torch.__trace", "torch.onnx", "onnxscript", "onnx_ir")
_VERSIONS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")


class _Typed(nn.Module):
    """A module that computes in one type between float32 inputs and outputs."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(each.to(torch.float32) for each in self.module(pixel_values.to(self.dtype)))


def typed(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy that computes in ``dtype``, but for buffers that a module names in ``FLOAT32``, and for its own parts that
    it names in ``FLOAT32_PARTS``.
    """
    copied = copy.deepcopy(module)
    single = {part for name in getattr(copied, "FLOAT32_PARTS", ()) for part in copied.get_submodule(name).modules()}
    for part in copied.modules():
        if part in single:
            continue
        kept = getattr(part, "FLOAT32", ())
        for name, tensor in (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)):
            if tensor.is_floating_point() and name not in kept:
                tensor.data = tensor.data.to(dtype)
    return _Typed(copied, dtype).eval()


def export_onnx(model: Exportable, path: Path, precision: Precision) -> list[Path]:
    """Write a graph; in one step for a reader.

    Args:
        precision: one that torch computes in; see ``quantize.py`` for the others.

    Returns:
        Files beside it that hold its weights, where it is too large for one.

    Raises:
        ModelLoadError: onnx or onnxscript is not installed.
        ModelError: the exporter cannot export it, or the disk is full.
    """
    if precision not in _DTYPES:
        raise UsageError(f"torch does not compute in {precision}")
    need("onnx"), need("onnxscript")
    module = typed(model.module, _DTYPES[precision])
    dynamic = ({0: torch.export.Dim(str(model.input_shape[0]), min=1)},) if model.varies else None
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (model.sample(),),
                dynamo=True,
                opset_version=OPSET_BF16 if precision is Precision.BF16 else OPSET,
                input_names=["pixel_values"],
                output_names=list(model.outputs),
                dynamic_shapes=dynamic,
                verbose=False,
            )
    except Exception as error:  # the exporter's errors have no common base below Exception
        raise ModelError(f"the exporter cannot export {model.architecture}: {_reason(error)}") from error
    if model.varies and not program.model.graph.inputs[0].shape.is_dynamic(0):
        raise ModelError(f"the exporter fixed the batch of {model.architecture}")
    external = sum(each.numel() * each.element_size() for each in module.state_dict().values()) > INLINE_BYTES
    with disk(path.parent), tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as scratch:
        fresh = Path(scratch) / path.name
        program.save(fresh, external_data=external)
        return replace_all(fresh, path)


def typed_outputs(model: Exportable, precision: Precision, fed: Sequence[Tensor]) -> list[list[Tensor]]:
    """What the module that would be exported gives for each input, by torch."""
    module = typed(model.module, _DTYPES[precision])
    with torch.inference_mode():
        return [[each.numpy() for each in module(torch.from_numpy(one))] for one in fed]


def info_of(
    model: Exportable,
    path: Path,
    precision: Precision,
    entry: ModelEntry,
    weights: Checkpoint,
    external: Sequence[Path],
) -> GraphInfo:
    """The sidecar of a graph that has been written, with what the ONNX file itself says of shapes."""
    onnx = need("onnx")
    graph = onnx.load(path, load_external_data=False)
    return GraphInfo(
        role=model.role,
        model=entry.id,
        source=weights.source,
        revision=weights.revision,
        seed=weights.seed,
        licence=entry.licence,
        precision=precision,
        sha256=sha256_of(path),
        external={each.name: sha256_of(each) for each in external},
        input=_tensor(graph.graph.input[0]),
        mean=model.pictures.mean,
        std=model.pictures.std,
        rescale=model.pictures.rescale,
        resize=model.pictures.resize,
        interpolation=model.pictures.interpolation,
        outputs=tuple(_tensor(each) for each in graph.graph.output),
        labels=model.labels,
        grid=model.grid,
        prefix_tokens=model.prefix_tokens,
        patches=model.patches,
        opset=next(each.version for each in graph.opset_import if each.domain == ""),
        versions=_versions(),
    )


def write_sidecar(path: Path, info: GraphInfo) -> None:
    """Write the sidecar of a graph.

    Raises:
        ModelError: the disk is full, or the folder cannot be written.
    """
    with disk(path.parent):
        write_graph_info(path, info)


def _tensor(value: Any) -> TensorInfo:
    onnx = need("onnx")
    kind = value.type.tensor_type
    name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    shape = tuple(each.dim_param or each.dim_value for each in kind.shape.dim)
    return TensorInfo(name=value.name, dtype={"float": "float32"}.get(name, name), shape=shape)


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _reason(error: BaseException) -> str:
    """The innermost reason, in a line: the exporter wraps what failed in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """What torch's exporter says of its own insides, to whoever called it, is of no use to them."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
