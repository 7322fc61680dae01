"""From a rule's confidence to a probability."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.captioning.reliability import Sample, fit, held_out, reliability
from streamcap.calibration import TABLE, Table, calibrated, probability
from streamcap.types import Fact, Observation, Skill

CONFIDENCES = st.floats(0, 1)
KINDS = st.sampled_from([*TABLE.offsets, "never seen"])


@given(KINDS, CONFIDENCES, CONFIDENCES)
def test_the_surer_of_two_facts_of_a_kind_stays_the_surer(what: str, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 < probability(what, low) <= probability(what, high) < 1


@given(st.floats(0.01, 0.99))
def test_without_samples_the_rule_is_taken_at_its_word(confidence: float) -> None:
    assert probability("enter", confidence, Table(1.0, 0.0, {}, {})) == pytest.approx(confidence)
    assert fit([]) == Table(1.0, 0.0, {}, {})


def test_every_offset_says_how_many_facts_it_rests_on() -> None:
    assert TABLE.slope > 0
    assert TABLE.offsets.keys() == TABLE.counts.keys()
    assert min(TABLE.counts.values(), default=1) >= 1


def test_an_observation_keeps_all_but_the_confidence_of_its_facts() -> None:
    fact = Fact("stop", 1.0, 2.0, 0.8, Skill.ACTION, (3,), "car")
    seen = Observation(2.0, 0.0, True, False, True, (fact,), ())
    after = calibrated(seen).facts[0]
    assert after.confidence == probability("stop", 0.8)
    assert (after.what, after.who, after.start, after.end) == ("stop", (3,), 1.0, 2.0)
    empty = Observation(2.0, 0.0, True, False, True, (), ())
    assert calibrated(empty) is empty


def made(what: str, confidence: float, true: int, false: int, clips: int = 1) -> list[Sample]:
    return [Sample(f"c{n % clips}", what, confidence, n < true, 0.0, 1.0) for n in range(true + false)]


def test_a_kind_that_is_often_wrong_is_believed_less_and_few_samples_move_little() -> None:
    few = fit([*made("enter", 0.8, 40, 10), *made("stop", 0.8, 0, 1)])
    many = fit([*made("enter", 0.8, 40, 10), *made("stop", 0.8, 2, 38)])
    enter, once, often = probability("enter", 0.8, few), probability("stop", 0.8, few), probability("stop", 0.8, many)
    assert enter == pytest.approx(0.8, abs=0.04)
    assert enter > once > 0.65
    assert often < 0.55
    assert many.slope > 0


def test_what_is_held_out_is_judged_without_its_own_clip() -> None:
    good, bad = made("enter", 0.8, 50, 0), [Sample("bad", "enter", 0.8, False, 0, 1)] * 50
    asked = held_out([*good, *bad])
    assert asked[-1] > 0.9  # of the bad clip, by the good one's table
    assert asked[0] < 0.4


def test_reliability_counts_and_weighs_by_bins() -> None:
    found = reliability([(0.75, True)] * 3 + [(0.75, False)] + [(1.0, True)])
    assert [(b.count, b.true) for b in found.bins] == [(4, 0.75), (1, 1.0)]
    assert found.error == 0
    assert found.brier == pytest.approx((3 * 0.25**2 + 0.75**2) / 5)
    assert reliability([(0.9, False)] * 2).error == pytest.approx(0.9)
    assert reliability([]).count == 0
