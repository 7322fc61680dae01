"""What happened between two moments, from a real server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from streamcap.types import Caption, CaptionKind, CaptionStatus, Event, Instance
from streamcap.wire import caption_message, event_message, gap_message
from tests.feeding import final, http_to, opened, serving, status

PATH = "/v1/streams/cam/summary"
T0 = 1_700_000_000.0  # 2023-11-14T22:13:20Z


def happened(n: int, what: str, saliency: float = 0.5) -> tuple[Event, float]:
    who = (Instance(n, "person", 0.9, (0.1, 0.1, 0.2, 0.4), (0.0, 0.0), 0.0, 1.0),)
    return Event(f"e{n}", what, 10.0 * n, 10.0 * n + 1, saliency, f"Number {n}.", who), T0 + 10 * n + 1


@contextlib.asynccontextmanager
async def asking() -> AsyncIterator[httpx.AsyncClient]:
    hub = await opened("cam", "yard")
    await hub.publish("cam", status())
    for n, (what, saliency) in enumerate([("enter", 0.6), ("enter", 0.7), ("fall", 1.0), ("leave", 0.4)] * 3):
        event, at = happened(n, what, saliency)
        await hub.publish("cam", event_message("cam", event, at=at))
    await hub.publish("cam", final("c1"))
    made = Caption("s1", 0, CaptionStatus.FINAL, CaptionKind.SUMMARY, 0.0, 300.0, "In 5 minutes: …", T0)
    await hub.publish("cam", caption_message("cam", made, emitted_at=T0 + 300))
    await hub.publish("cam", gap_message("cam", start=200.0, end=212.5, at=T0))
    async with (
        serving(hub) as where,
        http_to(where) as http,
    ):
        yield http


async def test_events_of_a_span_become_a_sentence() -> None:
    async with asking() as http:
        found = (await http.get(PATH, params={"from": 0, "to": 35})).json()
        assert found["text"] == "In 35 seconds: a person falls to the floor; two people enter; a person leaves."
        assert found["events"] == {"enter": 2, "fall": 1, "leave": 1} and found["whole"]
        assert (found["captions"], found["seconds"], found["unwatched_s"]) == (1, 35.0, 0.0)
        assert [each["text"] for each in found["highlights"]] == ["Number 0.", "Number 1.", "Number 2.", "Number 3."]
        later = (await http.get(PATH, params={"from": 36, "to": 75.5})).json()
        assert later["events"] == {"enter": 2, "fall": 1, "leave": 1} and later["captions"] == 0


async def test_open_ends_and_what_nobody_watched() -> None:
    async with asking() as http:
        found = (await http.get(PATH)).json()
        assert found["events"] == {"enter": 6, "fall": 3, "leave": 3}
        assert (found["seconds"], found["unwatched_s"]) == (212.5, 12.5)
        assert [each["saliency"] for each in found["highlights"]].count(1.0) == 3 and len(found["highlights"]) == 5
        assert [each["start"] for each in found["highlights"]] == sorted(e["start"] for e in found["highlights"])


async def test_spans_of_wall_time_and_empty_ones() -> None:
    async with asking() as http:
        wall = {"from": "2023-11-14T22:13:20Z", "to": "2023-11-14T22:13:50Z"}
        found = (await http.get(PATH, params=wall)).json()
        assert found["seconds"] == 30.0 and found["events"] == {"enter": 2, "fall": 1}
        nothing = (await http.get("/v1/streams/yard/summary")).json()
        assert (nothing["text"], nothing["events"], nothing["highlights"]) == ("", {}, [])


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/streams/nobody/summary", 404),
        (f"{PATH}?from=1&to=2023-11-14T22:13:20Z", 400),
        (f"{PATH}?from=-1", 422),
        (f"{PATH}?to=yesterday", 422),
    ],
)
async def test_what_does_not_hold(path: str, code: int) -> None:
    async with asking() as http:
        answer = await http.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (code, "application/problem+json")
