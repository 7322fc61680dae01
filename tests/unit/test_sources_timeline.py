"""Raw time stamps to media time: sound ones are kept, broken ones never break the line."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.sources.timeline import ArrivalFilter, Playout, Sampler, SenderClock, Timeline

WRAP = 2**33 / 90_000
STAMPS = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=60)


def times(line: Timeline, raws: list[float | None]) -> list[float]:
    return [line.place(raw).time for raw in raws]


@given(STAMPS)
def test_any_stamps_give_a_line_that_starts_at_zero_and_only_runs_forward(raws: list[float | None]) -> None:
    placed = times(Timeline(), raws)
    assert placed[0] == 0.0
    assert all(a < b for a, b in itertools.pairwise(placed))


@given(STAMPS, st.lists(st.floats(0, 30), min_size=60, max_size=60))
def test_a_live_line_runs_forward_too(raws: list[float | None], elapsed: list[float]) -> None:
    line = Timeline()
    placed = [line.place(raw, None if n == 0 else elapsed[n]).time for n, raw in enumerate(raws)]
    assert all(a < b for a, b in itertools.pairwise(placed))


@given(STAMPS)
def test_no_step_is_longer_than_what_is_believed(raws: list[float | None]) -> None:
    placed = times(Timeline(max_jump=5.0, interval=0.1), raws)
    assert all(b - a <= 5.0 + 1e-6 for a, b in itertools.pairwise(placed))


@given(st.floats(-1e5, 1e5), st.lists(st.floats(0.001, 9.9), max_size=50))
def test_sound_stamps_keep_their_distances_and_never_count_as_a_jump(first: float, steps: list[float]) -> None:
    line = Timeline(wrap=WRAP)
    raws = list(itertools.accumulate(steps, initial=first))
    stamps = [line.place(raw) for raw in raws]
    assert [s.jump for s in stamps] == [None] * len(raws)
    assert [s.time for s in stamps] == pytest.approx([raw - first for raw in raws], abs=1e-6)


@given(st.floats(-80, -0.1))
def test_a_counter_that_rolls_over_is_unwound(start: float) -> None:
    line = Timeline(wrap=WRAP)
    raws: list[float | None] = [(start + n * 2.0) % WRAP for n in range(60)]
    assert times(line, raws) == pytest.approx([n * 2.0 for n in range(60)], abs=1e-5)


def test_a_jump_forward_and_one_back_are_told_and_rebased() -> None:
    line = Timeline(interval=0.1)
    assert times(line, [1.4, 1.5, 1.6]) == pytest.approx([0.0, 0.1, 0.2])
    forward = line.place(3601.4)
    assert forward.time == pytest.approx(0.3, abs=0.02)
    assert forward.jump == pytest.approx(3599.8)
    assert times(line, [3601.4 + n / 10 for n in range(1, 20)])[-1] == pytest.approx(2.2, abs=0.02)
    back = line.place(6.4)
    assert back.jump == pytest.approx(6.4 - 3603.3)
    assert back.time == pytest.approx(2.3, abs=0.02)


def test_a_lone_wrong_stamp_heals() -> None:
    line = Timeline(interval=0.1)
    assert times(line, [5.0, 5.1, 47_000.0, 5.3, 5.4]) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_missing_stamps_are_filled_in() -> None:
    line = Timeline(interval=0.5)
    assert times(line, [None, None, None]) == pytest.approx([0.0, 0.5, 1.0])
    assert times(line, [80.0, 80.5]) == pytest.approx([1.5, 2.0])


def test_missing_stamps_of_a_live_source_follow_the_clock() -> None:
    line = Timeline(interval=0.04)
    line.place(None)
    assert line.place(None, 0.2).time == pytest.approx(0.2)
    assert line.place(None, 0.3).time == pytest.approx(0.5)


def test_stamps_that_stand_still_do_not_stop_time() -> None:
    placed = times(Timeline(interval=0.1), [7.0] * 100)
    assert placed[-1] > 0.8


def test_a_live_pause_that_the_clock_confirms_is_no_jump() -> None:
    line = Timeline()
    line.place(1.0)
    stamp = line.place(61.0, 60.2)
    assert (stamp.time, stamp.jump) == (60.0, None)
    jumped = line.place(121.0, 0.1)
    assert jumped.jump == pytest.approx(60.0)
    assert jumped.time == pytest.approx(60.1)


def test_after_a_seek_time_still_counts_from_the_first_picture() -> None:
    assert Timeline(origin=1.4).place(31.4).time == pytest.approx(30.0)


@given(st.floats(0.5, 60), st.floats(0.5, 60), st.integers(1, 300))
def test_sampling_never_exceeds_its_rate(source: float, wanted: float, n: int) -> None:
    sampler = Sampler(wanted)
    taken = [t for t in (i / source for i in range(n)) if sampler.take(t)]
    assert len(taken) <= taken[-1] * wanted + 1.26
    assert len(taken) >= min(n, (n - 1) / source * wanted * 0.75)


@pytest.mark.parametrize(("source", "wanted", "every"), [(25, 5, 5), (30, 5, 6), (10, 5, 2), (4, 5, 1), (5, 5, 1)])
def test_even_rates_are_sampled_evenly(source: int, wanted: int, every: int) -> None:
    sampler = Sampler(wanted)
    assert [i for i in range(60) if sampler.take(i / source)] == list(range(0, 60, every))


@given(st.lists(st.floats(-0.04, 0.04), min_size=20, max_size=60))
def test_a_source_that_jitters_around_the_rate_keeps_its_pictures(jitter: list[float]) -> None:
    sampler = Sampler(5.0)
    taken = [sampler.take(n * 0.2 + j) for n, j in enumerate(jitter)]
    assert sum(taken) >= 0.8 * len(taken)


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 5.0)), min_size=1, max_size=50))
def test_nothing_is_captured_after_it_arrived(pictures: list[tuple[float, float]]) -> None:
    arrivals, time, arrived = ArrivalFilter(), 0.0, 1000.0
    for step, delay in pictures:
        time += step
        arrived = max(arrived, 1000.0 + time + delay)
        captured = arrivals.captured(time, arrived)
        assert captured <= arrived
        assert captured >= 1000.0 + time - 1e-6  # never before the quickest way could have brought it


def test_a_burst_after_a_hold_up_is_as_old_as_it_is() -> None:
    arrivals = ArrivalFilter()
    for n in range(10):
        arrivals.captured(n * 0.1, 50.0 + n * 0.1)
    assert arrivals.captured(1.0, 53.0) == pytest.approx(51.0)


def test_drift_between_the_clocks_is_forgotten() -> None:
    arrivals = ArrivalFilter(window=10.0)
    for n in range(2000):  # the camera's clock is 1 % slow: age must not grow for ever
        captured = arrivals.captured(n * 0.099, n * 0.1)
    assert captured == pytest.approx(199.9, abs=0.2)


def test_a_sender_whose_clock_can_be_right_is_believed() -> None:
    sender = SenderClock()
    for n in range(100):  # 80 ms on the way, and now and then held back
        sent = 1000.0 + n / 10
        assert sender.captured(sent, sent + 0.08 + (n % 7 == 0) * 0.5) == pytest.approx(sent)


@pytest.mark.parametrize("wrong", [-3600.0, -5.0, 5.0, 1e9])
def test_a_sender_whose_clock_is_wrong_is_not_believed(wrong: float) -> None:
    sender = SenderClock()
    assert all(sender.captured(1000.0 + n + wrong, 1000.08 + n) is None for n in range(50))


def test_nothing_was_captured_in_the_future() -> None:
    sender = SenderClock()
    assert [sender.captured(1000.2 + n, 1000.0 + n) for n in range(3)] == [1000.0, 1001.0, 1002.0]


def test_a_sender_that_sets_its_clock_is_believed_within_the_window() -> None:
    sender = SenderClock(window=10.0)
    seen = [sender.captured(1000.0 + n - (600.0 if n < 30 else 0.0), 1000.1 + n) for n in range(60)]
    assert all(each is None for each in seen[:30])
    assert all(each is not None for each in seen[45:])


class Playlist:
    """A server of segments that a reader asks for one after the other, each when the one before was played.

    Args:
        length: seconds of a segment, at ``rate`` pictures a second; published as soon as it is over, with ``late``
            seconds more for segment n.
    """

    def __init__(self, length: float, late: Callable[[int], float] = lambda _: 0.0, rate: float = 10.0) -> None:
        self.length, self.late, self.rate = length, late, rate
        self.now = 3 * length  # three segments are there when it is called

    def play(self, playout: Playout, segments: int) -> list[tuple[float, float]]:
        """Media time and hand-over of each picture."""
        shown = []
        for n in range(segments):
            published = (n + 1) * self.length + self.late(n)
            waited, self.now = max(0.0, published - self.now), max(self.now, published)
            for k in range(round(self.length * self.rate)):
                time = n * self.length + k / self.rate
                due = playout.due(time, self.now, waited if k == 0 else 0.0)
                assert due >= self.now
                self.now = due
                shown.append((time, due))
        return shown


@pytest.mark.parametrize("length", [1.0, 2.0, 6.0, 10.0])
def test_what_comes_in_bursts_is_played_evenly(length: float) -> None:
    shown = Playlist(length).play(Playout(), 12)
    steady = shown[round(4 * length * 10) :]
    steps = [b[1] - a[1] for a, b in pairwise(steady)]
    assert max(steps) < 0.1 + 0.06 * length  # at 5 % more it gains that on one segment, and then waits
    assert min(steps) > 0.09
    # A segment is there when it is over: the oldest picture of it is as old as that, and so is each one then.
    assert max(due - time for time, due in steady) < length + 0.2


def test_what_lies_there_at_the_beginning_is_passed_over() -> None:
    shown = Playlist(4.0).play(Playout(), 4)
    assert shown[3 * 40 - 1][1] == 12.0, "three segments at once"
    assert shown[-1][1] == pytest.approx(16.0 + 3.9)


def test_a_late_segment_moves_the_play_back_and_is_made_up_for() -> None:
    shown = Playlist(2.0, lambda n: 1.0 if n == 10 else 0.0).play(Playout(), 60)
    held = [due - time for time, due in shown]
    assert max(held[10 * 20 : 12 * 20]) == pytest.approx(3.0, abs=0.2)
    assert held[-1] < 2.2, "a minute later"
    assert max(b[1] - a[1] for a, b in pairwise(shown[11 * 20 :])) < 0.4


def test_what_piled_up_in_an_outage_is_not_played() -> None:
    shown = Playlist(4.0, lambda n: 40.0 - 4.0 * (n - 10) if 10 <= n < 20 else 0.0).play(Playout(), 40)
    held = [due - time for time, due in shown]
    assert max(held[25 * 40 :]) < 5.0, "it is not forty seconds late for ever"
