"""What is told of a stream: observations in, messages out.

    observations ──> windows ──closed──> wording ──> feed
                 └──drafts, events, states─────────> feed

Telling never keeps perception waiting on a live stream: a draft goes out while its window is open, and a window stays
open while the captioner is at work on the one before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from streamcap.captioners import Captioner, Difference, GroundedCaptioner, captioner_for
from streamcap.captioners.shared import SharedModel
from streamcap.captions import PACES, CaptionBook, Step, WindowBuilder
from streamcap.config import StreamSettings
from streamcap.flow import Clock
from streamcap.frames import FrameKeeper
from streamcap.language import Description, Tally, describe_change, describe_scene, summarise
from streamcap.looks import Looks
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
from streamcap.wording import Wording

__all__ = ["Feed", "Teller"]

_log = logging.getLogger(__name__)

# Media seconds between two summaries of a live stream, and between two "unchanged" in a quiet scene.
SUMMARY_S = 300.0
UNCHANGED_S = 5.0
# Facts below this saliency make no event of their own.
EVENT_FLOOR = 0.3
# Final captions that are kept for the next summary.
DIFFERENCES = 64
# Notices that wait to be told.
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


@dataclass(frozen=True, slots=True)
class _Span:
    """What a summary is to be of."""

    tally: Tally
    end: float
    captured_at: float
    differences: tuple[Difference, ...]


class Teller:
    """Makes one stream's messages. Its lanes are ``caption`` and ``tell_notices``; ``tell`` feeds the first.

    Args:
        settings: of the stream.
        feed: where messages go.
        captioner: makes the final text; None for the one that the settings name.
        vision: the vision–language model, None where none is set up.
        run_id: what ids of captions and events begin with.
        keeper: is told which frames captions point at; None where none are kept.

    Attributes:
        live: time does not wait for language.
        standing: what is the matter with the stream.

    Raises:
        ConfigError: the settings ask for a vision–language model, and none is set up.
    """

    def __init__(
        self,
        settings: StreamSettings,
        feed: Feed,
        clock: Clock,
        *,
        captioner: Captioner | None = None,
        vision: SharedModel | None = None,
        run_id: str = "",
        keeper: FrameKeeper | None = None,
    ) -> None:
        self.live = False
        self.standing = Standing()
        self._id, self._settings = settings.id, settings
        self._feed, self._clock, self._keeper, self._vision = feed, clock, keeper, vision
        self._notices: asyncio.Queue[Notice] = asyncio.Queue(NOTICES_WAITING)
        self._grounded = GroundedCaptioner(settings.profile)
        self._builder = WindowBuilder(settings.id, pace=PACES[settings.profile], prefix=f"{run_id}c")
        self._book = CaptionBook()
        self._wording = Wording(
            settings.id, captioner or captioner_for(settings, vision), self._grounded, self.standing,
            recalled=self._recalled, is_news=self._book.is_news, revise=self._revise, say=self.say,
        )  # fmt: skip
        self._tally: Tally | None = None  # since the last summary; None before the first frame
        self._differences: deque[Difference] = deque(maxlen=DIFFERENCES)  # likewise
        self._events = 0
        self._event_prefix = f"{run_id}e"
        self._quiet_since: float | None = None
        self._unchanged_at = 0.0
        self._pts = self._last_captured = 0.0

    @property
    def looks(self) -> Looks | None:
        """Pictures for the captioner, None where it looks at none."""
        return self._wording.looks

    @looks.setter
    def looks(self, looks: Looks | None) -> None:
        self._wording.looks = looks

    def apply(self, settings: StreamSettings) -> None:
        """Go on with another profile or captioner, or another prompt. Windows that wait are worded by the new one.

        Raises:
            ConfigError: as at the start; nothing has changed.
        """
        if settings != self._settings.model_copy(update={"fps": settings.fps}):
            self._wording.captioner = captioner_for(settings, self._vision)
            self._wording.grounded = self._grounded = GroundedCaptioner(settings.profile)
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
        self._builder.held = self.live and self._wording.busy
        for step in self._builder.add(seen):
            await self._step(step)
        if seen.facts:
            self._feed.set_scene(
                self._id, summary=describe_scene(seen.instances).text, instances=seen.instances, camera=""
            )
        await self._unchanged(seen)
        await self.say(self.standing.seen(seen.health, seen.pts))

    async def flush(self) -> None:
        """Close the windows that are open: no more observations come, or none for a while."""
        for step in self._builder.flush():
            await self._step(step)

    async def end(self) -> None:
        """Have the caption lane return once all windows are worded."""
        await self._wording.end()

    def hurry(self) -> None:
        """The stream is to stop soon: a captioner that takes its time is not waited for."""
        self._wording.hurry()

    async def caption(self) -> None:
        """The caption lane: one window at a time, until :meth:`end`."""
        await self._wording.run()

    async def _step(self, step: Step) -> None:
        window = self._recalled(step.window)
        if not step.closed:
            if self.looks is not None and (window.facts or window.scene_start):  # no picture of what is likely only
                self.looks.note(window)
            await self._revise(window, self._grounded.draft(window), self._grounded.name, final=False)
            return
        if self._wording.takes_time:  # until its final comes the draft says no more than what is sure
            await self._revise(window, self._grounded.draft(window), self._grounded.name, final=False)
        if self._tally is not None:
            self._tally.add(window.facts, window.instances)
        await self._wording.put(window, live=self.live, overdue=step.overdue)

    def _recalled(self, window: Window) -> Window:
        """The window with what was said before it."""
        so_far = summarise(self._tally, self._pts) if self._tally is not None and self.looks is not None else ""
        return replace(window, said=self._book.said(window.start), told=self._book.told, so_far=so_far)

    async def _revise(self, window: Window, what: Description, source: str, *, final: bool) -> None:
        caption = self._book.revise(window, what, source=source, final=final)
        if caption is not None:
            if caption.status is CaptionStatus.FINAL:
                self._differences.append(Difference(caption.start, caption.end, caption.text, caption.saliency))
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

    async def summarise_in_time(self) -> None:
        """Have a summary published where one is due."""
        if not self.live or self._tally is None or self._pts - self._tally.start < SUMMARY_S:
            return
        if (span := self._span()) is None:
            return
        # In the caption lane: perception does not wait for language.
        await self._wording.summarise(
            span.differences, span.tally.start, span.end, lambda text, source: self._summary(span, text, source)
        )

    async def summarise(self) -> None:
        """Publish what happened since the last summary, if anything did. The caption lane is over."""
        if (span := self._span()) is not None:
            await self._summary(span, *await self._wording.retold(span.differences, span.tally.start, span.end))

    def _span(self) -> _Span | None:
        """What is to be summarised now; the next summary begins here. None where nothing stands out."""
        tally, self._tally = self._tally, Tally(self._pts)
        differences = tuple(self._differences)
        self._differences.clear()
        if tally is None or not summarise(tally, self._pts):
            return None  # a summary of nothing is noise
        return _Span(tally, self._pts, self._last_captured, differences)

    async def _summary(self, span: _Span, text: str | None, source: str) -> None:
        """Publish a summary; None: the grounded one."""
        self._events += 1
        caption = Caption(
            f"{self._event_prefix}{self._events}s", 0, CaptionStatus.FINAL, CaptionKind.SUMMARY,
            span.tally.start, span.end, text or summarise(span.tally, span.end), span.captured_at, 0.5,
            source if text else self._grounded.name,
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
        await self._wording.leave_nothing_open()
        for step in self._builder.flush():
            await self._wording.finalise_grounded(step.window)
        await self.summarise()
