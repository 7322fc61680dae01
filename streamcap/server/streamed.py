"""A response that is written as it comes, to a client that may stop reading at any moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from streamcap.server.race import first, gone
from streamcap.server.transport import FORCE_CLOSE

__all__ = ["Streamed"]

logger = logging.getLogger(__name__)

CUT_S = 1.0  # for the connection to be gone after it was cut


class Streamed(Response):
    """Sends chunks; gives up where one send takes too long, where the client leaves, or where it is told to.

    A response that was given up is not ended properly, so that no client takes it for whole, and its socket is cut.

    Args:
        chunks: the body.
        send_timeout_s: longest that one send may wait for a client that does not read.
        until: waits for a reason to give up, beside the others.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[str, None] | AsyncGenerator[bytes, None],
        *,
        media_type: str,
        send_timeout_s: float,
        headers: Mapping[str, str] | None = None,
        until: Callable[[], Coroutine[Any, Any, object]] | None = None,
    ) -> None:
        self._chunks, self._timeout, self._until = chunks, send_timeout_s, until
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        activities = [self._send(send), _left(receive)]
        if self._until is not None:
            activities.append(_give_up(self._until))
        if not await first(*activities):
            await _cut(scope, receive)

    async def _send(self, send: Send) -> bool:
        """True once all is sent, False where the client takes too long."""
        try:
            async with aclosing(self._chunks) as chunks:
                await self._put(
                    send, {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
                )
                async for chunk in chunks:
                    body = chunk.encode(self.charset) if isinstance(chunk, str) else chunk
                    await self._put(send, {"type": "http.response.body", "body": body, "more_body": True})
                await self._put(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            logger.info("a client did not read for %g s and is cut off", self._timeout)
            return False
        return True

    async def _put(self, send: Send, message: dict[str, Any]) -> None:
        async with asyncio.timeout(self._timeout):
            await send(message)


async def _left(receive: Receive) -> bool:
    """The client has left: nothing is left to cut then."""
    await gone(receive)
    return True


async def _give_up(until: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    await until()
    return False


async def _cut(scope: Scope, receive: Receive) -> None:
    extension = scope.get("extensions", {}).get(FORCE_CLOSE)
    if extension is not None:  # another ASGI server has its own ways
        cast("Callable[[int, str], None]", extension["call"])(0, "")
        try:
            async with asyncio.timeout(CUT_S):
                await gone(receive)
        except TimeoutError:
            logger.warning("a connection that was cut is still there")
