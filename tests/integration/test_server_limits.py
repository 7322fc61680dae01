"""Clients that are slow, large, many or mad, on real sockets: each is cut off, and nobody else notices."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import os
import resource
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from streamcap.config import LimitSettings, SecuritySettings
from streamcap.server import Guard, Listening, serve
from streamcap.server.limits import FILES_RESERVED, allow_open_files, room_for
from streamcap.server.transport import FRAGMENTS_MAX
from tests.feeding import event, http_to, opened, receive, serving, sockets_of, until
from tests.patience import PATIENCE_S, SOON_S

CAM = "/v1/streams/cam/captions"
HEAD = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\nhost: localhost\r\n"
HUGE = b"x" * 8_000_000
# What takes minutes, a byte at a time; less than a head may hold.
MINUTES = HEAD + b"x: y\r\n" * 1000


async def echo(request: Request) -> Response:
    return PlainTextResponse(f"{len(await request.body())}\n")


async def huge(request: Request) -> Response:
    return Response(HUGE)


async def healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n")


APP = Starlette(
    routes=[Route("/echo", echo, methods=["POST"]), Route("/huge", huge), Route("/healthz", healthz, methods=["GET"])]
)


@contextlib.asynccontextmanager
async def listening(**limits: Any) -> AsyncIterator[Listening]:
    security = SecuritySettings(limits=LimitSettings(**limits))
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    guard = Guard(APP, None, security)
    task = asyncio.create_task(serve(guard, port=0, ready=ready, shutdown_s=1.0, limits=security.limits))
    try:
        yield await asyncio.wait_for(ready, PATIENCE_S)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Wire:
    """A bare connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def rest(self, patience: float = PATIENCE_S) -> bytes:
        """All that still comes, until the server closes."""
        data = b""
        async with asyncio.timeout(patience):
            with contextlib.suppress(ConnectionError):
                while piece := await self.reader.read(65536):
                    data += piece
        return data

    async def drip(self, data: bytes, pause: float) -> float:
        """Send a byte at a time until the server has had enough; returns the seconds that took."""
        begun = time.monotonic()
        ended = asyncio.create_task(self.reader.read())
        try:
            for byte in data:
                self.send(bytes([byte]))
                done, _ = await asyncio.wait({ended}, timeout=pause)
                if done:
                    break
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(ended, PATIENCE_S)
        finally:
            ended.cancel()
        return time.monotonic() - begun


