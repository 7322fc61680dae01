"""Running the application in an event loop that somebody else owns."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp

from streamcap.config import LimitSettings, Networks
from streamcap.errors import ConfigError, UsageError
from streamcap.server.http_transport import http_protocol
from streamcap.server.limits import Connections, room_for
from streamcap.server.transport import FeedWebSocketProtocol

__all__ = ["Listening", "bind", "check_tls", "serve"]

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
    secure: bool = False

    @property
    def url(self) -> str:
        """Address for a subscriber, such as ``ws://127.0.0.1:8750``."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - read, not bound
        scheme = "wss" if self.secure else "ws"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, limits: LimitSettings) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()
        self._tls_timeout_s = limits.tls_timeout_s

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # signals belong to the command line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.config.ssl is None:
            await super().startup(sockets)
        else:
            await self._startup_tls(sockets or [])
        self.listens.set()

    async def _startup_tls(self, sockets: list[socket.socket]) -> None:
        # As uvicorn does it, but for the deadline of a handshake, which is a minute otherwise: before it is done a
        # connection is not seen by anything that counts.
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            make = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
            return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

        self.servers = [
            await loop.create_server(
                protocol,
                sock=listener,
                ssl=self.config.ssl,
                backlog=self.config.backlog,
                ssl_handshake_timeout=self._tls_timeout_s,
                ssl_shutdown_timeout=self._tls_timeout_s,
            )
            for listener in sockets
        ]
        self.started = True

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
    limits: LimitSettings | None = None,
    tls: tuple[Path, Path] | None = None,
    proxies: Networks = (),
) -> None:
    """Serve until cancelled.

    Cancelling stops it in order: no new connections, subscribers closed with 1012, the rest cut after ``shutdown_s``
    seconds; then the cancellation goes on its way, and no socket or task is left. A second cancellation cuts at once.

    Args:
        port: 0 for any free one.
        listener: from :func:`bind`, instead of ``host`` and ``port``; closed at the end.
        ready: set to the real address once connections are accepted.
        tls: certificate chain and key, PEM files.
        proxies: whose connections are not counted by address: they bring those of others.

    Raises:
        UsageError: the address cannot be listened on.
        ConfigError: the certificate or its key cannot be used.
    """
    limits = limits or LimitSettings()
    certificate, key = tls or (None, None)
    if tls is not None:
        check_tls(*tls)
    listener = listener or bind(host, port)
    config = uvicorn.Config(
        app,
        http=http_protocol(limits, Connections(room_for(limits.connections), limits.connections_per_address), proxies),
        h11_max_incomplete_event_size=limits.header_bytes,
        ssl_certfile=certificate,
        ssl_keyfile=key,
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
        proxy_headers=False,  # the guard's
        timeout_graceful_shutdown=max(1, round(shutdown_s)),
    )
    server = _Server(config, limits)
    running = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
    try:
        await _announce(server, running, listener, ready, secure=tls is not None)
        await asyncio.shield(running)
    finally:
        await _stop(server, running, shutdown_s)
        listener.close()


async def _announce(
    server: _Server,
    running: asyncio.Task[None],
    listener: socket.socket,
    ready: asyncio.Future[Listening] | None,
    *,
    secure: bool,
) -> None:
    listens = asyncio.create_task(server.listens.wait())
    try:
        await asyncio.wait([listens, running], return_when=asyncio.FIRST_COMPLETED)
    finally:
        listens.cancel()
    if server.listens.is_set():
        address: tuple[Any, ...] = listener.getsockname()
        where = Listening(address[0], address[1], secure)
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


def check_tls(certificate: Path, key: Path) -> None:
    """Return where a certificate chain and its key can be used.

    Raises:
        ConfigError: they cannot.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except FileNotFoundError:
        missing = certificate if not certificate.exists() else key
        raise ConfigError(f"no such file: {missing}", hint="--tls-cert and --tls-key name PEM files") from None
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(
            f"{certificate} and {key} cannot be used: {_tls_fault(error)}",
            hint="a certificate chain and its key, PEM, without a password",
        ) from None


def _no_password() -> str:
    return ""  # else OpenSSL would ask at the terminal


def _tls_fault(error: Exception) -> str:
    return (getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)).replace("_", " ").lower()


def _hint(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program, perhaps another streamcap, listens there; choose another --port"
    if error.errno == errno.EACCES:
        return "ports below 1024 need more rights; choose another --port"
    return "give an address of this machine"
