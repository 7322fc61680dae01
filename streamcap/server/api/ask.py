"""``/v1/streams/{stream}/ask``: a question about a stream, answered by the vision–language model."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Final, cast

from fastapi import Depends, FastAPI, Header
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from streamcap.answering import Answered, Answering, Span
from streamcap.errors import ModelError, UsageError
from streamcap.frames import FrameStore
from streamcap.hub import Hub
from streamcap.server.api.models import AnswerView, Citation, Question
from streamcap.server.api.streams import StreamId, missing
from streamcap.server.api.times import span
from streamcap.server.problems import documented
from streamcap.server.race import while_there
from streamcap.server.streamed import Streamed

__all__ = ["Questions"]

EVENTS: Final = "text/event-stream"
ASKING_MOST: Final = 8  # questions at a time, in all: more would wait for each other past all patience
BUSY_S: Final = 5  # what one is asked to wait where there are as many
CLIENT_LEFT: Final = 499  # as nginx logs it: there is no status in the standard for what nobody reads
# A kept frame this near to a cited moment (seconds) shows it.
FRAME_NEAR_S: Final = 5.0
_TAGS: Final[list[str | Enum]] = ["ask"]


def _here(request: Request) -> Questions:
    return cast("Questions", request.app.state.questions)


# Endpoints are functions of the class, not methods of an object: FastAPI keeps all that it has seen in caches of the
# process, and with them whatever they hold.
Here = Annotated["Questions", Depends(_here)]


class Questions:
    """The operation that answers questions.

    Args:
        answering: None where no vision–language model is set up: the operation answers 409.
        frames: kept frames, to say which cited moments can be looked at.
        send_timeout_s: longest that one send may wait for a client that does not read.
    """

    def __init__(
        self, hub: Hub, answering: Answering | None, frames: FrameStore | None, *, send_timeout_s: float
    ) -> None:
        self._hub, self._answering, self._frames, self._send_timeout_s = hub, answering, frames, send_timeout_s
        self._asking = 0

    def mount(self, app: FastAPI) -> None:
        """Add the route."""
        app.state.questions = self
        app.post(
            "/v1/streams/{stream}/ask",
            tags=_TAGS,
            summary="Ask something about a stream",
            response_model=AnswerView,
            responses=documented(
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.NOT_FOUND,
                HTTPStatus.CONFLICT,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                HTTPStatus.TOO_MANY_REQUESTS,
                HTTPStatus.BAD_GATEWAY,
                HTTPStatus.SERVICE_UNAVAILABLE,
                HTTPStatus.GATEWAY_TIMEOUT,
            )
            | {200: {"content": {EVENTS: {"schema": {"type": "string"}}}}},
        )(Questions.ask)

    async def ask(
        self: Here, request: Request, stream: StreamId, body: Question, accept: Annotated[str, Header()] = ""
    ) -> Response:
        """Answered from captions, events, kept frames and, where it is watched, what is seen now.

        With `Accept: text/event-stream` the answer comes as it grows: events `draft`, then `answer` or `problem`.
        Who leaves before its end calls it off.
        """
        if self._answering is None:
            raise HTTPException(HTTPStatus.CONFLICT, "no vision–language model is set up on this server: see [vision]")
        if body.at is not None and (body.from_ is not None or body.to is not None):
            raise UsageError("a question is about a moment (at) or a span (from, to)")
        bounds = await self._hub.journal.bounds(stream)
        if bounds.newest == 0 and stream not in self._hub.streams:
            raise missing(stream)
        about = Span(body.at, span(body.from_, body.to))
        if body.from_ is not None and body.to is not None and body.from_ > body.to:  # type: ignore[operator]
            raise UsageError("from lies after to")
        growing = self._counted(self._answering.answer(stream, body.question, about, bounds.newest))
        if EVENTS in accept:
            first = await while_there(request.receive, _first(growing))  # what is wrong with it is a status
            if first is None:
                return _unread()
            return Streamed(
                self._events(stream, first, growing),
                media_type=EVENTS,
                send_timeout_s=self._send_timeout_s,
                headers={"cache-control": "no-store", "x-accel-buffering": "no"},
            )
        whole = await while_there(request.receive, _last(growing))
        if whole is None:
            return _unread()
        return Response(
            (await self._view(stream, whole)).model_dump_json(exclude_none=True),
            media_type="application/json",
            headers={"cache-control": "no-store"},
        )

    async def _counted(self, growing: AsyncGenerator[Answered, None]) -> AsyncGenerator[Answered, None]:
        if self._asking >= ASKING_MOST:
            headers = {"retry-after": str(BUSY_S)}
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"{ASKING_MOST} questions are asked already", headers)
        self._asking += 1
        try:
            async with aclosing(growing):
                async for each in growing:
                    yield each
        finally:
            self._asking -= 1

    async def _events(
        self, stream: str, first: Answered, growing: AsyncGenerator[Answered, None]
    ) -> AsyncGenerator[str, None]:
        async with aclosing(growing):
            try:
                yield await self._event(stream, first)
                async for each in growing:
                    yield await self._event(stream, each)
            except ModelError as error:
                yield f"event: problem\ndata: {json.dumps({'detail': str(error)})}\n\n"

    async def _event(self, stream: str, answered: Answered) -> str:
        if answered.growing:
            return f"event: draft\ndata: {json.dumps({'answer': answered.text})}\n\n"
        view = await self._view(stream, answered)
        return f"event: answer\ndata: {view.model_dump_json(exclude_none=True)}\n\n"

    async def _view(self, stream: str, answered: Answered) -> AnswerView:
        cited = zip(answered.times, answered.said, strict=True)
        return AnswerView(
            stream=stream,
            answer=answered.text,
            answered=answered.answered,
            times=list(answered.times),
            evidence=[Citation(t=t, image=await self._image(stream, t), text=said or None) for t, said in cited],
            source=answered.source,
            held=answered.basis.held,
            read=answered.basis.read,
            told=answered.basis.told,
        )

    async def _image(self, stream: str, t: float) -> str | None:
        """Where the frame of a moment is, None where none was kept near it."""
        found = await self._frames.nearest(stream, t) if self._frames is not None else None
        near = found is not None and abs(found.t - t) <= FRAME_NEAR_S
        return f"/v1/streams/{stream}/frames/{t:g}.jpg" if near else None


async def _first(growing: AsyncGenerator[Answered, None]) -> Answered:
    return await anext(growing)


async def _last(growing: AsyncGenerator[Answered, None]) -> Answered:
    """The whole answer; cancelled, the work on it has ended."""
    async with aclosing(growing):
        return [each async for each in growing][-1]


def _unread() -> Response:
    """For a client that has left: nobody reads it."""
    return Response(status_code=CLIENT_LEFT)
