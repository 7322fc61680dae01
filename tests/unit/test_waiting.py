"""Whoever waits for a sender is told so, with its secrets removed."""

from __future__ import annotations

import asyncio

import pytest

from streamcap.cli.waiting import REMIND_FIRST_S, remind, until_sent
from tests.virtual_time import virtual_time


@virtual_time
async def test_it_is_said_again_at_pauses_that_double() -> None:
    loop = asyncio.get_running_loop()
    said: list[tuple[float, str]] = []
    task = asyncio.create_task(
        remind("srt://:9000", lambda text: said.append((loop.time(), text)), asyncio.sleep), name="remind"
    )
    await asyncio.sleep(8 * REMIND_FIRST_S)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert said == [(REMIND_FIRST_S * n, f"nobody has sent anything to srt://:9000 for {n} min") for n in (1, 3, 7)]


@virtual_time
async def test_who_has_sent_is_not_waited_for_any_more(capsys: pytest.CaptureFixture[str]) -> None:
    async with until_sent("rtmp://127.0.0.1:1935/live/secretkey?listen=1") as sent:
        assert sent is not None
        sent()
        await asyncio.sleep(10 * REMIND_FIRST_S)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "listening for a sender to rtmp://127.0.0.1:1935/live/***?listen=1\n")


async def test_a_terminal_that_cannot_take_a_line_back_gets_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "dumb")
    async with until_sent("rtmp://127.0.0.1:1935/live?listen=1") as sent:
        assert sent is not None
        for _ in range(3):  # with each picture
            sent()
    assert capsys.readouterr().err == "listening for a sender to rtmp://127.0.0.1:1935/live?listen=1\n"


async def test_of_a_source_that_is_called_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    async with until_sent("rtsp://127.0.0.1/cam") as sent:
        assert sent is None
    assert capsys.readouterr().err == ""
