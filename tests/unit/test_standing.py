"""One state out of all that may be wrong with a stream."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from streamcap.standing import MOVED_S, ORDER, RECOVERED_S, Standing, Status, merged
from streamcap.types import Condition, Health, Notice, NoticeKind, Trouble


def told(changes: Iterable[Status]) -> list[tuple[str, str]]:
    return [(status.state.value, status.reason) for status in changes]


def began(*what: Condition) -> Health:
    return Health(began=tuple(Trouble(each, 0.0, 0.9) for each in what))


def ended(*what: Condition) -> Health:
    return Health(ended=tuple(Trouble(each, 0.0, 0.9) for each in what))


def test_every_condition_of_the_picture_has_its_reason() -> None:
    for condition in Condition:
        standing = Standing()
        assert told(standing.seen(began(condition), 1.0)) == [("degraded", condition.value)]
        assert condition.value in ORDER


def test_the_gravest_shows_and_gives_way_to_the_next() -> None:
    standing = Standing()
    assert told(standing.begin("load", "too busy")) == [("degraded", "load")]
    assert told(standing.seen(began(Condition.BLACK), 5.0)) == [("degraded", "black")]
    assert told(standing.begin("captioner", "it failed")) == [], "a lesser one is kept, not shown"
    assert told(standing.end("load")) == []
    assert told(standing.seen(ended(Condition.BLACK), 9.0)) == [("degraded", "captioner")]
    assert told(standing.end("captioner")) == [("live", "recovered")]
    assert standing.gravest is None


def test_what_was_said_is_not_said_again() -> None:
    standing = Standing()
    assert len(told(standing.begin("load", "3 of 5"))) == 1
    assert told(standing.begin("load", "2 of 5")) == []
    assert told(standing.end("freeze")) == []
    with pytest.raises(ValueError, match="no such reason"):
        told(standing.begin("mood", ""))


def test_damage_and_a_moved_camera_are_over_after_a_while() -> None:
    standing = Standing()
    assert told(standing.notice(Notice(NoticeKind.DAMAGE, 10.0, "a packet"))) == [("degraded", "damage")]
    assert told(standing.notice(Notice(NoticeKind.DAMAGE, 15.0, "a packet"))) == []
    assert told(standing.seen(Health(), 12.0 + RECOVERED_S)) == [], "the newest damage counts"
    assert told(standing.seen(Health(), 15.1 + RECOVERED_S)) == [("live", "recovered")]
    assert told(standing.seen(began(Condition.MOVED), 50.0)) == [("degraded", "moved")]
    assert told(standing.seen(Health(), 50.1 + MOVED_S)) == [("live", "recovered")]


def test_while_the_source_is_away_that_is_the_state() -> None:
    standing = Standing()
    first = Notice(NoticeKind.CONNECTED, 0.0, "it delivers")
    assert told(standing.notice(first)) == [], "that was told when it was opened"
    told(standing.begin("load", "too busy"))
    assert told(standing.notice(Notice(NoticeKind.LOST, 3.0, "gone"))) == [("reconnecting", "lost")]
    assert told(standing.end("load")) == []
    assert told(standing.begin("captioner", "it failed")) == []
    back = Notice(NoticeKind.CONNECTED, 9.0, "there again")
    assert told(standing.notice(back)) == [("live", "connected"), ("degraded", "captioner")]


def test_a_gap_is_no_state_and_a_new_size_no_trouble() -> None:
    standing = Standing()
    assert told(standing.notice(Notice(NoticeKind.GAP, 3.0, "", 1.0, 3.0))) == []
    assert told(standing.notice(Notice(NoticeKind.RESOLUTION, 3.0, "640×360"))) == [("live", "resolution")]


def test_notices_told_in_short_lose_no_gap_and_end_in_the_same_state() -> None:
    said = [Notice(NoticeKind.DAMAGE, 1.0, "damage")]
    for n in range(1, 31):
        said += [
            Notice(NoticeKind.LOST, 10.0 * n, f"lost {n}"),
            Notice(NoticeKind.GAP, 10.0 * n + 4, f"4.0 s were not seen ({n})", 10.0 * n, 10.0 * n + 4),
            Notice(NoticeKind.CONNECTED, 10.0 * n + 4, f"back {n}"),
        ]
    short = merged(said)
    assert [(notice.kind, notice.at) for notice in short] == [
        (NoticeKind.DAMAGE, 1.0), (NoticeKind.LOST, 300.0), (NoticeKind.GAP, 304.0), (NoticeKind.CONNECTED, 304.0),
    ]  # fmt: skip
    assert (short[2].start, short[2].end) == (10.0, 304.0)
    assert "not all was seen" in short[2].detail
    assert merged(said[:3]) == said[:3], "a single gap stays as it was told"
