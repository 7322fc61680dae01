"""``/v1/streams/{stream}/summary``: what happened between two moments, in a sentence."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Final, cast

from fastapi import Depends, FastAPI, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request

from streamcap.captioners import SharedModel
from streamcap.config import Profile
from streamcap.hub import Hub
from streamcap.journal import Searchable
from streamcap.language import Recap
from streamcap.prompts import (
    OwnWords,
    Style,
    SummaryAnswer,
    SummaryTask,
    Told,
    build_summary,
    check_answer,
    parse_answer,
)
from streamcap.scan import Scan
from streamcap.server.api.history import CHUNK, LOOKED_AT_MAX
from streamcap.server.api.models import Summary
from streamcap.server.api.streams import StreamId, missing
from streamcap.server.api.times import Instant, Seconds, span
from streamcap.server.problems import documented
from streamcap.server.race import while_there
from streamcap.types import CaptionKind, CaptionStatus
from streamcap.wire import CaptionMessage, EventMessage, GapMessage, Message, StatusMessage, decode

__all__ = ["Summaries"]

HIGHLIGHTS: Final = 5
# Captions that a model folds into a text: the most salient ones; fewer than two are a text already.
TOLD: Final = 100
WORDED_LEAST: Final = 2
_TAGS: Final[list[str | Enum]] = ["history"]
_FROM = Query(alias="from", description="Media seconds, or wall time as `2026-11-20T05:00:00Z`; inclusive.")
_TO = Query(alias="to", description="As `from`.")


class By(StrEnum):
    """Who words a summary."""

    GROUNDED = "grounded"
    MODEL = "model"


def _here(request: Request) -> Summaries:
    return cast("Summaries", request.app.state.summaries)


# Endpoints are functions of the class, not methods of an object: FastAPI keeps all that it has seen in caches of the
# process, and with them whatever they hold.
Here = Annotated["Summaries", Depends(_here)]


@dataclass(slots=True)
class _Folded:
    """What a span comes to; constant size whatever its length."""

    recap: Recap = field(default_factory=Recap)
    captions: int = 0
    unwatched_s: float = 0.0
    best: list[tuple[float, int, EventMessage]] = field(default_factory=list)  # a heap
    told: list[tuple[float, int, CaptionMessage]] = field(default_factory=list)  # a heap of the most salient captions
    first: float | None = None  # media seconds
    last: float | None = None

    def take(self, message: Message) -> None:
        """Fold one durable message in."""
        if isinstance(message, StatusMessage) or not isinstance(message, CaptionMessage | EventMessage | GapMessage):
            return
        if isinstance(message, CaptionMessage) and message.kind is CaptionKind.SUMMARY:
            return  # of a span of its own
        self.first = message.start if self.first is None else min(self.first, message.start)
        self.last = message.end if self.last is None else max(self.last, message.end)
        if isinstance(message, CaptionMessage):
            self.captions += 1 if message.status is CaptionStatus.FINAL else -1
            self._tell(message)
        elif isinstance(message, GapMessage):
            self.unwatched_s += message.end - message.start
        else:
            self.recap.add([message])
            heapq.heappush(self.best, (message.saliency, message.seq or 0, message))
            if len(self.best) > HIGHLIGHTS:
                heapq.heappop(self.best)

    def _tell(self, message: CaptionMessage) -> None:
        """Keep a caption for a model, or take it away again."""
        if message.status is CaptionStatus.FINAL:
            heapq.heappush(self.told, (message.saliency, message.seq or 0, message))
            if len(self.told) > TOLD:
                heapq.heappop(self.told)
        else:
            self.told = [each for each in self.told if each[2].id != message.id]
            heapq.heapify(self.told)


class Summaries:
    """The operation on a span of a stream.

    Args:
        journal: None for one that is read through.
        vision: folds captions into a text where that is asked for; None where no model is set up.
    """

    def __init__(self, hub: Hub, journal: Searchable | None, vision: SharedModel | None = None) -> None:
        self._hub, self._vision = hub, vision
        self._journal: Searchable = journal or Scan(hub.journal, lambda: hub.streams)

    def mount(self, app: FastAPI) -> None:
        """Add the route."""
        app.state.summaries = self
        app.get(
            "/v1/streams/{stream}/summary",
            tags=_TAGS,
            summary="What happened between two moments",
            responses=documented(
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.NOT_FOUND,
                HTTPStatus.CONFLICT,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                HTTPStatus.TOO_MANY_REQUESTS,
                HTTPStatus.BAD_GATEWAY,
                HTTPStatus.SERVICE_UNAVAILABLE,
                HTTPStatus.GATEWAY_TIMEOUT,
            ),
        )(Summaries.summary)

    async def summary(
        self: Here,
        request: Request,
        stream: StreamId,
        from_: Annotated[Seconds | Instant | None, _FROM] = None,
        to: Annotated[Seconds | Instant | None, _TO] = None,
        by: Annotated[
            By, Query(description="Who words it; `model` folds the captions, and costs a call.")
        ] = By.GROUNDED,
    ) -> Summary:
        """The events of the span folded into numbers. Without `from` from the oldest that is held, without `to` to now.

        Also of a stream that has been removed. Who leaves before a model has worded it calls that off.
        """
        if by is By.MODEL and self._vision is None:
            raise HTTPException(HTTPStatus.CONFLICT, "no vision–language model is set up on this server: see [vision]")
        bounds = await self._hub.journal.bounds(stream)
        if bounds.newest == 0 and stream not in self._hub.streams:
            raise missing(stream)
        folded, whole = await self._fold(stream, span(from_, to))
        seconds = _length(from_, to, folded)
        worded = await while_there(request.receive, self._worded(stream, folded)) if by is By.MODEL else ""
        return Summary(
            stream=stream,
            text=worded or folded.recap.text(seconds),
            source=self._vision.name if self._vision is not None and worded else "grounded",
            seconds=round(seconds, 3),
            unwatched_s=round(min(seconds, folded.unwatched_s), 3),
            captions=max(0, folded.captions),
            events=dict(folded.recap.counts.most_common()),
            highlights=sorted((event for _, _, event in folded.best), key=lambda event: event.seq or 0),
            whole=whole,
        )

    async def _worded(self, stream: str, folded: _Folded) -> str:
        """The captions of a span as one text; empty where there are too few to fold."""
        told = sorted((each for _, _, each in folded.told), key=lambda each: each.end)
        if self._vision is None or len(told) < WORDED_LEAST:
            return ""
        task = SummaryTask(told[0].start, told[-1].end, tuple(Told(each.text, each.end) for each in told))
        settings = self._vision.settings
        style = Style(profile=Profile.GENERAL, form=settings.answers, max_tokens=settings.max_tokens)
        prompt = build_summary(task, style)
        words = await self._vision.whole_answer(prompt, of=f"?{stream}", sort="summary", patience_s=settings.timeout_s)
        answer = parse_answer(words, SummaryAnswer, form=settings.answers)
        check_answer(answer, OwnWords(prompt))
        return answer.text

    async def _fold(self, stream: str, bounds: Mapping[str, Any]) -> tuple[_Folded, bool]:
        folded, after = _Folded(), 0
        for _ in range(0, LOOKED_AT_MAX, CHUNK):
            found = await self._journal.history(stream, after=after, limit=CHUNK, **bounds)
            for entry in found:
                folded.take(decode(entry.text))
                after = entry.seq or after
            if len(found) < CHUNK:
                return folded, True
        return folded, False


def _length(start: float | datetime | None, end: float | datetime | None, folded: _Folded) -> float:
    """Seconds of the span; where an end is open, to what was found."""
    if isinstance(start, datetime) and isinstance(end, datetime):
        return max(0.0, (end - start).total_seconds())
    begin = start if isinstance(start, float | int) else folded.first or 0.0
    until = end if isinstance(end, float | int) else folded.last or begin
    return max(0.0, until - begin)
