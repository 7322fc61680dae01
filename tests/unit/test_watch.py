"""What ``streamcap watch`` prints of a feed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from streamcap.cli.watch import follow
from streamcap.client import Feed
from streamcap.wire import HelloMessage, Message, SnapshotMessage, StatusMessage, StreamState

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def feed_of(*messages: Message) -> AsyncIterator[Message]:
    for message in messages:
        yield message


def joined(state: StreamState, **values: Any) -> tuple[Message, ...]:
    """What a reader gets who joins a stream in that state."""
    status = StatusMessage(stream="door", at=AT, seq=2, prev=1, state=state, **values)
    hello = HelloMessage(stream="door", at=AT, epoch="e", seq=2, earliest=1, heartbeat_s=15.0)
    return hello, SnapshotMessage(stream="door", at=AT, seq=2, status=status)


@pytest.mark.parametrize("state", [StreamState.RECONNECTING, StreamState.FAILED, StreamState.STALLED])
async def test_who_joins_a_stream_that_is_not_watched_reads_why(
    state: StreamState, capsys: pytest.CaptureFixture[str]
) -> None:
    await follow(cast("Feed", feed_of(*joined(state, reason="source", detail="no such device"))))
    assert capsys.readouterr().out.split() == ["#", f"{state}:", "no", "such", "device"]


async def test_that_all_is_well_again_is_no_news_to_who_joins(capsys: pytest.CaptureFixture[str]) -> None:
    await follow(cast("Feed", feed_of(*joined(StreamState.LIVE, reason="recovered", detail="it is well again"))))
    assert capsys.readouterr().out == ""
