"""Graphs in integers of eight bits; ``fp8.py`` has those in floating point.

``int8``: weights and activations of products and convolutions in 8 bits, as pairs of quantise and dequantise nodes
(QDQ), with ranges measured on real frames; all else in half precision. What TensorRT takes, which has no calibration of
its own any more. Symmetric, weights per output channel, as its 8-bit kernels need.

``int8-dynamic``: weights of products in 8 bits, ranges of activations found at run time, all else in single precision.
For processors: no calibration, and nearer to the original.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.checkpoint import need
from engines.files import disk
from streamcap.errors import ModelError
from streamcap.models.graph import Role

__all__ = ["quantize_dynamic", "quantize_static", "written"]

Tensor = NDArray[np.float32]
# Products of two activations (attention) stay as they are: they are a small share of the work and lose most.
# So do the patches of an encoder: they are its only convolution, and a hundredth of the work.
_STATIC_OPS = ("MatMul", "Gemm")
# Of a detector only the convolutions, which are most of its work: where a box ends is decided in products.
_DETECTOR_OPS = ("Conv",)
_DYNAMIC_OPS = ("MatMul", "Gemm")
# Axis of the output channels of a product's second factor (inner, outer).
_CHANNEL_AXIS = {"MatMul": 1}


class _Reader:
    """Inputs for the calibrator, one after the other."""

    def __init__(self, fed: Sequence[Tensor]) -> None:
        self._left = iter(fed)

    def get_next(self) -> dict[str, Tensor] | None:
        """The next input, None at the end."""
        one = next(self._left, None)
        return None if one is None else {"pixel_values": one}


def quantize_static(
    graph: Path,
    path: Path,
    fed: Sequence[Tensor],
    role: Role,
    *,
    keep: Collection[str] = (),
    ranges: Mapping[str, float] | None = None,
) -> None:
    """Write the ``int8`` graph of one in half or single precision.

    Args:
        fed: inputs to measure ranges on, where they are not known.
        role: of the graph; decides what is left as it is.
        keep: names of further nodes that are left as they are.
        ranges: largest magnitudes of what products are given, by the names of tensors, where they are known.

    Raises:
        ModelError: it cannot be quantised, or the disk is full.
    """
    need("onnxruntime", install="pip install 'streamcap[cpu]'")
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize
    from onnxruntime.quantization.calibrate import TensorData, TensorsData, save_tensors_data

    operators = list(_DETECTOR_OPS if role is Role.DETECTOR else _STATIC_OPS)
    left = sorted({*keep, *_of_activations(graph)})

    def write(fresh: Path) -> None:
        known = None
        if ranges is not None:
            known = fresh.with_name("ranges.json")
            # Scales get the type of the ranges, and the graph's activations have that of its weights.
            kind = _float_type(graph)
            data = {
                name: TensorData(lowest=np.array(-most, kind), highest=np.array(most, kind))
                for name, most in ranges.items()
            }
            save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), known)
        quantize(
            str(graph),
            str(fresh),
            _Reader(fed),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=operators,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=left,
            calibration_cache_path=known,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QDQOpTypePerChannelSupportToAxis": _CHANNEL_AXIS,
                # Products add up in 32 bits; what follows takes them in half precision, not in 8 bits again.
                "OpTypesToExcludeOutputQuantization": operators,
                "QuantizeBias": False,  # TensorRT takes no biases of 32 bits
            },
        )

    written(write, path)


def _of_activations(graph: Path) -> list[str]:
    """Names of the products of two activations. The quantiser of pairs has no option for that."""
    model = need("onnx").load(graph, load_external_data=False)
    constants = {each.name for each in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type in _STATIC_OPS and node.input[1] not in constants]


def _float_type(graph: Path) -> Any:
    """What a graph computes in: the type of most of its weights."""
    onnx = need("onnx")
    kinds = [each.data_type for each in onnx.load(graph, load_external_data=False).graph.initializer]
    halves, singles = (kinds.count(kind) for kind in (onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT))
    return np.float16 if halves > singles else np.float32


def quantize_dynamic(graph: Path, path: Path, *, keep: Collection[str] = ()) -> None:
    """Write the ``int8-dynamic`` graph of one in single precision.

    Args:
        keep: names of nodes that are left as they are.

    Raises:
        ModelError: it cannot be quantised, or the disk is full.
    """
    onnx = need("onnx")
    need("onnxruntime", install="pip install 'streamcap[cpu]'")
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic as quantize

    def write(fresh: Path) -> None:
        model = onnx.load(graph)
        # The exporter's shapes contradict those that the quantiser infers where names are reused.
        del model.graph.value_info[:]
        quantize(
            model,
            str(fresh),
            op_types_to_quantize=list(_DYNAMIC_OPS),
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(keep),
            extra_options={"MatMulConstBOnly": True},
        )

    written(write, path)


def written(write: Callable[[Path], None], path: Path) -> None:
    """Write a graph in one step, by somebody who may fail in any way.

    Raises:
        ModelError: it cannot be quantised, or the disk is full.
    """
    with disk(path.parent), tempfile.TemporaryDirectory(dir=path.parent, prefix=".quantize-") as scratch, _quiet():
        fresh = Path(scratch) / path.name
        try:
            write(fresh)
        except OSError:
            raise
        except Exception as error:  # the quantiser raises ValueError, KeyError, AssertionError and the runtime's own
            raise ModelError(f"cannot quantise: {str(error).partition(chr(10))[0]}") from error
        fresh.replace(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser logs on the root logger and advises at every call."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        root.setLevel(level)
