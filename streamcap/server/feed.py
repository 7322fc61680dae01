"""The websocket feed: query in, conversation out, and every way in which it can end.

A connection is three activities of one owner: sending what the subscription gives, reading what the client says (a
subscriber has nothing to say, so little is allowed), and waiting for the hub to cut a subscription that is too slow.
The first that ends decides how the socket is closed.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket, WebSocketDisconnect

from streamcap.errors import FeedError, UsageError
from streamcap.hub import ALL, Hub, SubscribeRefused
from streamcap.hub.alarm import Alarm
from streamcap.hub.outbox import Closing
from streamcap.hub.subscription import Subscription
from streamcap.server.race import first
from streamcap.server.rules import access_of
from streamcap.server.transport import FORCE_CLOSE
from streamcap.wire import ASKED_KINDS, KINDS, STREAM_ID, SUBPROTOCOL, CloseCode, ErrorMessage, encode, wall_time

__all__ = ["FeedQuery", "FeedSettings", "FeedSockets", "parse_query"]

logger = logging.getLogger(__name__)

# Protocol v1 gives a subscriber nothing to say. Keepalives of simple-minded clients fit in here for a day; each message
# counts for MESSAGE_COST at least, so that empty ones are not free.
CLIENT_BYTES_MAX: Final = 256 * 1024
MESSAGE_COST: Final = 32
REASON_MAX_BYTES: Final = 120  # a close frame holds 123
_NUMBER: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_ERROR_CODES: Final = {
    CloseCode.BAD_REQUEST: "bad_request",
    CloseCode.NO_SUCH_STREAM: "no_such_stream",
    CloseCode.OVERLOADED: "overloaded",
    CloseCode.INTERNAL: "internal",
}


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """How the feed treats its clients.

    Attributes:
        send_timeout_s: longest that one send may wait for a client that does not read.
    """

    send_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class FeedQuery:
    """What a client asks for; ``streams`` is ``"*"`` or the ids."""

    streams: str | tuple[str, ...]
    after: dict[str, int]
    epoch: str | None
    interim: bool
    kinds: frozenset[str]


def parse_query(params: QueryParams, stream: str | None) -> FeedQuery:
    """Read a feed's query.

    Args:
        stream: id from the path, None for the feed of many streams.

    Raises:
        UsageError: a value that does not hold. Unknown parameters are ignored.
    """
    streams: str | tuple[str, ...] = ALL
    if stream is not None:
        streams = (stream,)
    elif (wanted := params.get("streams", ALL)) != ALL:
        streams = tuple(dict.fromkeys(wanted.split(",")))
    for name in streams if streams != ALL else ():
        if not re.fullmatch(STREAM_ID, name):
            raise UsageError("streams: ids separated by commas, or *")
    kinds = frozenset(params["kinds"].split(",")) if "kinds" in params else KINDS
    if not kinds <= KINDS | ASKED_KINDS:
        raise UsageError(f"kinds: of {', '.join(sorted(KINDS | ASKED_KINDS))}")
    interim = _FLAGS.get(params.get("interim", "true"))
    if interim is None:
        raise UsageError("interim: true or false")
    epoch = params.get("epoch")
    if epoch is not None and len(epoch) > 64:
        raise UsageError("epoch: as a hello gave it")
    return FeedQuery(streams, _parse_after(params.get("after"), streams), epoch, interim, kinds)


def _parse_after(value: str | None, streams: str | tuple[str, ...]) -> dict[str, int]:
    if value is None:
        return {}
    if _NUMBER.fullmatch(value):
        if streams == ALL or len(streams) != 1:
            raise UsageError("after: STREAM:SEQ,STREAM:SEQ for a feed of several streams")
        return {streams[0]: int(value)}
    places = {}
    for part in value.split(","):
        name, colon, seq = part.rpartition(":")
        if not colon or not re.fullmatch(STREAM_ID, name) or not _NUMBER.fullmatch(seq):
            raise UsageError("after: a number, or STREAM:SEQ,STREAM:SEQ")
        places[name] = int(seq)
    return places


class FeedSockets:
    """The websocket endpoints."""

    def __init__(self, hub: Hub, settings: FeedSettings) -> None:
        self._hub = hub
        self._settings = settings

    async def one(self, socket: WebSocket) -> None:
        """``/v1/streams/{stream}/captions``."""
        await self._serve(socket, socket.path_params["stream"])

    async def many(self, socket: WebSocket) -> None:
        """``/v1/captions?streams=a,b`` or ``streams=*``."""
        await self._serve(socket, None)

    async def nowhere(self, socket: WebSocket) -> None:
        """Any other address."""
        await socket.accept()
        await self._close(socket, Closing(CloseCode.NO_SUCH_STREAM, "no feed is served at this address"))

    async def _serve(self, socket: WebSocket, stream: str | None) -> None:
        # Accepted even where it is refused: only then can a close code and a message say why.
        await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
        try:
            closing = await self._converse(socket, stream)
        except UsageError as error:
            closing = Closing(CloseCode.BAD_REQUEST, str(error))
        except SubscribeRefused as error:
            closing = Closing(error.code, str(error))
        except FeedError:
            logger.exception("a subscription failed, the journal cannot be read")
            closing = Closing(CloseCode.INTERNAL, "the feed failed, resume with after")
        if closing is not None:
            await self._close(socket, closing)

    async def _converse(self, socket: WebSocket, stream: str | None) -> Closing | None:
        query = parse_query(socket.query_params, stream)
        subscribe = self._hub.subscribe(
            query.streams,
            interim=query.interim,
            kinds=query.kinds,
            after=query.after,
            epoch=query.epoch,
            visible=access_of(socket.scope).covers,
        )
        async with subscribe as subscription:
            return await first(self._send(socket, subscription), self._read(socket), _wait_cut(subscription))

    async def _send(self, socket: WebSocket, subscription: Subscription) -> Closing | None:
        patience = self._settings.send_timeout_s
        stuck = Alarm(lambda: subscription.cut(f"a send took over {patience:g} s"))
        try:
            async for item in subscription:
                stuck.set(patience)
                await socket.send_text(item.text)
                stuck.lift()
        except WebSocketDisconnect:
            return None
        finally:
            stuck.stop()
        return subscription.closing

    async def _read(self, socket: WebSocket) -> Closing | None:
        taken = 0
        while taken <= CLIENT_BYTES_MAX:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return None
            taken += MESSAGE_COST + len(message.get("text") or message.get("bytes") or "")
        return Closing(CloseCode.BAD_REQUEST, "a subscriber has nothing to say, and this one says much")

    async def _close(self, socket: WebSocket, closing: Closing) -> None:
        reason = closing.reason.encode()[:REASON_MAX_BYTES].decode(errors="ignore")
        try:
            async with asyncio.timeout(self._settings.send_timeout_s):
                if closing.code is CloseCode.TOO_SLOW and _force(socket, closing.code, reason):
                    return
                if closing.code in _ERROR_CODES:
                    at = wall_time(self._hub.clock.wall())
                    error = ErrorMessage(at=at, code=_ERROR_CODES[closing.code], message=closing.reason)
                    await socket.send_text(encode(error))
                await socket.close(closing.code, reason)
        except TimeoutError:
            _force(socket, closing.code, reason)
        except WebSocketDisconnect:
            logger.debug("a client was gone before it could be told: %s", closing.reason)


async def _wait_cut(subscription: Subscription) -> Closing | None:
    await subscription.wait_cut()
    return subscription.closing


def _force(socket: WebSocket, code: int, reason: str) -> bool:
    extension = socket.scope.get("extensions", {}).get(FORCE_CLOSE)
    if extension is None:  # another ASGI server: it has its own ways
        return False
    cast("Callable[[int, str], None]", extension["call"])(code, reason)
    return True
