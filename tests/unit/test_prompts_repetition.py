"""Nothing is said twice; what differs in one telling word is something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.prompts.repetition import SAME, likeness, repeats, unlooped


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("A person enters from the left.", "The person enters from the left."),
        ("A man in a red jacket walks in from the left.", "A man wearing a red jacket walks in from the left side."),
        ("Two people stand in the yard talking.", "Two people are standing in the yard and talking."),
        ("A man walks past the parked car.", "A man is walking past a parked car!"),
        ("The man stops.", "the man is stopping"),
    ],
)
def test_the_same_in_other_endings_and_small_words_is_a_repetition(text: str, before: str) -> None:
    assert repeats(text, ["Something else.", before])


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("A person enters from the left.", "A second person enters from the left."),
        ("A person enters from the left.", "A person enters from the right."),
        ("The person sits down.", "The person stands up."),
        ("Two people stand in the yard.", "Three people stand in the yard."),
        ("A man walks in from the left.", "A man walks out to the left."),
        ("The white car stops.", "The black car stops."),
        ("The person is not moving.", "The person is moving."),
        ("The lights go out.", "The lights come on."),
        (
            "A man in red walks in from the left and stops at the car.",
            "A man in red walks in from the left and opens it.",
        ),
    ],
)
def test_what_differs_in_a_telling_word_is_news(text: str, before: str) -> None:
    assert not repeats(text, [before])


def test_after_nothing_nothing_is_a_repetition() -> None:
    assert not repeats("A man walks in.", [])


@given(st.text(max_size=80), st.text(max_size=80))
def test_likeness_is_a_share_and_the_same_both_ways(a: str, b: str) -> None:
    assert 0 <= likeness(a, b) == likeness(b, a) <= 1
    assert likeness(a, a) == 1
    assert repeats(a, [b]) == (likeness(a, b) >= SAME)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("the man the man the man the man", "the man"),
        ("A car stops and a man gets out and a man gets out and a man gets out", "A car stops and a man gets out"),
        ("no no no no", "no"),
        ("The man walks very very slowly.", "The man walks very very slowly."),
        ("One by one, two by two, and so on.", "One by one, two by two, and so on."),
        ("", ""),
    ],
)
def test_a_loop_is_cut_after_its_first_round(text: str, whole: str) -> None:
    assert unlooped(text) == whole


@given(st.lists(st.sampled_from("abc"), max_size=30).map(" ".join))
def test_what_is_cut_is_a_beginning_and_is_cut_for_good(text: str) -> None:
    once = unlooped(text)
    assert text.startswith(once)
    assert unlooped(once) == once
