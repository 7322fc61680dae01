"""The subscriber's client against a real server, a connection that breaks, and servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_script
from websockets.http11 import Request, Response

from streamcap.client import Feed, Gap, feed_url, subscribe
from streamcap.client import feed as connection
from streamcap.errors import FeedClosed, FeedError, UsageError, WireError
from streamcap.hub import Hub, OutboxLimits
from streamcap.journal import MemoryJournal
from streamcap.server import Listening
from streamcap.wire import (
    CaptionMessage,
    CaughtUpMessage,
    CloseCode,
    ErrorMessage,
    EventMessage,
    HeartbeatMessage,
    HelloMessage,
    Message,
    NumberedMessage,
    SnapshotMessage,
    StreamState,
    encode,
    is_durable,
    numbered,
    wall_time,
)
from tests.feeding import CuttingProxy, caption, event, final, opened, serving, status, until, whole
from tests.patience import LONG_S, PATIENCE_S, SOON_S

CAM = "/v1/streams/cam/captions"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(connection, "BACKOFF_MAX_S", 0.05)


async def some(feed: Feed, count: int) -> list[Message]:
    async with asyncio.timeout(PATIENCE_S):
        return [whole(await anext(feed)) for _ in range(count)]


async def until_ended(feed: Feed) -> list[Message]:
    async with asyncio.timeout(PATIENCE_S):
        return [whole(message) async for message in feed]


def seqs(messages: list[Message]) -> list[int | None]:
    return [message.seq for message in messages if isinstance(message, NumberedMessage) and is_durable(message)]


# Against a real server


async def test_a_server_alone_means_all_its_streams() -> None:
    hub = await opened("cam", "yard")
    async with serving(hub) as where, subscribe(where.url) as feed:
        assert {(m.type, m.stream) for m in await some(feed, 4)} == {
            *(("hello", "cam"), ("snapshot", "cam"), ("hello", "yard"), ("snapshot", "yard"))
        }
        await hub.publish("yard", status(stream="yard"))
        assert [m.stream for m in await some(feed, 1)] == ["yard"]
        assert feed.states["yard"].summary() == hub.state("yard").summary()


async def test_iteration_ends_with_the_stream() -> None:
    hub = await opened()
    async with serving(hub) as where, subscribe(f"http://127.0.0.1:{where.port}{CAM}") as feed:
        await some(feed, 2)
        await hub.publish("cam", final("c1"))
        await hub.publish("cam", status(StreamState.ENDED))
        assert seqs(await until_ended(feed)) == [1, 2]
        assert await until_ended(feed) == []


async def test_going_on_from_an_earlier_subscription() -> None:
    hub = await opened("cam", "yard")
    for stream in hub.streams:
        for n in range(5):
            await hub.publish(stream, event(n, stream))
    epoch = hub.state("cam").epoch
    async with serving(hub) as where:
        async with subscribe(where.url + CAM, after=3, epoch=epoch, interim=False, kinds=["event"]) as feed:
            assert [m.type for m in await some(feed, 4)] == ["hello", "event", "event", "caught_up"]
        async with subscribe(where.url, after={"cam": 4, "yard": 5}, epoch=epoch) as feed:
            assert [m.type for m in await some(feed, 5) if m.stream == "cam"] == ["hello", "event", "caught_up"]
        async with subscribe(where.url + CAM, after=3, epoch="another") as feed:
            assert [m.type for m in await some(feed, 2)] == ["hello", "error"]
            assert await anext(feed) == Gap("cam", 3, None)
            assert [m.type for m in await some(feed, 1)] == ["snapshot"]
            assert feed.states["cam"].summary() == hub.state("cam").summary()


@pytest.mark.parametrize("cut_after", [[700, 900, 1200, 3000, 500], [300] * 4, [4096, 5000, 15_000]])
async def test_a_connection_that_breaks_anywhere_loses_and_doubles_nothing(cut_after: list[int]) -> None:
    hub = await opened(heartbeat_s=0.1)
    proxy: CuttingProxy

    async def publish() -> None:
        await hub.publish("cam", status())
        for n in range(60):
            await hub.publish("cam", caption(f"c{n}", 0))
            if n % 3:
                await hub.publish("cam", caption(f"c{n}", 1))
                await hub.publish("cam", final(f"c{n}"))
            await asyncio.sleep(0.005)

    async with serving(hub) as where:
        proxy = CuttingProxy(where)
        proxy.cut_after = cut_after
        async with proxy as through, subscribe(through.url) as feed:
            publishing = asyncio.create_task(publish())
            got: list[Message] = []
            async with asyncio.timeout(PATIENCE_S):
                async for each in feed:
                    message = whole(each)
                    got.append(message)
                    quiet = publishing.done() and isinstance(message, HeartbeatMessage)
                    if quiet and feed.states["cam"].seq == hub.state("cam").seq:
                        break
            await publishing
        assert feed.states["cam"].summary() == hub.state("cam").summary()
        assert feed.states["cam"].holes == []
        numbers = [seq for seq in seqs(got) if seq is not None]
        snapshots = [m.seq for m in got if isinstance(m, SnapshotMessage)]
        assert len(snapshots) == 1, "resumed with a snapshot"
        assert numbers == list(range(snapshots[0] + 1, hub.state("cam").seq + 1))
        assert proxy.connections == len(cut_after) + 1


async def test_one_that_was_too_slow_comes_back_and_gets_everything() -> None:
    hub = await opened(limits=OutboxLimits(size=100_000))
    async with serving(hub) as where, subscribe(where.url + CAM) as feed:
        await some(feed, 2)
        for n in range(1, 301):
            await hub.publish("cam", event(n, text="x" * 8_000))
        await until(lambda: hub.counters.too_slow == 1)
        got: list[Message] = []
        while 300 not in seqs(got):
            got += await some(feed, 1)
        assert seqs(got) == list(range(1, 301))
        assert [m.type for m in got].count("hello") == 1


async def test_a_server_that_restarts_is_found_again() -> None:
    hub = await opened()
    first, second = contextlib.AsyncExitStack(), contextlib.AsyncExitStack()
    async with second, first:
        where = await first.enter_async_context(serving(hub))
        feed = await second.enter_async_context(subscribe(where.url + CAM))
        await some(feed, 2)
        await first.aclose()
        await hub.publish("cam", event(1))
        await second.enter_async_context(serving(hub, port=where.port))
        assert [m.type for m in await some(feed, 3)] == ["hello", "event", "caught_up"]


async def test_a_cancelled_step_loses_nothing() -> None:
    hub = await opened()
    async with serving(hub) as where, subscribe(where.url + CAM) as feed:
        await some(feed, 2)
        got: list[Message] = []
        publishing = asyncio.create_task(publish_events(hub, 50))
        while not publishing.done() or len(got) < 50:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    got.append(whole(await anext(feed)))
        assert seqs(got) == list(range(1, 51))


async def publish_events(hub: Hub, count: int) -> None:
    for n in range(count):
        await hub.publish("cam", event(n))
        await asyncio.sleep(0.0007)


@pytest.mark.parametrize(("path", "code"), [("/v1/streams/none/captions", 4404), (CAM + "?kinds=poem", 4400)])
async def test_what_a_retry_does_not_cure_is_raised(path: str, code: int) -> None:
    hub = await opened()
    async with serving(hub) as where, subscribe(where.url + path) as feed:
        assert [m.type for m in await some(feed, 1)] == ["error"]
        with pytest.raises(FeedClosed) as closed:
            await some(feed, 1)
        assert closed.value.code == code


async def test_nothing_there() -> None:
    for reconnect in (False, True):
        with pytest.raises(FeedError, match=r"cannot reach a feed at ws://127\.0\.0\.1:1: ") as error:
            async with subscribe("ws://user:secret@127.0.0.1:1", reconnect=reconnect):
                pass
        assert "streamcap serve" in error.value.hint and "secret" not in str(error.value)


async def test_a_server_that_is_just_being_started_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BACKOFF_MAX_S", 0.3)
    monkeypatch.setattr(connection, "BACKOFF_FIRST_S", 0.3)
    monkeypatch.setattr(connection, "FIRST_TRIES", 100)  # as many as a busy machine needs to start it
    hub = await opened()
    async with serving(hub) as where:
        port = where.port
    connecting = asyncio.create_task(first_messages(f"127.0.0.1:{port}"))
    await asyncio.sleep(0.1)
    async with serving(hub, port=port):
        assert [m.type for m in await connecting] == ["hello", "snapshot"]


async def first_messages(url: str) -> list[Message]:
    async with subscribe(url) as feed:
        return await some(feed, 2)


async def test_without_reconnect_a_loss_is_raised() -> None:
    hub = await opened()
    async with serving(hub) as where, subscribe(where.url, reconnect=False) as feed:
        await some(feed, 2)
        await hub.close()
        with pytest.raises(FeedError, match="cut off: the server is stopping"):
            await some(feed, 1)
        assert await until_ended(feed) == []


@pytest.mark.parametrize("reconnect", [True, False])
async def test_leaving_ends_an_iteration_that_waits(reconnect: bool) -> None:
    hub = await opened()
    async with serving(hub) as where, subscribe(where.url, reconnect=reconnect) as feed:
        await some(feed, 2)
        waiting = asyncio.create_task(until_ended(feed))
        await asyncio.sleep(0.02)
        await feed.close()
        assert await waiting == []
        assert await until_ended(feed) == []


@pytest.mark.parametrize("listens", [False, True], ids=["in a pause", "while it connects"])
async def test_leaving_ends_an_iteration_that_comes_back(listens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = await opened()
    async with contextlib.AsyncExitStack() as stack:
        async with serving(hub) as where:
            feed = await stack.enter_async_context(subscribe(where.url))
            await some(feed, 2)
        if listens:  # but says nothing
            stack.enter_context(socket.create_server((where.host, where.port)))
        else:
            monkeypatch.setattr(connection, "BACKOFF_FIRST_S", LONG_S)
            monkeypatch.setattr(connection, "BACKOFF_MAX_S", LONG_S)
        waiting = asyncio.create_task(until_ended(feed))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await feed.close()
        assert await asyncio.wait_for(waiting, SOON_S) == []


# Against servers that misbehave

Script = Callable[[ServerConnection], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def scripted(*scripts: Script, refuse: int = 0) -> AsyncIterator[tuple[str, list[dict[str, list[str]]]]]:
    """A server that plays one script for each connection, the last again and again; tells the queries it was asked."""
    asked: list[dict[str, list[str]]] = []

    async def play(connection: ServerConnection) -> None:
        assert connection.request is not None
        asked.append(parse_qs(urlsplit(connection.request.path).query))
        await scripts[min(len(asked), len(scripts)) - 1](connection)

    def turn_away(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(refuse, "no\n") if refuse else None

    async with serve_script(play, "127.0.0.1", 0, process_request=turn_away) as server:
        port = server.sockets[0].getsockname()[1]
        yield Listening("127.0.0.1", port).url + CAM, asked


def hello(seq: int = 0, heartbeat_s: float = 15.0) -> HelloMessage:
    return HelloMessage(stream="cam", at=wall_time(0), epoch="e", seq=seq, earliest=1, heartbeat_s=heartbeat_s)


def numbered_event(seq: int) -> EventMessage:
    return numbered(event(seq), seq)


def sends(*messages: Message, then: int | None = None) -> Script:
    """Send these; then close with a code, or stay silent."""

    async def script(connection: ServerConnection) -> None:
        for message in messages:
            await connection.send(encode(message))
        if then == 1006:
            connection.transport.abort()
        elif then is not None:
            await connection.close(then)
        await connection.wait_closed()

    return script


START: tuple[Message, ...] = (hello(), SnapshotMessage(stream="cam", at=wall_time(0), seq=0))


async def test_a_hole_is_healed_by_a_replay() -> None:
    broken = sends(*START, numbered_event(1), numbered_event(3))
    whole = sends(hello(3), numbered_event(2), numbered_event(3), CaughtUpMessage(stream="cam", at=wall_time(0), seq=3))
    async with scripted(broken, whole) as (url, asked), subscribe(url) as feed:
        assert seqs(await some(feed, 7)) == [1, 2, 3]
        assert "after" not in asked[0] and asked[1] == {"after": ["cam:1"], "epoch": ["e"]}


async def test_doubles_and_old_drafts_are_not_handed_out() -> None:
    drafts = (caption("c1", 1), caption("c1", 0))
    twice = sends(*START, numbered_event(1), *drafts, numbered_event(1), numbered(final("c1"), 2), then=1000)
    async with scripted(twice) as (url, _), subscribe(url) as feed:
        got = await until_ended(feed)
        assert [(m.type, m.rev) for m in got if isinstance(m, CaptionMessage)] == [("caption", 1), ("caption", 9)]
        assert seqs(got) == [1, 2]


async def test_one_that_had_only_a_hello_begins_with_a_snapshot_again() -> None:
    async with scripted(sends(hello(90), then=1012), sends(*START, then=1000)) as (url, asked), subscribe(url) as feed:
        assert [m.type for m in await until_ended(feed)] == ["hello", "hello", "snapshot"]
        assert asked == [{}, {}]


async def test_one_that_goes_on_from_before_keeps_its_place_until_it_has_a_newer_one() -> None:
    again = sends(hello(5), numbered_event(5), then=1000)
    async with scripted(sends(then=1012), sends(hello(5), then=1012), again) as (url, asked):
        async with subscribe(url, after=4, epoch="e") as feed:
            assert seqs(await until_ended(feed)) == [5]
        place = {"after": ["4"], "epoch": ["e"]}
        assert asked == [place, place, {**place, "after": ["cam:4"]}]


async def test_a_server_that_falls_silent_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENCE_MIN_S", 0.1)
    silent = sends(hello(heartbeat_s=0.03), *START[1:])
    async with scripted(silent, sends(hello(1), numbered_event(1), then=1000)) as (url, asked), subscribe(url) as feed:
        assert [m.type for m in await until_ended(feed)] == ["hello", "snapshot", "hello", "event"]
        assert len(asked) == 2


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 4408])
async def test_after_these_codes_it_comes_back(code: int) -> None:
    async with (
        scripted(sends(*START, then=code), sends(hello(1), numbered_event(1), then=1000)) as (url, asked),
        subscribe(url) as feed,
    ):
        assert seqs(await until_ended(feed)) == [1]
        assert asked[1]["after"] == ["cam:0"]


@pytest.mark.parametrize("code", [4400, 4401, 4403, 4404])
async def test_after_these_codes_it_does_not(code: int) -> None:
    async with scripted(sends(*START, then=code)) as (url, asked), subscribe(url) as feed:
        await some(feed, 2)
        with pytest.raises(FeedClosed) as closed:
            await some(feed, 1)
        assert closed.value.code == code and len(asked) == 1


@pytest.mark.parametrize(("status_code", "code"), [(401, CloseCode.UNAUTHORIZED), (403, CloseCode.FORBIDDEN)])
async def test_a_refusal_of_the_handshake_is_final(status_code: int, code: CloseCode) -> None:
    async with scripted(refuse=status_code) as (url, _):
        with pytest.raises(FeedClosed) as closed:
            async with subscribe(url):
                pass
        assert closed.value.code == code


async def test_another_failure_of_the_handshake_is_tried_again_and_then_told() -> None:
    async with scripted(refuse=502) as (url, _):
        with pytest.raises(FeedError, match="HTTP 502"):
            async with subscribe(url):
                pass


async def test_a_server_that_speaks_something_else() -> None:
    async def chatter(connection: ServerConnection) -> None:
        await connection.send("hello!")
        await connection.wait_closed()

    async with scripted(chatter) as (url, _), subscribe(url) as feed:
        with pytest.raises(WireError):
            await some(feed, 1)


# Addresses


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ws://h:1", "ws://h:1/v1/captions?streams=*"),
        ("h:8750", "ws://h:8750/v1/captions?streams=*"),
        ("http://h:1/", "ws://h:1/v1/captions?streams=*"),
        ("https://h", "wss://h/v1/captions?streams=*"),
        ("wss://h/v1/streams/cam/captions?interim=false#x", "wss://h/v1/streams/cam/captions?interim=false"),
        ("ws://[::1]:8750/?streams=a", "ws://[::1]:8750/v1/captions?streams=a"),
    ],
)
def test_addresses(given: str, meant: str) -> None:
    assert feed_url(given) == meant


@pytest.mark.parametrize("given", ["", "ws://", "ftp://h", "ws://h:99999", "ws://h:0", "ws://[::1", "/v1/captions"])
def test_bad_addresses(given: str) -> None:
    with pytest.raises(UsageError):
        feed_url(given)


async def test_what_a_subscriber_missed_for_good_is_a_gap() -> None:
    """Two numbers older than retention, and another life of the server: each is told before the snapshot."""
    hub = Hub(MemoryJournal(messages=5), heartbeat_s=0.2)
    await hub.open_stream("cam")
    await publish_events(hub, 10)
    epoch = hub.state("cam").epoch
    async with serving(hub) as where:
        for asked, expected in ((epoch, Gap("cam", 2, 10)), ("another", Gap("cam", 2, None))):
            async with subscribe(where.url + CAM, after=2, epoch=asked) as feed, asyncio.timeout(PATIENCE_S):
                got = [await anext(feed) for _ in range(4)]
            assert got[2] == expected
            assert isinstance(got[3], SnapshotMessage)
            assert [type(message) for message in got[:2]] == [HelloMessage, ErrorMessage]
        async with subscribe(where.url + CAM, after=8, epoch=epoch) as feed, asyncio.timeout(PATIENCE_S):
            assert len(await some(feed, 4)) == 4  # none of them a gap
