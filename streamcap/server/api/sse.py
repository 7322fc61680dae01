"""``/v1/streams/{stream}/captions/sse``: the feed as server-sent events, for what speaks HTTP but no websockets.

The conversation is that of the websocket, out of the same subscription with the same outbox. Only the frame differs:
one message is one event of the default type; ``id`` is ``EPOCH:SEQ``, so that a browser resumes by itself; heartbeats
are comments; and an event ``close`` carries what a close frame would.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Final, cast

from fastapi import Depends, FastAPI, Header, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamcap.hub import Closing, Hub, SubscribeRefused, Subscription
from streamcap.server.api.streams import StreamId, missing
from streamcap.server.problems import documented
from streamcap.server.streamed import Streamed
from streamcap.wire import KINDS, CloseCode, Encoded

__all__ = ["EventStreams"]

MEDIA_TYPE: Final = "text/event-stream"
RETRY_MS: Final = 2000  # what a browser waits before it comes back; its own default is 3 to 5 s
BUSY_S: Final = 10  # what one is asked to wait where there are too many
_TAGS: Final[list[str | Enum]] = ["feed"]
_KIND: Final = f"({'|'.join(sorted(KINDS))})"
_PLACE: Final = re.compile(r"(?:(?P<epoch>[^:\s]{1,64}):)?(?P<seq>[0-9]{1,16})", re.ASCII)
_WITH_PLACE: Final = frozenset({"snapshot", "caught_up"})  # from here one resumes as from the message that they name


class _Conversation:
    """One subscriber's events."""

    def __init__(self, hub: Hub, stream: str) -> None:
        self._hub, self._stream = hub, stream
        self._subscription: asyncio.Future[Subscription] = asyncio.get_running_loop().create_future()

    async def events(
        self, *, after: int | None, epoch: str | None, interim: bool, kinds: frozenset[str]
    ) -> AsyncGenerator[str, None]:
        """The body, whose first part is there once the subscription is.

        Raises:
            SubscribeRefused: as ``Hub.subscribe``, with the first part.
        """
        subscribe = self._hub.subscribe(self._stream, interim=interim, kinds=kinds, after=after, epoch=epoch)
        async with subscribe as subscription:
            self._subscription.set_result(subscription)
            yield f"retry: {RETRY_MS}\n\n"
            async for item in subscription:
                yield self._event(item)
            if subscription.closing is not None:
                yield _close(subscription.closing)

    async def wait_cut(self) -> None:
        """Wait until the subscription is closed for being too slow."""
        subscription = await asyncio.shield(self._subscription)
        await subscription.wait_cut()

    def _event(self, item: Encoded) -> str:
        if item.type == "heartbeat":
            return f": {item.text}\n\n"
        seq = json.loads(item.text)["seq"] if item.type in _WITH_PLACE else item.seq
        place = f"id: {self._hub.journal.epoch}:{seq}\n" if seq is not None else ""
        return f"{place}data: {item.text}\n\n"


def _here(request: Request) -> EventStreams:
    return cast("EventStreams", request.app.state.event_streams)


# Endpoints are functions of the class, not methods of an object: FastAPI keeps all that it has seen in caches of the
# process, and with them whatever they hold.
Here = Annotated["EventStreams", Depends(_here)]


class EventStreams:
    """The operation that follows a feed.

    Args:
        send_timeout_s: longest that one send may wait for a client that does not read.
    """

    def __init__(self, hub: Hub, *, send_timeout_s: float) -> None:
        self._hub, self._send_timeout_s = hub, send_timeout_s

    def mount(self, app: FastAPI) -> None:
        """Add the route."""
        app.state.event_streams = self
        app.get(
            "/v1/streams/{stream}/captions/sse",
            tags=_TAGS,
            summary="Follow a stream's feed",
            response_class=Response,
            responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
            | {
                200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
                204: {"description": "The stream has ended and the client knows all of it"},
            },
        )(EventStreams.follow)

    async def follow(
        self: Here,
        stream: StreamId,
        after: Annotated[int | None, Query(ge=0, le=2**53 - 1, description="Resume after this number.")] = None,
        epoch: Annotated[str | None, Query(max_length=64, description="What the number belongs to.")] = None,
        interim: Annotated[bool, Query(description="False for durable messages only.")] = True,
        kinds: Annotated[str | None, Query(pattern=f"^{_KIND}(,{_KIND}){{0,4}}$", description="All if absent.")] = None,
        last_event_id: Annotated[str | None, Header(max_length=128, description="Wins over `after`.")] = None,
    ) -> Response:
        """Server-sent events: hello; a replay or a snapshot; then live."""
        if stream not in self._hub.streams:
            raise missing(stream)
        if last_event_id:
            after, epoch = _place(last_event_id, epoch)
        if self._knows_all(stream, after, epoch):
            return Response(status_code=HTTPStatus.NO_CONTENT)  # which a browser takes for: do not come back
        conversation = _Conversation(self._hub, stream)
        events = conversation.events(
            after=after, epoch=epoch, interim=interim, kinds=frozenset(kinds.split(",")) if kinds else KINDS
        )
        try:
            first = await anext(events)
        except SubscribeRefused as refused:
            raise _refusal(refused) from refused
        return Streamed(
            _chain(first, events),
            media_type=MEDIA_TYPE,
            send_timeout_s=self._send_timeout_s,
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
            until=conversation.wait_cut,
        )

    def _knows_all(self, stream: str, after: int | None, epoch: str | None) -> bool:
        at_end = (after, epoch) == (self._hub.state(stream).seq, self._hub.journal.epoch)
        return at_end and self._hub.has_ended(stream)


def _place(last_event_id: str, epoch: str | None) -> tuple[int, str | None]:
    """Where a client stands. What is no place of ours is one that cannot be replayed, so it gets a snapshot."""
    match = _PLACE.fullmatch(last_event_id)
    if match is None:
        return 0, ""
    return int(match["seq"]), match["epoch"] or epoch


def _refusal(refused: SubscribeRefused) -> HTTPException:
    if refused.code is CloseCode.NO_SUCH_STREAM:
        return HTTPException(HTTPStatus.NOT_FOUND, str(refused))
    return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(refused), headers={"retry-after": str(BUSY_S)})


def _close(closing: Closing) -> str:
    return f"event: close\ndata: {json.dumps({'code': int(closing.code), 'reason': closing.reason})}\n\n"


async def _chain(first: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    try:
        yield first
        async for each in rest:
            yield each
    finally:
        await rest.aclose()
