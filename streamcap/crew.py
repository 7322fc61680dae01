"""Worker threads that all streams share, as one stream's stages use them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

from streamcap.metrics import Stages

__all__ = ["Crew"]

T = TypeVar("T")
R = TypeVar("R")


class Crew:
    """Hands work to worker threads and keeps account of their processor time.

    Args:
        workers: shared by all streams; owned by the caller.
        stages: where the time of the stream's stages is counted.
    """

    def __init__(self, workers: Executor, stages: Stages) -> None:
        self._workers, self.stages = workers, stages

    def begin(self, stage: str, call: Callable[[T], R], items: Iterable[T]) -> Callable[[], list[R]]:
        """Start ``call`` on each item, side by side.

        Returns:
            To be called once, in the same thread: does what no worker has begun yet, waits for the rest, and returns
            the results in the order of the items. It raises what ``call`` raised first; what is then still at work ends
            by itself, and so it does where the function is never called.
        """
        timed = self.stages.sampled(stage)
        begun = [(item, self._workers.submit(_work, call, item, timed)) for item in items]
        return lambda: self._finish(stage, call, begun)

    def _finish(self, stage: str, call: Callable[[T], R], begun: list[tuple[T, Future[tuple[R, float]]]]) -> list[R]:
        # From the end: the workers begin at the front. What is done here is timed with the thread that waits.
        own = {n: call(item) for n, (item, future) in reversed(list(enumerate(begun))) if future.cancel()}
        others = {n: future.result() for n, (_, future) in enumerate(begun) if n not in own}
        self.stages.work(stage, sum(cpu for _, cpu in others.values()))
        return [own[n] if n in own else others[n][0] for n in range(len(begun))]


def _work(call: Callable[[T], R], item: T, timed: bool) -> tuple[R, float]:
    """A result, and the processor seconds of this thread that it took, 0 where they are not asked for."""
    if not timed:
        return call(item), 0.0
    began = time.thread_time()
    found = call(item)
    return found, time.thread_time() - began
