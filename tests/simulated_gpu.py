# ruff: noqa: N815 - the names are CUDA's
"""CUDA's runtime and TensorRT's interface over this machine's own memory and ONNX Runtime.

They show that what the backend does around the GPU is right: which buffers are copied where, in which order, what is
captured and launched, what is freed. They say nothing of speed, and nothing of what a real library would do.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from streamcap.config import ModelSettings
from streamcap.models.choosing import open_encoder
from streamcap.models.cuda import Cuda
from streamcap.models.graph import Precision, read_graph
from streamcap.models.plans import BatchProfile, PlanKey, write_plan
from streamcap.models.tensorrt import Library
from streamcap.models.vision import GraphEncoder
from tests.graphs import make_encoder

__all__ = ["MAGIC", "Context", "Runtime", "encoder_on", "trt_module"]

# A "plan" is this and the ONNX file.
MAGIC = b"SIMULATED"
VERSION = "1.0.simulated"


class Status(enum.IntEnum):
    OK = 0
    OUT_OF_MEMORY = 2
    NO_DEVICE = 100
    INVALID_VALUE = 1
    NOT_READY = 600
    ILLEGAL_ADDRESS = 700
    CAPTURE_INVALIDATED = 901


class Runtime:
    """What speaks like ``cuda.bindings.runtime``.

    Attributes:
        faults: status that a function gives instead of working, and after how many calls of it.
        memory: bytes of device memory that there are.
        calls: how often each function was called.
        rtx: TensorRT is TensorRT-RTX; with ``capturable`` it lets itself be captured.
        caches: TensorRT-RTX has a cache of kernels; ``compiled`` is how many it compiled.
        busy: so many times an event is asked after in vain; None for ever: the GPU hangs.
        live: what was made and not freed, by address or handle.
        junk: each byte of fresh device memory.
    """

    cudaDeviceAttr = staticmethod(int)
    cudaStreamCaptureMode = staticmethod(int)
    cudaMemcpyKind = staticmethod(int)

    def __init__(self, *, devices: int = 1, memory: int = 1 << 30) -> None:
        self.rtx, self.capturable, self.junk = False, True, 0
        self.caches, self.compiled = True, 0
        self.busy: int | None = 0
        self._asked = 0
        self.faults: dict[str, tuple[Status, int]] = {}
        self.memory = memory
        self.calls: dict[str, int] = {}
        self.live: dict[int, Any] = {}
        self._devices = devices
        self._capturing: list[Callable[[], object]] | None = None
        self._handles = iter(range(1, 1 << 30))

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if not name.startswith("cuda") or name in {"cudaDeviceAttr", "cudaStreamCaptureMode", "cudaMemcpyKind"}:
            return value

        def called(*arguments: Any) -> tuple[Any, ...]:
            count = self.calls[name] = self.calls.get(name, 0) + 1
            status, after = self.faults.get(name, (Status.OK, 0))
            if status and count > after:
                if name == "cudaStreamEndCapture":
                    self._capturing = None
                return (status, None)
            answer: tuple[Any, ...] = value(*arguments)
            return answer

        return called

    @property
    def capturing(self) -> bool:
        """Work is recorded, not done."""
        return self._capturing is not None

    def submit(self, work: Callable[[], object]) -> None:
        """Do it now, or record it."""
        if self._capturing is None:
            work()
        else:
            self._capturing.append(work)

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return (Status.OK if self._devices else Status.NO_DEVICE, self._devices)

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:
        return (Status.OK,)

    def cudaDeviceGetAttribute(self, attribute: int, device: int) -> tuple[Any, ...]:
        return (Status.OK, {75: 8, 76: 9}[attribute])

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        return (Status.OK, SimpleNamespace(name=b"simulated\0\0"))

    def cudaMalloc(self, count: int) -> tuple[Any, ...]:
        used = sum(len(block) for block in self.live.values() if isinstance(block, ctypes.Array))
        if used + count > self.memory:
            return (Status.OUT_OF_MEMORY, None)
        status, address = self._allocate(count)
        ctypes.memset(address, self.junk, count)
        return (status, address)

    def cudaHostAlloc(self, count: int, flags: int) -> tuple[Any, ...]:
        return self._allocate(count)

    def _allocate(self, count: int) -> tuple[Any, ...]:
        block = (ctypes.c_byte * count)()
        self.live[ctypes.addressof(block)] = block
        return (Status.OK, ctypes.addressof(block))

    def _free(self, handle: int) -> tuple[Any, ...]:
        del self.live[handle]  # twice is an error, as on the device
        return (Status.OK,)

    cudaFree = cudaFreeHost = cudaStreamDestroy = cudaEventDestroy = cudaGraphExecDestroy = cudaGraphDestroy = _free

    def _make(self, what: Any) -> tuple[Any, ...]:
        handle = next(self._handles)
        self.live[handle] = what
        return (Status.OK, handle)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        return self._make("stream")

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        return self._make("event")

    def cudaEventRecord(self, event: int, stream: int) -> tuple[Any, ...]:
        return (Status.OK,)

    def cudaEventQuery(self, event: int) -> tuple[Any, ...]:
        self._asked += 1
        return (Status.NOT_READY if self.busy is None or self._asked % (self.busy + 1) else Status.OK,)

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return (Status.OK, 13000)

    def cudaMemcpyAsync(self, to: int, source: int, count: int, kind: int, stream: int) -> tuple[Any, ...]:
        self.submit(lambda: ctypes.memmove(to, source, count))
        return (Status.OK,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Any, ...]:
        self._capturing = []
        return (Status.OK,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        work, self._capturing = self._capturing, None
        return self._make(work)

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        return self._make(self.live[graph])

    def cudaGraphLaunch(self, graph: int, stream: int) -> tuple[Any, ...]:
        for work in self.live[graph]:
            work()
        return (Status.OK,)


class _DataType(enum.Enum):
    FLOAT = np.float32
    HALF = np.float16
    INT32 = np.int32


class _Logger:
    ERROR, INTERNAL_ERROR, WARNING = "error", "internal", "warning"

    def log(self, severity: Any, message: str) -> None:
        raise NotImplementedError


class Context:
    def __init__(self, runtime: Runtime, session: Any) -> None:
        self._runtime, self._session = runtime, session
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()

    def set_device_memory(self, address: int, size: int) -> None:
        assert address in self._runtime.live

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = shape
        sides = zip(self._session.get_inputs()[0].shape, shape, strict=True)
        return all(isinstance(side, str) or side == given for side, given in sides)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        (found,) = (output for output in self._session.get_outputs() if output.name == name)
        return tuple(self._shape[0] if isinstance(side, str) else side for side in found.shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address in self._runtime.live
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream in self._runtime.live
        self._runtime.submit(self.compute)
        return True

    def fed(self) -> NDArray[Any]:
        """What lies in the input's memory."""
        source = self._session.get_inputs()[0]
        return _view(self._addresses[source.name], self._shape, _dtype(source.type))

    def compute(self) -> None:
        """What the device does."""
        source, batch = self._session.get_inputs()[0], self.fed()
        names = [output.name for output in self._session.get_outputs()]
        for name, found in zip(names, self._session.run(names, {source.name: batch}), strict=True):
            _view(self._addresses[name], found.shape, found.dtype)[:] = found


