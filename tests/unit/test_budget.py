"""The budget: never more than allowed in any minute, nobody is shut out, nothing is lost by who goes away."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamcap.budget import LEAD, MINUTE_S, MOST_WAITING, Allowance, Ledger, Request
from streamcap.captioners.budget import Budget
from streamcap.config import VisionSettings
from streamcap.errors import OverBudget
from streamcap.models.language import Usage
from tests.virtual_time import VirtualClock, virtual_time

PLENTY = Allowance(math.inf, math.inf, math.inf, math.inf, 100)


def allow(**limits: float) -> Allowance:
    names = {"calls", "tokens", "calls_in_all", "tokens_in_all", "concurrency"}
    assert limits.keys() <= names
    return Allowance(**{name: limits.get(name, getattr(PLENTY, name)) for name in names})


def take(ledger: Ledger, stream: str, now: float, tokens: float = 10.0, *, used: float | None = None) -> Request:
    """A call that is over at once."""
    request = ledger.ask(stream, math.inf, tokens, now)
    assert ledger.grant(now) == [request]
    ledger.settle(request, tokens if used is None else used)
    ledger.leave(request)
    return request


def test_calls_of_a_sliding_minute() -> None:
    ledger = Ledger(allow(calls=3))
    for at in (0.0, 10.0, 20.0):
        take(ledger, "a", at)
    with pytest.raises(OverBudget, match="over budget for 35 s: 3 calls of this stream a minute") as caught:
        ledger.ask("a", 59.9, 10.0, 25.0)
    assert caught.value.retry_after_s == 35.0
    take(ledger, "b", 25.0)  # another stream has its own
    waits = ledger.ask("a", 60.0, 10.0, 25.0)
    assert ledger.grant(25.0) == []
    assert ledger.next(25.0) == 60.0
    assert ledger.grant(60.0) == [waits]


def test_less_than_one_call_a_minute_is_one_in_some_minutes() -> None:
    ledger = Ledger(allow(calls=0.25))
    take(ledger, "a", 0.0)
    with pytest.raises(OverBudget, match="over budget for 140 s"):
        ledger.ask("a", 239.0, 1.0, 100.0)
    take(ledger, "a", 240.0)


def test_tokens_are_taken_as_expected_and_set_right_by_what_was_used() -> None:
    ledger = Ledger(allow(tokens=1000))
    first = ledger.ask("a", 5.0, 700.0, 0.0)
    ledger.grant(0.0)
    waits = ledger.ask("a", 5.0, 700.0, 1.0)  # the first one may yet turn out cheap
    assert ledger.grant(1.0) == []
    ledger.settle(first, 100.0)
    assert ledger.grant(1.0) == [], "it may yet turn out dear"
    ledger.leave(first)
    assert ledger.grant(1.0) == [waits]
    ledger.settle(waits, 950.0)
    ledger.leave(waits)
    assert ledger.spent(1.0) == (2, 1050.0), "more than expected is counted, too"
    with pytest.raises(OverBudget, match="over budget for 58 s: 1000 tokens of this stream"):
        ledger.ask("a", 5.0, 1.0, 2.0)


def test_what_never_fits_is_refused_for_ever() -> None:
    ledger = Ledger(allow(tokens_in_all=1000))
    with pytest.raises(OverBudget, match="one call may need 1001 tokens, of 1000 tokens of all streams") as caught:
        ledger.ask("a", math.inf, 1001.0, 0.0)
    assert caught.value.retry_after_s is None
    assert "max_tokens" in caught.value.hint


def test_the_earliest_deadline_goes_first() -> None:
    ledger = Ledger(allow(concurrency=1))
    running = take_and_hold(ledger, "z", 0.0)
    asked = {name: ledger.ask(name, deadline, 1.0, 0.0) for name, deadline in (("a", 9.0), ("b", 5.0), ("c", 7.0))}
    order = []
    for _ in asked:
        ledger.leave(running)
        (running,) = ledger.grant(0.0)
        order.append(running.stream)
    assert order == ["b", "c", "a"]


def take_and_hold(ledger: Ledger, stream: str, now: float) -> Request:
    request = ledger.ask(stream, math.inf, 1.0, now)
    assert ledger.grant(now) == [request]
    return request


def test_a_greedy_stream_with_short_deadlines_does_not_starve_the_others() -> None:
    ledger = Ledger(allow(concurrency=1))
    running = take_and_hold(ledger, "greedy", 0.0)
    patient = [ledger.ask(name, 1000.0, 1.0, 0.0) for name in ("a", "b")]
    turns: list[str] = []
    for second in range(1, 12):
        for _ in range(2):
            ledger.ask("greedy", second + 2.0, 1.0, float(second))
        ledger.leave(running)
        (running,) = ledger.grant(float(second))
        turns.append(running.stream)
    assert max(turns.index(each.stream) for each in patient) <= 2 * LEAD + 1, turns


def test_who_is_large_is_not_overtaken_for_ever_by_who_is_small() -> None:
    ledger = Ledger(allow(tokens_in_all=100, concurrency=9))
    take(ledger, "s", 0.0, 30.0)
    take(ledger, "s", 30.0, 30.0)
    large = ledger.ask("large", 200.0, 90.0, 31.0)
    small = ledger.ask("small", 300.0, 10.0, 31.0)
    assert ledger.grant(31.0) == [], "the small one would fit"
    assert ledger.grant(60.0) == []
    assert ledger.grant(90.0) == [large, small]


def test_a_stream_over_its_own_budget_holds_up_nobody() -> None:
    ledger = Ledger(allow(calls=1, concurrency=1))
    take(ledger, "a", 0.0)
    ledger.ask("a", 100.0, 1.0, 1.0)
    other = ledger.ask("b", 200.0, 1.0, 1.0)
    assert ledger.grant(1.0) == [other]


def test_a_stream_has_so_many_requests_and_not_more() -> None:
    ledger = Ledger(allow(concurrency=1))
    take_and_hold(ledger, "z", 0.0)
    for _ in range(MOST_WAITING):
        ledger.ask("a", 100.0, 1.0, 0.0)
    with pytest.raises(OverBudget, match="wait for the model already"):
        ledger.ask("a", 100.0, 1.0, 0.0)
    ledger.ask("b", 100.0, 1.0, 0.0)


def test_streams_that_are_gone_are_forgotten() -> None:
    ledger = Ledger(PLENTY)
    for n in range(1000):
        take(ledger, f"s{n}", float(n))
    assert len(ledger._streams) <= MINUTE_S + 1


class AnyUse(RuleBasedStateMachine):
    """Streams ask, work, settle, give up in any order while time goes on."""

    limits = Allowance(calls=4, tokens=900, calls_in_all=7, tokens_in_all=1500, concurrency=2)

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(self.limits)
        self.now = 0.0
        self.waiting: list[Request] = []
        self.working: list[Request] = []
        self.begun: list[tuple[float, Request]] = []
        self.cost: dict[Request, float] = {}
        self.overtaken: dict[Request, Counter[str]] = {}

    def grant(self) -> None:
        for request in self.ledger.grant(self.now):
            self.waiting.remove(request)
            self.working.append(request)
            self.begun.append((self.now, request))
            self.cost[request] = request.tokens
            assert request.deadline >= self.now

    @rule(
        stream=st.sampled_from("abc"),
        patience=st.floats(0, 100),
        tokens=st.integers(0, 1000),
    )
    def ask(self, stream: str, patience: float, tokens: int) -> None:
        try:
            request = self.ledger.ask(stream, self.now + patience, tokens, self.now)
        except OverBudget as error:
            refusable = tokens > self.limits.tokens or error.retry_after_s is None or error.retry_after_s > 0
            assert refusable
            return
        self.waiting.append(request)
        self.grant()

    @precondition(lambda self: self.working)
    @rule(data=st.data(), share=st.floats(0, 1), settled=st.booleans())
    def end(self, data: st.DataObject, share: float, settled: bool) -> None:
        request = self.working.pop(data.draw(st.integers(0, len(self.working) - 1)))
        self.cost[request] = 0.0
        if settled:
            self.cost[request] = float(round(request.tokens * share))
            self.ledger.settle(request, self.cost[request])
        else:
            self.begun = [(at, each) for at, each in self.begun if each is not request]
        self.ledger.leave(request)
        self.ledger.leave(request)
        self.grant()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.ledger.leave(self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1))))
        self.grant()

    @rule(seconds=st.floats(0.01, 90))
    def wait(self, seconds: float) -> None:
        """As the caller does: it looks again whenever the ledger says so, and who is too late goes away."""
        until = self.now + seconds
        for _ in range(1000):
            when = min([self.ledger.next(self.now), *(each.deadline for each in self.waiting)])
            assert when >= self.now
            if when > until:
                break
            self.now = when
            self.grant()
            for late in [each for each in self.waiting if each.deadline <= self.now]:
                self.waiting.remove(late)
                self.ledger.leave(late)
        else:
            raise AssertionError("it asks to be looked at again and again")
        self.now = until
        self.grant()
        for late in [each for each in self.waiting if each.deadline <= self.now]:
            self.waiting.remove(late)
            self.ledger.leave(late)

    @invariant()
    def no_more_than_allowed_in_any_minute(self) -> None:
        recent = [(at, each) for at, each in self.begun if at + MINUTE_S > self.now]
        assert len(recent) <= self.limits.calls_in_all
        assert sum(self.cost[each] for _, each in recent) <= self.limits.tokens_in_all
        for stream in "abc":
            mine = [each for _, each in recent if each.stream == stream]
            assert len(mine) <= self.limits.calls
            assert sum(self.cost[each] for each in mine) <= self.limits.tokens
        assert self.ledger.working == len(self.working) <= self.limits.concurrency
        assert self.ledger.waiting == len(self.waiting)
        assert self.ledger.spent(self.now) == (len(recent), sum(self.cost[each] for _, each in recent))

    @invariant()
    def nobody_waits_who_could_work(self) -> None:
        """Unless somebody who goes first waits for budget of all."""
        if self.ledger.next(self.now) == math.inf and len(self.working) < self.limits.concurrency:
            assert not self.waiting


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def budget(**limits: float) -> Budget:
    plenty = dict.fromkeys(
        ("calls_per_minute", "tokens_per_minute", "calls_per_minute_in_all", "tokens_per_minute_in_all"), 1e9
    )
    return Budget(VisionSettings.model_validate({**plenty, "concurrency": 8, **limits}), VirtualClock())


COST = Usage(80, 20)


@virtual_time
async def test_a_turn_waits_for_budget_until_its_deadline() -> None:
    now = asyncio.get_running_loop().time
    purse = budget(calls_per_minute=2)
    for _ in range(2):
        async with purse.turn("a", now() + 1, COST) as turn:
            await asyncio.sleep(1)
            turn.used(COST)
    with pytest.raises(OverBudget, match="over budget for 58 s"):
        async with purse.turn("a", now() + 20, COST):
            raise AssertionError("it had a turn")
    assert now() == 2, "told at once: there is no hope"
    async with purse.turn("a", now() + 60, COST) as turn:
        assert now() == 60
        turn.used(COST)
    assert purse.spent("a").calls == 2


@virtual_time
async def test_no_place_in_time() -> None:
    now = asyncio.get_running_loop().time
    purse = budget(concurrency=1)
    async with purse.turn("a", 1, COST):
        with pytest.raises(OverBudget, match="no turn in time: 1 answers are under way"):
            async with purse.turn("b", 5, COST):
                raise AssertionError("it had a turn")
        assert now() == 5
    async with purse.turn("b", 6, COST):
        assert now() == 5


@virtual_time
async def test_cancelled_waiting_or_working_gives_everything_back() -> None:
    purse = budget(concurrency=1, calls_per_minute=1, tokens_per_minute=100)

    async def work(stream: str) -> None:
        async with purse.turn(stream, 100, COST):
            await asyncio.sleep(50)

    working, waiting = asyncio.create_task(work("a")), asyncio.create_task(work("b"))
    await asyncio.sleep(1)
    assert purse.spent("a").tokens == 100
    assert (purse.spent().working, purse.spent().waiting) == (1, 1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert purse.spent().waiting == 0
    third = asyncio.create_task(work("b"))
    await asyncio.sleep(1)
    working.cancel()
    await asyncio.wait([working])
    assert purse.spent("a").tokens == purse.spent("a").calls == 0
    await asyncio.sleep(0)
    assert purse.spent().working == 1, "the place passed on"
    third.cancel()
    await asyncio.wait([third])
    assert purse.spent().working == purse.spent().calls == 0
    async with purse.turn("a", 100, COST):
        pass  # the whole budget is there again


@virtual_time
async def test_cancelled_just_when_its_turn_came() -> None:
    purse = budget(concurrency=1)

    async def work() -> None:
        async with purse.turn("a", 100, COST):
            pass

    async with purse.turn("z", 100, COST):
        first, second = asyncio.create_task(work()), asyncio.create_task(work())
        await asyncio.sleep(1)
    first.cancel()  # it was given the turn, and has not run yet
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert not second.cancelled()
    assert purse.spent().working == purse.spent().waiting == 0


@virtual_time
async def test_what_was_used_before_a_failure_counts() -> None:
    purse = budget()
    with pytest.raises(RuntimeError):
        async with purse.turn("a", 100, COST) as turn:
            turn.used(Usage(80, 1))
            assert purse.spent().tokens == 100, "it may yet cost all of it"
            turn.used(Usage(80, 7))
            raise RuntimeError("cut off")
    assert purse.spent() == purse.spent("a")
    assert (purse.spent().calls, purse.spent().tokens) == (1, 87)


@virtual_time
async def test_many_streams_share_what_there_is_by_turns() -> None:
    now = asyncio.get_running_loop().time
    purse = budget(calls_per_minute=30, calls_per_minute_in_all=60, concurrency=3)
    served: Counter[str] = Counter()
    starts: list[float] = []
    refused: Counter[str] = Counter()

    async def stream(name: str, patience: float, work: float) -> None:
        while now() < 600:
            try:
                async with purse.turn(name, now() + patience, COST) as turn:
                    starts.append(now())
                    await asyncio.sleep(work)
                    turn.used(COST)
                    served[name] += 1
            except OverBudget as error:
                refused[name] += 1
                await asyncio.sleep(error.retry_after_s or 1.0)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(stream("greedy", 61, 0.5))
        for name in "abc":
            tasks.create_task(stream(name, 90, 1.0))
    gaps = [later - begin for begin, later in zip(starts, starts[60:], strict=False)]
    assert min(gaps) > 60 - 1e-6, "more than 60 calls in a minute"
    assert sum(served.values()) > 500, "what there is, is used"
    assert min(served[name] for name in "abc") > 0.8 * served["greedy"], served
