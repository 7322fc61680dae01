"""Previews and kept frames of a running service, and the cookie with which a browser sees them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

from streamcap.config import Settings
from streamcap.models.pool import Models
from streamcap.server.service import running
from streamcap.server.sessions import COOKIE
from streamcap.tokens import TOKENS_FILE, Scope, TokenFile
from tests.feeding import http_to
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.weights


@contextlib.asynccontextmanager
async def service(models: Models, data: Path | None = None) -> AsyncIterator[httpx.AsyncClient]:
    raw: dict[str, Any] = {
        "server": {"port": 0, "data": data},
        "streams": [
            {"id": "yard", "source": "test:?realtime=1&seed=3"},
            {"id": "gate", "source": "rtsp://127.0.0.1:9/none"},
        ],
    }
    async with (
        running(Settings.model_validate(raw), models) as run,
        http_to(run.listening) as http,
    ):
        yield http


async def seen(http: httpx.AsyncClient, path: str = "/v1/streams/yard/preview.jpg", **options: Any) -> httpx.Response:
    """The answer once there is one."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await http.get(path, **options)
            if answer.status_code != 404:
                return answer
            await asyncio.sleep(0.05)


async def first_caption(http: httpx.AsyncClient) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found: list[dict[str, Any]] = (await http.get("/v1/streams/yard/captions")).json()["messages"]
            if found:
                return found[0]
            await asyncio.sleep(0.2)


def picture(jpeg: bytes) -> Any:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


