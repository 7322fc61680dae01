"""Programs that are measured run as processes of their own: what they print, and what they cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import SHARED, CannotRun

__all__ = [
    "Clip",
    "Finished",
    "busy_clip",
    "cpu_seconds",
    "memory_mb",
    "need_weights",
    "peak_mb",
    "run",
    "stop",
    "streamcap",
]

_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that has ended well.

    Attributes:
        seconds: from its start to its end.
        cpu: processor seconds, of all its threads.
        peak_mb: largest resident memory (MiB).
    """

    stdout: str
    stderr: str
    seconds: float
    cpu: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Clip:
    """What is captioned.

    Attributes:
        name: without its folder.
        path: None for the rendered scene.
    """

    name: str
    path: Path | None

    @property
    def source(self) -> str:
        """As streamcap takes it."""
        return str(self.path) if self.path else "test:"

    @property
    def live(self) -> str:
        """As streamcap takes it to play it as a live stream for ever."""
        return f"{self.path}?loop=1" if self.path else "test:?realtime=1"


def streamcap(*arguments: str) -> list[str]:
    """The command line of this environment's streamcap."""
    return [sys.executable, "-m", "streamcap", *arguments]


def need_weights() -> None:
    """Make sure that the embedded default's weights are cached, so that no fetch is measured.

    Raises:
        CannotRun: they cannot be had.
    """
    from streamcap.errors import ModelError
    from streamcap.models.resolver import Resolver

    try:
        Resolver().pull(["default"])
    except ModelError as error:
        raise CannotRun(f"{error}; {error.hint}" if error.hint else str(error)) from error


def busy_clip() -> Clip:
    """A street with eight people, where it is at hand; else the demo's street clip; else the rendered scene."""
    path = SHARED / "clips" / "surv_pets09_s2l1.avi"
    if path.exists():
        return Clip(path.name, path)
    from streamcap.errors import ModelError
    from streamcap.models.resolver import ensure

    try:
        return Clip("bikes.mp4 (demo)", ensure("demo-clip-street"))
    except ModelError:
        return Clip("test: (rendered)", None)


def run(command: Sequence[str], *, timeout: float = 900.0) -> Finished:
    """Run a program to its end.

    Raises:
        CannotRun: it failed, or did not end in time (seconds); the last line that it wrote says why.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
        peak, ended, status, usage = 0.0, 0, 0, None
        try:
            while not ended:
                # The high-water mark of the process's own memory. What wait4 tells begins with that of the parent.
                peak = max(peak, peak_mb(process.pid))
                if time.perf_counter() - began > timeout:
                    raise CannotRun(f"{Path(command[0]).name} did not end within {timeout:.0f} s")
                time.sleep(_LOOK_S)
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        finally:
            if not ended:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = [_text(file) for file in (out, err)]
        if process.returncode != 0 or usage is None:
            last = (texts[1].strip() or "no word").splitlines()[-1]
            raise CannotRun(f"{Path(command[0]).name} ended with {process.returncode}: {last}")
        cpu = usage.ru_utime + usage.ru_stime
        return Finished(texts[0], texts[1], seconds, cpu, peak or usage.ru_maxrss / 1024)


async def stop(process: asyncio.subprocess.Process, seconds: float) -> None:
    """End a server as Ctrl-C does, and for certain where it is not gone after so many seconds."""
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            process.kill()
            await process.wait()


def memory_mb(pid: int) -> float:
    """Resident memory of a process now (MiB); 0 where the system does not tell."""
    return _status(pid, "VmRSS:")


def peak_mb(pid: int) -> float:
    """Largest resident memory of a process so far (MiB); 0 where the system does not tell."""
    return _status(pid, "VmHWM:")


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a running process; 0 where the system does not tell."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _status(pid: int, name: str) -> float:
    with contextlib.suppress(OSError, IndexError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return 0.0


def _text(file: object) -> str:
    assert hasattr(file, "seek") and hasattr(file, "read")
    file.seek(0)
    data = file.read()
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