@contextlib.asynccontextmanager
async def wired(where: Listening) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection(where.host, where.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def is_well(where: Listening) -> bool:
    async with wired(where) as wire:
        wire.send(HEAD + b"connection: close\r\n\r\n")
        return (await wire.rest()).endswith(b"ok\n")


# Slow


async def test_a_request_that_never_becomes_whole() -> None:
    async with listening(header_timeout_s=0.4) as where:
        async with wired(where) as silent, wired(where) as slow, wired(where) as other:
            begun = time.monotonic()
            took, said = await asyncio.gather(slow.drip(MINUTES, 0.05), silent.rest())
            assert said == b"" and time.monotonic() - begun > 0.3 and took < SOON_S
            assert await other.rest() == b""
        await until(lambda: is_well(where))


async def test_a_second_request_that_never_becomes_whole() -> None:
    async with listening(header_timeout_s=1.5) as where, wired(where) as wire:
        wire.send(HEAD + b"\r\n")
        assert (await wire.reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        assert await wire.drip(MINUTES, 0.05) < SOON_S


async def test_a_body_that_never_becomes_whole() -> None:
    async with listening(body_timeout_s=0.4) as where, wired(where) as wire:
        wire.send(POST + b"content-length: 10000\r\n\r\n")
        begun = time.monotonic()
        pouring = asyncio.create_task(wire.drip(b"x" * 9000, 0.05))
        assert await pouring < SOON_S and time.monotonic() - begun > 0.3
        await until(lambda: is_well(where))


async def test_a_late_body_is_told() -> None:
    async with listening(body_timeout_s=0.2) as where, wired(where) as wire:
        wire.send(POST + b"content-length: 10\r\n\r\nxxx")
        assert (await wire.rest()).startswith(b"HTTP/1.1 408")


async def test_a_body_that_nobody_reads_does_not_hold_the_connection() -> None:
    async with listening(header_timeout_s=0.4) as where, wired(where) as wire:
        wire.send(b"POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10000\r\n\r\n")
        assert await wire.drip(b"x" * 9000, 0.05) < SOON_S


async def test_an_answer_that_is_never_read() -> None:
    async with listening(stall_timeout_s=0.4) as where:
        bare = socket.socket()
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        bare.connect((where.host, where.port))
        bare.setblocking(False)
        with contextlib.closing(bare):
            bare.sendall(b"GET /huge HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await until(lambda: sockets_of(where.port) == 0)
            data, loop = 0, asyncio.get_running_loop()
            with contextlib.suppress(ConnectionError):
                while piece := await asyncio.wait_for(loop.sock_recv(bare, 1 << 20), PATIENCE_S):
                    data += len(piece)
            assert data < len(HUGE)
        await until(lambda: is_well(where))


async def test_who_takes_the_answer_slowly_gets_all_of_it() -> None:
    async with listening(stall_timeout_s=4.0) as where, wired(where) as wire:
        wire.send(b"GET /huge HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        data, begun = 0, time.monotonic()
        while piece := await asyncio.wait_for(wire.reader.read(200_000), PATIENCE_S):
            data += len(piece)
            await asyncio.sleep(0.1)
        assert data > len(HUGE) and time.monotonic() - begun > 4.0


# Large


async def test_large_heads() -> None:
    async with listening(header_bytes=8192) as where:
        for head in (b"x: " + b"y" * 20_000, b"x: y\r\n" * 5_000, b"y" * 20_000):
            async with wired(where) as wire:
                wire.send(HEAD + head)
                assert (await wire.rest()).startswith(b"HTTP/1.1 4"), head[:9]
        async with wired(where) as wire:
            wire.send(b"GET /" + b"a" * 20_000)
            assert (await wire.rest()).startswith(b"HTTP/1.1 4")
        await until(lambda: is_well(where))


async def test_large_bodies() -> None:
    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 500

    async with (
        listening(body_bytes=4096) as where,
        http_to(where) as http,
    ):
        assert (await http.post("/echo", content=b"x" * 4096)).text == "4096\n"
        assert (await http.post("/echo", content=pieces(8))).text == "4000\n"
        for content in (b"x" * 4097, b"x" * 1_000_000):
            answer = await http.post("/echo", content=content)
            assert answer.status_code == 413 and answer.json()["title"]
        assert (await http.post("/echo", content=pieces(9))).status_code == 413
        await until(lambda: is_well(where))


async def test_requests_that_are_none() -> None:
    async with listening() as where:
        for data in (
            *(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 100, b"\r\n" * 50_000, b"GET\r\n\r\n"),
            *(b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\nhost: x\r\n\r\n", HEAD + b"host: other\r\n\r\n"),
            HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n",
            POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET",
            POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        ):
            async with wired(where) as wire:
                wire.send(data)
                wire.writer.write_eof()
                said = await wire.rest()
                assert b"HTTP/1.1 2" not in said, data[:40]
        await until(lambda: is_well(where))


# Websocket frames


def frame(opcode: int, payload: bytes = b"", *, end: bool = True) -> bytes:
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
    return bytes([opcode | (0x80 if end else 0)]) + size + bytes(4) + payload


async def upgraded(wire: Wire, path: str = CAM, more: str = "") -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    wire.send(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n".encode()
    )
    assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")


def close_code(data: bytes) -> int | None:
    """From the close frame, which is the last."""
    place = max((data.rfind(struct.pack("!BB", 0x88, size)) for size in range(2, 126)), default=-1)
    return int.from_bytes(data[place + 2 : place + 4]) if place >= 0 else None


FRAMES = {
    "bad UTF-8": (frame(1, b"\xff\xfe"), 1007),
    "bad UTF-8 over two frames": (frame(1, b"\xc3", end=False) + frame(0, b"("), 1007),
    "too large": (frame(1, b"x" * 5000), 1009),
    "too large in parts": (frame(1, b"x" * 3000, end=False) + frame(0, b"x" * 3000, end=False), 1009),
    "endless empty parts": (frame(1, end=False) + frame(0, end=False) * (FRAGMENTS_MAX + 1), 1009),
    "no mask": (b"\x81\x01x", 1002),
    "reserved bits": (b"\xf1\x80" + bytes(4), 1002),
    "reserved opcode": (frame(3), 1002),
    "a part of nothing": (frame(0, b"x"), 1002),
    "a message within a message": (frame(1, b"x", end=False) + frame(1, b"y"), 1002),
    "a large ping": (frame(9, b"x" * 126), 1002),
    "a ping in parts": (frame(9, b"x", end=False), 1002),
    "a close of one byte": (frame(8, b"x"), 1002),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_frames_that_are_none(name: str) -> None:
    data, code = FRAMES[name]
    hub = await opened()
    async with serving(hub) as where, connect(where.url + CAM, compression=None, proxy=None) as other:
        async with wired(where) as wire:
            await upgraded(wire)
            wire.send(data)
            assert close_code(await wire.rest()) == code
        await receive(other, 2)
        await hub.publish("cam", event(1))
        await receive(other, 1)
        await until(lambda: hub.subscribers == 1)


async def test_what_a_subscriber_says_is_not_read() -> None:
    hub = await opened()
    async with serving(hub) as where, connect(where.url + CAM, compression=None, proxy=None) as connection:
        await receive(connection, 2)
        for text in ("{", "null", '{"type":"caption"}', "[" * 1000):
            await connection.send(text)
        await hub.publish("cam", event(1))
        assert [m.type for m in await receive(connection, 1)] == ["event"]


# Many


async def test_connections_from_one_address() -> None:
    async with listening(connections_per_address=3, exempt_loopback=False) as where:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(wired(where))
            async with wired(where) as fourth:
                assert (await fourth.rest()).startswith(b"HTTP/1.1 503")
        await until(lambda: is_well(where))


async def test_websockets_count_until_they_are_gone() -> None:
    hub = await opened()
    security = SecuritySettings(limits=LimitSettings(connections=3))
    async with serving(hub, security=security) as where:
        for _ in range(3):
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(3):
                    wire = await stack.enter_async_context(wired(where))
                    await upgraded(wire)
                async with wired(where) as fourth:
                    assert (await fourth.rest()).startswith(b"HTTP/1.1 503")
            await until(lambda: is_well(where))


async def test_requests_from_one_address() -> None:
    hub = await opened()
    limits = LimitSettings(requests_per_s=0.02, burst=5, exempt_loopback=False)
    async with (
        serving(hub, security=SecuritySettings(limits=limits)) as where,
        http_to(where) as http,
    ):
        answers = [await http.get("/healthz") for _ in range(8)]
        codes = [answer.status_code for answer in answers]
        assert codes[:5] == [200] * 5 and codes[-1] == 429
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 50 and answers[-1].json()["status"] == 429
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(where.url + CAM, proxy=None):
                pass
        assert refusal.value.response.status_code == 429


async def test_a_request_is_earned_with_time() -> None:
    hub = await opened()
    limits = LimitSettings(requests_per_s=0.5, burst=1, exempt_loopback=False)
    async with (
        serving(hub, security=SecuritySettings(limits=limits)) as where,
        http_to(where) as http,
    ):

        async def answered(code: int) -> bool:
            return (await http.get("/healthz")).status_code == code

        await until(lambda: answered(429))
        await until(lambda: answered(200))


async def test_behind_a_proxy_each_client_counts_by_itself() -> None:
    hub = await opened()
    limits = LimitSettings(requests_per_s=0.001, burst=3, connections_per_address=2, exempt_loopback=False)
    local = (ipaddress.IPv4Network("127.0.0.0/8"),)

    async def codes(where: Listening, *addresses: str) -> list[int]:
        async with http_to(where) as http:
            headers = [{"x-forwarded-for": address} for address in addresses]
            return [(await http.get("/healthz", headers=each)).status_code for each in headers]

    async with serving(hub, security=SecuritySettings(limits=limits, trusted_proxies=local)) as where:
        assert await codes(where, *["192.0.2.1"] * 5) == [200, 200, 200, 429, 429]
        assert await codes(where, "192.0.2.2", "192.0.2.1, 192.0.2.2", "192.0.2.2, 127.0.0.9") == [200, 200, 200]
        assert await codes(where, "192.0.2.9, 192.0.2.2") == [429], "what a client writes itself is not believed"
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(wired(where))
            assert await codes(where, "192.0.2.3") == [200], "the proxy may hold more connections than a client"
    async with serving(hub, security=SecuritySettings(limits=limits)) as where:
        assert await codes(where, *[f"192.0.2.{n}" for n in range(4)]) == [200, 200, 200, 429], "nobody is believed"


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only


def flood(where: Listening, count: int, failed: list[int]) -> None:
    """Connections that leave at once: some without a word, some in the middle of one, half of them with a reset."""
    reset = struct.pack("ii", 1, 0)
    for n in range(count):
        client = socket.socket()
        client.settimeout(PATIENCE_S)
        try:
            client.connect((where.host, where.port))
            if n % 3:
                client.sendall(HEAD if n % 3 == 1 else HEAD + b"\r\n")
            if n % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        except OSError:
            failed.append(n)
        finally:
            client.close()


async def test_ten_thousand_quick_connects() -> None:
    hub = await opened()
    files = open_files()
    async with serving(hub) as where, connect(where.url + CAM, compression=None, proxy=None) as other:
        await receive(other, 2)
        failed: list[int] = []
        threads = [threading.Thread(target=flood, args=(where, 2500, failed)) for _ in range(4)]
        for thread in threads:
            thread.start()
        delays: list[float] = []
        while any(thread.is_alive() for thread in threads):
            sent = time.monotonic()
            await hub.publish("cam", event(len(delays)))
            await receive(other, 1)
            delays.append(time.monotonic() - sent)
            await asyncio.sleep(0.1)
        assert len(failed) < 100, "most were answered"
        assert max(delays) < SOON_S, "the feed goes on meanwhile"
        await until(lambda: is_well(where))
        await until(lambda: open_files() <= files + 12)
        assert len(asyncio.all_tasks()) < 20


def test_connections_leave_room_for_other_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        assert room_for(4000) == 1024 - FILES_RESERVED and room_for(100) == 100
        allow_open_files(1000)
        assert room_for(1000) == 1000
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        assert room_for(4000) == 1, "not none: what there is to say would not be said"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
