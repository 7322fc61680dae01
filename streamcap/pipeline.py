"""One stream, wired: the map to read first.

    source ──frames──> perception (worker thread) ──observations──> windows ──closed──> captioner ──> feed
    (decode thread)                                              └──drafts, events──────────────────> feed

Perception never waits for language: a draft goes out while its window is open, and where a captioner is behind, the
grounded text stands as the final.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from streamcap.calibration import calibrated
from streamcap.captioners import Captioner, GroundedCaptioner, captioner_for
from streamcap.captions import PACES, CaptionBook, Step, WindowBuilder
from streamcap.config import Profile, StreamSettings
from streamcap.errors import ModelError, SourceClosed, UsageError
from streamcap.flow import Clock, Turns
from streamcap.frames import StreamFrames
from streamcap.language import Description, Tally, describe_change, describe_scene, summarise
from streamcap.metrics import Stages
from streamcap.models.pool import Models
from streamcap.perception import Perception
from streamcap.saliency import Rarity
from streamcap.sources import FrameSource
from streamcap.standing import Standing, Status
from streamcap.types import (
    Caption,
    CaptionKind,
    CaptionStatus,
    Event,
    Fact,
    Frame,
    Instance,
    Notice,
    NoticeKind,
    Observation,
    SourceInfo,
    Window,
)
from streamcap.wire import (
    PublishableMessage,
    StreamState,
    caption_message,
    event_message,
    gap_message,
    status_message,
    unchanged_message,
)

__all__ = ["Feed", "Pipeline", "Watcher"]

_log = logging.getLogger(__name__)

# Media seconds between two summaries of a live stream, and between two "unchanged" in a quiet scene.
SUMMARY_S = 300.0
UNCHANGED_S = 5.0
# Facts below this saliency make no event of their own.
EVENT_FLOOR = 0.3
# Closed windows that wait for the captioner, and notices that wait to be told.
WINDOWS_WAITING = 4
NOTICES_WAITING = 64
# The last notices are told within this time (seconds).
NOTICES_S = 5.0
# The rate of analysis is taken over so many seconds.
RATE_S = 5.0
# A stream that is looked at less often than it is to be says so after this time, and after this time that it no longer
# is (seconds).
LOWERED_S = 5.0
RESTORED_S = 10.0


class Feed(Protocol):
    """Where a pipeline's messages go: the hub, or a file."""

    async def publish(self, stream: str, message: PublishableMessage, /) -> object:
        """Take one message; durable ones in the order of the calls."""
        ...

    def set_scene(self, stream: str, /, *, summary: str, instances: tuple[Instance, ...], camera: str) -> None:
        """What a late joiner should know of the scene."""
        ...

    def show_instances(self, stream: str, /, *, t: float, instances: tuple[Instance, ...]) -> None:
        """Where everything is at media time ``t``, for who draws it over the picture."""
        ...


