"""A deadline that is set and lifted for every message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Alarm"]


class Alarm:
    """Calls back where it was set and not lifted in time. For one event loop.

    ``asyncio.timeout`` makes and cancels a timer each time, which for a message to a subscriber costs more than the
    message. Here one timer of the loop stays, and looks when it fires whether it is still, or again, due.

    Args:
        ring: called once for each time that it was set and has run out.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def set(self, seconds: float) -> None:
        """Ring in so many seconds, and not when it was to ring before."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._due = due = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)

    def lift(self) -> None:
        """Do not ring; the timer stays for the next time."""
        self._due = None

    def stop(self) -> None:
        """Do not ring, and let go of the timer. Idempotent; it may be set again."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        fired, self._timer = self._timer, None
        if self._due is None or self._loop is None or fired is None:
            return
        if self._due > fired.when():
            self._timer = self._loop.call_at(self._due, self._look)
            return
        self._due = None
        self._ring()
