"""``/v1/session``: a browser's cookie in exchange for its token."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final, cast

from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from streamcap.server.api.models import SessionView
from streamcap.server.rules import access_of
from streamcap.server.sessions import COOKIE, Sessions, session_cookie

__all__ = ["SessionRoutes"]

_TAGS: Final[list[str | Enum]] = ["session"]


def _here(request: Request) -> SessionRoutes:
    return cast("SessionRoutes", request.app.state.session_routes)


# Endpoints are functions of the class, not methods of an object: FastAPI keeps all that it has seen in caches of the
# process, and with them whatever they hold.
Here = Annotated["SessionRoutes", Depends(_here)]


class SessionRoutes:
    """The operations on a browser's session.

    Args:
        sessions: None for a server without.
    """

    def __init__(self, sessions: Sessions | None) -> None:
        self._sessions = sessions

    def mount(self, app: FastAPI) -> None:
        """Add the routes."""
        app.state.session_routes = self
        path = "/v1/session"
        app.get(path, tags=_TAGS, summary="What the caller may do")(SessionRoutes.get)
        app.post(path, tags=_TAGS, summary="Exchange a token for a cookie")(SessionRoutes.begin)
        app.delete(path, tags=_TAGS, status_code=204, summary="End the session of the cookie")(SessionRoutes.end)

    async def get(self: Here, request: Request, response: Response) -> SessionView:
        """By its token or its cookie; everything where the server asks for no token."""
        response.headers["cache-control"] = "no-store"
        return _view(request)

    async def begin(self: Here, request: Request, response: Response) -> SessionView:
        """The cookie is for this server's own pages: HttpOnly, SameSite=Strict, and Secure over TLS."""
        response.headers["cache-control"] = "no-store"
        secret = self._sessions.open(access_of(request.scope)) if self._sessions is not None else None
        if self._sessions is not None and secret is not None:
            self._sessions.close(session_cookie(request.headers))
            response.set_cookie(
                COOKIE,
                secret,
                max_age=round(self._sessions.lifetime_s),
                secure=request.url.scheme == "https",
                httponly=True,
                samesite="strict",
            )
        return _view(request)

    async def end(self: Here, request: Request, response: Response) -> None:
        """Also where there is none."""
        if self._sessions is not None:
            self._sessions.close(session_cookie(request.headers))
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")


def _view(request: Request) -> SessionView:
    access = access_of(request.scope)
    return SessionView(token=access.token, scopes=sorted(access.scopes), streams=list(access.streams))
