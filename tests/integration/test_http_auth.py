"""The whole HTTP API of a running service behind its tokens and its policy for sources."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from streamcap.config import Settings
from streamcap.errors import SourceRefused, UsageError
from streamcap.models.pool import Models
from streamcap.server.control import admission
from streamcap.server.service import running
from streamcap.tokens import TOKENS_FILE, Scope, TokenFile
from tests.feeding import http_to
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.weights
OPEN = {"/", "/healthz", "/readyz"}
OWN = {"/v1/session"}  # what is written there is the caller's own, as with whep


@contextlib.asynccontextmanager
async def service(models: Models, data: Path, **security: Any) -> AsyncIterator[httpx.AsyncClient]:
    raw = {
        "server": {"port": 0, "data": data},
        "security": security,
        "streams": [{"id": "yard", "source": "test:?seconds=3600"}, {"id": "gate", "source": "test:?seconds=3600"}],
    }
    async with (
        running(Settings.model_validate(raw), models) as run,
        http_to(run.listening) as http,
    ):
        yield http


def bearer(tokens: TokenFile, scope: Scope, *streams: str) -> dict[str, str]:
    return {"authorization": f"Bearer {tokens.create([scope], streams or ('*',))[1]}"}


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, methods in schema["paths"].items():
        for method in methods:
            yield method.upper(), path.format(stream="yard", number=1, t=1, key="k")


async def test_every_operation_asks_for_a_token_and_writing_for_admin(models: Models, tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / TOKENS_FILE)
    reader, admin = bearer(tokens, Scope.READ), bearer(tokens, Scope.ADMIN)
    async with service(models, tmp_path) as http:
        schema = (await http.get("/openapi.json", headers=reader)).json()
        todo = [*operations(schema), ("GET", "/"), ("GET", "/docs"), ("GET", "/asyncapi.json"), ("GET", "/nowhere")]
        assert len(todo) > 12, "the schema names the API"
        for method, path in todo:
            bare = await http.request(method, path)
            assert (bare.status_code == 401) != (path in OPEN), (method, path, bare.status_code)
            # Who may read may also watch, and ask: neither changes anything.
            if method != "GET" and path not in OWN and "/whep" not in path and not path.endswith("/ask"):
                refused = await http.request(method, path, headers=reader, json={})
                assert refused.status_code == 403, (method, path)
                assert refused.headers["content-type"] == "application/problem+json"
        made = await http.post("/v1/streams", headers=admin, json={"id": "new", "source": "test:"})
        assert made.status_code == 201
        assert (await http.delete("/v1/streams/new", headers=admin)).status_code == 204


async def test_a_token_for_one_stream_shows_that_one(models: Models, tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / TOKENS_FILE)
    yard, writer = bearer(tokens, Scope.READ, "ya*"), bearer(tokens, Scope.ADMIN, "yard")
    async with service(models, tmp_path) as http:
        http.headers.update(yard)
        assert [each["id"] for each in (await http.get("/v1/streams")).json()["streams"]] == ["yard"]
        assert (await http.get("/v1/search?q=person&streams=yard")).status_code == 200
        for path in ("/v1/search?q=person", "/v1/search?q=person&streams=yard,gate", "/metrics"):
            assert (await http.get(path)).status_code == 403, path
        for path in ("", "/captions", "/captions/sse", "/live.m3u8", "/live/1.vtt", "/preview.jpg", "/frames/1.jpg"):
            assert (await http.get(f"/v1/streams/gate{path}")).status_code == 403, path
        more = {"id": "more", "source": "test:"}
        assert (await http.post("/v1/streams", headers=writer, json=more)).status_code == 403
        assert (await http.patch("/v1/streams/gate", headers=writer, json={"fps": 2})).status_code == 403
        assert (await http.patch("/v1/streams/yard", headers=writer, json={"fps": 2})).status_code == 200


async def test_events_end_when_their_token_is_revoked(
    models: Models, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = TokenFile(tmp_path / TOKENS_FILE)
    token, secret = tokens.create([Scope.READ])
    caplog.set_level(logging.ERROR)
    async with service(models, tmp_path) as http:
        headers = {"authorization": f"Bearer {secret}"}
        async with http.stream("GET", "/v1/streams/yard/captions/sse", headers=headers) as feed:
            assert feed.status_code == 200
            lines = feed.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            tokens.revoke(token.id)
            async with asyncio.timeout(PATIENCE_S):
                async for _ in lines:
                    pass
        assert (await http.get("/v1/streams", headers=headers)).status_code == 401
    assert not caplog.records


async def test_the_policy_opens_what_it_names(models: Models, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    (media / "clip.mp4").write_bytes(b"")
    sources = {"networks": ["127.0.0.0/8"], "media_root": str(media)}
    async with service(models, tmp_path / "data", sources=sources) as http:
        for name, source in (("cam", "rtsp://u:pw@127.0.0.1:1/live"), ("clip", f"{media}/clip.mp4")):
            made = await http.post("/v1/streams", json={"id": name, "source": source})
            assert made.status_code == 201, made.text
            assert "pw" not in made.text
        refused = await http.post("/v1/streams", json={"id": "other", "source": f"{tmp_path}/data/journal.sqlite3"})
        assert refused.status_code == 403 and str(tmp_path) not in refused.json()["detail"]
        where = f"{http.base_url}".replace("http", "ws").rstrip("/")
        async with connect(f"{where}/v1/streams/clip/captions", proxy=None) as feed:
            assert '"hello"' in str(await feed.recv())


async def test_a_name_is_judged_by_its_addresses() -> None:
    policy = Settings().security.sources
    with pytest.raises(SourceRefused):
        await admission(policy, lambda host: ["10.0.0.1"])("rtsp://cam.example/live")
    await admission(policy, lambda host: ["8.8.8.8"])("rtsp://cam.example/live")
    with pytest.raises(UsageError):
        await admission(policy)("gopher://x/")


@pytest.mark.parametrize("trusted", [True, False])
async def test_behind_a_proxy_with_tls_the_cookie_is_for_tls(models: Models, tmp_path: Path, trusted: bool) -> None:
    reader = bearer(TokenFile(tmp_path / TOKENS_FILE), Scope.READ)
    security = {"trusted_proxies": ["127.0.0.0/8"] if trusted else [], "allowed_hosts": ["camera.example"]}
    async with service(models, tmp_path, **security) as http:
        proxied = {"host": "camera.example", "origin": "https://camera.example", "x-forwarded-proto": "https"}
        begun = await http.post("/v1/session", headers=reader | proxied)
        assert begun.status_code == 200 and ("; secure" in begun.headers["set-cookie"].lower()) is trusted
        described = (await http.get("/asyncapi.json", headers=reader | proxied)).json()
        assert described["servers"]["here"] == {"host": "camera.example", "protocol": "wss" if trusted else "ws"}
