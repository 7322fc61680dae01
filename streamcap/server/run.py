"""Running the application in an event loop that somebody else owns."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from streamcap.errors import UsageError
from streamcap.server.transport import FeedHttpProtocol, FeedWebSocketProtocol

__all__ = ["Listening", "bind", "serve"]

logger = logging.getLogger(__name__)

CLIENT_MESSAGE_MAX: Final = 4096  # bytes of one message from a subscriber; more closes with 1009
# Kernel buffer towards each client (Linux doubles it). Left alone it grows to 4 MB: that much stale text a client that
# stalls would get before it hears of the close, and that much memory each would cost.
SEND_BUFFER: Final = 128 * 1024
PING_S: Final = 20.0  # websocket pings find peers that are gone without a word
SHUTDOWN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Address for a subscriber, such as ``ws://127.0.0.1:8750``."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - read, not bound
        return f"ws://[{host}]:{self.port}" if ":" in host else f"ws://{host}:{self.port}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # signals belong to the command line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # what the graceful time was not enough for


async def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 8750,
    listener: socket.socket | None = None,
    ready: asyncio.Future[Listening] | None = None,
    shutdown_s: float = SHUTDOWN_S,
) -> None:
    """Serve until cancelled.

    Cancelling stops it in order: no new connections, subscribers closed with 1012, the rest cut after ``shutdown_s``
    seconds; then the cancellation goes on its way, and no socket or task is left. A second cancellation cuts at once.

    Args:
        port: 0 for any free one.
        listener: from :func:`bind`, instead of ``host`` and ``port``; closed at the end.
        ready: set to the real address once connections are accepted.

    Raises:
        UsageError: the address cannot be listened on.
    """
    listener = listener or bind(host, port)
    config = uvicorn.Config(
        app,
        http=FeedHttpProtocol,
        ws=FeedWebSocketProtocol,
        ws_max_size=CLIENT_MESSAGE_MAX,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        # Off: the same text goes to all subscribers, and compressing it again for each costs more than it saves.
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(shutdown_s)),
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
    try:
        await _announce(server, running, listener, ready)
        await asyncio.shield(running)
    finally:
        await _stop(server, running, shutdown_s)
        listener.close()


async def _announce(
    server: _Server, running: asyncio.Task[None], listener: socket.socket, ready: asyncio.Future[Listening] | None
) -> None:
    listens = asyncio.create_task(server.listens.wait())
    try:
        await asyncio.wait([listens, running], return_when=asyncio.FIRST_COMPLETED)
    finally:
        listens.cancel()
    if server.listens.is_set():
        address: tuple[Any, ...] = listener.getsockname()
        where = Listening(address[0], address[1])
        logger.info("listening on %s", where.url)
        if ready is not None and not ready.done():
            ready.set_result(where)


async def _stop(server: _Server, running: asyncio.Task[None], shutdown_s: float) -> None:
    server.should_exit = True
    try:
        # Twice and a second: uvicorn bounds its own graceful time, and wakes ten times a second to look.
        await asyncio.wait([running], timeout=2 * shutdown_s + 1)
    finally:
        server.force_exit = True
        if not running.done():
            logger.warning("the server did not stop in time and is cut off")
            running.cancel()
            for connection in list(server.server_state.connections):
                connection.transport.abort()
        await asyncio.gather(running, *server.server_state.tasks, return_exceptions=True)


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to an address, so that it is known to be free before anything is started.

    Raises:
        UsageError: it cannot be listened on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, OverflowError) as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error}", hint="give an address of this machine") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # inherited by accepted sockets
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}", hint=_hint(error)) from None
    return listener


def _hint(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program, perhaps another streamcap, listens there; choose another --port"
    if error.errno == errno.EACCES:
        return "ports below 1024 need more rights; choose another --port"
    return "give an address of this machine"
