"""What is rare is worth more, and what is salient is never worn out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamcap.saliency import HALF_LIFE_S, KINDS, KNOWN_AFTER_S, LEAST, SALIENT, Rarity
from tests.scenes import fact


def rated(rarity: Rarity, what: str, at: float, saliency: float, label: str = "person") -> float:
    (one,) = rarity.rated([fact(what, 1, label=label, at=at, saliency=saliency)], at)
    return one.saliency


def test_the_first_of_a_new_stream_is_worth_what_it_is() -> None:
    assert rated(Rarity(), "stop", 0.0, 0.4) == 0.4


def test_what_happens_all_the_time_is_worth_less_and_less() -> None:
    rarity = Rarity()
    worth = [rated(rarity, "stop", float(n), 0.4) for n in range(200)]
    assert worth == sorted(worth, reverse=True)
    assert worth[-1] < 0.8 * worth[0]
    assert worth[-1] >= LEAST * 0.4


def test_what_is_salient_stays_so() -> None:
    rarity = Rarity()
    assert min(rated(rarity, "fall", float(n), 0.95) for n in range(500)) >= SALIENT


def test_it_is_forgotten_with_time() -> None:
    rarity = Rarity()
    for n in range(50):
        worn = rated(rarity, "stop", float(n), 0.4)
    rested = rated(rarity, "stop", 50.0 + 12 * HALF_LIFE_S, 0.4)
    assert worn < rested
    assert rested > 0.39


def test_what_was_never_seen_on_a_known_stream_is_news() -> None:
    rarity = Rarity()
    rated(rarity, "enter", 0.0, 0.7)
    assert rated(rarity, "enter", KNOWN_AFTER_S, 0.5, label="horse") > 0.5
    assert rated(rarity, "enter", KNOWN_AFTER_S + 1, 1.0, label="cow") == 1.0


@given(st.lists(st.tuples(st.integers(0, 2 * KINDS), st.floats(0, 1)), max_size=60))
def test_saliency_stays_between_none_and_all(seen: list[tuple[int, float]]) -> None:
    rarity = Rarity()
    for n, (kind, saliency) in enumerate(seen):
        assert 0.0 <= rated(rarity, f"kind{kind}", n * 100.0, saliency) <= 1.0


def test_counts_are_bounded() -> None:
    rarity = Rarity()
    for n in range(3 * KINDS):
        rated(rarity, f"kind{n}", float(n), 0.5)
    assert len(rarity._counts) == KINDS
