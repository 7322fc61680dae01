"""The journal's contract, the same for every implementation, and what each of them promises beside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.errors import FeedError, WireError
from streamcap.journal import Bounds, Journal, Mark, MemoryJournal, Retention
from streamcap.journal.sqlite import SqliteJournal
from streamcap.types import Caption, CaptionKind, CaptionStatus
from streamcap.wire import MESSAGE_MAX_BYTES, StatusMessage, StreamState, caption_message, decode, status_message


async def make(sort: str, folder: Path, *, messages: int = 10_000, size: int = 1 << 24) -> Journal:
    """A journal of that sort, which keeps so much of a stream."""
    if sort == "memory":
        return MemoryJournal(messages=messages, size=size)
    return await SqliteJournal.open(folder, retention=Retention(messages=messages, size=size))


@pytest.fixture(params=["memory", "sqlite"])
def sort(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def journal(sort: str, tmp_path: Path) -> AsyncIterator[Journal]:
    made = await make(sort, tmp_path / "data")
    yield made
    await made.close()


def note(detail: str = "", stream: str = "cam", at: float = 0.0) -> StatusMessage:
    return status_message(stream, StreamState.LIVE, at=at, detail=detail)


async def test_numbers_begin_at_one_and_have_no_holes(journal: Journal) -> None:
    assert await journal.bounds("cam") == Bounds(1, 0)
    first = await journal.append("cam", [note("a"), note("b")])
    (third,) = await journal.append("cam", [note("c")])
    assert [(m.seq, m.prev) for m, _ in [*first, third]] == [(1, 0), (2, 1), (3, 2)]
    assert await journal.bounds("cam") == Bounds(1, 3)


async def test_streams_are_numbered_apart(journal: Journal) -> None:
    await journal.append("cam", [note()] * 3)
    ((yard, _),) = await journal.append("yard", [note(stream="yard")])
    assert yard.seq == 1
    assert await journal.read("cam", after=3, limit=10) == []
    assert await journal.read("nowhere", after=0, limit=10) == []
    assert [entry.stream for entry in await journal.read("yard", after=0, limit=10)] == ["yard"]


async def test_what_is_read_is_what_was_committed(journal: Journal) -> None:
    committed = await journal.append("cam", [note(f"{n} é🙂\n\x00'") for n in range(10)])
    entries = await journal.read("cam", after=4, limit=3)
    assert entries == [entry for _, entry in committed[4:7]]
    assert [decode(entry.text) for entry in entries] == [message for message, _ in committed[4:7]]
    assert [entry.seq for entry in await journal.read("cam", after=8, limit=100)] == [9, 10]
    assert await journal.read("cam", after=10, limit=100) == await journal.read("cam", after=0, limit=0) == []


async def test_all_or_nothing_is_committed(journal: Journal) -> None:
    draft = Caption("c1", 0, CaptionStatus.OPEN, CaptionKind.DIFF, 0, 1, "x", 0.0)
    with pytest.raises(WireError):
        await journal.append("cam", [note(), caption_message("cam", draft, emitted_at=0.0)])
    with pytest.raises(WireError):
        await journal.append("cam", [note(), note("x" * MESSAGE_MAX_BYTES)])
    assert await journal.bounds("cam") == Bounds(1, 0)
    assert await journal.append("cam", []) == []
    await journal.append("cam", [note()])
    assert await journal.bounds("cam") == Bounds(1, 1)


async def test_one_that_is_refused_takes_no_other_with_it(journal: Journal) -> None:
    streams = [f"s{n}" for n in range(20)]
    appends = [journal.append(s, [note("x" * (MESSAGE_MAX_BYTES if s == "s7" else 1), s)]) for s in streams]
    results = await asyncio.gather(*appends, return_exceptions=True)
    assert [s for s, result in zip(streams, results, strict=True) if isinstance(result, WireError)] == ["s7"]
    assert [(await journal.bounds(s)).newest for s in streams] == [0 if s == "s7" else 1 for s in streams]


async def test_many_streams_at_once(journal: Journal) -> None:
    async def publish(stream: str) -> list[int | None]:
        return [(await journal.append(stream, [note(str(n), stream)]))[0][0].seq for n in range(30)]

    numbers = await asyncio.gather(*(publish(f"s{n}") for n in range(20)))
    assert numbers == [list(range(1, 31))] * 20
    for n in range(20):
        read = [decode(entry.text) for entry in await journal.read(f"s{n}", after=0, limit=100)]
        assert [m.detail for m in read if isinstance(m, StatusMessage)] == [str(k) for k in range(30)]


async def test_a_cancelled_append_leaves_no_hole(journal: Journal) -> None:
    for n in range(20):
        task = asyncio.create_task(journal.append("cam", [note(f"cancelled {n}")]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await journal.append("cam", [note(f"kept {n}")])
    bounds = await journal.bounds("cam")
    read = [decode(entry.text) for entry in await journal.read("cam", after=0, limit=100)]
    assert [m.seq for m in read if isinstance(m, StatusMessage)] == list(range(1, bounds.newest + 1))
    kept = [m.detail for m in read if isinstance(m, StatusMessage) and m.detail.startswith("kept")]
    assert kept == [f"kept {n}" for n in range(20)]


async def test_the_newest_mark_is_kept(journal: Journal) -> None:
    assert await journal.last_mark("cam") is None
    journal.mark("cam", Mark(1.0, 1000.0))
    journal.mark("cam", Mark(2.5, 1001.5))
    await journal.append("cam", [note()])
    assert await journal.last_mark("cam") == Mark(2.5, 1001.5)
    assert await journal.last_mark("yard") is None


async def test_a_closed_journal_commits_no_more(journal: Journal) -> None:
    await journal.append("cam", [note()])
    await journal.close()
    with pytest.raises(FeedError, match="closed"):
        await journal.append("cam", [note()])
    await journal.close()


async def test_the_oldest_are_forgotten_by_number(sort: str, tmp_path: Path) -> None:
    journal = await make(sort, tmp_path, messages=3)
    for n in range(5):
        await journal.append("cam", [note(str(n))])
    assert await journal.bounds("cam") == Bounds(3, 5)
    assert [entry.seq for entry in await journal.read("cam", after=0, limit=10)] == [3, 4, 5]
    await journal.append("cam", [note()] * 9)
    assert await journal.bounds("cam") == Bounds(12, 14)
    await journal.close()


async def test_the_oldest_are_forgotten_by_size_but_never_the_newest(sort: str, tmp_path: Path) -> None:
    journal = await make(sort, tmp_path, size=1_000)
    for _ in range(30):
        await journal.append("cam", [note("x" * 100)])
    bounds = await journal.bounds("cam")
    entries = await journal.read("cam", after=0, limit=1_000)
    assert bounds.newest == 30 and 30 - bounds.earliest + 1 == len(entries)
    assert sum(entry.size for entry in entries) <= 1_000 < sum(entry.size for entry in entries) + entries[0].size
    await journal.append("cam", [note("x" * 5_000)])
    assert await journal.bounds("cam") == Bounds(31, 31)
    await journal.close()


def test_a_journal_keeps_at_least_one_message() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MemoryJournal(messages=0)
    with pytest.raises(ValueError, match="at least 1"):
        Retention(messages=0)


async def test_every_memory_journal_has_its_own_epoch() -> None:
    assert MemoryJournal().epoch != MemoryJournal().epoch


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 8), st.integers(0, 60), st.integers(1, 20))
async def test_any_read_is_a_run_of_numbers_within_the_bounds(
    sizes: list[int], kept: int, after: int, limit: int
) -> None:
    journal = MemoryJournal(messages=kept)
    for size in sizes:
        await journal.append("cam", [note()] * size)
    bounds = await journal.bounds("cam")
    assert bounds == Bounds(max(0, sum(sizes) - kept) + 1, sum(sizes))
    first = max(after + 1, bounds.earliest)
    expected = list(range(first, min(first + limit, bounds.newest + 1)))
    assert [entry.seq for entry in await journal.read("cam", after=after, limit=limit)] == expected
