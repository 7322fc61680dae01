"""What is asked of a journal's file: messages by number, by time, by words. Everything here blocks and only reads."""

from __future__ import annotations

import heapq
import re
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from streamcap.errors import UsageError
from streamcap.journal.files import connect, trouble
from streamcap.journal.store import MEDIA_STEP_S, SEQ_BITS, Log, milliseconds
from streamcap.wire import Encoded

__all__ = ["PAGE_MAX", "Queries", "checked_limit", "matching"]

PAGE_MAX: Final = 1000  # messages in one answer: at most some megabytes
QUERY_MAX: Final = 400  # characters of a search
SEARCH_S: Final = 2.0  # longest that one search may take: it holds up those behind it
STEPS: Final = 10_000  # instructions of SQLite's machine between two looks at the clock, well under a millisecond

_TERM: Final = re.compile(r'"([^"]*)"|([^\s"]+)')
_SEQ_MASK: Final = (1 << SEQ_BITS) - 1


@dataclass(frozen=True, slots=True)
class _Found:
    """A hit of a search with the time it is filed under (Unix milliseconds)."""

    at: int
    entry: Encoded


class Queries:
    """A second connection to a journal's file, for one thread.

    Args:
        logs: of the store; looked things up in, never changed.
    """

    def __init__(self, path: Path, logs: Mapping[str, Log]) -> None:
        self._path, self._logs = path, logs
        self._connection = connect(path, readonly=True)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def read(self, stream: str, after: int, limit: int) -> list[Encoded]:
        """See ``Journal.read``."""
        log = self._logs.get(stream)
        if log is None:
            return []
        rows = self._rows(
            "SELECT id, type, text, size FROM messages WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            (log.id_of(max(after + 1, log.earliest)), log.id_of(log.newest), max(0, limit)),
        )
        return [_entry(stream, row) for row in rows]

    def history(
        self,
        stream: str,
        after: int,
        limit: int,
        since: datetime | None,
        until: datetime | None,
        start: float | None,
        end: float | None,
    ) -> list[Encoded]:
        """See ``Searchable.history``."""
        log = self._logs.get(stream)
        if log is None:
            return []
        first, last = max(after + 1, log.earliest), log.newest
        clauses, values = [], []
        if since is not None:
            first = max(first, self._seek(log, "at", milliseconds(since)))
        if until is not None:
            last = min(last, self._seek(log, "at", milliseconds(until) + 1) - 1)
        if start is not None:
            first = max(first, self._seek(log, "upto", start))
            clauses.append("end >= ?")
            values.append(start)
        if end is not None:
            last = min(last, self._seek(log, "upto", end + MEDIA_STEP_S) - 1)
            clauses.append("start <= ?")
            values.append(end)
        where = "".join(f" AND {clause}" for clause in clauses)
        rows = self._rows(
            f"SELECT id, type, text, size FROM messages WHERE id BETWEEN ? AND ?{where} ORDER BY id LIMIT ?",  # noqa: S608 - the clauses above
            (log.id_of(first), log.id_of(max(0, last)), *values, limit),
        )
        return [_entry(stream, row) for row in rows]

    def search(
        self,
        query: str,
        streams: Collection[str] | None,
        since: datetime | None,
        until: datetime | None,
        limit: int,
    ) -> list[Encoded]:
        """See ``Searchable.search``."""
        match = matching(query)
        names = list(self._logs) if streams is None else [name for name in dict.fromkeys(streams) if name in self._logs]
        deadline = time.monotonic() + SEARCH_S
        self._connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
        try:
            # Newest first in each stream, which the index gives in that order at no cost; then merged by time.
            found = [self._search_one(name, match, since, until, limit) for name in names]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise UsageError(
                    f"the search takes longer than {SEARCH_S:g} s", hint="name streams, or a shorter time"
                ) from None
            raise trouble(error, self._path) from error
        except sqlite3.Error as error:
            raise trouble(error, self._path) from error
        finally:
            self._connection.set_progress_handler(None, 0)
        newest = heapq.merge(*found, key=lambda each: -each.at)
        return [each.entry for _, each in zip(range(limit), newest, strict=False)]

    def _search_one(
        self, stream: str, match: str, since: datetime | None, until: datetime | None, limit: int
    ) -> list[_Found]:
        log = self._logs[stream]
        first = log.earliest if since is None else self._seek(log, "at", milliseconds(since))
        last = log.newest if until is None else self._seek(log, "at", milliseconds(until) + 1) - 1
        rows = self._connection.execute(
            "SELECT m.id, m.type, m.text, m.size, m.at FROM words JOIN messages AS m ON m.id = words.rowid"
            " WHERE words MATCH ? AND words.rowid BETWEEN ? AND ?"
            " AND NOT EXISTS (SELECT 1 FROM retractions AS r WHERE r.caption = json_extract(m.text, '$.id')"
            " AND r.id BETWEEN ? AND ?)"
            " ORDER BY words.rowid DESC LIMIT ?",
            (match, log.id_of(first), log.id_of(max(0, last)), log.id_of(0), log.id_of(_SEQ_MASK), limit),
        )
        return [_Found(row[4], _entry(stream, row)) for row in rows]

    def _seek(self, log: Log, column: Literal["at", "upto"], least: float) -> int:
        """The first number whose ``column``, which does not fall, is at least that; one past the newest if none."""
        low, high = log.earliest, log.newest + 1
        while low < high:
            middle = (low + high) // 2
            row = self._one(f"SELECT {column} FROM messages WHERE id = ?", (log.id_of(middle),))  # noqa: S608 - of two names
            # A message that has just been taken away by retention lies before all that are held.
            if row is None or row[0] < least:
                low = middle + 1
            else:
                high = middle
        return low

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise trouble(error, self._path) from error

    def _one(self, sql: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        rows = self._rows(sql, values)
        return rows[0] if rows else None


def matching(query: str) -> str:
    """A search as SQLite's full-text index spells it; nothing in it is taken for an operator.

    Raises:
        UsageError: it is too long, or holds no word.
    """
    if len(query) > QUERY_MAX:
        raise UsageError(f"a search of more than {QUERY_MAX} characters")
    terms = list(_terms(query))
    if not terms:
        raise UsageError("no word to search for")
    return " AND ".join(terms)


def _terms(query: str) -> Iterator[str]:
    for phrase, word in _TERM.findall(query.replace("\x00", " ")):
        text = phrase or word
        begins = bool(word) and word.endswith("*")
        if any(letter.isalnum() for letter in text):
            yield f'"{text.rstrip("*") if begins else text}"' + ("*" if begins else "")


def checked_limit(limit: int) -> int:
    """The limit, where it holds.

    Raises:
        UsageError: it does not.
    """
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(f"a limit of {limit} messages", hint=f"1 to {PAGE_MAX}")
    return limit


def _entry(stream: str, row: Iterable[Any]) -> Encoded:
    key, sort, text, size, *_ = row
    return Encoded(sort, stream, key & _SEQ_MASK, text, size)
