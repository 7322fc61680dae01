"""Which engine runs a graph on this machine: a plan where one fits, else ONNX Runtime; and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from streamcap.config import DeviceName, ModelSettings, PrecisionName
from streamcap.errors import EngineLost, ModelLoadError, PlanRefused, WeightsUnavailable, WrongModel
from streamcap.models.cuda import gpu_present
from streamcap.models.detr import DetrDetector
from streamcap.models.engine import Device, Engine
from streamcap.models.failover import FailoverEngine
from streamcap.models.graph import GraphInfo, Precision, Role, find_graph, make_command, read_graph
from streamcap.models.onnx import OnnxEngine
from streamcap.models.vision import GraphEncoder

__all__ = ["Exported", "find_exported", "open_detector", "open_encoder", "open_engine"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exported:
    """A graph on disk.

    Attributes:
        path: its ONNX file.
        info: what its sidecar says.
    """

    path: Path
    info: GraphInfo


def open_encoder(settings: ModelSettings) -> GraphEncoder:
    """The encoder that the settings name; not for ``default`` and ``none``.

    Raises:
        ModelError: it cannot be found, does not match its sidecar, or does not load.
    """
    graph = find_exported(settings.encoder, settings, Role.ENCODER)
    dim = graph.info.output("image_embeds").shape[-1]
    if not isinstance(dim, int):
        raise ModelLoadError(f"{graph.path}: the length of a feature is not fixed")
    engine = open_engine(graph, Device(settings.device), what="the encoder")
    return GraphEncoder(engine, graph.info.pictures, dim=dim)


def open_detector(settings: ModelSettings) -> DetrDetector:
    """The detector that the settings name; not for ``default``.

    Raises:
        ModelError: it cannot be found, does not match its sidecar, or does not load.
    """
    graph = find_exported(settings.detector, settings, Role.DETECTOR)
    engine = open_engine(graph, Device(settings.device), what="the detector")
    return DetrDetector(engine, graph.info.pictures, graph.info.labels)


def open_engine(graph: Exported, device: Device, *, what: str) -> Engine:
    """The quickest engine that can run a graph here. Random weights are warned of.

    One on a GPU goes on on the processor where the GPU is lost.

    Args:
        what: what messages call it.

    Raises:
        ModelLoadError: none can; or a GPU is asked for, and there is none that can.
        EngineLost: a GPU is asked for, and fails for good while it loads.
        OutOfDeviceMemory: the GPU is full.
    """
    if graph.info.seed is not None:
        _log.warning("%s has random weights: good for speed alone, what it sees means nothing", graph.path)
    if device is Device.CPU or (device is Device.AUTO and not gpu_present()):
        return _advised(OnnxEngine.of(graph.path, graph.info, device=device, what=what), graph.info)
    from streamcap.models.tensorrt import TensorRtEngine

    try:
        return _guarded(TensorRtEngine.open(graph.path.parent, graph.info, what=what), graph, what)
    except ModelLoadError as error:
        # The usual case: no GPU, no library, no plan. A plan that is there and does not fit is worth a line.
        level = logging.WARNING if isinstance(error, PlanRefused) else logging.DEBUG
        _log.log(level, "%s: no compiled engine: %s", what, error)
        refused = error
    except EngineLost as error:
        if device is Device.CUDA:
            raise
        spare = _spare(graph, what)
        spare.explain(str(error), error.hint)
        return spare
    try:
        engine = OnnxEngine.of(graph.path, graph.info, device=device, what=what)
    except ModelLoadError as error:
        if device is Device.AUTO:
            raise
        none = "nvidia-smi shows whether there is a GPU and its driver; else --device auto"
        hint = error.hint if gpu_present() else none
        raise ModelLoadError(f"{error}; no compiled engine either: {refused}", hint=hint) from refused
    if engine.info.device == "cuda" or isinstance(refused, PlanRefused):
        engine.explain(f"no compiled engine: {refused}", refused.hint)
    return _guarded(_advised(engine, graph.info), graph, what)


def _guarded(engine: Engine, graph: Exported, what: str) -> Engine:
    """The engine; one on a GPU with the processor as its spare."""
    return FailoverEngine(engine, lambda: _spare(graph, what), what=what) if engine.info.device == "cuda" else engine


def _spare(graph: Exported, what: str) -> OnnxEngine:
    """The graph of the same model that suits a processor best.

    Raises:
        ModelError: none of the folder runs there.
    """
    path, info = graph.path, graph.info
    try:
        best = find_graph(str(path.parent))
        found = read_graph(best, role=info.role)
    except (WeightsUnavailable, WrongModel):  # a file by itself: it is all there is
        best, found = path, info
    if (found.model, found.seed, found.item) == (info.model, info.seed, info.item):
        path, info = best, found
    return OnnxEngine.of(path, info, device=Device.CPU, what=what)


def _advised(engine: OnnxEngine, graph: GraphInfo) -> OnnxEngine:
    """The engine; where it is a processor that has a slower graph than could be made for it, it says so."""
    info = engine.info
    if info.device == "cpu" and not info.hint and graph.precision is not Precision.INT8_DYNAMIC:
        why = f"{info.why}; {Precision.INT8_DYNAMIC} is quicker on a processor"
        engine.explain(why, make_command(graph, Precision.INT8_DYNAMIC))
    return engine


def find_exported(name: str, settings: ModelSettings, role: Role) -> Exported:
    """The graph that a setting names, held to its sidecar.

    Raises:
        ModelError: it cannot be found, does not match its sidecar, or is of another role.
    """
    precision = None if settings.precision is PrecisionName.AUTO else Precision(settings.precision)
    gpu = settings.device is not DeviceName.CPU and gpu_present()
    path = find_graph(name, precision=precision, gpu=gpu)
    return Exported(path, read_graph(path, role=role))
