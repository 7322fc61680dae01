"""What stands before every route, HTTP and websocket: is it meant for us, how often, by whom, how large.

Plain ASGI, so it does not matter which framework a route is made with, or by whom. A refused request never reaches the
application. A refused websocket is accepted, told why in an ``error`` message and closed (4401, 4403): before the
handshake is done a browser's page would learn nothing. Only too many requests are answered before it (429): that has to
be cheap.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, cast

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from streamcap.config import LimitSettings, SecuritySettings
from streamcap.server.limits import Buckets, client_key
from streamcap.server.problems import problem
from streamcap.server.rules import ACCESS, READING, host_is_allowed, missing, need_of, origin_is_allowed, origin_is_own
from streamcap.server.sessions import Sessions, session_cookie
from streamcap.tokens import Access, TokenGuard
from streamcap.wire import SUBPROTOCOL, CloseCode, ErrorMessage, encode

__all__ = ["Guard"]

logger = logging.getLogger(__name__)

SEND_S: Final = 5.0  # to tell a refused websocket why
AUTH_MAX_CHARS: Final = 1024  # of the first message, where that has to bring the token
_NOBODY: Final = Access(None, frozenset(), ())
_BEARER: Final = {"www-authenticate": 'Bearer realm="streamcap"'}
_INVALID: Final = {"www-authenticate": 'Bearer realm="streamcap", error="invalid_token"'}
_OWN_FETCHES: Final = frozenset({"same-origin", "none"})  # none: typed into the address bar
_CORS_HEADERS: Final = "authorization, content-type, if-match, if-none-match, last-event-id"
_CORS_EXPOSED: Final = "etag, link, location, retry-after, streamcap-captured-at, streamcap-time"
_CORS_METHODS: Final = "GET, HEAD, POST, PATCH, PUT, DELETE"


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: HTTPStatus
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def close_code(self) -> CloseCode:
        return CloseCode.UNAUTHORIZED if self.status is HTTPStatus.UNAUTHORIZED else CloseCode.FORBIDDEN


class _TooLarge(HTTPException):
    """Raised into whatever reads the body; a framework answers with it."""


class _Revoked(OSError):
    """Raised into whatever sends: to it the client is gone."""


class Guard:
    """ASGI middleware.

    Args:
        app: what it stands before. It finds what the client may do in ``access_of(scope)``.
        tokens: None for a server that asks for none.
        hosts: names by which clients may call the server; None for any.
        sessions: of browsers, which bring a cookie where they cannot bring a token; None for none.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: TokenGuard | None = None,
        security: SecuritySettings | None = None,
        *,
        hosts: tuple[str, ...] | None = (),
        sessions: Sessions | None = None,
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._tokens = tokens or TokenGuard()
        security = security or SecuritySettings()
        self._origins, self._hosts = security.allowed_origins, hosts
        self._limits: LimitSettings = security.limits
        self._buckets = Buckets(self._limits.requests_per_s, self._limits.burst)
        proxies = [str(network) for network in security.trusted_proxies]
        self._unveiled = cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", self._enter), proxies))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a connection through, or refuse it."""
        await self._unveiled(scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # HTTP

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refusal = self._rate(scope) or self._entry(headers) or _size(headers, self._limits.body_bytes)
        if refusal is None:
            send = self._cors(headers, send)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers and "origin" in headers:
                await Response(status_code=204)(scope, receive, send)  # a browser asks before it sends a token
                return
        access: Access | _Refusal = refusal or self._admit(scope, headers)
        if isinstance(access, _Refusal):
            self._log(scope, access)
            await problem(access.status, access.detail, headers=access.headers)(scope, receive, send)
            return
        passage = _Passage(self._tokens, access, receive, send)
        body = _Body(passage.receive, self._limits)
        with contextlib.suppress(_Revoked):
            await self._app({**scope, ACCESS: access}, body.receive, passage.send_http)

    def _cors(self, headers: Headers, send: Send) -> Send:
        """For pages of other origins that were allowed: without it a browser would not show them the answer."""
        origin = headers.get("origin")
        if origin is None or not ({origin, "*"} & set(self._origins)):
            return send
        words = {
            "access-control-allow-origin": origin,
            "access-control-allow-headers": _CORS_HEADERS,
            "access-control-allow-methods": _CORS_METHODS,
            "access-control-expose-headers": _CORS_EXPOSED,
            "access-control-max-age": "600",
            "vary": "origin",
        }
        lines = [(name.encode(), value.encode("latin-1")) for name, value in words.items()]

        async def send_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *lines]}
            await send(message)

        return send_cors

    # Websockets

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        headers = Headers(scope=scope)
        if refusal := self._rate(scope):
            await _reject(refusal, scope, receive, send)
            return
        passage = _Passage(self._tokens, _NOBODY, receive, send)
        access: Access | _Refusal | None = self._entry(headers)
        if access is None and self._must_say_token(scope, headers):
            await passage.accept(scope)
            secret = await self._first_message(receive)
            access = self._admit(scope, headers, secret) if secret is not None else None
            if access is None:
                return  # it left
        elif access is None:
            access = self._admit(scope, headers)
        if isinstance(access, _Refusal):
            self._log(scope, access)
            await passage.accept(scope)
            await _close(send, access.close_code, access.detail)
            return
        passage.access = access
        with contextlib.suppress(_Revoked):
            await self._app({**scope, ACCESS: access}, passage.receive_connect, passage.send_websocket)

    def _must_say_token(self, scope: Scope, headers: Headers) -> bool:
        return (
            self._tokens.required
            and need_of(scope) is not None
            and "authorization" not in headers
            and self._session(scope, headers) is None
        )

    async def _first_message(self, receive: Receive) -> str | None:
        """The token that a websocket brings as its first message: a browser cannot send a header with a websocket, and
        an address with a token in it would be logged on the way. Empty where there is none, None where the peer left.
        """
        try:
            async with asyncio.timeout(self._limits.auth_timeout_s):
                message = await receive()
        except TimeoutError:
            return ""
        if message["type"] == "websocket.disconnect":
            return None
        text = message.get("text") or ""
        try:
            said = json.loads(text) if len(text) <= AUTH_MAX_CHARS else None
        except (ValueError, RecursionError):
            return ""
        token = said.get("token") if isinstance(said, dict) and said.get("type") == "auth" else None
        return token if isinstance(token, str) else ""

    # Both

    def _rate(self, scope: Scope) -> _Refusal | None:
        client = scope.get("client")
        key = client_key(client[0] if client else None, exempt_loopback=self._limits.exempt_loopback)
        if key is None or not (wait := self._buckets.take(key)):
            return None
        seconds = str(max(1, round(wait)))
        return _Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many requests from this address", {"retry-after": seconds})

    def _entry(self, headers: Headers) -> _Refusal | None:
        """Whether a request was meant for this server, and by whom."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        host = hosts[0] if hosts else None
        if len(hosts) > 1 or not host_is_allowed(host, self._hosts):
            return _Refusal(HTTPStatus.MISDIRECTED_REQUEST, "this server is not called by that name")
        if len(origins) > 1 or not origin_is_allowed(origins[0] if origins else None, host, self._origins):
            return _Refusal(HTTPStatus.FORBIDDEN, "pages of this origin may not use this server")
        return None

    def _admit(self, scope: Scope, headers: Headers, secret: str | None = None) -> Access | _Refusal:
        """What the client may do, by its header or by the token that it has said."""
        need = need_of(scope)
        if need is None:
            return _NOBODY
        if not self._tokens.required:
            return Access()
        by_cookie = self._session(scope, headers) if secret is None and "authorization" not in headers else None
        access = by_cookie or self._bearer(headers, secret)
        if isinstance(access, Access) and (lacking := missing(need, access)):
            words = 'Bearer realm="streamcap", error="insufficient_scope"'
            words += f', scope="{need.scope}"' if need.scope is not None else ""
            return _Refusal(HTTPStatus.FORBIDDEN, lacking, {"www-authenticate": words})
        return access

    def _bearer(self, headers: Headers, secret: str | None) -> Access | _Refusal:
        if secret is None:
            given = headers.getlist("authorization")
            if not given:
                return _Refusal(HTTPStatus.UNAUTHORIZED, "this server asks for a token", _BEARER)
            scheme, _, secret = given[0].partition(" ")
            if len(given) > 1 or scheme.lower() != "bearer":
                secret = ""
        access = self._tokens.check(secret.strip(" "))
        if access is None:
            detail = "the token is not valid" if secret else "this server asks for a token, and none came"
            return _Refusal(HTTPStatus.UNAUTHORIZED, detail, _INVALID)
        return access

    def _session(self, scope: Scope, headers: Headers) -> Access | None:
        """What a browser may do by its cookie, which it sends whichever page asks: so only this server's own may."""
        if self._sessions is None or headers.get("sec-fetch-site", "same-origin") not in _OWN_FETCHES:
            return None
        origin = headers.get("origin")
        reads = scope["type"] == "http" and scope["method"] in READING
        if not (origin_is_own(origin, headers.get("host")) if origin is not None else reads):
            return None
        return self._sessions.check(session_cookie(headers))

    @staticmethod
    def _log(scope: Scope, refusal: _Refusal) -> None:
        client = scope.get("client")
        logger.info("refused %s %r: %s", client[0] if client else "somebody", scope["path"], refusal.detail)


