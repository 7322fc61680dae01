"""Many streams into one hub, with the real models: each by itself, and one that fails touches no other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from streamcap import manager, supervision
from streamcap.config import StreamSettings
from streamcap.errors import FeedError, UsageError
from streamcap.flow import SystemClock
from streamcap.hub import Hub
from streamcap.journal import MemoryJournal
from streamcap.manager import Manager
from streamcap.models.pool import Models, load_default
from streamcap.types import CaptionKind, CaptionStatus
from streamcap.wire import CaptionMessage, DurableMessage, Message, StatusMessage, StreamState, decode
from tests.feeding import SlowJournal, until
from tests.patience import PATIENCE_S, SOON_S

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def models(weights: Callable[[str], Path]) -> Iterator[Models]:
    with load_default() as loaded:
        # All its threads begin here, so that no test is held to have left them.
        list(loaded.workers.map(time.sleep, [0.05] * (os.cpu_count() or 1) * 2))
        yield loaded


class Service:
    """A hub, a journal and a manager, and what the journal holds."""

    def __init__(self, models: Models, journal: MemoryJournal) -> None:
        self.journal = journal
        self.hub = Hub(self.journal)
        self.manager = Manager(self.hub, models, SystemClock())

    async def told(self, stream: str) -> list[DurableMessage]:
        entries = await self.journal.read(stream, after=0, limit=10_000)
        messages = [decode(entry.text) for entry in entries]
        return [m for m in messages if isinstance(m, DurableMessage)]

    async def states(self, stream: str) -> list[StreamState]:
        return [m.state for m in await self.told(stream) if isinstance(m, StatusMessage)]

    async def until(self, stream: str, state: StreamState) -> None:
        """Wait until a stream is in a state."""
        async with self.hub.subscribe(stream) as feed:
            async for _ in feed:
                status = self.hub.state(stream).status
                if status is not None and status.state is state:
                    return

    async def read(self, stream: str) -> list[Message]:
        """All that a subscriber gets until the stream has ended."""
        async with self.hub.subscribe(stream) as feed:
            return [decode(item.text) async for item in feed]


@contextlib.asynccontextmanager
async def service(models: Models, journal: MemoryJournal | None = None) -> AsyncIterator[Service]:
    running = Service(models, journal or MemoryJournal())
    async with running.manager:
        yield running
    await running.hub.close()
    await running.journal.close()


def stream(id: str, source: str) -> StreamSettings:
    return StreamSettings(id=id, source=source)


async def test_three_streams_one_of_which_is_not_there(models: Models, tmp_path: Path) -> None:
    async with service(models) as one, asyncio.timeout(2 * PATIENCE_S):
        await one.manager.start(stream("street", "test:?seconds=7"))
        await one.manager.start(stream("gone", str(tmp_path / "gone.mp4")))
        await one.manager.start(stream("yard", "test:?seconds=4&seed=2&width=320&height=180"))
        reader = asyncio.create_task(one.read("street"))
        await one.manager.wait()
        heard = await reader
        assert [info.id for info in one.manager.infos()] == ["street", "gone", "yard"]
        assert [info.state for info in one.manager.infos()] == ["ended", "failed", "ended"]
        counts = {info.id: info.frames for info in one.manager.infos()}

        assert await one.states("gone") == [StreamState.CONNECTING, StreamState.FAILED]
        failed = (await one.told("gone"))[-1]
        assert isinstance(failed, StatusMessage)
        assert failed.reason == "source"
        assert failed.detail.endswith("gone.mp4: no such file; check the path")
        for name in ("street", "yard"):
            assert await one.states(name) == [StreamState.CONNECTING, StreamState.LIVE, StreamState.ENDED]
            captions = [m for m in await one.told(name) if isinstance(m, CaptionMessage)]
            assert captions[0].kind is CaptionKind.FULL
        assert 1 <= counts["street"] <= 35  # a busy machine drops some
        assert 1 <= counts["yard"] <= 20

    numbered = [m for m in heard if isinstance(m, DurableMessage) and m.seq is not None]
    assert {m.stream for m in heard} == {"street"}
    assert [m.seq for m in numbered] == sorted(m.seq or 0 for m in numbered)
    drafts = [m for m in heard if isinstance(m, CaptionMessage) and m.status is not CaptionStatus.FINAL]
    finals = [m for m in heard if isinstance(m, CaptionMessage) and m.status is CaptionStatus.FINAL]
    assert {m.id for m in drafts} <= {m.id for m in finals}
    assert all(m.age_ms < 1000 * PATIENCE_S for m in finals)
    assert isinstance(heard[-1], StatusMessage)


async def test_stop_ends_all_streams_soon_and_makes_final_what_is_open(models: Models) -> None:
    async with service(models) as one, asyncio.timeout(2 * PATIENCE_S):
        for name in ("a", "b"):
            await one.manager.start(stream(name, "test:?realtime=1&width=320&height=180"))
        for name in ("a", "b"):
            await one.until(name, StreamState.LIVE)
        async with asyncio.TaskGroup() as waiting:  # the caption of the first look round is open
            for name in ("a", "b"):
                waiting.create_task(until(lambda name=name: one.hub.state(name).open))  # type: ignore[misc]
        began = time.monotonic()
        await one.manager.stop()
        assert time.monotonic() - began < SOON_S
        for name in ("a", "b"):
            kinds = [m.kind for m in await one.told(name) if isinstance(m, CaptionMessage)]
            assert kinds[:1] == [CaptionKind.FULL]
            assert not one.hub.state(name).open
        assert one.manager.infos() == []
        await one.manager.stop()


async def test_a_stream_may_be_stopped_as_soon_as_it_was_started(models: Models) -> None:
    async with service(models) as one, asyncio.timeout(2 * PATIENCE_S):
        await one.manager.start(stream("a", "test:?realtime=1"))
        await one.manager.start(stream("b", "rtsp://127.0.0.1:9/none"))
        began = time.monotonic()
        await one.manager.stop()
        assert time.monotonic() - began < SOON_S


async def test_a_camera_that_is_away_is_tried_again(models: Models) -> None:
    """Nothing listens there: the stream says so, keeps trying, and can be stopped while it waits."""
    async with service(models) as one, asyncio.timeout(2 * PATIENCE_S):
        await one.manager.start(stream("door", "rtsp://user:secret@127.0.0.1:9/none"))
        await one.until("door", StreamState.RECONNECTING)
        await asyncio.sleep(1.5)  # it tries once more at least
        states = await one.states("door")
        assert states[:2] == [StreamState.CONNECTING, StreamState.RECONNECTING]
        assert StreamState.FAILED not in states
        assert "secret" not in "".join(m.model_dump_json() for m in await one.told("door"))
        assert "secret" not in repr(one.manager.infos())
        began = time.monotonic()
        await one.manager.stop()
        assert time.monotonic() - began < SOON_S


async def test_what_cannot_be_started_is_said_at_once_and_leaves_nothing(models: Models) -> None:
    async with service(models) as one, asyncio.timeout(2 * PATIENCE_S):
        with pytest.raises(UsageError, match="foo:"):
            await one.manager.start(stream("a", "foo://bar"))
        assert one.hub.streams == ()
        await one.manager.start(stream("a", "test:?seconds=1"))
        with pytest.raises(UsageError, match="already a stream 'a'"):
            await one.manager.start(stream("a", "test:"))
        assert [info.source for info in one.manager.infos()] == ["test:?seconds=1"]
        await one.manager.wait()


async def test_nothing_to_wait_for(models: Models) -> None:
    async with service(models) as one, asyncio.timeout(PATIENCE_S):
        await one.manager.wait()
        assert one.manager.infos() == []


async def test_pausing_and_removing_do_not_wait_for_ever_for_a_full_disk(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "STOP_S", 0.5)
    journal = SlowJournal()
    async with service(models, journal) as one, asyncio.timeout(2 * PATIENCE_S):
        settings = stream("yard", "test:?seconds=3600&width=320&height=180")
        await one.manager.start(settings)
        await one.until("yard", StreamState.LIVE)
        journal.full = True
        await one.manager.change("yard", settings, paused=True)
        assert one.manager.infos()[0].paused
        journal.full = False
        await one.until("yard", StreamState.STALLED)  # it was tried on in the background
        journal.full = True
        with pytest.raises(FeedError, match="the disk is full"):
            await one.manager.remove("yard")
        assert [info.id for info in one.manager.infos()] == ["yard"]
        journal.full = False
        await one.manager.remove("yard")
        assert one.manager.infos() == []
    assert (await one.states("yard"))[-2:] == [StreamState.STALLED, StreamState.ENDED]


class StumblingClock(SystemClock):
    """Stands still for its first readings, as no clock does: what divides by the time between two of them fails."""

    def __init__(self, readings: int) -> None:
        super().__init__()
        self._left, self._still = readings, super().monotonic()
        self.went_on = asyncio.Event()

    def monotonic(self) -> float:
        if self._left > 0:
            self._left -= 1
            return self._still
        self.went_on.set()
        return super().monotonic()


async def test_a_look_at_the_load_that_fails_is_told_of_and_the_next_one_is_taken(
    models: Models, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(manager, "WEIGH_S", 0.05)
    monkeypatch.setattr(supervision, "BACKOFF_FIRST_S", 0.05)

    def failed() -> int:
        return sum("load cannot be judged" in record.message and bool(record.exc_info) for record in caplog.records)

    hub, clock = Hub(MemoryJournal()), StumblingClock(4)
    async with Manager(hub, models, clock) as watched, asyncio.timeout(2 * PATIENCE_S):
        await clock.went_on.wait()
        await watched.start(stream("cam", "test:?realtime=1"))
        async with hub.subscribe("cam") as feed:
            async for item in feed:
                if isinstance(decode(item.text), CaptionMessage):
                    break
        await clock.sleep(3 * manager.WEIGH_S)
        assert watched.load.load > 0
    await hub.close()
    assert failed() == 2
