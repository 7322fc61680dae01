"""Bounded hand-over between threads and tasks, and the clock that everything reads.

Every edge of the pipeline is one of these, with a stated size and a stated policy: a live source hands over
with ``newest`` (the newest picture wins, what it replaced is counted as dropped), a file that is read for its own
sake with ``block`` (the decoder waits, nothing is dropped).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, Literal, Protocol, TypeVar, cast

__all__ = ["LOOP_CHECK_S", "Channel", "ChannelClosed", "Clock", "SystemClock", "Turns", "aside"]

T = TypeVar("T")

LOOP_CHECK_S = 1.0  # how often a thread that waits for an event loop looks whether there still is one


class Clock(Protocol):
    """Where time comes from. Tests pass a virtual one."""

    def monotonic(self) -> float:
        """Seconds that never go back; for durations."""
        ...

    def wall(self) -> float:
        """Unix seconds; for time stamps that leave the process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellation safe."""
        ...


class SystemClock:
    """The machine's clock. Wall time is read once and carried on by the monotonic clock.

    A step of the system clock (NTP, daylight saving by hand) therefore never makes an age negative.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return time.monotonic()

    def wall(self) -> float:
        """See :class:`Clock`."""
        return time.monotonic() + self._offset

    async def sleep(self, seconds: float) -> None:
        """See :class:`Clock`."""
        await asyncio.sleep(seconds)


class ChannelClosed(Exception):
    """The other side has closed the channel: the producer should stop."""


class Channel(Generic[T]):
    """A bounded channel from one producer thread to one consumer task.

    Args:
        capacity: most items that wait, at least 1.
        policy: ``newest`` drops the oldest waiting item to make room; ``block`` makes the producer wait.

    Counters: ``puts = gets + drops + pending`` at any time.
    """

    def __init__(self, capacity: int, policy: Literal["newest", "block"]) -> None:
        if capacity < 1:
            raise ValueError("capacity must be at least 1")
        self._capacity = capacity
        self._policy = policy
        self._items: deque[T] = deque()
        self._room = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self.puts = self.gets = self.drops = 0

    @property
    def pending(self) -> int:
        """Items that wait."""
        return len(self._items)

    def put(self, item: T) -> None:
        """Hand one item over, from the producer's thread.

        Raises:
            ChannelClosed: the consumer has closed the channel; also while waiting for room.
        """
        with self._room:
            while self._policy == "block" and len(self._items) >= self._capacity and not self._closed:
                self._room.wait(LOOP_CHECK_S)
                self._closed = self._closed or self._loop.is_closed()
            if self._closed:
                raise ChannelClosed
            if len(self._items) >= self._capacity:
                self._items.popleft()
                self.drops += 1
            self._items.append(item)
            self.puts += 1
        self._wake()

    def newest(self, item: T) -> T:
        """The newest item that waits, in place of one that was taken and is not used: that one counts as dropped.

        The item itself where nothing waits, or where nothing may be left out (``block``).
        """
        with self._room:
            if self._policy == "block" or not self._items:
                return item
            self.drops += len(self._items)
            newest = self._items.pop()
            self._items.clear()
            return newest

    def close(self, error: BaseException | None = None) -> None:
        """End the channel, from either side and any thread; the first call wins.

        Items that wait are still delivered; then iteration ends, or raises ``error``.
        """
        with self._room:
            if not self._closed:
                self._closed = True
                self._error = error
            self._room.notify_all()
        self._wake()

    def discard(self) -> None:
        """Close from the consumer's side and drop what waits."""
        with self._room:
            self.drops += len(self._items)
            self._items.clear()
        self.close()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Items in order until the channel is closed. A cancelled wait loses nothing."""
        while True:
            taken: list[T] = []
            with self._room:
                if self._items:
                    taken.append(self._items.popleft())
                    self.gets += 1
                    self._room.notify_all()
                elif self._closed:
                    if self._error is not None:
                        raise self._error
                    return
                else:
                    self._ready.clear()
            for item in taken:
                yield item
            if not taken:
                await self._ready.wait()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the loop is gone, and with it the consumer
            with self._room:
                self._closed = True
                self._room.notify_all()


class Turns:
    """Lets at most ``limit`` tasks work at a time; of those that wait the earliest deadline goes first.

    Args:
        limit: at least 1.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("somebody must have a turn")
        self.limit = limit
        self._free = limit
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @property
    def waiting(self) -> int:
        """Tasks that wait for their turn."""
        return sum(not future.done() for _, _, future in self._waiting)

    @contextlib.asynccontextmanager
    async def turn(self, deadline: float) -> AsyncIterator[None]:
        """Wait for a turn and hold it for the length of the block. A cancelled wait leaves no trace.

        Args:
            deadline: when it should be done, on any clock that all who wait share.
        """
        await self._acquire(deadline)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, deadline: float) -> None:
        if self._free > 0:
            self._free -= 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (deadline, next(self._order), mine))
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # it was given the turn just before
                self._release()
            raise

    def _release(self) -> None:
        while self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)  # the turn passes on: nobody can slip in between
                return
        self._free += 1


async def aside(work: Callable[[], T], *, name: str) -> T:
    """Result of work that blocks, on a thread of its own that nobody waits for at the end of the program.

    For what may take minutes and be given up, such as fetching weights; ``asyncio.run`` waits for all that was handed
    to ``asyncio.to_thread``. Cancelled, the thread runs on and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(cast("T", result))
        else:
            ended.set_exception(error)

    def run() -> None:
        result, fault = None, None
        try:
            result = work()
        except BaseException as error:  # raised where it is awaited
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: the program ends
            loop.call_soon_threadsafe(settle, result, fault)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await ended
