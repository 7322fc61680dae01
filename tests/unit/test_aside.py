"""Work that blocks, on a thread that nobody waits for; and a program that ends though one still works."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from streamcap.flow import aside
from tests.patience import LONG_S, SOON_S


async def test_it_gives_its_result_or_its_fault() -> None:
    def fail() -> int:
        raise ValueError("not so")

    assert await aside(lambda: 42, name="well") == 42
    with pytest.raises(ValueError, match="not so"):
        await aside(fail, name="badly")


async def test_cancelled_its_result_is_dropped() -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> None:
        assert go.wait(LONG_S)
        ended.set()

    waiting = asyncio.create_task(aside(work, name="held"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    assert await asyncio.to_thread(ended.wait, SOON_S)
    await asyncio.sleep(0)  # what it hands over now meets a future that is done


_GIVEN_UP = f"""
import asyncio, time
from streamcap.flow import aside

async def main():
    waiting = asyncio.create_task(aside(lambda: time.sleep({LONG_S}), name="held"))
    await asyncio.sleep(0.01)
    waiting.cancel()

asyncio.run(main())
"""
_HELD_UP = f"""
import sys, threading, time
import streamcap.cli
import streamcap.__main__ as program

def run():
    threading.Thread(target=time.sleep, args=[{LONG_S}]).start()  # Python would wait for it
    print("said", end="")
    sys.exit(3)

streamcap.cli.main = run
program.main()
"""


_SWALLOWED = f"""
import os, signal, sys, time
import streamcap.cli
import streamcap.__main__ as program

def run():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep({LONG_S})
    except BaseException:  # as some native libraries do while they are loaded
        time.sleep({LONG_S})

streamcap.cli.main = run
program.main()
"""


@pytest.mark.parametrize(
    ("program", "status", "said", "told"),
    [(_GIVEN_UP, 0, "", ""), (_HELD_UP, 3, "said", ""), (_SWALLOWED, 130, "", "streamcap: interrupted\n")],
)
def test_a_program_ends_when_it_is_done_or_told_to(program: str, status: int, said: str, told: str) -> None:
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG_S / 4)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, said, told)
