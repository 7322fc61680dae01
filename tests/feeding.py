"""A real feed server for tests, a client that can stall, and a connection that can be cut."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection

from streamcap.client import Gap
from streamcap.config import SecuritySettings
from streamcap.errors import FeedError
from streamcap.hub import Hub
from streamcap.journal import MemoryJournal
from streamcap.server import FeedSettings, Guard, Listening, StreamInfo, create_app, serve
from streamcap.tokens import TokenGuard
from streamcap.types import Caption, CaptionKind, CaptionStatus, Event
from streamcap.wire import (
    CaptionMessage,
    DurableMessage,
    Encoded,
    EventMessage,
    Message,
    StatusMessage,
    StreamState,
    caption_message,
    decode,
    event_message,
    status_message,
)
from tests.patience import PATIENCE_S

__all__ = [
    "CuttingProxy",
    "SlowJournal",
    "StalledClient",
    "StalledHttp",
    "caption",
    "event",
    "final",
    "http_to",
    "opened",
    "receive",
    "serving",
    "sockets_of",
    "status",
    "until",
]


def caption(
    id: str = "c1", rev: int = 0, status: CaptionStatus = CaptionStatus.UPDATE, text: str = "", stream: str = "cam"
) -> CaptionMessage:
    """A draft, unless the status says otherwise."""
    made = Caption(id, rev, status, CaptionKind.DIFF, 1.0, 2.0, text or f"{id} {rev}", 1000.0)
    return caption_message(stream, made, emitted_at=1000.5)


def final(id: str = "c1", text: str = "", stream: str = "cam") -> CaptionMessage:
    """A final caption."""
    return caption(id, 9, CaptionStatus.FINAL, text, stream)


def status(state: StreamState = StreamState.LIVE, stream: str = "cam") -> StatusMessage:
    """A change of state."""
    return status_message(stream, state, at=1000.0)


def event(n: int, stream: str = "cam", text: str = "") -> EventMessage:
    """An event named ``e<n>``."""
    return event_message(stream, Event(f"e{n}", "enter", 1.0, 2.0, 0.5, text), at=1000.0)


async def opened(*streams: str, **options: Any) -> Hub:
    """A hub with these streams open, ``cam`` where none is named."""
    hub = Hub(options.pop("journal", None) or MemoryJournal(), **options)
    for stream in streams or ("cam",):
        await hub.open_stream(stream)
    return hub


@contextlib.asynccontextmanager
async def serving(
    hub: Hub,
    *,
    port: int = 0,
    shutdown_s: float = 10.0,
    source: str = "test:",
    tokens: TokenGuard | None = None,
    security: SecuritySettings | None = None,
    tls: tuple[Path, Path] | None = None,
    **settings: Any,
) -> AsyncIterator[Listening]:
    """A server of this hub on a free port; stopped at the end of the block."""
    security = security or SecuritySettings()
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    app = create_app(
        hub, streams_info=lambda: [StreamInfo(s, source) for s in hub.streams], settings=FeedSettings(**settings)
    )
    guard = Guard(app, tokens, security, hosts=security.allowed_hosts)
    task = asyncio.create_task(
        serve(
            guard,
            port=port,
            ready=ready,
            shutdown_s=shutdown_s,
            limits=security.limits,
            tls=tls,
            proxies=security.trusted_proxies,
        )
    )
    try:
        yield await asyncio.wait_for(ready, PATIENCE_S)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def http_to(where: Listening, **options: Any) -> httpx.AsyncClient:
    """A client of a server of this machine, which may take its time."""
    return httpx.AsyncClient(
        base_url=where.url.replace("ws", "http", 1), trust_env=False, timeout=PATIENCE_S, **options
    )


async def receive(connection: ClientConnection, count: int, *, patience: float = PATIENCE_S) -> list[Message]:
    """The next messages."""
    async with asyncio.timeout(patience):
        return [decode(await connection.recv()) for _ in range(count)]


class SlowJournal(MemoryJournal):
    """Takes its time before and after the commit, as a disk does, and fails on demand."""

    def __init__(self, before: float = 0.0, after: float = 0.0, reading: float = 0.0, **options: int) -> None:
        super().__init__(**options)
        self.before, self.after, self.reading = before, after, reading
        self.full = False

    async def append(self, stream: str, messages: Sequence[DurableMessage]) -> list[tuple[DurableMessage, Encoded]]:
        await asyncio.sleep(self.before)
        if self.full:
            raise FeedError("the disk is full")
        committed = await super().append(stream, messages)
        await asyncio.sleep(self.after)
        return committed

    async def read(self, stream: str, *, after: int, limit: int) -> list[Encoded]:
        await asyncio.sleep(self.reading)
        entries = await super().read(stream, after=after, limit=limit)
        await asyncio.sleep(self.reading)
        return entries


class StalledClient:
    """A websocket client on a bare socket with a small buffer: it reads when told to, and only then."""

    def __init__(self, where: Listening, path: str) -> None:
        self._where, self._path = where, path
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setblocking(False)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, (self._where.host, self._where.port))
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {self._path} HTTP/1.1\r\nHost: {self._where.host}:{self._where.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await loop.sock_sendall(self._socket, request.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await loop.sock_recv(self._socket, 1)
        assert head.startswith(b"HTTP/1.1 101"), head
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    async def send(self, frames: bytes) -> None:
        """Send bytes as they are."""
        await asyncio.get_running_loop().sock_sendall(self._socket, frames)

    async def read_all(self) -> tuple[list[str], int | None]:
        """Read to the end: the texts of all frames, and the close code where there was one."""
        data, loop = b"", asyncio.get_running_loop()
        with contextlib.suppress(ConnectionResetError):
            while chunk := await asyncio.wait_for(loop.sock_recv(self._socket, 1 << 20), PATIENCE_S):
                data += chunk
                if _frames(data)[1] is not None:
                    break
        return _frames(data)


class StalledHttp:
    """A GET on a bare socket with a small buffer: the answer is read when told to, and only then."""

    def __init__(self, where: Listening, path: str) -> None:
        self._where, self._path = where, path
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setblocking(False)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, (self._where.host, self._where.port))
        await loop.sock_sendall(self._socket, f"GET {self._path} HTTP/1.1\r\nHost: {self._where.host}\r\n\r\n".encode())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    async def read_all(self) -> bytes:
        """Read to the end of the connection, as it came."""
        data, loop = b"", asyncio.get_running_loop()
        with contextlib.suppress(ConnectionResetError):
            while chunk := await asyncio.wait_for(loop.sock_recv(self._socket, 1 << 20), PATIENCE_S):
                data += chunk
        return data


async def until(holds: Callable[[], object]) -> None:
    """Wait for what nothing tells of; ``holds`` may be asynchronous, too."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            held = holds()
            if await held if inspect.isawaitable(held) else held:
                return
            await asyncio.sleep(0.01)


