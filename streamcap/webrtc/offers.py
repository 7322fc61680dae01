"""What clients say of themselves: session descriptions and the fragments that trickle in after them. Pure.

Read here is only what has to be known before aiortc gets it; sizes are bounded by the server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Fragment", "Unmet", "checked_offer", "fragment", "offered_codecs"]

CANDIDATES_MAX: Final = 64
MEDIA_MAX: Final = 8
_LINE: Final = re.compile(r"[\x20-\x7e\x80-\U0010ffff\t]*")
_UFRAG: Final = re.compile(r"^a=ice-ufrag:([A-Za-z0-9+/]{4,256})\s*$", re.MULTILINE)
_RTPMAP: Final = re.compile(r"a=rtpmap:(\d+) ([\w.-]+)/")
_WHOLE: Final = re.compile(r"[ ;]packetization-mode=1\b")
# Browsers hide their addresses behind names of multicast DNS; theirs are found as the checks come in. So that there are
# no more candidates is never handed on: aioice would give up at once where it knows of none yet.
_END: Final = "a=end-of-candidates"
_MDNS: Final = re.compile(r"^a=candidate:\S+ \d+ \S+ \d+ \S+\.local \d+ .*$")


class Unmet(ValueError):
    """A description that can be read, and asks for what cannot be."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A ``trickle-ice-sdpfrag`` (RFC 8840).

    Attributes:
        ufrag: whose candidates these are; empty where it does not say.
        candidates: each with the ``mid`` of its media, without ``a=``.
    """

    ufrag: str
    candidates: tuple[tuple[str, str], ...]


def checked_offer(text: str, *, sends: bool) -> tuple[str, str]:
    """An offer as it can be handed on, and its ICE user fragment.

    Args:
        sends: True where the client is to send video, False where it is to receive it.

    Raises:
        Unmet: it is an offer of another sort; says which is wanted.
        ValueError: it is none.
    """
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if not lines or lines[0] != "v=0" or not all(_LINE.fullmatch(line) for line in lines):
        raise ValueError("this is no session description")
    media = [line.split(" ")[0].removeprefix("m=") for line in lines if line.startswith("m=")]
    if not 0 < len(media) <= MEDIA_MAX or sum(line.startswith("a=candidate:") for line in lines) > CANDIDATES_MAX:
        raise ValueError(f"an offer has 1 to {MEDIA_MAX} media and at most {CANDIDATES_MAX} candidates")
    ufrag = _UFRAG.search("\n".join(lines))
    if ufrag is None or not any(line.startswith("a=fingerprint:") for line in lines):
        raise ValueError("the offer lacks its ICE user fragment or its fingerprint")
    if "video" not in media:
        raise Unmet("the offer has no video; audio alone cannot be captioned")
    wanted = ("sendonly", "sendrecv") if sends else ("recvonly", "sendrecv")
    if not any(_direction(part) in wanted for part in _sections(lines) if part[0].startswith("m=video")):
        raise Unmet(f"the offer's video is not {wanted[0]}")
    kept = [line for line in lines if not _MDNS.fullmatch(line) and line != _END]
    return "\r\n".join(kept) + "\r\n", ufrag.group(1)


def offered_codecs(offer: str) -> frozenset[str]:
    """The codecs of an offer's video, in small letters; H.264 where units may be split (RFC 6184, 6.3)."""
    found: set[str] = set()
    for section in _sections(offer.splitlines()):
        if not section[0].startswith("m=video"):
            continue
        whole = {line.split(" ")[0][7:] for line in section if line.startswith("a=fmtp:") and _WHOLE.search(line)}
        for line in section:
            if (match := _RTPMAP.match(line)) and (match[2].lower() != "h264" or match[1] in whole):
                found.add(match[2].lower())
    return frozenset(found)


def fragment(text: str) -> Fragment:
    """Read a fragment.

    Raises:
        ValueError: it is none, or holds too much.
    """
    ufrag, mid, ended = "", "", False
    candidates: list[tuple[str, str]] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if not _LINE.fullmatch(line) or (line and line[1:2] != "="):
            raise ValueError("this is no fragment of a session description")
        name, _, value = line.removeprefix("a=").partition(":")
        if line.startswith("a=ice-ufrag:"):
            ufrag = value.strip()
        elif line.startswith("a=mid:"):
            mid = value.strip()
        elif line.strip() == _END:
            ended = True
        elif line.startswith("a=candidate:") and not _MDNS.fullmatch(line.strip()):
            candidates.append((mid, f"{name}:{value.strip()}"))
    if len(candidates) > CANDIDATES_MAX:
        raise ValueError(f"at most {CANDIDATES_MAX} candidates")
    if not (ufrag or candidates or ended):
        raise ValueError("this is no fragment of a session description")
    return Fragment(ufrag, tuple(candidates))


def _sections(lines: list[str]) -> list[list[str]]:
    starts = [at for at, line in enumerate(lines) if line.startswith("m=")]
    ends = [*starts[1:], len(lines)]
    return [lines[start:end] for start, end in zip(starts, ends, strict=True)]


def _direction(section: list[str]) -> str:
    known = {f"a={word}" for word in ("sendonly", "recvonly", "sendrecv", "inactive")}
    return next((line[2:] for line in section if line in known), "sendrecv")
