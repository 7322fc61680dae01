"""When the pictures of a live HLS stream were taken: the dates in its playlist (RFC 8216, EXT-X-PROGRAM-DATE-TIME).

libav does not read them. So the playlist is read once more beside it, and the first time stamp of the newest segment
that has a date tells how time stamps and the time of day belong together.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urljoin

import av
import httpx

from streamcap.sources.address import Address
from streamcap.sources.tls import TLS_SCHEMES, tls_context

__all__ = ["dated_segment", "program_clock"]

_log = logging.getLogger(__name__)

_PLAYLIST_MAX = 1 << 20  # bytes
_DEPTH = 3  # playlists that name playlists
_LENGTH = re.compile(r"#EXTINF:([0-9.]+)")


def program_clock(address: Address, options: Mapping[str, str], timeout: float) -> float | None:
    """Unix seconds of the time stamp 0, None where the playlist does not tell. Blocks; never fails.

    Args:
        address: of the playlist.
        options: libav's, for the segment.
        timeout: seconds for each step.
    """
    try:
        url, playlist = _media_playlist(address, timeout)
        found = dated_segment(playlist)
        if found is None:
            return None
        with av.open(urljoin(url, found[0]), options=dict(options), timeout=(timeout, timeout)) as segment:
            packet = next(segment.demux(video=0))
            return None if packet.pts is None else found[1] - float(packet.pts * packet.time_base)
    except (httpx.HTTPError, httpx.InvalidURL, av.FFmpegError, OSError, ValueError, StopIteration) as error:
        _log.debug("%s: no dates from the playlist: %s", address.shown, type(error).__name__)
        return None


def dated_segment(playlist: str) -> tuple[str, float] | None:
    """Address and Unix seconds of the newest segment with a date, or that follows one; None where there is none.

    Segments that are encrypted, or that need another file to be read (fragmented MP4), cannot be looked into.
    """
    when: float | None = None
    length = 0.0
    newest: tuple[str, float] | None = None
    for line in map(str.strip, playlist.splitlines()):
        if line.startswith("#EXT-X-PROGRAM-DATE-TIME:"):
            when = datetime.fromisoformat(line.partition(":")[2]).timestamp()
        elif line.startswith("#EXT-X-MAP") or (line.startswith("#EXT-X-KEY") and "METHOD=NONE" not in line):
            return None
        elif line.startswith("#EXT-X-DISCONTINUITY"):
            when, newest = None, None
        elif match := _LENGTH.match(line):
            length = float(match[1])
        elif line and not line.startswith("#") and when is not None:
            newest = (line, when)
            when += length
    return newest


def _media_playlist(address: Address, timeout: float) -> tuple[str, str]:
    verify = (tls_context(address) or False) if address.scheme in TLS_SCHEMES else True
    url = address.target
    with httpx.Client(verify=verify, timeout=timeout, follow_redirects=True) as client:
        for _ in range(_DEPTH):
            with client.stream("GET", url) as answer:
                answer.raise_for_status()
                text = _limited(answer)
                url = str(answer.url)
            lines = [line.strip() for line in text.splitlines()]
            if not any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
                return url, text
            # All qualities are one programme with one clock.
            url = urljoin(url, next(line for line in lines if line and not line.startswith("#")))
    raise ValueError("playlists name playlists")


def _limited(answer: httpx.Response) -> str:
    body = bytearray()
    for part in answer.iter_bytes():
        body += part
        if len(body) > _PLAYLIST_MAX:
            raise ValueError("the playlist is too large")
    return body.decode("utf-8", "replace")
