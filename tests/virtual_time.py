"""An event loop whose time is not the world's: when nothing is ready, it jumps to the next timer.

A test of minutes of heartbeats runs in milliseconds and comes out the same on any machine::

    @virtual_time
    async def test_heartbeat() -> None:
        await asyncio.sleep(3600)

While ``run_in_executor`` or ``asyncio.to_thread`` has work in other threads, time stands still: that work takes real
time, and no timer may overtake it. So does time inside ``with loop.standing_still()``, for threads of one's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import selectors
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

__all__ = ["Stuck", "VirtualClock", "VirtualLoop", "run_virtual", "virtual_time"]

T = TypeVar("T")

# Real seconds to wait for another thread or a socket before a loop without timers is held to be stuck.
REAL_LIMIT_S = 60.0


class Stuck(Exception):
    """Nothing is ready, no timer is set and nothing comes from outside: the test would hang."""


class _JumpingSelector(selectors.DefaultSelector):
    """Waits by advancing the loop's clock."""

    now = 0.0
    real_work = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if events := super().select(0):
            return events
        if timeout is None or (self.real_work and timeout > 0):
            events = super().select(REAL_LIMIT_S)
            if not events:
                raise Stuck(f"nothing happened for {REAL_LIMIT_S:.0f} real seconds, and time cannot go on")
            return events
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at 0 seconds and jumps from timer to timer."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let no time pass, while a thread does real work and wakes the loop when it is done."""
        self._jumping.real_work += 1
        try:
            yield
        finally:
            self._jumping.real_work -= 1

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """As in any loop; time stands still until the result is in."""
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._jumping.real_work += 1
        future.add_done_callback(self._real_work_done)
        return future

    def _real_work_done(self, _future: asyncio.Future[Any]) -> None:
        self._jumping.real_work -= 1


class VirtualClock:
    """The ``flow.Clock`` of a virtual loop; may be read from any thread.

    Args:
        loop: None for the running one.
        epoch: Unix seconds at the loop's zero.
    """

    def __init__(self, loop: VirtualLoop | None = None, *, epoch: float = 1_700_000_000.0) -> None:
        running = loop or asyncio.get_running_loop()
        if not isinstance(running, VirtualLoop):
            raise TypeError("a VirtualClock needs a VirtualLoop")
        self._loop = running
        self._epoch = epoch

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._loop.time()

    def wall(self) -> float:
        """Virtual Unix seconds."""
        return self._epoch + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(seconds)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a fresh virtual loop.

    Raises:
        Stuck: it waits for what never comes.
        AssertionError: it leaves tasks pending.
    """

    async def watched() -> T:
        result = await main
        await asyncio.sleep(0)  # tasks that were cancelled last get to end
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left pending: {sorted(task.get_name() for task in left)}"
        return result

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(watched())


def virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an async test a plain one that runs in virtual time. Its fixtures must be plain ones, too."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run
