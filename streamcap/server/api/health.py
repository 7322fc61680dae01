"""``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Any, Final, cast

from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from streamcap.hub import Hub
from streamcap.server.metrics import Metrics
from streamcap.server.problems import documented, problem

__all__ = ["Health"]

_TAGS: Final[list[str | Enum]] = ["health"]
_TEXT: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


def _here(request: Request) -> Health:
    return cast("Health", request.app.state.health)


# Endpoints are functions of the class, not methods of an object: FastAPI keeps all that it has seen in caches of the
# process, and with them whatever they hold.
Here = Annotated["Health", Depends(_here)]


class Health:
    """How the server does.

    Args:
        may_be_empty: True where a server without a stream is as it should be.
    """

    def __init__(self, hub: Hub, metrics: Metrics, may_be_empty: Callable[[], bool]) -> None:
        self._hub, self._metrics, self._may_be_empty = hub, metrics, may_be_empty

    def mount(self, app: FastAPI) -> None:
        """Add the routes. A load balancer may ask with HEAD."""
        app.state.health = self
        plain: dict[str, Any] = {"tags": _TAGS, "response_class": PlainTextResponse}
        app.get("/healthz", summary="The process answers", responses=_TEXT, **plain)(Health.healthz)
        app.get(
            "/readyz",
            summary="Streams are open, the journal commits and the server is not stopping",
            responses=_TEXT | documented(HTTPStatus.SERVICE_UNAVAILABLE),
            **plain,
        )(Health.readyz)
        app.get("/metrics", summary="Numbers for Prometheus", responses=_TEXT, **plain)(Health.metrics)
        for path, endpoint in (("/healthz", Health.healthz), ("/readyz", Health.readyz)):
            app.head(path, include_in_schema=False, **plain)(endpoint)

    async def healthz(self: Here) -> Response:
        """Says nothing about the streams."""
        return PlainTextResponse("ok\n")

    async def readyz(self: Here) -> Response:
        """Also ready without a stream where one can be added."""
        if self._hub.closed or not (self._hub.streams or self._may_be_empty()):
            detail = "stopping" if self._hub.closed else "no stream is open yet"
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
        if self._hub.trouble:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, self._hub.trouble)
        return PlainTextResponse("ready\n")

    async def metrics(self: Here, request: Request) -> Response:
        """In the text format of Prometheus, or in OpenMetrics where that is asked for."""
        body, media_type = self._metrics.text(request.headers.get("accept", ""))
        return Response(body, media_type=media_type)
