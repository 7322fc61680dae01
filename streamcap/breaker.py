"""When to leave a server alone that fails, and how often to try again. Pure: time is given in.

A server that is down or stalls costs every caption its whole patience, and a server that comes back is knocked over by
all who waited. So calls to it stop after a few failures, one call at a time asks whether it is well again (Nygard,
"Release It!": circuit breaker), and of all calls only a share may be second tries (the retry budget of Finagle and
gRPC A6): retries multiply the load of a server just when it has too much.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Breaker", "BreakerState", "Resting", "RetryBudget", "Trial"]

# Failures in a row after which the server is left alone.
FAILURES_IN_A_ROW = 5
# ... or this share of the last calls, once there were so many.
FAILURE_SHARE = 0.5
LAST_CALLS = 20
LEAST_CALLS = 10
# How long it is left alone (seconds): at first, and at most; doubled each time that it is not well after it.
REST_S = 5.0
REST_MOST_S = 60.0

# Each call earns this much of a retry, and so much is saved up at most: a burst of faults is borne, a storm is not.
RETRY_SHARE = 0.2
RETRIES_SAVED = 10.0


class BreakerState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"  # all do
    OPEN = "open"  # none does
    HALF_OPEN = "half-open"  # one does, to see


@dataclass(frozen=True, slots=True)
class Resting:
    """No call now.

    Attributes:
        seconds: until one may be tried; 0 while another one is being tried.
        why: the fault that was the last one.
    """

    seconds: float
    why: str


class Trial:
    """One call that went through; it is to be told how it went, once."""

    __slots__ = ("_breaker", "_probe", "_told")

    def __init__(self, breaker: Breaker, probe: bool) -> None:
        self._breaker, self._probe, self._told = breaker, probe, False

    def succeeded(self) -> None:
        """The server did what it is for."""
        self._tell(True, "", 0.0)

    def failed(self, why: str, now: float) -> None:
        """It did not.

        Args:
            why: in a few words, for those who are refused next.
            now: monotonic seconds.
        """
        self._tell(False, why, now)

    def dropped(self) -> None:
        """Nobody knows: the call was called off, or failed by its own fault. Nothing where it was told before."""
        self._tell(None, "", 0.0)

    def _tell(self, well: bool | None, why: str, now: float) -> None:
        if not self._told:
            self._told = True
            self._breaker._learn(self._probe, well, why, now)


class Breaker:
    """The circuit breaker of one server.

    Args:
        rest_s: how long it is left alone at first, seconds, > 0.
    """

    def __init__(self, rest_s: float = REST_S) -> None:
        self._first_rest = self._rest = rest_s
        self._last: deque[bool] = deque(maxlen=LAST_CALLS)
        self._in_a_row = 0
        self._until: float | None = None  # None: closed
        self._probing = False
        self._why = ""
        self.opened = 0  # times, for the metrics

    def state(self, now: float) -> BreakerState:
        """Whether calls go through at ``now``, monotonic seconds."""
        if self._until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._until else BreakerState.HALF_OPEN

    def rest(self, now: float) -> float:
        """Seconds until a call is let through again, to see; 0 where calls are."""
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def ask(self, now: float) -> Trial | Resting:
        """Let a call through, or say for how long there is none."""
        match self.state(now):
            case BreakerState.CLOSED:
                return Trial(self, probe=False)
            case BreakerState.HALF_OPEN if not self._probing:
                self._probing = True
                return Trial(self, probe=True)
        return Resting(self.rest(now), self._why)

    def _learn(self, probe: bool, well: bool | None, why: str, now: float) -> None:
        if probe:
            self._probing = False
        elif self._until is not None:
            return  # of a call from before it was left alone: told too late to matter
        if well is None:
            return
        if well and probe:
            self._close()
        self._last.append(well)
        self._in_a_row = 0 if well else self._in_a_row + 1
        if not well:
            self._why = why
            if probe or self._too_many():
                self._open(now, longer=probe)

    def _too_many(self) -> bool:
        bad = self._last.count(False)
        many = len(self._last) >= LEAST_CALLS and bad >= FAILURE_SHARE * len(self._last)
        return many or self._in_a_row >= FAILURES_IN_A_ROW

    def _open(self, now: float, *, longer: bool) -> None:
        self._rest = min(REST_MOST_S, 2 * self._rest) if longer else self._first_rest
        self._until = now + self._rest
        self.opened += 1

    def _close(self) -> None:
        self._until = None
        self._last.clear()
        self._in_a_row = 0


class RetryBudget:
    """How many second tries there may be, over all streams."""

    def __init__(self) -> None:
        self.saved = RETRIES_SAVED

    def called(self) -> None:
        """There was a first try."""
        self.saved = min(RETRIES_SAVED, self.saved + RETRY_SHARE)

    def retry(self) -> bool:
        """Whether there may be one more; it counts then."""
        if self.saved < 1.0:
            return False
        self.saved -= 1.0
        return True
