"""The server's descriptions of itself, and the HTTP API held to its own by schemathesis."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from streamcap.config import Settings
from streamcap.models.pool import Models
from streamcap.server import StreamInfo, create_app
from streamcap.server.schema import asyncapi
from streamcap.server.service import running
from streamcap.wire import CloseCode
from tests.feeding import http_to, opened, serving
from tests.prerequisites import ROOT

VECTORS = Path(__file__).parents[1] / "vectors"
FUZZ_S = 20

# Accepted: what a schema cannot say (a source of no known sort, two bounds of different sorts).
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "403", "404", "409", "415", "428"]
"""


async def get(path: str) -> httpx.Response:
    async with (
        serving(await opened()) as where,
        http_to(where) as http,
    ):
        return await http.get(path)


async def test_openapi_describes_what_is_served() -> None:
    schema = (await get("/openapi.json")).json()
    assert schema["openapi"].startswith("3.1")
    assert set(schema["paths"]) == {
        "/v1/streams",
        "/v1/streams/{stream}",
        "/v1/streams/{stream}/captions",
        "/v1/streams/{stream}/captions/sse",
        "/v1/streams/{stream}/live.m3u8",
        "/v1/streams/{stream}/live/{number}.vtt",
        "/v1/streams/{stream}/preview.jpg",
        "/v1/streams/{stream}/preview.mjpg",
        "/v1/streams/{stream}/frames/{t}.jpg",
        "/v1/streams/{stream}/summary",
        "/v1/streams/{stream}/ask",
        "/v1/streams/{stream}/whip",
        "/v1/streams/{stream}/whip/{key}",
        "/v1/streams/{stream}/whep",
        "/v1/streams/{stream}/whep/{key}",
        "/v1/session",
        "/v1/search",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    assert set(schema["paths"]["/v1/streams/{stream}"]) == {"get", "patch", "delete"}
    assert "HTTPValidationError" not in json.dumps(schema), "errors are problems"
    assert unresolved(schema) == []


async def test_asyncapi_describes_the_feed() -> None:
    document = (await get("/asyncapi.json")).json()
    assert document["asyncapi"] == "3.0.0" and unresolved(document) == []
    assert {each["address"] for each in document["channels"].values()} == {
        "/v1/captions",
        "/v1/streams/{stream}/captions",
    }
    assert document["servers"]["here"]["host"].startswith("127.0.0.1:")
    for channel in document["channels"].values():
        assert set(channel["x-close-codes"]) == {str(int(code)) for code in CloseCode}


def test_asyncapi_takes_the_shared_vectors_and_refuses_what_is_no_message() -> None:
    document = asyncapi("h:1", secure=True)
    assert document["servers"]["here"]["protocol"] == "wss"
    seen = set()
    for message in vectors("messages.json"):
        kind = message["type"]
        seen.add(kind)
        assert validator(document, kind).is_valid(message), message
        assert not validator(document, kind).is_valid({**message, "type": "rumour"})
        assert not validator(document, kind).is_valid({key: v for key, v in message.items() if key != "at"})
    assert seen == set(document["components"]["messages"])


def vectors(name: str) -> list[dict[str, Any]]:
    return [each["message"] for each in json.loads((VECTORS / name).read_text("utf-8"))["vectors"]]


def validator(document: dict[str, Any], kind: str) -> Any:
    payload = document["components"]["messages"][kind]["payload"]
    return jsonschema_rs.validator_for({**payload, "components": document["components"]})


def unresolved(document: dict[str, Any]) -> list[str]:
    """References to nowhere."""
    missing = []

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            if isinstance(reference := part.get("$ref"), str):
                place: Any = document
                for step in reference.removeprefix("#/").split("/"):
                    place = place.get(step.replace("~1", "/")) if isinstance(place, dict) else None
                if place is None:
                    missing.append(reference)
            for each in part.values():
                walk(each)
        elif isinstance(part, list):
            for each in part:
                walk(each)

    walk(document)
    return missing


async def test_the_page_for_people_names_every_operation_and_asks_nothing_of_others() -> None:
    schema = (await get("/openapi.json")).json()
    page = await get("/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in page.text and "http" not in page.text.replace("HTTP", "").replace("<code>https://", "")
    for path, methods in schema["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in page.text


@pytest.mark.weights
async def test_the_api_holds_to_its_schema_whatever_is_asked(models: Models, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    raw = {
        "server": {"port": 0, "data": tmp_path / "data"},
        "streams": [{"id": "yard", "source": "test:?seconds=3600", "fps": 1}],
    }
    async with running(Settings.model_validate(raw), models) as run:
        fuzz = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
            *(run.listening.url.replace("ws", "http") + "/openapi.json",),
            *("--exclude-path-regex", r"/sse$|\.mjpg$", "--max-time", str(FUZZ_S), "--request-timeout", "15"),
            *(
                "--checks",
                "all",
                "--exclude-checks",
                "use_after_free",
                "--max-failures",
                "3",
                "--seed",
                "3",
                "--no-color",
            ),
            env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,  # the history of a stream that was deleted stays, so that check is left out
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await asyncio.wait_for(fuzz.communicate(), FUZZ_S + 60)
        finally:
            if fuzz.returncode is None:
                fuzz.kill()
                await fuzz.wait()
    assert fuzz.returncode == 0, said.decode()


async def test_an_application_that_is_let_go_lets_go_of_all_it_held() -> None:
    class Held:
        def infos(self) -> list[StreamInfo]:
            return []

    held = Held()
    app = create_app(await opened(), streams_info=held.infos)
    held_by, served = weakref.ref(held), weakref.ref(app)
    del held, app
    gc.collect()
    assert (held_by(), served()) == (None, None)
