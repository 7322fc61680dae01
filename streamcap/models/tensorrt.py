"""Plans through TensorRT or TensorRT-RTX, whose Python interfaces are alike.

A lane has a stream, page-locked buffers, device memory, and for each bucket of batch sizes (1, 2, 4 … the profile's
most; the one grid of a tower of patches) an execution context with the CUDA graph that was captured of it. A batch
takes a free lane, is copied into its buffer, and goes through upload, graph and download without the processor; with
two lanes one batch is copied while another is computed. The caller sleeps meanwhile; the interpreter lock is free, so
that an event loop in another thread goes on.
"""

from __future__ import annotations

import importlib
import logging
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcap.errors import EngineLost, EngineStalled, ModelError, ModelLoadError, PlanRefused, WrongModel
from streamcap.models.cuda import INSTALL, RESTART, Cuda
from streamcap.models.engine import EngineInfo, Tensor, abandon, check_batch
from streamcap.models.graph import INPUT, GraphInfo
from streamcap.models.kernels import KernelCache, kernels_path
from streamcap.models.plans import PlanInfo, Target, build_command, choose_plan, read_plan

__all__ = ["LANES", "Library", "TensorRtEngine", "buckets", "load_library"]

_log = logging.getLogger(__name__)

# Batches on the GPU at a time: one computes while the other is copied. More only wait.
LANES = 2
# Longest wait for a lane, seconds: a GPU that hangs is told of sooner, by who waits for its batch.
_LANE_TIMEOUT_S = 60.0
# The larger one where both are installed: it knows data-centre GPUs.
_LIBRARIES = (("tensorrt", "tensorrt"), ("tensorrt_rtx", "tensorrt-rtx"))


@dataclass(frozen=True, slots=True)
class Library:
    """A TensorRT that is installed.

    Attributes:
        module: the imported module.
        builder: ``tensorrt`` or ``tensorrt-rtx``.
        version: in full.
    """

    module: Any
    builder: Any
    version: str


def load_library() -> Library:
    """Import TensorRT, or TensorRT-RTX where that is what there is.

    Raises:
        ModelLoadError: neither is installed, or neither loads.
    """
    reasons = []
    for name, builder in _LIBRARIES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        except (ImportError, OSError, RuntimeError) as error:  # installed, but one of its shared libraries is not
            reasons.append(f"{builder} does not load: {error}")
            continue
        if hasattr(module, "Runtime"):  # an empty folder of that name is no TensorRT
            return Library(module, builder, str(module.__version__))
    raise ModelLoadError("; ".join(reasons) or "TensorRT is not installed", hint=INSTALL)


def buckets(least: int, most: int) -> tuple[int, ...]:
    """The batch sizes that are prepared: powers of two from ``least`` on, and ``most``."""
    sizes = {least, most}
    size = 1
    while size < most:
        sizes |= {size} if size > least else set()
        size *= 2
    return tuple(sorted(sizes))


@dataclass(slots=True)
class _Output:
    host: NDArray[Any]
    device: int


@dataclass(slots=True)
class _Lane:
    stream: Any
    event: Any
    host: NDArray[Any]
    device: int
    scratch: int
    outputs: dict[str, _Output]
    contexts: dict[int, Any] = field(default_factory=dict)
    graphs: dict[int, Any] = field(default_factory=dict)


