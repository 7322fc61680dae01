"""What a journal is: the narrow seam between the hub and where durable messages are kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from streamcap.wire import DurableMessage, Encoded

__all__ = ["Bounds", "Journal", "Mark", "Retention", "Searchable"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a journal holds of a stream: numbers ``earliest`` to ``newest``; none where ``earliest = newest + 1``."""

    earliest: int
    newest: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a stream was watched.

    Attributes:
        media: media seconds of the newest picture that was spoken of, or said to show nothing new.
        wall: Unix seconds at which it was captured.
    """

    media: float
    wall: float


@dataclass(frozen=True, slots=True)
class Retention:
    """What a journal keeps of each stream; the oldest go first. None: no bound of that sort.

    Attributes:
        messages: most messages, at least 1.
        size: most bytes of messages; the newest one is kept whatever its size.
        age_s: longest time since a message was stamped, in seconds; all messages may go.
    """

    messages: int | None = None
    size: int | None = None
    age_s: float | None = None

    def __post_init__(self) -> None:
        if self.messages is not None and self.messages < 1:
            raise ValueError("a journal keeps at least 1 message")


class Journal(Protocol):
    """Append-only log of the durable messages of many streams.

    Numbers of a stream start at 1 and have no holes. They go on for ever under one ``epoch``, also over a restart of
    the process and over the removal and return of a stream; a journal that cannot promise this takes a new epoch.
    """

    @property
    def epoch(self) -> str:
        """Name of this life of the numbering."""
        ...

    async def append(self, stream: str, messages: Sequence[DurableMessage]) -> list[tuple[DurableMessage, Encoded]]:
        """Commit messages of one stream, all or none, and give them their numbers.

        Calls for one stream do not overlap (the hub sees to it). When this returns, the messages survive whatever the
        journal is made to survive. A cancelled call may have committed, or may still commit.

        Raises:
            WireError: a message is a draft or too large; nothing is committed.
            FeedError: the journal cannot commit, or is closed; nothing is committed.
        """
        ...

    async def read(self, stream: str, *, after: int, limit: int) -> list[Encoded]:
        """Up to ``limit`` committed messages with numbers above ``after``, oldest first.

        The first number is ``after + 1``, unless that is older than retention: then it is the earliest held.

        Raises:
            FeedError: the journal cannot be read.
        """
        ...

    async def bounds(self, stream: str) -> Bounds:
        """Numbers held of a stream; ``Bounds(1, 0)`` for one that is not known."""
        ...

    def mark(self, stream: str, mark: Mark) -> None:
        """Note how far a stream was watched. Never waits; the newest mark of a stream is committed in a while."""
        ...

    async def last_mark(self, stream: str) -> Mark | None:
        """The newest mark of a stream, also from an earlier life of the process; None where there is none."""
        ...

    async def close(self) -> None:
        """Commit what waits and give up what is held open. Further calls of ``append`` raise ``FeedError``."""
        ...


@runtime_checkable
class Searchable(Protocol):
    """What a journal can do beside, where it can: find messages by words and by time."""

    async def search(
        self,
        query: str,
        *,
        streams: Collection[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
    ) -> list[Encoded]:
        """Final captions and events whose words match, the newest first; captions that were retracted are left out.

        Args:
            query: words, all of which must be there, in any form (*walk* finds *walking*); ``"words in quotes"`` must
                stand together, ``wal*`` finds what begins so.
            streams: ids of streams; None for all. Unknown ones have no messages.
            since, until: wall time of the messages, both inclusive, with a time zone.
            limit: most messages, 1 to 1000.

        Raises:
            UsageError: no word to look for, a limit out of range, or a search that takes too long.
            FeedError: the journal cannot be read.
        """
        ...

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
        """Messages of a stream by number and time, oldest first.

        Args:
            after: only numbers above this one; the last number of a page is where the next page begins.
            limit: most messages, 1 to 1000.
            since, until: wall time of the messages, both inclusive, with a time zone.
            start, end: media seconds: messages that speak of some of that span. Those without media time (status) are
                left out where either is given. A message that was numbered more than 600 s of media after ``end`` is
                not looked for.

        Raises:
            UsageError: a limit out of range.
            FeedError: the journal cannot be read.
        """
        ...
