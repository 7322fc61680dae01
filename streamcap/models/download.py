"""Downloads that survive a bad line: short connect timeouts, and resuming by byte range.

A download grows in a ``.part`` file; ``.part.json`` beside it says of what it is the beginning. Whether the bytes are
the right ones is for the caller to check: a hash of the whole is the only proof there is.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from streamcap import __version__

if TYPE_CHECKING:
    import httpx

__all__ = [
    "FetchPolicy",
    "NoRanges",
    "SourceFailed",
    "WrongBytes",
    "download",
    "fetch_range",
    "open_client",
    "shown",
]

_log = logging.getLogger(__name__)

_RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """How patient a fetch is.

    Attributes:
        connect_s: to connect; short, because the next source may answer at once.
        read_s: of silence in the middle of an answer.
        attempts: tries in a row that bring no new byte before a source is given up; at least 1.
        backoff_s: wait before the second try, doubled for each one after it.
        pip_s: for pip to say where a wheel is.
    """

    connect_s: float = 3.0
    read_s: float = 20.0
    attempts: int = 3
    backoff_s: float = 0.5
    pip_s: float = 120.0


class SourceFailed(Exception):
    """One source does not deliver; the text says why, in a few words."""


class NoRanges(SourceFailed):
    """The server sends whole files only."""


class WrongBytes(SourceFailed):
    """A source delivers something else than the catalog says."""


class _Interrupted(Exception):
    """The line broke or the server is in trouble: worth another try."""


class _NoConnection(_Interrupted):
    """Nobody answered: worth another try only where somebody answered before."""


class _Changed(Exception):
    """The remote file is not the one that the part is the beginning of."""


def shown(url: str) -> str:
    """A URL as it may be printed: without user and password, and without a query, which may carry a token."""
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0]


@contextlib.contextmanager
def open_client(policy: FetchPolicy) -> Iterator[httpx.Client]:
    """An HTTP client that follows the environment: proxies, ``SSL_CERT_FILE``, netrc.

    Raises:
        SourceFailed: httpx is not installed, or the environment's settings do not hold.
    """
    try:
        import httpx

        timeout = httpx.Timeout(policy.read_s, connect=policy.connect_s)
        # The bytes are hashed as they are: a server must not compress them on the way.
        headers = {"User-Agent": f"streamcap/{__version__}", "Accept-Encoding": "identity"}
        client = httpx.Client(timeout=timeout, headers=headers, follow_redirects=True)
    except ImportError as error:  # httpx itself, or the SOCKS support that a proxy setting asks for
        raise SourceFailed(f"not installed: {error}") from error
    except (OSError, ValueError) as error:  # SSL_CERT_FILE that is not there, a proxy URL that is none
        raise SourceFailed(f"the network settings do not hold: {error}") from error
    with client:
        yield client


def fetch_range(client: httpx.Client, url: str, start: int, length: int, *, policy: FetchPolicy) -> tuple[bytes, int]:
    """Read a few bytes out of the middle of a remote file.

    Returns:
        The bytes (fewer where the file ends before), and the size of the whole file.

    Raises:
        NoRanges: the server sends whole files only.
        SourceFailed: the server does not answer, or says no.
    """
    failures = 0
    while True:
        try:
            with _answer(client, url, {"Range": f"bytes={start}-{start + length - 1}"}) as response:
                if response.status_code == 200:
                    raise NoRanges("the server sends whole files only")
                if response.status_code != 206:
                    _refuse(response)
                first, last, total = _content_range(response)
                if first != start or last >= start + length:
                    raise SourceFailed("the server sent another range than was asked for")
                return b"".join(response.iter_raw()), total
        except _Interrupted as error:
            failures += 1
            if failures >= policy.attempts or isinstance(error, _NoConnection):
                raise SourceFailed(str(error)) from error
        time.sleep(policy.backoff_s * 2 ** (failures - 1))


def download(
    client: httpx.Client,
    url: str,
    part: Path,
    *,
    policy: FetchPolicy,
    tick: Callable[[int, int], None],
    start: int = 0,
    length: int | None = None,
) -> None:
    """Bring ``length`` bytes of a remote file, from ``start`` on, into ``part``; carry on where an earlier try ended.

    What an interruption (also Ctrl-C) leaves behind is a shorter ``part`` that the next call carries on with.

    Args:
        length: None for all that there is, which then has to start at 0.
        tick: called with bytes had and bytes wanted (0 where unknown).

    Raises:
        NoRanges: ``start`` is not 0 and the server sends whole files only.
        WrongBytes: the remote file is too long or too short for what was asked.
        SourceFailed: the server does not answer, or says no.
        OSError: ``part`` cannot be written.
    """
    job = _Download(client, url, part, start, length, tick)
    failures, answered = 0, False
    while True:
        before = job.have
        try:
            if job.step():
                return
            continue
        except _Interrupted as error:
            answered = answered or job.have > before
            failures = 1 if job.have > before else failures + 1
            if failures >= policy.attempts or (isinstance(error, _NoConnection) and not answered):
                raise SourceFailed(str(error)) from error
            _log.info("%s: %s; trying again from byte %d", shown(url), error, job.have)
        time.sleep(policy.backoff_s * 2 ** (failures - 1))


class _Download:
    def __init__(
        self,
        client: httpx.Client,
        url: str,
        part: Path,
        start: int,
        length: int | None,
        tick: Callable[[int, int], None],
    ) -> None:
        self._client, self._url, self._part, self._start, self._length = client, url, part, start, length
        self._tick = tick
        self._meta = part.with_name(part.name + ".json")
        self._key = [shown(url), start, length]
        self._restarted = False
        self._validator: str | None = None
        self._total: int | None = None
        # A part of something else is left alone until this source sends its first bytes: it may be worth more.
        self._mine = self._recall()

    @property
    def have(self) -> int:
        """Bytes that are there."""
        try:
            return self._part.stat().st_size if self._mine else 0
        except FileNotFoundError:
            return 0

    def step(self) -> bool:
        """One request. True when all is there, False when the download begins anew because the remote file changed."""
        have = self.have
        if have and have == (self._length or self._total):
            self._tick(have, have)
            return True
        try:
            with _answer(self._client, self._url, self._headers(have)) as response:
                return self._take(response, have)
        except _Changed as error:
            if self._restarted:
                raise SourceFailed(str(error)) from error
            _log.info("%s: %s; beginning anew", shown(self._url), error)
            self._restarted = True
            self._reset()
            return False

    def _headers(self, have: int) -> dict[str, str]:
        first = self._start + have
        if first == 0 and self._length is None:
            return {}
        last = "" if self._length is None else str(self._start + self._length - 1)
        headers = {"Range": f"bytes={first}-{last}"}
        if have and self._validator:
            headers["If-Range"] = self._validator
        return headers

    def _take(self, response: httpx.Response, have: int) -> bool:
        if response.status_code == 416 and have:
            raise _Changed("the file there is shorter than before")
        if response.status_code == 206:
            first, last, total = _content_range(response)
            if first != self._start + have:
                raise SourceFailed("the server sent another range than was asked for")
            if have and self._total not in (None, total):
                raise _Changed("the file there has another size than before")
            wanted = have + last - first + 1
        elif response.status_code == 200:
            if self._start:
                raise NoRanges("the server sends whole files only")
            if have:  # ranges are not served, or If-Range says that the file has changed: this is all of it
                self._reset()
                have = 0
            wanted = total = int(response.headers.get("Content-Length", 0))
        else:
            _refuse(response)
        if self._length is not None and wanted not in (0, self._length):
            raise WrongBytes(f"it has {wanted} bytes there, not {self._length}")
        self._note(response, total)
        self._copy(response, have, wanted)
        return True

    def _copy(self, response: httpx.Response, have: int, wanted: int) -> None:
        limit = self._length or wanted or None
        with self._part.open("ab") as file:
            for (
                chunk
            ) in response.iter_raw():  # as they come: a chunk size would hold back bytes, and lose them at a cut
                have += len(chunk)
                if limit is not None and have > limit:
                    raise WrongBytes(f"it goes on after {limit} bytes")
                file.write(chunk)
                self._tick(have, limit or 0)
        if limit is not None and have < limit:
            raise _Interrupted(f"the answer ended after {have} of {limit} bytes")

    def _recall(self) -> bool:
        """Read the note beside the part; true where the part is the beginning of what is asked for."""
        try:
            note = json.loads(self._meta.read_text(encoding="utf-8"))
            if note["of"] != self._key or self._part.stat().st_size > (self._length or sys.maxsize):
                return False
            self._validator, self._total = note["validator"], note["total"]
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError) as error:
            _log.info("%s cannot be read (%s); beginning anew", self._meta, error)
            return False
        return True

    def _note(self, response: httpx.Response, total: int) -> None:
        if not self._mine:
            self._reset()
            self._mine = True
        etag = response.headers.get("ETag", "")
        # A weak ETag does not promise the same bytes, which is what If-Range is about.
        self._validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
        self._total = total or None
        note = {"of": self._key, "validator": self._validator, "total": self._total}
        self._meta.write_text(json.dumps(note), encoding="utf-8")

    def _reset(self) -> None:
        self._validator = self._total = None
        self._part.unlink(missing_ok=True)
        self._meta.unlink(missing_ok=True)


@contextlib.contextmanager
def _answer(client: httpx.Client, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """One answer, its body not yet read; trouble on the line while it is read comes out as ``_Interrupted``."""
    import httpx

    try:
        with client.stream("GET", url, headers=headers) as response:
            if response.status_code in _RETRIED_STATUS:
                raise _Interrupted(f"HTTP {response.status_code}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise SourceFailed("the server sends it re-encoded")
            yield response
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise _NoConnection(_why(error)) from error
    except httpx.TransportError as error:
        raise _Interrupted(_why(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceFailed(_why(error)) from error


def _refuse(response: httpx.Response) -> NoReturn:
    raise SourceFailed(f"HTTP {response.status_code} {response.reason_phrase}".rstrip())


def _content_range(response: httpx.Response) -> tuple[int, int, int]:
    if match := _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "")):
        return int(match[1]), int(match[2]), int(match[3])
    raise SourceFailed("the server does not say which range it sends")


def _why(error: Exception) -> str:
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__
