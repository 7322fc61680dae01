"""The ASGI application: feed, stream list, health, and a page that says where things are."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from streamcap import __version__
from streamcap.hub import Hub
from streamcap.server.feed import FeedSettings, FeedSockets
from streamcap.server.problems import problem
from streamcap.server.rules import access_of

__all__ = ["StreamInfo", "create_app"]

_CREDENTIALS = re.compile(r"//[^/@]*@")
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>streamcap</title>
<h1>streamcap {version}</h1>
<p>This server watches live video and says what happens, as messages over websockets.</p>
<ul>
<li>all streams: <code>{ws}/v1/captions?streams=*</code></li>
{streams}
</ul>
<p><a href="/v1/streams">Streams</a> as JSON; <a href="/healthz">health</a>. In a terminal:
<code>streamcap watch {ws}</code></p>
</html>
"""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What the list of streams says beside what the hub knows.

    Attributes:
        id: as it was opened in the hub.
        source: where the video comes from, credentials removed.
    """

    id: str
    source: str = ""


def create_app(
    hub: Hub, *, streams_info: Callable[[], Iterable[StreamInfo]], settings: FeedSettings | None = None
) -> Starlette:
    """The application that serves a hub.

    Args:
        streams_info: called for each listing; streams that are not open in the hub are left out.
    """
    sockets = FeedSockets(hub, settings or FeedSettings())

    def list_streams(request: Request) -> list[dict[str, Any]]:
        sources = {info.id: info.source for info in streams_info()}
        visible = filter(access_of(request.scope).covers, hub.streams)
        return [_describe(hub, stream, sources.get(stream, "")) for stream in visible]

    async def index(request: Request) -> Response:
        scheme = "wss" if request.url.scheme == "https" else "ws"
        return HTMLResponse(
            _page(f"{scheme}://{request.url.netloc}", list_streams(request)),
            headers={"content-security-policy": "default-src 'none'", "x-content-type-options": "nosniff"},
        )

    async def streams(request: Request) -> Response:
        return JSONResponse({"streams": list_streams(request)})

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        if hub.closed or not hub.streams:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "stopping" if hub.closed else "no stream is open yet")
        return PlainTextResponse("ready\n")

    return Starlette(
        routes=[
            Route("/", index),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/v1/streams", streams),
            WebSocketRoute("/v1/streams/{stream}/captions", sockets.one),
            WebSocketRoute("/v1/captions", sockets.many),
            WebSocketRoute("/{path:path}", sockets.nowhere),
        ],
        exception_handlers={HTTPException: _http_error},
    )


def _describe(hub: Hub, stream: str, source: str) -> dict[str, Any]:
    state = hub.state(stream)
    return {
        "id": stream,
        "state": state.status.state.value if state.status else None,
        "source": _CREDENTIALS.sub("//", source),
        "seq": state.seq,
        "feed": f"/v1/streams/{stream}/captions",
    }


def _page(ws: str, streams: list[dict[str, Any]]) -> str:
    ws = html.escape(ws)
    lines = []
    for each in streams:
        name = f"{html.escape(each['id'])} ({html.escape(each['state'] or 'not started')})"
        lines.append(f"<li>{name}: <code>{ws}{each['feed']}</code></li>")
    return _PAGE.format(version=__version__, ws=ws, streams="\n".join(lines))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(HTTPStatus(error.status_code), error.detail, error.headers)
