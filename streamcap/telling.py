"""What is told of a stream: observations in, messages out.

    observations ──> windows ──closed──> captioner ──> feed
                 └──drafts, events, states───────────> feed

Telling never keeps perception waiting: a draft goes out while its window is open, and where a captioner is behind, the
grounded text stands as the final.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from streamcap.captioners import Captioner, GroundedCaptioner, captioner_for
from streamcap.captions import PACES, CaptionBook, Step, WindowBuilder
from streamcap.config import StreamSettings
from streamcap.errors import ModelError
from streamcap.flow import Clock
from streamcap.frames import FrameKeeper
from streamcap.language import Description, Tally, describe_change, describe_scene, summarise
from streamcap.standing import Standing, Status, merged
from streamcap.types import (
    Caption,
    CaptionKind,
    CaptionStatus,
    Event,
    Fact,
    Instance,
    Notice,
    NoticeKind,
    Observation,
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

__all__ = ["Feed", "Teller"]

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


class Teller:
    """Makes one stream's messages. Its lanes are ``caption`` and ``tell_notices``; ``tell`` feeds the first.

    Args:
        settings: of the stream.
        feed: where messages go.
        captioner: makes the final text; None for the one that the settings name.
        run_id: what ids of captions and events begin with.
        keeper: is told which frames captions point at; None where none are kept.

    Attributes:
        live: time does not wait for language.
        standing: what is the matter with the stream.
    """

    def __init__(
        self,
        settings: StreamSettings,
        feed: Feed,
        clock: Clock,
        *,
        captioner: Captioner | None = None,
        run_id: str = "",
        keeper: FrameKeeper | None = None,
    ) -> None:
        self.live = False
        self.standing = Standing()
        self._id, self._settings = settings.id, settings
        self._feed, self._clock, self._keeper = feed, clock, keeper
        self._notices: asyncio.Queue[Notice] = asyncio.Queue(NOTICES_WAITING)
        self._windows: asyncio.Queue[Window | None] = asyncio.Queue(WINDOWS_WAITING)
        self._grounded = GroundedCaptioner(settings.profile)
        self._captioner: Captioner = captioner or captioner_for(settings)
        self._builder = WindowBuilder(settings.id, pace=PACES[settings.profile], prefix=f"{run_id}c")
        self._book = CaptionBook()
        self._tally: Tally | None = None  # since the last summary; None before the first frame
        self._events = 0
        self._event_prefix = f"{run_id}e"
        self._quiet_since: float | None = None
        self._unchanged_at = 0.0
        self._pts = self._last_captured = 0.0

    def apply(self, settings: StreamSettings) -> None:
        """Go on with another profile or captioner. Windows that wait are worded by the new one."""
        if settings.captioner != self._settings.captioner or settings.profile != self._settings.profile:
            self._captioner = captioner_for(settings)
            self._grounded = GroundedCaptioner(settings.profile)
            self._builder.pace = PACES[settings.profile]
        self._settings = settings

    async def tell(self, seen: Observation) -> None:
        """Publish what an observation has to say.

        Args:
            seen: with calibrated facts, each rated by how rare it is.
        """
        self._pts, self._last_captured = seen.pts, seen.captured_at
        if self._tally is None:
            self._tally = Tally(seen.pts)
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
        await self.say(self.standing.seen(seen.health, seen.pts))

    async def summarise_in_time(self) -> None:
        """Publish a summary where one is due."""
        if self.live and self._tally is not None and self._pts - self._tally.start >= SUMMARY_S:
            await self.summarise()

    async def flush(self) -> None:
        """Close the windows that are open: no more observations come, or none for a while."""
        for step in self._builder.flush():
            await self._step(step)

    async def end(self) -> None:
        """Have the caption lane return once all windows are worded."""
        await self._windows.put(None)

    async def _step(self, step: Step) -> None:
        window = replace(step.window, said=self._book.said(step.window.start), told=self._book.told)
        if not step.closed:
            await self._revise(window, self._grounded.draft(window), self._grounded.name, final=False)
            return
        if self._tally is not None:
            self._tally.add(window.facts, window.instances)
        if self.live and self._windows.full():
            await self._finalise_grounded(window)
        else:
            await self._windows.put(window)

    async def caption(self) -> None:
        """The caption lane: one window at a time."""
        while (window := await self._windows.get()) is not None:
            last: Description | None = None
            try:
                async for description in self._captioner.describe(window):
                    if last is not None:
                        await self._revise(window, last, self._captioner.name, final=False)
                    last = description
            except ModelError as error:
                await self.say(self.standing.begin("captioner", f"{self._captioner.name}: {error}"))
                last = None
            else:
                await self.say(self.standing.end("captioner"))
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
        if self._keeper is not None:
            self._keeper.want(caption.evidence)
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

    async def summarise(self) -> None:
        """Publish what happened since the last summary, if anything did."""
        tally, self._tally = self._tally, Tally(self._pts)
        text = "" if tally is None else summarise(tally, self._pts)
        if tally is None or not text:
            return  # a summary of nothing is noise
        self._events += 1
        caption = Caption(
            f"{self._event_prefix}{self._events}s", 0, CaptionStatus.FINAL, CaptionKind.SUMMARY,
            tally.start, self._pts, text, self._last_captured, 0.5, self._grounded.name,
        )  # fmt: skip
        await self._publish(caption)

    def on_notice(self, notice: Notice) -> None:
        """Take what the source has to say; never waits. Where too much of it waits already, it is told in short."""
        if self._notices.full():
            waiting = [self._notices.get_nowait() for _ in range(self._notices.qsize())]
            for each in merged(waiting):
                self._notices.put_nowait(each)
            for _ in waiting:
                self._notices.task_done()
            _log.warning("%s: too many notices wait and are told in short, the newest: %s", self._id, notice.detail)
        self._notices.put_nowait(notice)

    async def tell_notices(self) -> None:
        """Publish what the source has to say; until cancelled."""
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
        if notice.kind is NoticeKind.LOST:  # nobody knows for how long: what is open must not wait for its return
            await self.flush()
        await self.say(self.standing.notice(notice))

    async def say(self, changes: Iterable[Status]) -> None:
        """Publish changes of the stream's state."""
        for status in tuple(changes):
            await self.status(*status)

    async def status(self, state: StreamState, reason: str, detail: str) -> None:
        """Publish the stream's state."""
        message = status_message(self._id, state, at=self._clock.wall(), reason=reason, detail=detail)
        await self._feed.publish(self._id, message)

    async def notices_told(self) -> None:
        """Return once the notices that wait are published, or after five seconds."""
        try:
            await asyncio.wait_for(self._notices.join(), timeout=NOTICES_S)
        except TimeoutError:
            _log.warning("%s: %d notices were not told in time", self._id, self._notices.qsize())

    async def leave_nothing_open(self) -> None:
        """After a fault: what was drafted becomes final as it stands, so that no subscriber keeps a draft for ever."""
        while not self._windows.empty():
            if (window := self._windows.get_nowait()) is not None:
                await self._finalise_grounded(window)
        for step in self._builder.flush():
            await self._finalise_grounded(step.window)
        await self.summarise()
