"""Who may use the server, over real sockets: tokens by header and by first message, scopes, origins, host names."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from streamcap import tokens as tokens_module
from streamcap.client import subscribe
from streamcap.config import LimitSettings, SecuritySettings
from streamcap.errors import FeedClosed, UsageError
from streamcap.server import Guard, Listening, serve
from streamcap.server.rules import access_of
from streamcap.tokens import Scope, TokenFile, TokenGuard
from streamcap.wire import SUBPROTOCOL, ErrorMessage, Message, decode
from tests.feeding import event, http_to, opened, receive, serving
from tests.patience import PATIENCE_S, SOON_S
from tests.prerequisites import ROOT

CAM = "/v1/streams/cam/captions"
QUICK = SecuritySettings(limits=LimitSettings(auth_timeout_s=0.3))


class Keys:
    """A file of tokens: one for everything, one to read the stream cam, one to publish."""

    def __init__(self, path: Path) -> None:
        self.file = TokenFile(path)
        self.admin = self.file.create([Scope.ADMIN], name="admin")[1]
        self.cam = self.file.create([Scope.READ], ["cam*"], name="cam")[1]
        self.publish = self.file.create([Scope.PUBLISH], name="publish")[1]
        self.wrong = self.cam[:-4] + ("AAAA" if self.cam[-4:] != "AAAA" else "BBBB")

    def guard(self) -> TokenGuard:
        return TokenGuard(self.file)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "tokens.json")


@contextlib.asynccontextmanager
async def connected(
    where: Listening, path: str, token: str | None = None, origin: str | None = None, offered: str | None = None
) -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with connect(
        where.url + path,
        compression=None,
        proxy=None,
        additional_headers=headers,
        origin=Origin(origin) if origin else None,
        subprotocols=[Subprotocol(offered)] if offered else None,
    ) as connection:
        yield connection


async def refused(connection: ClientConnection) -> tuple[str, int, str]:
    """Code of the error message, close code, reason."""
    messages: list[Message] = []
    async with asyncio.timeout(PATIENCE_S):
        try:
            while True:
                messages.append(decode(await connection.recv()))
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            (error,) = messages
            assert isinstance(error, ErrorMessage) and error.message == closed.rcvd.reason
            return error.code, closed.rcvd.code, closed.rcvd.reason


def client(where: Listening, token: str | None = None) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return http_to(where, headers=headers)


# HTTP


async def test_http_needs_a_token_but_for_health(keys: Keys) -> None:
    hub = await opened("cam", "yard")
    async with serving(hub, tokens=keys.guard()) as where:
        async with client(where) as nobody:
            assert (await nobody.get("/healthz")).status_code == (await nobody.get("/readyz")).status_code == 200
            for path in ("/v1/streams", "/nowhere", "/v1/streams/cam", "/metrics", "/docs"):
                answer = await nobody.get(path)
                assert answer.status_code == 401, path
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["www-authenticate"] == 'Bearer realm="streamcap"'
            assert (await nobody.get(f"/v1/streams?token={keys.admin}")).status_code == 401, "never in the address"
            for header in (f"Basic {keys.admin}", "Bearer", f"Bearer {keys.wrong}", keys.admin, "Bearer \x85\xff", ""):
                answer = await nobody.get("/v1/streams", headers={b"authorization": header.encode("latin-1")})
                assert answer.status_code == 401, header
                assert keys.wrong not in answer.text
            both = [("authorization", f"Bearer {keys.admin}"), ("authorization", f"Bearer {keys.cam}")]
            assert (await nobody.get("/v1/streams", headers=both)).status_code == 401
            lower = {"authorization": f"bearer {keys.admin}"}
            assert (await nobody.get("/v1/streams", headers=lower)).status_code == 200
        async with client(where, keys.admin) as admin:
            assert [s["id"] for s in (await admin.get("/v1/streams")).json()["streams"]] == ["cam", "yard"]
            assert (await admin.get("/nowhere")).status_code == 404


async def test_http_scopes(keys: Keys) -> None:
    hub = await opened("cam", "yard")
    async with serving(hub, tokens=keys.guard()) as where, client(where, keys.cam) as some:
        assert [s["id"] for s in (await some.get("/v1/streams")).json()["streams"]] == ["cam"]
        assert (await some.get("/v1/streams/cam/x")).status_code == 404
        for method, path in (
            *(("GET", "/v1/streams/yard/x"), ("GET", "/metrics"), ("POST", "/v1/streams")),
            *(("DELETE", "/v1/streams/cam"), ("POST", "/v1/streams/cam/whip")),
        ):
            answer = await some.request(method, path)
            assert answer.status_code == 403, path
            assert answer.json()["status"] == 403 and "insufficient_scope" in answer.headers["www-authenticate"]
        async with client(where, keys.publish) as publisher:
            assert (await publisher.post("/v1/streams/cam/whip")).status_code == 501
            assert (await publisher.get("/v1/streams")).status_code == 403


async def test_any_application_is_covered_and_learns_who_asks(keys: Keys) -> None:
    async def who(request: Request) -> Response:
        await request.body()
        return JSONResponse({"streams": access_of(request.scope).streams})

    app = Starlette(routes=[Route("/v1/streams/{stream}/who", who, methods=["GET", "POST"])])
    async with listening(Guard(app, keys.guard())) as where, client(where, keys.cam) as some:
        assert (await some.get("/v1/streams/cam/who")).json() == {"streams": ["cam*"]}
        assert (await some.post("/v1/streams/cam/who")).status_code == 403


@contextlib.asynccontextmanager
async def listening(app: Guard, limits: LimitSettings | None = None) -> AsyncIterator[Listening]:
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, port=0, ready=ready, shutdown_s=10.0, limits=limits))
    try:
        yield await asyncio.wait_for(ready, PATIENCE_S)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_revoked_token_ends_an_answer_under_way(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "RELOAD_S", 0.0)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"more\n"
            await asyncio.sleep(0.01)

    async def stream(request: Request) -> Response:
        return StreamingResponse(endless())

    app = Starlette(routes=[Route("/v1/streams/{stream}/sse", stream)])
    async with (
        listening(Guard(app, keys.guard())) as where,
        client(where, keys.cam) as some,
        some.stream("GET", "/v1/streams/cam/sse") as answer,
    ):
        pieces = answer.aiter_bytes()
        assert (await anext(pieces)).startswith(b"more")
        keys.file.revoke("cam")
        async with asyncio.timeout(PATIENCE_S):
            async for _ in pieces:
                pass


# Websockets


@pytest.mark.parametrize("offered", [SUBPROTOCOL, None, "chat"])
async def test_websocket_with_a_header(keys: Keys, offered: str | None) -> None:
    hub = await opened("cam", "yard")
    async with serving(hub, tokens=keys.guard()) as where:
        async with connected(where, CAM, keys.cam, offered=offered) as connection:
            assert connection.subprotocol == (SUBPROTOCOL if offered == SUBPROTOCOL else None)
            assert [m.type for m in await receive(connection, 2)] == ["hello", "snapshot"]
        async with connected(where, CAM, keys.wrong) as connection:
            assert await refused(connection) == ("unauthorized", 4401, "the token is not valid")
        for path in ("/v1/streams/yard/captions", "/v1/captions?streams=cam,yard", "/v1/streams/none/captions", "/x"):
            async with connected(where, path, keys.cam) as connection:
                assert (await refused(connection))[:2] == ("forbidden", 4403), path
        async with connected(where, CAM, keys.publish) as connection:
            assert (await refused(connection))[:2] == ("forbidden", 4403)
        assert hub.subscribers == 0


@pytest.mark.parametrize("offered", [SUBPROTOCOL, None])
async def test_websocket_with_a_first_message(keys: Keys, offered: str | None) -> None:
    hub = await opened("cam", "yard")
    async with serving(hub, tokens=keys.guard()) as where:
        async with connected(where, CAM, offered=offered) as connection:
            assert connection.subprotocol == offered
            await connection.send(json.dumps({"type": "auth", "token": keys.cam}))
            assert [m.type for m in await receive(connection, 2)] == ["hello", "snapshot"]
            await hub.publish("cam", event(1))
            assert [m.type for m in await receive(connection, 1)] == ["event"]
        async with connected(where, "/v1/streams/yard/captions") as connection:
            await connection.send(json.dumps({"type": "auth", "token": keys.cam}))
            assert (await refused(connection))[:2] == ("forbidden", 4403)


async def test_a_first_message_that_is_none(keys: Keys) -> None:
    hub = await opened()
    good = json.dumps({"type": "auth", "token": keys.cam})
    bad: list[str | bytes] = [
        *("", "{", "[]", "null", "7", '"auth"', '{"type":"auth"}', '{"type":"auth","token":null}', "[" * 900),
        *('{"type":"auth","token":7}', json.dumps({"type": "hello", "token": keys.cam}), good + " " * 1024),
        *(good.encode(), b"", keys.cam, json.dumps({"type": "auth", "token": keys.wrong})),
        '{"type":"auth","token":"\\ud800"}',
    ]
    async with serving(hub, tokens=keys.guard()) as where:
        for message in bad:
            async with connected(where, CAM) as connection:
                await connection.send(message)
                assert (await refused(connection))[:2] == ("unauthorized", 4401), message
        async with connected(where, CAM):
            pass  # leaves without a word
    assert hub.subscribers == 0


async def test_a_first_message_that_does_not_come(keys: Keys) -> None:
    hub = await opened()
    async with serving(hub, tokens=keys.guard(), security=QUICK) as where, connected(where, CAM) as connection:
        begun = asyncio.get_running_loop().time()
        assert (await refused(connection))[:2] == ("unauthorized", 4401)
        assert 0.2 < asyncio.get_running_loop().time() - begun < SOON_S


async def test_a_token_where_none_is_asked_for_does_no_harm(keys: Keys) -> None:
    hub = await opened()
    async with serving(hub) as where, connected(where, CAM, keys.wrong) as connection:
        await connection.send(json.dumps({"type": "auth", "token": keys.wrong}))
        assert [m.type for m in await receive(connection, 2)] == ["hello", "snapshot"]


async def test_all_streams_are_those_that_the_token_is_for(keys: Keys) -> None:
    hub = await opened("cam", "yard")
    async with serving(hub, tokens=keys.guard()) as where, connected(where, "/v1/captions", keys.cam) as connection:
        assert {m.stream for m in await receive(connection, 2)} == {"cam"}
        for stream in ("yard-2", "cam-2"):
            await hub.open_stream(stream)
        assert {m.stream for m in await receive(connection, 2)} == {"cam-2"}
        for stream in hub.streams:
            await hub.publish(stream, event(1, stream))
        assert [m.stream for m in await receive(connection, 2)] == ["cam", "cam-2"]
        with pytest.raises(TimeoutError):
            await receive(connection, 1, patience=0.2)


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_revoked_token_ends_what_is_open(keys: Keys, by_header: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "RELOAD_S", 0.0)
    hub = await opened(heartbeat_s=0.05)
    async with (
        serving(hub, tokens=keys.guard()) as where,
        connected(where, CAM, keys.cam if by_header else None) as connection,
        connected(where, CAM, keys.admin) as other,
    ):
        if not by_header:
            await connection.send(json.dumps({"type": "auth", "token": keys.cam}))
        await receive(connection, 2)
        keys.file.revoke("cam")
        messages = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                messages += await receive(connection, 1)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401
        assert isinstance(messages[-1], ErrorMessage) and messages[-1].code == "unauthorized"
        await receive(other, 5)
    assert hub.subscribers == 0


async def test_tokens_never_show_in_the_log(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    hub = await opened()
    async with serving(hub, tokens=keys.guard()) as where, client(where, keys.wrong) as http:
        await http.get("/v1/streams")
        for token in (keys.cam, keys.wrong):
            async with connect(where.url + CAM, compression=None, proxy=None, logger=None) as connection:
                await connection.send(json.dumps({"type": "auth", "token": token}))
                await connection.recv()
    ours = "\n".join(
        r.getMessage() for r in caplog.records if not r.name.startswith(("websockets", "httpx", "httpcore"))
    )
    assert "refused 127.0.0.1 '/v1/streams': the token is not valid" in ours
    assert keys.cam not in ours and keys.wrong not in ours


# Pages and names


async def test_pages_of_other_origins(keys: Keys) -> None:
    hub = await opened()
    security = SecuritySettings(allowed_origins=("https://desk.example",))
    async with serving(hub, tokens=keys.guard(), security=security) as where, client(where, keys.admin) as http:
        own = f"http://{where.host}:{where.port}"
        for origin, status in ((own, 200), ("https://desk.example", 200), ("https://evil.example", 403), ("null", 403)):
            answer = await http.get("/v1/streams", headers={"origin": origin})
            assert answer.status_code == status, origin
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == (origin if origin == "https://desk.example" else None)
        asks = {"origin": "https://desk.example", "access-control-request-method": "GET"}
        async with client(where) as page:
            answer = await page.options("/v1/streams", headers=asks)
            assert answer.status_code == 204 and "authorization" in answer.headers["access-control-allow-headers"]
            answer = await page.options("/v1/streams", headers=asks | {"origin": "https://evil.example"})
            assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
            answer = await page.get("/v1/streams", headers={"origin": "https://desk.example"})
            assert answer.status_code == 401 and answer.headers["access-control-allow-origin"] == "https://desk.example"
        async with connected(where, CAM, keys.cam, origin="https://evil.example") as connection:
            assert (await refused(connection))[:2] == ("forbidden", 4403)


async def test_names_that_are_not_ours() -> None:
    hub = await opened()
    security = SecuritySettings(allowed_hosts=("camera.example",))
    async with serving(hub, security=security) as where, client(where) as http:
        for host in ("localhost", "127.0.0.1:1", "camera.example", "[::1]:8750"):
            assert (await http.get("/v1/streams", headers={"host": host})).status_code == 200, host
        rebound = {"host": f"evil.example:{where.port}", "origin": f"http://evil.example:{where.port}"}
        for path in ("/v1/streams", "/healthz"):
            answer = await http.get(path, headers=rebound)
            assert answer.status_code == 421 and "evil" not in answer.text
        async with connect(
            where.url.replace("127.0.0.1", "evil.localhost.example") + CAM,
            host=where.host,
            port=where.port,
            proxy=None,
            compression=None,
        ) as connection:
            assert (await refused(connection))[:2] == ("forbidden", 4403)


# The Python client


async def test_the_client_brings_its_token(keys: Keys) -> None:
    hub = await opened("cam", "yard")
    async with serving(hub, tokens=keys.guard()) as where:
        async with subscribe(where.url, token=keys.cam) as feed:
            assert [(await anext(feed)).stream for _ in range(2)] == ["cam", "cam"]
        for token, code in ((None, 4401), (keys.wrong, 4401), (keys.publish, 4403)):
            with pytest.raises(FeedClosed) as closed:
                async with subscribe(where.url, token=token) as feed:
                    await anext(feed)  # the error
                    await anext(feed)
            assert closed.value.code == code and closed.value.hint
    for bad in ("", "a b", "a\nb", "ü"):
        with pytest.raises(UsageError, match="no token"):
            async with subscribe("ws://127.0.0.1:1", token=bad):
                pass


async def test_watch_takes_the_token_from_the_environment(keys: Keys) -> None:
    hub = await opened()
    async with serving(hub, tokens=keys.guard()) as where:
        for token, code, said in ((keys.cam, 0, b'"hello"'), (keys.wrong, 3, b"the token is not valid")):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "streamcap", "watch", "--json", where.url + CAM),
                cwd=ROOT,
                env=os.environ | {"STREAMCAP_TOKEN": token},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            first = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
            if code == 0:
                process.send_signal(signal.SIGINT)
            out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
            assert process.returncode == code and said in first + out + err, err
