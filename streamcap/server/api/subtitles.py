"""``/v1/streams/{stream}/live.m3u8``: live subtitles for players that speak HLS.

Nothing runs while nobody asks: a request reads what the journal has had since the one before.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Final, cast

from fastapi import Depends, FastAPI, Path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamcap.hub import Hub
from streamcap.server.api.streams import StreamId, missing
from streamcap.server.problems import documented
from streamcap.subtitles_live import KEPT, SEGMENT_S, LiveTrack
from streamcap.wire import DurableMessage, decode

__all__ = ["LiveSubtitles"]

CHUNK: Final = 256
# Read back at most, where nobody asked for long: far more than is said in the two minutes that can be asked for.
BACK: Final = 1000
PLAYLIST: Final = "application/vnd.apple.mpegurl"
SEGMENT: Final = "text/vtt"
_TAGS: Final[list[str | Enum]] = ["subtitles"]


@dataclass(slots=True)
class _Followed:
    track: LiveTrack
    seq: int
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


def _here(request: Request) -> LiveSubtitles:
    return cast("LiveSubtitles", request.app.state.live_subtitles)


# Endpoints are functions of the class, not methods of an object: FastAPI keeps all that it has seen in caches of the
# process, and with them whatever they hold.
Here = Annotated["LiveSubtitles", Depends(_here)]


class LiveSubtitles:
    """The operations of live subtitles."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._followed: dict[str, _Followed] = {}

    def mount(self, app: FastAPI) -> None:
        """Add the routes."""
        app.state.live_subtitles = self
        refusals = documented(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)
        app.get(
            "/v1/streams/{stream}/live.m3u8",
            tags=_TAGS,
            summary="Live subtitles as an HLS playlist",
            response_class=Response,
            responses=refusals | {200: {"content": {PLAYLIST: {"schema": {"type": "string"}}}}},
        )(LiveSubtitles.playlist)
        app.get(
            "/v1/streams/{stream}/live/{number}.vtt",
            tags=_TAGS,
            summary="A segment of the playlist",
            response_class=Response,
            responses=refusals | {200: {"content": {SEGMENT: {"schema": {"type": "string"}}}}},
        )(LiveSubtitles.segment)

    async def playlist(self: Here, stream: StreamId) -> Response:
        """The last minute; WebVTT segments of a few seconds."""
        track = await self._current(stream)
        text = track.playlist(self._hub.clock.wall())
        return Response(text, media_type=PLAYLIST, headers={"cache-control": f"private, max-age={SEGMENT_S // 2}"})

    async def segment(
        self: Here,
        stream: StreamId,
        number: Annotated[int, Path(ge=0, le=2**53 - 1, description="As in the playlist.")],
    ) -> Response:
        """Does not change once it is there. Cues of several segments are whole in each."""
        track = await self._current(stream)
        text = track.segment(number, self._hub.clock.wall())
        if text is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "that segment is not there yet, or not any more")
        return Response(text, media_type=SEGMENT, headers={"cache-control": f"private, max-age={KEPT * SEGMENT_S}"})

    async def _current(self, stream: str) -> LiveTrack:
        """The track of a stream with all that has been committed by now."""
        if stream not in self._hub.streams:
            self._followed.pop(stream, None)
            raise missing(stream)
        now = self._hub.clock.wall()
        followed = self._followed.setdefault(stream, _Followed(LiveTrack(now), 0))
        async with followed.turn:
            newest = self._hub.state(stream).seq if stream in self._hub.streams else followed.seq
            followed.seq = max(followed.seq, newest - BACK)
            while followed.seq < newest:
                entries = await self._hub.journal.read(stream, after=followed.seq, limit=CHUNK)
                if not entries:
                    break
                for entry in entries:
                    message = decode(entry.text)
                    assert isinstance(message, DurableMessage)
                    followed.track.take(message)
                    followed.seq = entry.seq or followed.seq
            followed.track.forget(now)
        return followed.track