def sockets_of(port: int) -> int:
    """Established connections whose local address is this port: those of the server's side."""
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(row[3] == "01" and row[1].endswith(f":{port:04X}") for row in rows)


def _frames(data: bytes) -> tuple[list[str], int | None]:
    """Unmasked frames of a server, none of them fragmented (RFC 6455)."""
    texts: list[str] = []
    while len(data) >= 2:
        opcode, size, start = data[0] & 0xF, data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10]), 10
        body, data = data[start : start + size], data[start + size :]
        if len(body) < size:
            break
        if opcode == 8:
            return texts, int.from_bytes(body[:2])
        if opcode == 1:
            texts.append(body.decode())
    return texts, None


class CuttingProxy:
    """A TCP proxy whose connections can be cut, after so many bytes or at once."""

    def __init__(self, where: Listening) -> None:
        self._where = where
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.cut_after: list[int] = []  # bytes to the client, for each next connection; then without limit
        self.connections = 0

    async def __aenter__(self) -> Listening:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        return Listening(host, port)

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        budget = self.cut_after[self.connections] if self.connections < len(self.cut_after) else 1 << 40
        self.connections += 1
        try:
            server_reader, server_writer = await asyncio.open_connection(self._where.host, self._where.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, server_writer}
        tasks = [
            asyncio.create_task(_pump(reader, server_writer, 1 << 40)),
            asyncio.create_task(_pump(server_reader, writer, budget)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in (writer, server_writer):
                each.transport.abort()
            self._writers -= {writer, server_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int) -> None:
    while budget > 0 and (data := await reader.read(min(65536, budget))):
        budget -= len(data)
        writer.write(data)
        await writer.drain()


def whole(message: Message | Gap) -> Message:
    """A message of a feed in which nothing is lost."""
    assert not isinstance(message, Gap), message
    return message