class _Engine:
    device_memory_size_v2 = 64

    def __init__(self, runtime: Runtime, plan: bytes) -> None:
        self._runtime = runtime
        self._session = ort.InferenceSession(plan.removeprefix(MAGIC))
        self._io = [*self._session.get_inputs(), *self._session.get_outputs()]
        self.num_io_tensors = len(self._io)

    def get_tensor_name(self, number: int) -> str:
        return str(self._io[number].name)

    def get_tensor_dtype(self, name: str) -> _DataType:
        (found,) = (each for each in self._io if each.name == name)
        return _DataType(_dtype(found.type))

    def create_execution_context(self, settings: Any) -> Context:
        if self._runtime.rtx:
            settings.compile()
            assert (settings.strategy, settings.dynamic_shapes_kernel_specialization_strategy) == ("user", "eager")
            return RtxContext(self._runtime, self._session)
        assert settings == "user"
        return Context(self._runtime, self._session)

    def create_runtime_config(self) -> _RuntimeConfig:
        return (_CachingRuntimeConfig if self._runtime.caches else _RuntimeConfig)(self._runtime)


class RtxContext(Context):
    def is_stream_capturable(self, stream: int) -> bool:
        return self._runtime.capturable


class _RuntimeConfig:
    strategy = dynamic_shapes_kernel_specialization_strategy = ""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def compile(self) -> None:
        self._runtime.compiled += 1

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy


