"""Promise 1 of docs/protocol.md: for any join and drop point, what a reader holds is the hub's own state."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamcap.hub import Hub, OutboxLimits
from streamcap.types import CaptionStatus
from streamcap.wire import FeedState, HeartbeatMessage, StreamState, decode, gap_message, is_durable, unchanged_message
from tests.feeding import SlowJournal, caption, event, opened, status
from tests.virtual_time import VirtualClock, run_virtual

steps = st.tuples(
    st.sampled_from(["draft", "draft", "draft", "final", "final", "retract", "event", "gap", "unchanged", "status"]),
    st.integers(0, 2),
    st.sampled_from([0.0, 0.0, 0.1, 0.4, 2.0]),
)
visits = st.tuples(
    st.sampled_from([0.0, 0.1, 0.5, 3.0]),  # seconds between messages
    st.integers(1, 12),  # messages until it drops the connection
    st.sampled_from([0.0, 0.3, 3.0]),  # seconds until it is back
)
readers = st.tuples(st.lists(visits, min_size=2, max_size=6), st.booleans())


async def publish_all(hub: Hub, script: Sequence[tuple[str, int, float]]) -> None:
    """Captions under three names at a time, each with growing revisions, then a final, then a fresh name."""
    born = 0
    names = {n: f"c{n}" for n in range(3)}
    for rev, (sort, n, pause) in enumerate(script, start=1):
        match sort:
            case "draft":
                message: Any = caption(names[n], rev)
            case "final" | "retract":
                ending = CaptionStatus.FINAL if sort == "final" else CaptionStatus.RETRACTED
                message = caption(names[n], rev, ending)
                born += 1
                names[n] = f"c{n}.{born}"
            case "event":
                message = event(rev)
            case "gap":
                message = gap_message("cam", start=0, end=1, at=1000.0)
            case "unchanged":
                message = unchanged_message("cam", since=0, t=rev, at=1000.0)
            case _:
                message = status([StreamState.LIVE, StreamState.CONNECTING, StreamState.FAILED][n])
        await hub.publish("cam", message)
        await asyncio.sleep(pause)


async def read_along(
    hub: Hub, script: Sequence[tuple[float, int, float]], quiet: asyncio.Event, *, interim: bool
) -> FeedState:
    """Connect, drop and resume as the script says, then stay until a heartbeat says that there is nothing more."""
    state = FeedState("cam")
    for pause, count, away in [*script, *[(0.0, 10**6, 0.1)] * 1000]:
        after = state.seq if state.epoch is not None else None
        async with hub.subscribe("cam", interim=interim, after=after, epoch=state.epoch) as subscription:
            async for item in subscription:
                message = decode(item.text)
                assert state.missing_before(message) is None, "a hole"
                assert state.apply(message) or not is_durable(message), "a double"
                if quiet.is_set() and isinstance(message, HeartbeatMessage):
                    return state
                count -= 1
                if count == 0:
                    break
                await asyncio.sleep(pause)
        await asyncio.sleep(away)
    raise AssertionError("never came to the end")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(steps, min_size=20, max_size=60),
    st.lists(readers, min_size=2, max_size=3),
    st.sampled_from([(0.0, 0.0, 0.0), (0.1, 0.1, 0.0), (0.0, 0.5, 0.2), (0.1, 0.0, 1.0)]),
    st.sampled_from([4, 12, 1000]),
    st.sampled_from([3, 512]),
)
def test_snapshot_or_replay_plus_what_follows_is_the_state_of_the_hub(
    script: list[tuple[str, int, float]],
    visitors: list[tuple[list[tuple[float, int, float]], bool]],
    delays: tuple[float, float, float],
    kept: int,
    room: int,
) -> None:
    async def scene() -> None:
        journal = SlowJournal(*delays, messages=kept)
        hub = await opened(
            journal=journal, clock=VirtualClock(), limits=OutboxLimits(messages=room, lag_s=10.0), heartbeat_s=2.0
        )
        quiet = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            reading = [
                (group.create_task(read_along(hub, visiting, quiet, interim=interim)), interim)
                for visiting, interim in visitors
            ]
            await publish_all(hub, script)
            quiet.set()
        truth = hub.state("cam").summary()
        for task, interim in reading:
            assert task.result().summary() == truth | ({} if interim else {"open": {}})
        await hub.close()

    run_virtual(scene())
