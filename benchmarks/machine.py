"""Where and when something was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Machine", "describe_machine"]

PACKAGES = (
    "streamcap",
    "numpy",
    "av",
    "opencv-python-headless",
    "ai-edge-litert",
    "onnxruntime",
    "scipy",
    "websockets",
)
ROOT = Path(__file__).resolve().parent.parent
# What changes the figures; a changed page of documentation does not.
CODE = ("streamcap", "benchmarks/*.py", "benchmarks/tracking/*.py", "benchmarks/captioning/*.py", "pyproject.toml")

# Load average for each processor from which on figures of time are not to be believed.
BUSY_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine, the software and the moment.

    Attributes:
        cpu: model name.
        cores: that this process may use.
        memory_gb: RAM.
        commit: of the checkout, ``+`` behind it where the code differs from it; empty outside a checkout.
        date: UTC, ISO 8601.
        load_before, load_after: load average over a minute. More than the benchmark's own threads before it began
            means that others were at work, and that the times are too high.
    """

    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    packages: dict[str, str]
    commit: str
    date: str
    load_before: float
    load_after: float

    @property
    def busy(self) -> bool:
        """Others were at work when the benchmark began: times are too high."""
        return self.load_before > BUSY_SHARE * self.cores

    def line(self) -> str:
        """In one line, for a person."""
        commit = f", commit {self.commit}" if self.commit else ""
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gb:.0f} GB, {self.kernel}, Python {self.python}; "
            f"{self.date[:16].replace('T', ' ')} UTC{commit}; load {self.load_before:.1f} before, "
            f"{self.load_after:.1f} after{' (a busy machine: the times are too high)' if self.busy else ''}"
        )


def describe_machine(load_before: float | None = None) -> Machine:
    """This machine, now.

    Args:
        load_before: load average when the benchmark began; now, where left out.
    """
    load = os.getloadavg()[0]
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        kernel=f"{platform.system()} {'.'.join(platform.release().split('-')[0].split('.')[:2])}",
        python=platform.python_version(),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        commit=_commit(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        load_before=round(load if load_before is None else load_before, 2),
        load_after=round(load, 2),
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    head = _git("rev-parse", "--short=10", "HEAD")
    return f"{head}+" if head and _git("status", "--porcelain", "--", *CODE) else head


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
