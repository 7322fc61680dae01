"""Graphs through ONNX Runtime: which providers a session gets and why, and as few threads as many streams need."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamcap.errors import EngineLost, ModelError, ModelLoadError, OutOfDeviceMemory, WrongModel
from streamcap.models.cuda import LOST, RESTART, gpu_present
from streamcap.models.engine import Device, EngineInfo, Tensor, abandon, check_batch
from streamcap.models.graph import GraphInfo, Precision, engines_command, make_command

__all__ = ["OnnxEngine", "ProviderChoice", "choose_provider", "ran_full", "session"]

_log = logging.getLogger(__name__)

# The quickest first.
PROVIDERS = ("CUDAExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider")
_GPU, _OPENVINO = "CUDAExecutionProvider", "OpenVINOExecutionProvider"
_INSTALL_GPU = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'streamcap[gpu]'"
# How ONNX Runtime says that a provider does not compute in a type.
_LACKING = "NOT_IMPLEMENTED"
# What a GPU takes together; a processor is filled by one picture, and waiting for a second only adds delay.
GPU_BATCH = 32
# Most calls at a time on a processor, however many cores it has: others' work needs some.
CPU_LANES = 8
# How runtimes say that memory ran out; they have no error class for it.
_FULL = ("out of memory", "failed to allocate", "bad_alloc", "alloc_failed", "available memory of")
# How ONNX Runtime says what CUDA said.
_CUDA_FAILED = re.compile(r"\bCUDA failure (\d+)\b")


def ran_full(error: Exception) -> bool:
    """True where a runtime says that memory ran out."""
    said = str(error).lower()
    return any(sign in said for sign in _FULL)


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """Which providers a session is to try.

    Attributes:
        providers: in this order; the last one always works.
        why: why the first is not a GPU, empty where it is one.
        hint: the command that would change that.
    """

    providers: tuple[str, ...]
    why: str = ""
    hint: str = ""


def choose_provider(available: Sequence[str], device: Device, precision: str = "") -> ProviderChoice:
    """The providers to try: CUDA, then OpenVINO, then the processor, of those that the installed runtime has.

    OpenVINO is left out for graphs whose scales are found as they run (``int8-dynamic``): it takes three times as long.

    Raises:
        ModelLoadError: a GPU is asked for, and the runtime has no provider for one.
    """
    if precision == Precision.INT8_DYNAMIC:
        available = [name for name in available if name != _OPENVINO]
    if _GPU in available and device is not Device.CPU:
        rest = tuple(name for name in PROVIDERS[1:] if name in available) if device is Device.AUTO else ()
        return ProviderChoice((_GPU, *rest))
    if device is Device.CUDA:
        raise ModelLoadError("the installed ONNX Runtime has no CUDA provider", hint=_INSTALL_GPU)
    rest = tuple(name for name in PROVIDERS[1:] if name in available) or PROVIDERS[-1:]
    if device is Device.CPU:
        return ProviderChoice(rest, "the settings say device = cpu")
    if gpu_present():
        return ProviderChoice(rest, "the installed ONNX Runtime has no CUDA provider", _INSTALL_GPU)
    return ProviderChoice(rest, "there is no NVIDIA GPU")


def session(
    path: Path, what: str, choice: ProviderChoice, *, threads: int, precision: str = ""
) -> tuple[Any, ProviderChoice]:
    """Open a session with the first provider that works.

    Args:
        what: what messages call it, such as "the encoder".
        threads: inside of one call.
        precision: of the graph, empty where it is not known.

    Returns:
        The session, and the choice as it turned out.

    Raises:
        ModelLoadError: the runtime is not installed, or refuses the file.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise ModelLoadError("ONNX Runtime is not installed", hint="pip install 'streamcap[cpu]'") from error
    options = ort.SessionOptions()
    # Streams run side by side, one call each: threads inside of a call would only wait for each other, and spinning
    # ones take the processor away from the others.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena grows to the largest batch and never shrinks; one picture at a time does not need it.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    if precision == Precision.FP8:
        # It would take the pairs of quantise and dequantise nodes for those of integers, and find no kernel.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    failed: list[str] = []
    for place, name in enumerate(choice.providers):
        try:
            opened = ort.InferenceSession(str(path), options, providers=[_configured(name, threads)])
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes without a common base
            if place == len(choice.providers) - 1:
                remake = f"is it ONNX, and whole? {engines_command('make MODEL')} writes it anew"
                raise ModelLoadError(f"cannot load {what} {path}: {_line(error)}", hint=remake) from error
            failed.append(f"{_plain(name)} failed: {_line(error)}")
            continue
        # A provider whose libraries do not load is left out without an error.
        if opened.get_providers()[0] == name:
            break
        failed.append(f"{_plain(name)} does not start: its libraries or its driver are missing")
    else:
        raise ModelLoadError(f"cannot load {what} {path.name}: {'; '.join(failed)}", hint=_INSTALL_GPU)
    for reason in failed:
        _log.warning("%s", reason)
    why = "; ".join(failed) or choice.why
    return opened, ProviderChoice((name,), why, _INSTALL_GPU if failed else choice.hint)


