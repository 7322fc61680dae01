"""Supervises many streams: each runs in its own task, and one that fails touches no other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
from dataclasses import dataclass, field, replace
from types import TracebackType

from streamcap.config import Admission, LoadSettings, StreamSettings
from streamcap.errors import FeedError, ModelError, Overloaded, SourceError, StreamcapError, UsageError
from streamcap.flow import Clock, Turns
from streamcap.frames import FrameKeeper, FrameStore, MemoryFrames, StreamFrames, View
from streamcap.hub import Hub
from streamcap.metrics import StageTime
from streamcap.models.pool import Models
from streamcap.pipeline import Pipeline
from streamcap.runs import StreamFeed
from streamcap.shedding import Shedder
from streamcap.sources import Kind, SharedSources, SourceOptions, open_source, parse, redact
from streamcap.sources.ports import Ports
from streamcap.sources.relay import Relay
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
# Seconds between two looks at the load, and until a new stream is part of it.
WEIGH_S = 1.0
SETTLED_S = 10.0
# A paused stream's source is kept open so long (seconds).
KEPT_S = 30.0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream as a list shows it.

    Attributes:
        source: without credentials.
        frames: looked at since the watching began or was last changed.
        dropped: frames that the source decoded and nobody looked at, likewise.
        fps: looked at a second where the machine keeps up; target_fps: what it is lowered to now, together with all
            others, where it does not; analysed_fps: over the last five seconds.
        paused: not watched until it is resumed.
    """

    id: str
    source: str
    state: str
    frames: int
    dropped: int
    fps: float
    target_fps: float
    analysed_fps: float
    profile: str
    paused: bool


@dataclass(slots=True)
class _Running:
    settings: StreamSettings
    feed: StreamFeed
    frames: StreamFrames
    task: asyncio.Task[None] | None = None
    pipeline: Pipeline | None = None
    failures: int = 0  # since it last ran well: how long to wait before the next try
    defects: int = 0
    paused: bool = False
    told: set[str] = field(default_factory=set)  # details of the state that it is in
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    begun: float = 0.0  # clock seconds
    busy: float = 0.0  # of the pipeline, at the last look at the load


