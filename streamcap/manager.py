"""Supervises many streams: each runs in its own task, and one that fails touches no other."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from dataclasses import dataclass
from types import TracebackType

from streamcap.config import StreamSettings
from streamcap.errors import ModelError, SourceError, StreamcapError, UsageError
from streamcap.flow import Clock
from streamcap.hub import Hub
from streamcap.models.pool import Models
from streamcap.pipeline import Pipeline
from streamcap.sources import Kind, SourceOptions, open_source, parse, redact
from streamcap.wire import StreamState, status_message

__all__ = ["Manager", "StreamInfo"]

_log = logging.getLogger(__name__)

# A source that cannot be opened, or a stream that broke, is tried again after 1, 2, 4 … seconds, at most this many.
BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 30.0
# A stream that breaks this often by a fault that is not its source's is given up.
RESTARTS = 5
# A stream that ran this long has recovered: its count of restarts begins anew.
HEALTHY_S = 60.0
STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream as a list shows it.

    Attributes:
        source: without credentials.
        dropped: frames that the source decoded and nobody looked at.
    """

    id: str
    source: str
    state: str
    frames: int
    dropped: int


@dataclass(slots=True)
class _Running:
    settings: StreamSettings
    task: asyncio.Task[None] | None = None
    pipeline: Pipeline | None = None
    failures: int = 0  # since it last ran well: how long to wait before the next try
    defects: int = 0


class Manager:
    """Runs streams into a hub; an async context manager that stops them all.

    Args:
        hub: where messages go.
        models: shared by all streams.
    """

    def __init__(self, hub: Hub, models: Models, clock: Clock) -> None:
        self._hub, self._models, self._clock = hub, models, clock
        self._running: dict[str, _Running] = {}

    async def __aenter__(self) -> Manager:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, settings: StreamSettings) -> None:
        """Open the stream in the hub and begin to watch it.

        Raises:
            UsageError: there is a stream of that id, or its source is of no known sort.
        """
        if settings.id in self._running:
            raise UsageError(f"there is already a stream {settings.id!r}")
        self._pipeline(settings)  # a source that cannot be named fails here, not in the background
        await self._hub.open_stream(settings.id)
        running = _Running(settings)
        running.task = asyncio.create_task(self._supervise(running), name=f"stream-{settings.id}")
        self._running[settings.id] = running

    async def stop(self) -> None:
        """Stop watching: what is open becomes final. Streams that do not stop in 10 s are cancelled.

        To their subscribers they have not ended: the service goes, and may come back.
        """
        tasks = [r.task for r in self._running.values() if r.task is not None]
        for running in self._running.values():
            if running.pipeline is not None:
                await running.pipeline.stop(ended=False)
            elif running.task is not None:
                running.task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()

    async def wait(self) -> None:
        """Return when every stream has ended."""
        tasks = [r.task for r in self._running.values() if r.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def infos(self) -> list[StreamInfo]:
        """All streams, in the order of their start."""
        return [self._info(key, running) for key, running in self._running.items()]

    def _info(self, key: str, running: _Running) -> StreamInfo:
        status = self._hub.state(key).status
        frames = running.pipeline.frames if running.pipeline else 0
        drops = running.pipeline.source.drops if running.pipeline else 0
        return StreamInfo(key, redact(running.settings.source), status.state if status else "", frames, drops)

    def _pipeline(self, settings: StreamSettings, *, again: bool = False) -> Pipeline:
        return Pipeline(
            settings,
            lambda notify: open_source(
                settings.source,
                SourceOptions(stream=settings.id, fps=settings.fps, realtime=True, clock=self._clock, on_notice=notify),
            ),
            self._models,
            self._hub,
            self._clock,
            run_id=f"{secrets.token_hex(3)}-",
            again=again,
        )

    async def _supervise(self, running: _Running) -> None:
        """Run the stream until it ends or is given up."""
        while True:
            running.pipeline = self._pipeline(running.settings, again=running.failures > 0)
            started = self._clock.monotonic()
            try:
                await running.pipeline.run()
            except SourceError as error:
                if parse(running.settings.source).kind is Kind.FILE:
                    await self._give_up(running, "source", error)
                    return
                await self._status(running, StreamState.RECONNECTING, "source", str(error))
            except ModelError as error:
                await self._give_up(running, "model", error)
                return
            except StreamcapError as error:
                await self._give_up(running, "error", error)
                return
            except Exception as error:  # a defect of one stream must not end the others; it is logged whole
                _log.exception("stream %s broke", running.settings.id)
                if self._clock.monotonic() - started > HEALTHY_S:
                    running.defects = 0
                running.defects += 1
                if running.defects > RESTARTS:
                    await self._give_up(running, "defect", error)
                    return
                await self._status(running, StreamState.RECONNECTING, "restart", type(error).__name__)
            else:
                return
            running.pipeline = None
            running.failures = 1 if self._clock.monotonic() - started > HEALTHY_S else running.failures + 1
            await self._clock.sleep(_backoff(running.failures))

    async def _give_up(self, running: _Running, reason: str, error: Exception) -> None:
        await self._status(running, StreamState.FAILED, reason, str(error))

    async def _status(self, running: _Running, state: StreamState, reason: str, detail: str) -> None:
        """Publish a change of state; what was said already is not said again at each try."""
        key = running.settings.id
        last = self._hub.state(key).status
        if last is not None and (last.state, last.reason, last.detail) == (state, reason, detail):
            return
        await self._hub.publish(key, status_message(key, state, at=self._clock.wall(), reason=reason, detail=detail))


def _backoff(failures: int) -> float:
    """Seconds before try number ``failures + 1``, jittered so that many streams do not come back at once."""
    longest: float = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** (failures - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # not for secrets
