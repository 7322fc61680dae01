"""``/v1/streams/{stream}/whip`` (RFC 9725) and ``/whep`` (draft-ietf-wish-whep): publishing and watching by WebRTC.

Both are the same exchange: an offer is posted and answered, further candidates are patched in, and the session ends
with a DELETE, or when nothing comes of the client any more.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, cast

from fastapi import Depends, FastAPI, Header, Path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamcap.config import IceServer
from streamcap.hub import Hub
from streamcap.server.api.streams import StreamId, missing
from streamcap.server.problems import documented
from streamcap.sources.ports import PortTaken
from streamcap.webrtc import BadOffer, PeerGone, Peers, Refused, Restart, available
from streamcap.webrtc.peers import PUBLISH, WATCH

__all__ = ["WebRtc"]

SDP: Final = "application/sdp"
FRAGMENT: Final = "application/trickle-ice-sdpfrag"
BUSY_S: Final = 5
_TAGS: Final[list[str | Enum]] = ["webrtc"]
_TEXT: Final = {"schema": {"type": "string"}}

Key = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Of the session, as in Location.")]


def _here(request: Request) -> WebRtc:
    return cast("WebRtc", request.app.state.webrtc)


# Endpoints are functions of the class, not methods of an object: FastAPI keeps all that it has seen in caches of the
# process, and with them whatever they hold.
Here = Annotated["WebRtc", Depends(_here)]


class WebRtc:
    """The operations of both protocols.

    Args:
        peers: None for a server without WebRTC.
        closed: why a stream takes no publisher now; empty where it does.
    """

    def __init__(self, hub: Hub, peers: Peers | None, closed: Callable[[str], str]) -> None:
        self._hub, self._peers, self._closed = hub, peers, closed

    def mount(self, app: FastAPI) -> None:
        """Add the routes."""
        app.state.webrtc = self
        self._mount(app, PUBLISH, "Publish a stream", WebRtc.publish, WebRtc.trickle_whip, WebRtc.end_whip)
        self._mount(app, WATCH, "Watch a stream", WebRtc.watch, WebRtc.trickle_whep, WebRtc.end_whep)

    def _mount(
        self, app: FastAPI, sort: str, summary: str, begin: Callable[..., Any], more: Callable[..., Any], end: Any
    ) -> None:
        path = f"/v1/streams/{{stream}}/{sort}"
        session = f"{path}/{{key}}"
        no_such = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_IMPLEMENTED)
        body = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        headers = dict.fromkeys(("Location", "ETag", "Link"), _TEXT)
        app.post(
            path,
            tags=_TAGS,
            status_code=201,
            summary=f"{summary} by {sort.upper()}: an offer for an answer",
            response_class=Response,
            responses={
                **documented(*no_such, *body, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
                201: {"description": "The answer", "content": {SDP: _TEXT}, "headers": headers},
            },
            openapi_extra={"requestBody": {"required": True, "content": {SDP: _TEXT}}},
        )(begin)
        app.patch(
            session,
            tags=_TAGS,
            status_code=204,
            summary="Further candidates of the client",
            response_class=Response,
            responses=documented(*no_such, *body, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.PRECONDITION_REQUIRED),
            openapi_extra={"requestBody": {"required": True, "content": {FRAGMENT: _TEXT}}},
        )(more)
        app.delete(
            session, tags=_TAGS, summary="End the session", response_class=Response, responses=documented(*no_such)
        )(end)
        for each, name in ((path, "endpoint"), (session, "session")):
            app.options(
                each,
                tags=_TAGS,
                status_code=204,
                summary=f"What the {name} takes",
                response_class=Response,
                responses=documented(*no_such),
            )(WebRtc.options if each == path else WebRtc.options_session)

    async def publish(self: Here, stream: StreamId, request: Request) -> Response:
        """For streams whose source is `whip:`. Video as H.264 or VP8; audio is not taken. One publisher at a time."""
        peers = self._ready(stream)
        offer = await _body(request, SDP)
        if why := self._closed(stream):
            raise HTTPException(HTTPStatus.CONFLICT, why)
        return await self._begun(PUBLISH, stream, peers, offer)

    async def watch(self: Here, stream: StreamId, request: Request) -> Response:
        """What a publisher or an H.264 camera sends is passed on as it is, where the viewer can play it; of everything
        else the analysed frames, as VP8. `whep` of the stream says which.
        """
        peers = self._ready(stream)
        return await self._begun(WATCH, stream, peers, await _body(request, SDP))

    async def trickle_whip(
        self: Here, stream: StreamId, key: Key, request: Request, if_match: Annotated[str | None, Header()] = None
    ) -> Response:
        """`If-Match` is the ETag of the session. ICE restarts are not supported (422)."""
        return await self._trickle(PUBLISH, stream, key, request, if_match)

    async def trickle_whep(
        self: Here, stream: StreamId, key: Key, request: Request, if_match: Annotated[str | None, Header()] = None
    ) -> Response:
        """`If-Match` is the ETag of the session. ICE restarts are not supported (422)."""
        return await self._trickle(WATCH, stream, key, request, if_match)

    async def end_whip(self: Here, stream: StreamId, key: Key) -> Response:
        """The stream waits for the next publisher."""
        return await self._end(PUBLISH, stream, key)

    async def end_whep(self: Here, stream: StreamId, key: Key) -> Response:
        """Nothing is encoded any more once the last viewer has gone."""
        return await self._end(WATCH, stream, key)

    async def options(self: Here, stream: StreamId) -> Response:
        """`Accept-Post`, and the ICE servers as `Link`."""
        peers = self._ready(stream)
        return self._linked(Response(status_code=HTTPStatus.NO_CONTENT, headers={"accept-post": SDP}), peers)

    async def options_session(self: Here, stream: StreamId, key: Key) -> Response:
        """`Accept-Patch`."""
        self._ready(stream)
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"accept-patch": FRAGMENT})

    def _ready(self, stream: str) -> Peers:
        if self._peers is None or not available():
            raise HTTPException(
                HTTPStatus.NOT_IMPLEMENTED, "this server has no WebRTC; pip install 'streamcap[webrtc]' gives it"
            )
        if stream not in self._hub.streams:
            raise missing(stream)
        return self._peers

    async def _begun(self, sort: Literal["whip", "whep"], stream: str, peers: Peers, offer: str) -> Response:
        try:
            begun = await (peers.publish if sort == PUBLISH else peers.watch)(stream, offer)
        except BadOffer as error:
            # RFC 9725, 4.2: 400 for what is no description, 422 for one that cannot be met.
            status = HTTPStatus.UNPROCESSABLE_ENTITY if error.unmet else HTTPStatus.BAD_REQUEST
            raise HTTPException(status, str(error)) from error
        except PortTaken as error:
            raise HTTPException(HTTPStatus.CONFLICT, f"{error}; {error.hint}") from error
        except Refused as error:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"retry-after": str(BUSY_S)}
            ) from error
        headers = {
            "location": f"/v1/streams/{stream}/{sort}/{begun.id}",
            "etag": begun.etag,
            "accept-patch": FRAGMENT,
            "cache-control": "no-store",
        }
        return self._linked(Response(begun.answer, HTTPStatus.CREATED, headers, SDP), peers)

    async def _trickle(self, sort: str, stream: str, key: str, request: Request, if_match: str | None) -> Response:
        peers = self._ready(stream)
        text = await _body(request, FRAGMENT)
        if if_match is None:
            raise HTTPException(HTTPStatus.PRECONDITION_REQUIRED, "If-Match has to name the session's ETag")
        try:
            await peers.trickle(sort, stream, key, if_match, text)
        except PeerGone as error:
            raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error
        except Restart as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}; {error.hint}") from error
        except LookupError as error:
            raise HTTPException(HTTPStatus.PRECONDITION_FAILED, str(error)) from error
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _end(self, sort: str, stream: str, key: str) -> Response:
        try:
            await self._ready(stream).end(sort, stream, key)
        except PeerGone as error:
            raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error
        return Response(status_code=HTTPStatus.OK)

    @staticmethod
    def _linked(response: Response, peers: Peers) -> Response:
        for server in peers.settings.ice_servers:
            response.headers.append("link", _link(server))
        return response


def _link(server: IceServer) -> str:
    words = f'<{server.url}>; rel="ice-server"'
    if server.username:
        words += f'; username="{server.username}"; credential="{server.credential}"; credential-type="password"'
    return words


async def _body(request: Request, media_type: str) -> str:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"what is sent here is {media_type}")
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is not UTF-8") from None
