"""Ctrl-C and TERM: the first asks for a clean end, the second does not wait for it, the third waits for nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ["stop_on_signals"]

NUMBERS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals(stop: Callable[[], Coroutine[object, object, object]]) -> Iterator[None]:
    """While the body runs, the first signal starts ``stop()``, the second cancels the body's task, a third kills.

    After the body the program ends anyway, so one signal changes nothing and the next kills: no ``KeyboardInterrupt``
    is raised any more in the midst of what closes files and models.
    """
    loop = asyncio.get_running_loop()
    body = asyncio.current_task()
    stopping: list[asyncio.Task[object]] = []
    pressed = 0

    def on_signal() -> None:
        if not stopping:
            stopping.append(loop.create_task(stop(), name="stop"))
        elif body is not None:
            body.cancel()

    def count(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            _from_now_on(signal.SIG_DFL)

    # The loop wakes up for a signal and calls `on_signal`; in the place of its handler, which does nothing, one that
    # works though the loop hangs.
    for number in NUMBERS:
        loop.add_signal_handler(number, on_signal)
    _from_now_on(count)
    try:
        yield
    finally:
        for number in NUMBERS:
            loop.remove_signal_handler(number)
        _from_now_on(signal.SIG_DFL if pressed > 1 else _ending)
        for task in stopping:
            task.cancel()


def _ending(_number: int, _frame: FrameType | None) -> None:
    _from_now_on(signal.SIG_DFL)


def _from_now_on(handle: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    for number in NUMBERS:
        signal.signal(number, handle)
