"""Where a feed is, who may have it, and what its server's refusals mean."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from streamcap.errors import FeedClosed, UsageError
from streamcap.wire import CloseCode

__all__ = ["FINAL_CODES", "STATUS_CODES", "checked_token", "closed_for_good", "feed_url", "in_short", "is_loopback"]

FINAL_CODES: Final = frozenset(
    {CloseCode.BAD_REQUEST, CloseCode.UNAUTHORIZED, CloseCode.FORBIDDEN, CloseCode.NO_SUCH_STREAM}
)
STATUS_CODES: Final = {
    400: CloseCode.BAD_REQUEST,
    401: CloseCode.UNAUTHORIZED,
    403: CloseCode.FORBIDDEN,
    404: CloseCode.NO_SUCH_STREAM,
}
_HINTS: Final = {
    CloseCode.NO_SUCH_STREAM: "the server's page at / lists its streams",
    CloseCode.UNAUTHORIZED: "the server wants a token: --token, or STREAMCAP_TOKEN",
    CloseCode.FORBIDDEN: "the token is not for this; whoever runs the server can make another",
}


def feed_url(url: str) -> str:
    """The address of the feed that a person means.

    ``http`` and ``https`` become ``ws`` and ``wss``; a server alone means the feed of all its streams.

    Raises:
        UsageError: not such an address.
    """
    try:
        parts = urlsplit(url if "://" in url else f"ws://{url}")
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that cannot be
        sound = False
    scheme = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}.get(parts.scheme) if sound else None
    if scheme is None:
        raise UsageError(f"{url!r} is not the address of a feed", hint="such as ws://127.0.0.1:8750")
    path, query = parts.path, parts.query
    if path in {"", "/"}:
        path, query = "/v1/captions", query or "streams=*"
    return urlunsplit(SplitResult(scheme, parts.netloc, path, query, ""))


def checked_token(token: str) -> str:
    """The token, where it can be one.

    Raises:
        UsageError: it cannot.
    """
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("that is no token", hint="streamcap token create makes one: sc_…")
    return token


def closed_for_good(code: CloseCode, reason: str) -> FeedClosed:
    """The error that says why the server will not have this subscriber, and what helps."""
    return FeedClosed(f"the server closed the feed: {reason or code.name}", code=code, hint=_HINTS.get(code, ""))


def in_short(error: Exception) -> str:
    """A fault of the connection, in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def is_loopback(url: str) -> bool:
    """True where an address stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
