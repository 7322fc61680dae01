"""The little of CUDA's runtime that an engine needs: memory, one stream, graphs; its error codes as our errors.

``cuda-bindings`` (NVIDIA's own) is imported when a GPU is opened, never before.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from streamcap.errors import ModelError, ModelLoadError, OutOfDeviceMemory

__all__ = ["INSTALL", "Cuda", "gpu_present"]

INSTALL = "pip install 'streamcap[gpu,tensorrt]'"
# cudaError_t; the numbers are CUDA's ABI and do not change.
_OUT_OF_MEMORY = 2
_NO_DRIVER = {3, 34, 35, 36, 46, 100, 101, 803, 804}  # not initialised, stub, old, no device, busy, mismatched driver
# Flags and kinds of the runtime's C interface.
_TO_DEVICE, _TO_HOST = 1, 2
_NON_BLOCKING = 1
_BLOCKING_SYNC_NO_TIMING = 1 | 2
_THREAD_LOCAL_CAPTURE = 1
_MAJOR, _MINOR = 75, 76


def gpu_present() -> bool:
    """Whether this machine shows an NVIDIA GPU to this process. Looks at device files, loads nothing."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return False
    return Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()  # Linux; Windows' subsystem for it


class Cuda:
    """The first visible GPU.

    Args:
        runtime: the module ``cuda.bindings.runtime``, or what speaks like it.

    Attributes:
        architecture: such as ``sm_90``.
        name: of the GPU.

    Raises:
        ModelLoadError: there is no driver, or no GPU.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        if not self.call("cudaGetDeviceCount"):
            raise ModelLoadError("the NVIDIA driver shows no GPU", hint="nvidia-smi")
        self.call("cudaSetDevice", 0)
        attribute = runtime.cudaDeviceAttr
        major, minor = (self.call("cudaDeviceGetAttribute", attribute(n), 0) for n in (_MAJOR, _MINOR))
        self.architecture = f"sm_{major}{minor}"
        name = self.call("cudaGetDeviceProperties", 0).name
        self.name = name.decode(errors="replace").rstrip("\0") if isinstance(name, bytes) else str(name)

    @classmethod
    def open(cls) -> Cuda:
        """The GPU of this machine.

        Raises:
            ModelLoadError: the library is not installed, or there is no driver or GPU.
        """
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise ModelLoadError("NVIDIA's Python bindings are not installed", hint=INSTALL) from error
        return cls(runtime)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the runtime and give what it returns beside its status: nothing, a value, or several.

        Raises:
            OutOfDeviceMemory: memory ran out.
            ModelLoadError: there is no driver or GPU.
            ModelError: anything else.
        """
        try:
            status, *values = getattr(self._runtime, name)(*arguments)
        except RuntimeError as error:  # the bindings' own: they find no driver to load
            raise ModelLoadError(f"there is no NVIDIA driver: {error}", hint="nvidia-smi") from error
        code = int(status)
        if code == _OUT_OF_MEMORY:
            raise OutOfDeviceMemory(f"the GPU's memory is full ({name})", hint="fewer models, or a smaller profile")
        if code in _NO_DRIVER:
            raise ModelLoadError(f"there is no usable NVIDIA driver or GPU ({_said(status)})", hint="nvidia-smi")
        if code:
            raise ModelError(f"CUDA failed: {name}: {_said(status)}")
        return values[0] if len(values) == 1 else tuple(values) if values else None

    def here(self) -> None:
        """Make this GPU the calling thread's; each thread that uses it calls this first."""
        self.call("cudaSetDevice", 0)

    def stream(self) -> Any:
        """A stream that does not wait for the default one."""
        return self.call("cudaStreamCreateWithFlags", _NON_BLOCKING)

    def event(self) -> Any:
        """An event whose waiter sleeps instead of spinning."""
        return self.call("cudaEventCreateWithFlags", _BLOCKING_SYNC_NO_TIMING)

    def device_bytes(self, count: int) -> int:
        """Address of so many bytes of device memory."""
        return int(self.call("cudaMalloc", max(1, count)))

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array in page-locked memory, which the GPU copies from and to by itself. Freed with ``free_pinned``."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape)) * kind.itemsize
        address = int(self.call("cudaHostAlloc", max(1, count), 0))
        raw = (ctypes.c_byte * max(1, count)).from_address(address)
        array: NDArray[Any] = np.frombuffer(memoryview(raw), kind, int(np.prod(shape)))
        return array.reshape(shape)

    def free_pinned(self, array: NDArray[Any]) -> None:
        """Free what ``pinned`` gave; nothing may look at it any more."""
        self.call("cudaFreeHost", array.ctypes.data)

    def free_device(self, address: int) -> None:
        """Free what ``device_bytes`` gave."""
        self.call("cudaFree", address)

    def upload(self, to: int, array: NDArray[Any], stream: Any) -> None:
        """Begin to copy a contiguous array to the device."""
        self.call("cudaMemcpyAsync", to, array.ctypes.data, array.nbytes, self._kind(_TO_DEVICE), stream)

    def download(self, array: NDArray[Any], source: int, stream: Any) -> None:
        """Begin to copy from the device into a contiguous array."""
        self.call("cudaMemcpyAsync", array.ctypes.data, source, array.nbytes, self._kind(_TO_HOST), stream)

    def wait(self, event: Any, stream: Any) -> None:
        """Sleep until the stream has done all that it was given so far."""
        self.call("cudaEventRecord", event, stream)
        self.call("cudaEventSynchronize", event)

    def capture(self, stream: Any, enqueue: Callable[[], None]) -> Any:
        """Record what ``enqueue`` puts on the stream as a graph that is launched in one go.

        Raises:
            ModelError: something in it cannot be recorded.
        """
        self.call("cudaStreamBeginCapture", stream, self._runtime.cudaStreamCaptureMode(_THREAD_LOCAL_CAPTURE))
        try:
            enqueue()
        except BaseException:  # a capture that is not ended poisons the stream; what it holds is of no use
            self._drop_capture(stream)
            raise
        graph = self.call("cudaStreamEndCapture", stream)
        try:
            return self.call("cudaGraphInstantiate", graph, 0)
        finally:
            self.call("cudaGraphDestroy", graph)

    def _drop_capture(self, stream: Any) -> None:
        _, graph = self._runtime.cudaStreamEndCapture(stream)
        if graph is not None and int(graph):  # none of a capture that broke off
            self.call("cudaGraphDestroy", graph)

    def _kind(self, kind: int) -> Any:
        return self._runtime.cudaMemcpyKind(kind)


def _said(status: Any) -> str:
    return str(getattr(status, "name", status))