async def test_the_newest_frame_and_frames_as_they_come(models: Models) -> None:
    async with service(models) as http:
        none_yet = await http.get("/v1/streams/gate/preview.jpg")
        assert (none_yet.status_code, none_yet.headers["retry-after"]) == (404, "5")
        assert (await http.get("/v1/streams/gate/preview.mjpg")).status_code == 404
        assert (await http.get("/v1/streams/nobody/preview.jpg")).status_code == 404
        assert (await http.get("/v1/streams/yard/preview.jpg?width=99999")).status_code == 422

        first = await seen(http, params={"width": 300})
        assert (first.status_code, first.headers["content-type"]) == (200, "image/jpeg")
        assert picture(first.content).shape == (180, 320, 3)
        assert first.headers["cache-control"] == "no-store"

        times: list[float] = []
        async with http.stream("GET", "/v1/streams/yard/preview.mjpg", params={"width": 160, "fps": 15}) as moving:
            assert moving.headers["content-type"].startswith("multipart/x-mixed-replace; boundary=")
            body = b""
            async with asyncio.timeout(PATIENCE_S):
                async for chunk in moving.aiter_raw():
                    body += chunk
                    if body.count(b"streamcap-time") > 4:
                        break
        for part in body.split(b"--streamcap-frame\r\n")[1:5]:
            head, jpeg = part.split(b"\r\n\r\n", 1)
            lines = dict(line.split(": ") for line in head.decode().split("\r\n"))
            assert int(lines["content-length"]) == len(jpeg.removesuffix(b"\r\n"))
            assert picture(jpeg).shape == (90, 160, 3)
            times.append(float(lines["streamcap-time"]))
        assert times == sorted(set(times)), "each frame once"
        mixed = {"accept": "multipart/mixed"}  # what scripts in WebKit can read
        async with http.stream("GET", "/v1/streams/yard/preview.mjpg", headers=mixed) as moving:
            assert moving.headers["content-type"].startswith("multipart/mixed; boundary=")

        await http.patch("/v1/streams/yard", json={"paused": True})
        last = await http.get("/v1/streams/yard/preview.jpg")
        assert last.status_code == 200 and float(last.headers["streamcap-time"]) >= times[-1]
        again = await http.get("/v1/streams/yard/preview.jpg", headers={"if-none-match": last.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_captions_point_at_frames_that_outlive_a_restart(models: Models, tmp_path: Path) -> None:
    async with service(models, tmp_path) as http:
        times = [each["t"] for each in (await first_caption(http))["evidence"]]
        assert times
        kept = await seen(http, f"/v1/streams/yard/frames/{times[0]}.jpg?within=1")
        assert abs(float(kept.headers["streamcap-time"]) - times[0]) <= 0.7
        assert picture(kept.content).shape == (270, 480, 3)
        far = await http.get("/v1/streams/yard/frames/5000.jpg")
        assert (far.status_code, far.headers["content-type"]) == (404, "application/problem+json")
        assert (await http.get("/v1/streams/yard/frames/nan.jpg")).status_code == 422
        await http.delete("/v1/streams/yard")
    async with service(models, tmp_path) as http:
        after = await http.get(f"/v1/streams/yard/frames/{times[0]}.jpg")
        assert (after.status_code, after.content) == (200, kept.content)


async def test_a_viewer_does_not_hold_up_the_end(models: Models) -> None:
    async with service(models) as http:
        await seen(http)
        async with http.stream("GET", "/v1/streams/yard/preview.mjpg") as moving:
            body = moving.aiter_raw()
            await anext(body)
            await http.delete("/v1/streams/yard")
            async with asyncio.timeout(PATIENCE_S):
                async for _ in body:
                    pass


async def test_a_browser_gets_in_with_a_cookie(models: Models, tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / TOKENS_FILE)
    token, secret = tokens.create([Scope.READ], ["yard"])
    bearer = {"authorization": f"Bearer {secret}"}
    async with service(models, tmp_path) as http:
        own = f"{http.base_url}".rstrip("/")
        assert (await http.get("/v1/session")).status_code == 401
        assert (await http.post("/v1/session")).status_code == 401
        begun = await http.post("/v1/session", headers=bearer | {"origin": own})
        assert begun.json() == {"token": token.id, "scopes": ["read"], "streams": ["yard"]}
        words = begun.headers["set-cookie"].lower()
        assert begun.headers["set-cookie"].startswith(COOKIE) and secret not in words
        assert "httponly" in words and "samesite=strict" in words and "secure" not in words

        assert (await seen(http)).status_code == 200, "what an <img> sends: the cookie alone"
        assert (await http.get("/v1/streams/gate/preview.jpg")).status_code == 403
        for site in ("same-site", "cross-site"):
            assert (await http.get("/v1/streams", headers={"sec-fetch-site": site})).status_code == 401
        assert (await http.delete("/v1/session")).status_code == 401, "nothing is written by a cookie without an Origin"
        stranger = await http.get("/v1/streams", headers={"origin": "http://127.0.0.1:1"})
        assert stranger.status_code == 403

        cookie = f"{COOKIE}={http.cookies[COOKIE]}"
        url = own.replace("http", "ws") + "/v1/streams/yard/captions"
        async with connect(url, proxy=None, origin=own, additional_headers={"cookie": cookie}) as feed:  # type: ignore[arg-type]
            assert '"hello"' in str(await asyncio.wait_for(feed.recv(), PATIENCE_S))
        async with connect(url, proxy=None, additional_headers={"cookie": cookie}) as feed:
            await feed.send('{"type":"auth","token":"sc_no"}')
            assert '"unauthorized"' in str(await asyncio.wait_for(feed.recv(), PATIENCE_S)), (
                "a program has a token of its own"
            )

        assert (await http.delete("/v1/session", headers={"origin": own})).status_code == 204
        http.cookies.set(COOKIE, cookie.partition("=")[2], domain="127.0.0.1")
        assert (await http.get("/v1/streams")).status_code == 401, "over for the server too"

        http.cookies.clear()
        await http.post("/v1/session", headers=bearer)
        assert (await http.get("/v1/streams")).status_code == 200
        tokens.revoke(token.id)
        async with asyncio.timeout(PATIENCE_S):
            while (await http.get("/v1/streams")).status_code == 200:  # noqa: ASYNC110 - the file is read again soon
                await asyncio.sleep(0.1)
        assert (await http.get("/v1/streams")).status_code == 401
