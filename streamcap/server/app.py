"""The ASGI application: feed, HTTP API, health, metrics, and the pages for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from streamcap import __version__
from streamcap.answering import Answering, Seen
from streamcap.captioners import SharedModel
from streamcap.frames import FrameStore, View
from streamcap.hub import Hub
from streamcap.journal import Journal, MemoryJournal, Searchable
from streamcap.scan import Scan
from streamcap.server.api.ask import Questions
from streamcap.server.api.health import Health
from streamcap.server.api.history import History
from streamcap.server.api.pictures import Pictures
from streamcap.server.api.session import SessionRoutes
from streamcap.server.api.sse import EventStreams
from streamcap.server.api.streams import StreamInfo, Streams
from streamcap.server.api.subtitles import LiveSubtitles
from streamcap.server.api.summary import Summaries
from streamcap.server.api.webrtc import WebRtc
from streamcap.server.control import StreamControl
from streamcap.server.feed import FeedSettings, FeedSockets
from streamcap.server.metrics import Metrics, Refusals, StageTimes
from streamcap.server.pages import Pages
from streamcap.server.problems import BodyLimit, install
from streamcap.server.schema import asyncapi, docs_page, install_openapi
from streamcap.server.sessions import Sessions
from streamcap.shedding import Load
from streamcap.webrtc import Peers

__all__ = ["StreamInfo", "create_app"]

_DOCS_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}


def create_app(
    hub: Hub,
    *,
    streams_info: Callable[[], Iterable[StreamInfo]],
    settings: FeedSettings | None = None,
    control: StreamControl | None = None,
    stages: StageTimes | None = None,
    view: Callable[[str], View | None] = lambda _: None,
    frames: FrameStore | None = None,
    sessions: Sessions | None = None,
    peers: Peers | None = None,
    closed_to_publishers: Callable[[str], str] = lambda stream: f"{stream} takes no publisher",
    vision: SharedModel | None = None,
    seen: Seen | None = None,
    load: Callable[[], Load] | None = None,
    refused: Callable[[], Refusals] = dict,
) -> FastAPI:
    """The application that serves a hub.

    Args:
        streams_info: called for each listing; streams that are not open in the hub are left out.
        control: what adds, changes and removes streams; None where they are fixed.
        stages: time per stage of a stream, for the metrics.
        view: gives the newest frame of a stream, None where there is no such stream.
        frames: the frames that captions point at.
        sessions: of browsers; the guard before the application reads their cookies.
        peers: publishers and viewers by WebRTC; None for a server without.
        vision: answers questions; None for a server without a vision–language model.
        seen: what streams look like, for questions.
        closed_to_publishers: why a stream takes no publisher now, empty where it does.
        load: of the machine, for the metrics.
        refused: who was refused so far, for the metrics.
    """
    settings = settings or FeedSettings()
    app = FastAPI(
        title="streamcap",
        version=__version__,
        summary="Watches live video and says what happens, as it happens",
        description="A server that asks for tokens wants `Authorization: Bearer …` with every request but `/healthz` "
        "and `/readyz`: scope `read`, or `admin` to change streams. Any operation may then also answer 401 or 403, and "
        "421 or 429 to who is not meant or asks too often.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,  # what is absent from a message is absent, not null: see the protocol
        # Off: nothing is sent anywhere unless its owner asks for it, and the feed's sockets pass here too.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    install(app)
    install_openapi(app)
    app.add_middleware(BodyLimit)
    search = _search(hub.journal, hub)
    answering = None
    if vision is not None and seen is not None:
        answering = Answering(vision, search or Scan(hub.journal, lambda: hub.streams), seen, frames)
    streams = Streams(hub, streams_info, control, asks=answering is not None)
    streams.mount(app)
    Questions(hub, answering, frames, send_timeout_s=settings.send_timeout_s).mount(app)
    EventStreams(hub, send_timeout_s=settings.send_timeout_s).mount(app)
    LiveSubtitles(hub).mount(app)
    History(hub, search, send_timeout_s=settings.send_timeout_s).mount(app)
    Summaries(hub, search, vision).mount(app)
    Health(hub, Metrics(hub, streams_info, stages, vision, load, refused), lambda: streams.can_add).mount(app)
    Pictures(hub, view, frames, send_timeout_s=settings.send_timeout_s).mount(app)
    WebRtc(hub, peers, closed_to_publishers).mount(app)
    SessionRoutes(sessions).mount(app)
    app.router.routes += [*Pages().routes(), *_descriptions(app), *_sockets(FeedSockets(hub, settings))]
    return app


def _search(journal: Journal, hub: Hub) -> Searchable | None:
    if isinstance(journal, Searchable):
        return journal
    # One in memory is short enough to be read through; of another kind nobody knows what that would cost.
    return Scan(journal, lambda: hub.streams) if isinstance(journal, MemoryJournal) else None


def _descriptions(app: FastAPI) -> list[Route]:
    async def docs(request: Request) -> Response:
        return HTMLResponse(docs_page(app.openapi()), headers=_DOCS_HEADERS)

    async def feed(request: Request) -> Response:
        return JSONResponse(asyncapi(request.url.netloc, secure=request.url.scheme == "https"))

    return [
        Route("/docs", docs, include_in_schema=False),
        Route("/asyncapi.json", feed, include_in_schema=False),
    ]


def _sockets(sockets: FeedSockets) -> list[WebSocketRoute]:
    return [
        WebSocketRoute("/v1/streams/{stream}/captions", sockets.one),
        WebSocketRoute("/v1/captions", sockets.many),
        WebSocketRoute("/{path:path}", sockets.nowhere),
    ]
