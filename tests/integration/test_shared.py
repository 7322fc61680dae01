"""Streams that watch the same camera share its one connection, which outlives a pause and a change of settings."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from streamcap import manager as manager_module
from streamcap.config import Profile, StreamSettings
from streamcap.errors import SourceClosed, SourceNotFound
from streamcap.models.pool import Models
from streamcap.sources import SharedSources, SourceOptions, backoff, open_source
from streamcap.types import Frame, Notice, NoticeKind
from streamcap.wire import StreamState
from tests.blind import Blind
from tests.cameras import Camera
from tests.integration.test_manager import service
from tests.patience import LONG_S, PATIENCE_S

pytestmark = [pytest.mark.rtsp]


@pytest.fixture
def camera(rtsp_python: str) -> Iterator[Camera]:
    camera = Camera(rtsp_python)
    camera.on()
    yield camera
    camera.off()


class Counter:
    """A relay to a camera that counts who connects.

    Attributes:
        url: of the camera through it.
        made, held: connections so far, and those that are open.
    """

    def __init__(self, camera: Camera) -> None:
        self._port = camera.port
        self._path = urlsplit(camera.url).path
        self.made = self.held = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._left = asyncio.Event()

    async def __aenter__(self) -> Counter:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{port}{self._path}?transport=tcp"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in tuple(self._writers):
            writer.close()  # what reads from it ends by itself
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    async def empty(self) -> None:
        """Return when nobody is connected."""
        async with asyncio.timeout(PATIENCE_S):
            while self.held:
                self._left.clear()
                await self._left.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.made += 1
        self.held += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                up, down = await asyncio.open_connection("127.0.0.1", self._port)
                self._writers.add(down)
                await asyncio.gather(_pass(reader, down), _pass(up, writer))
                self._writers.discard(down)
                await down.wait_closed()
        finally:
            self._writers.discard(writer)
            writer.close()
            self.held -= 1
            self._left.set()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side closes; then the other is closed too."""
    try:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def sharing() -> AsyncIterator[SharedSources]:
    shared = SharedSources(open_source)
    try:
        yield shared
    finally:
        await shared.close()


async def test_two_readers_one_connection(camera: Camera) -> None:
    notices: dict[str, list[Notice]] = {"a": [], "b": []}
    async with Counter(camera) as counter, sharing() as shared, asyncio.timeout(2 * PATIENCE_S):
        a = shared.reader(counter.url, SourceOptions(stream="a", fps=5, on_notice=notices["a"].append))
        b = shared.reader(counter.url, SourceOptions(stream="b", fps=1, origin=100.0, on_notice=notices["b"].append))
        async with a:
            first = [frame async for frame, _ in _first(a.frames(), 3)]
            async with b:
                seen = [frame async for frame, _ in _first(b.frames(), 3)]
                assert counter.made == 1
            more = [frame async for frame, _ in _first(a.frames(), 3)]
        assert counter.made == 1
        await counter.empty()  # the last one who leaves closes it
        assert {f.stream for f in (*first, *more)} == {"a"} and {f.stream for f in seen} == {"b"}
        assert first[0].pts == 0.0 and seen[0].pts == 100.0
        assert all(y.pts - x.pts > 0.1 for x, y in itertools.pairwise(first))
        assert all(y.pts - x.pts > 0.7 for x, y in itertools.pairwise(seen))
        again = shared.reader(counter.url, SourceOptions(stream="c"))
        async with again:
            assert counter.made == 2
    assert [n.kind for n in notices["a"]] == [NoticeKind.CONNECTED]


async def test_a_camera_that_goes_away_is_missed_by_all_and_opened_again_once(camera: Camera) -> None:
    notices: dict[str, list[Notice]] = {"a": [], "b": []}
    async with Counter(camera) as counter, sharing() as shared, asyncio.timeout(2 * PATIENCE_S):
        a = shared.reader(counter.url, SourceOptions(stream="a", on_notice=notices["a"].append))
        b = shared.reader(counter.url, SourceOptions(stream="b", origin=50.0, on_notice=notices["b"].append))
        async with a, b:
            async for _, number in _first(b.frames(), 40):
                if number == 2:
                    camera.off()
                    await asyncio.sleep(1.5)
                    camera.on()
                if any(n.kind is NoticeKind.GAP for n in notices["b"]):
                    break
            assert counter.held == 1
        gaps = {name: next(n for n in told if n.kind is NoticeKind.GAP) for name, told in notices.items()}
        for gap in gaps.values():
            assert gap.start is not None and gap.end is not None and gap.end - gap.start > 1
        shift = (gaps["b"].start or 0) - (gaps["a"].start or 0)
        assert 50 - PATIENCE_S < shift <= 50, "each in its own media time"


