"""Channels between threads and tasks, and the clock."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcap.flow import Channel, ChannelClosed, SystemClock
from tests.patience import PATIENCE_S

Policy = Literal["newest", "block"]


@contextlib.asynccontextmanager
async def thread(work: Callable[[], None]) -> AsyncIterator[threading.Thread]:
    """A thread beside the block; waits for it at the end without holding up the loop."""
    worker = threading.Thread(target=work, name="producer")
    worker.start()
    try:
        yield worker
    finally:
        await asyncio.to_thread(worker.join, PATIENCE_S)
        assert not worker.is_alive()


async def rest(channel: Channel[int]) -> list[int]:
    async with asyncio.timeout(PATIENCE_S):
        return [item async for item in channel]


def balanced(channel: Channel[int]) -> bool:
    return channel.puts == channel.gets + channel.drops + channel.pending


async def test_newest_keeps_the_newest_and_counts_what_it_drops() -> None:
    channel: Channel[int] = Channel(2, "newest")
    for item in range(5):
        channel.put(item)
    assert (channel.pending, channel.drops) == (2, 3)
    channel.close()
    assert await rest(channel) == [3, 4]
    assert (channel.puts, channel.gets, channel.drops, channel.pending) == (5, 2, 3, 0)


@given(
    st.integers(1, 4),
    st.lists(st.sampled_from(["put", "put", "get", "discard", "close"]), max_size=40),
)
@settings(deadline=None, max_examples=60)
def test_nothing_gets_lost_uncounted(capacity: int, steps: list[str]) -> None:
    async def play() -> None:
        channel: Channel[int] = Channel(capacity, "newest")
        waiting: list[int] = []
        closed = False
        for number, step in enumerate(steps):
            if step == "put" and not closed:
                channel.put(number)
                waiting = [*waiting, number][-capacity:]
            elif step == "put":
                with pytest.raises(ChannelClosed):
                    channel.put(number)
            elif step == "get" and (waiting or closed):
                got = await anext(aiter(channel), None)
                assert got == (waiting.pop(0) if waiting else None)
            elif step == "close":
                channel.close()
                closed = True
            elif step == "discard":
                channel.discard()
                waiting, closed = [], True
            assert balanced(channel)
            assert channel.pending == len(waiting)

    asyncio.run(play())


@pytest.mark.parametrize("capacity", [1, 3])
async def test_block_makes_the_producer_wait_and_loses_nothing(capacity: int) -> None:
    channel: Channel[int] = Channel(capacity, "block")
    most = 0

    def produce() -> None:
        nonlocal most
        for item in range(500):
            channel.put(item)
            most = max(most, channel.pending)
        channel.close()

    async with thread(produce):
        assert await rest(channel) == list(range(500))
    assert most <= capacity
    assert (channel.puts, channel.gets, channel.drops, channel.pending) == (500, 500, 0, 0)


async def test_newest_never_makes_the_producer_wait_and_ends_with_the_last_item() -> None:
    channel: Channel[int] = Channel(1, "newest")

    def produce() -> None:
        for item in range(20_000):
            channel.put(item)
        channel.close()

    got: list[int] = []
    async with thread(produce), asyncio.timeout(PATIENCE_S):
        async for item in channel:
            got.append(item)
            await asyncio.sleep(0)
    assert got == sorted(set(got))
    assert got[-1] == 19_999
    assert channel.puts == 20_000
    assert balanced(channel)


@pytest.mark.parametrize("end", ["close", "discard"])
async def test_a_producer_that_waits_for_room_learns_that_nobody_reads_any_more(end: str) -> None:
    channel: Channel[int] = Channel(1, "block")
    outcome: list[str] = []
    full = threading.Event()

    def produce() -> None:
        channel.put(0)
        channel.put(1)
        full.set()
        try:
            channel.put(2)
        except ChannelClosed:
            outcome.append("closed")

    async with thread(produce):
        async with asyncio.timeout(PATIENCE_S):
            async for _ in channel:
                break
        assert await asyncio.to_thread(full.wait, PATIENCE_S)
        await asyncio.sleep(0.01)  # the third waits by now, most likely; if not yet, it must be told as well
        getattr(channel, end)()
    assert outcome == ["closed"]
    assert channel.puts == 2
    assert balanced(channel)
    assert channel.pending == (1 if end == "close" else 0)


async def test_what_waits_is_delivered_before_the_end() -> None:
    channel: Channel[int] = Channel(3, "block")
    channel.put(1)
    channel.put(2)
    channel.close()
    assert await rest(channel) == [1, 2]
    assert await rest(channel) == []


async def test_an_error_of_the_producer_reaches_the_consumer_behind_what_waits() -> None:
    channel: Channel[int] = Channel(3, "block")
    channel.put(1)
    channel.close(OSError("the camera burns"))
    channel.close()  # the first call wins
    channel.close(ValueError("too late"))
    got = []
    for _ in range(2):  # and it is told whoever asks again
        with pytest.raises(OSError, match="burns"):
            async for item in channel:
                got.append(item)
    assert got == [1]


async def test_closing_wakes_a_consumer_that_waits() -> None:
    channel: Channel[int] = Channel(1, "newest")
    reader = asyncio.create_task(rest(channel))
    await asyncio.sleep(0.01)
    assert not reader.done()
    async with thread(channel.close):
        assert await asyncio.wait_for(reader, PATIENCE_S) == []


async def test_a_cancelled_wait_loses_nothing() -> None:
    channel: Channel[int] = Channel(4, "block")
    got: list[int] = []

    def produce() -> None:
        for item in range(300):
            channel.put(item)
            if item % 7 == 0:
                time.sleep(0.0005)
        channel.close()

    cancelled = 0
    async with thread(produce), asyncio.timeout(PATIENCE_S):
        while True:
            waiting = asyncio.ensure_future(anext(aiter(channel), None))
            await asyncio.sleep(0)
            if not waiting.done() and len(got) % 3 == 0:
                waiting.cancel()
                if await asyncio.wait([waiting]) and waiting.cancelled():
                    cancelled += 1
                    continue
            item = await waiting
            if item is None:
                break
            got.append(item)
    assert got == list(range(300))
    assert cancelled > 0
    assert balanced(channel)


async def test_nothing_is_something() -> None:
    channel: Channel[int | None] = Channel(2, "block")
    channel.put(None)
    channel.put(1)
    channel.close()
    async with asyncio.timeout(PATIENCE_S):
        assert [item async for item in channel] == [None, 1]


def test_a_producer_outlives_its_loop_by_one_item_at_most() -> None:
    made: list[Channel[int]] = []

    async def consumer() -> None:
        made.append(Channel(1, "newest"))

    asyncio.run(consumer())
    with contextlib.suppress(ChannelClosed):
        made[0].put(1)
    with pytest.raises(ChannelClosed):
        made[0].put(2)


def test_a_producer_that_waits_for_room_outlives_its_loop_not_at_all() -> None:
    """The loop ends without a close: nobody will ever make room."""
    made: list[Channel[int]] = []

    async def consumer() -> None:
        made.append(Channel(1, "block"))
        made[0].put(1)

    asyncio.run(consumer())
    ended = threading.Event()

    def produce() -> None:
        with contextlib.suppress(ChannelClosed):
            made[0].put(2)
        ended.set()

    worker = threading.Thread(target=produce)
    worker.start()
    assert ended.wait(PATIENCE_S)
    worker.join()


async def test_a_channel_holds_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Channel(0, "newest")


@pytest.fixture
def steps_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    true = time.time
    shift = 0.0
    monkeypatch.setattr(time, "time", lambda: true() + shift)

    def step(seconds: float) -> None:
        nonlocal shift
        shift += seconds

    yield step


def test_a_step_of_the_machines_clock_does_not_move_the_wall_time(steps_of_the_clock: Callable[[float], None]) -> None:
    clock = SystemClock()
    before = clock.wall()
    assert before == pytest.approx(time.time(), abs=PATIENCE_S)
    steps_of_the_clock(-3600)
    assert 0 <= clock.wall() - before < PATIENCE_S
    steps_of_the_clock(7200)
    assert 0 <= clock.wall() - before < PATIENCE_S


async def test_the_clock_sleeps_on_the_loop() -> None:
    clock = SystemClock()
    start = clock.monotonic()
    await clock.sleep(0.02)
    assert clock.monotonic() - start >= 0.019
