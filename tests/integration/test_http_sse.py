"""The feed as server-sent events, from a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from streamcap.hub import Hub, OutboxLimits
from streamcap.journal import MemoryJournal
from streamcap.server import Listening
from streamcap.wire import StreamState, decode
from streamcap.wire.fold import FeedState
from tests.feeding import CuttingProxy, StalledHttp, caption, event, final, opened, serving, status, until
from tests.patience import LONG_S, PATIENCE_S

PATH = "/v1/streams/cam/captions/sse"


@dataclass
class Event:
    id: str | None
    type: str
    data: str

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.data))


class EventSource:
    """The reading side of https://html.spec.whatwg.org/multipage/server-sent-events.html, as a browser has it."""

    def __init__(self, where: Listening, query: str = "", last_id: str = "") -> None:
        self.url, self.last_id = where.url.replace("ws", "http") + PATH + query, last_id
        self.comments: list[str] = []
        self.retry = 0

    async def events(self) -> AsyncIterator[Event]:
        headers = {"accept": "text/event-stream"} | ({"last-event-id": self.last_id} if self.last_id else {})
        async with (
            httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http,
            http.stream("GET", self.url, headers=headers) as answer,
        ):
            assert answer.status_code == 200, answer.status_code
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            data: list[str] = []
            kind, last_id = "", self.last_id
            async for line in answer.aiter_lines():
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if not line:
                    self.last_id = last_id  # only now: an event that was cut off has not come
                    if data:
                        yield Event(last_id or None, kind or "message", "\n".join(data))
                    data, kind = [], ""
                elif line.startswith(":"):
                    self.comments.append(value)
                elif name == "data":
                    data.append(value)
                elif name == "id":
                    last_id = value
                elif name == "event":
                    kind = value
                elif name == "retry":
                    self.retry = int(value)

    async def take(self, count: int) -> list[Event]:
        found = []
        async with asyncio.timeout(PATIENCE_S), contextlib.aclosing(self.events()) as events:  # type: ignore[type-var]
            async for each in events:
                found.append(each)
                if len(found) == count:
                    break
        return found


def seqs(events: list[Event]) -> list[int]:
    return [
        each.body["seq"]
        for each in events
        if each.body["type"] in ("event", "caption", "status") and "seq" in each.body
    ]


async def test_the_conversation_is_that_of_the_websocket() -> None:
    hub = await opened()
    await hub.publish("cam", status())
    await hub.publish("cam", caption())
    async with serving(hub) as where:
        source = EventSource(where)
        reading = asyncio.create_task(source.take(5))
        await until(lambda: hub.watchers("cam") == 1)
        await hub.publish("cam", caption(rev=1))
        await hub.publish("cam", final())
        await hub.publish("cam", event(1))
        hello, snapshot, draft, done, happened = await reading
        assert [e.body["type"] for e in (hello, snapshot, draft, done, happened)] == [
            *("hello", "snapshot", "caption", "caption", "event")
        ]
        assert {e.type for e in (hello, snapshot, draft, done, happened)} == {"message"}
        epoch = hub.journal.epoch
        assert (hello.id, snapshot.id, draft.id) == (None, f"{epoch}:1", f"{epoch}:1")
        assert (done.id, happened.id, source.retry) == (f"{epoch}:2", f"{epoch}:3", 2000)
        durable = [e async for e in _texts(hub)]
        assert [done.data, happened.data] == durable[1:]
        await until(lambda: not hub.subscribers)  # the client has gone, and so does its subscription


async def _texts(hub: Hub) -> AsyncIterator[str]:
    for entry in await hub.journal.read("cam", after=0, limit=1000):
        yield entry.text


async def test_resume_by_last_event_id_after_each_message_has_no_hole_and_no_double() -> None:
    hub = await opened()
    for n in range(12):
        await hub.publish("cam", event(n))
    epoch = hub.journal.epoch
    async with serving(hub) as where:
        for at in range(13):
            events = await EventSource(where, last_id=f"{epoch}:{at}").take(2 + 12 - at)
            assert seqs(events) == list(range(at + 1, 13))
            assert events[-1].body["type"] == "caught_up" and events[-1].id == f"{epoch}:12"
        by_query = await EventSource(where, f"?after=10&epoch={epoch}").take(4)
        assert seqs(by_query) == [11, 12]
        header_wins = await EventSource(where, f"?after=1&epoch={epoch}", f"{epoch}:11").take(3)
        assert seqs(header_wins) == [12]
        bare = await EventSource(where, f"?epoch={epoch}", "11").take(3)
        assert seqs(bare) == [12]
        for lost in ("elsewhere:3", f"{epoch}:99", "11", "garbage", "a:b:c", ":"):
            kinds = [e.body.get("code", e.body["type"]) for e in await EventSource(where, last_id=lost).take(3)]
            assert kinds == ["hello", "resync", "snapshot"], lost


