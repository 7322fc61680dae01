"""A journal on disk: SQLite with a write-ahead log, one thread that writes, group commit.

    append() ──bounded inbox──> writer thread: BEGIN … all that waits … COMMIT (one fsync) ──> the callers' futures
    read(), search() ──> reader threads with connections of their own, which the writer does not hold up

What is committed survives ``kill -9`` and, the disk being honest about fsync, a loss of power. Each commit costs one
fsync, whatever number of streams wait for it; while one runs, what comes next gathers for the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final, Self, TypeVar

from streamcap.errors import FeedError, StreamcapError
from streamcap.journal.base import Bounds, Mark, Retention
from streamcap.journal.files import trouble
from streamcap.journal.queries import Queries, checked_limit
from streamcap.journal.store import Append, Sealed, Store
from streamcap.wire import DurableMessage, Encoded

__all__ = ["SqliteJournal"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# The hub has one append under way for each stream, so this many wait only where a disk hangs under that many streams.
WAITING_MAX: Final = 1024
GROUP_MAX: Final = 256  # appends in one transaction: a few milliseconds of work
TICK_S: Final = 5.0  # between two looks at what is too old, and the longest that a mark waits for its commit
CLOSE_S: Final = 30.0  # a disk that takes longer than this for the last commit is left to itself


class _Inbox:
    """What waits for the writer. Filled by the event loop, emptied by the thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._appends: list[Append] = []
        self._marks: dict[str, Mark] = {}
        self._closed = False

    def put(self, append: Append) -> None:
        """Queue an append.

        Raises:
            FeedError: closed, or too many wait.
        """
        with self._changed:
            if self._closed:
                raise FeedError("the journal is closed")
            if len(self._appends) >= WAITING_MAX:
                raise FeedError(f"the journal is behind: {WAITING_MAX} commits wait", hint="the disk is too slow")
            self._appends.append(append)
            self._changed.notify()

    def mark(self, stream: str, mark: Mark) -> None:
        """Keep the newest mark until the next commit."""
        with self._changed:
            self._marks[stream] = mark

    def close(self) -> None:
        """Take nothing more; what waits is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self, patience: float) -> tuple[list[Append], dict[str, Mark], bool]:
        """Up to ``GROUP_MAX`` appends as soon as there is one, all marks, and whether this is the last of all."""
        with self._changed:
            self._changed.wait_for(lambda: self._appends or self._closed, patience)
            group, self._appends = self._appends[:GROUP_MAX], self._appends[GROUP_MAX:]
            marks, self._marks = self._marks, {}
            return group, marks, self._closed and not self._appends


class _Reader:
    """A thread with a connection of its own. Those who wait for it are bounded by the subscribers there may be."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1, name)
        self._queries: Queries | None = None
        self._closed = False

    async def run(self, work: Callable[[Queries], T]) -> T:
        """Do some reading in the thread. A cancelled call lets it finish there.

        Raises:
            FeedError: the journal cannot be read, or is closed.
        """
        if self._closed:
            raise FeedError("the journal is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)

    async def close(self) -> None:
        """End the thread, after the reading that is under way."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._pool, self._end)
            self._pool.shutdown()  # only the thread's last statement is left

    def _work(self, work: Callable[[Queries], T]) -> T:
        if self._queries is None:
            try:
                self._queries = Queries(self._store.path, self._store.logs)
            except sqlite3.Error as error:
                raise trouble(error, self._store.path) from error
        return work(self._queries)

    def _end(self) -> None:
        if self._queries is not None:
            self._queries.close()


class SqliteJournal:
    """A journal in a folder of its own; made by ``open``. Also ``Searchable``.

    At most 1024 appends wait for the writer; one more fails at once with ``FeedError``. A failed commit takes all that
    shared its transaction with it; each of them gets ``FeedError``, and what was committed before is untouched.
    """

    def __init__(self, folder: Path, retention: Retention, wall: Callable[[], float]) -> None:
        self._folder, self._retention, self._wall = folder, retention, wall
        self._loop = asyncio.get_running_loop()
        self._inbox = _Inbox()
        self._futures: dict[Append, asyncio.Future[Sealed]] = {}
        self._marks: dict[str, Mark] = {}  # those of this process, committed or not
        self._opened: asyncio.Future[Store] = self._loop.create_future()
        self._finished = asyncio.Event()
        self._replays: _Reader | None = None
        self._searches: _Reader | None = None
        self._thread = threading.Thread(target=self._run, name="streamcap-journal", daemon=True)

    @classmethod
    async def open(
        cls, folder: Path, *, retention: Retention | None = None, wall: Callable[[], float] = time.time
    ) -> Self:
        """Open the journal in a folder, or begin one where there is none. Cancelled, it leaves nothing open.

        Args:
            folder: made, for the user alone, where it is missing.
            retention: what is kept of each stream; everything, unless said otherwise.
            wall: Unix seconds, which age is measured by.

        Raises:
            ConfigError: another process uses the folder; the journal is damaged or of a newer streamcap; nothing can
                be written there. Nothing is begun anew over what is there.
            FeedError: the disk is full or fails.
        """
        journal = cls(folder, retention or Retention(), wall)
        journal._thread.start()
        try:
            store = await asyncio.shield(journal._opened)
        except BaseException:  # also cancelled: its threads and its lock are let go
            await journal.close()
            raise
        journal._replays = _Reader(store, "streamcap-journal-replay")
        journal._searches = _Reader(store, "streamcap-journal-search")
        return journal

    @property
    def epoch(self) -> str:
        """Name of this life of the numbering: that of the file."""
        return self._store.epoch

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self._store.path

    async def append(self, stream: str, messages: Sequence[DurableMessage]) -> list[tuple[DurableMessage, Encoded]]:
        """See ``Journal``. A call that is cancelled while it waits still commits."""
        append = Append(stream, messages)
        future: asyncio.Future[Sealed] = self._loop.create_future()
        self._inbox.put(append)
        self._futures[append] = future
        return await future

    async def read(self, stream: str, *, after: int, limit: int) -> list[Encoded]:
        """See ``Journal``."""
        return await self._reader(self._replays).run(lambda queries: queries.read(stream, after, limit))

    async def bounds(self, stream: str) -> Bounds:
        """See ``Journal``. Never waits."""
        log = self._store.logs.get(stream)
        return Bounds(1, 0) if log is None else log.bounds

    def mark(self, stream: str, mark: Mark) -> None:
        """See ``Journal``. Committed within about five seconds, and at ``close``."""
        self._marks[stream] = mark
        self._inbox.mark(stream, mark)

    async def last_mark(self, stream: str) -> Mark | None:
        """See ``Journal``. Never waits."""
        return self._marks.get(stream) or self._store.marks.get(stream)

    async def search(
        self,
        query: str,
        *,
        streams: Collection[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
    ) -> list[Encoded]:
        """See ``Searchable``."""
        checked_limit(limit)
        return await self._reader(self._searches).run(
            lambda queries: queries.search(query, streams, since, until, limit)
        )

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
        checked_limit(limit)
        return await self._reader(self._searches).run(
            lambda queries: queries.history(stream, after, limit, since, until, start, end)
        )

    async def close(self) -> None:
        """Commit what waits, close the file, join the threads. Idempotent; afterwards nothing can be read either.

        Cancelled, it leaves threads that have been told to end and do so by themselves.
        """
        self._inbox.close()
        for reader in (self._replays, self._searches):
            if reader is not None:
                await reader.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._finished.wait()
        if not self._finished.is_set():
            logger.error("%s: the last commit does not end within %g s", self._folder, CLOSE_S)
            return
        self._thread.join(1.0)  # only its last statement is left
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()  # seen: an open that was cancelled has nobody to tell

    @property
    def _store(self) -> Store:
        return self._opened.result()

    @staticmethod
    def _reader(reader: _Reader | None) -> _Reader:
        assert reader is not None, "made by open()"
        return reader

    def _deliver(self, group: Sequence[Append]) -> None:
        for append in group:
            future = self._futures.pop(append)
            if future.done():  # whoever waited was cancelled
                continue
            if append.error is not None:
                future.set_exception(append.error)
            else:
                future.set_result(append.sealed or [])

    def _on_opened(self, store: Store | None, error: BaseException | None) -> None:
        if store is not None:
            self._opened.set_result(store)
        elif error is not None:
            self._opened.set_exception(error)

    # ---- the writer's thread

    def _run(self) -> None:
        try:
            store = Store(self._folder, self._retention)
        except Exception as error:  # whatever it is must reach the caller of open(): here it would die with the thread
            if not isinstance(error, StreamcapError):
                logger.exception("cannot open the journal in %s", self._folder)
            self._post(lambda error=error: self._on_opened(None, error))  # type: ignore[misc]
            self._post(self._finished.set)
            return
        self._post(lambda: self._on_opened(store, None))
        try:
            self._write(store)
        finally:
            store.close()
            self._post(self._finished.set)

    def _write(self, store: Store) -> None:
        patience, looked = 0.0, time.monotonic() - TICK_S
        while True:
            group, marks, last = self._inbox.take(patience)
            self._commit(store, group, marks)
            if last:
                return
            patience = TICK_S
            # In between, so that appends wait for no more than one small piece of it.
            if time.monotonic() - looked >= TICK_S:
                if self._expire(store):
                    patience = 0.0
                else:
                    looked = time.monotonic()

    def _commit(self, store: Store, group: Sequence[Append], marks: dict[str, Mark]) -> None:
        try:
            store.commit(group, marks)
        except Exception as error:  # a defect: callers must not wait for ever, and other messages may be sound
            logger.exception("a commit failed")
            for append in group:
                append.sealed, append.error = None, FeedError(f"the journal failed: {type(error).__name__}: {error}")
        if group:
            self._post(lambda: self._deliver(group))

    def _expire(self, store: Store) -> bool:
        try:
            return store.expire(self._wall())
        except FeedError as error:
            logger.warning("cannot take away what is too old: %s", error)
            return False

    def _post(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            logger.debug("the event loop is gone, and with it whoever waited for the journal")