async def test_what_cannot_be_opened_fails_for_each_and_leaves_nothing(camera: Camera) -> None:
    async with sharing() as shared, asyncio.timeout(2 * PATIENCE_S):
        missing = camera.url.replace("/cam", "/none")
        readers = [shared.reader(missing, SourceOptions(stream=name)) for name in "ab"]
        found = await asyncio.gather(*(reader.open() for reader in readers), return_exceptions=True)
        assert [type(each) for each in found] == [SourceNotFound, SourceNotFound]
        camera.freeze()
        waiting = shared.reader(camera.url, SourceOptions(stream="a"))
        opening = asyncio.create_task(waiting.open())
        await asyncio.sleep(0.3)
        await waiting.close()
        with pytest.raises(SourceClosed):
            await opening


@pytest.mark.weights
async def test_streams_of_one_camera_pause_and_change_without_a_new_connection(
    camera: Camera, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "KEPT_S", LONG_S)
    async with Counter(camera) as counter, service(models) as one, asyncio.timeout(2 * PATIENCE_S):
        guard = StreamSettings(id="guard", source=counter.url)
        await one.manager.start(guard)
        await one.manager.start(StreamSettings(id="diary", source=counter.url, profile=Profile.GENERAL))
        await one.until("guard", StreamState.LIVE)
        await one.until("diary", StreamState.LIVE)
        frames = _frames(one.manager, "guard")
        changed = guard.model_copy(update={"profile": Profile.GENERAL, "fps": 2.0})
        await one.manager.change("guard", changed, paused=False)
        info = one.manager.infos()[0]
        assert (info.profile, info.fps) == ("general", 2.0)
        await _grows(one.manager, "guard", frames)
        assert (await one.states("guard")).count(StreamState.CONNECTING) == 1, "it is not begun anew"

        await one.manager.change("diary", one.manager.settings("diary"), paused=True)
        await one.manager.change("guard", changed, paused=True)  # now nobody reads it
        assert (await one.states("guard"))[-1] is StreamState.STALLED
        await asyncio.sleep(0.5)
        await one.manager.change("guard", changed, paused=False)
        await one.until("guard", StreamState.LIVE)
        await _grows(one.manager, "guard", 0)
        assert (counter.made, counter.held) == (1, 1)

        await one.manager.remove("guard")
        await one.manager.remove("diary")
        await counter.empty()  # kept for nobody who could come back


async def test_a_refused_login_is_tried_at_once_when_its_stream_is_changed(
    rtsp_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "REFUSED_FIRST_S", LONG_S)  # else it might be the first try that finds it
    camera = Camera(rtsp_python, "--user", "me", "--login", "digest")
    settings = StreamSettings(id="cam", source=camera.url.replace("//", "//me:s3same@"))

    async def refused() -> None:
        async with one.hub.subscribe("cam") as feed:
            async for _ in feed:
                status = one.hub.state("cam").status
                if status is not None and backoff.REFUSED_PLAN in status.detail:
                    assert status.state is StreamState.RECONNECTING
                    return

    async def repaired(password: str) -> None:
        camera.off()
        await asyncio.to_thread(camera.on, "--password", password)

    with ThreadPoolExecutor(2) as workers:
        async with service(Models(Blind(), None, workers)) as one, asyncio.timeout(4 * PATIENCE_S):
            try:
                camera.on("--password", "another")
                await one.manager.start(settings)  # it never comes
                await refused()
                await repaired("s3same")
                settings = settings.model_copy(update={"fps": 4.0})
                await one.manager.change("cam", settings, paused=False)
                await one.until("cam", StreamState.LIVE)

                await repaired("another")  # it goes away
                await refused()
                await repaired("s3same")
                settings = settings.model_copy(update={"fps": 5.0})
                await one.manager.change("cam", settings, paused=False)
                await one.until("cam", StreamState.LIVE)

                await repaired("another")
                await refused()
                await one.manager.change("cam", settings, paused=True)
                await one.manager.change("cam", settings, paused=False)  # its connection was kept, and is away
                await refused()
                await repaired("s3same")
                await one.manager.change("cam", settings, paused=True)
                await one.manager.change("cam", settings, paused=False)
                await one.until("cam", StreamState.LIVE)
                await _grows(one.manager, "cam", 0)
            finally:
                camera.off()


def _frames(manager: manager_module.Manager, stream: str) -> int:
    return next(info.frames for info in manager.infos() if info.id == stream)


async def _grows(manager: manager_module.Manager, stream: str, above: int) -> None:
    while True:
        if _frames(manager, stream) > above:
            return
        await asyncio.sleep(0.05)


async def _first(items: AsyncIterator[Frame], number: int) -> AsyncIterator[tuple[Frame, int]]:
    count = 0
    async for item in items:
        count += 1
        yield item, count
        if count == number:
            return
