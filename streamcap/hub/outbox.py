"""What waits for one subscriber: bounded, durable messages in full, drafts in their newest revision only.

The policy of the edge from hub to subscriber:

* an ephemeral message has a slot (one per draft caption; per stream one for ``unchanged`` and one for ``instances``);
  a newer one takes the place of the older in the queue, so an old draft never delays anything and a busy draft never
  loses its turn;
* a durable message is never dropped. When too many wait, in number or in bytes, or the oldest has waited too long, the
  outbox is cut: what waits is let go at once and the subscriber is told ``4408``; it comes back and resumes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streamcap.hub.alarm import Alarm
from streamcap.wire import CloseCode, Encoded

__all__ = ["Closing", "Outbox", "OutboxClosed", "OutboxLimits", "Slot"]

# Slots of ephemeral messages. One or two drafts a stream are usual; past this the oldest is skipped, as the protocol
# allows, so that a publisher which never finishes its drafts costs no more.
SLOTS_MAX: Final = 256

Slot = tuple[str, str, str]  # stream, type of message, and id where it is a caption


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How far one subscriber may fall behind.

    Attributes:
        messages: most durable messages that wait; at three a second 512 are about three minutes of a busy street.
        size: most bytes of durable messages that wait; the texts are shared, so this bounds what one subscriber alone
            can keep alive.
        lag_s: longest that the oldest message may wait; past it a live feed is no longer live, and a resume, which
            reads the journal at the subscriber's own pace, is cheaper for both.
    """

    messages: int = 512
    size: int = 1024 * 1024
    lag_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Closing:
    """How a subscription ends: a close code of the protocol and a line for people."""

    code: CloseCode
    reason: str


class OutboxClosed(Exception):
    """The outbox is closed and nothing waits any more."""


@dataclass(slots=True)
class _Waiting:
    item: Encoded
    since: float
    counted: bool


class Outbox:
    """The queue between the hub, which never waits for it, and one subscriber.

    Args:
        limits: see ``OutboxLimits``.
        monotonic: seconds that never go back.
    """

    def __init__(self, limits: OutboxLimits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._waiting: OrderedDict[Slot | int, _Waiting] = OrderedDict()
        self._slots: OrderedDict[Slot, None] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Future[None] | None = None  # of the one call of ``get`` that may wait
        self._cut = asyncio.Event()
        self._quiet = False
        self._alarm = Alarm(self._say_quiet)
        self._tickets = 0
        self.messages = self.size = self.conflated = 0
        self.closing: Closing | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Encoded) -> None:
        """Queue a durable message; cuts the outbox where that is one too many."""
        if self.closing is not None or self._lagging():
            return
        if self.messages >= self._limits.messages or self.size + item.size > self._limits.size:
            self.cut(f"{self.messages} messages ({self.size} bytes) wait")
            return
        self.messages += 1
        self.size += item.size
        self._queue(item, counted=True)

    def put_control(self, item: Encoded) -> None:
        """Queue a hello, a snapshot and the like: once per stream and connection, so outside the limits."""
        if self.closing is None:
            self._queue(item, counted=False)

    def put_newest(self, item: Encoded, slot: Slot) -> None:
        """Queue an ephemeral message, in the place of the one that waits in the same slot."""
        if self.closing is not None or self._lagging():
            return
        waiting = self._waiting.get(slot)
        if waiting is not None:
            waiting.item = item
            self.conflated += 1
            return
        if len(self._slots) >= SLOTS_MAX:
            oldest, _ = self._slots.popitem(last=False)
            del self._waiting[oldest]
            self.conflated += 1
        self._slots[slot] = None
        self._waiting[slot] = _Waiting(item, self._monotonic(), counted=False)
        self._wake()

    def drop(self, slot: Slot) -> None:
        """Let go of an ephemeral message that is superseded."""
        if slot in self._slots:
            del self._slots[slot], self._waiting[slot]
            self.conflated += 1

    def drop_stream(self, stream: str) -> None:
        """Let go of all ephemeral messages of a stream."""
        for slot in [slot for slot in self._slots if slot[0] == stream]:
            self.drop(slot)

    def close(self, closing: Closing) -> None:
        """Take nothing more; what waits is still handed out. The first close wins."""
        if self.closing is None:
            self.closing = closing
            self._wake()

    def cut(self, why: str) -> None:
        """Close as too slow and let go of what waits, also while a close is being drained."""
        if not self._cut.is_set():
            self.closing = Closing(CloseCode.TOO_SLOW, f"too slow, resume with after: {why}")
            self._waiting.clear()
            self._slots.clear()
            self.messages = self.size = 0
            self._cut.set()
            self._wake()

    async def wait_cut(self) -> None:
        """Wait until the outbox is cut; the owner ends this wait by cancelling it."""
        await self._cut.wait()

    async def get(self, patience: float) -> Encoded | None:
        """The next message, or None after ``patience`` seconds without one. A cancelled call loses nothing.

        Raises:
            OutboxClosed: closed, and nothing waits.
        """
        if not self._waiting and self.closing is None:
            self._quiet = False
            if self._loop is None:  # asked once: it is a call of the system each time
                self._loop = asyncio.get_running_loop()
            self._alarm.set(patience)
            try:
                # Again where what came was superseded before we had our turn.
                while not self._waiting and self.closing is None:
                    if self._quiet:
                        return None
                    self._waiter = self._loop.create_future()
                    await self._waiter
            except asyncio.CancelledError:
                self._alarm.stop()
                raise
            finally:
                self._waiter = None
            self._alarm.lift()
        if not self._waiting:
            raise OutboxClosed
        key, waiting = self._waiting.popitem(last=False)
        if not isinstance(key, int):
            del self._slots[key]
        if waiting.counted:
            self.messages -= 1
            self.size -= waiting.item.size
        return waiting.item

    def release(self) -> None:
        """Let go of the timer; nobody takes anything any more."""
        self._alarm.stop()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _say_quiet(self) -> None:
        self._quiet = True
        self._wake()

    def _queue(self, item: Encoded, *, counted: bool) -> None:
        self._tickets += 1
        self._waiting[self._tickets] = _Waiting(item, self._monotonic(), counted)
        self._wake()

    def _lagging(self) -> bool:
        if self._waiting:
            oldest = next(iter(self._waiting.values()))
            if self._monotonic() - oldest.since > self._limits.lag_s:
                self.cut(f"the oldest message has waited {self._limits.lag_s:g} s")
        return self.closing is not None
