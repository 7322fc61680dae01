"""The table of the streams that a process watches, and what they may cost it together."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType

from streamcap.config import Admission, LoadSettings, StreamSettings
from streamcap.errors import Overloaded, UsageError
from streamcap.flow import Clock, Turns
from streamcap.frames import FrameKeeper, FrameStore, MemoryFrames, StreamFrames, View
from streamcap.heap import give_back
from streamcap.hub import Hub
from streamcap.memory import Memory
from streamcap.metrics import StageTime
from streamcap.models.pool import Models
from streamcap.shedding import Load, Shedder
from streamcap.sources import Kind, SharedSources, open_source, parse, redact
from streamcap.sources.ports import Ports
from streamcap.sources.relay import Relay
from streamcap.supervision import Means, Supervision, backoff
from streamcap.types import Instance

__all__ = ["Manager", "StreamInfo"]

_log = logging.getLogger(__name__)

# Seconds between two looks at the load, and until the cost of a new stream is wholly part of it.
WEIGH_S = 1.0
SETTLED_S = 10.0
# Seconds between two times that freed memory is given back to the system.
TIDY_S = 60.0
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
        settings: what it is watched with, without credentials.
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
    settings: StreamSettings


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
        self._hub, self._clock = hub, clock
        self._frames = frames or MemoryFrames()
        self.ports = Ports()
        self._streams: dict[str, Supervision] = {}
        self._sources = SharedSources(open_source)
        cores = max(1, min(len(os.sched_getaffinity(0)), os.cpu_count() or 1))
        self._load_settings = load or LoadSettings()
        self._turns = Turns(cores)
        self._shedder = Shedder(self._load_settings.floor_fps, cores)
        self._means = Means(hub, models, clock, self._sources, self.ports, self._turns, self._target)
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> Manager:
        self._tasks = (
            asyncio.create_task(self._repeat("the load cannot be judged", WEIGH_S, self._weigh), name="load"),
            asyncio.create_task(self._repeat("memory cannot be given back", TIDY_S, self._tidy), name="memory"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.stop()

    @property
    def load(self) -> Load:
        """How busy the machine is, and what that costs the streams."""
        return Load(self._shedder.load, self._shedder.share)

    def admit(self) -> None:
        """Return where there is room for one more stream.

        Raises:
            Overloaded: there is none, and the settings say that it is to be refused then.
        """
        if self._load_settings.admission is Admission.LOWER:
            return
        now = self._clock.monotonic()
        ages = [now - stream.begun for stream in self._streams.values() if stream.watched]
        seen = sum(min(1.0, age / SETTLED_S) for age in ages)
        if not self._shedder.room(self._most(), streams=len(ages), seen=seen):
            young = sum(age < SETTLED_S for age in ages)
            soon = f"; {young} of them began just now and may cost less than is allowed for" if young else ""
            raise Overloaded(
                f"this machine watches {len(ages)} streams and has no room for another: "
                f"load {self._shedder.load:.0%} at {self._shedder.share:.0%} of the wanted rates{soon}",
                hint=("try again in a moment, or " if young else "")
                + "remove or pause a stream, lower load.floor_fps, or set load.admission to lower",
                retry_after_s=SETTLED_S if young else None,
            )

    async def start(self, settings: StreamSettings, *, paused: bool = False) -> None:
        """Open the stream in the hub and begin to watch it, unless it is to begin paused.

        Raises:
            UsageError: there is a stream of that id, or its source is of no known sort.
        """
        if settings.id in self._streams:
            raise UsageError(f"there is already a stream {settings.id!r}")
        frames = StreamFrames(View(), FrameKeeper(settings.id, self._frames))
        supervision = Supervision(settings, frames, self._means, paused=paused)
        supervision.check(settings)
        self._streams[settings.id] = supervision  # before the wait: two calls at once must not both begin
        try:
            await self._hub.open_stream(settings.id)
        except BaseException:  # one that was not opened is not there, and its name is free again
            del self._streams[settings.id]
            raise
        await supervision.begin()

    async def change(self, stream: str, settings: StreamSettings, *, paused: bool) -> None:
        """Watch a stream with other settings, or pause it.

        Another rate, profile, captioner or prompt is taken up while it is watched: nothing is opened anew or forgotten.
        With another source what is open becomes final, and watching begins anew. The source of a paused stream is kept
        open for half a minute.

        Calls for one stream must not overlap. Cancelled, the stream may be left paused.

        Raises:
            UsageError: there is no such stream, the settings name another, the source is of no known sort, or there is
                no model for the captioner.
        """
        supervision = self._known(stream)
        if settings.id != stream:
            raise UsageError(f"the settings of {settings.id!r} cannot be those of {stream!r}")
        supervision.check(settings)
        if not paused and supervision.apply(settings):
            return
        if settings.source == supervision.settings.source:
            self._sources.keep(settings.source, stream, KEPT_S)
        await supervision.begin_anew(settings, paused=paused)

    def check(self, settings: StreamSettings) -> None:
        """Return where a stream that is there may be given these settings.

        Raises:
            UsageError: as :meth:`change`.
        """
        self._known(settings.id).check(settings)

    async def remove(self, stream: str) -> None:
        """Stop watching a stream for good: what is open becomes final, then it ends and leaves the hub.

        What the journal holds of it stays. Calls for one stream must not overlap.

        Raises:
            UsageError: there is no such stream.
            FeedError: the journal cannot commit its end; it is not watched any more, but still there.
        """
        supervision = self._known(stream)
        self._sources.keep(supervision.settings.source, stream, 0)
        await supervision.halt(ended=True)
        if not self._hub.has_ended(stream):
            await supervision.say_removed()
        self._hub.close_stream(stream)
        supervision.frames.view.close()
        self.ports.close(stream)
        del self._streams[stream]

    async def stop(self) -> None:
        """Stop watching: what is open becomes final. Streams that do not stop in 10 s are cancelled.

        To their subscribers they have not ended: the service goes, and may come back.
        """
        await asyncio.gather(*(stream.halt(ended=False) for stream in self._streams.values()))
        for stream in self._streams.values():
            stream.frames.view.close()
        self.ports.close()
        self._streams.clear()
        await self._sources.close()

    async def wait(self) -> None:
        """Return when every stream has ended."""
        tasks = [stream.task for stream in self._streams.values() if stream.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def infos(self) -> list[StreamInfo]:
        """All streams, in the order of their start."""
        return [self._info(key, stream) for key, stream in self._streams.items()]

    def stages(self, stream: str) -> dict[str, StageTime]:
        """Time per stage since the watching of a stream began or was last changed; empty where it is not watched.

        Raises:
            UsageError: there is no such stream.
        """
        pipeline = self._known(stream).pipeline
        return {**pipeline.source.stages.times, **pipeline.stages.times} if pipeline is not None else {}

    def view(self, stream: str) -> View | None:
        """The newest frame of a stream, None where there is no such stream."""
        known = self._streams.get(stream)
        return known.frames.view if known is not None else None

    def memory(self, stream: str) -> Memory | None:
        """What a stream was seen to look like; None where it is not watched."""
        known = self._streams.get(stream)
        return known.pipeline.memory if known is not None and known.pipeline is not None else None

    def instances(self, stream: str) -> tuple[Instance, ...]:
        """All that is followed in a stream now; nothing where it is not watched."""
        known = self._streams.get(stream)
        return known.pipeline.instances if known is not None and known.pipeline is not None else ()

    def relay(self, stream: str) -> Relay | None:
        """The packets of a stream's source; None where it has none, or is not watched."""
        known = self._streams.get(stream)
        return known.pipeline.source.relay if known is not None and known.pipeline is not None else None

    def closed_to_publishers(self, stream: str) -> str:
        """Why a stream takes no publisher now, empty where it does."""
        known = self._streams.get(stream)
        if known is None or parse(known.settings.source).kind is not Kind.PUSH:
            return f"{stream} is not published: its source is not whip:"
        return f"{stream} is paused" if known.paused else ""

    def settings(self, stream: str) -> StreamSettings:
        """What a stream is watched with.

        Raises:
            UsageError: there is no such stream.
        """
        return self._known(stream).settings

    def _known(self, stream: str) -> Supervision:
        try:
            return self._streams[stream]
        except KeyError:
            raise UsageError(f"no such stream: {stream}") from None

    def _info(self, key: str, stream: Supervision) -> StreamInfo:
        status = self._hub.state(key).status if key in self._hub.streams else None
        pipeline, settings = stream.pipeline, stream.settings
        return StreamInfo(
            key,
            redact(settings.source),
            status.state if status else "",
            pipeline.frames if pipeline else 0,
            pipeline.source.drops if pipeline else 0,
            settings.fps,
            self._shedder.target(settings.fps),
            pipeline.rate if pipeline else 0.0,
            settings.profile,
            stream.paused,
            settings.model_copy(update={"source": redact(settings.source)}),
        )

    # ---- the load

    def _target(self, wanted: float) -> tuple[float, bool]:
        return self._shedder.target(wanted), self._shedder.share < 1.0

    def _most(self) -> float:
        """Highest rate that a stream is to have, 0 where none is watched."""
        return max((s.settings.fps for s in self._streams.values() if s.pipeline is not None), default=0.0)

    async def _repeat(self, what: str, pause_s: float, work: Callable[[float], Awaitable[None]]) -> None:
        """Do some work again and again, given the seconds since the last time; until cancelled.

        Args:
            what: for the log: what fails where the work does. A defect must not end it unseen: it is tried again.
        """
        before, failures = self._clock.monotonic(), 0
        while True:
            await self._clock.sleep(backoff(failures) if failures else pause_s)
            now = self._clock.monotonic()
            elapsed, before = now - before, now
            try:
                await work(elapsed)
            except Exception:  # whatever it is belongs to this work alone; it is logged whole
                failures += 1
                _log.exception("%s; it is tried again", what)
            else:
                failures = 0

    async def _weigh(self, elapsed: float) -> None:
        """Lower or raise the rate of all streams by the load."""
        if self._shedder.update(self._busy(elapsed), elapsed, self._most()):
            _log.info("streams get %.0f %% of their rate", 100 * self._shedder.share)
            for stream in self._streams.values():
                stream.shed()

    async def _tidy(self, _: float) -> None:
        await asyncio.to_thread(give_back)

    def _busy(self, elapsed: float) -> float:
        """How busy the machine was: turns that were taken of all that there were, or the mean of the streams' own."""
        watched = [stream for stream in self._streams.values() if stream.pipeline is not None]
        # One stream has one turn at a time: it can be at its limit while others' turns are free.
        return sum(stream.spent() for stream in watched) / elapsed / max(1, min(self._turns.limit, len(watched)))
