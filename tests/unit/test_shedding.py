"""Shedding: falls under load, rises when there is room, and does not swing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap import shedding
from streamcap.shedding import Shedder


def run(shedder: Shedder, load: Callable[[float], float], seconds: int, *, most: float = 5.0) -> list[float]:
    """The shares of so many seconds of a machine whose load follows from the share."""
    shares = []
    for _ in range(seconds):
        shedder.update(load(shedder.share), 1.0, most)
        shares.append(shedder.share)
    return shares


def test_a_machine_that_keeps_up_is_left_alone() -> None:
    shedder = Shedder(1.0, 2)
    assert set(run(shedder, lambda _: 0.8, 300)) == {1.0}
    assert shedder.target(5.0) == 5.0


def test_all_are_lowered_evenly_and_none_below_the_floor() -> None:
    shedder = Shedder(3.0, 2)
    run(shedder, lambda _: 1.0, 60)
    assert shedder.share == pytest.approx(0.6)
    assert [shedder.target(wanted) for wanted in (5.0, 10.0, 2.0)] == pytest.approx([3.0, 6.0, 2.0])


def test_a_moment_of_load_changes_nothing() -> None:
    shedder = Shedder(1.0, 2)
    run(shedder, lambda _: 0.5, 10)
    assert set(run(shedder, lambda _: 1.0, 3)) == {1.0}
    assert set(run(shedder, lambda _: 0.5, 30)) == {1.0}


@given(st.floats(0.9, 6.0))
def test_it_settles_where_the_load_lets_it_and_stays_there(cost: float) -> None:
    """Work that is in proportion to the share: after a while the share no longer moves."""
    shedder = Shedder(0.5, 2)
    shares = run(shedder, lambda share: min(1.0, cost * share), 900)
    assert len(set(shares[120:])) == 1
    assert cost * shares[-1] <= 1.0 or shares[-1] == pytest.approx(0.1)


def test_it_comes_back_in_steps_when_the_load_is_gone() -> None:
    shedder = Shedder(1.0, 2)
    run(shedder, lambda _: 1.0, 60)
    low = shedder.share
    shares = run(shedder, lambda _: 0.1, 240)
    assert low == pytest.approx(0.2)
    assert shares[-1] == 1.0
    assert all(a <= b for a, b in pairwise(shares))
    assert max(b / a for a, b in pairwise(shares)) <= shedding.STEP_UP_MOST + 1e-9
    assert shares.index(1.0) < 40, "what was a moment's load is not felt for minutes"


def test_a_load_that_comes_back_with_each_rise_is_tried_ever_more_seldom() -> None:
    """A decoder's burst, say: the work is small at one share and far too much just above it."""
    shedder = Shedder(0.5, 2)
    shares = run(shedder, lambda share: 0.4 if share < 0.8 else 1.0, 3600)
    rises = [t for t, (a, b) in enumerate(pairwise(shares)) if b > a]
    assert len(rises) < 40
    assert rises[-1] - rises[-2] > 5 * shedding.UP_AFTER_S


def test_who_needed_a_low_share_is_gone() -> None:
    shedder = Shedder(3.0, 2)
    run(shedder, lambda _: 1.0, 90, most=30.0)
    assert shedder.share == pytest.approx(0.1)
    shedder.update(0.1, 1.0, 5.0)
    assert shedder.share == pytest.approx(0.6)


def test_room_is_judged_at_the_floor_and_the_unmeasured_count() -> None:
    shedder = Shedder(2.5, 2)
    assert shedder.room(0.0, streams=0, seen=0)
    assert not shedder.room(5.0, streams=30, seen=0), "a burst of additions is not let in on trust"
    run(shedder, lambda _: 0.8, 30)
    # 0.8 at 5 frames a second are 0.4 at the floor, 0.05 for each of eight.
    assert shedder.room(5.0, streams=8, seen=8)
    assert shedder.room(5.0, streams=17, seen=8)
    assert not shedder.room(5.0, streams=19, seen=8)
    run(shedder, lambda _: 1.0, 60)
    assert not shedder.room(5.0, streams=8, seen=8)


def test_streams_that_are_added_one_after_the_other_are_not_counted_twice() -> None:
    """One was there, four came five seconds ago: the load is that of all of them by now, and all are at the floor."""
    shedder = Shedder(5.0, 2)
    run(shedder, lambda _: 5 * 0.08, 30)
    assert shedder.room(5.0, streams=5, seen=1 + 4 * 0.5)
    assert not shedder.room(5.0, streams=5, seen=1), "as if their cost were still to come"
    assert not shedder.room(5.0, streams=40, seen=0.5), "a part of one stream tells nothing of the others' cost"


@pytest.mark.parametrize("cost", [1.0, 1.2, 1.5])
def test_it_falls_no_further_than_it_must(cost: float) -> None:
    """The reading lags behind the load: a step is given the time to be seen before there is another."""
    shedder = Shedder(0.5, 2)
    shares = run(shedder, lambda share: min(1.0, cost * share), 120)
    assert min(shares) > shedding.HIGH / cost * shedding.STEP_DOWN**2


def test_what_all_cameras_show_at_once_now_and_then_does_not_hold_them_at_the_floor() -> None:
    """A cut in all of them every twenty seconds, say: two seconds of all that can be done."""
    shedder, shares = Shedder(3.0, 2), []
    for second in range(300):
        shedder.update(1.0 if second % 20 < 2 else 0.85 * shedder.share, 1.0, 5.0)
        shares.append(shedder.share)
    assert min(shares[60:]) > 0.8
