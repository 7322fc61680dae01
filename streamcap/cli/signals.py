"""Ctrl-C and TERM: the first asks for a clean end, the second does not wait for it, the third waits for nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stop_on_signals"]


@contextmanager
def stop_on_signals(stop: Callable[[], Coroutine[object, object, object]]) -> Iterator[None]:
    """While the body runs, the first signal starts ``stop()``, the second cancels the body's task, a third kills.

    After the body the program ends anyway, so one signal changes nothing and the next kills: no ``KeyboardInterrupt``
    is raised any more in the midst of what closes files and models. The handlers stay until the end of the process.
    """
    loop = asyncio.get_running_loop()
    body = asyncio.current_task()
    stopping: list[asyncio.Task[object]] = []
    running = True
    pressed = 0
    numbers = (signal.SIGINT, signal.SIGTERM)

    def on_signal() -> None:
        if not running:
            return
        if not stopping:
            stopping.append(loop.create_task(stop(), name="stop"))
        elif body is not None:
            body.cancel()

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1 or not running:
            for number in numbers:
                signal.signal(number, signal.SIG_DFL)
        if running:
            loop.call_soon_threadsafe(on_signal)

    # Not `loop.add_signal_handler`: what the loop leaves behind when it is closed raises `KeyboardInterrupt` again.
    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        running = False
        for task in stopping:
            task.cancel()
