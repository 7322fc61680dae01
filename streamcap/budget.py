"""What streams may ask of a model that costs: calls and tokens a minute, and whose turn it is. Pure: time is given in.

*How much.* Never more than so many calls and so many expected tokens begin in any minute, of a stream and in all: a
sliding minute, because a budget is a promise, and a bucket that fills up lets twice as much through at first. What a
call is expected to cost is taken before it begins, and set right when it is known what it did cost.

*Whose turn.* The earliest deadline goes first, among those whose stream has budget. A stream with short deadlines that
always asks would shut out the others that way: while others wait, a stream is at most :data:`LEAD` turns ahead of them
(fair queueing). Who goes first and finds no budget left of all streams' is waited for, or a small request would always
be slipped in before a large one.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass
from enum import Enum

from streamcap.errors import OverBudget

__all__ = ["Allowance", "Ledger", "Request"]

MINUTE_S = 60.0
# Turns that a stream may be ahead of another one that waits: one while the other's is under way, and one for chance.
LEAD = 2
# Turns by which a stream may be behind when it asks anew: it had an answer under way while others went on.
CLAIM = 4
# Requests of one stream that wait: it has one window and a few questions at a time.
MOST_WAITING = 16


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much may be asked.

    Attributes:
        calls, tokens: of one stream, a minute; > 0, may be infinite.
        calls_in_all, tokens_in_all: of all streams.
        concurrency: answers at a time, >= 1.
    """

    calls: float
    tokens: float
    calls_in_all: float
    tokens_in_all: float
    concurrency: int


class _State(Enum):
    WAITING = "waiting"
    WORKING = "working"
    OVER = "over"


@dataclass(slots=True, eq=False)
class _Entry:
    """What one call takes of a tally: what it may cost while it runs, and what it did cost so far."""

    at: float
    amount: float
    sure: float = 0.0


class _Tally:
    """What was spent of one allowance in the last minute.

    Less than one a minute is one in so many minutes.
    """

    def __init__(self, what: str, a_minute: float, *, whole: bool) -> None:
        self.what = what
        self.most = max(1.0, math.floor(a_minute)) if whole and math.isfinite(a_minute) else a_minute
        self._span = MINUTE_S * self.most / a_minute if math.isfinite(a_minute) else MINUTE_S
        self._entries: deque[_Entry] = deque()

    def spent(self, now: float) -> float:
        """In the minute before ``now``."""
        self._forget(now)
        return sum(entry.amount for entry in self._entries)

    def take(self, amount: float, now: float) -> tuple[_Tally, _Entry]:
        self._forget(now)
        entry = _Entry(now, amount)
        self._entries.append(entry)
        return self, entry

    def close(self, entry: _Entry) -> None:
        """It will cost no more than it did so far."""
        entry.amount = entry.sure
        if not entry.amount and entry in self._entries:
            self._entries.remove(entry)

    def free_at(self, amount: float, now: float, *, at_best: bool = False) -> float:
        """When there is room for so much, >= ``now``; infinite where there never is.

        Args:
            at_best: as if what is under way were to cost no more than it did so far.
        """
        if amount > self.most:
            return math.inf
        self._forget(now)
        costs = [(entry.at, entry.sure if at_best else entry.amount) for entry in self._entries]
        spent, when = sum(cost for _, cost in costs), now
        for at, cost in costs:
            if spent + amount <= self.most:
                break
            spent -= cost
            when = at + self._span
        return when

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0].at + self._span <= now:
            self._entries.popleft()


@dataclass(slots=True, eq=False)
class Request:
    """One call that somebody wants to make. Made by :meth:`Ledger.ask`, read by others, changed by the ledger alone."""

    stream: str
    deadline: float
    tokens: float
    order: int
    state: _State = _State.WAITING
    calls: tuple[tuple[_Tally, _Entry], ...] = ()
    spends: tuple[tuple[_Tally, _Entry], ...] = ()

    @property
    def working(self) -> bool:
        """True while it has its turn."""
        return self.state is _State.WORKING


class _Stream:
    """A stream that asks, or did in the last minutes."""

    def __init__(self, allowance: Allowance) -> None:
        self.calls = _Tally("calls of this stream", allowance.calls, whole=True)
        self.tokens = _Tally("tokens of this stream", allowance.tokens, whole=False)
        self.waiting: list[Request] = []
        self.turns = 0  # that it had, as far as they matter against others that wait
        self.working = 0

    def idle(self, now: float) -> bool:
        """Nothing is known of it that matters."""
        return not (self.waiting or self.working or self.calls.spent(now) or self.tokens.spent(now))


