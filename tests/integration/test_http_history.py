"""History and search over HTTP, from a real server."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pysubs2
import pytest

from streamcap.hub import Hub
from streamcap.journal import MemoryJournal
from streamcap.server.api import history
from streamcap.types import Caption, CaptionKind, CaptionStatus, Event
from streamcap.wire import CaptionMessage, EventMessage, Message, caption_message, decode, event_message
from tests.feeding import StalledHttp, event, http_to, opened, serving, sockets_of, status, until

PATH = "/v1/streams/cam/captions"
T0 = 1_700_000_000.0  # 2023-11-14T22:13:20Z


@contextlib.asynccontextmanager
async def asking(hub: Hub, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(hub, **settings) as where,
        http_to(where) as http,
    ):
        yield http


def said(
    n: int,
    text: str = "",
    *,
    key: str = "",
    status: CaptionStatus = CaptionStatus.FINAL,
    kind: CaptionKind = CaptionKind.DIFF,
    media: float | None = None,
    stream: str = "cam",
) -> CaptionMessage:
    """Caption number ``n``: about media seconds 10 n to 10 n + 5, captured as long after ``T0``."""
    end = (10.0 * n + 5 if media is None else media) + 0.0
    made = Caption(key or f"c{n}", 3, status, kind, end - 5, end, text or f"Person {n} walks.", T0 + 10 * n + 5)
    return caption_message(stream, made, emitted_at=T0 + 10 * n + 5.5)


def happened(n: int, text: str) -> EventMessage:
    return event_message("cam", Event(f"e{n}", "enter", 10.0 * n, 10.0 * n + 1, 0.9, text), at=T0 + 10 * n + 1)


async def filled(count: int = 25) -> Hub:
    hub = await opened("cam", "yard")
    await hub.publish("cam", status())
    for n in range(count):
        await hub.publish("cam", happened(n, f"A dog enters at {n}."))
        await hub.publish("cam", said(n))
    return hub


def messages(page: httpx.Response) -> list[Message]:
    assert page.status_code == 200, page.text
    return [decode(json.dumps(each)) for each in page.json()["messages"]]


async def test_pages_follow_each_other_without_hole_or_double() -> None:
    hub = await filled()
    async with asking(hub) as http:
        found: list[Message] = []
        where: str | None = f"{PATH}?limit=7&kinds=caption,event,status"
        pages = 0
        while where is not None:
            page = await http.get(where)
            found += messages(page)
            pages += 1
            link = re.fullmatch(r'<(.*)>; rel="next"', page.headers.get("link", ""))
            assert (link is None) == ("next" not in page.json())
            where = link.group(1) if link else None
        assert [getattr(m, "seq", None) for m in found] == list(range(1, 52)) and pages == 8
        assert found == [decode(e.text) for e in await hub.journal.read("cam", after=0, limit=100)]
        body = page.json()
        assert (body["stream"], body["epoch"], body["earliest"], body["newest"]) == ("cam", hub.journal.epoch, 1, 51)
        exact = await http.get(f"{PATH}?limit=25")
        assert len(messages(exact)) == 25 and "next" not in exact.json()
        assert len(messages(await http.get(PATH))) == 25, "captions alone, unless asked"
        assert messages(await http.get(f"{PATH}?after=51&kinds=caption,event")) == []
        assert messages(await http.get(f"{PATH}?after=999999")) == []


async def test_spans_of_media_and_of_wall_time() -> None:
    async with asking(await filled()) as http:

        async def ids(query: str) -> list[str]:
            return [m.id for m in messages(await http.get(f"{PATH}?{query}")) if isinstance(m, CaptionMessage)]

        assert await ids("from=30&to=39.9") == ["c3"]
        assert await ids("from=35&to=40") == ["c3", "c4"], "both ends belong"
        assert await ids("from=235") == ["c23", "c24"]
        assert await ids("from=2023-11-14T22:13:35Z&to=2023-11-14T22:13:46Z") == ["c1", "c2"]
        assert await ids("to=2023-11-14T23:13:26%2B01:00") == ["c0"], "at T0 + 5.5 s, in another zone"
        assert await ids("from=2100-01-01T00:00:00Z") == []
        assert messages(await http.get(f"{PATH}?kinds=status&from=0")) == [], "a status has no media time"
        for bad, code in (
            ("from=-1", 422),
            ("from=nan", 422),
            ("from=2023-11-14T22:13:35", 422),  # of which zone?
            ("from=2023-11-14", 422),
            ("from=3&to=2023-11-14T22:13:46Z", 400),
            ("limit=0", 422),
            ("limit=10001", 422),
            ("after=x", 422),
            ("after=99999999999999999999", 422),
            ("kinds=unchanged", 422),
            ("kinds=", 422),
            ("format=xml", 422),
        ):
            refused = await http.get(f"{PATH}?{bad}")
            assert (refused.status_code, refused.headers["content-type"]) == (code, "application/problem+json"), bad


async def test_as_lines() -> None:
    hub = await filled(600)
    async with asking(hub) as http:
        whole = await http.get(f"{PATH}?format=jsonl&kinds=caption,event,status&limit=10000")
        assert whole.headers["content-type"].startswith("application/jsonl")
        lines = whole.text.splitlines()
        assert lines == [e.text for e in await hub.journal.read("cam", after=0, limit=5000)]
        few = await http.get(f"{PATH}?format=jsonl&limit=3&after=4")
        assert [json.loads(line)["seq"] for line in few.text.splitlines()] == [5, 7, 9]


async def test_as_subtitles() -> None:
    hub = await opened("cam")
    wrong = said(1, "Never happened.", key="wrong")
    for message in (
        said(0, "A <b> & a dog."),
        wrong,
        said(2, "Two people walk."),
        said(2, "Over five minutes nothing.", key="sum", kind=CaptionKind.SUMMARY),
        happened(2, "Enter."),
        said(3, "Never happened.", key="wrong", status=CaptionStatus.RETRACTED),
        said(40, "It begins anew.", key="anew", media=7.0),
        said(41, "And goes on.", key="on", media=17.0),
    ):
        await hub.publish("cam", message)
    async with asking(hub) as http:
        for form, kind in (("vtt", "text/vtt"), ("srt", "application/x-subrip")):
            shown = await http.get(f"{PATH}?format={form}")
            assert shown.headers["content-type"].startswith(kind)
            parsed = pysubs2.SSAFile.from_string(shown.text, format_=form)
            assert [line.plaintext for line in parsed][1:] == ["Two people walk.", "It begins anew.", "And goes on."]
            starts = [line.start for line in parsed]
            assert starts == [5_000, 25_000, 405_000, 415_000], "media time that begins anew goes on by the wall clock"
            assert all(a.end <= b.start for a, b in itertools.pairwise(parsed))
        vtt = (await http.get(f"{PATH}?format=vtt")).text
        assert vtt.startswith("WEBVTT\n\n1\n") and "A &lt;b&gt; &amp; a dog." in vtt


async def test_a_page_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = await filled(20)
    monkeypatch.setattr(history, "PAGE_BYTES", 3000)
    monkeypatch.setattr(history, "LOOKED_AT_MAX", 256)
    async with asking(hub) as http:
        found, after = [], 0
        for _ in range(40):
            page = await http.get(f"{PATH}?limit=1000&after={after}")
            found += messages(page)
            after = page.json().get("next")
            assert len(page.text) < 4000
            if after is None:
                break
        assert [m.id for m in found if isinstance(m, CaptionMessage)] == [f"c{n}" for n in range(20)]


async def test_what_most_is_filtered_from_ends_early_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = await opened("cam")
    for n in range(600):
        await hub.publish("cam", event(n))
    await hub.publish("cam", said(1))
    monkeypatch.setattr(history, "LOOKED_AT_MAX", 512)
    async with asking(hub) as http:
        first = (await http.get(PATH)).json()
        assert (first["messages"], first["next"]) == ([], 512)
        second = (await http.get(f"{PATH}?after=512")).json()
        assert (len(second["messages"]), second.get("next")) == (1, None)


async def test_a_place_that_is_gone_shows() -> None:
    hub = await opened("cam", journal=MemoryJournal(messages=10))
    for n in range(30):
        await hub.publish("cam", event(n))
    async with asking(hub) as http:
        page = (await http.get(f"{PATH}?kinds=event&after=3")).json()
        assert (page["earliest"], page["newest"], page["messages"][0]["seq"]) == (21, 30, 21)


async def test_streams_that_are_not_there_and_one_that_was() -> None:
    hub = await filled(3)
    async with asking(hub) as http:
        gone = await http.get("/v1/streams/nobody/captions")
        assert gone.status_code == gone.json()["status"] == 404
        assert (await http.get("/v1/streams/a%20b/captions")).status_code == 422
        assert messages(await http.get("/v1/streams/yard/captions")) == []
        hub.close_stream("cam")
        assert (await http.get("/v1/streams/cam")).status_code == 404
        assert len(messages(await http.get(PATH))) == 3, "what was said can still be read"


async def test_search() -> None:
    hub = await opened("cam", "yard")
    for message in (
        said(0, "A person walks across the yard."),
        said(1, "Two people are walking a dog.", key="dog"),
        happened(2, "A dog enters."),
        said(3, "The dog's owner waves.", key="wrong"),
        said(4, "The dog's owner waves.", key="wrong", status=CaptionStatus.RETRACTED),
    ):
        await hub.publish("cam", message)
    await hub.publish("yard", said(5, 'It said "good dog" and walked off.', stream="yard"))
    async with asking(hub) as http:

        async def hits(query: str, **more: str) -> list[str]:
            found = messages(await http.get("/v1/search", params={"q": query, **more}))
            return [m.id for m in found if isinstance(m, CaptionMessage | EventMessage)]

        assert await hits("dog") == ["c5", "e2", "dog"], "newest first, without what was retracted"
        assert await hits("DOG walk") == ["c5", "dog"]
        assert await hits('"a dog"') == ["e2", "dog"]
        assert await hits("dog", streams="cam,nobody") == ["e2", "dog"]
        assert await hits("dog", limit="1") == ["c5"]
        assert await hits("enter") == ["e2"]
        assert await hits("final") == [], "words of the text, not of the message's spelling"
        assert await hits("dog", **{"to": "2023-11-14T22:13:45Z"}) == ["e2", "dog"]
        assert await hits("dog", **{"from": "2023-11-14T22:14:00Z"}) == ["c5"]
        for bad, code in (({"q": "--"}, 400), ({"q": ""}, 422), ({}, 422), ({"q": "a", "streams": "a b"}, 422)):
            assert (await http.get("/v1/search", params=bad)).status_code == code, bad


async def test_a_journal_without_search_says_so() -> None:
    class Numbers:
        def __init__(self) -> None:
            journal = MemoryJournal()
            self.epoch, self.append, self.read = journal.epoch, journal.append, journal.read
            self.bounds, self.close = journal.bounds, journal.close

    hub = await opened("cam", journal=Numbers())
    await hub.publish("cam", said(1))
    async with asking(hub) as http:
        assert (await http.get("/v1/search?q=a")).status_code == 501
        assert len(messages(await http.get(PATH))) == 1


async def test_a_reader_that_stalls_is_cut_and_costs_little() -> None:
    hub = await opened("cam")
    for n in range(3000):
        await hub.publish("cam", said(n, "x" * 2000))
    async with serving(hub, send_timeout_s=0.5) as where:
        async with StalledHttp(where, f"{PATH}?format=jsonl&limit=10000") as stalled:
            await until(lambda: sockets_of(where.port) == 0)
            body = await stalled.read_all()
        assert body.startswith(b"HTTP/1.1 200")
        assert len(body) < 2_000_000 and not body.endswith(b"0\r\n\r\n"), "cut, and not to be taken for whole"
