"""The cache of weights on disk: where a file lies, whether it is whole, and who may write it.

Beside a file ``F`` the cache holds ``F.verified`` (its hash was checked at this size and time of change), while it is
fetched ``F.part`` and ``F.part.json`` (what has come so far, and of what), and ``F.lock``.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

from streamcap.models.catalog import Entry

__all__ = ["LockStalled", "State", "Store", "cache_root", "sha256_of"]

_log = logging.getLogger(__name__)

_CHUNK = 1 << 20
# Another process's download may take an hour; one that has stood still for this long is not coming.
_LOCK_STALL_S = 60.0
# flock has no timeout of its own, and a signal-based one would only work in the main thread.
_LOCK_RETRY_S = 0.1


class State(StrEnum):
    """What the cache holds of an entry."""

    ABSENT = "absent"
    CACHED = "cached"
    DAMAGED = "damaged"  # a file is there, with other bytes than the catalog says


class LockStalled(Exception):
    """Another process holds the lock of an entry and gets nowhere."""


def cache_root() -> Path:
    """The directory of the weights: ``$STREAMCAP_CACHE/models``, else ``models`` in the user's cache directory."""
    if override := os.environ.get("STREAMCAP_CACHE"):
        return Path(override).expanduser().absolute() / "models"
    from platformdirs import user_cache_path  # not part of a subscriber's install

    return user_cache_path("streamcap") / "models"


def sha256_of(path: Path) -> str:
    """Hash a file.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@functools.lru_cache(maxsize=64)
def _sha256_at(path: Path, size: int, mtime_ns: int) -> str:
    """Hash once a process, for a cache that is read-only: size and time are the key, a changed file is hashed anew."""
    return sha256_of(path)


class Store:
    """The cache directory.

    Safe for several processes: readers see a file only once it is whole, writers hold ``lock``. Nothing is created
    before the first ``lock``, so a read-only cache that is complete serves.

    Args:
        root: the directory; need not exist.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_root()

    def path(self, entry: Entry) -> Path:
        """Where the file lies, or would."""
        return self.root / entry.file

    def part(self, entry: Entry) -> Path:
        """Where a download of it grows."""
        return self.root / f"{entry.file}.part"

    def state(self, entry: Entry) -> State:
        """What is there. The hash is computed once for an installed file and then remembered by size and time.

        Raises:
            OSError: the file cannot be read.
        """
        path = self.path(entry)
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return State.ABSENT
        if stat.st_size != entry.size:
            return State.DAMAGED
        if self._remembered(path) == [entry.sha256, stat.st_size, stat.st_mtime_ns]:
            return State.CACHED
        if _sha256_at(path, stat.st_size, stat.st_mtime_ns) != entry.sha256:
            return State.DAMAGED
        self._remember(path, entry.sha256)
        return State.CACHED

    def recheck(self, entry: Entry) -> State:
        """Like ``state``, but hashes whatever is remembered.

        Raises:
            OSError: the file cannot be read.
        """
        path = self.path(entry)
        if not path.exists():
            return State.ABSENT
        if sha256_of(path) == entry.sha256:
            self._remember(path, entry.sha256)
            return State.CACHED
        self._memo(path).unlink(missing_ok=True)
        return State.DAMAGED

    def install(self, entry: Entry, whole: Path) -> Path:
        """Put a file whose hash was just checked in its place, in one step.

        Raises:
            OSError: the cache cannot be written.
        """
        with whole.open("rb") as file:
            os.fsync(file.fileno())
        path = self.path(entry)
        whole.replace(path)
        self._remember(path, entry.sha256)
        self.forget_part(entry)
        return path

    def forget_part(self, entry: Entry) -> None:
        """Drop what has come of a download."""
        part = self.part(entry)
        for leftover in (part, part.with_name(part.name + ".json")):
            leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(
        self, entry: Entry, *, stall_s: float = _LOCK_STALL_S, on_wait: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Hold the right to write an entry. The kernel frees it when the process dies, however it dies.

        Args:
            stall_s: how long the holder's download may stand still before waiting for it is given up.
            on_wait: called once, when another process turns out to hold the lock.

        Raises:
            LockStalled: the holder gets nowhere.
            OSError: the cache cannot be written.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        # The file stays: removing it would let two processes hold locks on two files of one name.
        with (self.root / f"{entry.file}.lock").open("ab") as file:
            if not _try_lock(file.fileno()):
                if on_wait is not None:
                    on_wait()
                self._wait_for_lock(entry, file.fileno(), stall_s)
            yield

    def _wait_for_lock(self, entry: Entry, fd: int, stall_s: float) -> None:
        size, deadline = -1, time.monotonic() + stall_s
        while not _try_lock(fd):
            now = time.monotonic()
            if (grown := _size(self.part(entry))) != size:
                size, deadline = grown, now + stall_s
            if now >= deadline:
                raise LockStalled(f"another process has been fetching {entry.id} and got nowhere for {stall_s:.0f} s")
            time.sleep(_LOCK_RETRY_S)

    @staticmethod
    def _memo(path: Path) -> Path:
        return path.with_name(path.name + ".verified")

    def _remembered(self, path: Path) -> object:
        try:
            return json.loads(self._memo(path).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _remember(self, path: Path, sha256: str) -> None:
        stat = path.stat()
        memo = self._memo(path)
        fresh = memo.with_name(f"{memo.name}.{threading.get_native_id()}")  # unique on the machine, also over processes
        try:
            fresh.write_text(json.dumps([sha256, stat.st_size, stat.st_mtime_ns]), encoding="utf-8")
            fresh.replace(memo)
        except OSError as error:  # a read-only cache: the hash is computed again by the next process
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            _log.debug("cannot remember that %s was verified: %s", path, error)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
