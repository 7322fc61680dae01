"""The deadline that is set and lifted for every message."""

from __future__ import annotations

import asyncio

from streamcap.hub.alarm import Alarm
from tests.virtual_time import virtual_time


@virtual_time
async def test_it_rings_once_when_it_is_due_and_not_before() -> None:
    loop, rung = asyncio.get_running_loop(), list[float]()
    alarm = Alarm(lambda: rung.append(loop.time() - began))
    began = loop.time()
    alarm.set(10.0)
    await asyncio.sleep(60)
    assert [round(at, 3) for at in rung] == [10.0]


@virtual_time
async def test_set_again_it_rings_at_the_newest_time_sooner_or_later() -> None:
    loop, rung = asyncio.get_running_loop(), list[float]()
    alarm = Alarm(lambda: rung.append(loop.time() - began))
    began = loop.time()
    for _ in range(7):
        alarm.set(10.0)
        await asyncio.sleep(4)
    assert rung == []
    alarm.set(1.0)
    await asyncio.sleep(60)
    assert [round(at, 3) for at in rung] == [29.0]


@virtual_time
async def test_lifted_or_stopped_it_is_still_and_can_be_set_again() -> None:
    rung = list[int]()
    alarm = Alarm(lambda: rung.append(1))
    alarm.set(10.0)
    await asyncio.sleep(9)
    alarm.lift()
    await asyncio.sleep(9)
    alarm.set(10.0)
    alarm.stop()
    alarm.stop()
    await asyncio.sleep(60)
    assert rung == []
    alarm.set(10.0)
    await asyncio.sleep(11)
    assert rung == [1]
