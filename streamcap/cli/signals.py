"""Ctrl-C and TERM: the first asks for a clean end, the second does not wait for it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

__all__ = ["stop_on_signals"]


@contextmanager
def stop_on_signals(stop: Callable[[], Coroutine[object, object, object]]) -> Iterator[None]:
    """While the body runs, the first signal starts ``stop()``, the second cancels the body's task."""
    loop = asyncio.get_running_loop()
    body = asyncio.current_task()
    stopping: list[asyncio.Task[object]] = []

    def on_signal() -> None:
        if not stopping:
            stopping.append(loop.create_task(stop(), name="stop"))
        elif body is not None:
            body.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
        for task in stopping:
            task.cancel()
