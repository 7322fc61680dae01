"""Micro-batches: requests of all streams, gathered for a moment and put through an engine together.

A GPU takes hardly longer for eight pictures than for one. Owned threads take what waits, the earliest deadline first,
as soon as a batch is full or the request that has waited longest has waited ``delay_s``. While a batch is in the engine
the next one gathers, so that the delay is only ever paid by an engine that would otherwise be idle.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from streamcap.errors import ModelError, Overloaded

__all__ = ["BatchStats", "MicroBatcher"]

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)

# Most pictures in a batch: from about here on a ViT-B fills a large GPU, and more only adds delay.
SIZE = 32
# Longest wait for company, seconds: less than a frame at 200 frames a second, so that no latency target notices it.
DELAY_S = 0.004
# Requests that may wait: some seconds' work of a GPU. More means that it cannot keep up, which somebody has to be told.
QUEUE = 1024
# Longest wait of a blocking caller for room or for its result, seconds. An engine that takes longer is stuck.
TIMEOUT_S = 60.0
# A device that has failed for good fails every batch: the log is told once in so many seconds.
_WARN_S = 10.0
# The thread looks up this often though nobody woke it; nothing depends on it.
_IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class BatchStats:
    """What went through so far.

    Attributes:
        requests: that were answered, well or not.
        batches: calls of the engine.
        failed: requests that got an error.
        cancelled: requests that nobody waited for any more.
        waited_s: sum over the requests, from their arrival until their batch began.
    """

    requests: int = 0
    batches: int = 0
    failed: int = 0
    cancelled: int = 0
    waited_s: float = 0.0

    @property
    def mean_size(self) -> float:
        """Requests a batch."""
        return self.requests / self.batches if self.batches else 0.0


@dataclass(order=True, slots=True)
class _Request(Generic[T, R]):
    deadline: float
    number: int
    item: T = field(compare=False)
    arrived: float = field(compare=False)
    future: Future[R] = field(compare=False)


class MicroBatcher(Generic[T, R]):
    """Gathers requests and answers them batch by batch. Thread safe; to be closed.

    Args:
        run: the engine: a result for each item, in their order; called by ``lanes`` threads. Where it raises, the batch
            is tried again in halves, so that an item that cannot be done fails alone and a batch that does not fit
            into memory is made of smaller ones.
        size: most items a batch, >= 1; a function where that may change.
        delay_s: longest that a request waits for others while the engine is idle, seconds, >= 0.
        queue: most requests that wait, >= 1.
        lanes: batches that the engine takes at a time, >= 1; a thread for each.
        name: of the threads.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]],
        *,
        size: int | Callable[[], int] = SIZE,
        delay_s: float = DELAY_S,
        queue: int = QUEUE,
        lanes: int = 1,
        name: str = "streamcap-batch",
    ) -> None:
        now = size() if callable(size) else size
        if min(now, queue, lanes) < 1 or delay_s < 0:
            raise ValueError("size, queue and lanes must be at least 1, the delay at least 0")
        self._run, self._delay_s, self._queue = run, delay_s, queue
        self._size = size if callable(size) else lambda: now
        self._numbers = itertools.count()
        self._waiting: list[_Request[T, R]] = []  # a heap by deadline
        self._changed = threading.Condition()
        self._closed = False
        self._stats = BatchStats()
        self._silent_until = 0.0
        self._threads = [threading.Thread(target=self._serve, name=f"{name}-{n}", daemon=True) for n in range(lanes)]
        for thread in self._threads:
            thread.start()

    @property
    def stats(self) -> BatchStats:
        """What went through so far."""
        return self._stats

    @property
    def waiting(self) -> int:
        """Requests that wait, with those that were cancelled and not yet thrown out."""
        return len(self._waiting)

    def submit(self, item: T, *, deadline: float | None = None, wait_s: float = 0.0) -> Future[R]:
        """Hand in one item. A future that is cancelled before its batch begins costs the engine nothing.

        Args:
            deadline: ``time.monotonic()`` seconds by which the result is wanted; decides the order, and nothing is
                thrown away that is late. None: in the order of arrival.
            wait_s: how long to wait for room in a full queue; 0 for a caller that must not block.

        Raises:
            Overloaded: the queue is full.
            ModelError: the batcher is closed.
        """
        return self._hand_in([item], deadline, wait_s)[0]

    def map(self, items: Sequence[T], *, deadline: float | None = None, timeout_s: float = TIMEOUT_S) -> list[R]:
        """Hand in items and wait for all results, in their order. Blocks: for worker threads.

        What is still waiting when one fails or the time is up is cancelled.

        Raises:
            ModelError: the first error of the engine; the time is up; the batcher is closed.
            Overloaded: there was no room for ``timeout_s`` seconds.
        """
        until = time.monotonic() + timeout_s
        results: list[R] = []
        for start in range(0, len(items), self._queue):
            futures = self._hand_in(items[start : start + self._queue], deadline, until - time.monotonic())
            try:
                results += [future.result(max(0.0, until - time.monotonic())) for future in futures]
            except TimeoutError:
                raise ModelError(f"the engine gave no result within {timeout_s:g} s") from None
            finally:
                for future in futures:
                    future.cancel()
        return results

    async def gather(
        self, items: Sequence[T], *, deadline: float | None = None, timeout_s: float = TIMEOUT_S
    ) -> list[R]:
        """Hand in items and wait for all results without blocking the event loop. Cancelled, it cancels what waits.

        Raises:
            ModelError: the first error of the engine; the time is up; the batcher is or was closed meanwhile.
            Overloaded: there is no room for all of them.
        """
        futures = self._hand_in(items, deadline, 0.0)
        try:
            async with asyncio.timeout(timeout_s):
                return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))
        except TimeoutError:
            raise ModelError(f"the engine gave no result within {timeout_s:g} s") from None
        finally:
            for future in futures:
                future.cancel()

    def close(self, timeout_s: float = TIMEOUT_S) -> None:
        """Fail what waits, let batches that are in the engine end, and end the threads. May be called twice.

        Not from within the engine.

        Raises:
            ModelError: the engine did not come back within ``timeout_s`` seconds; the thread is left behind.
        """
        with self._changed:
            self._closed = True
            left, self._waiting = self._waiting, []
            self._changed.notify_all()
        for request in left:
            # Not cancelled: to a task that waits that would look like its own end.
            if request.future.set_running_or_notify_cancel():
                request.future.set_exception(ModelError("the engine was closed"))
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                raise ModelError(f"the engine is stuck: it did not come back within {timeout_s:g} s")

    # ---- the queue

    def _hand_in(self, items: Sequence[T], deadline: float | None, wait_s: float) -> list[Future[R]]:
        """All of the items or none of them."""
        with self._changed:
            if not self._has_room(len(items)):
                self._drop_cancelled()
                self._changed.wait_for(lambda: self._has_room(len(items)), max(0.0, wait_s))
            if self._closed:
                raise ModelError("the engine was closed")
            if not self._has_room(len(items)):
                raise Overloaded(
                    f"{len(self._waiting)} requests wait for the engine", hint="fewer streams, or less fps"
                )
            now = time.monotonic()
            due = now + self._delay_s if deadline is None else deadline
            requests = [_Request[T, R](due, next(self._numbers), item, now, Future()) for item in items]
            for request in requests:
                heapq.heappush(self._waiting, request)
            self._changed.notify_all()
        return [request.future for request in requests]

    def _has_room(self, count: int) -> bool:
        return self._closed or len(self._waiting) + count <= self._queue

    def _drop_cancelled(self) -> None:
        kept = [request for request in self._waiting if not request.future.cancelled()]
        self._count(cancelled=len(self._waiting) - len(kept))
        heapq.heapify(kept)
        self._waiting = kept

    def _take(self) -> list[_Request[T, R]]:
        """The next batch; empty when closed."""
        with self._changed:
            while not self._closed:
                if not self._waiting:
                    self._changed.wait(_IDLE_S)
                    continue
                size = self._size()
                if len(self._waiting) < size and (patience := self._patience()) > 0:
                    self._changed.wait(patience)
                    continue
                count = min(size, len(self._waiting))
                taken = [heapq.heappop(self._waiting) for _ in range(count)]
                self._changed.notify_all()  # somebody may wait for room
                live = [request for request in taken if request.future.set_running_or_notify_cancel()]
                self._count(cancelled=len(taken) - len(live))
                if live:
                    return live
        return []

    def _patience(self) -> float:
        """Seconds that the request which has waited longest may wait on."""
        return min(request.arrived for request in self._waiting) + self._delay_s - time.monotonic()

    # ---- the engine

    def _serve(self) -> None:
        while batch := self._take():
            began = time.monotonic()
            self._count(requests=len(batch), waited_s=sum(began - request.arrived for request in batch))
            self._answer(batch)

    def _answer(self, batch: list[_Request[T, R]]) -> None:
        self._count(batches=1)
        try:
            results = self._run([request.item for request in batch])
            if len(results) != len(batch):
                raise ModelError(f"the engine gave {len(results)} results for {len(batch)} requests")  # noqa: TRY301
        except Exception as error:  # whatever it is, it is for those who wait; the thread serves the others
            if len(batch) > 1:
                self._warn(len(batch), error)
                middle = len(batch) // 2
                self._answer(batch[:middle])
                self._answer(batch[middle:])
                return
            self._count(failed=1)
            batch[0].future.set_exception(error)
            return
        for request, result in zip(batch, results, strict=True):
            request.future.set_result(result)

    def _warn(self, size: int, error: Exception) -> None:
        with self._changed:
            now = time.monotonic()
            if now < self._silent_until:
                return
            self._silent_until = now + _WARN_S
        _log.warning("a batch of %d failed, its halves are tried: %s", size, error)

    def _count(
        self, *, requests: int = 0, batches: int = 0, failed: int = 0, cancelled: int = 0, waited_s: float = 0.0
    ) -> None:
        with self._changed:
            old = self._stats
            self._stats = BatchStats(
                old.requests + requests,
                old.batches + batches,
                old.failed + failed,
                old.cancelled + cancelled,
                old.waited_s + waited_s,
            )
