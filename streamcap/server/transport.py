"""The websocket protocol of uvicorn, made to let go of a peer that has stopped reading.

As it comes, a connection whose peer does not read is never closed: ``transport.close()`` waits for the write buffer to
drain, and a close frame waits behind it. Here every end of a connection has a deadline, after which the socket is cut;
and a peer that sends pings but does not read their answers cannot make the write buffer grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame

from streamcap.server.limits import Lease
from streamcap.wire import CloseCode

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

__all__ = ["FORCE_CLOSE", "FeedWebSocketProtocol"]

FORCE_CLOSE: Final = "streamcap.force_close"  # ASGI extension: {"call": (code, reason) -> None}
LINGER_S: Final = 5.0  # for a peer to take the last frames and to answer the close
FRAGMENTS_MAX: Final = 64  # of one message; empty ones count in no limit of size


class FeedWebSocketProtocol(WebSocketsSansIOProtocol):
    """One websocket connection; offers ``FORCE_CLOSE`` to the application.

    Attributes:
        lease: its place among the connections that are counted.
    """

    lease: Lease | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        if self.lease is not None:
            self.lease.leave()

    def handle_cont(self, event: Frame) -> None:
        """A further part of a message."""
        if len(self.frames) >= FRAGMENTS_MAX:
            self.conn.fail(CloseCode.TOO_BIG, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

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
