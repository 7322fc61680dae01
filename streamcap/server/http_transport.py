"""The HTTP protocol of uvicorn, made to let go of a client that is slow on purpose, and to count connections.

As it comes, a connection that never sends a whole request, or never reads its answer, is kept for ever. Here both have
a deadline, which what trickles in does not put off.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from streamcap.config import LimitSettings, Networks
from streamcap.server.limits import Connections, Lease, client_key
from streamcap.server.transport import FORCE_CLOSE, FeedWebSocketProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

__all__ = ["FeedHttpProtocol", "http_protocol"]

TAKEN_MIN_BYTES: Final = 16 * 1024  # of what waits for it, a client has to take in each ``stall_timeout_s``
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"


class FeedHttpProtocol(H11Protocol):
    """One HTTP connection. Made by ``http_protocol``, which says how many there may be, and for how long.

    Offers ``FORCE_CLOSE`` to the application, which cuts it whatever is still buffered.
    """

    limits: ClassVar[LimitSettings]
    counted: ClassVar[Connections]
    proxies: ClassVar[Networks]

    lease: Lease | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _waiting = 0

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, or turn it away; from here on a request's head has to come."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        client = self.client[0] if self.client else None
        key = client_key(client, exempt_loopback=self.limits.exempt_loopback, exempt=self.proxies)
        self.lease = self.counted.enter(key)
        self._await_head()
        if self.lease is None:
            transport.write(_FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stop_timers()
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Nothing is read any more from who was turned away."""
        if not self.transport.is_closing():
            super().data_received(data)

    def handle_events(self) -> None:
        """A request that has begun is the application's, and has its own deadlines."""
        super().handle_events()
        if self._head_timer is not None and self.cycle is not None and not self.cycle.response_complete:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over, and its place among those that are counted."""
        lease, self.lease = self.lease, None
        self._stop_timers()
        super().handle_websocket_upgrade(event)
        protocol = self.transport.get_protocol()
        assert isinstance(protocol, FeedWebSocketProtocol)
        protocol.lease = lease

    def on_response_complete(self) -> None:
        """The answer is written; the next request has to come, or the client to take what it was told."""
        self._await_head()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """More waits for the client than it takes."""
        super().pause_writing()
        if self._stall_timer is None:
            self._watch_stall()

    def resume_writing(self) -> None:
        """It takes it again."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()

    def _await_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(self.limits.header_timeout_s, self._head_late)

    def _head_late(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            return
        if self.transport.get_write_buffer_size() == 0:
            self.transport.abort()
        elif self._stall_timer is None:  # it still takes what it was told, which is for the other deadline to judge
            self._watch_stall()

    def _watch_stall(self) -> None:
        self._waiting = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(self.limits.stall_timeout_s, self._stalled)

    def _stalled(self) -> None:
        self._stall_timer = None
        waiting = self.transport.get_write_buffer_size()
        if waiting == 0:
            self._await_head()
        elif waiting > self._waiting - TAKEN_MIN_BYTES:
            self.transport.abort()
        else:
            self._watch_stall()

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = None

    def _leave(self) -> None:
        if self.lease is not None:
            self.lease.leave()
            self.lease = None


def http_protocol(limits: LimitSettings, connections: Connections, proxies: Networks = ()) -> type[FeedHttpProtocol]:
    """The protocol of one server; connections from ``proxies`` are not counted by address."""
    own = {"limits": limits, "counted": connections, "proxies": proxies}
    return type("FeedHttpProtocol", (FeedHttpProtocol,), own)
