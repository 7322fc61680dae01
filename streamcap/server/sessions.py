"""Browser sessions: a cookie that stands for a token where a page cannot send one.

``<img>``, ``<video>``, ``EventSource`` and websockets of a browser carry no ``Authorization``, and a token does not go
into an address: those are logged, kept and passed on. So a page sends its token once and gets a cookie that no script
can read, that goes to no other site, and that the server forgets after a while, when it is told to, and when it stops.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from streamcap.tokens import Access, TokenGuard

__all__ = ["COOKIE", "LIFETIME_S", "Sessions", "session_cookie"]

COOKIE: Final = "streamcap_session"
LIFETIME_S: Final = 12 * 3600.0  # a shift; the page asks for the token again after it
SESSIONS_MAX: Final = 4096  # the oldest goes for a new one
SECRET_MAX_CHARS: Final = 128


class Sessions:
    """The sessions of one server, in memory: the hash of each secret, and the token that it stands for.

    Args:
        tokens: a session lasts no longer than its token.
        lifetime_s: seconds until a session ends by itself.
    """

    def __init__(
        self,
        tokens: TokenGuard,
        *,
        lifetime_s: float = LIFETIME_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens, self._monotonic = tokens, monotonic
        self.lifetime_s = lifetime_s
        self._open: dict[bytes, tuple[str, float]] = {}  # oldest first: all live equally long

    def open(self, access: Access) -> str | None:
        """Begin a session; returns its secret, None for an access without a token, which needs none."""
        if access.token is None:
            return None
        self._expire()
        while len(self._open) >= SESSIONS_MAX:
            del self._open[next(iter(self._open))]
        secret = secrets.token_urlsafe(32)
        self._open[_hash(secret)] = (access.token, self._monotonic() + self.lifetime_s)
        return secret

    def check(self, secret: str) -> Access | None:
        """What a session allows, that is what its token allows now; None for one that is over or never was."""
        if not secret or len(secret) > SECRET_MAX_CHARS:
            return None
        # Found by its hash: how long that takes tells nothing of the secret.
        token, until = self._open.get(_hash(secret), ("", 0.0))
        return self._tokens.access(token) if self._monotonic() < until else None

    def close(self, secret: str) -> None:
        """End a session; one that is over already is no fault."""
        self._open.pop(_hash(secret), None)

    def _expire(self) -> None:
        now = self._monotonic()
        for key in [key for key, (_, until) in self._open.items() if until <= now]:
            del self._open[key]


def session_cookie(headers: Headers) -> str:
    """The secret that a request's cookie holds, empty where it has none."""
    return cookie_parser(headers["cookie"]).get(COOKIE, "") if "cookie" in headers else ""


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
