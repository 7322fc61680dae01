"""The whole service in one place: streams, hub and server, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from streamcap.config import Profile, Settings
from streamcap.flow import SystemClock
from streamcap.hub import Hub
from streamcap.journal import MemoryJournal
from streamcap.manager import Manager
from streamcap.models.pool import Models
from streamcap.server import Listening, StreamInfo, create_app
from streamcap.server import serve as serve_app
from streamcap.server.control import Control
from streamcap.server.registry import Registry
from streamcap.server.run import bind

__all__ = ["Service", "running"]


class Service:
    """A running service.

    Attributes:
        listening: where the feed is served.
    """

    def __init__(self, manager: Manager, hub: Hub, listening: Listening, server: asyncio.Task[None]) -> None:
        self.manager = manager
        self.hub = hub
        self.listening = listening
        self._server = server
        self._stop = asyncio.Event()

    async def stop(self) -> None:
        """Ask for the end. Idempotent."""
        self._stop.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Return when it was asked to stop, or after ``seconds``; raise what the server failed with."""
        asked = asyncio.create_task(self._stop.wait(), name="service-stop")
        try:
            await asyncio.wait({asked, self._server}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        if self._server.done():
            self._server.result()


@contextlib.asynccontextmanager
async def running(settings: Settings, models: Models) -> AsyncIterator[Service]:
    """Run the service for the length of the block.

    On the way out watching stops first, so that the last captions reach subscribers; then subscribers are closed with
    1012; then the server, then the journal. Cancellation takes the same way.

    Raises:
        UsageError: a stream's source is of no known sort, or the address cannot be listened on.
        ConfigError: what the data folder holds of streams added earlier cannot be read.
    """
    registry = Registry(settings.server.data) if settings.server.data is not None else None
    listener = bind(settings.server.host, settings.server.port)
    clock = SystemClock()
    journal = MemoryJournal()
    hub = Hub(journal, clock=clock, heartbeat_s=settings.server.heartbeat_s)
    manager = Manager(hub, models, clock)
    control = Control(manager, registry, fixed=[stream.id for stream in settings.streams])
    app = create_app(hub, streams_info=lambda: _infos(manager), control=control, stages=manager.stages)
    server: asyncio.Task[None] | None = None
    try:
        for stream in settings.streams:  # before it listens: a stream that is not open yet would be answered 4404
            await manager.start(stream)
        await control.restore()
        ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
        server = asyncio.create_task(
            serve_app(app, host=settings.server.host, listener=listener, ready=ready), name="server"
        )
        either: list[asyncio.Future[Any]] = [server, ready]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()
        yield Service(manager, hub, ready.result(), server)
    finally:
        await manager.stop()
        await hub.close()
        if server is not None:
            server.cancel()
            await asyncio.wait({server})
        listener.close()
        await journal.close()


def _infos(manager: Manager) -> list[StreamInfo]:
    return [
        StreamInfo(
            info.id,
            info.source,
            fps=info.fps,
            profile=Profile(info.profile),
            paused=info.paused,
            frames=info.frames,
            drops=info.dropped,
        )
        for info in manager.infos()
    ]