class _Passage:
    """A connection that was let through, watched: with its token revoked it ends at the next thing sent."""

    def __init__(self, tokens: TokenGuard, access: Access, receive: Receive, send: Send) -> None:
        self._tokens, self.access = tokens, access
        self._receive, self._send = receive, send
        self._accepted = self._connected = self._ended = False

    @property
    def _holds(self) -> bool:
        return self.access is _NOBODY or self._tokens.holds(self.access)

    async def receive(self) -> Message:
        return await self._receive()

    async def receive_connect(self) -> Message:
        """For the application the conversation begins here, whatever was said before."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        return await self._receive()

    async def accept(self, scope: Scope) -> None:
        """Accept the websocket on behalf of the application."""
        if not self._accepted:
            self._accepted = True
            subprotocol = SUBPROTOCOL if SUBPROTOCOL in scope["subprotocols"] else None
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def send_websocket(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            if self._accepted:
                return
            self._accepted = True
        elif message["type"] == "websocket.send" and not self._holds:
            await _close(self._send, CloseCode.UNAUTHORIZED, "the token was revoked")
            raise _Revoked
        await self._send(message)

    async def send_http(self, message: Message) -> None:
        if self._ended:
            raise _Revoked
        if message["type"] == "http.response.body" and message.get("more_body") and not self._holds:
            # Whoever streams hears by its ``receive`` that the client is gone; who does not listen, at its next send.
            self._ended = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)


class _Body:
    """The body of a request, bounded in size and time."""

    def __init__(self, receive: Receive, limits: LimitSettings) -> None:
        self._receive, self._limits = receive, limits
        self._taken = 0
        self._whole = False
        self._until = time.monotonic() + limits.body_timeout_s

    async def receive(self) -> Message:
        """The next piece; once it is whole, whatever else comes (that the client is gone)."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time", _CLOSE) from None
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._taken > self._limits.body_bytes:
                raise _TooLarge(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large", _CLOSE)
        return message


_CLOSE: Final = {"connection": "close"}


def _size(headers: Headers, most: int) -> _Refusal | None:
    if "content-length" in headers and "transfer-encoding" in headers:
        # Two lengths: what stands before us may have believed the other one (request smuggling).
        return _Refusal(HTTPStatus.BAD_REQUEST, "a body has one length", _CLOSE)
    length = headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:20]) <= most:
        return None
    return _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {most} bytes here", _CLOSE)


async def _reject(refusal: _Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a websocket before its handshake is done."""
    if "websocket.http.response" in scope.get("extensions", {}):
        lines = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
        await send({"type": "websocket.http.response.start", "status": int(refusal.status), "headers": lines})
        await send({"type": "websocket.http.response.body", "body": refusal.detail.encode()})
    else:
        await send({"type": "websocket.close", "code": int(CloseCode.OVERLOADED)})


async def _close(send: Send, code: CloseCode, reason: str) -> None:
    name = "unauthorized" if code is CloseCode.UNAUTHORIZED else "forbidden"
    error = ErrorMessage(at=datetime.now(UTC), code=name, message=reason)
    try:
        async with asyncio.timeout(SEND_S):
            await send({"type": "websocket.send", "text": encode(error)})
            await send({"type": "websocket.close", "code": int(code), "reason": reason})
    except (TimeoutError, OSError):
        logger.debug("a client was gone before it could be told: %s", reason)