def _configured(name: str, threads: int) -> Any:
    if name == _GPU:
        # A larger arena than is needed takes the room of other processes' models; heuristics save the first minute.
        return name, {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
    if name == _OPENVINO:
        return name, {"device_type": "CPU", "num_of_threads": str(threads)}
    return name


def _line(error: Exception) -> str:
    """What the runtime says, which it breaks into several, in one line."""
    return " ".join(str(error).split())


def _agree(said: Sequence[object], found: Sequence[object]) -> bool:
    """Whether two shapes can be of one tensor; axes without a number fit anything."""
    pairs = zip(said, found, strict=False)
    return len(said) == len(found) and all(
        one == other for one, other in pairs if isinstance(one, int) and isinstance(other, int)
    )


def _shape(axes: Sequence[object]) -> str:
    return f"({', '.join(str(axis) for axis in axes)})"


def _plain(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")


class OnnxEngine:
    """An ONNX file in ONNX Runtime.

    Args:
        path: the file.
        item: shape of one item of its input: (3, height, width) of a picture.
        device: where it is to run.
        threads: threads inside of one call on a processor. One is the robust choice on a shared machine.
        what: what messages call it.
        precision: of the graph, where it is known: some providers are slow at some.

    Raises:
        ModelLoadError: the file or the runtime does not load, or there is no GPU where one is asked for.
    """

    def __init__(
        self,
        path: Path,
        item: tuple[int, ...],
        *,
        device: Device = Device.AUTO,
        threads: int = 1,
        what: str = "the encoder",
        precision: str = "",
    ) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise ModelLoadError("ONNX Runtime is not installed", hint="pip install 'streamcap[cpu]'") from error
        choice = choose_provider(ort.get_available_providers(), device, precision)
        self._session, chosen = session(path, what, choice, threads=threads, precision=precision)
        self._what, self._item = what, item
        first = self._session.get_inputs()[0]
        if first.type not in {"tensor(float)", "tensor(float16)"}:
            raise WrongModel(f"{path.name} takes {first.type}; float or float16 is needed")
        self._input, self._half = first.name, first.type == "tensor(float16)"
        self._input_shape = tuple(first.shape)
        self.shapes = {output.name: tuple(output.shape) for output in self._session.get_outputs()}
        gpu = chosen.providers[0] == _GPU
        self._info = EngineInfo(
            f"ONNX Runtime {ort.__version__}",
            _plain(chosen.providers[0]),
            "cuda" if gpu else "cpu",
            precision,
            GPU_BATCH if gpu else 1,
            chosen.why,
            chosen.hint,
            lanes=1 if gpu else max(1, min(os.cpu_count() or 1, CPU_LANES) // threads),
        )
        if gpu:  # the first call chooses kernels for a second or more: not while a stream waits
            count = first.shape[0] if isinstance(first.shape[0], int) else 1
            self.run(np.zeros((count, *item), np.float32), *self.shapes)

    @classmethod
    def of(
        cls, path: Path, info: GraphInfo, *, device: Device = Device.AUTO, threads: int = 1, what: str = "the encoder"
    ) -> OnnxEngine:
        """The engine of a graph with its sidecar.

        Raises:
            ModelLoadError: as the class; WrongModel where inputs or outputs are not those of the sidecar.
        """
        try:
            engine = cls(path, info.item, device=device, threads=threads, what=what, precision=info.precision)
        except ModelLoadError as error:
            if info.precision is Precision.BF16 and _LACKING in str(error):
                hint = make_command(info, Precision.FP32)
                raise ModelLoadError(f"{what} {path} is in bf16, which only a GPU computes in", hint=hint) from error
            raise
        names = {output.name for output in info.outputs}
        if engine._input != info.input.name or not names <= engine.shapes.keys():
            found = ", ".join([engine._input, *engine.shapes])
            raise WrongModel(f"{path} has {found}, which is not what its sidecar says", hint=make_command(info))
        shapes = {engine._input: engine._input_shape, **engine.shapes}
        for tensor in (info.input, *info.outputs):
            if not _agree(tensor.shape, shapes[tensor.name]):
                found, said = _shape(shapes[tensor.name]), _shape(tensor.shape)
                what = f"{tensor.name} of {path} is {found}, not {said} as its sidecar says"
                raise WrongModel(what, hint=make_command(info))
        return engine

    def explain(self, why: str, hint: str) -> None:
        """Say why this engine serves although a faster one was looked for, and what would change that."""
        self._info = replace(self._info, why=why, hint=hint)

    @property
    def info(self) -> EngineInfo:
        """See :class:`streamcap.models.engine.Engine`."""
        return self._info

    def run(self, batch: Tensor, *wanted: str) -> list[Tensor]:
        """See :class:`streamcap.models.engine.Engine`."""
        check_batch(batch, self._item)
        if self._session is None:
            raise ModelError(f"{self._what} was closed")
        fed = batch.astype(np.float16) if self._half else batch
        try:
            found = self._session.run(list(wanted), {self._input: fed})
        except Exception as error:  # as above
            if ran_full(error):
                raise OutOfDeviceMemory(f"{self._what} has no memory for a batch of {len(batch)}") from error
            if (status := _CUDA_FAILED.search(str(error))) and int(status[1]) in LOST:
                abandon(self._session)
                raise EngineLost(f"the GPU is lost to this process: {_line(error)}", hint=RESTART) from error
            raise ModelError(f"{self._what} failed: {_line(error)}") from error
        return [np.asarray(output, np.float32) for output in found]

    def close(self) -> None:
        """See :class:`streamcap.models.engine.Engine`."""
        self._session = None
