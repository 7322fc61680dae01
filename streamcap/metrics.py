"""Counters and time per stage."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

__all__ = ["CPU_EVERY", "STAGE_BOUNDS", "Histogram", "StageTime", "Stages"]

# Seconds. From a quiet frame's gate to a large model's answer, three steps a decade.
STAGE_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


# Processor time is taken of one run in so many and stands for all: asking for it is a system call, after which a busy
# machine may let others go first (half a millisecond a call, measured with six busy threads).
CPU_EVERY: Final = 8


class Histogram:
    """How often values fell between bounds.

    Args:
        bounds: upper ends, rising, each belonging to its own bucket; one more bucket takes what lies above the last.

    Attributes:
        counts: values by bucket, one longer than ``bounds``.
        total: sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = STAGE_BOUNDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Upper end as text (``+Inf`` for the last) and how many values lie at or below it."""
        found, upto = [], 0
        for bound, count in zip((*self.bounds, None), list(self.counts), strict=True):
            upto += count
            found.append(("+Inf" if bound is None else repr(float(bound)), upto))
        return found


@dataclass(slots=True)
class StageTime:
    """How often a stage ran and how long in all.

    Attributes:
        count: runs.
        seconds: total wall time.
        cpu: processor seconds of it, from a sample: of the thread that was timed, and of those that worked for it.
        worst: longest run, seconds.
        spread: how the runs are spread over ``STAGE_BOUNDS``.
    """

    count: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    worst: float = 0.0
    spread: Histogram = field(default_factory=Histogram)

    @property
    def mean_ms(self) -> float:
        """Mean milliseconds a run, 0 where it never ran."""
        return 1e3 * self.seconds / self.count if self.count else 0.0


class Stages:
    """Times the stages of one stream. Each stage is timed from one thread at a time."""

    def __init__(self) -> None:
        self.times: dict[str, StageTime] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body as one run of stage ``name``, also when it raises."""
        start, cpu = time.perf_counter(), time.thread_time() if self.sampled(name) else None
        try:
            yield
        finally:
            spent = 0.0 if cpu is None else time.thread_time() - cpu
            self.add(name, time.perf_counter() - start, spent * CPU_EVERY)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the body as the beginning of the stage's next run, which goes on later; also when it raises."""
        start, cpu = time.perf_counter(), time.thread_time() if self.sampled(name) else None
        try:
            yield
        finally:
            entry = self.times.setdefault(name, StageTime())
            entry.seconds += time.perf_counter() - start
            entry.cpu += 0.0 if cpu is None else (time.thread_time() - cpu) * CPU_EVERY

    def add(self, name: str, seconds: float, cpu: float = 0.0) -> None:
        """Count one run that was timed elsewhere."""
        entry = self.times.setdefault(name, StageTime())
        entry.count += 1
        entry.seconds += seconds
        entry.cpu += cpu
        entry.worst = max(entry.worst, seconds)
        entry.spread.add(seconds)

    def sampled(self, name: str) -> bool:
        """True where the stage's next (or present) run is one whose processor time is taken."""
        entry = self.times.get(name)
        return entry is not None and entry.count % CPU_EVERY == CPU_EVERY - 1

    def work(self, name: str, cpu: float) -> None:
        """Add processor seconds that other threads spent on the present run of a stage, where that is sampled."""
        self.times.setdefault(name, StageTime()).cpu += cpu * CPU_EVERY
