"""The protocols of uvicorn, made to let go of a peer that has stopped reading.

As it comes, a connection whose peer does not read is never closed: ``transport.close()`` waits for the write buffer to
drain, and a close frame waits behind it. Here every end of a connection has a deadline, after which the socket is cut;
and a peer that sends pings but does not read their answers cannot make the write buffer grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope

__all__ = ["FORCE_CLOSE", "FeedHttpProtocol", "FeedWebSocketProtocol"]

FORCE_CLOSE: Final = "streamcap.force_close"  # ASGI extension: {"call": (code, reason) -> None}
LINGER_S: Final = 5.0  # for a peer to take the last frames and to answer the close


class FeedWebSocketProtocol(WebSocketsSansIOProtocol):
    """One websocket connection; offers ``FORCE_CLOSE`` to the application."""

    def force_close(self, code: int, reason: str) -> None:
        """Put a close frame behind what is buffered, without waiting, and cut the socket after ``LINGER_S``.

        A peer that takes up reading in that time still sees why it was closed.
        """
        self.stop_keepalive()
        if not self.disconnected and not self.close_sent:
            self.close_sent = True
            try:
                self.conn.send_close(code, reason)
            except InvalidState:  # the peer closes at this moment
                pass
            else:
                self.transport.write(b"".join(self.conn.data_to_send()))
        self._cut_later()

    async def run_asgi(self) -> None:
        """Run the application; afterwards the connection has ``LINGER_S`` left."""
        self.scope["extensions"][FORCE_CLOSE] = {"call": self.force_close}
        await super().run_asgi()
        self._cut_later()

    async def send(self, message: ASGISendEvent) -> None:
        """Send for the application; a close has ``LINGER_S`` to be answered."""
        await super().send(message)
        if message["type"] == "websocket.close":
            self._cut_later()

    def shutdown(self) -> None:
        """Close with 1012."""
        super().shutdown()
        self._cut_later()

    def handle_ping(self, *event: Frame) -> None:
        """Answer, unless answers wait already because the peer does not read them."""
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)

    def handle_close(self, event: Frame) -> None:
        """The peer closes."""
        super().handle_close(event)
        self._cut_later()

    def handle_parser_exception(self) -> None:
        """The peer broke the websocket protocol, or sent more than it may."""
        super().handle_parser_exception()
        self._cut_later()

    def keepalive_timeout(self) -> None:
        """The peer does not answer pings."""
        super().keepalive_timeout()
        self._cut_later()

    def _cut_later(self) -> None:
        if self.disconnected:
            return
        if self.close_timer is not None:
            self.close_timer.cancel()
        # ``connection_lost`` cancels it, which is the usual course.
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.abort)


class FeedHttpProtocol(H11Protocol):
    """One HTTP connection; offers ``FORCE_CLOSE`` to the application, which cuts it whatever is still buffered."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._application = self.app
        self.app = self._offer

    async def _offer(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        extensions = scope.setdefault("extensions", {})  # type: ignore[typeddict-item]
        extensions[FORCE_CLOSE] = {"call": self._force_close}
        await self._application(scope, receive, send)

    def _force_close(self, code: int, reason: str) -> None:
        self.transport.abort()
