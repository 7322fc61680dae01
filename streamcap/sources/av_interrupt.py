"""Waking a thread that libav holds in a blocking call.

libav asks a callback, about ten times a second while it waits for a network, whether it should give up; PyAV's
callback compares ``time.monotonic()`` with a deadline and offers no other way in. So PyAV is given a clock of its own,
which tells the same time as the real one until its thread is told to stop: from then on every deadline has passed.
Where PyAV's inside differs from what is expected here, nothing is changed, and closing waits for the read timeout.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import av.container.core

__all__ = ["interruptible"]

_AGES = 1e9  # seconds; longer than any timeout


class _Clock:
    """Stands in for the module ``time`` in PyAV's container code."""

    def __init__(self) -> None:
        self.stops: dict[int, threading.Event] = {}
        self._ahead = 0.0

    def monotonic(self) -> float:
        stop = self.stops.get(threading.get_ident())
        if stop is not None and stop.is_set():
            # Every reading lies ages after the one before, so a deadline that is set from one is over at the next.
            self._ahead += _AGES
            return time.monotonic() + self._ahead
        return time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


_clock = _Clock()


def _install() -> None:
    inside = vars(av.container.core)
    if inside.get("time") is time:
        inside["time"] = _clock


@contextlib.contextmanager
def interruptible(stop: threading.Event) -> Iterator[None]:
    """While held, setting ``stop`` ends the blocking libav calls of this thread with an error, within about 0.1 s."""
    _install()
    ident = threading.get_ident()
    _clock.stops[ident] = stop
    try:
        yield
    finally:
        del _clock.stops[ident]