class TensorRtEngine:
    """A plan on the GPU.

    Args:
        plan: its bytes, read by ``read_plan``.
        plan_info: its sidecar.
        graph: sidecar of the graph that it was built of.
        what: what messages call it.
        lanes: batches on the GPU at a time.
        kernels: file of kernels that TensorRT-RTX compiled at an earlier start; None to compile them all.

    Raises:
        ModelLoadError: the library refuses the plan; WrongModel where its inputs or outputs are not the graph's.
        OutOfDeviceMemory: it does not fit.
    """

    def __init__(
        self,
        plan: bytes,
        plan_info: PlanInfo,
        graph: GraphInfo,
        *,
        library: Library,
        cuda: Cuda,
        what: str = "the encoder",
        lanes: int = LANES,
        kernels: Path | None = None,
    ) -> None:
        self._library, self._cuda, self._graph, self._what = library, cuda, graph, what
        key = plan_info.key
        # A tower of patches takes its grid and nothing else: one size, and outputs of another length.
        self._whole = graph.patches is not None
        self._most = graph.patches.patches if graph.patches is not None else key.profile.most
        self._buckets = (self._most,) if self._whole else buckets(key.profile.least, key.profile.most)
        self._runtime, self._engine = deserialise(library, plan, what, build_command(graph.model, graph.precision))
        self._types = self._check_tensors()
        self._held = ExitStack()  # what has to be freed, in whatever state loading stopped
        self._free: list[_Lane] = []
        self._lanes: list[_Lane] = []
        self._turn = threading.Semaphore(0)
        self._taking = threading.Lock()  # held to look at and change the lanes and what became of them
        self._lost: EngineLost | None = None
        self._settings, self._kernels = self._context_settings(kernels)
        self._info = EngineInfo(
            f"{library.builder} {library.version} on {cuda.name}",
            "TensorRT" if library.builder == "tensorrt" else "TensorRT-RTX",
            "cuda",
            key.precision,
            1 if self._whole else self._most,
            lanes=lanes,
        )
        try:
            for _ in range(lanes):
                self._lanes.append(self._make_lane())
            for lane in self._lanes:
                self._warm(lane)
            if self._kernels is not None:
                self._kernels.keep()
        except BaseException as error:  # half an engine is of no use: what it has taken of the device is given back
            self._lost = error if isinstance(error, EngineLost) else None
            self.close()
            raise
        self._free = list(self._lanes)
        self._turn = threading.Semaphore(lanes)

    @classmethod
    def open(cls, folder: Path, graph: GraphInfo, *, what: str = "the encoder") -> TensorRtEngine:
        """The plan of a graph folder that fits this machine, loaded and warm. Blocks for seconds.

        Raises:
            ModelLoadError: there is no library, driver or GPU; PlanRefused where no plan fits.
            OutOfDeviceMemory: it does not fit into the GPU's memory.
        """
        library, cuda = load_library(), Cuda.open()
        target = Target(library.builder, library.version, cuda.architecture)
        path = choose_plan(folder, target, graph)
        plan, info = read_plan(path, target, graph)
        kernels = kernels_path(path, f"{library.version} {cuda.driver} {cuda.name} {cuda.architecture}")
        return cls(plan, info, graph, library=library, cuda=cuda, what=what, kernels=kernels)

    @property
    def info(self) -> EngineInfo:
        """See :class:`streamcap.models.engine.Engine`."""
        return self._info

    def run(self, batch: Tensor, *wanted: str) -> list[Tensor]:
        """See :class:`streamcap.models.engine.Engine`."""
        check_batch(batch, self._graph.item, self._most, whole=self._whole)
        if not self._turn.acquire(timeout=_LANE_TIMEOUT_S):
            raise EngineStalled(f"{self._what} is stuck: no batch came back within {_LANE_TIMEOUT_S:g} s", hint=RESTART)
        try:
            return self._in_lane(self._lane(), batch, wanted)
        finally:
            self._turn.release()

    def close(self) -> None:
        """See :class:`streamcap.models.engine.Engine`. What a lost GPU holds is left to the end of the process."""
        with self._taking:
            if self._lost is not None:
                abandon(self._lanes, self._held.pop_all(), self._settings, self._kernels, self._engine, self._runtime)
            self._lanes, self._free = [], []  # with them the execution contexts, which use what is freed next
        if self._lost is None:
            self._cuda.here()
            self._held.close()
        self._settings = self._kernels = None
        self._engine = self._runtime = None

    # ---- one batch

    def _lane(self) -> _Lane:
        """A free lane, by who has a turn."""
        with self._taking:  # another lane may meet the loss just now, and whoever owns this close it
            if self._lost is not None:
                raise EngineLost(str(self._lost), hint=self._lost.hint)
            if not self._lanes:
                raise ModelError(f"{self._what} was closed")
            return self._free.pop()

    def _in_lane(self, lane: _Lane, batch: Tensor, wanted: tuple[str, ...]) -> list[Tensor]:
        try:
            return self._through(lane, batch, wanted)
        except EngineLost as error:
            with self._taking:
                self._lost = self._lost or error
            raise
        finally:
            with self._taking:
                if self._lost is None:  # else what is in it may still be read and written
                    self._free.append(lane)

    def _through(self, lane: _Lane, batch: Tensor, wanted: tuple[str, ...]) -> list[Tensor]:
        cuda, count = self._cuda, len(batch)
        cuda.here()
        bucket = next(size for size in self._buckets if size >= count)
        lane.host[:count] = batch
        cuda.upload(lane.device, lane.host[:count], lane.stream)
        if bucket in lane.graphs:
            cuda.call("cudaGraphLaunch", lane.graphs[bucket], lane.stream)
        else:
            self._enqueue(lane, bucket)
        outputs = [lane.outputs[name] for name in wanted]
        found = [(output.host if self._whole else output.host[:count], output.device) for output in outputs]
        for host, device in found:
            cuda.download(host, device, lane.stream)
        cuda.wait(lane.event, lane.stream)
        return [np.array(host, np.float32) for host, _ in found]

    def _enqueue(self, lane: _Lane, bucket: int) -> None:
        if not lane.contexts[bucket].execute_async_v3(int(lane.stream)):
            raise ModelError(f"{self._what} failed: TensorRT did not take a batch of {bucket}")

    # ---- loading

    def _check_tensors(self) -> dict[str, Any]:
        """The element types of inputs and outputs, by name."""
        trt, engine = self._library.module, self._engine
        names = [engine.get_tensor_name(n) for n in range(engine.num_io_tensors)]
        wanted = {INPUT, *(output.name for output in self._graph.outputs)}
        if set(names) != wanted:
            raise WrongModel(f"the plan has {', '.join(names)}, which is not what the graph's sidecar says")
        known = {trt.DataType.FLOAT: np.float32, trt.DataType.HALF: np.float16}
        types = {name: known.get(engine.get_tensor_dtype(name)) for name in names}
        if odd := [name for name, kind in types.items() if kind is None]:
            raise WrongModel(f"{', '.join(odd)} of the plan must be float or half")
        return types

    def _make_lane(self) -> _Lane:
        cuda, engine = self._cuda, self._engine
        stream, event = cuda.stream(), cuda.event()
        self._held.callback(cuda.call, "cudaStreamDestroy", stream)
        self._held.callback(cuda.call, "cudaEventDestroy", event)
        host, device = self._buffers((self._most, *self._graph.item), self._types[INPUT])
        host[:] = 0
        scratch = cuda.device_bytes(int(engine.device_memory_size_v2))
        self._held.callback(cuda.free_device, scratch)
        lane = _Lane(stream, event, host, device, scratch, {})
        for size in self._buckets:
            lane.contexts[size] = self._make_context(lane, size)
        return lane

    def _buffers(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], int]:
        """A page-locked array, and the address of as much device memory."""
        host = self._cuda.pinned(shape, dtype)
        self._held.callback(self._cuda.free_pinned, host)
        device = self._cuda.device_bytes(host.nbytes)
        self._held.callback(self._cuda.free_device, device)
        return host, device

    def _make_context(self, lane: _Lane, size: int) -> Any:
        """A context of its own for each size, as captured graphs need; they share the lane's scratch memory."""
        engine = self._engine
        context = engine.create_execution_context(self._settings)
        if context is None:
            raise ModelLoadError(f"{self._what}: TensorRT makes no execution context")
        context.set_device_memory(lane.scratch, int(engine.device_memory_size_v2))
        if not context.set_input_shape(INPUT, (size, *self._graph.item)):
            raise WrongModel(f"{self._what}: the plan does not take batches of {size}")
        addresses = {INPUT: lane.device}
        for output in self._graph.outputs:
            if output.name not in lane.outputs:
                rows, *row = context.get_tensor_shape(output.name)
                shape = (rows if self._whole else self._most, *row)
                lane.outputs[output.name] = _Output(*self._buffers(shape, self._types[output.name]))
            addresses[output.name] = lane.outputs[output.name].device
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise ModelLoadError(f"{self._what}: TensorRT does not take the memory of {name}")
        return context

    def _context_settings(self, kernels: Path | None) -> tuple[Any, KernelCache | None]:
        """What contexts are made with: scratch memory is ours.

        TensorRT-RTX compiles kernels for a shape in the background and runs general ones until then, which a graph that
        is captured meanwhile would keep for ever: it is told to compile at once, and what it compiled is kept.
        """
        trt = self._library.module
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        specialisation = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
        if specialisation is None:
            return strategy, None
        settings = self._engine.create_runtime_config()
        settings.set_execution_context_allocation_strategy(strategy)
        settings.dynamic_shapes_kernel_specialization_strategy = specialisation.EAGER
        return settings, KernelCache.of(settings, kernels) if kernels is not None else None

    def _warm(self, lane: _Lane) -> None:
        """Run each size once, which chooses or compiles its kernels, and then capture it."""
        cuda = self._cuda
        # Fresh device memory may hold anything; numbers that are none would go through indices of a detector, too.
        cuda.upload(lane.device, lane.host, lane.stream)
        for size in self._buckets:
            self._enqueue(lane, size)
            cuda.wait(lane.event, lane.stream)
            can = getattr(lane.contexts[size], "is_stream_capturable", None)  # TensorRT-RTX knows beforehand
            try:
                if can is not None and not can(int(lane.stream)):
                    raise ModelError("TensorRT-RTX says that it cannot be captured")  # noqa: TRY301
                graph = cuda.capture(lane.stream, partial(self._enqueue, lane, size))
            except EngineLost:
                raise
            except ModelError as error:  # it runs all the same, with some launches more
                _log.warning("%s: batches of %d run without a CUDA graph: %s", self._what, size, error)
            else:
                self._held.callback(cuda.call, "cudaGraphExecDestroy", graph)
                lane.graphs[size] = graph


def deserialise(library: Library, plan: bytes, what: str, command: str) -> tuple[Any, Any]:
    """A runtime, and the engine that it makes of a plan. The runtime has to outlive the engine.

    Args:
        command: that builds a right plan.

    Raises:
        PlanRefused: the library refuses it.
        ModelLoadError: the library does not start: no driver, no GPU.
    """
    trt = library.module
    said: list[str] = []

    base: Any = trt.ILogger

    class Log(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                said.append(message)
            _log.debug("TensorRT: %s", message)

    log = Log()
    try:
        runtime = trt.Runtime(log)
    except Exception as error:  # what pybind makes of a null pointer differs between versions
        reason = said[0] if said else str(error)
        raise ModelLoadError(f"{library.builder} does not start: {reason}", hint="nvidia-smi") from error
    try:
        engine = runtime.deserialize_cuda_engine(plan)
    except Exception as error:  # as above
        engine, said = None, [*said, str(error)]
    if engine is None:
        reason = said[0] if said else "it gives no reason"
        raise PlanRefused(f"{what}: {library.builder} {library.version} refuses the plan: {reason}", hint=command)
    return (log, runtime), engine