class Ledger:
    """Keeps the budget and the order of turns. All times are on one clock, in seconds, and do not go back.

    Args:
        allowance: how much may be asked.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._calls = _Tally("calls of all streams", allowance.calls_in_all, whole=True)
        self._tokens = _Tally("tokens of all streams", allowance.tokens_in_all, whole=False)
        self._streams: dict[str, _Stream] = {}
        self._order = itertools.count()
        self.working = 0

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(len(stream.waiting) for stream in self._streams.values())

    def spent(self, now: float, stream: str | None = None) -> tuple[float, float]:
        """Calls and tokens of the last minute, of a stream or of all."""
        if stream is None:
            return self._calls.spent(now), self._tokens.spent(now)
        known = self._streams.get(stream)
        return (known.calls.spent(now), known.tokens.spent(now)) if known else (0.0, 0.0)

    def ask(self, stream: str, deadline: float, tokens: float, now: float) -> Request:
        """Begin to wait for a turn.

        Args:
            stream: whose budget it is.
            deadline: latest time for the turn.
            tokens: expected cost, >= 0.

        Raises:
            OverBudget: it cannot have its turn by then, whatever happens.
        """
        self._forget(now)
        known = self._streams.get(stream) or _Stream(self._allowance)
        soonest = max(self._free(known, tokens, now, at_best=True))
        if soonest > deadline or math.isinf(soonest):
            raise self.refusal(stream, tokens, now)
        if len(known.waiting) >= MOST_WAITING:
            raise OverBudget(f"{MOST_WAITING} requests of this stream wait for the model already", retry_after_s=1.0)
        if not known.waiting:  # it comes with no claim to all the turns that it did not want
            known.turns = max([known.turns, *(least - CLAIM for least in self._least_turns())])
        self._streams[stream] = known
        request = Request(stream, deadline, tokens, next(self._order))
        known.waiting.append(request)
        known.waiting.sort(key=lambda each: (each.deadline, each.order))
        return request

    def grant(self, now: float) -> list[Request]:
        """Give turns to whom they are due; they work from now on. Call it after each change, and at :meth:`next`."""
        granted = []
        while self.working < self._allowance.concurrency and (request := self._first(now)) is not None:
            if max(self._free(None, request.tokens, now)) > now:
                break  # it is waited for
            known = self._streams[request.stream]
            known.waiting.remove(request)
            known.turns += 1
            known.working += 1
            self.working += 1
            request.state = _State.WORKING
            request.calls = (known.calls.take(1.0, now), self._calls.take(1.0, now))
            request.spends = (known.tokens.take(request.tokens, now), self._tokens.take(request.tokens, now))
            granted.append(request)
        return granted

    def next(self, now: float) -> float:
        """When :meth:`grant` may have more to give although nothing else changes, > ``now``; infinite if never."""
        if self.working >= self._allowance.concurrency:
            return math.inf
        times = (when for known, head in self._heads(now) for when in self._free(known, head.tokens, now))
        return min((when for when in times if when > now), default=math.inf)

    def settle(self, request: Request, tokens: float) -> None:
        """Say what a call that is under way did cost so far. Until it leaves, what it may cost stays taken."""
        for _, entry in request.calls:
            entry.sure = 1.0
        for _, entry in request.spends:
            entry.sure = tokens
            entry.amount = max(entry.amount, tokens)

    def leave(self, request: Request) -> None:
        """End a turn, or a wait. It did cost what was settled last; nothing at all where nothing was. Idempotent."""
        if request.state is _State.WAITING:
            self._streams[request.stream].waiting.remove(request)
        elif request.state is _State.WORKING:
            self._streams[request.stream].working -= 1
            self.working -= 1
            for tally, entry in (*request.calls, *request.spends):
                tally.close(entry)
        request.state = _State.OVER

    def refusal(self, stream: str, tokens: float, now: float) -> OverBudget:
        """Why there is no turn for a request, and when there is budget again."""
        known = self._streams.get(stream) or _Stream(self._allowance)
        tallies = (known.calls, known.tokens, self._calls, self._tokens)
        when, tally = max(zip(self._free(known, tokens, now), tallies, strict=False), key=lambda pair: pair[0])
        if math.isinf(when):
            return OverBudget(
                f"over budget: one call may need {tokens:.0f} tokens, of {tally.most:.0f} {tally.what} a minute",
                hint="raise [vision] tokens_per_minute and tokens_per_minute_in_all, or lower max_tokens",
            )
        if when > now:
            return OverBudget(
                f"over budget for {when - now:.0f} s: {tally.most:.0f} {tally.what} a minute",
                hint="raise the limits of [vision] a minute, or let fewer streams use the model",
                retry_after_s=when - now,
            )
        return OverBudget(
            f"no turn in time: {self.working} answers are under way and {self.waiting} requests wait",
            hint="more [vision] concurrency if the model can bear it, a smaller model, or fewer streams",
        )

    def _first(self, now: float) -> Request | None:
        """Whose turn it is, as far as its own stream's budget goes."""
        able: list[tuple[_Stream, Request]] = []
        unable: list[tuple[_Stream, Request]] = []
        for known, head in self._heads(now):
            hopeless = max(self._free(None, head.tokens, now, at_best=True)) > head.deadline
            ready = max(self._free(known, head.tokens, now)[:2]) <= now and not hopeless
            (able if ready else unable).append((known, head))
        if not able:
            return None
        least = min(known.turns for known, _ in able)
        for known, _ in unable:  # no claim is gathered meanwhile
            known.turns = max(known.turns, least)
        fair = [head for known, head in able if known.turns < least + LEAD]
        return min(fair, key=lambda each: (each.deadline, each.order))

    def _heads(self, now: float) -> list[tuple[_Stream, Request]]:
        """Of each stream, the request that goes first; those whose time is over are about to leave."""
        found = []
        for known in self._streams.values():
            head = next((each for each in known.waiting if each.deadline >= now), None)
            if head is not None:
                found.append((known, head))
        return found

    def _free(self, known: _Stream | None, tokens: float, now: float, *, at_best: bool = False) -> list[float]:
        """When there is room in each tally: of the stream, calls and tokens, then of all."""
        pairs = [(self._calls, 1.0), (self._tokens, tokens)]
        if known is not None:
            pairs = [(known.calls, 1.0), (known.tokens, tokens), *pairs]
        return [tally.free_at(amount, now, at_best=at_best) for tally, amount in pairs]

    def _least_turns(self) -> list[int]:
        turns = [known.turns for known in self._streams.values() if known.waiting]
        return [min(turns)] if turns else []

    def _forget(self, now: float) -> None:
        for name in [name for name, known in self._streams.items() if known.idle(now)]:
            del self._streams[name]
