"""The whole service in one place: streams, hub and server, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from streamcap.captioners import SharedModel
from streamcap.config import Settings, is_loopback
from streamcap.flow import SystemClock
from streamcap.frames import FrameStore, MemoryFrames
from streamcap.hub import Hub
from streamcap.journal import Journal, MemoryJournal, Retention
from streamcap.manager import Manager
from streamcap.models.pool import Models
from streamcap.server import Guard, Listening, StreamInfo, create_app
from streamcap.server import serve as serve_app
from streamcap.server.control import Control, admission
from streamcap.server.metrics import Refusals
from streamcap.server.registry import Registry
from streamcap.server.run import bind, check_tls
from streamcap.server.sessions import Sessions
from streamcap.tokens import guard_for
from streamcap.webrtc import Peers
from streamcap.webrtc.peers import PUBLISH, WATCH

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
        UsageError: a stream's source is of no known sort, or the address cannot be listened on, or everybody could
            use it from there and nobody said that they may.
        ConfigError: the data folder, the journal in it, what it holds of streams added earlier, the tokens, the
            certificate, or the address of the model server cannot be used.
        ModelLoadError: what a model server is called with is not installed.
        FeedError: the disk that the journal lies on is full or fails.
    """
    security = settings.security
    tokens = guard_for(settings)
    tls = (security.tls_cert, security.tls_key) if security.tls_cert and security.tls_key else None
    if tls is not None:
        check_tls(*tls)
    registry = Registry(settings.server.data) if settings.server.data is not None else None
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(bind(settings.server.host, settings.server.port)))
        journal = await _open_journal(settings)
        stack.push_async_callback(journal.close)
        clock = SystemClock()
        hub = Hub(journal, clock=clock, heartbeat_s=settings.server.heartbeat_s)
        frames = await _open_frames(settings)
        stack.push_async_callback(frames.close)
        if settings.vision is not None:
            vision = await stack.enter_async_context(SharedModel(settings.vision, clock))
            models = replace(models, vision=vision)
        manager = await stack.enter_async_context(Manager(hub, models, clock, frames, settings.load))
        fixed = [stream.id for stream in settings.streams]
        control = Control(manager, registry, fixed=fixed, admit=admission(security.sources))
        sessions = Sessions(tokens)
        peers = Peers(settings.webrtc, manager.ports, manager.view, manager.relay)
        app = create_app(
            hub,
            streams_info=lambda: _infos(manager, peers),
            control=control,
            stages=manager.stages,
            view=manager.view,
            frames=frames,
            sessions=sessions,
            peers=peers,
            closed_to_publishers=manager.closed_to_publishers,
            vision=models.vision,
            seen=manager,
            load=lambda: manager.load,
            refused=lambda: _refused(control, peers),
        )
        guard = Guard(app, tokens, security, hosts=_hosts(settings), sessions=sessions)
        server: asyncio.Task[None] | None = None
        try:
            for stream in settings.streams:  # before it listens: a stream that is not open yet would be answered 4404
                await manager.start(stream)
            await control.restore()
            ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
            serving = serve_app(
                guard,
                host=settings.server.host,
                listener=listener,
                ready=ready,
                limits=security.limits,
                tls=tls,
                proxies=security.trusted_proxies,
            )
            server = asyncio.create_task(serving, name="server")
            either: list[asyncio.Future[Any]] = [server, ready]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if server.done():
                server.result()
            yield Service(manager, hub, ready.result(), server)
        finally:
            await control.close()
            await manager.stop()
            await peers.close()
            await hub.close()
            if server is not None:
                server.cancel()
                await asyncio.wait({server})


def _hosts(settings: Settings) -> tuple[str, ...] | None:
    """Names by which clients may call the server; None for any."""
    return settings.security.allowed_hosts or (() if is_loopback(settings.server.host) else None)


async def _open_journal(settings: Settings) -> Journal:
    if settings.server.data is None:
        return MemoryJournal()
    from streamcap.journal.sqlite import SqliteJournal  # late: not every Python is built with SQLite

    keep = settings.journal
    retention = Retention(messages=keep.max_messages, size=keep.max_bytes, age_s=keep.max_age_days * 24 * 3600)
    return await SqliteJournal.open(settings.server.data, retention=retention)


async def _open_frames(settings: Settings) -> FrameStore:
    if settings.server.data is None or not settings.journal.frames_bytes:
        return MemoryFrames()
    from streamcap.frames.sqlite import SqliteFrames  # late: not every Python is built with SQLite

    age_s = settings.journal.max_age_days * 24 * 3600
    return await asyncio.to_thread(SqliteFrames, settings.server.data, size=settings.journal.frames_bytes, age_s=age_s)


def _refused(control: Control, peers: Peers) -> Refusals:
    found = {("stream", reason): count for reason, count in control.refused.items()}
    return found | {("publisher", "most"): peers.refused[PUBLISH], ("viewer", "most"): peers.refused[WATCH]}


def _infos(manager: Manager, peers: Peers) -> list[StreamInfo]:
    return [
        StreamInfo(
            info.id,
            info.source,
            paused=info.paused,
            target_fps=info.target_fps,
            analysed_fps=info.analysed_fps,
            settings=info.settings,
            frames=info.frames,
            drops=info.dropped,
            whep=peers.sends(info.id),
        )
        for info in manager.infos()
    ]
