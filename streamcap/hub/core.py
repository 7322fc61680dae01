"""The hub: publishers hand messages in, every subscriber gets a gapless conversation out.

A durable message is committed to the journal first, then folded into the hub's state and handed to every outbox, in one
order; it is encoded once for all of them. Each subscriber has its own bounded outbox (``outbox.py``), so one that
stalls costs bounded memory and the others nothing. What one subscriber is told, and when, is in ``subscription.py``.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from streamcap.errors import FeedError, UsageError, WireError
from streamcap.flow import Clock, SystemClock
from streamcap.hub.asked import SubscribeRefused, kinds_asked, places_asked
from streamcap.hub.outbox import OutboxLimits
from streamcap.hub.subscription import Channel, Exchange, Subscription
from streamcap.journal import Journal, Mark
from streamcap.metrics import Stages, StageTime
from streamcap.types import CaptionStatus, Instance
from streamcap.wire import (
    STREAM_ID,
    CaptionMessage,
    CloseCode,
    DurableMessage,
    Encoded,
    InstancesMessage,
    PublishableMessage,
    Scene,
    StatusMessage,
    StreamState,
    UnchangedMessage,
    decode,
    instance_view,
    is_durable,
    seal,
    wall_time,
)
from streamcap.wire.fold import FeedState

__all__ = ["ALL", "Hub", "HubCounters"]

logger = logging.getLogger(__name__)

ALL: Final = "*"
HEARTBEAT_S: Final = 15.0  # well under the 60 s after which common proxies drop a quiet connection
REBUILD_MESSAGES: Final = 2_000  # read back from a journal that was filled before: enough for the finals of a snapshot
INSTANCES_MAX: Final = 150  # of one message, which stays well below 64 KiB
SUBSCRIBERS_MAX: Final = 2_000  # each may hold an outbox of 1 MiB and a socket buffer of as much
CLOSE_S: Final = 5.0  # for commits under way when the hub is closed


@dataclass(slots=True)
class HubCounters:
    """What the hub has done so far."""

    durable: int = 0
    ephemeral: int = 0
    superseded: int = 0  # drafts that came after their final or after a newer revision; sent to nobody
    failed: int = 0  # durable messages that the journal could not commit, each try counted
    too_slow: int = 0  # subscriptions closed with 4408
    refused: int = 0  # subscriptions, because there were too many
    conflated: int = 0  # ephemeral messages that subscribers, gone by now, were spared
    closings: Counter[str] = field(default_factory=Counter)  # subscriptions by how they ended, ``left`` by themselves


class Hub:
    """Publish and subscribe for many streams. Everything runs in one event loop.

    Args:
        journal: where durable messages are committed; stays its owner's to close, after the hub.
        heartbeat_s: longest silence towards a subscriber.
        limits: how far a subscriber may fall behind.
        subscribers_max: subscriptions beyond this are refused with 1013.

    Attributes:
        trouble: why the journal could not commit the newest durable message; empty when it could.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        clock: Clock | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        limits: OutboxLimits | None = None,
        subscribers_max: int = SUBSCRIBERS_MAX,
    ) -> None:
        self._exchange = Exchange(journal, clock or SystemClock(), heartbeat_s, limits or OutboxLimits())
        self._subscribers_max = subscribers_max
        self._subscriptions: set[Subscription] = set()
        self._commits: set[asyncio.Task[DurableMessage]] = set()
        self._closed = False
        self._stages = Stages()
        self.counters = HubCounters()
        self.trouble = ""
        self.on_published: Callable[[PublishableMessage], None] | None = None  # told of each; must not block

    @property
    def clock(self) -> Clock:
        """The clock that stamps what the hub itself says."""
        return self._exchange.clock

    @property
    def streams(self) -> tuple[str, ...]:
        """Ids of the open streams, in the order of opening."""
        return self._exchange.open_streams()

    @property
    def journal(self) -> Journal:
        """Where durable messages are committed. To be read from."""
        return self._exchange.journal

    @property
    def heartbeat_s(self) -> float:
        """Longest silence towards a subscriber."""
        return self._exchange.heartbeat_s

    @property
    def commits(self) -> StageTime:
        """How long the journal took to commit."""
        return self._stages.times.get("commit") or StageTime()

    @property
    def subscribers(self) -> int:
        """Subscriptions that are open."""
        return len(self._subscriptions)

    @property
    def closed(self) -> bool:
        """True once ``close`` was called."""
        return self._closed

    def state(self, stream: str) -> FeedState:
        """What has been published on a stream, folded. To be read, not changed.

        Raises:
            UsageError: no such stream is open.
        """
        return self._channel(stream).state

    def has_ended(self, stream: str) -> bool:
        """True once the stream has said ``ended``: what is journaled is all there is, until it is started again.

        Raises:
            UsageError: no such stream is open.
        """
        return self._channel(stream).ended

    def watchers(self, stream: str) -> int:
        """Live subscriptions of a stream.

        Raises:
            UsageError: no such stream is open.
        """
        return len(self._channel(stream).subscribers)

    async def open_stream(self, stream: str) -> None:
        """Open a stream; nothing happens where it is open. Its state is read back from what the journal holds.

        Subscribers to all streams get its hello and snapshot. Cancelled, the stream stays closed.

        Raises:
            UsageError: the id is not 1 to 64 of ``A-Z a-z 0-9 . _ -``, beginning with a letter or digit.
        """
        if not re.fullmatch(STREAM_ID, stream):
            raise UsageError(
                f"{stream!r} cannot be the id of a stream",
                hint="use up to 64 letters, digits, '.', '_', '-', beginning with a letter or digit",
            )
        known = self._exchange.channels.get(stream)
        if known is not None:
            if known.closed:  # taken away, and somebody still listens to its end
                known.closed = False
                self._join_everything(stream)
            return
        bounds = await self._exchange.journal.bounds(stream)
        state = FeedState(stream, epoch=self._exchange.journal.epoch)
        state.seq = max(bounds.earliest - 1, bounds.newest - REBUILD_MESSAGES)
        for entry in await self._exchange.journal.read(stream, after=state.seq, limit=REBUILD_MESSAGES):
            state.apply(decode(entry.text))
        if stream not in self._exchange.channels:  # another call may have been quicker
            self._exchange.channels[stream] = Channel(state, bounds.earliest)
            self._join_everything(stream)

    def close_stream(self, stream: str) -> None:
        """Take a stream away: it is listed no more and cannot be subscribed to. What the journal holds of it stays.

        To be called once it has said ``ended``. Those who still take what waits for them may do so; feeds of all
        streams go on without it. Opened again, its numbers go on.

        Raises:
            UsageError: no such stream is open.
        """
        self._channel(stream).closed = True
        for subscription in self._exchange.everything:
            subscription.leave(stream)
        self._sweep()

    def _join_everything(self, stream: str) -> None:
        for subscription in self._exchange.everything:
            subscription.join(stream)

    def _sweep(self) -> None:
        """Let go of closed streams that no subscription speaks of any more."""
        for stream in [name for name, channel in self._exchange.channels.items() if channel.closed]:
            if not any(stream in subscription.streams for subscription in self._subscriptions):
                del self._exchange.channels[stream]

    def set_scene(self, stream: str, summary: str, instances: Iterable[Instance] = (), camera: str = "") -> None:
        """Say what the scene is now; later snapshots carry it.

        Args:
            camera: what the camera does, in words.

        Raises:
            UsageError: no such stream is open.
        """
        views = tuple(instance_view(each) for each in instances)
        self._channel(stream).scene = Scene(summary=summary, instances=views, camera=camera)

    def show_instances(self, stream: str, t: float, instances: Iterable[Instance]) -> None:
        """Tell those who ask for it where everything is at media time ``t``; made only where somebody does.

        Raises:
            UsageError: no such stream is open.
        """
        channel = self._channel(stream)
        wanting = [each for each in channel.subscribers if each.wants("instances")]
        if not wanting:
            return
        views = tuple(instance_view(each) for each, _ in zip(instances, range(INSTANCES_MAX), strict=False))
        message = InstancesMessage(stream=stream, at=wall_time(self.clock.wall()), t=t, instances=views)
        item = seal(message)
        self.counters.ephemeral += 1
        for subscription in wanting:
            subscription.offer(message, item)

    def mark(self, stream: str, mark: Mark) -> None:
        """Note in the journal how far a stream was watched; see ``Journal.mark``."""
        self._exchange.journal.mark(stream, mark)

    async def last_mark(self, stream: str) -> Mark | None:
        """How far a stream was watched, also by an earlier process; None where that is not known."""
        return await self._exchange.journal.last_mark(stream)

    async def publish(self, stream: str, message: PublishableMessage) -> PublishableMessage:
        """Publish a message; returns it with its number where it is durable.

        Messages of one stream go out in the order of the calls. ``ended`` is a stream's last word: it closes the
        subscriptions that have nothing else to wait for. A cancelled call still publishes a durable message, or has
        not begun to.

        Raises:
            UsageError: no such stream is open.
            ValueError: the message is of another stream, or a second final with one id: a final never changes.
            WireError: the message is too large or cannot be encoded; nothing is published.
            FeedError: the journal cannot commit; nothing is published.
        """
        channel = self._channel(stream)
        if message.stream != stream:
            raise ValueError(f"a message of {message.stream} published on {stream}")
        if isinstance(message, UnchangedMessage) or not is_durable(message):
            item = seal(message)
            async with channel.order:
                self.counters.ephemeral += 1
                self._fan_out(channel, message, item)
            return message
        await channel.order.acquire()
        # From here on the commit owns the turn: a publisher that is cancelled must not part commit and fan-out.
        commit = asyncio.create_task(self._commit(channel, message), name=f"commit {stream}")
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)
        try:
            return await asyncio.shield(commit)
        except asyncio.CancelledError:
            commit.add_done_callback(_log_failure)
            raise

    async def _commit(self, channel: Channel, message: DurableMessage) -> DurableMessage:
        try:
            _refuse_second_final(channel.state, message)
            with self._stages("commit"):
                ((committed, item),) = await self._append(channel.state.stream, message)
            self.counters.durable += 1
            self._fan_out(channel, committed, item)
            return committed
        finally:
            channel.order.release()

    async def _append(self, stream: str, message: DurableMessage) -> list[tuple[DurableMessage, Encoded]]:
        try:
            committed = await self._exchange.journal.append(stream, [message])
        except WireError:
            raise
        except FeedError as error:
            self.counters.failed += 1
            self.trouble = str(error)
            raise
        self.trouble = ""
        return committed

    def _fan_out(self, channel: Channel, message: PublishableMessage, item: Encoded) -> None:
        if not channel.state.apply(message):
            self.counters.superseded += 1
            return
        if isinstance(message, StatusMessage):
            channel.ended = message.state is StreamState.ENDED
        if self.on_published is not None:
            self.on_published(message)
        for subscription in channel.subscribers:
            subscription.offer(message, item)
            if channel.ended:
                subscription.end_if_all_ended()

    @asynccontextmanager
    async def subscribe(
        self,
        streams: str | Iterable[str] = ALL,
        *,
        interim: bool = True,
        kinds: Iterable[str] | None = None,
        after: int | Mapping[str, int] | None = None,
        epoch: str | None = None,
        visible: Callable[[str], bool] | None = None,
    ) -> AsyncIterator[Subscription]:
        """Subscribe for the length of the block.

        Args:
            streams: one id, several, or ``"*"`` for all, also those that are opened later.
            interim: False for durable messages only.
            kinds: which of ``KINDS`` and ``ASKED_KINDS`` to get; None for all of the first.
                Hello, snapshot and the like come always.
            after: resume after this number, by stream where there are several; others begin with a snapshot.
            epoch: the epoch that the numbers belong to; under another one, or none, a snapshot follows an ``error``.
            visible: which streams ``"*"`` stands for, now and later; None for all.

        Raises:
            SubscribeRefused: no such stream (4404), too many subscribers (1013), the hub is closed (1012).
            UsageError: an unknown kind, no stream at all, or one number for several streams.
        """
        names = None if streams == ALL else list(dict.fromkeys([streams] if isinstance(streams, str) else streams))
        places, wanted = places_asked(names, after), kinds_asked(kinds)
        self._admit(names)
        subscription = Subscription(
            self._exchange, names, interim=interim, kinds=wanted, after=places, epoch=epoch, visible=visible
        )
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            await subscription.detach()
            self._count(subscription)
            self._sweep()

    async def close(self) -> None:
        """Close all subscriptions with 1012 once they have taken what waits, and refuse new ones. Idempotent.

        Publishing goes on: what the streams still say while they stop is committed for those who come back, and sent to
        nobody. So the order of a shutdown is this, then the streams, then the server, then the journal. Waits for the
        commits under way, not for the subscribers; cancelled, it has closed them all.
        """
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close(CloseCode.RESTARTING, "the server is stopping")
        if self._commits:
            _, late = await asyncio.wait(self._commits, timeout=CLOSE_S)
            if late:
                logger.error("%d commits are still under way after %g s", len(late), CLOSE_S)

    def _count(self, subscription: Subscription) -> None:
        closing = subscription.closing
        self.counters.conflated += subscription.conflated
        self.counters.closings[closing.code.name.lower() if closing else "left"] += 1
        self.counters.too_slow += closing is not None and closing.code is CloseCode.TOO_SLOW

    def _admit(self, names: list[str] | None) -> None:
        if self._closed:
            raise SubscribeRefused("the server is stopping", code=CloseCode.RESTARTING)
        if len(self._subscriptions) >= self._subscribers_max:
            self.counters.refused += 1
            raise SubscribeRefused("too many subscribers", code=CloseCode.OVERLOADED, hint="try again later")
        for name in names or ():
            if name not in self._exchange.channels or self._exchange.channels[name].closed:
                raise SubscribeRefused(f"no such stream: {name}", code=CloseCode.NO_SUCH_STREAM)

    def _channel(self, stream: str) -> Channel:
        channel = self._exchange.channels.get(stream)
        if channel is None or channel.closed:
            raise UsageError(f"no such stream: {stream}")
        return channel


def _refuse_second_final(state: FeedState, message: DurableMessage) -> None:
    if isinstance(message, CaptionMessage) and message.status is CaptionStatus.FINAL and state.is_final(message.id):
        raise ValueError(f"caption {message.id} is final already")


def _log_failure(commit: asyncio.Task[DurableMessage]) -> None:
    if not commit.cancelled() and commit.exception() is not None:
        logger.error("a message was not committed, and its publisher is gone: %s", commit.exception())
