"""Turns at the model for all streams, within what may be spent: :mod:`streamcap.budget` in time."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass

from streamcap.budget import Allowance, Ledger, Request
from streamcap.config import VisionSettings
from streamcap.flow import Clock, SystemClock
from streamcap.models.language import Usage

__all__ = ["Budget", "Spent", "Turn"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent in the last minute.

    Attributes:
        calls, tokens: expected or, where it is known, real.
        working, waiting: requests, of all streams.
    """

    calls: float
    tokens: float
    working: int
    waiting: int


class Turn:
    """A turn at the model."""

    def __init__(self, ledger: Ledger, request: Request) -> None:
        self._ledger, self._request = ledger, request

    def used(self, usage: Usage) -> None:
        """Say what the call did cost; while it runs, what it did cost so far. What was not said is given back."""
        self._ledger.settle(self._request, usage.prompt_tokens + usage.completion_tokens)


class Budget:
    """Who may ask the model now. For one event loop; has no task of its own.

    Args:
        settings: how much may be asked.
        clock: monotonic, at the pace of the event loop.
    """

    def __init__(self, settings: VisionSettings, clock: Clock | None = None) -> None:
        self._ledger = Ledger(
            Allowance(
                settings.calls_per_minute,
                settings.tokens_per_minute,
                settings.calls_per_minute_in_all,
                settings.tokens_per_minute_in_all,
                settings.concurrency,
            )
        )
        self._clock = clock or SystemClock()
        self._told: dict[Request, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def spent(self, stream: str | None = None) -> Spent:
        """What a stream, or all, spent in the last minute."""
        calls, tokens = self._ledger.spent(self._clock.monotonic(), stream)
        return Spent(calls, tokens, self._ledger.working, self._ledger.waiting)

    @contextlib.asynccontextmanager
    async def turn(self, stream: str, deadline: float, expected: Usage) -> AsyncIterator[Turn]:
        """Wait for a turn and hold it for the length of the block.

        A cancelled wait leaves no trace. Leaving the block frees the place at the model; what it cost is what
        :meth:`Turn.used` was told last, and nothing where it was told nothing.

        Args:
            stream: whose budget it is.
            deadline: latest time for the turn to begin, monotonic seconds of the clock.
            expected: what it may cost at most; see :func:`streamcap.models.language.estimate`.

        Raises:
            OverBudget: there is no turn by then; at once where that is certain.
        """
        now = self._clock.monotonic()
        tokens = expected.prompt_tokens + expected.completion_tokens
        request = self._ledger.ask(stream, deadline, tokens, now)
        try:
            await self._wait(request, deadline - now)
            if not request.working:
                raise self._ledger.refusal(stream, tokens, self._clock.monotonic())
            yield Turn(self._ledger, request)
        finally:
            self._ledger.leave(request)
            self._grant()

    async def _wait(self, request: Request, seconds: float) -> None:
        """Return when the request has its turn, or its time is over."""
        told = self._told[request] = asyncio.get_running_loop().create_future()
        self._grant()
        try:
            async with asyncio.timeout(seconds):
                await told
        except TimeoutError:
            pass  # the request says whether it had its turn just then
        finally:
            del self._told[request]

    def _grant(self) -> None:
        """Give the turns that are due, and see to it that the next ones are given in time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock.monotonic()
        for request in self._ledger.grant(now):
            told = self._told[request]
            if not told.done():
                told.set_result(None)
        when = self._ledger.next(now)
        if math.isfinite(when):
            self._timer = asyncio.get_running_loop().call_later(max(0.0, when - now), self._grant)
