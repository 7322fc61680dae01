"""One stream, wired: the map to read first.

    source ──frames──> perception (worker thread) ──observations──> teller (windows, captioner) ──messages──> feed
    (decode thread)

Perception never waits for language: see ``telling``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamcap.calibration import calibrated
from streamcap.captioners import Captioner
from streamcap.config import CaptionerName, StreamSettings
from streamcap.errors import ModelError, Overloaded, SourceClosed, UsageError
from streamcap.flow import Clock, Turns
from streamcap.frames import StreamFrames
from streamcap.keyframes import KEEP_BUSY_S, KEEP_NEWS_S
from streamcap.looks import Looks
from streamcap.memory import Memory
from streamcap.metrics import Stages
from streamcap.models.base import Encoder
from streamcap.models.pool import Models
from streamcap.perception import Perception
from streamcap.saliency import Rarity
from streamcap.sources import FrameSource
from streamcap.standing import Status
from streamcap.telling import Feed, Teller
from streamcap.types import Frame, Instance, Notice, Observation, SourceInfo
from streamcap.wire import StreamState

__all__ = ["Pipeline", "Watcher"]

_log = logging.getLogger(__name__)

# The rate of analysis is taken over so many seconds.
RATE_S = 5.0
# A stream that is looked at less often than it is to be says so after this time, and after this time that it no longer
# is (seconds).
LOWERED_S = 5.0
RESTORED_S = 3.0


class Watcher(Protocol):
    """What a pipeline asks of its perception: :class:`Perception`, or a recording of one.

    Attributes:
        frugal: keep fewer key frames; may be set from another thread.
    """

    frugal: bool

    @property
    def memory(self) -> Memory:
        """What is kept of the past."""
        ...

    def observe(self, frame: Frame, /) -> Observation:
        """Take in the next frame; called in a worker thread, one frame at a time. Raises ModelError."""
        ...

    def remember(self, feature: NDArray[np.float32], /) -> None:
        """Take the feature of the newest key frame; called as ``observe`` is."""
        ...

    def forget(self) -> None:
        """The feature of the newest key frame cannot be had; called as ``observe`` is."""
        ...


class Pipeline:
    """Watches one stream until its source ends.

    Args:
        settings: of the stream.
        open_source: makes the source, given what to call with its notices.
        models: shared by all streams.
        feed: where messages go.
        captioner: makes the final text; None for the one that the settings name.
        on_progress: called with media seconds after each frame.
        turns: shared by the streams that share the processors; None for a stream by itself.
        run_id: what ids of captions and events begin with, so that two runs of a stream do not share any.
        again: it was tried before and its feed says so: no ``connecting``.
        perception: wraps or replaces the one made of ``models``, to record what it sees or to play that again.
        frames: where its pictures are shown and kept; None for a stream that nobody looks at.
    """

    def __init__(
        self,
        settings: StreamSettings,
        open_source: Callable[[Callable[[Notice], None]], FrameSource],
        models: Models,
        feed: Feed,
        clock: Clock,
        *,
        captioner: Captioner | None = None,
        on_progress: Callable[[float], None] | None = None,
        turns: Turns | None = None,
        run_id: str = "",
        again: bool = False,
        perception: Callable[[Watcher], Watcher] | None = None,
        frames: StreamFrames | None = None,
    ) -> None:
        self.stages = Stages()
        self.pts = 0.0
        self.frames = 0
        self._id, self._settings = settings.id, settings
        self._again = again
        self._shown = frames
        self._says_end = True
        self._stopped = False
        self._remembering: asyncio.Task[None] | None = None  # at most one, of the watch's group
        self._feed, self._clock = feed, clock
        keeper = frames.keeper if frames is not None else None
        self._teller = Teller(
            settings, feed, clock, captioner=captioner, vision=models.vision, run_id=run_id, keeper=keeper
        )
        self._source = open_source(self._teller.on_notice)
        seeing: Watcher = Perception(
            models.detector, models.workers, self.stages, models.pose, features=models.encoder is not None
        )
        self._models = models
        self._perception = seeing if perception is None else perception(seeing)
        self._look_for(settings)
        self._rarity = Rarity()
        self._turns = turns or Turns(1)
        self._looked: deque[float] = deque(maxlen=512)  # clock seconds of the frames of the last RATE_S
        self._other_since = clock.monotonic()  # since when its rate is not as its state says
        self.busy = 0.0
        self.instances: tuple[Instance, ...] = ()  # as of the newest frame
        self._on_progress = on_progress
        self._info: SourceInfo | None = None
        self._first_pts: float | None = None

    @property
    def source(self) -> FrameSource:
        """The stream's source, for its counters."""
        return self._source

    @property
    def duration(self) -> float | None:
        """Seconds of media that the source will have, None where unknown, endless or not open yet."""
        return self._info.duration if self._info is not None else None

    @property
    def watched(self) -> float:
        """Media seconds between the first and the last frame."""
        return self.pts - self._first_pts if self._first_pts is not None else 0.0

    @property
    def rate(self) -> float:
        """Frames analysed a second, over the last five seconds."""
        now = self._clock.monotonic()
        return sum(now - at < RATE_S for at in self._looked) / RATE_S

    @property
    def memory(self) -> Memory:
        """What was seen so far; bounded whatever the stream's length."""
        return self._perception.memory

    def apply(self, settings: StreamSettings) -> None:
        """Go on with another rate, profile or captioner; the source is not opened anew and nothing seen is forgotten.

        Windows that wait are worded by the new captioner; the one at work ends its own. A source that is away is tried
        again at once.

        Raises:
            UsageError: the settings are of another stream or source: that takes another pipeline.
        """
        if (settings.id, settings.source) != (self._settings.id, self._settings.source):
            raise UsageError(f"{self._id} is watched from another source")
        self._teller.apply(settings)
        self._settings = settings
        self._look_for(settings)
        self.shed(settings.fps)
        self._source.hurry()

    def shed(self, fps: float, *, frugal: bool = False) -> None:
        """Look at this many frames a second at most from now on.

        Args:
            fps: > 0; more than the settings want is what they want.
            frugal: leave out what can be left out: key frames that nobody speaks of.
        """
        self._source.fps = min(fps, self._settings.fps)
        self._perception.frugal = frugal

    async def run(self) -> None:
        """Open the source and watch it until it ends or :meth:`stop` is called.

        Cancellation closes the source and its threads; what was published stays.

        Raises:
            SourceError: the source cannot be opened, or failed for good.
            ModelError: perception failed.
        """
        if not self._again:
            await self._teller.status(StreamState.CONNECTING, "", "")
        try:
            async with self._source as source:
                self._info = source.info
                self._teller.live = source.info.live
                await self._teller.status(StreamState.LIVE, "connected", _describe(source.info))
                await self._watch()
        except SourceClosed:
            _log.debug("%s: stopped before its source was open", self._id)
        finally:
            await self._source.close()
        if self._says_end:
            await self._teller.status(StreamState.ENDED, "end", f"{self.frames} frames, {self.watched:.1f} s of media")

    async def stop(self, *, ended: bool = True) -> None:
        """Stop watching: what is open becomes final, a summary follows. Idempotent.

        Args:
            ended: say that the stream has ended. A service that restarts does not: its subscribers come back.
        """
        self._says_end = ended
        self._stopped = True
        if self._remembering is not None:
            self._remembering.cancel()
        self._teller.hurry()
        await self._source.close()

    async def _watch(self) -> None:
        lane = ThreadPoolExecutor(1, f"streamcap-{self._id}")
        try:
            async with asyncio.TaskGroup() as tasks:
                notices = tasks.create_task(self._teller.tell_notices(), name=f"{self._id}-notices")
                tasks.create_task(self._teller.caption(), name=f"{self._id}-captions")
                await self._perceive(lane, tasks)
                await self._teller.end()
                await self._teller.notices_told()
                notices.cancel()
        except ExceptionGroup as group:
            await self._teller.leave_nothing_open()
            raise _first(group) from group
        finally:
            await asyncio.to_thread(self._end_lane, lane)
        await self._teller.summarise()

    def _end_lane(self, lane: ThreadPoolExecutor) -> None:
        """Wait for what runs in threads; blocks."""
        lane.shutdown(wait=True)
        if self._shown is not None:
            self._shown.keeper.flush()

    async def _perceive(self, lane: ThreadPoolExecutor, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        deadline = self._clock.monotonic()
        async for frame in self._source.frames():
            async with self._turns.turn(deadline):
                began = self._clock.monotonic()
                deadline = began + 1.0 / self._source.fps  # when the next look is due
                # While it waited for its turn a newer one may have come.
                frame = replace(self._source.newest(frame), due=deadline)
                try:
                    seen = await loop.run_in_executor(lane, self._look, frame)
                finally:
                    self.busy += self._clock.monotonic() - began
            self._looked.append(began)
            if self._shown is not None:
                self._shown.view.show(frame)
            if seen.key_frame is not None and self._models.encoder is not None and not self._stopped:
                within = KEEP_NEWS_S if seen.facts else KEEP_BUSY_S
                task = self._remember(self._models.encoder, frame, began + within, lane)
                self._remembering = tasks.create_task(task, name=f"{self._id}-feature")
            self.instances = seen.instances
            self._feed.show_instances(self._id, t=seen.pts, instances=seen.instances)
            seen = calibrated(seen)
            likely = self._rarity.weighed(seen.likely, seen.pts)
            seen = replace(seen, facts=self._rarity.rated(seen.facts, seen.pts), likely=likely)
            self.pts, self.frames = seen.pts, self.frames + 1
            if self._first_pts is None:
                self._first_pts = seen.pts
            await self._teller.tell(seen)
            await self._teller.say(self._engines())
            await self._teller.say(self._load())
            if self._on_progress is not None:
                self._on_progress(seen.pts)
            await self._teller.summarise_in_time()
        await self._teller.flush()

    async def _remember(self, encoder: Encoder, frame: Frame, deadline: float, lane: ThreadPoolExecutor) -> None:
        """Have the feature of a key frame computed, in turn with those of all streams, and remembered.

        Where the encoder fails the memory goes without it: nothing that is told of a look depends on its feature.
        Cancelled where the stream is stopped: nobody asks for it any more.
        """
        began, loop, standing = self._clock.monotonic(), asyncio.get_running_loop(), self._teller.standing
        try:
            found = await encoder.encode([frame.image], deadline=deadline)
        except (ModelError, Overloaded) as error:
            if "encoder" not in standing:
                _log.warning("%s: a key frame has no feature: %s", self._id, error.in_full)
            await loop.run_in_executor(lane, self._perception.forget)
            await self._teller.say(standing.begin("encoder", f"the memory learns nothing new: {error.in_full}"))
            return
        self.stages.add("encode", self._clock.monotonic() - began, found.cpu_s)
        await loop.run_in_executor(lane, self._perception.remember, found.pooled[0])
        await self._teller.say(standing.end("encoder", "key frames are remembered again"))

    def _look(self, frame: Frame) -> Observation:
        """One frame, in the worker thread."""
        seen = self._perception.observe(frame)
        if self._shown is not None:
            times = [fact.end for fact in seen.facts]
            if seen.key_frame is not None or seen.scene_start:
                times.append(seen.pts)
            with self.stages("keep"):
                if seen.changed or times:
                    self._shown.keeper.take(frame, times)
                else:
                    self._shown.keeper.unchanged(frame)
        if (looks := self._teller.looks) is not None:
            with self.stages("look"):
                looks.take(frame, seen)
        return seen

    def _look_for(self, settings: StreamSettings) -> None:
        """Keep pictures for a captioner that looks at them, and for no other."""
        if settings.captioner is not CaptionerName.VISION:
            self._teller.looks = None
        elif self._teller.looks is None:
            self._teller.looks = Looks(lambda: self._perception.memory)

    def _engines(self) -> Iterator[Status]:
        """Says that a network had to leave the GPU; only a new process gets that back."""
        if "engine" not in self._teller.standing and (lost := self._models.lost):
            yield from self._teller.standing.begin("engine", f"on the processor, slower: {lost}")

    def _load(self) -> Iterator[Status]:
        """Says that the stream is looked at less often than it is to be, and no longer is, once that has lasted."""
        now, wanted = self._clock.monotonic(), self._settings.fps
        lowered = self._source.fps < 0.99 * wanted
        if lowered == ("load" in self._teller.standing):
            self._other_since = now
        elif lowered and now - self._other_since >= LOWERED_S:
            yield from self._teller.standing.begin("load", f"too busy to look {wanted:g} times a second")
        elif not lowered and now - self._other_since >= RESTORED_S:
            yield from self._teller.standing.end("load", f"looked at {wanted:g} times a second again")


def _describe(info: SourceInfo) -> str:
    length = f", {info.duration:.1f} s" if info.duration else ""
    rate = f" at {info.fps:g} frames/s" if info.fps else ""  # a publisher does not say
    return f"{info.width}×{info.height}{rate}{length}"


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The error that ended the lanes; the others were cancelled because of it."""
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
