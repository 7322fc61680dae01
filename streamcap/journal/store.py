"""The journal's file as one thread works on it: group commit, numbers, retention. Everything here blocks."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from streamcap.errors import FeedError, WireError
from streamcap.journal.base import Bounds, Mark, Retention
from streamcap.journal.files import FILE_NAME, FolderLock, open_database, trouble
from streamcap.types import CaptionStatus
from streamcap.wire import CaptionMessage, DurableMessage, Encoded, StatusMessage, numbered, seal

__all__ = ["MEDIA_STEP_S", "SEQ_BITS", "Append", "Log", "Sealed", "Store", "milliseconds"]

logger = logging.getLogger(__name__)

SEQ_BITS: Final = 40  # a thousand messages a second for 34 years
# Most messages that one commit takes away from a stream, unless it adds more: a bound that was lowered is met over
# several commits, and none of them takes long.
TRIM: Final = 256
# A stamp or media time that steps back by no more than this is filed under the newest before it, so that time can be
# searched by halving; a longer step is believed.
WALL_STEP_MS: Final = 24 * 3600 * 1000
MEDIA_STEP_S: Final = 600.0

Sealed = list[tuple[DurableMessage, Encoded]]


@dataclass(slots=True, eq=False)
class Append:
    """Messages of one stream that are to be committed, then what became of them: ``sealed`` or ``error``."""

    stream: str
    messages: Sequence[DurableMessage]
    sealed: Sealed | None = None
    error: FeedError | None = None


@dataclass(slots=True)
class Log:
    """What is held of a stream. One that can be seen by other threads is never changed, only replaced.

    Attributes:
        key: number of the stream in this file.
        size: bytes of the messages held.
        at, upto: newest wall time (ms) and media time (s) that a message was filed under.
    """

    key: int
    earliest: int = 1
    newest: int = 0
    size: int = 0
    at: int = 0
    upto: float = 0.0

    @property
    def bounds(self) -> Bounds:
        """The numbers held."""
        return Bounds(self.earliest, self.newest)

    def id_of(self, seq: int) -> int:
        """Id of a message in the file."""
        return self.key << SEQ_BITS | seq


class Store:
    """A journal's file, opened. For one thread, except ``logs`` and ``marks``, which others may look things up in.

    Args:
        folder: made where it is missing.

    Raises:
        ConfigError: the folder or the journal in it cannot be used.
        FeedError: the disk is full or fails.
    """

    def __init__(self, folder: Path, retention: Retention) -> None:
        self.path = folder / FILE_NAME
        self._retention = retention
        self._lock = FolderLock(folder)
        try:
            self._connection = open_database(folder)
        except BaseException:  # the folder is free again
            self._lock.close()
            raise
        try:
            self.logs, self.marks = self._load()
            self.epoch = str(self._connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
        except (sqlite3.Error, TypeError) as error:
            self.close()
            raise FeedError(f"the journal {self.path} cannot be read: {error}") from error

    def close(self) -> None:
        """Close the file and let go of the folder."""
        try:
            self._connection.close()  # the last one to close moves the log into the database
        except sqlite3.Error as error:
            logger.warning("%s", trouble(error, self.path))
        finally:
            self._lock.close()

    def commit(self, appends: Sequence[Append], marks: Mapping[str, Mark]) -> None:
        """Commit all in one transaction. Each append has its ``sealed`` or its ``error`` afterwards."""
        logs: dict[str, Log] = {}
        sound = [append for append in appends if self._seal(append, logs)]
        if not sound and not marks:
            return
        for stream in marks.keys() - self.logs.keys() - logs.keys():
            logs[stream] = self._new_log(logs)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for append in sound:
                self._insert(logs[append.stream], append)
            for stream, log in logs.items():
                added = sum(len(append.messages) for append in sound if append.stream == stream)
                self._trim(log, max(TRIM, 2 * added), None)
                self._write_log(stream, log)
            self._write_marks(marks)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            failure = trouble(error, self.path)
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                self._make_room()
            for append in sound:
                append.sealed, append.error = None, failure
            if not sound:
                logger.warning("%s", failure)
            return
        self.logs.update(logs)
        self.marks.update(marks)

    def expire(self, wall: float) -> bool:
        """Take away some of what is too old at ``wall`` (Unix seconds). True where there is more of it.

        Raises:
            FeedError: the disk fails; nothing is taken away.
        """
        if self._retention.age_s is None:
            return False
        oldest = round((wall - self._retention.age_s) * 1000)
        try:
            for stream, held in list(self.logs.items()):
                log = replace(held)
                if not self._begins_before(log, oldest):
                    continue
                self._connection.execute("BEGIN IMMEDIATE")
                self._trim(log, TRIM, oldest)
                self._write_log(stream, log)
                self._connection.execute("COMMIT")
                self.logs[stream] = log
                return True
        except sqlite3.Error as error:
            self._roll_back()
            raise trouble(error, self.path) from error
        return False

    def _load(self) -> tuple[dict[str, Log], dict[str, Mark]]:
        logs, marks = {}, {}
        rows = self._connection.execute(
            "SELECT name, key, earliest, newest, size, at, upto, media, wall FROM streams ORDER BY key"
        )
        for name, key, earliest, newest, size, at, upto, media, wall in rows:
            logs[name] = Log(key, earliest, newest, size, at, upto)
            if media is not None:
                marks[name] = Mark(media, wall)
        return logs, marks

    def _seal(self, append: Append, logs: dict[str, Log]) -> bool:
        """Number and encode; the stream's log in ``logs`` moves on. False where that cannot be."""
        log = logs.get(append.stream) or replace(self.logs.get(append.stream) or self._new_log(logs))
        try:
            committed = [numbered(message, log.newest + n) for n, message in enumerate(append.messages, start=1)]
            append.sealed = [(message, seal(message)) for message in committed]
        except WireError as error:
            append.error = error
            return False
        if not append.sealed:
            return False
        log.newest += len(append.sealed)
        logs[append.stream] = log
        return True

    def _new_log(self, logs: Mapping[str, Log]) -> Log:
        return Log(1 + max((log.key for log in (*self.logs.values(), *logs.values())), default=0))

    def _insert(self, log: Log, append: Append) -> None:
        rows = [_file(log, message, entry) for message, entry in append.sealed or ()]
        first, last = rows[0][0], rows[-1][0]
        insert = self._connection.executemany
        insert("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        insert(
            "INSERT INTO retractions VALUES (?, ?)",
            [
                (log.id_of(message.seq or 0), message.id)
                for message, _ in append.sealed or ()
                if isinstance(message, CaptionMessage) and message.status is CaptionStatus.RETRACTED
            ],
        )
        # The same words by the same way as they are taken out again, or the index would go wrong.
        self._connection.execute(
            "INSERT INTO words (rowid, body) SELECT id, body FROM spoken WHERE id BETWEEN ? AND ?", (first, last)
        )

    def _trim(self, log: Log, most: int, oldest: int | None) -> None:
        """Take away what is beyond the bounds, and what was filed before ``oldest`` (ms); at most ``most`` messages."""
        messages, size = self._retention.messages, self._retention.size
        held, first = log.newest - log.earliest + 1, log.earliest
        if oldest is None and (messages is None or held <= messages) and (size is None or log.size <= size):
            return
        rows = self._connection.execute(
            "SELECT size, at FROM messages WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            (log.id_of(first), log.id_of(log.newest), most),
        ).fetchall()
        for freed, at in rows:
            beyond = (messages is not None and held > messages) or (size is not None and log.size > size and held > 1)
            if not beyond and (oldest is None or at >= oldest):
                break
            log.size -= freed
            log.earliest += 1
            held -= 1
        if log.earliest == first:
            return
        span = (log.id_of(first), log.id_of(log.earliest - 1))
        self._connection.execute(
            "INSERT INTO words (words, rowid, body) SELECT 'delete', id, body FROM spoken WHERE id BETWEEN ? AND ?",
            span,
        )
        self._connection.execute("DELETE FROM messages WHERE id BETWEEN ? AND ?", span)
        self._connection.execute("DELETE FROM retractions WHERE id BETWEEN ? AND ?", span)

    def _begins_before(self, log: Log, oldest: int) -> bool:
        row = self._connection.execute("SELECT at FROM messages WHERE id = ?", (log.id_of(log.earliest),)).fetchone()
        return row is not None and row[0] < oldest

    def _write_log(self, stream: str, log: Log) -> None:
        self._connection.execute(
            "INSERT INTO streams (name, key, earliest, newest, size, at, upto) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET earliest = excluded.earliest, newest = excluded.newest,"
            " size = excluded.size, at = excluded.at, upto = excluded.upto",
            (stream, log.key, log.earliest, log.newest, log.size, log.at, log.upto),
        )

    def _write_marks(self, marks: Mapping[str, Mark]) -> None:
        self._connection.executemany(
            "UPDATE streams SET media = ?, wall = ? WHERE name = ?",
            [(mark.media, mark.wall, stream) for stream, mark in marks.items()],
        )

    def _make_room(self) -> None:
        """Move the log into the database and cut it: it holds each page as often as it was written."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            logger.debug("no room to be made in %s: %s", self.path, error)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # a full disk may have rolled it back already
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                logger.exception("cannot roll back in %s", self.path)


def milliseconds(moment: datetime) -> int:
    """Unix milliseconds, rounded down."""
    return int(moment.timestamp() * 1000 // 1)


def _file(log: Log, message: DurableMessage, entry: Encoded) -> tuple[object, ...]:
    """A row of ``messages``; the log takes note of its size and times."""
    assert message.seq is not None
    at = milliseconds(message.at)
    log.at = max(log.at, at) if log.at - at <= WALL_STEP_MS else at
    start = end = None
    if not isinstance(message, StatusMessage):
        start, end = message.start, message.end
        log.upto = max(log.upto, end) if log.upto - end <= MEDIA_STEP_S else end
    log.size += entry.size
    return (log.id_of(message.seq), entry.type, log.at, start, end, log.upto, entry.size, entry.text)
