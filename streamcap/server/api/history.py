"""``/v1/streams/{stream}/captions`` and ``/v1/search``: what was said."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum, StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Final, cast
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamcap.hub import Hub
from streamcap.journal import Bounds, Searchable
from streamcap.scan import Scan
from streamcap.server.api.models import HistoryPage, SearchPage
from streamcap.server.api.streams import StreamId, missing
from streamcap.server.api.times import Instant, Seconds, span
from streamcap.server.problems import documented
from streamcap.server.streamed import Streamed
from streamcap.subtitles import RunTimeline, SubtitleTrack
from streamcap.types import CaptionKind, CaptionStatus
from streamcap.wire import CaptionMessage, Encoded, decode

__all__ = ["CHUNK", "LOOKED_AT_MAX", "History"]

PAGE_BYTES: Final = 4 * 1024 * 1024  # of one JSON page, which is made in memory; the page ends early
PAGE_MESSAGES: Final = 10_000
CHUNK: Final = 256  # messages asked of the journal at a time
# Messages looked at for one page where most are filtered out. The page ends early and says where to go on.
LOOKED_AT_MAX: Final = 50_000
SEND_S: Final = 10.0
_TAGS: Final[list[str | Enum]] = ["history"]
_KIND: Final = "(caption|event|status|gap)"
_NAME: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


class Format(StrEnum):
    """How history is written."""

    JSON = "json"
    JSONL = "jsonl"
    VTT = "vtt"
    SRT = "srt"


_TYPES: Final = {
    Format.JSONL: "application/jsonl",
    Format.VTT: "text/vtt",
    Format.SRT: "application/x-subrip",
}


_FROM = Query(alias="from", description="Media seconds, or wall time as `2026-11-20T05:00:00Z`; inclusive.")
_TO = Query(alias="to", description="As `from`.")


@dataclass(slots=True)
class _Walk:
    """One way through a stream's history.

    Attributes:
        after: number of the last message that was looked at.
        more: there may be more than was taken.
    """

    stream: str
    kinds: frozenset[str]
    limit: int
    after: int
    bounds: dict[str, Any]
    more: bool = False

    async def entries(self, journal: Searchable) -> AsyncGenerator[Encoded, None]:
        """The messages that are wanted, oldest first."""
        taken = looked_at = 0
        while looked_at < LOOKED_AT_MAX:
            found = await journal.history(self.stream, after=self.after, limit=CHUNK, **self.bounds)
            for entry in found:
                looked_at += 1
                if entry.type in self.kinds:
                    if taken == self.limit:
                        self.more = True
                        return
                    taken += 1
                    self.after = entry.seq or self.after
                    yield entry
                else:
                    self.after = entry.seq or self.after
            if len(found) < CHUNK:
                return
        self.more = True


def _here(request: Request) -> History:
    return cast("History", request.app.state.history)


# Endpoints are functions of the class, not methods of an object: FastAPI keeps all that it has seen in caches of the
# process, and with them whatever they hold.
Here = Annotated["History", Depends(_here)]


class History:
    """The operations on what was said.

    Args:
        search: None where the journal has no search: the operation answers 501.
        send_timeout_s: longest that one send may wait for a client that does not read.
    """

    def __init__(self, hub: Hub, search: Searchable | None, *, send_timeout_s: float = SEND_S) -> None:
        self._hub, self._search, self._send_timeout_s = hub, search, send_timeout_s
        self._journal: Searchable = search or Scan(hub.journal, lambda: hub.streams)

    def mount(self, app: FastAPI) -> None:
        """Add the routes."""
        app.state.history = self
        app.get(
            "/v1/streams/{stream}/captions",
            tags=_TAGS,
            summary="What was said on a stream",
            response_model=HistoryPage,
            responses=documented(
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.NOT_FOUND,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                HTTPStatus.SERVICE_UNAVAILABLE,
            )
            | {200: {"content": {kind: {"schema": {"type": "string"}} for kind in _TYPES.values()}}},
        )(History.captions)
        app.get(
            "/v1/search",
            tags=_TAGS,
            summary="Find captions and events by their words",
            response_model=SearchPage,
            responses=documented(
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                HTTPStatus.NOT_IMPLEMENTED,
                HTTPStatus.SERVICE_UNAVAILABLE,
            ),
        )(History.search)

    async def captions(
        self: Here,
        request: Request,
        stream: StreamId,
        after: Annotated[int, Query(ge=0, le=2**53 - 1, description="Only numbers (`seq`) above this one.")] = 0,
        limit: Annotated[int, Query(ge=1, le=PAGE_MESSAGES, description="Most messages.")] = 100,
        from_: Annotated[Seconds | Instant | None, _FROM] = None,
        to: Annotated[Seconds | Instant | None, _TO] = None,
        kinds: Annotated[
            str, Query(pattern=f"^{_KIND}(,{_KIND}){{0,3}}$", description="Comma separated; subtitles hold captions.")
        ] = "caption",
        format: Annotated[Format, Query(description="Also of a stream that has been removed.")] = Format.JSON,
    ) -> Response:
        """Durable messages, oldest first. A JSON page says where the next one begins, in `next` and in `Link`."""
        bounds = await self._hub.journal.bounds(stream)
        if bounds.newest == 0 and stream not in self._hub.streams:
            raise missing(stream)
        walk = _Walk(stream, frozenset(kinds.split(",")), limit, after, span(from_, to))
        if format is Format.JSON:
            return await self._page(request, walk, bounds)
        if format is Format.JSONL:
            return self._streamed(_lines(walk.entries(self._journal)), format)
        walk.kinds = frozenset({"caption"})
        return self._streamed(self._subtitles(walk, format), format)

    async def search(
        self: Here,
        q: Annotated[
            str,
            Query(
                min_length=1,
                max_length=400,
                description='Words that must all be there; `"in quotes"` those that stand together.',
            ),
        ],
        streams: Annotated[
            str | None,
            Query(
                pattern=rf"^{_NAME}(,{_NAME})*$",
                max_length=4096,
                description="Ids, comma separated; all where it is absent.",
            ),
        ] = None,
        from_: Annotated[Instant | None, Query(alias="from", description="Wall time; inclusive.")] = None,
        to: Annotated[Instant | None, Query(description="Wall time; inclusive.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> Response:
        """Final captions and events, newest first; captions that were retracted are left out."""
        if self._search is None:
            raise HTTPException(HTTPStatus.NOT_IMPLEMENTED, "the journal of this server cannot be searched")
        names = None if streams is None else tuple(dict.fromkeys(streams.split(",")))
        found = await self._search.search(q, streams=names, since=from_, until=to, limit=limit)
        return _json('{"messages":[' + ",".join(entry.text for entry in found) + "]}")

    async def _page(self, request: Request, walk: _Walk, bounds: Bounds) -> Response:
        texts: list[str] = []
        size, place = 0, walk.after
        async with aclosing(walk.entries(self._journal)) as entries:
            async for entry in entries:
                if texts and size + entry.size > PAGE_BYTES:
                    walk.more, walk.after = True, place
                    break
                texts.append(entry.text)
                size, place = size + entry.size, entry.seq or place
        page = HistoryPage(
            stream=walk.stream,
            epoch=self._hub.journal.epoch,
            earliest=bounds.earliest,
            newest=bounds.newest,
            next=walk.after if walk.more else None,
            messages=[],
        )
        head = page.model_dump_json(exclude={"messages"}, exclude_none=True)
        headers = {}
        if walk.more:
            query = {**request.query_params, "after": str(walk.after)}
            headers["link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
        return _json(f'{head[:-1]},"messages":[{",".join(texts)}]}}', headers)

    def _streamed(self, chunks: AsyncGenerator[str, None], form: Format) -> Response:
        return Streamed(chunks, media_type=_TYPES[form], send_timeout_s=self._send_timeout_s)

    async def _subtitles(self, walk: _Walk, form: Format) -> AsyncGenerator[str, None]:
        track = SubtitleTrack("vtt" if form is Format.VTT else "srt")
        timeline = RunTimeline()
        retracted = await self._retracted(walk)
        yield track.header()
        async for entry in walk.entries(self._journal):
            message = decode(entry.text)
            if (
                isinstance(message, CaptionMessage)
                and message.status is CaptionStatus.FINAL
                and message.kind is not CaptionKind.SUMMARY
                and message.id not in retracted
            ):
                start, end = timeline.place(message.start, message.end, message.captured_at.timestamp())
                yield track.add(start, end, message.text)
        yield track.finish()

    async def _retracted(self, walk: _Walk) -> set[str]:
        """Captions that are taken back later on the same way: a cue that was sent cannot be."""
        ahead = _Walk(walk.stream, walk.kinds, walk.limit, walk.after, walk.bounds)
        found = set()
        async for entry in ahead.entries(self._journal):
            if '"retracted"' in entry.text:
                message = decode(entry.text)
                if isinstance(message, CaptionMessage) and message.status is CaptionStatus.RETRACTED:
                    found.add(message.id)
        return found


def _json(text: str, headers: dict[str, str] | None = None) -> Response:
    """A body that is made of messages as they were encoded once."""
    return Response(text, media_type="application/json", headers=headers)


async def _lines(entries: AsyncIterator[Encoded]) -> AsyncGenerator[str, None]:
    async for entry in entries:
        yield entry.text + "\n"
