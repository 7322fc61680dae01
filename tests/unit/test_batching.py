"""The micro-batcher: whatever comes in, each gets its own answer, in bounded batches, and nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcap.errors import ModelError, OutOfDeviceMemory, Overloaded
from streamcap.models.batching import MicroBatcher
from tests.patience import LONG_S, PATIENCE_S, SOON_S


class Engine:
    """Doubles numbers; negative ones cannot be done, and so many at once do not fit.

    Attributes:
        batches: what was asked for, in order.
        gate: held closed, the engine stands still in its first batch.
    """

    def __init__(self, *, fits: int = 1000) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self._fits = fits

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        if len(items) > self._fits:
            raise OutOfDeviceMemory("full")
        if any(item < 0 for item in items):
            raise ModelError("cannot be done")
        return [2 * item for item in items]


def held(engine: Engine, batcher: MicroBatcher[int, int]) -> Future[int]:
    """Bring the engine to a stand in a batch of its own, so that what comes next has to wait."""
    engine.gate.clear()
    first = batcher.submit(1000)
    assert engine.entered.wait(PATIENCE_S)
    return first


@given(
    items=st.lists(st.integers(-3, 50), max_size=40),
    size=st.integers(1, 9),
    fits=st.integers(1, 9),
    queue=st.integers(1, 9),
)
@settings(max_examples=60)
def test_each_gets_its_own_answer_and_a_bad_one_fails_alone(items: list[int], size: int, fits: int, queue: int) -> None:
    engine = Engine(fits=fits)
    with closing(MicroBatcher(engine, size=size, delay_s=0, queue=queue)) as batcher:
        futures = [batcher.submit(item, wait_s=PATIENCE_S) for item in items]
        for item, future in zip(items, futures, strict=True):
            if item < 0:
                with pytest.raises(ModelError, match="cannot be done"):
                    future.result(PATIENCE_S)
            else:
                assert future.result(PATIENCE_S) == 2 * item
    assert all(len(batch) <= size for batch in engine.batches)
    stats = batcher.stats
    assert (stats.requests, stats.failed) == (len(items), sum(item < 0 for item in items))
    assert stats.batches == len(engine.batches)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), min_size=1, max_size=20), st.integers(1, 4))
@settings(max_examples=40)
def test_the_earliest_deadline_goes_first_and_equals_in_order(requests: list[tuple[int, int]], size: int) -> None:
    engine = Engine()
    with closing(MicroBatcher(engine, size=size, delay_s=0)) as batcher:
        held(engine, batcher)
        futures = [batcher.submit(item, deadline=float(due)) for due, item in requests]
        engine.gate.set()
        for future in futures:
            future.result(PATIENCE_S)
    done = [item for batch in engine.batches[1:] for item in batch]
    assert done == [item for _, item in sorted(requests, key=lambda request: request[0])]


@given(st.lists(st.booleans(), min_size=1, max_size=20))
@settings(max_examples=40)
def test_what_is_cancelled_before_its_batch_never_reaches_the_engine(cancel: list[bool]) -> None:
    engine = Engine()
    with closing(MicroBatcher(engine, size=4, delay_s=0)) as batcher:
        held(engine, batcher)
        futures = [batcher.submit(n) for n in range(len(cancel))]
        for future, wish in zip(futures, cancel, strict=True):
            assert not wish or future.cancel()
        engine.gate.set()
        kept = [n for n, wish in enumerate(cancel) if not wish]
        assert [futures[n].result(PATIENCE_S) for n in kept] == [2 * n for n in kept]
    assert [item for batch in engine.batches[1:] for item in batch] == kept
    assert all(future.cancelled() == wish for future, wish in zip(futures, cancel, strict=True))


def test_requests_of_many_threads_share_batches() -> None:
    engine = Engine()
    with closing(MicroBatcher(engine, size=8, delay_s=PATIENCE_S)) as batcher, ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda n: batcher.map([n])[0], range(8)))
    assert results == [2 * n for n in range(8)]
    assert len(engine.batches) < 8


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_as_many_batches_are_in_the_engine_as_it_takes(lanes: int) -> None:
    inside, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(lanes)

    def run(items: Sequence[int]) -> list[int]:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        together.wait(PATIENCE_S)  # nobody goes on before all lanes are full
        with lock:
            inside -= 1
        return [2 * item for item in items]

    with closing(MicroBatcher[int, int](run, size=1, delay_s=0, lanes=lanes)) as batcher:
        assert batcher.map(range(6 * lanes), timeout_s=PATIENCE_S) == [2 * n for n in range(6 * lanes)]
    assert most == lanes
    assert batcher.stats.batches == 6 * lanes


def test_a_full_batch_waits_for_nobody_and_a_lone_request_not_long() -> None:
    engine = Engine()
    with closing(MicroBatcher(engine, size=2, delay_s=LONG_S)) as batcher:
        assert batcher.map([1, 2], timeout_s=PATIENCE_S) == [2, 4]
    with closing(MicroBatcher(engine, size=100, delay_s=0.05)) as batcher:
        began = time.monotonic()
        assert batcher.map([3], timeout_s=PATIENCE_S) == [6]
        assert 0.04 < time.monotonic() - began < SOON_S


def test_a_full_queue_says_so_and_takes_more_when_there_is_room() -> None:
    engine = Engine()
    with closing(MicroBatcher(engine, size=1, delay_s=0, queue=2)) as batcher:
        held(engine, batcher)
        waiting = [batcher.submit(n) for n in range(2)]
        with pytest.raises(Overloaded, match="2 requests wait"):
            batcher.submit(3)
        with pytest.raises(Overloaded):
            batcher.submit(3, wait_s=0.01)
        assert waiting[0].cancel()  # a cancelled request holds no place
        last = batcher.submit(4)
        engine.gate.set()
        assert last.result(PATIENCE_S) == 8


def test_more_items_than_the_queue_holds_go_in_turns() -> None:
    engine = Engine()
    with closing(MicroBatcher(engine, size=3, delay_s=0, queue=4)) as batcher:
        assert batcher.map(range(11)) == [2 * n for n in range(11)]


def test_a_stuck_engine_is_noticed_and_what_waited_is_cancelled() -> None:
    engine = Engine()
    batcher = MicroBatcher(engine, size=1, delay_s=0)
    held(engine, batcher)
    with pytest.raises(ModelError, match="no result within"):
        batcher.map([1, 2], timeout_s=0.02)
    with pytest.raises(ModelError, match="stuck"):
        batcher.close(timeout_s=0.02)
    engine.gate.set()
    batcher.close()
    assert engine.batches == [[1000]]


def test_closed_it_fails_what_waits_and_takes_no_more() -> None:
    engine = Engine()
    batcher = MicroBatcher(engine, size=1, delay_s=0)
    running = held(engine, batcher)
    waiting = batcher.submit(2)
    thread = threading.Thread(target=batcher.close)
    thread.start()
    with pytest.raises(ModelError, match="closed"):
        waiting.result(PATIENCE_S)
    engine.gate.set()
    thread.join(PATIENCE_S)
    assert running.result(0) == 2000
    with pytest.raises(ModelError, match="closed"):
        batcher.submit(3)
    batcher.close()


def test_a_device_that_fails_for_good_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with closing(MicroBatcher(Engine(), size=8, delay_s=PATIENCE_S)) as batcher:
        for _ in range(5):
            with pytest.raises(ModelError, match="cannot be done"):
                batcher.map([-1] * 8)
    assert batcher.stats.failed == 40
    assert caplog.text.count("its halves are tried") == 1


def test_an_engine_that_answers_too_little_fails_those_who_asked() -> None:
    with (
        closing(MicroBatcher[int, int](lambda items: [], delay_s=0)) as batcher,
        pytest.raises(ModelError, match="0 results"),
    ):
        batcher.map([1, 2])


def test_what_a_batch_may_hold_can_change() -> None:
    engine, most = Engine(), 4
    with closing(MicroBatcher(engine, size=lambda: most, delay_s=0)) as batcher:
        held(engine, batcher)
        futures = [batcher.submit(n) for n in range(9)]
        most = 2
        engine.gate.set()
        assert [future.result(PATIENCE_S) for future in futures] == [2 * n for n in range(9)]
    assert [len(batch) for batch in engine.batches[1:]] == [2, 2, 2, 2, 1]


def test_numbers_that_cannot_be() -> None:
    for wrong in ({"size": 0}, {"queue": 0}, {"lanes": 0}, {"delay_s": -1}):
        with pytest.raises(ValueError, match="at least"):
            MicroBatcher[int, int](list, **wrong)  # type: ignore[arg-type]


async def test_the_event_loop_goes_on_meanwhile() -> None:
    engine = Engine()
    with closing(MicroBatcher(engine, size=4, delay_s=0)) as batcher:
        held(engine, batcher)
        task = asyncio.create_task(batcher.gather([1, 2, 3]))
        for _ in range(5):
            await asyncio.sleep(0)  # the loop turns while the engine stands still
        assert not task.done()
        engine.gate.set()
        assert await asyncio.wait_for(task, PATIENCE_S) == [2, 4, 6]
        with pytest.raises(ModelError, match="cannot be done"):
            await batcher.gather([1, -1])


async def test_a_task_is_told_of_an_engine_that_is_stuck_and_of_one_that_is_closed() -> None:
    engine = Engine()
    batcher = MicroBatcher(engine, size=1, delay_s=0)
    held(engine, batcher)
    with pytest.raises(ModelError, match="no result within"):
        await batcher.gather([1], timeout_s=0.02)
    task = asyncio.create_task(batcher.gather([2]))
    await asyncio.sleep(0)
    closing_it = asyncio.create_task(asyncio.to_thread(batcher.close))
    with pytest.raises(ModelError, match="closed"):
        await task
    engine.gate.set()
    await closing_it
    assert engine.batches == [[1000]]


async def test_cancelled_it_leaves_nothing_in_the_queue() -> None:
    engine = Engine()
    with closing(MicroBatcher(engine, size=4, delay_s=0)) as batcher:
        held(engine, batcher)
        task = asyncio.create_task(batcher.gather([1, 2]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        engine.gate.set()
        assert await asyncio.wait_for(batcher.gather([7]), PATIENCE_S) == [14]
    assert engine.batches == [[1000], [7]]