class Watcher(Protocol):
    """What a pipeline asks of its perception: :class:`Perception`, or a recording of one.

    Attributes:
        frugal: keep fewer key frames; may be set from another thread.
    """

    frugal: bool

    @property
    def memory(self) -> Sized:
        """What is kept of the past."""
        ...

    def observe(self, frame: Frame, /) -> Observation:
        """Take in the next frame; called in a worker thread, one frame at a time. Raises ModelError."""
        ...

    def close(self) -> None:
        """Wait for what still runs in threads."""
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
        self._feed, self._clock = feed, clock
        self._notices: asyncio.Queue[Notice] = asyncio.Queue(NOTICES_WAITING)
        self._windows: asyncio.Queue[Window | None] = asyncio.Queue(WINDOWS_WAITING)
        self._source = open_source(self._on_notice)
        seeing: Watcher = Perception(models.detector, models.encoder, models.workers, self.stages, models.pose)
        self._perception = seeing if perception is None else perception(seeing)
        self._grounded = GroundedCaptioner(smooth=settings.profile is Profile.GENERAL)
        self._captioner: Captioner = captioner or captioner_for(settings)
        self._builder = WindowBuilder(settings.id, pace=PACES[settings.profile], prefix=f"{run_id}c")
        self._book = CaptionBook()
        self._rarity = Rarity()
        self._tally = Tally()
        self._events = 0
        self._event_prefix = f"{run_id}e"
        self._quiet_since: float | None = None
        self._unchanged_at = 0.0
        self._standing = Standing()
        self._turns = turns or Turns(1)
        self._looked: deque[float] = deque(maxlen=512)  # clock seconds of the frames of the last RATE_S
        self._other_since = clock.monotonic()  # since when its rate is not as its state says
        self.busy = 0.0
        self._on_progress = on_progress
        self._info: SourceInfo | None = None
        self._last_captured = 0.0
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
    def memory_slots(self) -> int:
        """Slots in the stream's memory; bounded whatever its length."""
        return len(self._perception.memory)

    def apply(self, settings: StreamSettings) -> None:
        """Go on with another rate, profile or captioner; the source is not opened anew and nothing seen is forgotten.

        Windows that wait are worded by the new captioner; the one at work ends its own.

        Raises:
            UsageError: the settings are of another stream or source: that takes another pipeline.
        """
        if (settings.id, settings.source) != (self._settings.id, self._settings.source):
            raise UsageError(f"{self._id} is watched from another source")
        if settings.captioner != self._settings.captioner or settings.profile != self._settings.profile:
            self._captioner = captioner_for(settings)
            self._grounded = GroundedCaptioner(smooth=settings.profile is Profile.GENERAL)
            self._builder.pace = PACES[settings.profile]
        self._settings = settings
        self.shed(settings.fps)

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
            await self._status(StreamState.CONNECTING, "", "")
        try:
            async with self._source as source:
                self._info = source.info
                await self._status(StreamState.LIVE, "connected", _describe(source.info))
                await self._watch()
        except SourceClosed:
            _log.debug("%s: stopped before its source was open", self._id)
        finally:
            await self._source.close()
        if self._says_end:
            await self._status(StreamState.ENDED, "end", f"{self.frames} frames, {self.watched:.1f} s of media")

    async def stop(self, *, ended: bool = True) -> None:
        """Stop watching: what is open becomes final, a summary follows. Idempotent.

        Args:
            ended: say that the stream has ended. A service that restarts does not: its subscribers come back.
        """
        self._says_end = ended
        await self._source.close()

    async def _watch(self) -> None:
        lane = ThreadPoolExecutor(1, f"streamcap-{self._id}")
        try:
            async with asyncio.TaskGroup() as tasks:
                notices = tasks.create_task(self._tell_notices(), name=f"{self._id}-notices")
                tasks.create_task(self._caption(), name=f"{self._id}-captions")
                await self._perceive(lane)
                await self._windows.put(None)
                await self._notices_told()
                notices.cancel()
        except ExceptionGroup as group:
            await self._leave_nothing_open()
            raise _first(group) from group
        finally:
            await asyncio.to_thread(self._end_lane, lane)
        await self._summarise()

    def _end_lane(self, lane: ThreadPoolExecutor) -> None:
        """Wait for what runs in threads; blocks."""
        lane.shutdown(wait=True)
        if self._shown is not None:
            self._shown.keeper.flush()
        try:
            self._perception.close()
        except ModelError as error:  # of a picture that nobody asks for any more
            _log.warning("%s: %s", self._id, error)

    async def _notices_told(self) -> None:
        try:
            await asyncio.wait_for(self._notices.join(), timeout=NOTICES_S)
        except TimeoutError:
            _log.warning("%s: %d notices were not told in time", self._id, self._notices.qsize())

    async def _leave_nothing_open(self) -> None:
        """After a fault: what was drafted becomes final as it stands, so that no subscriber keeps a draft for ever."""
        while not self._windows.empty():
            if (window := self._windows.get_nowait()) is not None:
                await self._finalise_grounded(window)
        for step in self._builder.flush():
            await self._finalise_grounded(step.window)
        await self._summarise()

    async def _perceive(self, lane: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        deadline = self._clock.monotonic()
        async for frame in self._source.frames():
            async with self._turns.turn(deadline):
                began = self._clock.monotonic()
                frame = self._source.newest(frame)  # while it waited for its turn a newer one may have come
                try:
                    seen = await loop.run_in_executor(lane, self._look, frame)
                finally:
                    self.busy += self._clock.monotonic() - began
            deadline = began + 1.0 / self._source.fps
            self._looked.append(began)
            if self._shown is not None:
                self._shown.view.show(frame)
            self._feed.show_instances(self._id, t=seen.pts, instances=seen.instances)
            seen = calibrated(seen)
            seen = replace(seen, facts=self._rarity.rated(seen.facts, seen.pts))
            self.pts, self.frames, self._last_captured = seen.pts, self.frames + 1, seen.captured_at
            if self._first_pts is None:
                self._first_pts = seen.pts
                self._tally = Tally(seen.pts)
            await self._tell(seen)
            if self._on_progress is not None:
                self._on_progress(seen.pts)
            if self._info is not None and self._info.live and seen.pts - self._tally.start >= SUMMARY_S:
                await self._summarise()
        for step in self._builder.flush():
            await self._step(step)

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
        return seen

    async def _tell(self, seen: Observation) -> None:
        for fact in seen.facts:
            if fact.saliency >= EVENT_FLOOR:
                await self._event(fact, seen)
        for step in self._builder.add(seen):
            await self._step(step)
        if seen.facts:
            self._feed.set_scene(
                self._id, summary=describe_scene(seen.instances).text, instances=seen.instances, camera=""
            )
        await self._unchanged(seen)
        await self._say(self._standing.seen(seen.health, seen.pts))
        await self._say(self._load())

    def _load(self) -> Iterator[Status]:
        """Says that the stream is looked at less often than it is to be, and no longer is, once that has lasted."""
        now, wanted = self._clock.monotonic(), self._settings.fps
        lowered = self._source.fps < 0.99 * wanted
        if lowered == ("load" in self._standing):
            self._other_since = now
        elif lowered and now - self._other_since >= LOWERED_S:
            yield from self._standing.begin("load", f"too busy to look {wanted:g} times a second")
        elif not lowered and now - self._other_since >= RESTORED_S:
            yield from self._standing.end("load", f"looked at {wanted:g} times a second again")

    async def _step(self, step: Step) -> None:
        window = replace(step.window, said=self._book.said(step.window.start))
        if not step.closed:
            await self._revise(window, self._grounded.draft(window), self._grounded.name, final=False)
            return
        self._tally.add(window.facts, window.instances)
        if self._info is not None and self._info.live and self._windows.full():
            await self._finalise_grounded(window)
        else:
            await self._windows.put(window)

    async def _caption(self) -> None:
        """The caption lane: one window at a time."""
        while (window := await self._windows.get()) is not None:
            last: Description | None = None
            try:
                async for description in self._captioner.describe(window):
                    if last is not None:
                        await self._revise(window, last, self._captioner.name, final=False)
                    last = description
            except ModelError as error:
                await self._say(self._standing.begin("captioner", f"{self._captioner.name}: {error}"))
                last = None
            else:
                await self._say(self._standing.end("captioner"))
            if last is None:
                await self._finalise_grounded(window)
            else:
                await self._revise(window, last, self._captioner.name, final=True)

    async def _finalise_grounded(self, window: Window) -> None:
        await self._revise(window, self._grounded.whole(window), self._grounded.name, final=True)

    async def _revise(self, window: Window, what: Description, source: str, *, final: bool) -> None:
        caption = self._book.revise(window, what, source=source, final=final)
        if caption is not None:
            await self._publish(caption)

    async def _publish(self, caption: Caption) -> None:
        if self._shown is not None:
            self._shown.keeper.want(caption.evidence)
        await self._feed.publish(self._id, caption_message(self._id, caption, emitted_at=self._clock.wall()))

    async def _event(self, fact: Fact, seen: Observation) -> None:
        self._events += 1
        known = {i.id: i for i in seen.instances}
        event = Event(
            f"{self._event_prefix}{self._events}",
            fact.what,
            fact.start,
            fact.end,
            fact.saliency,
            describe_change([fact], seen.instances).text,
            tuple(known[key] for key in fact.who if key in known),
        )
        await self._feed.publish(self._id, event_message(self._id, event, at=self._clock.wall()))

    async def _unchanged(self, seen: Observation) -> None:
        if seen.changed or seen.facts:
            self._quiet_since = None
            return
        if self._quiet_since is None:
            self._quiet_since = self._unchanged_at = seen.pts
        elif seen.pts - self._unchanged_at >= UNCHANGED_S:
            self._unchanged_at = seen.pts
            message = unchanged_message(self._id, since=self._quiet_since, t=seen.pts, at=self._clock.wall())
            await self._feed.publish(self._id, message)

    async def _summarise(self) -> None:
        tally, self._tally = self._tally, Tally(self.pts)
        text = summarise(tally, self.pts)
        if not text:
            return  # a summary of nothing is noise
        self._events += 1
        caption = Caption(
            f"{self._event_prefix}{self._events}s", 0, CaptionStatus.FINAL, CaptionKind.SUMMARY,
            tally.start, self.pts, text, self._last_captured, 0.5, self._grounded.name,
        )  # fmt: skip
        await self._publish(caption)

    def _on_notice(self, notice: Notice) -> None:
        try:
            self._notices.put_nowait(notice)
        except asyncio.QueueFull:
            _log.warning("%s: too many notices, left out: %s", self._id, notice.detail)

    async def _tell_notices(self) -> None:
        while True:
            notice = await self._notices.get()
            try:
                await self._notice(notice)
            finally:
                self._notices.task_done()

    async def _notice(self, notice: Notice) -> None:
        if notice.kind is NoticeKind.GAP:
            start, end = notice.start or 0.0, notice.end or notice.at
            message = gap_message(self._id, start=start, end=end, at=self._clock.wall(), reason=notice.detail)
            await self._feed.publish(self._id, message)
            return
        await self._say(self._standing.notice(notice))

    async def _say(self, changes: Iterable[Status]) -> None:
        for status in tuple(changes):
            await self._status(*status)

    async def _status(self, state: StreamState, reason: str, detail: str) -> None:
        message = status_message(self._id, state, at=self._clock.wall(), reason=reason, detail=detail)
        await self._feed.publish(self._id, message)


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
