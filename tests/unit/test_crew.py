"""Work of one stream in the worker threads of all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from streamcap.crew import Crew
from streamcap.metrics import CPU_EVERY, Stages
from tests.patience import PATIENCE_S


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as workers:
        yield workers


def test_results_come_in_the_order_of_the_items(pool: ThreadPoolExecutor) -> None:
    def late(n: int) -> int:
        time.sleep(0.01 * (5 - n))
        return n * n

    assert Crew(pool, Stages()).begin("s", late, range(6))() == [0, 1, 4, 9, 16, 25]


def test_no_items_no_work(pool: ThreadPoolExecutor) -> None:
    assert Crew(pool, Stages()).begin("s", str, [])() == []


def test_what_no_worker_has_begun_is_done_by_who_waits(pool: ThreadPoolExecutor) -> None:
    busy, both = threading.Event(), threading.Barrier(3)

    def block() -> None:
        both.wait(timeout=PATIENCE_S)
        busy.wait(timeout=PATIENCE_S)

    for _ in range(2):
        pool.submit(block)
    both.wait(timeout=PATIENCE_S)
    try:
        finish = Crew(pool, Stages()).begin("s", lambda _: threading.current_thread(), "abc")
        assert finish() == [threading.current_thread()] * 3
    finally:
        busy.set()


def test_it_raises_what_the_call_raised(pool: ThreadPoolExecutor) -> None:
    finish = Crew(pool, Stages()).begin("s", lambda n: 1 // n, [1, 0, 2])
    with pytest.raises(ZeroDivisionError):
        finish()


def test_processor_time_of_workers_counts_for_the_stage(pool: ThreadPoolExecutor) -> None:
    stages = Stages()
    crew = Crew(pool, stages)
    began = threading.Barrier(3)

    def work(_: int) -> int:
        began.wait(timeout=PATIENCE_S)
        return sum(range(60_000))

    for _ in range(CPU_EVERY):
        with stages.part("s"):
            finish = crew.begin("s", work, range(2))
            began.wait(timeout=PATIENCE_S)  # both are in the workers
        with stages("s"):
            finish()
    told = stages.times["s"]
    assert told.count == CPU_EVERY
    assert told.cpu > 0
