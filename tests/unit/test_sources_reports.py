"""Notices at a rate that a person can read, and waits that do not pile up."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from streamcap.sources.backoff import Backoff
from streamcap.sources.reports import Reporter
from streamcap.types import NoticeKind


class Heard:
    def __init__(self) -> None:
        self.notices: list[tuple[NoticeKind, float, str]] = []
        self.reporter = Reporter(lambda kind, at, detail: self.notices.append((kind, at, detail)))


def test_damage_is_told_at_once_and_then_in_sums() -> None:
    heard = Heard()
    for n in range(300):
        heard.reporter.damage(n * 0.1, pictures=1)
    heard.reporter.damage(29.95, packets=2)
    heard.reporter.flush(30.0)
    assert [(at, detail) for _, at, detail in heard.notices] == [
        (0.0, "damaged data: 1 picture, at 0.0 s"),
        (10.0, "damaged data: 100 pictures, from 0.1 s to 10.0 s"),
        (20.0, "damaged data: 100 pictures, from 10.1 s to 20.0 s"),
        (30.0, "damaged data: 2 packets, 99 pictures, from 20.1 s to 30.0 s"),
    ]
    assert {kind for kind, _, _ in heard.notices} == {NoticeKind.DAMAGE}


@given(st.lists(st.floats(0, 100), max_size=80))
def test_every_damage_is_counted_once(moments: list[float]) -> None:
    heard = Heard()
    for at in sorted(moments):
        heard.reporter.damage(at, packets=1)
    heard.reporter.flush(100.0)
    assert sum(int(detail.split()[2]) for _, _, detail in heard.notices) == len(moments)
    assert len(heard.notices) <= 12


def test_a_kind_that_comes_too_often_is_held_back_and_counted() -> None:
    heard = Heard()
    for n in range(100):
        heard.reporter.say(NoticeKind.DISCONTINUITY, n * 0.1, "jumped")
    heard.reporter.say(NoticeKind.RESOLUTION, 9.9, "other")
    heard.reporter.say(NoticeKind.DISCONTINUITY, 30.0, "jumped")
    assert [at for _, at, _ in heard.notices] == [0.0, 0.1, 0.2, 9.9, 30.0]
    assert heard.notices[-1][2] == "jumped (and 97 more like it before)"


def test_a_session_speaks_in_its_own_time() -> None:
    heard = Heard()
    heard.reporter.offset = 100.0
    heard.reporter.say(NoticeKind.RESOLUTION, 1.0, "bigger")
    heard.reporter.damage(2.0, packets=1)
    assert [at for _, at, _ in heard.notices] == [101.0, 102.0]


def test_a_repetition_is_not_told_again() -> None:
    heard = Heard()
    heard.reporter.muted = True
    heard.reporter.say(NoticeKind.RESOLUTION, 1.0, "bigger")
    heard.reporter.damage(2.0, packets=1)
    heard.reporter.flush(3.0)
    assert heard.notices == []


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_waits_grow_by_half_to_the_cap_with_chance_in_them(seed: int, n: int) -> None:
    backoff = Backoff(0.5, 30.0, random.Random(seed))
    waits = [backoff.wait() for _ in range(n)]
    for turn, wait in enumerate(waits):
        step = min(30.0, 0.5 * 1.5**turn)
        assert step / 2 <= wait <= step
    backoff.reset()
    assert backoff.wait() <= 0.5
