"""The journal's contract. A second implementation is added to ``journals`` and must pass the same tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.errors import FeedError, WireError
from streamcap.journal import Bounds, Journal, MemoryJournal
from streamcap.types import Caption, CaptionKind, CaptionStatus
from streamcap.wire import MESSAGE_MAX_BYTES, StatusMessage, StreamState, caption_message, decode, status_message

journals = [pytest.param(MemoryJournal, id="memory")]


@pytest.fixture(params=journals)
def journal(request: pytest.FixtureRequest) -> Journal:
    make: Callable[[], Journal] = request.param
    return make()


def note(detail: str = "", stream: str = "cam") -> StatusMessage:
    return status_message(stream, StreamState.LIVE, at=0.0, detail=detail)


async def test_numbers_begin_at_one_and_have_no_holes(journal: Journal) -> None:
    assert await journal.bounds("cam") == Bounds(1, 0)
    first = await journal.append("cam", [note("a"), note("b")])
    (third,) = await journal.append("cam", [note("c")])
    assert [(m.seq, m.prev) for m, _ in [*first, third]] == [(1, 0), (2, 1), (3, 2)]
    assert await journal.bounds("cam") == Bounds(1, 3)
    await journal.close()


async def test_streams_are_numbered_apart(journal: Journal) -> None:
    await journal.append("cam", [note()] * 3)
    ((yard, _),) = await journal.append("yard", [note(stream="yard")])
    assert yard.seq == 1
    assert await journal.read("cam", after=3, limit=10) == []
    assert await journal.read("nowhere", after=0, limit=10) == []
    await journal.close()


async def test_what_is_read_is_what_was_committed(journal: Journal) -> None:
    committed = await journal.append("cam", [note(str(n)) for n in range(10)])
    entries = await journal.read("cam", after=4, limit=3)
    assert entries == [entry for _, entry in committed[4:7]]
    assert [decode(entry.text) for entry in entries] == [message for message, _ in committed[4:7]]
    assert [entry.seq for entry in await journal.read("cam", after=8, limit=100)] == [9, 10]
    await journal.close()


async def test_all_or_nothing_is_committed(journal: Journal) -> None:
    draft = Caption("c1", 0, CaptionStatus.OPEN, CaptionKind.DIFF, 0, 1, "x", 0.0)
    with pytest.raises(WireError):
        await journal.append("cam", [note(), caption_message("cam", draft, emitted_at=0.0)])
    with pytest.raises(WireError):
        await journal.append("cam", [note(), note("x" * MESSAGE_MAX_BYTES)])
    assert await journal.bounds("cam") == Bounds(1, 0)
    await journal.append("cam", [note()])
    assert await journal.bounds("cam") == Bounds(1, 1)
    await journal.close()


async def test_a_closed_journal_commits_no_more(journal: Journal) -> None:
    await journal.append("cam", [note()])
    await journal.close()
    with pytest.raises(FeedError):
        await journal.append("cam", [note()])


async def test_every_memory_journal_has_its_own_epoch() -> None:
    assert MemoryJournal().epoch != MemoryJournal().epoch


async def test_the_oldest_are_forgotten_by_number() -> None:
    journal = MemoryJournal(messages=3)
    for n in range(5):
        await journal.append("cam", [note(str(n))])
    assert await journal.bounds("cam") == Bounds(3, 5)
    assert [entry.seq for entry in await journal.read("cam", after=0, limit=10)] == [3, 4, 5]


async def test_the_oldest_are_forgotten_by_size_but_never_the_newest() -> None:
    journal = MemoryJournal(size=1_000)
    for _ in range(100):
        await journal.append("cam", [note("x" * 100)])
    bounds = await journal.bounds("cam")
    entries = await journal.read("cam", after=0, limit=1_000)
    assert bounds.newest == 100 and 100 - bounds.earliest + 1 == len(entries)
    assert sum(entry.size for entry in entries) <= 1_000 < sum(entry.size for entry in entries) + entries[0].size
    await journal.append("cam", [note("x" * 5_000)])
    assert await journal.bounds("cam") == Bounds(101, 101)


def test_a_journal_keeps_at_least_one_message() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MemoryJournal(messages=0)


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
