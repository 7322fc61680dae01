"""The hub in process: conversation, conflation, limits, resume, publishing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from streamcap.errors import FeedError, UsageError, WireError
from streamcap.hub import OutboxLimits, SubscribeRefused, Subscription
from streamcap.hub.outbox import SLOTS_MAX
from streamcap.journal import MemoryJournal
from streamcap.types import Instance
from streamcap.wire import (
    MESSAGE_MAX_BYTES,
    CaptionMessage,
    CloseCode,
    Encoded,
    HeartbeatMessage,
    HelloMessage,
    InstancesMessage,
    Message,
    NumberedMessage,
    SnapshotMessage,
    StatusMessage,
    StreamState,
    decode,
    gap_message,
    is_durable,
    numbered,
    seal,
    unchanged_message,
)
from tests.feeding import SlowJournal, caption, event, final, opened, status
from tests.patience import PATIENCE_S
from tests.virtual_time import VirtualClock, virtual_time


async def take(subscription: Subscription, count: int) -> list[Message]:
    """The next messages; fails where they do not come."""
    got: list[Message] = []
    async with asyncio.timeout(PATIENCE_S):
        async for item in subscription:
            got.append(decode(item.text))
            if len(got) == count:
                return got
    raise AssertionError(f"closed with {subscription.closing} after {got}")


async def rest(subscription: Subscription) -> list[Message]:
    """All messages until the subscription is closed."""
    async with asyncio.timeout(PATIENCE_S):
        return [decode(item.text) async for item in subscription]


def types(messages: Sequence[Message]) -> list[str]:
    return [message.type for message in messages]


def code(subscription: Subscription) -> CloseCode | None:
    return subscription.closing.code if subscription.closing else None


def seqs(messages: Sequence[Message]) -> list[int | None]:
    return [message.seq for message in messages if isinstance(message, NumberedMessage) and is_durable(message)]


# The conversation


async def test_hello_snapshot_live() -> None:
    hub = await opened(heartbeat_s=7.0)
    await hub.publish("cam", status())
    await hub.publish("cam", caption("c1", 3))
    await hub.publish("cam", final("c0"))
    man = Instance(1, "person", 0.9, (0, 0, 1, 1), (0, 0), 0, 1)
    hub.set_scene("cam", "A yard with a man.", [man], "still")
    async with hub.subscribe("cam") as subscription:
        hello, snapshot = await take(subscription, 2)
        assert isinstance(hello, HelloMessage) and isinstance(snapshot, SnapshotMessage)
        assert (hello.seq, hello.earliest, hello.heartbeat_s, hello.protocol) == (2, 1, 7.0, 1)
        assert (snapshot.seq, snapshot.status and snapshot.status.state) == (2, StreamState.LIVE)
        assert [c.id for c in snapshot.recent] == ["c0"] and [c.rev for c in snapshot.open] == [3]
        assert (snapshot.scene.summary, snapshot.scene.camera) == ("A yard with a man.", "still")
        assert [each.label for each in snapshot.scene.instances] == ["person"]
        await hub.publish("cam", event(1))
        await hub.publish("cam", unchanged_message("cam", since=1, t=2, at=1000.0))
        await hub.publish("cam", gap_message("cam", start=1, end=2, at=1000.0))
        live = await take(subscription, 3)
        assert types(live) == ["event", "unchanged", "gap"] and seqs(live) == [3, 4]


async def test_a_published_message_comes_back_with_its_number() -> None:
    hub = await opened()
    committed = await hub.publish("cam", status())
    assert isinstance(committed, StatusMessage) and (committed.seq, committed.prev) == (1, 0)
    drafted = caption()
    assert await hub.publish("cam", drafted) is drafted


async def test_a_message_is_encoded_once_for_all() -> None:
    hub = await opened()
    async with hub.subscribe("cam") as one, hub.subscribe("*") as two, hub.subscribe(["cam"]) as three:
        for subscription in (one, two, three):
            await take(subscription, 2)
        await hub.publish("cam", status())
        got: list[Encoded] = [await anext(aiter(subscription)) for subscription in (one, two, three)]
        assert got[0] is got[1] is got[2]


@virtual_time
async def test_a_heartbeat_breaks_every_silence() -> None:
    hub = await opened("cam", "yard", clock=VirtualClock())
    await hub.publish("yard", status(stream="yard"))
    async with hub.subscribe("*") as subscription:
        items = aiter(subscription)
        for _ in range(4):
            await anext(items)
        begun = asyncio.get_running_loop().time()
        beats = [decode((await anext(items)).text) for _ in range(4)]
        assert [(b.stream, b.seq) for b in beats if isinstance(b, HeartbeatMessage)] == [("cam", 0), ("yard", 1)] * 2
        assert asyncio.get_running_loop().time() - begun == pytest.approx(30.0)


async def test_a_draft_that_is_superseded_before_its_turn_does_not_end_the_subscription() -> None:
    hub = await opened()
    async with hub.subscribe("cam", kinds=["caption"]) as subscription:
        await take(subscription, 2)
        items = aiter(subscription)
        waits = asyncio.create_task(take(subscription, 1))
        await asyncio.sleep(0)
        subscription.offer(caption(), seal(caption()))
        subscription.offer(status(StreamState.ENDED), seal(numbered(status(StreamState.ENDED), 1)))
        await asyncio.sleep(0)
        await hub.publish("cam", final())
        assert types(await waits) == ["caption"]
        assert items is aiter(subscription)


async def test_durable_only_and_chosen_kinds() -> None:
    hub = await opened()
    await hub.publish("cam", caption("c0"))
    async with hub.subscribe("cam", interim=False) as durable, hub.subscribe("cam", kinds=["status"]) as states:
        _, snapshot = await take(durable, 2)
        assert isinstance(snapshot, SnapshotMessage) and snapshot.open == ()
        await take(states, 2)
        for message in (caption("c1"), final("c1"), event(1), status(StreamState.STALLED)):
            await hub.publish("cam", message)
        await hub.publish("cam", unchanged_message("cam", since=1, t=2, at=1000.0))
        await hub.publish("cam", status(StreamState.ENDED))
        assert types(await rest(durable)) == ["caption", "event", "status", "status"]
        assert types(await rest(states)) == ["status", "status"]


async def test_several_streams_and_one_that_comes_later() -> None:
    hub = await opened("cam")
    async with hub.subscribe("*") as everything, hub.subscribe(["cam"]) as one:
        assert types(await take(everything, 2)) == types(await take(one, 2)) == ["hello", "snapshot"]
        await hub.open_stream("yard")
        await hub.publish("yard", status(stream="yard"))
        await hub.publish("cam", status())
        got = await take(everything, 4)
        assert [(m.type, m.stream) for m in got] == [
            *(("hello", "yard"), ("snapshot", "yard"), ("status", "yard"), ("status", "cam"))
        ]
        assert [m.stream for m in await take(one, 1)] == ["cam"]


async def test_the_end_of_the_last_stream_ends_the_subscription() -> None:
    hub = await opened("cam", "yard")
    async with hub.subscribe(["cam", "yard"]) as both, hub.subscribe("*") as everything:
        await take(both, 4)
        await take(everything, 4)
        await hub.publish("cam", status(StreamState.ENDED))
        assert types(await take(both, 1)) == ["status"]
        assert code(both) is None
        await hub.publish("yard", status(StreamState.ENDED, "yard"))
        assert types(await rest(both)) == ["status"]
        assert code(both) is CloseCode.ENDED
        assert len(await take(everything, 2)) == 2
        assert code(everything) is None
    async with hub.subscribe("cam") as late:
        assert types(await rest(late)) == ["hello", "snapshot"]
        assert code(late) is CloseCode.ENDED


# Conflation and limits


async def test_a_subscriber_that_does_not_read_is_spared_old_drafts() -> None:
    hub = await opened()
    async with hub.subscribe("cam") as subscription:
        await take(subscription, 2)
        for rev in range(100):
            await hub.publish("cam", caption("c1", rev))
            await hub.publish("cam", caption("c2", rev))
            await hub.publish("cam", unchanged_message("cam", since=0, t=rev, at=1000.0))
        await hub.publish("cam", final("c1"))
        await hub.publish("cam", caption("c3"))
        assert subscription.waiting == 4
        got = await take(subscription, 4)
        assert types(got) == ["caption", "unchanged", "caption", "caption"]
        assert [(c.id, c.rev) for c in got if isinstance(c, CaptionMessage)] == [("c2", 99), ("c1", 9), ("c3", 0)]
        assert subscription.conflated == 2 * 99 + 99 + 1


async def test_drafts_that_wait_do_not_outlive_their_run() -> None:
    hub = await opened()
    async with hub.subscribe("cam") as subscription:
        await take(subscription, 2)
        await hub.publish("cam", caption("c1"))
        await hub.publish("cam", status(StreamState.CONNECTING))
        await hub.publish("cam", caption("d1"))
        got = await take(subscription, 2)
        assert types(got) == ["status", "caption"]
        assert list(hub.state("cam").open) == ["d1"]


async def test_a_late_draft_is_sent_to_nobody() -> None:
    hub = await opened()
    async with hub.subscribe("cam") as subscription:
        await take(subscription, 2)
        await hub.publish("cam", final("c1"))
        await hub.publish("cam", caption("c1", 10))
        await hub.publish("cam", caption("c2", 5))
        await hub.publish("cam", caption("c2", 4))
        got = await take(subscription, 2)
        assert [(c.id, c.rev) for c in got if isinstance(c, CaptionMessage)] == [("c1", 9), ("c2", 5)]
        assert subscription.waiting == 0 and hub.counters.superseded == 2


@pytest.mark.parametrize("limits", [OutboxLimits(messages=10), OutboxLimits(size=1_800)], ids=["number", "bytes"])
async def test_one_that_stalls_is_cut_and_costs_the_others_nothing(limits: OutboxLimits) -> None:
    hub = await opened(limits=limits)
    async with hub.subscribe("cam") as stalled, hub.subscribe("cam") as reader:
        await take(stalled, 2)
        await take(reader, 2)
        most = 0
        for n in range(1, 51):
            await hub.publish("cam", event(n))
            assert seqs(await take(reader, 1)) == [n]
            most = max(most, stalled.waiting)
        assert 5 < most <= 10
        await asyncio.wait_for(stalled.wait_cut(), PATIENCE_S)
        assert stalled.waiting == 0  # let go of at once
        assert code(stalled) is CloseCode.TOO_SLOW
        assert await rest(stalled) == []
    assert hub.counters.too_slow == 1 and hub.subscribers == 0


@virtual_time
async def test_one_that_lags_is_cut_before_its_outbox_is_full() -> None:
    hub = await opened(clock=VirtualClock(), limits=OutboxLimits(lag_s=20))
    async with hub.subscribe("cam") as stalled:
        await take(stalled, 2)
        await hub.publish("cam", event(1))
        await asyncio.sleep(19)
        await hub.publish("cam", caption("c1"))
        assert code(stalled) is None
        await asyncio.sleep(2)
        await hub.publish("cam", caption("c1", 1))
        assert code(stalled) is CloseCode.TOO_SLOW


async def test_drafts_without_end_are_bounded() -> None:
    hub = await opened()
    async with hub.subscribe("cam") as subscription:
        await take(subscription, 2)
        for n in range(SLOTS_MAX + 50):
            await hub.publish("cam", caption(f"c{n}"))
        assert subscription.waiting == SLOTS_MAX
        assert [m.id for m in await take(subscription, 1) if isinstance(m, CaptionMessage)] == ["c50"]


async def test_subscribers_are_bounded() -> None:
    hub = await opened(subscribers_max=1)
    async with hub.subscribe("cam"):
        with pytest.raises(SubscribeRefused) as refusal:
            async with hub.subscribe("cam"):
                pass
        assert refusal.value.code is CloseCode.OVERLOADED
    assert hub.counters.refused == 1
    async with hub.subscribe("*"):
        assert hub.subscribers == 1
    await hub.open_stream("yard")  # joined by nobody that has left
    assert hub.subscribers == 0 and not hub.state("yard").open


# Resume


async def test_resume_replays_what_was_missed_and_no_more() -> None:
    hub = await opened()
    for n in range(1, 1001):
        await hub.publish("cam", event(n))
    await hub.publish("cam", caption("c1", 4))
    async with hub.subscribe("cam", after=400, epoch=hub.state("cam").epoch) as subscription:
        got = await take(subscription, 603)
        assert types(got) == ["hello", *["event"] * 600, "caught_up", "caption"]
        assert seqs(got) == list(range(401, 1001))
    async with hub.subscribe("cam", after=1000, epoch=hub.state("cam").epoch, interim=False) as subscription:
        assert types(await take(subscription, 2)) == ["hello", "caught_up"]


async def test_resume_of_several_streams_each_from_its_place() -> None:
    hub = await opened("cam", "yard", "gate")
    for stream in hub.streams:
        for n in range(5):
            await hub.publish(stream, event(n, stream))
    places = {"cam": 3, "yard": 5, "gone": 7}
    async with hub.subscribe("*", after=places, epoch=hub.state("cam").epoch) as subscription:
        got = await take(subscription, 8)
        assert [m.type for m in got if m.stream == "cam"] == ["hello", "event", "event", "caught_up"]
        assert [m.type for m in got if m.stream == "yard"] == ["hello", "caught_up"]
        assert [m.type for m in got if m.stream == "gate"] == ["hello", "snapshot"]


@pytest.mark.parametrize(
    ("after", "epoch"), [(5, "another"), (5, None), (2, ""), (11, "")], ids=["epoch", "none", "forgotten", "future"]
)
async def test_a_place_that_cannot_be_replayed_gives_a_snapshot(after: int, epoch: str | None) -> None:
    hub = await opened(journal=MemoryJournal(messages=7))
    for n in range(10):
        await hub.publish("cam", event(n))
    async with hub.subscribe("cam", after=after, epoch=hub.state("cam").epoch if epoch == "" else epoch) as late:
        hello, error, snapshot = await take(late, 3)
        assert isinstance(hello, HelloMessage) and (hello.seq, hello.earliest) == (10, 4)
        assert types([error, snapshot]) == ["error", "snapshot"]
        await hub.publish("cam", event(11))
        assert seqs(await take(late, 1)) == [11]


async def test_a_replay_that_retention_overtakes_goes_on_from_a_snapshot() -> None:
    hub = await opened(journal=MemoryJournal(messages=300))
    for n in range(300):
        await hub.publish("cam", event(n))
    async with hub.subscribe("cam", after=0, epoch=hub.state("cam").epoch) as slow:
        await take(slow, 10)
        for n in range(300, 900):
            await hub.publish("cam", event(n))
        got = await take(slow, 249)
        assert seqs(got[:247]) == list(range(10, 257))  # what had been read before
        assert types(got[247:]) == ["error", "snapshot"]
        await hub.publish("cam", event(900))
        assert seqs(await take(slow, 1)) == [901]


async def test_a_hub_on_a_filled_journal_knows_what_was_published() -> None:
    journal = MemoryJournal()
    before = await opened(journal=journal)
    for n in range(30):
        await before.publish("cam", final(f"c{n}"))
    await before.publish("cam", status(StreamState.ENDED))
    await before.close()
    after = await opened(journal=journal)
    assert after.state("cam").summary() == before.state("cam").summary()
    async with after.subscribe("cam", after=29, epoch=journal.epoch) as subscription:
        # ``ended`` was said in the life before: the stream has been opened again.
        assert types(await take(subscription, 4)) == ["hello", "caption", "status", "caught_up"]
        await after.publish("cam", status(StreamState.CONNECTING))
        assert seqs(await take(subscription, 1)) == [32]


# Publishing


async def test_what_cannot_be_published_is_refused_and_changes_nothing() -> None:
    hub = await opened()
    await hub.publish("cam", final("c1"))
    async with hub.subscribe("cam") as subscription:
        await take(subscription, 2)
        with pytest.raises(UsageError):
            await hub.publish("yard", status(stream="yard"))
        with pytest.raises(ValueError, match="published on"):
            await hub.publish("cam", status(stream="yard"))
        with pytest.raises(ValueError, match="final already"):
            await hub.publish("cam", final("c1", "another text"))
        for message in (event(1, text="x" * MESSAGE_MAX_BYTES), caption("c2", text="x" * MESSAGE_MAX_BYTES)):
            with pytest.raises(WireError, match="larger"):
                await hub.publish("cam", message)
        await hub.publish("cam", event(2))
        assert seqs(await take(subscription, 1)) == [2]
    for name in ("", "a b", "../x", "cam\n", "x" * 65):
        with pytest.raises(UsageError):
            await hub.open_stream(name)
    with pytest.raises(UsageError):
        hub.state("yard")


async def test_bad_subscriptions_are_refused() -> None:
    hub = await opened("cam", "yard")
    bad: list[dict[str, Any]] = [
        {"kinds": ["poem"]},
        {"after": 3},
        {"streams": []},
        {"streams": ["cam", "yard"], "after": 3},
    ]
    for options in bad:
        with pytest.raises(UsageError):
            async with hub.subscribe(**options):
                pass
    with pytest.raises(SubscribeRefused, match="nowhere") as refusal:
        async with hub.subscribe(["cam", "nowhere"]):
            pass
    assert refusal.value.code is CloseCode.NO_SUCH_STREAM


@virtual_time
async def test_nothing_is_seen_before_it_is_committed_nor_when_it_cannot_be() -> None:
    journal = SlowJournal(before=2.0)
    hub = await opened(journal=journal)
    async with hub.subscribe("cam") as subscription:
        await take(subscription, 2)
        publishing = asyncio.create_task(hub.publish("cam", event(1)))
        await asyncio.sleep(1.9)
        assert subscription.waiting == 0 and hub.state("cam").seq == 0
        await publishing
        assert subscription.waiting == 1
        journal.full = True
        with pytest.raises(FeedError, match="disk is full"):
            await hub.publish("cam", event(2))
        assert subscription.waiting == 1 and hub.state("cam").seq == 1
        assert hub.trouble == "the disk is full" and (hub.counters.durable, hub.counters.failed) == (1, 1)
        journal.full = False
        await hub.publish("cam", event(3))
        assert not hub.trouble
        assert seqs(await take(subscription, 2)) == [1, 2]


@virtual_time
async def test_messages_go_out_in_the_order_of_the_calls() -> None:
    hub = await opened(journal=SlowJournal(before=1.0, after=1.0))
    async with hub.subscribe("cam") as subscription:
        await take(subscription, 2)
        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(hub.publish("cam", event(n)))
                group.create_task(hub.publish("cam", caption(f"c{n}")))
        got = await take(subscription, 6)
        assert [getattr(m, "id", None) for m in got] == ["e0", "c0", "e1", "c1", "e2", "c2"]


@virtual_time
async def test_a_cancelled_publisher_never_parts_commit_and_fan_out() -> None:
    journal = SlowJournal(before=1.0, after=1.0)
    hub = await opened(journal=journal)
    async with hub.subscribe("cam") as subscription:
        await take(subscription, 2)
        for cancelled_after in (0.5, 1.5):
            publishing = asyncio.create_task(hub.publish("cam", event(1)))
            await asyncio.sleep(cancelled_after)
            publishing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await publishing
            await asyncio.sleep(3)
        await hub.publish("cam", event(3))
        assert seqs(await take(subscription, 3)) == [1, 2, 3]
        assert (await journal.bounds("cam")).newest == hub.state("cam").seq == 3
        journal.full = True
        publishing = asyncio.create_task(hub.publish("cam", event(4)))
        await asyncio.sleep(0.5)
        publishing.cancel()
        await hub.close()
        assert hub.state("cam").seq == 3


async def test_close_lets_subscribers_finish_and_refuses_new_ones() -> None:
    hub = await opened()
    async with hub.subscribe("cam") as subscription:
        await take(subscription, 2)
        await hub.publish("cam", event(1))
        await hub.close()
        await hub.publish("cam", event(2))  # committed for those who come back
        assert seqs(await rest(subscription)) == [1]
        assert code(subscription) is CloseCode.RESTARTING
        with pytest.raises(SubscribeRefused) as refusal:
            async with hub.subscribe("cam"):
                pass
        assert refusal.value.code is CloseCode.RESTARTING
    assert hub.state("cam").seq == 2


# Streams that are taken away


async def test_a_stream_that_is_taken_away_leaves_feeds_of_all_and_comes_back_with_its_numbers() -> None:
    hub = await opened("cam", "yard")
    async with hub.subscribe() as feed:
        assert types(await take(feed, 4)) == ["hello", "hello", "snapshot", "snapshot"]
        await hub.publish("cam", event(1))
        await hub.publish("cam", status(StreamState.ENDED))
        hub.close_stream("cam")
        assert hub.streams == ("yard",) and feed.streams == ("yard",)
        await hub.publish("yard", event(2, "yard"))
        assert types(await take(feed, 3)) == ["event", "status", "event"], "what was said before still comes"
        with pytest.raises(UsageError, match="no such stream"):
            await hub.publish("cam", event(3))
        with pytest.raises(SubscribeRefused) as refused:
            async with hub.subscribe("cam"):
                pass
        assert refused.value.code is CloseCode.NO_SUCH_STREAM
        await hub.open_stream("cam")
        hello, snapshot = await take(feed, 2)
        assert isinstance(hello, HelloMessage) and (hello.stream, hello.seq) == ("cam", 2)
        assert isinstance(snapshot, SnapshotMessage) and snapshot.seq == 2
        assert (await hub.publish("cam", event(4))).seq == 3  # type: ignore[union-attr]
        assert seqs(await take(feed, 1)) == [3]


async def test_who_still_takes_the_end_of_a_stream_may_do_so_and_then_it_is_forgotten() -> None:
    hub = await opened("cam")
    async with hub.subscribe("cam") as slow:
        await take(slow, 2)
        await hub.publish("cam", event(1))
        await hub.publish("cam", status(StreamState.ENDED))
        hub.close_stream("cam")
        async with hub.subscribe() as other:  # of a hub without streams
            assert types(await rest(slow)) == ["event", "status"] and code(slow) is CloseCode.ENDED
            await hub.open_stream("cam")  # while the old one is still spoken of
            assert [m.type for m in await take(other, 2)] == ["hello", "snapshot"]
            hub.close_stream("cam")
    await hub.open_stream("cam")
    assert hub.state("cam").seq == 2, "read back from the journal"
    hub.close_stream("cam")
    with pytest.raises(UsageError):
        hub.close_stream("cam")


@virtual_time
async def test_a_stream_that_is_taken_away_during_a_replay() -> None:
    journal = SlowJournal(reading=0.01)
    hub = await opened("cam", "yard", journal=journal)
    for n in range(3):
        await hub.publish("cam", event(n))
        await hub.publish("yard", event(n, "yard"))
    async with hub.subscribe(after={"cam": 0, "yard": 0}, epoch=journal.epoch) as feed:
        await take(feed, 2)  # the hellos
        replay = asyncio.create_task(take(feed, 7))
        await asyncio.sleep(0.005)
        await hub.publish("cam", status(StreamState.ENDED))
        hub.close_stream("cam")
        got = await replay
        while types(got).count("caught_up") < 2:
            got += await take(feed, 1)
        assert [m.seq for m in got if isinstance(m, NumberedMessage) and m.stream == "cam"] == [1, 2, 3, 4], (
            "to its end"
        )
        assert feed.streams == ("yard",)
        await hub.publish("yard", event(9, "yard"))
        assert seqs(await take(feed, 1)) == [4]


async def test_how_subscriptions_end_is_counted() -> None:
    hub = await opened("cam", limits=OutboxLimits(messages=1))
    async with hub.subscribe("cam") as slow:
        await take(slow, 2)
        for n in range(3):
            await hub.publish("cam", event(n))
    async with hub.subscribe("cam"):
        pass
    assert hub.counters.closings == {"too_slow": 1, "left": 1} and hub.counters.too_slow == 1
    assert hub.commits.count == 3


async def test_instances_come_to_those_who_ask_and_only_the_newest_waits() -> None:
    hub = await opened("cam")
    seen = Instance(3, "person", 0.9, (0.1, 0.2, 0.3, 1.4), (0.0, 0.0), 0.0, 1.0)
    hub.show_instances("cam", 1.0, [seen])  # nobody asks: nothing is made
    assert hub.counters.ephemeral == 0
    async with hub.subscribe("cam", kinds=["instances"]) as asks, hub.subscribe("cam") as plain:
        for subscription in (asks, plain):
            assert [(await anext(aiter(subscription))).type for _ in range(2)] == ["hello", "snapshot"]
        for t in (2.0, 3.0, 4.0):
            hub.show_instances("cam", t, [seen])
        assert plain.waiting == 0 and asks.waiting == 1
        message = decode((await anext(aiter(asks))).text)
        assert isinstance(message, InstancesMessage) and message.t == 4.0
        assert message.instances[0].box == (0.1, 0.2, 0.3, 1.0)
    async with hub.subscribe("cam", kinds=["instances"], interim=False) as quiet:
        assert [(await anext(aiter(quiet))).type for _ in range(2)] == ["hello", "snapshot"]
        hub.show_instances("cam", 5.0, [seen])
        assert quiet.waiting == 0
