"""The circuit breaker and the retry budget, on a virtual clock: time is a number that the test holds."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamcap.breaker import (
    FAILURES_IN_A_ROW,
    LAST_CALLS,
    REST_MOST_S,
    REST_S,
    RETRIES_SAVED,
    RETRY_SHARE,
    Breaker,
    BreakerState,
    Resting,
    RetryBudget,
    Trial,
)


def through(breaker: Breaker, now: float) -> Trial:
    asked = breaker.ask(now)
    assert isinstance(asked, Trial)
    return asked


def refused(breaker: Breaker, now: float) -> Resting:
    asked = breaker.ask(now)
    assert isinstance(asked, Resting)
    return asked


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW):
        assert breaker.state(now) is BreakerState.CLOSED
        through(breaker, now).failed("down", now)
    return breaker


def test_opens_after_failures_in_a_row_and_says_why_and_for_how_long() -> None:
    breaker = opened(10.0)
    assert breaker.state(10.0) is BreakerState.OPEN
    assert refused(breaker, 12.0) == Resting(REST_S - 2.0, "down")
    assert breaker.opened == 1


def test_one_success_begins_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(3):
        for _ in range(FAILURES_IN_A_ROW - 1):
            through(breaker, 0.0).failed("down", 0.0)
        for _ in range(2 * FAILURES_IN_A_ROW):
            through(breaker, 0.0).succeeded()
    assert breaker.state(0.0) is BreakerState.CLOSED


def test_opens_where_half_of_the_last_calls_fail() -> None:
    breaker = Breaker()
    for n in range(LAST_CALLS):
        if breaker.state(0.0) is not BreakerState.CLOSED:
            break
        trial = through(breaker, 0.0)
        trial.succeeded() if n % 2 else trial.failed("flaps", 0.0)
    assert breaker.state(0.0) is BreakerState.OPEN


def test_one_call_tries_whether_it_is_well_again() -> None:
    breaker = opened()
    probe = through(breaker, REST_S)
    assert breaker.state(REST_S) is BreakerState.HALF_OPEN
    assert refused(breaker, REST_S).seconds == 0.0
    probe.succeeded()
    assert breaker.state(REST_S) is BreakerState.CLOSED
    for _ in range(FAILURES_IN_A_ROW - 1):
        through(breaker, REST_S).failed("down", REST_S)
    assert breaker.state(REST_S) is BreakerState.CLOSED, "what was before is forgotten"


def test_rests_longer_each_time_up_to_a_limit_and_short_again_after_it_was_well() -> None:
    breaker, now, rests = opened(), 0.0, []
    for _ in range(8):
        rests.append(refused(breaker, now).seconds)
        now += rests[-1]
        through(breaker, now).failed("still down", now)
    assert rests[:3] == [REST_S, 2 * REST_S, 4 * REST_S]
    assert rests[-1] == REST_MOST_S
    now += REST_MOST_S
    through(breaker, now).succeeded()
    for _ in range(FAILURES_IN_A_ROW):
        through(breaker, now).failed("down again", now)
    assert refused(breaker, now) == Resting(REST_S, "down again")


def test_a_probe_that_is_called_off_leaves_its_place_to_the_next() -> None:
    breaker = opened()
    through(breaker, REST_S).dropped()
    probe = through(breaker, REST_S)
    probe.succeeded()
    probe.failed("told twice", REST_S)
    probe.dropped()
    assert breaker.state(REST_S) is BreakerState.CLOSED


def test_calls_from_before_it_opened_do_not_matter_when_they_end() -> None:
    breaker = Breaker()
    slow = [through(breaker, 0.0) for _ in range(3)]
    for _ in range(FAILURES_IN_A_ROW):
        through(breaker, 0.0).failed("down", 0.0)
    slow[0].succeeded()
    slow[1].failed("timed out", 4.0)
    assert refused(breaker, 4.0) == Resting(REST_S - 4.0, "down")
    probe = through(breaker, REST_S)
    slow[2].failed("timed out", REST_S)
    assert refused(breaker, REST_S).seconds == 0.0, "the probe still runs"
    probe.succeeded()
    assert breaker.state(REST_S) is BreakerState.CLOSED


class AnyServer(RuleBasedStateMachine):
    """Calls begin and end in any order, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now = Breaker(), 0.0
        self.running: list[Trial] = []
        self.probes = 0

    @rule()
    def call(self) -> None:
        state = self.breaker.state(self.now)
        asked = self.breaker.ask(self.now)
        if isinstance(asked, Trial):
            assert state is not BreakerState.OPEN
            self.running.append(asked)
        else:
            assert state is not BreakerState.CLOSED
            assert 0 <= asked.seconds <= REST_MOST_S

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["well", "ill", "dropped"]))
    def end(self, data: st.DataObject, how: str) -> None:
        trial = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        if how == "well":
            trial.succeeded()
        elif how == "ill":
            trial.failed("down", self.now)
        trial.dropped()

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def it_heals(self) -> None:
        """Whatever was before: once all calls are over and the rest is, one good call closes it."""
        while self.running:
            self.running.pop().dropped()
        self.now += REST_MOST_S
        through(self.breaker, self.now).succeeded()
        assert self.breaker.state(self.now) is BreakerState.CLOSED

    @invariant()
    def one_probe_at_a_time(self) -> None:
        assert sum(trial._probe for trial in self.running) <= 1


TestAnyServer = AnyServer.TestCase
TestAnyServer.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


def test_retries_are_a_share_of_the_calls() -> None:
    budget = RetryBudget()
    assert sum(budget.retry() for _ in range(100)) == RETRIES_SAVED, "a burst is borne"
    assert not budget.retry()
    calls = 1000
    retried = 0
    for _ in range(calls):
        budget.called()
        retried += budget.retry()
    assert abs(retried - RETRY_SHARE * calls) <= 1
