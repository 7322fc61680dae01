"""The little of CUDA's runtime that an engine needs: memory, one stream, graphs; its error codes as our errors.

``cuda-bindings`` (NVIDIA's own) is imported when a GPU is opened, never before.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from streamcap.errors import EngineLost, EngineStalled, ModelError, ModelLoadError, OutOfDeviceMemory

__all__ = ["INSTALL", "LOST", "RESTART", "Cuda", "gpu_present"]

INSTALL = "pip install 'streamcap[gpu,tensorrt]'"
# cudaError_t; the numbers are CUDA's ABI and do not change.
_OUT_OF_MEMORY = 2
_NOT_READY = 600
# Errors that stick: every later call of the process fails with them, and NVIDIA's reference says that it "must be
# terminated and relaunched". Memory that cannot be corrected (214), a broken link (220), a context that is gone (201,
# 709) and 999, which says no more, end it just as well.
LOST = frozenset({201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 911, 999})
RESTART = "restart streamcap; if it comes again: nvidia-smi, and the kernel's log for Xid"
_NO_DRIVER = {3, 34, 35, 36, 46, 100, 101, 803, 804}  # not initialised, stub, old, no device, busy, mismatched driver
# Flags and kinds of the runtime's C interface.
_TO_DEVICE, _TO_HOST = 1, 2
_NON_BLOCKING = 1
_NO_TIMING = 2
_THREAD_LOCAL_CAPTURE = 1
_MAJOR, _MINOR = 75, 76
# Longest wait for one batch, seconds. The slowest that is served takes about one; a GPU that drives a screen is reset
# by its driver after some seconds.
STALL_S = 20.0
# While the GPU works its waiter sleeps, each time for a tenth of what it has waited so far, between these (seconds): a
# result is picked up a tenth late at most, and a batch of 10 ms is asked after some fifty times.
_SLEEP_LEAST_S, _SLEEP_MOST_S = 50e-6, 2e-3


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
        driver: newest CUDA that the driver serves, as 1000 · major + 10 · minor.

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
        self.driver = int(self.call("cudaDriverGetVersion"))
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
            EngineLost: the GPU serves this process no more.
            ModelLoadError: there is no driver or GPU.
            ModelError: anything else.
        """
        status, values = self._status(name, *arguments)
        self._check(name, status)
        return values[0] if len(values) == 1 else tuple(values) if values else None

    def _check(self, name: str, status: Any) -> None:
        code = int(status)
        if code in LOST:
            raise EngineLost(f"the GPU is lost to this process: {name}: {_said(status)}", hint=RESTART)
        if code == _OUT_OF_MEMORY:
            raise OutOfDeviceMemory(f"the GPU's memory is full ({name})", hint="fewer models, or a smaller profile")
        if code in _NO_DRIVER:
            raise ModelLoadError(f"there is no usable NVIDIA driver or GPU ({_said(status)})", hint="nvidia-smi")
        if code:
            raise ModelError(f"CUDA failed: {name}: {_said(status)}")

    def _status(self, name: str, *arguments: Any) -> tuple[Any, list[Any]]:
        try:
            status, *values = getattr(self._runtime, name)(*arguments)
        except RuntimeError as error:  # the bindings' own: they find no driver to load
            raise ModelLoadError(f"there is no NVIDIA driver: {error}", hint="nvidia-smi") from error
        return status, values

    def here(self) -> None:
        """Make this GPU the calling thread's; each thread that uses it calls this first."""
        self.call("cudaSetDevice", 0)

    def stream(self) -> Any:
        """A stream that does not wait for the default one."""
        return self.call("cudaStreamCreateWithFlags", _NON_BLOCKING)

    def event(self) -> Any:
        """What tells that a stream has come to a place. It takes no time stamps, so that asking it is cheap."""
        return self.call("cudaEventCreateWithFlags", _NO_TIMING)

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

    def wait(self, event: Any, stream: Any, timeout_s: float = STALL_S) -> None:
        """Sleep until the stream has done all that it was given so far. For worker threads.

        ``cudaEventSynchronize`` would sleep without asking, and on a GPU that hangs for ever.

        Raises:
            EngineStalled: it has not after ``timeout_s`` seconds. What it was given may still be under way: memory that
                it reads or writes must not be used or freed.
            ModelError: as :meth:`call`; errors of the work itself show here.
        """
        self.call("cudaEventRecord", event, stream)
        began = time.monotonic()
        while int(status := self._status("cudaEventQuery", event)[0]) == _NOT_READY:
            waited = time.monotonic() - began
            if waited >= timeout_s:
                raise EngineStalled(f"the GPU hangs: a batch did not come back within {timeout_s:g} s", hint=RESTART)
            time.sleep(min(max(waited / 10, _SLEEP_LEAST_S), _SLEEP_MOST_S))
        self._check("cudaEventQuery", status)

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
