"""One subscriber's conversation with the hub, from hello to close.

The seam between replay and live has no hole and no double: a replay reads the journal, at the subscriber's own pace,
until it stands at the newest published number, and in that same instant, with nothing awaited in between, the
subscription joins the live fan-out. A snapshot is taken in that instant too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from streamcap import __version__
from streamcap.flow import Clock
from streamcap.hub.outbox import Closing, Outbox, OutboxClosed, OutboxLimits
from streamcap.journal import Journal
from streamcap.wire import (
    CaptionMessage,
    CaughtUpMessage,
    CloseCode,
    Encoded,
    ErrorMessage,
    HeartbeatMessage,
    HelloMessage,
    InstancesMessage,
    Message,
    PublishableMessage,
    Scene,
    SnapshotMessage,
    StatusMessage,
    is_durable,
    seal,
    wall_time,
)
from streamcap.wire.fold import DRAFT_ENDS, FeedState

__all__ = ["Channel", "Exchange", "Subscription"]

REPLAY_CHUNK: Final = 256  # messages read from the journal at a time, so a replay holds a few hundred kilobytes


class Channel:
    """One open stream, as its subscribers share it.

    Attributes:
        state: what has been published, folded; the truth that every client's copy must equal.
        earliest: oldest number that the journal held when it was last asked.
        order: held from the commit of a message to its fan-out, so that the two have one order.
        ended: the stream has said ``ended`` in this process. One that a journal holds from an earlier process does not
            count: the stream has been opened again since.
        closed: the stream was taken away; kept for those who still take what waits for them.
    """

    def __init__(self, state: FeedState, earliest: int) -> None:
        self.state = state
        self.earliest = earliest
        self.scene = Scene()
        self.order = asyncio.Lock()
        self.subscribers: set[Subscription] = set()
        self.ended = False
        self.closed = False


@dataclass(slots=True)
class Exchange:
    """What the hub and its subscriptions share.

    Attributes:
        channels: the open streams by id, in the order of opening.
        everything: live subscriptions that also take part in streams which are opened later.
    """

    journal: Journal
    clock: Clock
    heartbeat_s: float
    limits: OutboxLimits
    channels: dict[str, Channel] = field(default_factory=dict)
    everything: set[Subscription] = field(default_factory=set)

    def open_streams(self) -> tuple[str, ...]:
        """Ids of the open streams, in the order of opening."""
        return tuple(stream for stream, channel in self.channels.items() if not channel.closed)

    def hello(self, stream: str) -> HelloMessage:
        """The first message of a stream on a connection."""
        channel = self.channels[stream]
        return HelloMessage(
            stream=stream,
            at=wall_time(self.clock.wall()),
            epoch=self.journal.epoch,
            seq=channel.state.seq,
            earliest=min(channel.earliest, channel.state.seq + 1),
            heartbeat_s=self.heartbeat_s,
            server=f"streamcap/{__version__}",
        )


class Subscription:
    """One subscriber's conversation: an async iterator over encoded messages, in the order of the protocol.

    Iterate once. A cancelled iteration ends the subscription. When iteration ends, ``closing`` says why.
    """

    def __init__(
        self,
        exchange: Exchange,
        streams: Sequence[str] | None,
        *,
        interim: bool,
        kinds: frozenset[str],
        after: Mapping[str, int],
        epoch: str | None,
        visible: Callable[[str], bool] | None = None,
    ) -> None:
        self._exchange = exchange
        self._all = streams is None
        self._visible = visible
        self._streams = list(streams if streams is not None else filter(visible, exchange.open_streams()))
        self._interim, self._kinds = interim, kinds
        self._after, self._epoch = after, epoch
        self._outbox = Outbox(exchange.limits, exchange.clock.monotonic)
        self._items = self._converse()

    def __aiter__(self) -> AsyncIterator[Encoded]:
        return self._items

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that it speaks of now."""
        return tuple(self._streams)

    @property
    def closing(self) -> Closing | None:
        """Why the subscription ends or has ended; None while it is open."""
        return self._outbox.closing

    @property
    def waiting(self) -> int:
        """Messages in the outbox."""
        return len(self._outbox)

    @property
    def conflated(self) -> int:
        """Ephemeral messages that this subscriber was spared."""
        return self._outbox.conflated

    async def wait_cut(self) -> None:
        """Wait until the subscription is closed for being too slow. For a sender that is stuck in a send."""
        await self._outbox.wait_cut()

    def cut(self, why: str) -> None:
        """End the subscription at once as too slow; what waits is let go. For a sender that is stuck in a send."""
        self._outbox.cut(why)

    def close(self, code: CloseCode, reason: str) -> None:
        """End the subscription once what waits has been taken."""
        self._outbox.close(Closing(code, reason))

    def wants(self, kind: str) -> bool:
        """True where ephemeral messages of a kind are to be had."""
        return self._interim and kind in self._kinds

    def offer(self, message: PublishableMessage | InstancesMessage, item: Encoded) -> None:
        """Hand a published message over; never waits. For the hub."""
        stream = message.stream
        if isinstance(message, StatusMessage) and message.state in DRAFT_ENDS:
            self._outbox.drop_stream(stream)
        slot = (stream, message.type, message.id if isinstance(message, CaptionMessage) else "")
        if is_durable(message):
            if isinstance(message, CaptionMessage):
                self._outbox.drop(slot)  # the draft that it supersedes
            if message.type in self._kinds:
                self._outbox.put(item)
        elif self._interim and message.type in self._kinds:
            self._outbox.put_newest(item, slot)

    def join(self, stream: str) -> None:
        """Take part in a stream that was opened later, if this subscriber may see it. For the hub."""
        if self._visible is not None and not self._visible(stream):
            return
        self._streams.append(stream)
        self._control(self._exchange.hello(stream))
        self._begin_live(stream, replayed=False, resync=False)

    def leave(self, stream: str) -> None:
        """Take no further part in a stream that was taken away; what waits still goes out. For the hub."""
        if stream in self._streams:
            self._streams.remove(stream)
            self._exchange.channels[stream].subscribers.discard(self)

    async def detach(self) -> None:
        """Take no further part. For the hub."""
        self._exchange.everything.discard(self)
        for stream in self._streams:
            self._exchange.channels[stream].subscribers.discard(self)
        await self._items.aclose()
        self._outbox.release()

    def end_if_all_ended(self) -> None:
        """Close with 1000 where every stream of the subscription has ended. For the hub."""
        if not self._all and all(self._exchange.channels[stream].ended for stream in self._streams):
            self.close(CloseCode.ENDED, "the stream ended")

    async def _converse(self) -> AsyncGenerator[Encoded, None]:
        cursors: dict[str, int] = {}
        resync: set[str] = set()
        for stream in tuple(self._streams):
            bounds = await self._exchange.journal.bounds(stream)
            self._exchange.channels[stream].earliest = bounds.earliest
            yield seal(self._exchange.hello(stream))
            self._choose(stream, cursors, resync)
        while behind := [stream for stream, at in cursors.items() if at < self._exchange.channels[stream].state.seq]:
            for stream in behind:
                async with aclosing(self._replay(stream, cursors)) as replay:
                    async for item in replay:
                        yield item
                if stream not in cursors:
                    resync.add(stream)
        # Nothing is awaited from the last look above to the end of _go_live: nothing can be published in between.
        self._go_live(cursors, resync)
        async with aclosing(self._live()) as live:
            async for item in live:
                yield item

    def _choose(self, stream: str, cursors: dict[str, int], resync: set[str]) -> None:
        after = self._after.get(stream)
        if after is None:
            return
        channel = self._exchange.channels[stream]
        if self._epoch == self._exchange.journal.epoch and channel.earliest - 1 <= after <= channel.state.seq:
            cursors[stream] = after
        else:
            resync.add(stream)

    async def _replay(self, stream: str, cursors: dict[str, int]) -> AsyncGenerator[Encoded, None]:
        entries = await self._exchange.journal.read(stream, after=cursors[stream], limit=REPLAY_CHUNK)
        if not entries or entries[0].seq != cursors[stream] + 1:
            del cursors[stream]  # retention has overtaken the replay
            return
        for entry in entries:
            if entry.seq is None or entry.seq > self._exchange.channels[stream].state.seq:
                return  # committed, but not yet published: it comes live
            cursors[stream] = entry.seq
            if entry.type in self._kinds:
                yield entry

    def _go_live(self, cursors: Mapping[str, int], resync: Collection[str]) -> None:
        for stream in self._streams:
            self._begin_live(stream, replayed=stream in cursors, resync=stream in resync)
        if self._all:
            for stream in self._exchange.open_streams():
                if stream not in self._streams:
                    self.join(stream)
            for stream in [name for name in self._streams if self._exchange.channels[name].closed]:
                self.leave(stream)  # taken away during the replay
            self._exchange.everything.add(self)
        self.end_if_all_ended()

    def _begin_live(self, stream: str, *, replayed: bool, resync: bool) -> None:
        channel = self._exchange.channels[stream]
        at = wall_time(self._exchange.clock.wall())
        drafts = tuple(channel.state.open.values()) if self._interim and "caption" in self._kinds else ()
        if replayed:
            self._control(CaughtUpMessage(stream=stream, at=at, seq=channel.state.seq))
            for draft in drafts:
                self._outbox.put_newest(seal(draft), (stream, draft.type, draft.id))
        else:
            if resync:
                why = "that place cannot be replayed; a snapshot follows"
                self._control(ErrorMessage(stream=stream, at=at, code="resync", message=why))
            self._control(
                SnapshotMessage(
                    stream=stream,
                    at=at,
                    seq=channel.state.seq,
                    status=channel.state.status,
                    scene=channel.scene,
                    recent=channel.state.recent if "caption" in self._kinds else (),
                    open=drafts,
                )
            )
        channel.subscribers.add(self)

    async def _live(self) -> AsyncGenerator[Encoded, None]:
        while True:
            try:
                item = await self._outbox.get(self._exchange.heartbeat_s)
            except OutboxClosed:
                return
            if item is not None:
                yield item
                continue
            # All that was published has been taken, so the newest number is also what this subscriber stands at.
            at = wall_time(self._exchange.clock.wall())
            newest = [(stream, self._exchange.channels[stream].state.seq) for stream in self._streams]
            for stream, seq in newest:
                yield seal(HeartbeatMessage(stream=stream, at=at, seq=seq))

    def _control(self, message: Message) -> None:
        self._outbox.put_control(seal(message))
