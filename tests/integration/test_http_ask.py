"""Questions, and a vision–language captioner set by the API, on a running service with a real model server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamcap.config import Settings
from streamcap.errors import ConfigError, FeedError
from streamcap.models.pool import Models
from streamcap.questions import ask as ask_of
from streamcap.server.service import Service, running
from tests.feeding import http_to
from tests.llm_server import Fault, LlmServer, llm_server
from tests.openai_backend import until
from tests.patience import LONG_S, PATIENCE_S
from tests.vision import answering, settings_for, windows

pytestmark = pytest.mark.weights
STREET = "test:?seconds=3600"


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with llm_server(rule=answering) as started:
        yield started


@contextlib.asynccontextmanager
async def service(
    models: Models, server: LlmServer | None, data: Path | None = None, streams: Any = (), **vision: Any
) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    raw: dict[str, Any] = {"server": {"port": 0, "data": data}, "streams": list(streams)}
    if server is not None:
        raw["vision"] = settings_for(server, **vision).model_dump()
    async with (
        running(Settings.model_validate(raw), models) as run,
        http_to(run.listening) as http,
    ):
        yield run, http


async def said(
    http: httpx.AsyncClient, words: str, stream: str = "street", patience: float = 2 * PATIENCE_S
) -> dict[str, Any]:
    """Wait for a final caption with these words."""
    async with asyncio.timeout(patience):
        while True:
            found = (await http.get(f"/v1/streams/{stream}/captions")).json()["messages"]
            for message in found:
                if words in message["text"]:
                    return dict(message)
            await asyncio.sleep(0.2)


async def ask(http: httpx.AsyncClient, question: str = "Who came?", stream: str = "street", **body: Any) -> Any:
    return await http.post(f"/v1/streams/{stream}/ask", json={"question": question, **body})


VISION = {"id": "street", "source": STREET, "captioner": "vision"}


async def test_a_question_is_answered_from_what_is_known(models: Models, server: LlmServer) -> None:
    async with service(models, server, streams=[VISION]) as (_, http):
        assert (await http.get("/v1/streams/street")).json()["ask"] == "/v1/streams/street/ask"
        entered = await said(http, "enters")
        answer = (await ask(http)).json()
        assert answer["answer"].endswith("pictures tell of a person.") and answer["answered"] is True
        assert answer["source"] == "vision:test-vlm"
        assert answer["times"] == [entered["end"]], "what was neither shown nor told cannot be cited"
        (cited,) = answer["evidence"]
        assert "enters from the left" in cited["text"]
        assert (await http.get(cited["image"])).headers["content-type"] == "image/jpeg"
        asked = server.shown[-1]
        assert '"Who came?"' in asked.question and "enters from the left" in asked.question
        assert asked.pictures[-1].shape[1] >= 320, "what is seen now"

        moment = (await ask(http, "What was there?", at=2.0)).json()
        assert "The question is about 2.0 s" in server.shown[-1].question
        assert moment["answered"] is True

        spoken = []
        async with http.stream(
            "POST", "/v1/streams/street/ask", json={"question": "Who?"}, headers={"accept": "text/event-stream"}
        ) as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            async for line in events.aiter_lines():
                spoken.append(line)
        assert spoken[0] == "event: draft"
        last = json.loads([line for line in spoken if line.startswith("data:")][-1][5:])
        assert "event: answer" in spoken and last["times"] == [entered["end"]]


async def test_a_question_that_cannot_be(models: Models, server: LlmServer) -> None:
    async with service(models, server, streams=[VISION | {"captioner": "grounded"}]) as (_, http):
        for body in (
            {}, {"question": ""}, {"question": "   "}, {"question": "x" * 1001}, {"question": 5},
            {"question": "?", "at": -1}, {"question": "?", "more": 1}, {"question": "?", "from": "yesterday"},
        ):  # fmt: skip
            assert (await http.post("/v1/streams/street/ask", json=body)).status_code == 422, body
        both = await ask(http, at=1, to=2)
        assert (both.status_code, both.headers["content-type"]) == (400, "application/problem+json")
        back = await http.post("/v1/streams/street/ask", json={"question": "?", "from": 9, "to": 1})
        assert (back.status_code, back.json()["detail"]) == (400, "from lies after to")
        assert (await ask(http, stream="nobody")).status_code == 404
        assert (await ask(http, "x" * 100_000)).status_code == 413
        assert server.shown == []
        await said(http, "")
        assert (await ask(http, "What is there?")).status_code == 200, "also of a stream that no model captions"


async def test_without_a_model_it_says_so(models: Models) -> None:
    async with service(models, None, streams=[VISION | {"captioner": "grounded"}]) as (_, http):
        assert (await http.get("/v1/streams/street")).json()["ask"] is None
        assert (await http.get("/v1/streams/street/summary", params={"by": "model"})).status_code == 409
        refused = await ask(http)
        assert refused.status_code == 409 and "[vision]" in refused.json()["detail"]
        wanted = await http.patch("/v1/streams/street", json={"captioner": "vision"})
        assert wanted.status_code == 400 and "[vision]" in wanted.json()["detail"]
        added = await http.post("/v1/streams", json=VISION | {"id": "other"})
        assert added.status_code == 400
        assert [each["id"] for each in (await http.get("/v1/streams")).json()["streams"]] == ["street"]


def test_a_settings_file_that_asks_for_a_model_names_one() -> None:
    from streamcap.config import parse_settings

    with pytest.raises(ConfigError, match=r"street needs a \[vision\] section"):
        parse_settings({"streams": [VISION]}, "test")
    with pytest.raises(ConfigError, match="model is missing"):
        parse_settings({"vision": {"backend": "transformers"}}, "test")


@pytest.mark.parametrize(
    ("fault", "status", "again"),
    [
        (Fault.ERROR, 503, False),
        (Fault.BUSY, 503, True),
        (Fault.STALL, 504, False),
        (Fault.GARBAGE, 502, False),
        (Fault.EMPTY, 502, False),
        (Fault.NO_MODEL, 503, False),
    ],
)
async def test_where_the_model_fails_the_answer_says_how(
    models: Models, server: LlmServer, fault: Fault, status: int, again: bool
) -> None:
    timeout_s = 1.0 if fault is Fault.STALL else PATIENCE_S
    async with service(models, server, streams=[VISION | {"captioner": "grounded"}], timeout_s=timeout_s) as (_, http):
        await said(http, "")
        server.fault = fault
        refused = await ask(http)
        assert refused.status_code == status, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert ("retry-after" in refused.headers) is again
        streamed = await http.post(
            "/v1/streams/street/ask", json={"question": "Who?"}, headers={"accept": "text/event-stream"}
        )
        assert streamed.status_code == status, "before anything was said it is an answer of its own"


async def test_an_answer_that_breaks_off_says_so(models: Models, server: LlmServer) -> None:
    async with service(models, server, streams=[VISION | {"captioner": "grounded"}]) as (_, http):
        await said(http, "")
        server.rule = lambda shown: '{"answered": true, "answer": "A man in a red to'
        whole = await ask(http)
        assert (whole.status_code, whole.json()["answer"]) == (200, "A man in a red\u2026")


async def test_questions_have_a_budget(models: Models, server: LlmServer) -> None:
    async with service(
        models, server, streams=[VISION | {"captioner": "grounded"}], calls_per_minute=2, timeout_s=5.0
    ) as (_, http):
        await said(http, "")
        found = [(await ask(http)).status_code for _ in range(3)]
        assert found == [200, 200, 429]
        refused = await ask(http)
        assert 1 <= int(refused.headers["retry-after"]) <= 60


async def test_of_a_stream_that_is_paused_the_journal_tells(models: Models, server: LlmServer, tmp_path: Path) -> None:
    async with service(models, server, tmp_path, streams=[VISION]) as (run, http):
        await said(http, "enters")
        await http.patch("/v1/streams/street", json={"paused": True})
        told = (await http.get("/v1/streams/street/summary")).json()
        assert (told["source"], told["text"].startswith("In ")) == ("grounded", True)
        told = (await http.get("/v1/streams/street/summary", params={"by": "model"})).json()
        assert (told["source"], told["text"]) == ("vision:test-vlm", "All in all 2 things were told.")
        assert (await ask(http)).json()["answered"] is True
        await http.delete("/v1/streams/street")
        answer = await ask_of(run.listening.url, "street", "Who came?")
        assert answer.answered and answer.times == (answer.evidence[0].t,) and "enters" in answer.evidence[0].text
        with pytest.raises(FeedError, match="no stream nobody"):
            await ask_of(run.listening.url, "nobody", "Who came?")
        words = [sys.executable, "-m", "streamcap", "ask", run.listening.url, "street", "Who came?"]
        spoken = await asyncio.to_thread(
            subprocess.run, words, capture_output=True, text=True, timeout=LONG_S, check=False
        )
        assert spoken.returncode == 0, spoken.stderr
        assert "pictures tell of a person." in spoken.stdout and "enters from the left" in spoken.stdout
        gone = (await ask(http)).json()
        assert gone["answered"] is True and gone["evidence"], "also of one that was removed"


LONG = '{"answered": true, "answer": "' + "A person walks by. " * 200  # minutes of pieces


@pytest.mark.parametrize(
    ("head", "seen"),
    [
        pytest.param("POST /v1/streams/street/ask", b"", id="whole"),
        pytest.param("POST /v1/streams/street/ask\r\naccept: text/event-stream", b"event: draft", id="events"),
        pytest.param("POST /v1/streams/street/ask\r\naccept: text/event-stream", b"", id="events, before the first"),
        pytest.param("GET /v1/streams/street/summary?by=model", b"", id="summary"),
    ],
)
async def test_who_leaves_calls_the_model_off(models: Models, server: LlmServer, head: str, seen: bytes) -> None:
    """Over a socket that is closed while the model writes; it has one place, which the next question gets."""
    streams = [VISION | {"captioner": "grounded"}]
    async with service(models, server, streams=streams, timeout_s=LONG_S, concurrency=1) as (run, http):
        await said(http, "enters")
        server.rule, server.fault, server.pause = (lambda shown: LONG), Fault.SLOW, 0.2
        server.delay = 0.0 if seen else LONG_S
        reader, writer = await asyncio.open_connection(
            *re.search(r"//(.+):(\d+)", run.listening.url).groups()  # type: ignore[union-attr]
        )
        first, _, more = head.partition("\r\n")
        body = json.dumps({"question": "Who came?"}) if head.startswith("POST") else ""
        lines = [f"{first} HTTP/1.1", "host: localhost", *filter(None, [more]), "content-type: application/json"]
        writer.write("\r\n".join([*lines, f"content-length: {len(body)}", "", body]).encode())
        await until(lambda: server.working == 1)
        if seen:
            await asyncio.wait_for(reader.readuntil(seen), PATIENCE_S)
        writer.close()
        await until(lambda: server.working == 0 and server.left == 1)
        server.rule, server.fault, server.delay = answering, Fault.NONE, 0.0
        assert (await ask(http)).json()["answered"] is True


async def test_two_streams_share_a_budget(models: Models, server: LlmServer) -> None:
    streams = [VISION | {"id": f"s{n}", "source": STREET} for n in range(2)]
    async with service(models, server, streams=streams, calls_per_minute_in_all=3, timeout_s=20) as (_, http):
        for stream in ("s0", "s1"):
            await said(http, "enters", stream)
        assert len(windows(server)) == 3
        finals = [
            message
            for stream in ("s0", "s1")
            for message in (await http.get(f"/v1/streams/{stream}/captions")).json()["messages"]
        ]
        sources = Counter(message["source"] for message in finals)  # a slow machine may make more windows of it
        assert sources["vision:test-vlm"] == 3 and sources["grounded"] >= 1
        states = {each["state"] for each in (await http.get("/v1/streams")).json()["streams"]}
        assert states == {"live"}, "who has spent the budget is not degraded: that was wished"
        metrics = (await http.get("/metrics")).text
        refused = re.search(r'streamcap_vision_failures_total{fault="OverBudget"} (\d+)', metrics)
        assert refused is not None and int(refused[1]) >= 1
        assert f'streamcap_vision_calls_total{{for="caption"}} {3 + int(refused[1])}.0' in metrics
        assert "streamcap_vision_ready 1.0" in metrics
        assert re.search(r"^streamcap_load \d", metrics, re.MULTILINE)


async def test_prompt_and_captioner_are_changed_while_it_is_watched_and_kept(
    models: Models, server: LlmServer, tmp_path: Path
) -> None:
    async with service(models, server, tmp_path) as (_, http):
        assert (await http.post("/v1/streams", json={"id": "street", "source": STREET})).status_code == 201
        await said(http, "")
        change = {
            "captioner": "vision",
            "prompt": "Tell of hats.",
            "mode": "grid",
            "marks": ["blur"],
            "contradictions": "veto",
        }
        changed = (await http.patch("/v1/streams/street", json=change)).json()
        assert {key: changed[key] for key in change} == change
        await said(http, "In this picture")
        assert '"Tell of hats."' in "\n".join(text for _, text in windows(server)[0].texts)
        begun = (await http.get("/v1/streams/street/captions", params={"kinds": "status"})).text
        assert begun.count('"connecting"') == 1, "nothing was opened anew"
        for bad in ({"prompt": "x" * 4001}, {"mode": "other"}, {"marks": ["x"]}, {"captioner": "nobody"}):
            assert (await http.patch("/v1/streams/street", json=bad)).status_code == 422
        assert (await http.patch("/v1/streams/street", json={"prompt": "x" * 100_000})).status_code == 413
        # Without the model what was kept cannot be begun; it is told of, and kept.
    async with service(models, None, tmp_path) as (run, http):
        assert run.manager.infos() == []
    async with service(models, server, tmp_path) as (_, http):
        kept = (await http.get("/v1/streams/street")).json()
        assert {key: kept[key] for key in change} == change
