"""What a request needs: a scope, and the streams that it is about. Pure; refuses what it does not know.

The path is read here as the router reads it, and once for all routes: a route that is added later is covered without a
word of its own. What shows several streams at once needs a token for all of them, unless it is one of ``SIFTED``, which
show of each stream only what ``access_of(scope)`` covers.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import QueryParams

from streamcap.tokens import Access, Scope

__all__ = [
    "ACCESS",
    "READING",
    "SIFTED",
    "Need",
    "access_of",
    "host_is_allowed",
    "missing",
    "need_of",
    "origin_is_allowed",
    "origin_is_own",
]

ACCESS: Final = "streamcap.access"  # key of the ASGI scope
OPEN: Final = frozenset({"/", "/healthz", "/readyz"})
OPEN_BELOW: Final = ("/app/", "/overlay/")  # pages and their files, which show nothing before they bring a token
# The last three show nothing of any stream.
SIFTED: Final = frozenset({"/v1/streams", "/v1/captions", "/docs", "/openapi.json", "/asyncapi.json"})
NAMING: Final = frozenset({"/v1/captions", "/v1/search"})  # their query says which streams they are about; else all
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs.

    Attributes:
        scope: None where any token will do.
        streams: what it is about; None for the server as a whole.
        sifted: a token for some streams is enough, as only those will show.
    """

    scope: Scope | None
    streams: tuple[str, ...] | None = None
    sifted: bool = False


def need_of(scope: Mapping[str, Any]) -> Need | None:
    """What the request of an ASGI scope needs; None where it is open to everybody."""
    path: str = scope["path"]
    method: str = scope.get("method", "GET")  # a websocket reads
    if method in READING and (path in OPEN or path.startswith(OPEN_BELOW)):
        return None
    match path.split("/"):
        case ["", "v1", "session"]:
            return Need(None, ())  # whoever has a token may have its cookie
        case ["", "v1", "streams", stream, "whip", *_]:
            return Need(Scope.PUBLISH, (stream,))
        case ["", "v1", "streams", stream, "ask"]:
            return Need(Scope.READ, (stream,))  # a question changes nothing, and its cost is bounded by [vision]
        case ["", "v1", "streams", stream, "whep", *_]:
            return Need(Scope.READ, (stream,))  # what is written there is the reader's own connection
        case ["", "v1", "streams", stream, *_] if stream:
            return Need(Scope.READ if method in READING else Scope.ADMIN, (stream,))
    if method not in READING:
        return Need(Scope.ADMIN)
    wanted = QueryParams(scope.get("query_string", b"")).get("streams", "*") if path in NAMING else "*"
    if wanted != "*":
        return Need(Scope.READ, tuple(wanted.split(",")))
    return Need(Scope.READ, sifted=path in SIFTED)


def missing(need: Need, access: Access) -> str:
    """Why an access is not enough, in words that tell nothing about the server; empty where it is."""
    if need.scope is not None and not access.holds(need.scope):
        return f"this token does not allow to {_VERBS[need.scope]}"
    if need.streams is None:
        return "" if access.everywhere or need.sifted else "this token is for some streams only, and this is about all"
    return "" if all(access.covers(stream) for stream in need.streams) else "this token is not for that stream"


def access_of(scope: Mapping[str, Any]) -> Access:
    """What the bearer of a request may do, for routes that show several streams or more to some than to others."""
    access = scope.get(ACCESS)
    return access if isinstance(access, Access) else Access()  # an application without a guard: open, as it chose


def host_is_allowed(host: str | None, allowed: tuple[str, ...] | None) -> bool:
    """True where a request was meant for this server.

    A page of attacker.example can have that name point here (DNS rebinding): its requests are then "same origin", and
    only their Host tells. An address cannot be made to point elsewhere, so addresses are always allowed.

    Args:
        host: the Host header; None for a client so old that it is no browser.
        allowed: names beside ``localhost``; None for any.
    """
    if host is None or allowed is None:
        return True
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match.group(1).lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost") or name in {each.lower().rstrip(".") for each in allowed}:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def origin_is_allowed(origin: str | None, host: str | None, allowed: tuple[str, ...]) -> bool:
    """True for programs, which send no Origin, for the server's own pages, and for those that were allowed."""
    return origin is None or "*" in allowed or origin in allowed or origin_is_own(origin, host)


def origin_is_own(origin: str, host: str | None) -> bool:
    """True for a page of this server itself."""
    try:
        own = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    return bool(own) and own == (host or "").lower()


_VERBS: Final = {Scope.READ: "read", Scope.PUBLISH: "publish", Scope.ADMIN: "change anything"}
