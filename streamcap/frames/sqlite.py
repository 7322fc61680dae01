"""Frames on disk: one SQLite file beside the journal, and one thread that reads and writes it.

The journal has a file of its own: captions are committed before anyone sees them, and must not wait for pictures. What
is lost here with a crash (the last second) is an illustration.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from streamcap.errors import FeedError
from streamcap.frames.store import StoredFrame

__all__ = ["FILE_NAME", "SqliteFrames"]

logger = logging.getLogger(__name__)

FILE_NAME: Final = "frames.sqlite3"
WAITING_MAX: Final = 256  # frames that wait for a slow disk, some 5 MB; what comes on top is left out and counted
TRIM_EVERY: Final = 64  # frames of a stream between two looks at what is too much
CLOSE_S: Final = 30.0  # a disk that takes longer than this for what waits is left to itself
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS frames (
    stream TEXT NOT NULL, t REAL NOT NULL, captured_at REAL NOT NULL, jpeg BLOB NOT NULL, PRIMARY KEY (stream, t)
)
"""
# The two neighbours of a time, by the primary key.
_NEAREST: Final = """
SELECT t, captured_at, jpeg FROM (
    SELECT * FROM (SELECT * FROM frames WHERE stream = :stream AND t <= :t ORDER BY t DESC LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT * FROM frames WHERE stream = :stream AND t > :t ORDER BY t LIMIT 1)
) ORDER BY abs(t - :t) LIMIT 1
"""
# Everything before the oldest frame that still fits, counted from the newest.
_TRIM: Final = """
DELETE FROM frames WHERE stream = :stream AND t IN (
    SELECT t FROM (
        SELECT t, sum(length(jpeg)) OVER (ORDER BY t DESC) AS total FROM frames WHERE stream = :stream
    ) WHERE total > :size
)
"""


class SqliteFrames:
    """Keeps frames in a file. See ``FrameStore``.

    Args:
        folder: made where it is missing.
        size: bytes of JPEG of one stream, at most.
        age_s: seconds that a frame is kept, by its time of capture.

    Raises:
        FeedError: the file cannot be used.
    """

    def __init__(self, folder: Path, *, size: int, age_s: float) -> None:
        self._path = folder / FILE_NAME
        self._size, self._age_s = size, age_s
        self._written: dict[str, int] = {}
        self._waiting = threading.Semaphore(WAITING_MAX)
        self._left_out = 0
        self._closed = False
        self._thread = ThreadPoolExecutor(1, "frames")
        try:
            self._db = self._thread.submit(self._open).result()
        except (sqlite3.Error, OSError) as error:
            self._thread.shutdown()
            raise FeedError(f"{self._path} cannot be used: {error}", hint="move it away to begin anew") from error

    def put(self, stream: str, frame: StoredFrame) -> None:
        """See ``FrameStore``. Where the disk cannot keep up, the frame is left out and the log says so."""
        if self._closed:
            return
        if not self._waiting.acquire(blocking=False):
            self._left_out += 1
            if self._left_out % WAITING_MAX == 1:
                logger.warning("%s: the disk is behind, %d frames were not kept", self._path, self._left_out)
            return
        with contextlib.suppress(RuntimeError):  # closed in between
            self._thread.submit(self._put, stream, frame)

    async def nearest(self, stream: str, t: float) -> StoredFrame | None:
        """See ``FrameStore``. Cancelled, it lets the reading finish in its thread."""
        if self._closed:
            raise FeedError("the frames are closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._nearest, stream, t)

    async def close(self) -> None:
        """See ``FrameStore``."""
        if self._closed:
            return
        self._closed = True
        ending = asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown(wait=False)
        try:
            await asyncio.wait_for(asyncio.shield(ending), CLOSE_S)
        except TimeoutError:
            logger.error("%s: the disk did not take what waits within %g s", self._path, CLOSE_S)  # noqa: TRY400

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)  # pictures of people: nobody but the owner
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(_SCHEMA)
        except BaseException:  # nobody else would close it
            db.close()
            raise
        return db

    def _put(self, stream: str, frame: StoredFrame) -> None:
        try:
            self._db.execute(
                "INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?)", (stream, frame.t, frame.captured_at, frame.jpeg)
            )
            written = self._written[stream] = self._written.get(stream, -1) + 1
            if written % TRIM_EVERY == 0:
                self._trim(stream)
        except sqlite3.Error as error:
            logger.warning("%s: a frame was not kept: %s", self._path, error)
        finally:
            self._waiting.release()

    def _trim(self, stream: str) -> None:
        self._db.execute(_TRIM, {"stream": stream, "size": self._size})
        self._db.execute("DELETE FROM frames WHERE stream = ? AND captured_at < ?", (stream, time.time() - self._age_s))
        self._db.execute("PRAGMA incremental_vacuum").fetchall()

    def _nearest(self, stream: str, t: float) -> StoredFrame | None:
        try:
            row = self._db.execute(_NEAREST, {"stream": stream, "t": t}).fetchone()
        except sqlite3.Error as error:
            raise FeedError(f"{self._path} cannot be read: {error}") from error
        return None if row is None else StoredFrame(*row)
