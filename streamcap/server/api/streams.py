"""``/v1/streams``: list, add, change, remove."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Final, cast

from fastapi import Depends, FastAPI, Path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamcap.config import StreamSettings
from streamcap.hub import Hub
from streamcap.server.api.models import NewStream, StreamChange, StreamList, StreamView, WhepView
from streamcap.server.control import StreamControl
from streamcap.server.problems import documented
from streamcap.server.rules import access_of
from streamcap.sources import redact
from streamcap.tokens import Access
from streamcap.webrtc import Sends
from streamcap.wire import STREAM_ID

__all__ = ["StreamId", "StreamInfo", "Streams", "missing"]

_TAGS: Final[list[str | Enum]] = ["streams"]
StreamId = Annotated[str, Path(pattern=STREAM_ID, description="Id of a stream.")]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What the list of streams says beside what the hub knows.

    Attributes:
        id: as it was opened in the hub.
        source: where the video comes from; credentials are taken away before it is shown.
        settings: what it is watched with; None where that is not known.
        target_fps, analysed_fps: see ``streamcap.manager.StreamInfo``; None where they are not known.
        whep: what viewers get, None where there is nothing to see.
    """

    id: str
    source: str = ""
    settings: StreamSettings | None = None
    target_fps: float | None = None
    analysed_fps: float | None = None
    paused: bool = False
    frames: int = 0
    drops: int = 0
    whep: Sends | None = None


def missing(stream: str) -> HTTPException:
    """What to raise where there is no such stream."""
    return HTTPException(HTTPStatus.NOT_FOUND, f"there is no stream {stream}")


def _here(request: Request) -> Streams:
    return cast("Streams", request.app.state.streams)


# Endpoints are functions of the class, not methods of an object: FastAPI keeps all that it has seen in caches of the
# process, and with them whatever they hold.
Here = Annotated["Streams", Depends(_here)]


class Streams:
    """The operations on streams.

    Args:
        infos: called for each listing; streams that are not open in the hub are left out.
        control: None where streams cannot be changed at run time: the operations that would do it answer 501.
        asks: questions are answered here.
    """

    def __init__(
        self,
        hub: Hub,
        infos: Callable[[], Iterable[StreamInfo]],
        control: StreamControl | None,
        *,
        asks: bool = False,
    ) -> None:
        self._hub, self._infos, self._control, self._asks = hub, infos, control, asks

    def mount(self, app: FastAPI) -> None:
        """Add the routes."""
        app.state.streams = self
        path, one = "/v1/streams", "/v1/streams/{stream}"
        no_such = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
        writes = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        fails = (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.SERVICE_UNAVAILABLE)
        app.get(path, tags=_TAGS, summary="All streams")(Streams.list_all)
        app.post(
            path,
            tags=_TAGS,
            status_code=201,
            summary="Add a stream and begin to watch it",
            responses=documented(*writes, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY, *fails),
        )(Streams.add)
        app.get(one, tags=_TAGS, summary="One stream", responses=documented(*no_such))(Streams.get)
        app.patch(
            one, tags=_TAGS, summary="Change, pause or resume a stream", responses=documented(*no_such, *writes, *fails)
        )(Streams.change)
        app.delete(one, tags=_TAGS, status_code=204, summary="End a stream", responses=documented(*no_such, *fails))(
            Streams.remove
        )

    @property
    def can_add(self) -> bool:
        """True where streams can be added at run time."""
        return self._control is not None

    def views(self, access: Access) -> list[StreamView]:
        """The streams that somebody may see, as they are shown."""
        infos = {info.id: info for info in self._infos()}
        visible = filter(access.covers, self._hub.streams)
        return [self._view(infos.get(stream) or StreamInfo(stream)) for stream in visible]

    async def list_all(self: Here, request: Request) -> StreamList:
        """All streams that the caller's token is for, in the order of their start."""
        return StreamList(streams=self.views(access_of(request.scope)))

    async def add(self: Here, body: NewStream, response: Response) -> StreamView:
        """The stream is watched at once, and again after a restart of the server where it has a data folder."""
        await self._controlled().add(body)
        response.headers["location"] = f"/v1/streams/{body.id}"
        return self._one(body.id)

    async def get(self: Here, stream: StreamId) -> StreamView:
        """One stream."""
        return self._one(stream)

    async def change(self: Here, stream: StreamId, body: StreamChange) -> StreamView:
        """All but a pause is taken up while the stream is watched; pausing makes final what is open."""
        wanted = body.model_dump(exclude={"paused"}, exclude_none=True)
        await self._controlled().change(stream, wanted, paused=body.paused)
        return self._one(stream)

    async def remove(self: Here, stream: StreamId) -> None:
        """What is open becomes final and the stream ends. Its history can still be read."""
        await self._controlled().remove(stream)

    def _controlled(self) -> StreamControl:
        if self._control is None:
            raise HTTPException(HTTPStatus.NOT_IMPLEMENTED, "the streams of this server cannot be changed")
        return self._control

    def _one(self, stream: str) -> StreamView:
        if stream not in self._hub.streams:
            raise missing(stream)
        infos = {info.id: info for info in self._infos()}
        return self._view(infos.get(stream) or StreamInfo(stream))

    def _view(self, info: StreamInfo) -> StreamView:
        state = self._hub.state(info.id)
        path = f"/v1/streams/{info.id}"
        settings = info.settings
        return StreamView(
            id=info.id,
            state=state.status.state if state.status else None,
            reason=state.status.reason if state.status else "",
            detail=state.status.detail if state.status else "",
            source=redact(info.source),
            fps=settings.fps if settings else None,
            target_fps=None if info.target_fps is None else round(info.target_fps, 2),
            analysed_fps=None if info.analysed_fps is None else round(info.analysed_fps, 2),
            profile=settings.profile if settings else None,
            captioner=settings.captioner if settings else None,
            prompt=settings.prompt if settings else None,
            mode=settings.mode if settings else None,
            marks=list(settings.marks) if settings else None,
            contradictions=settings.contradictions if settings else None,
            paused=info.paused,
            frames=info.frames,
            drops=info.drops,
            seq=state.seq,
            subscribers=self._hub.watchers(info.id),
            feed=f"{path}/captions",
            sse=f"{path}/captions/sse",
            history=f"{path}/captions",
            subtitles=f"{path}/live.m3u8",
            preview=f"{path}/preview.jpg",
            ask=f"{path}/ask" if self._asks else None,
            whep=WhepView(codec=info.whep.codec, relayed=info.whep.relayed, why=info.whep.why) if info.whep else None,
        )
