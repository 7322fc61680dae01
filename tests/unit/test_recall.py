"""What of all that was said is told for a question."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from streamcap.recall import TOLD_MOST, Recall, Said


def said(number: int, text: str = "Somebody walks by.", t: float | None = None, saliency: float = 0.3) -> Said:
    return Said(number, f"c{number}", float(number) if t is None else t, text, saliency)


def recalled(question: str, all_said: list[Said]) -> Recall:
    recall = Recall(question)
    for each in all_said:
        recall.take(each)
    return recall


def test_of_few_captions_all_are_told() -> None:
    everything = [said(n) for n in range(1, TOLD_MOST + 1)]
    assert recalled("Who came?", everything).chosen() == everything


def test_of_many_the_first_the_last_what_is_asked_for_and_what_matters_all_over_the_span() -> None:
    everything = [said(n, saliency=0.2) for n in range(1, 10_001)]
    everything[3333] = said(3334, "A red van parks at the gate.")
    loud = list(range(500, 10_000, 1000))
    for n in loud:
        everything[n - 1] = said(n, "A person falls.", saliency=0.95)
    recall = recalled("When did vans park here?", everything)
    chosen = recall.chosen()
    numbers = [each.number for each in chosen]
    assert numbers == sorted(set(numbers)), "oldest first, each once"
    assert len(chosen) <= TOLD_MOST and recall.taken == 10_000
    assert numbers[0] == 1 and numbers[-1] == 10_000
    assert 3334 in numbers and [each.number for each in recall.alike()] == [3334]
    assert set(loud) <= set(numbers), "a thousand captions lie between two of them"
    gaps = [b - a for a, b in itertools.pairwise(numbers)]
    assert max(gaps) <= 2000, "no great part of the span is passed over"


def test_what_was_taken_back_is_not_told() -> None:
    recall = recalled("Who fell?", [said(n, "A person falls.", saliency=0.9) for n in range(1, 200)])
    for n in (1, 100, 199):
        recall.retract(f"c{n}")
    assert not {1, 100, 199} & {each.number for each in recall.chosen()}
    assert 199 not in {each.number for each in recall.alike()}


def test_what_was_searched_for_is_told_once_and_only_where_it_fits() -> None:
    recall = recalled("Where is the dog?", [said(n) for n in range(1, 1000)])
    recall.find(said(500, "A dog runs."))
    recall.find(said(500, "A dog runs."))
    recall.find(said(501, "A cat sleeps."))
    assert [each.number for each in recall.alike()] == [500]
    assert 500 in {each.number for each in recall.chosen()}


@given(st.lists(st.tuples(st.floats(-1e4, 1e8), st.floats(0, 1)), max_size=400), st.integers(0, 2**32))
def test_memory_is_bounded_whatever_the_times(times: list[tuple[float, float]], seed: int) -> None:
    chance = random.Random(seed)
    recall = Recall("Did a dog bark?")
    for n, (t, saliency) in enumerate(times, 1):
        recall.take(said(n, chance.choice(["A dog barks.", "Nothing."]), t, saliency))
        assert len(recall.chosen()) <= TOLD_MOST
    if times:
        assert {1, len(times)} <= {each.number for each in recall.chosen()}
