"""Questions about more than can be read: a journal of ten thousand captions, and a real model server that is told."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from streamcap.answering import PAGE, READ_MOST, Answered, Answering, Basis, NothingKnown, Span
from streamcap.captioners import SharedModel
from streamcap.flow import SystemClock
from streamcap.frames import View
from streamcap.journal import MemoryJournal, Searchable
from streamcap.journal.sqlite import SqliteJournal
from streamcap.memory import Memory
from streamcap.recall import TOLD_MOST
from streamcap.scan import Scan
from streamcap.types import Caption, CaptionKind, CaptionStatus, Instance
from streamcap.wire import CaptionMessage, StreamState, caption_message, status_message
from tests.llm_server import LlmServer, Shown, llm_server
from tests.vision import settings_for

CAPTIONS = 10_000
VAN = 7777  # the one caption that tells of a van


class Gone:
    """A stream that is not watched any more."""

    def memory(self, stream: str) -> Memory | None:
        return None

    def view(self, stream: str) -> View | None:
        return None

    def instances(self, stream: str) -> tuple[Instance, ...]:
        return ()


def said(n: int) -> CaptionMessage:
    text = "A red van parks at the gate." if n == VAN else f"Somebody walks by for the {n}th time."
    made = Caption(f"c{n}", 1, CaptionStatus.FINAL, CaptionKind.DIFF, n - 1.0, float(n), text, float(n), saliency=0.3)
    return caption_message("cam", made, emitted_at=float(n))


@pytest.fixture
def server() -> Iterator[LlmServer]:
    def rule(shown: Shown) -> str:
        return json.dumps({"answered": True, "answer": "It did.", "times": [float(VAN)]})

    with llm_server(rule=rule) as running:
        yield running


@pytest.fixture(params=["sqlite", "memory"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Searchable]:
    held = await SqliteJournal.open(tmp_path) if request.param == "sqlite" else MemoryJournal(messages=2 * CAPTIONS)
    for first in range(1, CAPTIONS + 1, 1000):
        await held.append("cam", [said(n) for n in range(first, first + 1000)])
    yield held if isinstance(held, SqliteJournal) else Scan(held, lambda: ["cam"])
    await held.close()


async def asked(server: LlmServer, journal: Searchable, question: str, span: Span) -> tuple[Answered, list[float]]:
    """The answer, and the times that the model was told of."""
    async with SharedModel(settings_for(server), SystemClock()) as shared:
        answering = Answering(shared, journal, Gone(), None)
        *_, last = [each async for each in answering.answer("cam", question, span, CAPTIONS)]
    return last, [float(t) for t in re.findall(r"^- ([0-9.]+) s: ", server.shown[-1].question, re.MULTILINE)]


async def test_of_a_span_that_is_too_long_to_read_what_matters_is_told_all_over_it(
    server: LlmServer, journal: Searchable
) -> None:
    answer, told = await asked(server, journal, "When did vans park here?", Span())
    assert answer.basis == Basis(held=CAPTIONS, read=READ_MOST, told=len(told))
    assert 30 <= len(told) <= TOLD_MOST
    assert (told[0], told[-1]) == (1.0, float(CAPTIONS))
    assert float(VAN) in told, "it is searched for, whether its page is read or not"
    assert (answer.times, answer.said) == ((float(VAN),), ("A red van parks at the gate.",))
    assert max(b - a for a, b in itertools.pairwise(told)) < CAPTIONS / 8
    assert "are left out, so do not count" in server.shown[-1].question


async def test_a_part_of_it_is_read_to_both_its_ends(server: LlmServer, journal: Searchable) -> None:
    bounds = {"start": 2000.5, "end": 8000.5}
    answer, told = await asked(server, journal, "What happened?", Span(bounds=bounds))
    assert answer.basis.held == 6001 and READ_MOST - PAGE <= answer.basis.read <= READ_MOST
    assert (told[0], told[-1]) == (2001.0, 8001.0), "each speaks of a second that lies in the span"
    assert answer.times == ()


async def test_what_can_be_read_is_read_whole(server: LlmServer, journal: Searchable) -> None:
    answer, told = await asked(server, journal, "Who fell?", Span(bounds={"start": 100.5, "end": 130.5}))
    assert answer.basis == Basis(held=31, read=31, told=31)
    assert told == [float(n) for n in range(101, 132)]
    assert "left out" not in server.shown[-1].question


async def test_a_span_in_which_nothing_was_said_has_nothing_to_tell(server: LlmServer, tmp_path: Path) -> None:
    journal = await SqliteJournal.open(tmp_path)
    await journal.append("cam", [status_message("cam", StreamState.LIVE, at=1.0)])

    with pytest.raises(NothingKnown):
        await asked(server, journal, "Who?", Span(bounds={"start": 5.0, "end": 6.0}))
    await journal.close()