class _RuntimeCache:
    """Holds one kernel, which is good for one version."""

    def __init__(self) -> None:
        self.kernels = b""

    def deserialize(self, blob: bytes) -> bool:
        assert blob.startswith(b"kernels "), "bytes that it never wrote"
        if blob != f"kernels {VERSION}".encode():
            return False
        self.kernels = blob
        return True

    def serialize(self) -> bytes:
        return self.kernels


class _CachingRuntimeConfig(_RuntimeConfig):
    _cache: _RuntimeCache | None = None

    def create_runtime_cache(self) -> _RuntimeCache:
        return _RuntimeCache()

    def set_runtime_cache(self, cache: _RuntimeCache) -> bool:
        self._cache = cache
        return True

    def compile(self) -> None:
        if self._cache is None or not self._cache.kernels:
            super().compile()
        if self._cache is not None:
            self._cache.kernels = f"kernels {VERSION}".encode()


def trt_module(runtime: Runtime) -> Any:
    """What speaks like ``tensorrt``, or like ``tensorrt_rtx`` where the runtime says so."""
    rtx = {"DynamicShapesKernelSpecializationStrategy": SimpleNamespace(EAGER="eager")} if runtime.rtx else {}

    class TrtRuntime:
        def __init__(self, log: _Logger) -> None:
            self._log = log

        def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
            if not plan.startswith(MAGIC):
                self._log.log(_Logger.ERROR, "the header is not that of a plan")
                return None
            return _Engine(runtime, plan)

    return SimpleNamespace(
        Runtime=TrtRuntime,
        ILogger=_Logger,
        DataType=_DataType,
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user"),
        __version__=VERSION,
        **rtx,
    )


def _dtype(kind: str) -> Any:
    return {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int32)": np.int32}[kind]


def _view(address: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    count = int(np.prod(shape))
    raw = (ctypes.c_byte * (count * np.dtype(dtype).itemsize)).from_address(address)
    return np.frombuffer(raw, dtype, count).reshape(shape)


def encoder_on(
    runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch, *, device: str = "cuda"
) -> GraphEncoder:
    """An encoder of 32×32 pixels in fp16 whose plan runs on this GPU, found and opened as a service does it."""
    module = trt_module(runtime)
    graph = make_encoder(folder, Precision.FP16)
    key = PlanKey(
        graph=read_graph(graph).digest, builder="tensorrt", builder_version=VERSION, architectures=("sm_89",),
        precision=Precision.FP16, profile=BatchProfile(least=1, best=2, most=4),
    )  # fmt: skip
    write_plan(folder, MAGIC + graph.read_bytes(), model="tiny", key=key)
    monkeypatch.setattr("streamcap.models.choosing.gpu_present", lambda: True)
    monkeypatch.setattr("streamcap.models.tensorrt.load_library", lambda: Library(module, "tensorrt", VERSION))
    monkeypatch.setattr(Cuda, "open", classmethod(lambda cls: cls(runtime)))
    return open_encoder(ModelSettings.model_validate({"encoder": str(folder), "device": device}))
