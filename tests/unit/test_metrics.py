"""Time per stage."""

from __future__ import annotations

import time

import pytest

from streamcap.metrics import CPU_EVERY, Stages, StageTime
from tests.patience import PATIENCE_S


def test_a_stage_that_never_ran_took_no_time() -> None:
    assert Stages().times == {}
    assert StageTime().mean_ms == 0.0


def test_runs_are_counted_and_added_up() -> None:
    stages = Stages()
    for seconds in (0.1, 0.3, 0.2):
        stages.add("detect", seconds)
    stages.add("track", 1.0)
    detect = stages.times["detect"]
    assert (detect.count, detect.worst) == (3, 0.3)
    assert detect.seconds == pytest.approx(0.6)
    assert detect.mean_ms == pytest.approx(200)
    assert stages.times["track"].count == 1


def test_the_body_is_timed_also_when_it_raises() -> None:
    stages = Stages()
    with stages("gate"):
        time.sleep(0.02)
    with pytest.raises(RuntimeError), stages("gate"):
        raise RuntimeError
    gate = stages.times["gate"]
    assert gate.count == 2
    assert 0.019 <= gate.seconds < PATIENCE_S
    assert gate.worst >= 0.019


def test_stages_may_be_nested() -> None:
    stages = Stages()
    with stages("outer"), stages("inner"):
        time.sleep(0.001)
    assert stages.times["outer"].seconds >= stages.times["inner"].seconds


def test_processor_time_is_sampled_and_stands_for_all_runs() -> None:
    stages = Stages()
    begun, slept = time.thread_time(), 0.0
    for _ in range(4 * CPU_EVERY):
        with stages("busy"):
            sum(range(60_000))
        before = time.thread_time()
        with stages("asleep"):
            time.sleep(0.002)
        slept += time.thread_time() - before
    worked = time.thread_time() - begun - slept
    busy, asleep = stages.times["busy"], stages.times["asleep"]
    assert busy.count == asleep.count == 4 * CPU_EVERY
    # One in so many is measured; and a processor that is slow for a moment counts many times, or not at all.
    assert worked / 4 < busy.cpu < 4 * worked
    assert asleep.cpu < 0.5 * asleep.seconds
    assert [stages.sampled("busy"), stages.sampled("never")] == [False, False]
