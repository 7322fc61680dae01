"""The life of one stream among many: run, tried again, given up, paused, ended. What fails here touches no other."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from streamcap.captioners import captioner_for
from streamcap.config import StreamSettings
from streamcap.errors import FeedError, LoginRefused, ModelError, SourceError, StreamcapError
from streamcap.flow import Clock, Turns
from streamcap.frames import StreamFrames
from streamcap.hub import Hub
from streamcap.models.pool import Models
from streamcap.pipeline import Pipeline
from streamcap.runs import StreamFeed
from streamcap.sources import Kind, SharedSources, SourceOptions, open_source, parse
from streamcap.sources.backoff import REFUSED_PLAN, refused_wait
from streamcap.sources.ports import Ports
from streamcap.wire import StreamState, status_message

__all__ = ["STOP_S", "Means", "Supervision", "backoff"]

_log = logging.getLogger(__name__)

# A source that cannot be opened, or a stream that broke, is tried again after 1, 2, 4 … seconds, at most this many.
BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 30.0
# A stream that breaks this often by a fault that is not its source's is given up.
RESTARTS = 5
# A stream that ran this long has recovered: its count of restarts begins anew.
HEALTHY_S = 60.0
# A stream that is stopped ends by itself within this time (seconds), else it is cancelled.
STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Means:
    """What all streams of a process share.

    Attributes:
        turns: who may look at a frame.
        target: the rate that a stream of this wanted rate gets now, and whether it is to be frugal.
    """

    hub: Hub
    models: Models
    clock: Clock
    sources: SharedSources
    ports: Ports
    turns: Turns
    target: Callable[[float], tuple[float, bool]]


class Supervision:
    """Keeps one stream running until it ends, is given up or is stopped. Its calls must not overlap, but for ``shed``.

    Args:
        frames: its pictures; the view is closed by whoever made it.

    Attributes:
        settings: what it is watched with.
        pipeline: None where it is not watched now.
        paused: not watched until it is changed again.
        begun: clock seconds at which the watching began.
    """

    def __init__(self, settings: StreamSettings, frames: StreamFrames, means: Means, *, paused: bool = False) -> None:
        self.settings, self.frames, self.paused = settings, frames, paused
        self.pipeline: Pipeline | None = None
        self.begun = 0.0
        self._means = means
        self._feed = StreamFeed(means.hub, settings.id, means.clock)
        self._task: asyncio.Task[None] | None = None
        self._failures = 0  # since it last ran well: how long to wait before the next try
        self._refusals = 0  # of the login, likewise
        self._defects = 0
        self._told: set[str] = set()  # details of the state that it is in
        self._stopping = asyncio.Event()
        self._busy = 0.0  # of the pipeline, at the last look at the load

    @property
    def task(self) -> asyncio.Task[None] | None:
        """Runs as long as the stream does; None before it is watched."""
        return self._task

    @property
    def watched(self) -> bool:
        """True while it is watched, or is to be as soon as its source can be had; not where it was given up."""
        return not self.paused and self._task is not None and not self._task.done()

    async def begin(self) -> None:
        """Watch the stream; say that it is paused where it is."""
        if self.paused:
            await self._say_paused()
            return
        self.begun = self._means.clock.monotonic()
        self._task = asyncio.create_task(self._supervise(), name=f"stream-{self.settings.id}")

    def apply(self, settings: StreamSettings) -> bool:
        """Take up settings of the same source while it is watched; False where it is not, and nothing was done."""
        if self.pipeline is None or self.paused or settings.source != self.settings.source:
            return False
        self.pipeline.apply(settings)
        self.settings = settings
        self.shed()
        return True

    async def begin_anew(self, settings: StreamSettings, *, paused: bool) -> None:
        """Stop, and watch with other settings, or pause. Cancelled, the stream may be left paused."""
        await self.halt(ended=False)
        self.settings, self.paused = settings, paused
        self.pipeline, self._failures, self._refusals, self._defects = None, 0, 0, 0
        self._stopping.clear()
        await self.begin()

    async def halt(self, *, ended: bool) -> None:
        """End the stream's task, within 10 s by itself and then by cancellation.

        Args:
            ended: say that the stream has ended.
        """
        self._stopping.set()
        task = self._task
        if task is None or task.done():
            return
        if self.pipeline is not None:
            await self.pipeline.stop(ended=ended)
        else:
            task.cancel()
        _, late = await asyncio.wait({task}, timeout=STOP_S)
        for each in late:
            each.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def say_removed(self) -> None:
        """Publish the end of a stream that did not do so itself: it was paused, waited to be tried again, or given up.

        Raises:
            FeedError: the journal cannot commit it within 10 s.
        """
        try:
            async with asyncio.timeout(STOP_S):
                await self._status(StreamState.ENDED, "removed", "")
        except TimeoutError:
            raise FeedError(f"the end of {self.settings.id} cannot be committed: {self._feed.trouble}") from None

    def shed(self) -> None:
        """Take up the rate that the load of the machine allows."""
        if self.pipeline is not None:
            fps, frugal = self._means.target(self.settings.fps)
            self.pipeline.shed(fps, frugal=frugal)

    def spent(self) -> float:
        """Seconds that its frames had turns since the last call."""
        if self.pipeline is None:
            return 0.0
        before, self._busy = self._busy, self.pipeline.busy
        return self._busy - before

    def options(self, settings: StreamSettings) -> SourceOptions:
        """How its source is read."""
        means = self._means
        return SourceOptions(
            stream=settings.id, fps=settings.fps, realtime=True, gpu_decode=means.models.gpu_decode, clock=means.clock,
            ports=means.ports,
        )  # fmt: skip

    def check(self, settings: StreamSettings) -> None:
        """Fail here, and not in the background, where a source cannot be named or a captioner is not there. No I/O.

        Raises:
            UsageError: its source is of no known sort.
            ConfigError: it wants a vision–language model, and none is set up.
        """
        open_source(settings.source, self.options(settings))
        captioner_for(settings, self._means.models.vision)

    async def _say_paused(self) -> None:
        """Publish that a stream is paused. Where the journal cannot commit that, it is tried on in the background."""
        pause = self._status(StreamState.STALLED, "paused", "")
        self._task = asyncio.create_task(pause, name=f"pause-{self.settings.id}")
        await asyncio.wait({self._task}, timeout=STOP_S)

    def _pipeline(self, origin: float) -> Pipeline:
        settings, means = self.settings, self._means
        options = replace(self.options(settings), origin=origin)
        self._busy = 0.0
        return Pipeline(
            settings,
            lambda notify: means.sources.reader(settings.source, replace(options, on_notice=notify)),
            means.models,
            self._feed,
            means.clock,
            run_id=f"{secrets.token_hex(3)}-",
            again=self._failures > 0,
            turns=means.turns,
            frames=self.frames,
        )

    async def _supervise(self) -> None:
        """Run the stream until it ends or is given up."""
        clock = self._means.clock
        while True:
            started, refused = clock.monotonic(), False
            try:
                self.pipeline = self._pipeline(await self._feed.begin_run())
                self.shed()
                await self.pipeline.run()
            except SourceError as error:
                if self._stopping.is_set():
                    return  # closed while it was being opened
                if parse(self.settings.source).kind is Kind.FILE:
                    await self._give_up("source", error)
                    return
                refused = isinstance(error, LoginRefused)
                await self._status(StreamState.RECONNECTING, "source", _in_words(error))
            except ModelError as error:  # memory may have been short for a moment: a camera is not given up for that
                if parse(self.settings.source).kind is Kind.FILE or self._fails_again(started):
                    await self._give_up("model", error)
                    return
                await self._status(StreamState.RECONNECTING, "model", _in_words(error))
            except StreamcapError as error:
                await self._give_up("error", error)
                return
            except Exception as error:  # a defect of one stream must not end the others; it is logged whole
                _log.exception("stream %s broke", self.settings.id)
                if self._fails_again(started):
                    await self._give_up("defect", error)
                    return
                await self._status(StreamState.RECONNECTING, "restart", type(error).__name__)
            else:
                return
            if self._stopping.is_set():
                return
            self.pipeline = None
            await clock.sleep(self._wait(started, refused=refused))

    def _wait(self, started: float, *, refused: bool) -> float:
        """Seconds until it is tried again."""
        if self._means.clock.monotonic() - started > HEALTHY_S:
            self._failures = self._refusals = 0
        self._failures += 1
        self._refusals += refused
        return refused_wait(self._refusals) if refused else backoff(self._failures)

    def _fails_again(self, started: float) -> bool:
        """Count a fault that is not the source's; True where there have been too many, or the stream is to end."""
        if self._means.clock.monotonic() - started > HEALTHY_S:
            self._defects = 0
        self._defects += 1
        return self._defects > RESTARTS or self._stopping.is_set()

    async def _give_up(self, reason: str, error: Exception) -> None:
        await self._status(StreamState.FAILED, reason, _in_words(error))

    async def _status(self, state: StreamState, reason: str, detail: str) -> None:
        """Publish a change of state; what was said already is not said again at each try."""
        key, means = self.settings.id, self._means
        last = means.hub.state(key).status
        if last is None or (last.state, last.reason) != (state, reason):
            self._told.clear()
        elif detail == last.detail or detail in self._told:
            return
        self._told.add(detail)
        if state in (StreamState.FAILED, StreamState.RECONNECTING):
            _log.warning("stream %s is %s: %s", key, state, detail or reason)
        message = status_message(key, state, at=means.clock.wall(), reason=reason, detail=detail)
        await self._feed.publish(key, message)


def backoff(failures: int) -> float:
    """Seconds before try number ``failures + 1``, jittered so that many streams do not come back at once."""
    longest: float = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # not for secrets


def _in_words(error: Exception) -> str:
    """What failed and, where that is known, what to do about it."""
    if isinstance(error, LoginRefused):
        return f"{error.in_full}; {REFUSED_PLAN}; at once when the stream is changed, or paused and resumed"
    return error.in_full if isinstance(error, StreamcapError) else str(error)