class Manager:
    """Runs streams into a hub; an async context manager that stops them all.

    Args:
        hub: where messages go.
        models: shared by all streams.
        frames: where the frames that captions point at are kept, in memory if left out; closed by the caller.
        load: what is done where the machine cannot keep up.

    Attributes:
        ports: where streams that are published to this process come in.
    """

    def __init__(
        self,
        hub: Hub,
        models: Models,
        clock: Clock,
        frames: FrameStore | None = None,
        load: LoadSettings | None = None,
    ) -> None:
        self._hub, self._models, self._clock = hub, models, clock
        self._frames = frames or MemoryFrames()
        self.ports = Ports()
        self._running: dict[str, _Running] = {}
        self._sources = SharedSources(open_source)
        cores = max(1, min(len(os.sched_getaffinity(0)), os.cpu_count() or 1))
        self._load_settings = load or LoadSettings()
        self._turns = Turns(cores)
        self._shedder = Shedder(self._load_settings.floor_fps, cores)
        self._weighing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Manager:
        self._weighing = asyncio.create_task(self._weigh(), name="load")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._weighing is not None:
            self._weighing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._weighing
        await self.stop()

    @property
    def load(self) -> float:
        """How much of what can be looked at is looked at, 0..1."""
        return self._shedder.load

    def admit(self) -> None:
        """Return where there is room for one more stream.

        Raises:
            Overloaded: there is none, and the settings say that it is to be refused then.
        """
        if self._load_settings.admission is Admission.LOWER:
            return
        young = self._clock.monotonic() - SETTLED_S
        watched = [running for running in self._running.values() if not running.paused]
        unmeasured = sum(running.begun > young for running in watched)
        measured = len(watched) - unmeasured
        if not self._shedder.room(self._most(), measured=measured, unmeasured=unmeasured):
            raise Overloaded(
                f"this machine watches {len(watched)} streams and has no room for another: "
                f"load {self._shedder.load:.0%} at {self._shedder.share:.0%} of the wanted rates",
                hint="remove or pause a stream, lower load.floor_fps, or set load.admission to lower",
            )

    async def start(self, settings: StreamSettings, *, paused: bool = False) -> None:
        """Open the stream in the hub and begin to watch it, unless it is to begin paused.

        Raises:
            UsageError: there is a stream of that id, or its source is of no known sort.
        """
        if settings.id in self._running:
            raise UsageError(f"there is already a stream {settings.id!r}")
        running = _Running(
            settings,
            StreamFeed(self._hub, settings.id, self._clock),
            StreamFrames(View(), FrameKeeper(settings.id, self._frames)),
            paused=paused,
        )
        open_source(
            settings.source, self._options(settings)
        )  # one that cannot be named fails here, not in the background
        self._running[settings.id] = running  # before the wait: two calls at once must not both begin
        try:
            await self._hub.open_stream(settings.id)
        except BaseException:
            del self._running[settings.id]
            raise
        if paused:
            await self._say_paused(running)
        else:
            self._watch(running)

    async def change(self, stream: str, settings: StreamSettings, *, paused: bool) -> None:
        """Watch a stream with other settings, or pause it.

        Another rate, profile or captioner is taken up while it is watched: nothing is opened anew or forgotten. With
        another source what is open becomes final, and watching begins anew. The source of a paused stream is kept open
        for half a minute.

        Calls for one stream must not overlap. Cancelled, the stream may be left paused.

        Raises:
            UsageError: there is no such stream, the settings name another, or the source is of no known sort.
        """
        running = self._known(stream)
        if settings.id != stream:
            raise UsageError(f"the settings of {settings.id!r} cannot be those of {stream!r}")
        open_source(settings.source, self._options(settings))  # as in start
        pipeline = running.pipeline
        if pipeline is not None and not paused and not running.paused and settings.source == running.settings.source:
            pipeline.apply(settings)
            running.settings = settings
            self._shed(running)
            return
        if settings.source == running.settings.source:
            self._sources.keep(settings.source, stream, KEPT_S)
        await self._halt(running, ended=False)
        running.settings, running.paused = settings, paused
        running.pipeline, running.failures, running.defects = None, 0, 0
        running.stopping.clear()
        if paused:
            await self._say_paused(running)
        else:
            self._watch(running)

    async def remove(self, stream: str) -> None:
        """Stop watching a stream for good: what is open becomes final, then it ends and leaves the hub.

        What the journal holds of it stays. Calls for one stream must not overlap.

        Raises:
            UsageError: there is no such stream.
            FeedError: the journal cannot commit its end; it is not watched any more, but still there.
        """
        running = self._known(stream)
        self._sources.keep(running.settings.source, stream, 0)
        await self._halt(running, ended=True)
        if not self._hub.has_ended(stream):  # it was paused, waited to be tried again, or was given up
            try:
                async with asyncio.timeout(STOP_S):
                    await self._status(running, StreamState.ENDED, "removed", "")
            except TimeoutError:
                raise FeedError(f"the end of {stream} cannot be committed: {running.feed.trouble}") from None
        self._hub.close_stream(stream)
        running.frames.view.close()
        self.ports.close(stream)
        del self._running[stream]

    async def stop(self) -> None:
        """Stop watching: what is open becomes final. Streams that do not stop in 10 s are cancelled.

        To their subscribers they have not ended: the service goes, and may come back.
        """
        await asyncio.gather(*(self._halt(running, ended=False) for running in self._running.values()))
        for running in self._running.values():
            running.frames.view.close()
        self.ports.close()
        self._running.clear()
        await self._sources.close()

    async def wait(self) -> None:
        """Return when every stream has ended."""
        tasks = [r.task for r in self._running.values() if r.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def infos(self) -> list[StreamInfo]:
        """All streams, in the order of their start."""
        return [self._info(key, running) for key, running in self._running.items()]

    def stages(self, stream: str) -> dict[str, StageTime]:
        """Time per stage since the watching of a stream began or was last changed; empty where it is not watched.

        Raises:
            UsageError: there is no such stream.
        """
        pipeline = self._known(stream).pipeline
        return {**pipeline.source.stages.times, **pipeline.stages.times} if pipeline is not None else {}

    def view(self, stream: str) -> View | None:
        """The newest frame of a stream, None where there is no such stream."""
        running = self._running.get(stream)
        return running.frames.view if running is not None else None

    def relay(self, stream: str) -> Relay | None:
        """The packets of a stream's source; None where it has none, or is not watched."""
        running = self._running.get(stream)
        return running.pipeline.source.relay if running is not None and running.pipeline is not None else None

    def closed_to_publishers(self, stream: str) -> str:
        """Why a stream takes no publisher now, empty where it does."""
        running = self._running.get(stream)
        if running is None or parse(running.settings.source).kind is not Kind.PUSH:
            return f"{stream} is not published: its source is not whip:"
        return f"{stream} is paused" if running.paused else ""

    def settings(self, stream: str) -> StreamSettings:
        """What a stream is watched with.

        Raises:
            UsageError: there is no such stream.
        """
        return self._known(stream).settings

    def _known(self, stream: str) -> _Running:
        try:
            return self._running[stream]
        except KeyError:
            raise UsageError(f"no such stream: {stream}") from None

    def _info(self, key: str, running: _Running) -> StreamInfo:
        status = self._hub.state(key).status if key in self._hub.streams else None
        frames = running.pipeline.frames if running.pipeline else 0
        drops = running.pipeline.source.drops if running.pipeline else 0
        settings = running.settings
        return StreamInfo(
            key,
            redact(settings.source),
            status.state if status else "",
            frames,
            drops,
            settings.fps,
            self._shedder.target(settings.fps),
            running.pipeline.rate if running.pipeline else 0.0,
            settings.profile,
            running.paused,
        )

    def _watch(self, running: _Running) -> None:
        running.begun = self._clock.monotonic()
        running.task = asyncio.create_task(self._supervise(running), name=f"stream-{running.settings.id}")

    async def _say_paused(self, running: _Running) -> None:
        """Publish that a stream is paused. Where the journal cannot commit that, it is tried on in the background."""
        pause = self._status(running, StreamState.STALLED, "paused", "")
        running.task = asyncio.create_task(pause, name=f"pause-{running.settings.id}")
        await asyncio.wait({running.task}, timeout=STOP_S)

    async def _halt(self, running: _Running, *, ended: bool) -> None:
        """End a stream's task, within 10 s by itself and then by cancellation."""
        running.stopping.set()
        task = running.task
        if task is None or task.done():
            return
        if running.pipeline is not None:
            await running.pipeline.stop(ended=ended)
        else:
            task.cancel()
        _, late = await asyncio.wait({task}, timeout=STOP_S)
        for each in late:
            each.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _options(self, settings: StreamSettings) -> SourceOptions:
        return SourceOptions(stream=settings.id, fps=settings.fps, realtime=True, clock=self._clock, ports=self.ports)

    def _pipeline(self, running: _Running, origin: float) -> Pipeline:
        settings = running.settings
        options = replace(self._options(settings), origin=origin)
        pipeline = Pipeline(
            settings,
            lambda notify: self._sources.reader(settings.source, replace(options, on_notice=notify)),
            self._models,
            running.feed,
            self._clock,
            run_id=f"{secrets.token_hex(3)}-",
            again=running.failures > 0,
            turns=self._turns,
            frames=running.frames,
        )
        running.busy = 0.0
        return pipeline

    def _most(self) -> float:
        """Highest rate that a stream is to have, 0 where none is watched."""
        return max((r.settings.fps for r in self._running.values() if r.pipeline is not None), default=0.0)

    def _shed(self, running: _Running) -> None:
        if running.pipeline is not None:
            share = self._shedder.share
            running.pipeline.shed(self._shedder.target(running.settings.fps), frugal=share < 1.0)

    async def _weigh(self) -> None:
        """Look at the load again and again, and lower or raise the rate of all streams by it."""
        before = self._clock.monotonic()
        while True:
            await self._clock.sleep(WEIGH_S)
            now = self._clock.monotonic()
            elapsed, before = now - before, now
            if self._shedder.update(self._busy(elapsed), elapsed, self._most()):
                _log.info("streams get %.0f %% of their rate", 100 * self._shedder.share)
                for running in self._running.values():
                    self._shed(running)

    def _busy(self, elapsed: float) -> float:
        """How busy the machine was: turns that were taken of all that there were, or the mean of the streams' own."""
        watched = [running for running in self._running.values() if running.pipeline is not None]
        spent = 0.0
        for running in watched:
            assert running.pipeline is not None
            spent += running.pipeline.busy - running.busy
            running.busy = running.pipeline.busy
        # One stream has one turn at a time: it can be at its limit while others' turns are free.
        return spent / elapsed / max(1, min(self._turns.limit, len(watched)))

    async def _supervise(self, running: _Running) -> None:
        """Run the stream until it ends or is given up."""
        while True:
            started = self._clock.monotonic()
            try:
                running.pipeline = self._pipeline(running, await running.feed.begin_run())
                self._shed(running)
                await running.pipeline.run()
            except SourceError as error:
                if running.stopping.is_set():
                    return  # closed while it was being opened
                if parse(running.settings.source).kind is Kind.FILE:
                    await self._give_up(running, "source", error)
                    return
                await self._status(running, StreamState.RECONNECTING, "source", _in_words(error))
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
                if running.defects > RESTARTS or running.stopping.is_set():
                    await self._give_up(running, "defect", error)
                    return
                await self._status(running, StreamState.RECONNECTING, "restart", type(error).__name__)
            else:
                return
            if running.stopping.is_set():
                return
            running.pipeline = None
            running.failures = 1 if self._clock.monotonic() - started > HEALTHY_S else running.failures + 1
            await self._clock.sleep(_backoff(running.failures))

    async def _give_up(self, running: _Running, reason: str, error: Exception) -> None:
        await self._status(running, StreamState.FAILED, reason, _in_words(error))

    async def _status(self, running: _Running, state: StreamState, reason: str, detail: str) -> None:
        """Publish a change of state; what was said already is not said again at each try."""
        key = running.settings.id
        last = self._hub.state(key).status
        if last is None or (last.state, last.reason) != (state, reason):
            running.told.clear()
        elif detail == last.detail or detail in running.told:
            return
        running.told.add(detail)
        if state in (StreamState.FAILED, StreamState.RECONNECTING):
            _log.warning("stream %s is %s: %s", key, state, detail or reason)
        await running.feed.publish(key, status_message(key, state, at=self._clock.wall(), reason=reason, detail=detail))


def _in_words(error: Exception) -> str:
    """What failed and, where that is known, what to do about it."""
    hint = error.hint if isinstance(error, StreamcapError) else ""
    return f"{error}; {hint}" if hint else str(error)


def _backoff(failures: int) -> float:
    """Seconds before try number ``failures + 1``, jittered so that many streams do not come back at once."""
    longest: float = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** (failures - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # not for secrets
