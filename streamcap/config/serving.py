"""Settings of the server: where, for whom, how much."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from streamcap.config.streams import Fps
from streamcap.config.strict import Strict

__all__ = [
    "DEFAULT_PORT",
    "Admission",
    "IceServer",
    "JournalSettings",
    "LimitSettings",
    "LoadSettings",
    "Networks",
    "SecuritySettings",
    "ServerSettings",
    "SourcePolicy",
    "WebRtcSettings",
    "is_loopback",
]

DEFAULT_PORT = 8750
Networks = tuple[IPv4Network | IPv6Network, ...]


class ServerSettings(Strict):
    """Where the feed is served.

    Attributes:
        data: folder of the durable journal; None keeps the journal in memory.
        heartbeat_s: longest silence towards a subscriber.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_PORT
    data: Path | None = None
    heartbeat_s: Annotated[float, Field(gt=0, le=300)] = 15.0


class JournalSettings(Strict):
    """What is kept on disk of each stream; the oldest goes first.

    Attributes:
        max_age_days: longest that a message is kept.
        max_messages: most messages.
        max_bytes: most bytes of messages; the file is about half as large again.
        frames_bytes: most bytes of the frames that captions point at, which are kept as long as messages at most.
    """

    max_age_days: Annotated[float, Field(gt=0, le=36_500)] = 30.0
    max_messages: Annotated[int, Field(ge=1)] = 1_000_000
    max_bytes: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024
    frames_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024


class Admission(StrEnum):
    """What becomes of a stream that is added over the API while the machine cannot keep up."""

    REFUSE = "refuse"
    LOWER = "lower"


class LoadSettings(Strict):
    """What is done where the machine cannot keep up: all streams are looked at less often, by the same share.

    Attributes:
        floor_fps: pictures analysed a second below which no stream is lowered (one that is to have fewer keeps them);
            what does not fit then is left out, and counted as dropped.
        admission: a stream for which there is no room is refused, or taken all the same and all get less. The streams
            of the settings file and of earlier runs are always taken.
    """

    floor_fps: Fps = 3.0
    admission: Admission = Admission.REFUSE


class LimitSettings(Strict):
    """What the server bears from its clients.

    Attributes:
        connections: open at a time, in all.
        connections_per_address: of these from one IPv4 address, or one /64 of IPv6.
        requests_per_s, burst: of one address: the rate in the long run, and how many at once.
        exempt_loopback: no limit by address for this machine itself: a reverse proxy brings everybody from there.
        header_bytes, body_bytes: of one request.
        header_timeout_s: for a request's head to arrive whole; also how long a connection may be quiet between two.
        body_timeout_s: for a request's body to arrive whole.
        stall_timeout_s: how long a client of the HTTP API may take nothing of what waits for it.
        tls_timeout_s: for a TLS handshake.
        auth_timeout_s: for the first message of a websocket, where that has to bring the token.
    """

    connections: Annotated[int, Field(ge=1)] = 4000
    connections_per_address: Annotated[int, Field(ge=1)] = 200
    requests_per_s: Annotated[float, Field(gt=0)] = 50.0
    burst: Annotated[int, Field(ge=1)] = 200
    exempt_loopback: bool = True
    header_bytes: Annotated[int, Field(ge=8192, le=1 << 20)] = 16 * 1024
    body_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024
    header_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    body_timeout_s: Annotated[float, Field(gt=0, le=300)] = 15.0
    stall_timeout_s: Annotated[float, Field(gt=0, le=300)] = 30.0
    tls_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    auth_timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0


class SourcePolicy(Strict):
    """Which sources may be opened for somebody who is not at this machine: streams that are added over the API.

    Attributes:
        schemes: allowed, of those that ``streamcap.sources`` knows; ``file`` also needs ``media_root``, and cameras of
            this machine (``device``) are never opened.
        media_root: folder of the files that may be opened; None for none at all.
        allow_private: cameras on private networks (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7) may be opened.
        networks: further networks that may be, such as ``192.168.7.0/24``; also the only way to loopback and link-local
            addresses. Addresses at which clouds serve credentials stay closed.
    """

    schemes: frozenset[str] = frozenset(
        {"rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "srt", "file", "test", "whip"}
    )
    media_root: Path | None = None
    allow_private: bool = False
    networks: Networks = ()


class IceServer(Strict):
    """A STUN or TURN server.

    Attributes:
        url: ``stun:host:port`` or ``turn:host:port?transport=udp``.
        username, credential: for TURN. Publishers and viewers are told them.
    """

    url: Annotated[
        str, Field(pattern=r"^(stun|turn|turns):[A-Za-z0-9.:\[\]-]+(\?transport=(udp|tcp))?$", max_length=200)
    ]
    username: Annotated[str, Field(pattern=r'^[^"\\\x00-\x1f\x7f]*$', max_length=200)] = ""
    credential: Annotated[str, Field(pattern=r'^[^"\\\x00-\x1f\x7f]*$', max_length=200)] = ""


class WebRtcSettings(Strict):
    """Publishing (WHIP) and watching (WHEP) by WebRTC.

    Attributes:
        ice_servers: for this server and, by ``Link`` headers, for its clients; of each sort the first one is used here.
        publishers, viewers: at a time, in all.
    """

    ice_servers: Annotated[tuple[IceServer, ...], Field(max_length=8)] = ()
    publishers: Annotated[int, Field(ge=0, le=1000)] = 64
    viewers: Annotated[int, Field(ge=0, le=1000)] = 32


class SecuritySettings(Strict):
    """Who may use the server, and how much of it. See docs/security.md.

    Attributes:
        tokens: file of bearer tokens; None for ``tokens.json`` in the data folder.
        insecure: serve beyond this machine although nobody needs a token.
        allowed_origins: web origins, as ``https://host``, whose pages may use the server beside its own; ``"*"`` for
            any.
        allowed_hosts: names by which clients may call the server, beside ``localhost`` and addresses; where it listens
            beyond this machine and none is given: any name.
        tls_cert, tls_key: PEM files; both or neither.
        trusted_proxies: networks, such as ``10.0.0.7/32``, of reverse proxies. Whom a request comes from, and whether
            by TLS, is what they say (X-Forwarded-For, X-Forwarded-Proto); who can send from there can be anybody.
        sources: what streams that are added over the API may open.
    """

    tokens: Path | None = None
    insecure: bool = False
    allowed_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: Networks = ()
    limits: LimitSettings = LimitSettings()
    sources: SourcePolicy = SourcePolicy()

    @model_validator(mode="after")
    def _both_or_neither(self) -> SecuritySettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        return self


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach, and for the name ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
