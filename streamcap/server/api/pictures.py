"""``/v1/streams/{stream}/preview.jpg``, ``preview.mjpg`` and ``frames/{t}.jpg``: what the captioner sees and saw.

These are the analysed frames, not the camera's: what is not there was not looked at. One encoding serves all viewers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Any, Final, cast

from fastapi import Depends, FastAPI, Header, Path, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamcap.frames import FrameStore, View
from streamcap.frames.view import WIDTHS
from streamcap.hub import Hub
from streamcap.server.api.streams import StreamId, missing
from streamcap.server.problems import documented
from streamcap.server.streamed import Streamed

__all__ = ["Pictures"]

JPEG: Final = "image/jpeg"
BOUNDARY: Final = "streamcap-frame"
MJPEG: Final = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
MIXED: Final = f"multipart/mixed; boundary={BOUNDARY}"
VIEWERS_MAX: Final = 64  # MJPEG viewers in all: at 5 frames/s of 640 pixels each takes 2 Mbit/s
FPS_MAX: Final = 15.0
REPEAT_S: Final = 10.0  # the newest picture again where no other comes: proxies drop a connection that is quiet
BUSY_S: Final = 5  # what one is asked to wait where there are too many viewers, or no picture yet
WITHIN_S: Final = 10.0  # a frame further away shows something else
_TAGS: Final[list[str | Enum]] = ["pictures"]
# Pages of others may show pictures with a plain <img>, which sends no Origin; this keeps them from it.
_HEADERS: Final = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

Width = Annotated[int, Query(ge=16, le=WIDTHS[-1], description=f"Pixels, rounded up to one of {WIDTHS}.")]


def _here(request: Request) -> Pictures:
    return cast("Pictures", request.app.state.pictures)


# Endpoints are functions of the class, not methods of an object: FastAPI keeps all that it has seen in caches of the
# process, and with them whatever they hold.
Here = Annotated["Pictures", Depends(_here)]


class Pictures:
    """The operations that show pictures.

    Args:
        view: gives the view of a stream, None where it has none.
        frames: what is kept; None for nothing.
        send_timeout_s: longest that one send may wait for a client that does not read.
    """

    def __init__(
        self, hub: Hub, view: Callable[[str], View | None], frames: FrameStore | None, *, send_timeout_s: float
    ) -> None:
        self._hub, self._view, self._frames = hub, view, frames
        self._send_timeout_s = send_timeout_s
        self._viewers = 0

    def mount(self, app: FastAPI) -> None:
        """Add the routes."""
        app.state.pictures = self
        one = "/v1/streams/{stream}"
        no_such = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
        jpeg, mjpeg = _binary(JPEG), _binary(*(kind.partition(";")[0] for kind in (MJPEG, MIXED)))
        same: dict[int | str, dict[str, Any]] = {304: {"description": "The picture is the one that the client has"}}
        busy = documented(*no_such, HTTPStatus.SERVICE_UNAVAILABLE)
        app.get(
            f"{one}/preview.jpg",
            tags=_TAGS,
            summary="The newest analysed frame",
            response_class=Response,
            responses={**busy, **jpeg, **same},
        )(Pictures.preview)
        app.get(
            f"{one}/preview.mjpg",
            tags=_TAGS,
            summary="Analysed frames as they come",
            response_class=Response,
            responses={**busy, **mjpeg},
        )(Pictures.moving)
        app.get(
            f"{one}/frames/{{t}}.jpg",
            tags=_TAGS,
            summary="The kept frame nearest to a moment",
            response_class=Response,
            responses={**busy, **jpeg},
        )(Pictures.kept)

    async def preview(
        self: Here, stream: StreamId, width: Width = 640, if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        """Its media time is in `Streamcap-Time`. A paused or lost stream shows the last one; 404 before the first."""
        picture = await self._seen(stream).picture(width)
        if picture is None:
            raise _none_yet(stream)
        etag = f'"{picture.number}-{picture.width}"'
        headers = _HEADERS | _moment(picture.t, picture.captured_at) | {"etag": etag}
        if if_none_match is not None and etag in (each.strip() for each in if_none_match.split(",")):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(picture.jpeg, media_type=JPEG, headers=headers)

    async def moving(
        self: Here,
        stream: StreamId,
        width: Width = 640,
        fps: Annotated[float, Query(gt=0, le=FPS_MAX, description="Pictures a second at most.")] = 5.0,
        accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
    ) -> Response:
        """Motion JPEG for an `<img>`. A viewer who is slow gets fewer pictures, never old ones. Who asks for
        `multipart/mixed` gets the same by that name: scripts in WebKit cannot read the other.
        """
        view = self._seen(stream)
        if not view.number:
            raise _none_yet(stream)
        if self._viewers >= VIEWERS_MAX:
            raise _busy(f"there are {VIEWERS_MAX} viewers already")
        return Streamed(
            self._parts(view, width, 1.0 / fps),
            media_type=MIXED if "multipart/mixed" in accept.lower() else MJPEG,
            send_timeout_s=self._send_timeout_s,
            headers=_HEADERS | {"x-accel-buffering": "no", "vary": "accept"},
        )

    async def kept(
        self: Here,
        stream: StreamId,
        t: Annotated[float, Path(ge=0, le=1e9, allow_inf_nan=False, description="Media seconds.")],
        within: Annotated[float, Query(gt=0, le=86_400, description="Seconds that it may be away at most.")] = WITHIN_S,
    ) -> Response:
        """Frames are kept at the evidence times of captions and events, and some in between; also of removed streams.

        `Streamcap-Time` says which moment was found.
        """
        found = await self._frames.nearest(stream, t) if self._frames is not None else None
        if found is None or abs(found.t - t) > within:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no frame of {stream} was kept within {within:g} s of {t:g} s")
        return Response(found.jpeg, media_type=JPEG, headers=_HEADERS | _moment(found.t, found.captured_at))

    def _seen(self, stream: str) -> View:
        view = self._view(stream) if stream in self._hub.streams else None
        if view is None:
            raise missing(stream)
        return view

    async def _parts(self, view: View, width: int, interval: float) -> AsyncGenerator[bytes, None]:
        """The parts of the answer; each ends with the next boundary, for which browsers wait before they show it."""
        loop = asyncio.get_running_loop()
        self._viewers += 1
        try:
            yield f"--{BOUNDARY}\r\n".encode()
            while (picture := await view.picture(width)) is not None:
                shown = loop.time()
                head = {"content-type": JPEG, "content-length": str(len(picture.jpeg))}
                lines = [f"{name}: {value}" for name, value in (head | _moment(picture.t, picture.captured_at)).items()]
                yield ("\r\n".join(lines) + "\r\n\r\n").encode() + picture.jpeg + f"\r\n--{BOUNDARY}\r\n".encode()
                if view.closed:
                    return
                try:
                    async with asyncio.timeout(REPEAT_S):
                        await view.fresh(picture.number)
                except TimeoutError:
                    continue
                await asyncio.sleep(shown + interval - loop.time())
        finally:
            self._viewers -= 1


def _binary(*media_types: str) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"content": dict.fromkeys(media_types, schema)}}


def _moment(t: float, captured_at: float) -> dict[str, str]:
    wall = datetime.fromtimestamp(captured_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"streamcap-time": f"{t:.3f}", "streamcap-captured-at": wall}


def _none_yet(stream: str) -> HTTPException:
    detail = f"no frame of {stream} has been analysed yet"
    return HTTPException(HTTPStatus.NOT_FOUND, detail, headers={"retry-after": str(BUSY_S)})


def _busy(detail: str) -> HTTPException:
    return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"retry-after": str(BUSY_S)})
