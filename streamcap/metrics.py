"""Counters and time per stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["StageTime", "Stages"]


@dataclass(slots=True)
class StageTime:
    """How often a stage ran and how long in all.

    Attributes:
        count: runs.
        seconds: total wall time.
        worst: longest run, seconds.
    """

    count: int = 0
    seconds: float = 0.0
    worst: float = 0.0

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
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Count one run that was timed elsewhere."""
        entry = self.times.setdefault(name, StageTime())
        entry.count += 1
        entry.seconds += seconds
        entry.worst = max(entry.worst, seconds)
