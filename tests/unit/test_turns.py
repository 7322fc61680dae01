"""Turns: never more than the limit, the earliest deadline first, and a cancelled wait leaves no trace."""

from __future__ import annotations

import asyncio

import pytest

from streamcap.flow import Turns
from tests.patience import PATIENCE_S


async def test_no_more_than_the_limit_and_the_earliest_deadline_first() -> None:
    turns, order, at_once, most = Turns(2), [], 0, 0

    async def work(deadline: float) -> None:
        nonlocal at_once, most
        async with turns.turn(deadline):
            order.append(deadline)
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.001)
            at_once -= 1

    async with asyncio.TaskGroup() as tasks:
        for deadline in (9.0, 8.0, 5.0, 1.0, 7.0, 3.0, 2.0):
            tasks.create_task(work(deadline))
    assert most == 2
    assert order == [9.0, 8.0, 1.0, 2.0, 3.0, 5.0, 7.0], "the first two found a free turn"
    assert turns.waiting == 0


async def test_a_stream_that_always_asks_does_not_starve_another() -> None:
    """Two streams, one turn: whoever had it last has the later deadline."""
    turns, counts, clock = Turns(1), {"a": 0, "b": 0}, 0.0

    async def stream(name: str) -> None:
        nonlocal clock
        deadline = 0.0
        for _ in range(50):
            async with turns.turn(deadline):
                clock += 1.0
                deadline = clock + 1.0
                counts[name] += 1
                await asyncio.sleep(0)
            if min(counts.values()) < 40:
                assert abs(counts["a"] - counts["b"]) <= 2

    await asyncio.gather(stream("a"), stream("b"))


async def test_cancelled_waiting_or_just_when_its_turn_came() -> None:
    turns = Turns(1)

    async def wait(deadline: float) -> None:
        async with turns.turn(deadline):
            pass

    async with turns.turn(0.0):
        first, second = asyncio.create_task(wait(1.0)), asyncio.create_task(wait(2.0))
        await asyncio.sleep(0)
        assert turns.waiting == 2
        first.cancel()
        await asyncio.wait({first})
        assert turns.waiting == 1
    second.cancel()  # the turn has passed to it, and it has not run yet
    await asyncio.wait({second})
    assert second.cancelled()
    async with asyncio.timeout(PATIENCE_S), turns.turn(3.0):
        pass


def test_somebody_must_have_a_turn() -> None:
    with pytest.raises(ValueError, match="somebody"):
        Turns(0)
