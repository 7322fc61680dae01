"""Errors of the HTTP API as RFC 9457 problem details, whatever raised them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamcap.answering import NothingKnown
from streamcap.errors import (
    AnswerUnusable,
    ModelError,
    ModelTimeout,
    ModelUnavailable,
    OverBudget,
    Overloaded,
    SourceRefused,
    StreamcapError,
    UsageError,
)
from streamcap.server.control import NotAllowed, StreamExists, StreamMissing

__all__ = ["BODY_MAX", "BodyLimit", "Problem", "documented", "install", "problem"]

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
BODY_MAX: Final = 64 * 1024  # bytes of a request; the largest that makes sense is a stream with a long address

_STATUS_OF: Final[tuple[tuple[type[StreamcapError], HTTPStatus], ...]] = (
    (StreamMissing, HTTPStatus.NOT_FOUND),
    (StreamExists, HTTPStatus.CONFLICT),
    (NotAllowed, HTTPStatus.FORBIDDEN),
    (SourceRefused, HTTPStatus.FORBIDDEN),
    (NothingKnown, HTTPStatus.CONFLICT),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (OverBudget, HTTPStatus.TOO_MANY_REQUESTS),
    (ModelTimeout, HTTPStatus.GATEWAY_TIMEOUT),
    (AnswerUnusable, HTTPStatus.BAD_GATEWAY),
    (StreamcapError, HTTPStatus.SERVICE_UNAVAILABLE),
)


class FieldError(BaseModel):
    """One thing in a request that does not hold; ``loc`` is where, as in ``["query", "limit"]``."""

    loc: list[str | int]
    msg: str


class Problem(BaseModel):
    """RFC 9457. ``errors`` only where a request does not hold."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[FieldError] | None = None,
) -> Response:
    """A problem as a response."""
    body = Problem(title=status.phrase, status=status.value, detail=detail, errors=errors)
    return JSONResponse(
        body.model_dump(mode="json", exclude_none=True),
        status.value,
        headers=dict(headers) if headers else None,
        media_type=MEDIA_TYPE,
    )


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an operation for these statuses."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {each.value: {"description": each.phrase, "content": {MEDIA_TYPE: schema}} for each in statuses}


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StreamcapError, _ours)
    app.add_exception_handler(Exception, _defect)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["allow"] = ", ".join(sorted(_allowed(request)))
    return problem(HTTPStatus(error.status_code), error.detail, headers=headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Without the values: an address may hold credentials.
    errors = [FieldError(loc=list(each["loc"]), msg=str(each["msg"])) for each in error.errors()]
    first = errors[0] if errors else FieldError(loc=[], msg="it does not hold")
    where = ".".join(str(part) for part in first.loc)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first.msg}", errors=errors)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, StreamcapError)
    status = next(status for kind, status in _STATUS_OF if isinstance(error, kind))
    if status is HTTPStatus.SERVICE_UNAVAILABLE and not isinstance(error, Overloaded | ModelError):
        logger.error("%s %s: %s", request.method, request.url.path, error)
    return problem(status, error.in_full, headers=_again(error))


def _again(error: StreamcapError) -> dict[str, str] | None:
    """When it is worth asking again, where that is known."""
    if isinstance(error, OverBudget | ModelUnavailable | Overloaded) and error.retry_after_s is not None:
        return {"retry-after": str(max(1, math.ceil(error.retry_after_s)))}
    return None


async def _defect(request: Request, error: Exception) -> Response:
    # Starlette raises it again after this answer, and uvicorn logs it whole.
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log says more")


def _allowed(request: Request) -> set[str]:
    """All methods of an address. Each route knows its own only."""
    methods: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return methods


class BodyLimit:
    """Refuses requests with a body over ``BODY_MAX``, announced or not."""

    def __init__(self, app: ASGIApp, limit: int = BODY_MAX) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limit:
            await self._refuse(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limit:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._line())
            return message

        await self._app(scope, counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The rest of the body is not read, so the connection cannot be used again.
        response = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._line(), headers={"connection": "close"})
        await response(scope, receive, send)

    def _line(self) -> str:
        return f"a request has at most {self._limit} bytes"
