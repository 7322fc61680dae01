"""The folder and the file of a journal on disk: made, locked, checked. Nothing is begun anew over what is there."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import sqlite3
import time
from pathlib import Path
from typing import Final

from streamcap.errors import ConfigError, FeedError

__all__ = ["FILE_NAME", "SCHEMA_VERSION", "FolderLock", "connect", "open_database", "trouble"]

logger = logging.getLogger(__name__)

FILE_NAME: Final = "journal.sqlite3"
LOCK_NAME: Final = "journal.lock"

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x5C4A_0001  # "a journal of streamcap", so that another program's database is not taken for one
# A check reads the whole file: 0.1 s for each 100 MB at best, more where the disk has to be read. Past this size a
# damaged page shows when it is needed.
CHECK_MAX_BYTES: Final = 1024 * 1024 * 1024
BUSY_S: Final = 5.0  # how long to wait for another program that reads or copies the database
CACHE_KIB: Final = 4096
WAL_KEPT_BYTES: Final = 16 * 1024 * 1024

# The number of a message is 40 bits of its id, the number of its stream the rest: one B-tree in the order of replay,
# and the full-text index needs nothing else to know stream and number.
_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE streams (
    key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, earliest INTEGER NOT NULL, newest INTEGER NOT NULL,
    size INTEGER NOT NULL, at INTEGER NOT NULL, upto REAL NOT NULL, media REAL, wall REAL
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, type TEXT NOT NULL, at INTEGER NOT NULL, start REAL, end REAL, upto REAL NOT NULL,
    size INTEGER NOT NULL, text TEXT NOT NULL
);
CREATE TABLE retractions (id INTEGER PRIMARY KEY, caption TEXT NOT NULL);
CREATE INDEX retractions_by_caption ON retractions (caption);
CREATE VIEW spoken (id, body) AS
    SELECT id, CASE type
        WHEN 'caption' THEN json_extract(text, '$.text')
        ELSE json_extract(text, '$.label') || ' ' || json_extract(text, '$.text')
    END
    FROM messages
    WHERE type = 'event' OR (type = 'caption' AND json_extract(text, '$.status') = 'final');
CREATE VIRTUAL TABLE words USING fts5 (
    body, content = 'spoken', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
);
"""

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNWRITABLE: Final = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


class FolderLock:
    """One server per folder: made with the folder, held until closed, let go by the system where the process dies.

    Raises:
        ConfigError: another process holds it, or the folder cannot be made or written in.
    """

    def __init__(self, folder: Path) -> None:
        self._fd = -1
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            self.close()
            raise ConfigError(
                f"another streamcap (process {holder}) uses {folder}",
                hint="one server for one data folder: stop the other, or choose another --data",
            ) from None
        except OSError as error:
            self.close()
            raise _unusable(folder, error.strerror or str(error)) from None
        with contextlib.suppress(OSError):  # only tells people who it is; a full disk is reported by the journal
            os.ftruncate(self._fd, 0)
            os.write(self._fd, f"{os.getpid()}\n".encode())

    def close(self) -> None:
        """Let go. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection for the calling thread; transactions are begun by hand."""
    settings = [f"cache_size = -{CACHE_KIB}"]
    if readonly:
        settings.append("query_only = ON")
    else:
        # FULL: what is committed survives a loss of power, and no number is ever given twice under one epoch.
        settings += ["synchronous = FULL", f"journal_size_limit = {WAL_KEPT_BYTES}", "secure_delete = FAST"]
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        for setting in settings:
            connection.execute(f"PRAGMA {setting}").fetchall()
    except BaseException:  # nobody else would close it
        connection.close()
        raise
    return connection


def open_database(folder: Path) -> sqlite3.Connection:
    """Open the journal of a folder whose lock is held; a new one is made only where there is none.

    Raises:
        ConfigError: what is there is damaged, of another program or of a newer streamcap, or cannot be written.
        FeedError: there is no room, or the disk fails.
    """
    path = folder / FILE_NAME
    try:
        if not path.exists():
            _create(path)
        _look(path)
        connection = connect(path)
        try:
            _check(connection, path)
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            # A write, so that a folder or disk that takes none is known now and not at the first caption.
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'opened'")
        except BaseException:  # nobody else would close it
            connection.close()
            raise
    except sqlite3.Error as error:
        raise _at_open(error, path) from error
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from error
    return connection


def trouble(error: sqlite3.Error, path: Path) -> FeedError:
    """What a failure of the database means, in a line and with what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return FeedError(
            f"the disk is full: nothing can be committed to {path}", hint="make room; it goes on by itself"
        )
    if code in _DAMAGED:
        return FeedError(f"the journal {path} is damaged: {error}", hint=_restore(path))
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return FeedError(f"another program holds {path} locked", hint="stop it; it goes on by itself")
    if code in _UNWRITABLE:
        return FeedError(f"the journal {path} cannot be written: {error}", hint="look at the rights of file and folder")
    return FeedError(f"the journal {path} fails: {error}", hint="look at the disk")


def _create(path: Path) -> None:
    """Make an empty journal whole, then give it its name: a crash leaves either nothing or a journal."""
    wal = path.with_name(path.name + "-wal")
    if wal.exists():
        raise ConfigError(
            f"{path} is gone, and {wal.name} is left of it",
            hint=f"put the journal back beside it, or move {wal.name} away to begin anew",
        )
    fresh = path.with_name(path.name + ".new")
    for left in (fresh, fresh.with_name(fresh.name + "-journal")):
        left.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(fresh, isolation_level=None)
    try:
        connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        about = [("epoch", secrets.token_hex(8)), ("made", str(int(time.time()))), ("opened", "0")]
        connection.executemany("INSERT INTO meta VALUES (?, ?)", about)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    finally:
        connection.close()
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    logger.info("began a journal: %s", path)


def _look(path: Path) -> None:
    """Refuse what is no database before SQLite takes an empty file for a new one."""
    with path.open("rb") as file:
        head = file.read(16)
    if head != b"SQLite format 3\x00":
        what = "is empty" if not head else "is not a database"
        raise ConfigError(f"the journal {path} {what}", hint=_restore(path))


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise ConfigError(f"{path} is a database of another program", hint="choose another --data")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} was written by another version of streamcap (layout {version}, this one knows {SCHEMA_VERSION})",
            hint="use that version, or choose another --data",
        )
    size = path.stat().st_size
    if size > CHECK_MAX_BYTES:
        logger.info("%s has %d MB and is not read through", path, size >> 20)
        return
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise ConfigError(f"the journal {path} is damaged: {' '.join(found.split())}", hint=_restore(path))


def _at_open(error: sqlite3.Error, path: Path) -> ConfigError | FeedError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    found = trouble(error, path)
    # Not the disk's fault, and not cured by waiting: what was asked for cannot be.
    return ConfigError(str(found), hint=found.hint) if code in _DAMAGED | _UNWRITABLE else found


def _unusable(folder: Path, why: str) -> ConfigError:
    return ConfigError(f"the data folder {folder} cannot be used: {why}", hint="give --data a folder to write in")


def _restore(path: Path) -> str:
    return f"nothing was changed; put back a copy, or move {path.name} away with its -wal and -shm to begin anew"
