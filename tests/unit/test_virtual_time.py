from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from streamcap.flow import Channel, Clock
from tests import virtual_time as module
from tests.patience import SOON_S
from tests.virtual_time import Stuck, VirtualClock, VirtualLoop, run_virtual, virtual_time


@virtual_time
async def test_an_hour_passes_at_once_and_exactly() -> None:
    clock: Clock = VirtualClock(epoch=1000.0)
    real, before = time.monotonic(), clock.monotonic()
    await clock.sleep(3600)
    assert clock.monotonic() - before == pytest.approx(3600, abs=1e-6)
    assert clock.wall() == pytest.approx(1000.0 + clock.monotonic())
    assert time.monotonic() - real < SOON_S


@virtual_time
async def test_timers_fire_in_order_and_at_their_time() -> None:
    clock = VirtualClock()
    fired: list[tuple[str, float]] = []

    async def after(seconds: float, name: str) -> None:
        await clock.sleep(seconds)
        fired.append((name, round(clock.monotonic(), 6)))

    await asyncio.gather(after(30, "c"), after(0.5, "a"), after(10, "b"))
    assert fired == [("a", 0.5), ("b", 10.0), ("c", 30.0)]


@virtual_time
async def test_a_timeout_is_virtual() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(120):
            await loop.create_future()
    assert loop.time() == pytest.approx(120)


@virtual_time
async def test_time_stands_still_while_a_thread_works() -> None:
    loop = asyncio.get_running_loop()
    work = asyncio.to_thread(time.sleep, 0.05)
    # The timer is nearer in virtual time than the work in real time: it must not win.
    await asyncio.wait_for(work, timeout=0.001)
    assert loop.time() == 0.0
    await asyncio.sleep(1)
    assert loop.time() == pytest.approx(1.0)


@virtual_time
async def test_time_stands_still_for_threads_of_ones_own() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    channel: Channel[int] = Channel(4, "block")

    def produce() -> None:
        time.sleep(0.05)
        channel.put(1)
        channel.close()

    thread = threading.Thread(target=produce)
    with loop.standing_still():
        thread.start()
        async with asyncio.timeout(0.001):
            assert [item async for item in channel] == [1]
    thread.join()
    assert loop.time() == 0.0


@virtual_time
async def test_sockets_work() -> None:
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        b.setblocking(False)
        loop = asyncio.get_running_loop()
        receive = asyncio.create_task(loop.sock_recv(b, 10))
        await asyncio.sleep(1)
        await loop.sock_sendall(a, b"hello")
        assert await receive == b"hello"


def test_a_wait_that_never_ends_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REAL_LIMIT_S", 0.05)

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        run_virtual(hang())


def test_a_task_left_pending_is_found() -> None:
    kept: list[asyncio.Task[None]] = []

    async def leak() -> None:
        kept.append(asyncio.create_task(asyncio.sleep(10), name="stray"))

    with pytest.raises(AssertionError, match="stray"):
        run_virtual(leak())


def test_the_result_comes_back() -> None:
    async def main() -> int:
        await asyncio.sleep(5)
        return 7

    assert run_virtual(main()) == 7


async def test_a_virtual_clock_needs_a_virtual_loop() -> None:
    with pytest.raises(TypeError):
        VirtualClock()
