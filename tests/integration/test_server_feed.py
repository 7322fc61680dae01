"""The feed over real sockets: uvicorn on a free port, real websocket clients, and some that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from streamcap.config import SecuritySettings
from streamcap.errors import FeedError, UsageError
from streamcap.hub import Hub, OutboxLimits
from streamcap.journal import MemoryJournal
from streamcap.server import Listening, create_app, serve, transport
from streamcap.server.feed import CLIENT_BYTES_MAX, MESSAGE_COST
from streamcap.server.run import CLIENT_MESSAGE_MAX
from streamcap.wire import (
    SUBPROTOCOL,
    CaptionMessage,
    Encoded,
    ErrorMessage,
    EventMessage,
    HeartbeatMessage,
    HelloMessage,
    Message,
    StreamState,
    decode,
)
from tests.feeding import (
    SlowJournal,
    StalledClient,
    caption,
    event,
    final,
    http_to,
    opened,
    receive,
    serving,
    sockets_of,
    status,
    until,
)
from tests.patience import LONG_S, PATIENCE_S, SOON_S

CAM = "/v1/streams/cam/captions"
BIG = "x" * 8_000


@contextlib.asynccontextmanager
async def connected(where: Listening, path: str, **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(where.url + path, compression=None, proxy=None, **options) as connection:
        yield connection


async def until_closed(connection: ClientConnection) -> tuple[list[Message], int, str]:
    """All messages, the close code and its reason."""
    messages = []
    async with asyncio.timeout(PATIENCE_S):
        try:
            while True:
                messages.append(decode(await connection.recv()))
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, "closed without a close frame"
            return messages, closed.rcvd.code, closed.rcvd.reason


# The conversation


@pytest.mark.parametrize("subprotocol", [SUBPROTOCOL, None])
async def test_hello_snapshot_live_and_the_end(subprotocol: str | None) -> None:
    hub = await opened()
    await hub.publish("cam", status())
    await hub.publish("cam", final("c0"))
    async with serving(hub) as where:
        offered = [Subprotocol(subprotocol)] if subprotocol else None
        async with connected(where, CAM, subprotocols=offered) as connection:
            assert connection.subprotocol == subprotocol
            hello, snapshot = await receive(connection, 2)
            assert (hello.type, snapshot.type) == ("hello", "snapshot")
            await hub.publish("cam", caption("c1"))
            assert [m.type for m in await receive(connection, 1)] == ["caption"]
            await hub.publish("cam", final("c1"))
            await hub.publish("cam", status(StreamState.ENDED))
            messages, code, reason = await until_closed(connection)
            assert [getattr(m, "seq", None) for m in messages] == [3, 4]
            assert (code, reason) == (1000, "the stream ended")


async def test_several_streams_on_one_socket() -> None:
    hub = await opened("cam", "yard", "gate")
    async with (
        serving(hub) as where,
        connected(where, "/v1/captions?streams=cam,yard") as two,
        connected(where, "/v1/captions?streams=*") as everything,
        connected(where, "/v1/captions") as default,
    ):
        assert {m.stream for m in await receive(two, 4)} == {"cam", "yard"}
        assert {m.stream for m in await receive(everything, 6)} == {"cam", "yard", "gate"}
        assert {m.stream for m in await receive(default, 6)} == {"cam", "yard", "gate"}
        for stream in hub.streams:
            await hub.publish(stream, event(1, stream))
        assert [m.stream for m in await receive(two, 2)] == ["cam", "yard"]
        assert [m.stream for m in await receive(everything, 3)] == ["cam", "yard", "gate"]


async def test_options_of_the_query() -> None:
    hub = await opened("cam", "yard")
    for stream in hub.streams:
        for n in range(4):
            await hub.publish(stream, event(n, stream))
    epoch = hub.state("cam").epoch
    async with serving(hub) as where:
        async with connected(where, f"{CAM}?after=2&epoch={epoch}") as connection:
            assert [m.type for m in await receive(connection, 4)] == ["hello", "event", "event", "caught_up"]
        places = f"/v1/captions?streams=cam,yard&after=cam:4,yard:3&epoch={epoch}"
        async with connected(where, places) as connection:
            got = await receive(connection, 5)
            assert [m.type for m in got if m.stream == "yard"] == ["hello", "event", "caught_up"]
        async with connected(where, f"{CAM}?after=2&epoch=another") as connection:
            _, error, snapshot = await receive(connection, 3)
            assert isinstance(error, ErrorMessage) and (error.code, snapshot.type) == ("resync", "snapshot")
        async with connected(where, f"{CAM}?interim=false&kinds=caption,status&token=ignored") as connection:
            await receive(connection, 2)
            for message in (caption("c1"), event(9), final("c1")):
                await hub.publish("cam", message)
            assert [m.type for m in await receive(connection, 1)] == ["caption"]


async def test_heartbeats_when_nothing_else_is_sent() -> None:
    hub = await opened(heartbeat_s=0.05)
    await hub.publish("cam", status())
    async with serving(hub) as where, connected(where, CAM) as connection:
        hello, _, *beats = await receive(connection, 5)
        assert isinstance(hello, HelloMessage) and hello.heartbeat_s == 0.05
        assert [b.seq for b in beats if isinstance(b, HeartbeatMessage)] == [1, 1, 1]


# What is refused


BAD_QUERIES = [
    *("after=-1", "after=x", "after=1e3", "after=", "after=cam:x", "after=99999999999999999999", "after=a/b:1"),
    *("interim=maybe", "kinds=poem", "kinds=", "epoch=" + "e" * 65),
]
BAD_ADDRESSES = {
    "/v1/captions?streams=cam,yard&after=3": 4400,
    "/v1/captions?streams=": 4400,
    "/v1/captions?streams=cam%0A": 4400,
    "/v1/captions?streams=cam,nowhere": 4404,
    "/v1/streams/nowhere/captions": 4404,
    "/v1/streams/a%20b/captions": 4400,
    "/v2/captions": 4404,
    "/": 4404,
}


async def test_bad_queries() -> None:
    hub = await opened()
    async with serving(hub) as where:
        for query in BAD_QUERIES:
            async with connected(where, f"{CAM}?{query}") as connection:
                (error,), code, reason = await until_closed(connection)
                assert isinstance(error, ErrorMessage) and (error.code, error.stream) == ("bad_request", None), query
                assert code == 4400 and reason == error.message, query
                assert query.split("=")[0] in reason


async def test_bad_addresses() -> None:
    hub = await opened("cam", "yard")
    async with serving(hub) as where:
        for path, code in BAD_ADDRESSES.items():
            async with connected(where, path) as connection:
                (error,), closed, _ = await until_closed(connection)
                assert isinstance(error, ErrorMessage) and closed == code, path


async def test_pages_of_other_origins_may_not_subscribe() -> None:
    hub = await opened()
    async with serving(hub, security=SecuritySettings(allowed_origins=("https://desk.example",))) as where:
        for origin in (f"http://{where.host}:{where.port}", "https://desk.example"):
            async with connected(where, CAM, origin=Origin(origin)) as connection:
                assert (await receive(connection, 1))[0].type == "hello"
        for origin in ("https://elsewhere.example", "null", f"http://{where.host}:{where.port + 1}"):
            async with connected(where, CAM, origin=Origin(origin)) as connection:
                (error,), code, _ = await until_closed(connection)
                assert isinstance(error, ErrorMessage) and (error.code, code) == ("forbidden", 4403)


async def test_too_many_subscribers() -> None:
    hub = await opened(subscribers_max=1)
    async with serving(hub) as where, connected(where, CAM) as first:
        await receive(first, 2)
        async with connected(where, CAM) as second:
            (error,), code, _ = await until_closed(second)
            assert isinstance(error, ErrorMessage) and (error.code, code) == ("overloaded", 1013)


async def test_a_client_has_little_to_say() -> None:
    hub = await opened()
    async with serving(hub) as where:
        async with connected(where, CAM) as connection:
            await receive(connection, 2)
            await connection.send("{}")
            await (await connection.ping())
            await hub.publish("cam", status())
            await receive(connection, 1)
            await connection.send(b"x" * (CLIENT_MESSAGE_MAX + 1))
            assert (await until_closed(connection))[1] == 1009
        async with connected(where, CAM) as connection:
            await receive(connection, 2)
            with contextlib.suppress(ConnectionClosed):
                for _ in range(CLIENT_BYTES_MAX // MESSAGE_COST + 1):
                    await connection.send("")
            (error,), code, _ = await until_closed(connection)
            assert isinstance(error, ErrorMessage) and (error.code, code) == ("bad_request", 4400)
        async with connected(where, CAM) as connection:
            assert len(await receive(connection, 2)) == 2
    assert hub.subscribers == 0


async def test_a_journal_that_fails_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    class Unreadable(MemoryJournal):
        async def read(self, stream: str, *, after: int, limit: int) -> list[Encoded]:
            if after > 0:
                raise FeedError("the disk is gone")
            return await super().read(stream, after=after, limit=limit)

    hub = await opened(journal=Unreadable())
    for n in range(3):
        await hub.publish("cam", event(n))
    async with serving(hub) as where, connected(where, f"{CAM}?after=1&epoch={hub.state('cam').epoch}") as connection:
        messages, code, _ = await until_closed(connection)
        assert ([m.type for m in messages], code) == (["hello", "error"], 1011)
    assert "the disk is gone" in caplog.text


# Slow and stalled subscribers


async def publish_big(count: int, first: int, hub: Any, reader: ClientConnection) -> list[float]:
    """Publish big events; returns how long each took to reach a subscriber that reads."""
    delays = []
    for n in range(first, first + count):
        begun = time.monotonic()
        await hub.publish("cam", event(n, text=BIG))
        (message,) = await receive(reader, 1)
        delays.append(time.monotonic() - begun)
        assert getattr(message, "seq", None) == n
    return delays


async def test_a_stalled_socket_is_closed_with_4408_and_costs_the_others_nothing() -> None:
    hub = await opened(limits=OutboxLimits(size=200_000))
    async with (
        serving(hub, send_timeout_s=LONG_S) as where,
        connected(where, CAM) as reader,
        StalledClient(where, CAM) as stalled,
    ):
        await receive(reader, 2)
        assert hub.subscribers == 2
        delays = await publish_big(150, 1, hub, reader)  # 1.2 MB: socket buffers, then the outbox, then no more
        assert sorted(delays)[len(delays) // 2] < 1.0, "it would have been minutes"
        await until(lambda: (hub.subscribers, hub.counters.too_slow) == (1, 1))
        texts, code = await stalled.read_all()  # it wakes up: what was on its way, then why
        assert code == 4408
        got = [message.seq for message in map(decode, texts) if isinstance(message, EventMessage)]
        assert got == list(range(1, len(got) + 1)) and 0 < len(got) < 150


async def test_a_send_that_takes_too_long_is_closed_with_4408() -> None:
    hub = await opened()
    async with serving(hub, send_timeout_s=0.3) as where, StalledClient(where, CAM) as stalled:
        for n in range(80):  # less than the outbox holds, more than the socket buffers do
            await hub.publish("cam", event(n, text=BIG))
            await asyncio.sleep(0)
        await until(lambda: (hub.subscribers, hub.counters.too_slow) == (0, 1))
        assert (await stalled.read_all())[1] == 4408


async def test_a_socket_that_is_never_read_again_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LINGER_S", 0.2)
    hub = await opened(limits=OutboxLimits(size=100_000))
    async with serving(hub) as where, StalledClient(where, CAM):
        await until(lambda: sockets_of(where.port) == 1)
        for n in range(150):
            await hub.publish("cam", event(n, text=BIG))
        await until(lambda: sockets_of(where.port) == 0)  # the server does not hold on to what nobody reads


async def test_pings_of_a_client_that_does_not_read_pile_up_nowhere() -> None:
    hub = await opened(limits=OutboxLimits(size=100_000))
    async with serving(hub) as where, StalledClient(where, CAM) as stalled:
        for n in range(80):
            await hub.publish("cam", event(n, text=BIG))
        before = resident()
        ping = b"\x89\xfd" + bytes(4) + bytes(125)
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(3):
                for _ in range(400):
                    await stalled.send(ping * 1000)  # 52 MB of pings
        assert resident() - before < 20e6


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_slow_reader_gets_the_newest_draft_and_every_final() -> None:
    hub = await opened()
    async with serving(hub) as where, connected(where, CAM, max_queue=1) as slow:
        await receive(slow, 2)
        for n in range(40):
            for rev in range(5):
                await hub.publish("cam", caption(f"c{n}", rev, text=BIG))
            await hub.publish("cam", final(f"c{n}", text=BIG))
        await hub.publish("cam", caption("last", 1))
        got: list[CaptionMessage] = []
        while not got or got[-1].id != "last":
            got += [m for m in await receive(slow, 1) if isinstance(m, CaptionMessage)]
        assert [m.id for m in got if m.seq] == [f"c{n}" for n in range(40)]
        assert len(got) < 40 * 6, "nothing was conflated"


# Start and stop


async def test_closing_the_hub_lets_subscribers_finish() -> None:
    hub = await opened()
    async with serving(hub) as where, connected(where, CAM) as connection:
        await receive(connection, 2)
        await hub.publish("cam", event(1))
        await hub.close()
        messages, code, _ = await until_closed(connection)
        assert ([m.type for m in messages], code) == (["event"], 1012)
        async with connected(where, CAM) as late:
            assert (await until_closed(late))[1] == 1012


async def test_stopping_the_server_closes_with_1012_and_leaves_nothing() -> None:
    hub = await opened()
    async with contextlib.AsyncExitStack() as clients:
        async with serving(hub, shutdown_s=LONG_S) as where:
            connections = [await clients.enter_async_context(connected(where, CAM)) for _ in range(3)]
            for connection in connections:
                await receive(connection, 2)
            begun = time.monotonic()
        assert time.monotonic() - begun < SOON_S
        for connection in connections:
            assert (await until_closed(connection))[1] == 1012
    assert hub.subscribers == 0
    with pytest.raises(OSError):
        await asyncio.open_connection(where.host, where.port)


async def test_a_stalled_client_does_not_hold_up_the_stop() -> None:
    hub = await opened()
    async with contextlib.AsyncExitStack() as clients:
        async with serving(hub, shutdown_s=1.0) as where:
            await clients.enter_async_context(StalledClient(where, CAM))
            for n in range(100):
                await hub.publish("cam", event(n, text=BIG))
            begun = time.monotonic()
        assert time.monotonic() - begun < SOON_S
        await until(lambda: sockets_of(where.port) == 0)
    assert hub.subscribers == 0


async def test_a_port_in_use_is_said_in_one_line() -> None:
    hub = await opened()
    app = create_app(hub, streams_info=list)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}") as refusal:
            await serve(app, port=port)
        assert "--port" in refusal.value.hint
    with pytest.raises(UsageError, match="cannot listen"):
        await serve(app, host="host.invalid")
    with pytest.raises(UsageError, match="cannot listen"):
        await serve(app, host="203.0.113.7", port=0)


def test_an_address_to_connect_to() -> None:
    assert Listening("0.0.0.0", 80).url == "ws://127.0.0.1:80"
    assert Listening("::1", 80).url == "ws://[::1]:80"
    assert Listening("::", 80).url == "ws://[::1]:80"


# HTTP


async def test_pages() -> None:
    hub = await opened("cam", "yard")
    await hub.publish("cam", status())
    async with (
        serving(hub, source="rtsp://user:secret@camera/1") as where,
        http_to(where) as http,
    ):
        listed = (await http.get("/v1/streams")).json()["streams"]
        expected = {"id": "cam", "state": "live", "source": "rtsp://camera/1", "seq": 1, "feed": CAM}
        assert {key: listed[0][key] for key in expected} == expected
        assert (listed[1]["id"], listed[1]["state"], listed[1]["seq"]) == ("yard", None, 0)
        page = await http.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "secret" not in page.text
        assert (await http.get("/healthz")).text == "ok\n"
        assert (await http.get("/readyz")).status_code == 200
        missing = await http.get("/nowhere")
        assert missing.headers["content-type"] == "application/problem+json"
        assert json.loads(missing.text)["status"] == missing.status_code == 404
        assert (await http.post("/healthz")).status_code == 405
        await hub.close()
        assert (await http.get("/readyz")).json()["detail"] == "stopping"
        assert (await http.get("/healthz")).status_code == 200


async def test_not_ready_while_the_journal_cannot_commit() -> None:
    journal = SlowJournal()
    hub = await opened(journal=journal)
    async with (
        serving(hub) as where,
        http_to(where) as http,
    ):
        journal.full = True
        with pytest.raises(FeedError):
            await hub.publish("cam", event(1))
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()["detail"]) == (503, "the disk is full")
        journal.full = False
        await hub.publish("cam", event(1))
        assert (await http.get("/readyz")).status_code == 200


async def test_not_ready_before_a_stream_is_open() -> None:
    async with (
        serving(Hub(MemoryJournal())) as where,
        http_to(where) as http,
    ):
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/healthz")).status_code == 200
