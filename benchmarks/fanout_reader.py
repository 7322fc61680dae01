"""The subscribers of ``fanout.py``: protocols that find where a message begins and when it was due, and no more."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from benchmarks.common import CannotRun

__all__ = ["ACK_EVERY", "Reader", "Tally"]

ACK_EVERY = 16  # messages of the throughput
_CAPTION = b'{"type":"caption"'


class Tally:
    """What all clients of a run have got.

    Attributes:
        since: messages that were due before are not counted (monotonic seconds).
        late: seconds from due to got, of clients that are not spare.
        got: captions, in all.
        passed: how many clients have got so many times ``ACK_EVERY`` captions.
        lost: connections that the server ended.
    """

    def __init__(self) -> None:
        self.since = float("inf")
        self.late: list[float] = []
        self.got = self.lost = 0
        self.passed: dict[int, int] = {}
        self.on_passed: asyncio.Event = asyncio.Event()


class Reader(asyncio.Protocol):
    """A subscriber that reads unmasked, unfragmented frames, or one that stops reading after the handshake.

    Args:
        spare: it reads, but its times are not counted.
    """

    def __init__(self, tally: Tally, request: bytes, *, stalls: bool = False, spare: bool = False) -> None:
        self._tally, self._request, self._stalls, self._spare = tally, request, stalls, spare
        self._rest = b""
        self._open = self._leaving = False
        self._got = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the feed."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count what is whole, keep the rest."""
        now = time.monotonic()
        data = self._rest + data if self._rest else data
        at = 0
        if not self._open:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self._rest = data
                return
            self._open = True
            if data.startswith(b"HTTP/1.1 101"):
                self.ready.set_result(None)
            else:
                self.ready.set_exception(CannotRun(f"the server refused a client: {data[:60]!r}"))
            if self._stalls:
                self.transport.pause_reading()
        while (end := self._frame(data, at, now)) > at:
            at = end
        self._rest = data[at:]

    def _frame(self, data: bytes, at: int, now: float) -> int:
        """Take the frame at this place; returns where the next begins, or the same place where it is not whole."""
        if len(data) < at + 2:
            return at
        size, start = data[at + 1], at + 2
        if size >= 126:
            start += 2 if size == 126 else 8
            if len(data) < start:
                return at
            size = int.from_bytes(data[at + 2 : start])
        end = start + size
        if len(data) < end:
            return at
        opcode = data[at] & 0xF
        if opcode == 1 and data.startswith(_CAPTION, start):
            self._caption(data, start, end, now)
        elif opcode == 9:  # a mask of zeros leaves the answer as it is
            self.transport.write(bytes((0x8A, 0x80 | size, 0, 0, 0, 0)) + data[start:end])
        return end

    def _caption(self, data: bytes, start: int, end: int, now: float) -> None:
        tally = self._tally
        mark = data.find(b"@", start, end) + 1
        due = float(data[mark : mark + 17])
        if due < tally.since:
            return
        tally.got += 1
        self._got += 1
        if not self._spare:
            tally.late.append(now - due)
        if self._got % ACK_EVERY == 0:
            tally.passed[self._got] = tally.passed.get(self._got, 0) + 1
            tally.on_passed.set()

    def connection_lost(self, error: Exception | None) -> None:
        """The server ended it, or we did."""
        if not self.ready.done():
            self.ready.set_exception(CannotRun(f"a client was not let in: {error}"))
        elif not self._leaving and not self._stalls:
            self._tally.lost += 1

    def leave(self) -> None:
        """End it from this side."""
        self._leaving = True
        self.transport.abort()
