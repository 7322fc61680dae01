"""Search in a journal that has none of its own: by reading through it.

A journal with an index is asked itself; it satisfies ``streamcap.journal.Searchable`` by having its methods.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime
from typing import Final

from streamcap.errors import UsageError
from streamcap.journal import Journal
from streamcap.types import CaptionStatus
from streamcap.wire import CaptionMessage, DurableMessage, Encoded, EventMessage, StatusMessage, decode

__all__ = ["Scan"]

CHUNK: Final = 256
PAGE_MAX: Final = 1000
_TERM: Final = re.compile(r'"([^"]*)"|([^\s"]+)')


class Scan:
    """A ``Searchable`` that reads through a journal, for one that is short: each question costs all of its messages.

    Args:
        streams: the ids to look in where none are named.
    """

    def __init__(self, journal: Journal, streams: Callable[[], Collection[str]]) -> None:
        self._journal, self._streams = journal, streams

    async def search(
        self,
        query: str,
        *,
        streams: Collection[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
    ) -> list[Encoded]:
        """See ``Searchable``. A word finds all words that begin with it."""
        _check_limit(limit)
        terms = _terms(query)
        found: list[tuple[datetime, Encoded]] = []
        for stream in dict.fromkeys(self._streams() if streams is None else streams):
            found += await self._search_one(stream, terms, since, until, limit)
        found.sort(key=lambda each: each[0], reverse=True)
        return [entry for _, entry in found[:limit]]

    async def history(
        self,
        stream: str,
        *,
        after: int = 0,
        limit: int = 256,
        since: datetime | None = None,
        until: datetime | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> list[Encoded]:
        """See ``Searchable``."""
        _check_limit(limit)
        if (since, until, start, end) == (None, None, None, None):
            return await self._journal.read(stream, after=after, limit=limit)
        found: list[Encoded] = []
        async for entry in self._entries(stream, after):
            message = decode(entry.text)
            if _is_within(message, since, until) and _speaks_of(message, start, end):
                found.append(entry)
                if len(found) == limit:
                    break
        return found

    async def _search_one(
        self, stream: str, terms: list[re.Pattern[str]], since: datetime | None, until: datetime | None, limit: int
    ) -> list[tuple[datetime, Encoded]]:
        found: deque[tuple[datetime, str, Encoded]] = deque(maxlen=limit)
        retracted: set[str] = set()
        async for entry in self._entries(stream, 0):
            if not all(term.search(entry.text) for term in terms) and '"retracted"' not in entry.text:
                continue  # quick: the text of a message is part of its line
            message = decode(entry.text)
            if isinstance(message, CaptionMessage) and message.status is CaptionStatus.RETRACTED:
                retracted.add(message.id)
            elif isinstance(message, CaptionMessage | EventMessage) and _is_within(message, since, until):
                said = message.text if isinstance(message, CaptionMessage) else f"{message.label} {message.text}"
                if all(term.search(said) for term in terms):
                    found.append((message.at, message.id, entry))
        return [(at, entry) for at, key, entry in found if key not in retracted]

    async def _entries(self, stream: str, after: int) -> AsyncIterator[Encoded]:
        while entries := await self._journal.read(stream, after=after, limit=CHUNK):
            for entry in entries:
                yield entry
            after = entries[-1].seq or after


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(f"a page has 1 to {PAGE_MAX} messages, not {limit}")


def _terms(query: str) -> list[re.Pattern[str]]:
    terms = []
    for phrase, word in _TERM.findall(query):
        words = re.findall(r"\w+", phrase or word)
        if words:
            # No end to the last word: `walk` finds `walking`, as an index of word stems would.
            terms.append(re.compile(r"\b" + r"\W+".join(words), re.IGNORECASE))
    if not terms:
        raise UsageError("there is no word to look for", hint="give at least one")
    return terms


def _is_within(message: object, since: datetime | None, until: datetime | None) -> bool:
    assert isinstance(message, DurableMessage)
    return (since is None or message.at >= since) and (until is None or message.at <= until)


def _speaks_of(message: object, start: float | None, end: float | None) -> bool:
    assert isinstance(message, DurableMessage)
    if start is None and end is None:
        return True
    if isinstance(message, StatusMessage):
        return False
    return (start is None or message.end >= start) and (end is None or message.start <= end)