async def test_cut_anywhere_a_client_that_comes_back_has_all_of_it_once() -> None:
    hub = await opened(journal=MemoryJournal())
    proxy = CuttingProxy(Listening("", 0))
    async with serving(hub) as where:
        proxy._where = where
        proxy.cut_after = [1200, 2500, 900, 4000, 2000, 700, 3000]
        async with proxy as through:
            source = EventSource(through)
            folded = FeedState("cam")
            got: list[int] = []

            async def publish() -> None:
                for n in range(60):
                    await hub.publish("cam", caption(f"c{n}", 0))
                    await hub.publish("cam", final(f"c{n}"))
                    await hub.publish("cam", event(n))
                    await asyncio.sleep(0.01)

            publishing = asyncio.create_task(publish())
            async with asyncio.timeout(PATIENCE_S):
                while folded.seq < 120:
                    with contextlib.suppress(httpx.TransportError):
                        async for each in source.events():
                            message = decode(each.data)
                            folded.apply(message)
                            if "prev" in each.body:
                                got.append(each.body["seq"])
                            if folded.seq == 120:
                                break
            await publishing
            assert proxy.connections > 5
            assert got == list(range(got[0], 121)) and got[0] < 60, "no hole, no double, in order"
            assert folded.holes == [] and folded.summary() == hub.state("cam").summary()


async def test_heartbeats_are_comments() -> None:
    hub = await opened(heartbeat_s=0.1)
    async with serving(hub) as where:
        source = EventSource(where, "?interim=false&kinds=event")
        reading = asyncio.create_task(source.take(3))
        await until(lambda: len(source.comments) >= 2)
        await hub.publish("cam", caption())
        await hub.publish("cam", status())
        await hub.publish("cam", event(1))
        events = await reading
        assert [e.body["type"] for e in events] == ["hello", "snapshot", "event"]
        assert len(source.comments) >= 2 and json.loads(source.comments[0])["type"] == "heartbeat"


async def test_the_end_of_a_stream_is_told_and_not_to_be_come_back_to() -> None:
    hub = await opened()
    async with serving(hub) as where, httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        source = EventSource(where)
        reading = asyncio.create_task(_all(source))
        await until(lambda: hub.watchers("cam") == 1)
        await hub.publish("cam", status(StreamState.ENDED))
        events = await asyncio.wait_for(reading, PATIENCE_S)
        assert (events[-1].type, events[-1].body["code"]) == ("close", 1000)
        assert (await http.get(source.url, headers={"last-event-id": source.last_id})).status_code == 204
        late = await _all(EventSource(where))
        assert [e.body.get("type", e.type) for e in late] == ["hello", "snapshot", "close"]


async def _all(source: EventSource) -> list[Event]:
    return [each async for each in source.events()]


async def test_a_server_that_stops_says_so() -> None:
    hub = await opened()
    async with serving(hub) as where:
        reading = asyncio.create_task(_all(EventSource(where)))
        await until(lambda: hub.watchers("cam") == 1)
        await hub.close()
        events = await asyncio.wait_for(reading, PATIENCE_S)
        assert (events[-1].type, events[-1].body["code"]) == ("close", 1012)
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
            refused = await http.get(EventSource(where).url)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")


async def test_refusals_are_problems() -> None:
    hub = await opened(subscribers_max=0)
    async with serving(hub) as where, httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
        base = where.url.replace("ws", "http")
        for path, code in (
            (PATH, 503),
            ("/v1/streams/nobody/captions/sse", 404),
            (f"{PATH}?after=-1", 422),
            (f"{PATH}?kinds=rumour", 422),
            (f"{PATH}?interim=perhaps", 422),
        ):
            refused = await http.get(base + path)
            assert (refused.status_code, refused.headers["content-type"]) == (code, "application/problem+json"), path


@pytest.mark.parametrize(
    ("limits", "timeout_s"), [(OutboxLimits(messages=50), LONG_S), (OutboxLimits(10**6, 10**9, 60), 3.0)]
)
async def test_a_client_that_stalls_is_cut_and_others_are_not(limits: OutboxLimits, timeout_s: float) -> None:
    hub = await opened(limits=limits)
    async with serving(hub, send_timeout_s=timeout_s) as where:
        async with StalledHttp(where, PATH) as stalled:
            await until(lambda: hub.watchers("cam") == 1)
            reader = EventSource(where)
            reading = asyncio.create_task(reader.take(402))
            await until(lambda: hub.watchers("cam") == 2)
            for n in range(400):
                await hub.publish("cam", event(n, text="x" * 4000))
                await asyncio.sleep(0.001)
            assert seqs(await reading) == list(range(1, 401))
            await until(lambda: not hub.subscribers)
            body = await stalled.read_all()
        assert b"event: close" not in body and len(body) < 1_000_000
