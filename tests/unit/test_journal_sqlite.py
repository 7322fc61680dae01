"""The journal on disk: over restarts, under retention, with words and times."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamcap.errors import UsageError
from streamcap.journal import Bounds, Mark, Retention, Searchable
from streamcap.journal.files import FILE_NAME
from streamcap.journal.queries import matching
from streamcap.journal.sqlite import SqliteJournal
from streamcap.journal.store import TRIM
from streamcap.types import Caption, CaptionKind, CaptionStatus, Event
from streamcap.wire import (
    CaptionMessage,
    DurableMessage,
    caption_message,
    decode,
    event_message,
    gap_message,
)
from tests.feeding import caption, event, final, status
from tests.patience import PATIENCE_S


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = await SqliteJournal.open(tmp_path)
    yield opened
    await opened.close()


async def filled(folder: Path, count: int = 5, stream: str = "cam") -> None:
    """A journal that was closed in good order."""
    journal = await SqliteJournal.open(folder)
    await journal.append(stream, [event(n, stream) for n in range(count)])
    await journal.close()


def said(text: str, second: float, *, id: str = "", stream: str = "cam", span: float = 1.0) -> CaptionMessage:
    """A final whose end is at that second of media and, from 1970 on, of the wall clock."""
    made = Caption(
        id or f"c{second}", 1, CaptionStatus.FINAL, CaptionKind.DIFF, max(0.0, second - span), second, text, second
    )
    return caption_message(stream, made, emitted_at=second)


def at(second: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)


def numbers(entries: list[object]) -> list[int | None]:
    return [getattr(entry, "seq", None) for entry in entries]


def count(folder: Path, sql: str) -> int:
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        found: int = connection.execute(sql).fetchone()[0]
        return found


# Over restarts


async def test_all_is_there_again(tmp_path: Path) -> None:
    first = await SqliteJournal.open(tmp_path / "data")
    committed = [pair for n in range(5) for pair in await first.append("cam", [event(n), final(f"c{n}")])]
    first.mark("cam", Mark(12.5, 1234.5))
    first.mark("never", Mark(1.0, 2.0))
    await first.close()
    again = await SqliteJournal.open(tmp_path / "data")
    assert again.epoch == first.epoch and len(again.epoch) == 16
    assert await again.read("cam", after=0, limit=100) == [entry for _, entry in committed]
    assert await again.last_mark("cam") == Mark(12.5, 1234.5)
    assert await again.last_mark("never") == Mark(1.0, 2.0) and await again.bounds("never") == Bounds(1, 0)
    ((message, _),) = await again.append("cam", [event(9)])
    assert (message.seq, message.prev) == (11, 10)
    await again.close()


async def test_numbers_go_on_where_retention_has_taken_everything(tmp_path: Path) -> None:
    clock = 1000.0
    journal = await SqliteJournal.open(tmp_path, retention=Retention(age_s=60), wall=lambda: clock)
    await journal.append("cam", [event(n) for n in range(3 * TRIM)])
    await journal.close()
    clock = 2000.0
    journal = await SqliteJournal.open(tmp_path, retention=Retention(age_s=60), wall=lambda: clock)
    async with asyncio.timeout(PATIENCE_S):
        while (await journal.bounds("cam")) != Bounds(3 * TRIM + 1, 3 * TRIM):
            await journal.read("cam", after=0, limit=1)
    assert await journal.read("cam", after=0, limit=10) == await journal.search("e1") == []
    ((message, _),) = await journal.append("cam", [event(1)])
    assert message.seq == 3 * TRIM + 1
    await journal.close()


async def test_a_lower_bound_is_met_in_small_steps(tmp_path: Path) -> None:
    await filled(tmp_path, 3 * TRIM)
    journal = await SqliteJournal.open(tmp_path, retention=Retention(messages=10))
    earliest = []
    for n in range(4):
        await journal.append("cam", [event(n)])
        earliest.append((await journal.bounds("cam")).earliest)
    assert earliest == [TRIM + 1, 2 * TRIM + 1, 3 * TRIM - 6, 3 * TRIM - 5]
    await journal.close()
    assert count(tmp_path, "SELECT count(*) FROM messages") == 10
    assert count(tmp_path, "SELECT count(*) FROM words WHERE words MATCH 'enter'") == 10


async def test_files_are_for_the_user_alone(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path / "a" / "data")
    await journal.append("cam", [event(1)])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a" / "data").iterdir()}
    assert set(modes.values()) == {0o600} and FILE_NAME + "-wal" in modes
    assert stat.S_IMODE((tmp_path / "a" / "data").stat().st_mode) == 0o700
    await journal.close()
    assert not (tmp_path / "a" / "data" / (FILE_NAME + "-wal")).exists()


async def test_what_waits_at_close_is_committed(tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path)
    waiting = [asyncio.create_task(journal.append(f"s{n}", [event(n, f"s{n}")])) for n in range(50)]
    await asyncio.sleep(0)
    await journal.close()
    assert [(await task)[0][0].seq for task in waiting] == [1] * 50
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("streamcap-journal")]


async def test_an_open_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    task = asyncio.create_task(SqliteJournal.open(tmp_path))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await (await SqliteJournal.open(tmp_path)).close()


# Words and times


async def test_words_find_captions_and_events(journal: SqliteJournal) -> None:
    assert isinstance(journal, Searchable)
    await journal.append("cam", [said("A person walks in from the left.", 1.0), said("A red car stops.", 2.0)])
    await journal.append("yard", [event_message("yard", Event("e1", "enter", 1, 2, 0.5, "Two persons."), at=3.0)])
    await journal.append("cam", [status(), gap_message("cam", start=1, end=2, at=4.0, reason="person")])
    assert [(e.stream, e.seq) for e in await journal.search("person")] == [("yard", 1), ("cam", 1)]
    assert numbers([*await journal.search("PERSON walking")]) == [1]
    assert numbers([*await journal.search('"red car"')]) == [2]
    assert await journal.search('"car red"') == await journal.search("bicycle") == []
    assert numbers([*await journal.search("pers*", streams=["cam", "nowhere"])]) == [1]
    assert numbers([*await journal.search("enter")]) == [1]
    assert await journal.search("person", streams=[]) == []


async def test_a_retracted_caption_is_not_found(journal: SqliteJournal) -> None:
    await journal.append("cam", [final("c1", "A wolf."), final("c2", "A wolf again.")])
    await journal.append("yard", [final("c1", "A wolf, elsewhere.", "yard")])
    await journal.append("cam", [caption("c1", 10, CaptionStatus.RETRACTED, "A wolf.")])
    assert sorted((e.stream, e.seq) for e in await journal.search("wolf")) == [("cam", 2), ("yard", 1)]


async def test_search_by_time_newest_first(journal: SqliteJournal) -> None:
    for second in range(10):
        await journal.append(
            "cam" if second % 2 else "yard", [said("car", second, stream="cam" if second % 2 else "yard")]
        )
    found = await journal.search("car", limit=3)
    assert [(e.stream, e.seq) for e in found] == [("cam", 5), ("yard", 5), ("cam", 4)]
    found = await journal.search("car", since=at(3), until=at(5))
    assert [(e.stream, e.seq) for e in found] == [("cam", 3), ("yard", 3), ("cam", 2)]
    assert await journal.search("car", since=at(50)) == await journal.search("car", until=at(-1)) == []


@pytest.mark.parametrize("query", ["", '"', "* -", 'a" OR "b', "NEAR(", "x AND", "body:x", "{", "(a)", "a\x00b", "'"])
async def test_no_search_is_a_syntax_error(journal: SqliteJournal, query: str) -> None:
    await journal.append("cam", [said("a b body x or near", 1.0)])
    with contextlib.suppress(UsageError):
        await journal.search(query)


def test_what_cannot_be_searched_for() -> None:
    with pytest.raises(UsageError, match="no word"):
        matching("-- !")
    with pytest.raises(UsageError, match="more than"):
        matching("x" * 1000)


async def test_limits_hold(journal: SqliteJournal) -> None:
    for limit in (0, 1001):
        with pytest.raises(UsageError, match="limit"):
            await journal.search("x", limit=limit)
        with pytest.raises(UsageError, match="limit"):
            await journal.history("cam", limit=limit)


async def test_a_search_without_end_is_cut(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcap.journal.queries.SEARCH_S", 0.0)
    monkeypatch.setattr("streamcap.journal.queries.STEPS", 1)
    await journal.append("cam", [said("car", n) for n in range(50)])
    with pytest.raises(UsageError, match="takes longer"):
        await journal.search("car")
    monkeypatch.setattr("streamcap.journal.queries.SEARCH_S", 2.0)
    assert len(await journal.search("car", limit=1000)) == 50


async def test_history_by_number_and_time(journal: SqliteJournal) -> None:
    messages: list[DurableMessage] = [said(f"{n}", float(n)) for n in range(1, 21)]
    await journal.append("cam", messages)
    assert numbers([*await journal.history("cam", after=5, limit=3)]) == [6, 7, 8]
    assert numbers([*await journal.history("cam", since=at(4), until=at(6))]) == [4, 5, 6]
    assert numbers([*await journal.history("cam", after=5, since=at(4), until=at(7))]) == [6, 7]
    assert numbers([*await journal.history("cam", start=4.5, end=6.5)]) == [5, 6, 7]
    assert numbers([*await journal.history("cam", start=19.5)]) == [20]
    assert numbers([*await journal.history("cam", end=1.5)]) == [1, 2]
    assert await journal.history("nowhere") == await journal.history("cam", start=21) == []
    assert await journal.history("cam", until=at(0)) == await journal.history("cam", since=at(30)) == []


async def test_history_finds_what_came_late_and_leaves_out_what_has_no_media_time(journal: SqliteJournal) -> None:
    await journal.append("cam", [said("a", 1.0), status(), said("b", 100.0), said("summary", 300.0, span=300.0)])
    assert numbers([*await journal.history("cam", start=0.0, end=2.0)]) == [1, 4]
    assert numbers([*await journal.history("cam")]) == [1, 2, 3, 4]


async def test_a_clock_that_steps_back_a_little_does_not_hide_anything(journal: SqliteJournal) -> None:
    for second in (100, 101, 102, 50, 51, 103):
        await journal.append("cam", [said("x", second)])
    assert numbers([*await journal.history("cam", since=at(102))]) == [3, 4, 5, 6]
    stamps = [decode(entry.text) for entry in await journal.history("cam", since=at(102))]
    assert [m.at for m in stamps if isinstance(m, CaptionMessage)] == [at(s) for s in (102, 50, 51, 103)]
