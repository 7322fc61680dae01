"""One stream over its runs: media time goes on, gaps are told, a journal that cannot commit is waited out."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streamcap.errors import WireError
from streamcap.hub import Hub
from streamcap.journal import Mark, MemoryJournal
from streamcap.runs import AWAY_MAX_S, StreamFeed
from streamcap.types import Caption, CaptionKind, CaptionStatus, Event
from streamcap.wire import (
    MESSAGE_MAX_BYTES,
    CaptionMessage,
    DurableMessage,
    EventMessage,
    GapMessage,
    StatusMessage,
    StreamState,
    caption_message,
    decode,
    event_message,
    status_message,
    unchanged_message,
)
from tests.feeding import SlowJournal, opened
from tests.virtual_time import VirtualClock, virtual_time


class Scene:
    """A stream, its clock, and what its journal holds."""

    def __init__(self, hub: Hub, journal: MemoryJournal, clock: VirtualClock) -> None:
        self.journal, self.clock = journal, clock
        self.feed = StreamFeed(hub, "cam", clock)
        self._events = 0

    async def seen(self, media: float) -> None:
        """Something happened, just now."""
        self._events += 1
        event = Event(f"e{self._events}", "enter", max(0.0, media - 1), media, 0.5, "")
        await self.feed.publish("cam", event_message("cam", event, at=self.clock.wall()))

    async def state(self, state: StreamState) -> None:
        await self.feed.publish("cam", status_message("cam", state, at=self.clock.wall()))

    async def held(self) -> list[DurableMessage]:
        messages = [decode(entry.text) for entry in await self.journal.read("cam", after=0, limit=1000)]
        return [m for m in messages if isinstance(m, CaptionMessage | EventMessage | StatusMessage | GapMessage)]

    async def gaps(self) -> list[tuple[float, float]]:
        return [(m.start, m.end) for m in await self.held() if isinstance(m, GapMessage)]


async def scene(journal: SlowJournal | None = None) -> Scene:
    journal, clock = journal or SlowJournal(), VirtualClock()
    return Scene(await opened(journal=journal, clock=clock), journal, clock)


async def restarted(before: Scene) -> Scene:
    """The same journal in another process, later."""
    hub = await opened(journal=before.journal, clock=before.clock)
    return Scene(hub, before.journal, before.clock)


@virtual_time
async def test_the_first_run_begins_at_nought_and_has_no_gap() -> None:
    one = await scene()
    assert await one.feed.begin_run() == 0.0
    await one.state(StreamState.CONNECTING)
    await one.state(StreamState.LIVE)
    assert await one.gaps() == []


@virtual_time
async def test_media_time_goes_on_over_a_restart_and_the_time_between_is_a_gap() -> None:
    one = await scene()
    await one.feed.begin_run()
    await one.state(StreamState.LIVE)
    await asyncio.sleep(10)
    await one.seen(10.0)
    await asyncio.sleep(20)
    two = await restarted(one)
    assert await two.feed.begin_run() == 30.0
    await two.state(StreamState.CONNECTING)
    assert await two.gaps() == []  # pictures do not flow yet
    await two.state(StreamState.LIVE)
    await two.state(StreamState.LIVE)
    types = [(m.type, getattr(m, "state", "")) for m in await two.held()]
    assert types[2:] == [("status", "connecting"), ("gap", ""), ("status", "live"), ("status", "live")]
    assert await two.gaps() == [(10.0, 30.0)]
    await two.seen(31.0)
    await asyncio.sleep(5)
    assert await two.feed.begin_run() == 36.0  # another run in the same process


@virtual_time
async def test_a_quiet_scene_was_watched_too() -> None:
    one = await scene()
    await one.feed.begin_run()
    await asyncio.sleep(100)
    await one.feed.publish("cam", unchanged_message("cam", since=5.0, t=100.0, at=one.clock.wall()))
    draft = Caption("c1", 0, CaptionStatus.OPEN, CaptionKind.DIFF, 99, 101, "x", one.clock.wall() + 1)
    await one.feed.publish("cam", caption_message("cam", draft, emitted_at=one.clock.wall() + 1))
    await asyncio.sleep(9)
    two = await restarted(one)
    assert await two.feed.begin_run() == 109.0
    await two.state(StreamState.LIVE)
    assert await two.gaps() == [(101.0, 109.0)]


@virtual_time
async def test_after_its_end_there_was_nothing_to_watch() -> None:
    one = await scene()
    await one.feed.begin_run()
    await one.seen(10.0)
    await one.state(StreamState.ENDED)
    await asyncio.sleep(50)
    two = await restarted(one)
    assert await two.feed.begin_run() == 60.0
    await two.state(StreamState.LIVE)
    assert await two.gaps() == []


@pytest.mark.parametrize("step", [-3600.0, AWAY_MAX_S + 1])
def test_a_clock_that_jumped_is_not_believed(step: float) -> None:
    @virtual_time
    async def run() -> None:
        one = await scene()
        one.journal.mark("cam", Mark(10.0, one.clock.wall() - step))
        assert await one.feed.begin_run() == 10.0
        await one.state(StreamState.LIVE)
        assert await one.gaps() == []

    run()


@virtual_time
async def test_what_cannot_be_committed_is_tried_again_in_order() -> None:
    journal = SlowJournal()
    one = await scene(journal)
    await one.feed.begin_run()
    await one.seen(5.0)
    journal.full = True
    waiting = [asyncio.create_task(one.seen(6.0 + n)) for n in range(3)]
    _, pending = await asyncio.wait(waiting, timeout=60)
    assert len(pending) == 3 and one.feed.trouble == "the disk is full"
    journal.full = False
    await asyncio.wait(waiting, timeout=16)
    assert not one.feed.trouble and all(task.done() for task in waiting)
    held = await one.held()
    assert [m.id for m in held if isinstance(m, EventMessage)] == ["e1", "e2", "e3", "e4"]
    assert [m.seq for m in held] == list(range(1, len(held) + 1))


@virtual_time
async def test_time_that_a_full_disk_kept_from_being_watched_is_a_gap() -> None:
    journal = SlowJournal()
    one = await scene(journal)
    await one.seen(5.0)
    journal.full = True
    waiting = asyncio.create_task(one.state(StreamState.DEGRADED))
    await asyncio.sleep(30)
    journal.full = False
    await waiting
    ((start, end),) = await one.gaps()
    assert start == 5.0 and 35.0 <= end <= 50.0
    journal.full = True
    waiting = asyncio.create_task(one.state(StreamState.LIVE))
    await asyncio.sleep(20)
    await one.feed.publish("cam", unchanged_message("cam", since=60.0, t=70.0, at=one.clock.wall()))
    journal.full = False
    await waiting
    assert len(await one.gaps()) == 1  # it was watched all the while


@virtual_time
async def test_drafts_do_not_wait_for_the_journal() -> None:
    journal = SlowJournal()
    one = await scene(journal)
    journal.full = True
    waiting = asyncio.create_task(one.seen(1.0))
    await asyncio.sleep(1)
    draft = Caption("c1", 0, CaptionStatus.OPEN, CaptionKind.DIFF, 0, 1, "x", 0.0)
    async with asyncio.timeout(0.1):
        await one.feed.publish("cam", caption_message("cam", draft, emitted_at=1.0))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


def test_giving_up_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @virtual_time
    async def run() -> None:
        journal = SlowJournal()
        one = await scene(journal)
        journal.full = True
        waiting = asyncio.create_task(one.seen(1.0))
        await asyncio.sleep(100)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        journal.full = False
        await one.seen(2.0)
        assert [m.seq for m in await one.held()] == [1]

    with caplog.at_level(logging.ERROR, "streamcap.runs"):
        run()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "cam: the disk is full; trying again",
        "cam: event message never committed: the disk is full",
    ]


@virtual_time
async def test_a_message_that_can_never_be_committed_is_an_error_at_once() -> None:
    one = await scene()
    with pytest.raises(WireError):
        await one.feed.publish("cam", status_message("cam", StreamState.LIVE, at=0.0, detail="x" * MESSAGE_MAX_BYTES))
