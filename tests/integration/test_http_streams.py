"""Streams over HTTP: added, changed and removed on a running service, and there again after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamcap.config import Settings
from streamcap.errors import ConfigError, SourceUnresolved
from streamcap.models.pool import Models
from streamcap.server.control import Control
from streamcap.server.registry import Registry
from streamcap.server.service import Service, running
from streamcap.wire import CaptionMessage, StatusMessage, decode
from tests.feeding import http_to
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.weights
BEACON = "test:?seconds=3600"


@contextlib.asynccontextmanager
async def service(
    models: Models, data: Path | None = None, **streams: str
) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    raw: dict[str, Any] = {
        "server": {"port": 0, "data": data},
        "streams": [{"id": key, "source": source} for key, source in streams.items()],
    }
    async with (
        running(Settings.model_validate(raw), models) as run,
        http_to(run.listening) as http,
    ):
        yield run, http


async def until(http: httpx.AsyncClient, path: str, wanted: str, patience: float = PATIENCE_S) -> dict[str, Any]:
    async with asyncio.timeout(patience):
        while True:
            found: dict[str, Any] = (await http.get(path)).json()
            if found["state"] == wanted:
                return found
            await asyncio.sleep(0.1)


async def test_a_stream_is_added_watched_changed_and_removed(models: Models) -> None:
    async with service(models) as (run, http):
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.get("/v1/streams")).json() == {"streams": []}
        made = await http.post("/v1/streams", json={"id": "yard", "source": BEACON, "fps": 2})
        assert (made.status_code, made.headers["location"]) == (201, "/v1/streams/yard")
        assert (await http.post("/v1/streams", json={"id": "yard", "source": BEACON})).status_code == 409
        live = await until(http, "/v1/streams/yard", "live")
        assert (live["fps"], live["profile"], live["source"], live["paused"]) == (2, "surveillance", BEACON, False)
        assert (await http.patch("/v1/streams/yard", json={})).status_code == 200
        await asyncio.sleep(0.3)
        begun = (await http.get("/v1/streams/yard/captions", params={"kinds": "status"})).text.count('"connecting"')
        assert begun == 1, "a change of nothing does not begin anew"
        other = await http.patch("/v1/streams/yard", json={"source": "rtsp://user:secret@h/", "fps": 3})
        assert other.status_code == 422 and "secret" not in other.text
        assert "end it with DELETE, and add it anew with POST /v1/streams" in other.json()["detail"]
        assert (await http.get("/v1/streams/yard")).json()["fps"] == 2, "nothing of it is done"

        paused = (await http.patch("/v1/streams/yard", json={"paused": True, "fps": 4})).json()
        assert (paused["state"], paused["reason"], paused["fps"], paused["paused"]) == ("stalled", "paused", 4, True)
        seq = paused["seq"]
        same = (await http.patch("/v1/streams/yard", json={"paused": True})).json()
        assert same["seq"] == seq, "nothing changed, so nothing is said"
        await http.patch("/v1/streams/yard", json={"paused": False, "profile": "general"})
        again = await until(http, "/v1/streams/yard", "live")
        assert (again["profile"], again["paused"]) == ("general", False)

        async with run.hub.subscribe("yard", interim=False) as feed:
            subscriber = asyncio.create_task(_rest(feed))
            await asyncio.sleep(0)
            assert (await http.delete("/v1/streams/yard")).status_code == 204
            told = await asyncio.wait_for(subscriber, PATIENCE_S)
        statuses = [m.state.value for m in told if isinstance(m, StatusMessage)]
        assert statuses[-1] == "ended" and feed.closing is not None and feed.closing.code == 1000
        assert (await http.get("/v1/streams/yard")).status_code == 404
        assert (await http.delete("/v1/streams/yard")).status_code == 404
        assert (await http.get("/v1/streams")).json() == {"streams": []}

        await http.post("/v1/streams", json={"id": "yard", "source": BEACON})
        reborn = await until(http, "/v1/streams/yard", "live")
        assert reborn["seq"] > told[-1].seq, "numbers go on"


async def _rest(feed: Any) -> list[Any]:
    return [decode(item.text) async for item in feed]


async def test_what_was_open_becomes_final_when_a_stream_is_paused(models: Models) -> None:
    async with service(models, gate="test:?seconds=3600") as (run, http):
        async with asyncio.timeout(PATIENCE_S), run.hub.subscribe("gate") as feed:
            async for item in feed:
                draft = decode(item.text)
                if isinstance(draft, CaptionMessage) and draft.status in ("open", "update"):
                    break
        assert isinstance(draft, CaptionMessage)
        await http.patch("/v1/streams/gate", json={"paused": True})
        assert run.hub.state("gate").open == {}
        assert any(final.id == draft.id for final in run.hub.state("gate").recent)


async def test_streams_are_there_again_after_a_restart(models: Models, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with service(models, data, front=BEACON) as (_, http):
        for name in ("a", "b", "c"):
            await http.post("/v1/streams", json={"id": name, "source": f"{BEACON}&seed=1", "fps": 1})
        await http.patch("/v1/streams/b", json={"paused": True})
        await http.delete("/v1/streams/c")
        await http.patch("/v1/streams/front", json={"fps": 3})
    file = data / "streams.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600, "addresses may hold credentials"
    left = {each.name for each in data.iterdir()}
    assert left == {"streams.json", "journal.sqlite3", "journal.lock", "frames.sqlite3"}, "nothing half written is left"
    async with service(models, data, front=BEACON, a="test:?seconds=30") as (_, http):
        shown = {each["id"]: each for each in (await http.get("/v1/streams")).json()["streams"]}
        assert set(shown) == {"front", "a", "b"}
        assert shown["a"]["source"] == "test:?seconds=30", "the settings file wins"
        assert (shown["b"]["paused"], shown["b"]["fps"]) == (True, 1)
        assert shown["front"]["fps"] == 5, "the settings file's own streams are as it says"


async def test_what_is_kept_is_held_to_the_policy_as_it_is_now(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watched(run: Service) -> set[str]:
        return {info.id for info in run.manager.infos()}

    raw = {"server": {"port": 0, "data": tmp_path}}
    strict = raw | {"security": {"sources": {"schemes": ["rtsp"]}}}
    async with service(models, tmp_path) as (run, http):
        assert (await http.post("/v1/streams", json={"id": "a", "source": BEACON})).status_code == 201
    async with running(Settings.model_validate(strict), models) as run:
        assert watched(run) == set()
    async with running(Settings.model_validate(raw), models) as run:
        assert watched(run) == {"a"}, "it was kept: the policy may be opened again"
    unknown = iter([SourceUnresolved("no name server"), SourceUnresolved("no name server"), None])

    async def admit(_: str) -> None:
        if (trouble := next(unknown)) is not None:
            raise trouble

    monkeypatch.setattr("streamcap.server.control.RESTORE_AGAIN_S", 0.05)
    async with running(Settings.model_validate({"server": {"port": 0}}), models) as run:
        control = Control(run.manager, Registry(tmp_path), admit=admit)
        await control.restore()
        assert watched(run) == set(), "nobody knows yet where it leads"
        async with asyncio.timeout(PATIENCE_S):
            while not watched(run):  # noqa: ASYNC110 - it is tried again soon
                await asyncio.sleep(0.02)
        assert watched(run) == {"a"}
        await control.close()


async def test_a_registry_that_does_not_hold_is_told_of(models: Models, tmp_path: Path) -> None:
    for text in ("{", '{"version": 2}', '{"version":1,"streams":[{"settings":{"id":"a b","source":"test:"}}]}'):
        (tmp_path / "streams.json").write_text(text)
        with pytest.raises(ConfigError, match=r"streams\.json does not hold"):
            async with service(models, tmp_path):
                pass
        assert (tmp_path / "streams.json").read_text() == text


async def test_a_stream_that_cannot_be_kept_is_not_begun(models: Models, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with service(models, data) as (_, http):
        (data / "streams.json").mkdir()  # no file can take its place; also true for root
        refused = await http.post("/v1/streams", json={"id": "a", "source": BEACON})
        assert refused.status_code == 503 and "cannot be written" in refused.json()["detail"]
        assert (await http.get("/v1/streams")).json() == {"streams": []}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": "a", "source": "gopher://x/"}, 400),
        ({"id": "a", "source": "test:?sceonds=3"}, 400),
        ({"id": "a", "source": "/etc/passwd"}, 403),
        ({"id": "a", "source": "device:/dev/video0"}, 403),
        ({"id": "a", "source": "rtsp://127.0.0.1/live"}, 403),
        ({"id": "a", "source": "rtsp://192.168.1.7/live"}, 403),
        ({"id": "a", "source": "http://169.254.169.254/latest/meta-data"}, 403),
        ({"id": "a", "source": "rtsp://0x7f.1/live"}, 403),
        ({"id": "a b", "source": BEACON}, 422),
        ({"id": "a", "source": BEACON, "fps": 0}, 422),
        ({"id": "a", "source": BEACON, "fps": 5e-324}, 422),
        ({"id": "a", "source": BEACON, "colour": "red"}, 422),
        ({"id": "a", "source": "rtsp://user:secret@h/\x00"}, 422),
        ({"id": "a"}, 422),
        ({}, 422),
        ([], 422),
        ("x" * 70_000, 413),
    ],
)
async def test_what_cannot_be_added(models: Models, body: Any, status: int) -> None:
    async with service(models) as (_, http):
        refused = await http.post("/v1/streams", json=body)
        assert refused.status_code == refused.json()["status"] == status, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert "secret" not in refused.text and "Traceback" not in refused.text
        assert (await http.get("/v1/streams")).json() == {"streams": []}
        counted = f'streamcap_refused_total{{reason="source",what="stream"}} {float(status == 403)}'
        assert counted in (await http.get("/metrics")).text


async def test_bodies_that_are_no_json(models: Models) -> None:
    async with service(models) as (_, http):
        good = json.dumps({"id": "a", "source": BEACON})

        async def long() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b" " * 1000

        for content, kind, status in (
            (good, "text/plain", 422),  # what a page of another origin could send without being asked
            ("{", "application/json", 422),
            ("[" * 30_000, "application/json", 422),
            (b"\xff\xfe{", "application/json", 422),
            (long(), "application/json", 413),
        ):
            refused = await http.post("/v1/streams", content=content, headers={"content-type": kind})
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.status_code in (status, 400), (kind, refused.text)
        assert (await http.get("/v1/streams")).json() == {"streams": []}
        wrong = await http.put("/v1/streams", json={})
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
        assert (await http.get("/v1/streams/")).status_code == 404
