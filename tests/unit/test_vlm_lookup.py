"""Guesses at the next tokens from texts that an answer may repeat."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamcap.models.vlm.lookup import LEAST, MOST, Lookup

tokens = st.lists(st.integers(0, 5), max_size=60)


def grown(lookup: Lookup, answer: list[int]) -> Lookup:
    for token in answer:
        lookup.add(token)
    return lookup


def test_what_followed_the_last_tokens_is_guessed() -> None:
    assert grown(Lookup([range(10, 40)]), [12, 13, 14]).guess(20) == list(range(15, 15 + MOST))


def test_three_tokens_say_more_than_two() -> None:
    assert grown(Lookup([[9, 2, 3, 7, 7, 1, 2, 3, 4, 4, 2, 3, 8]]), [1, 2, 3]).guess(2) == [4, 4]


def test_the_first_text_is_believed_first() -> None:
    assert grown(Lookup([[1, 2, 3], [1, 2, 9]]), [1, 2]).guess(1) == [3]


def test_an_answer_that_repeats_itself_is_guessed_from_itself() -> None:
    assert grown(Lookup([]), [5, 6, 7, 8, 5, 6]).guess(3) == [7, 8, 5]


def test_one_token_is_no_ground_for_a_guess() -> None:
    assert grown(Lookup([[1, 2, 3]]), [1]).guess(5) == []


def test_wrong_guesses_grow_shorter_and_right_ones_longer() -> None:
    lookup = grown(Lookup([range(100)]), [10, 11])
    lookup.learn(0)
    assert len(lookup.guess(50)) == LEAST
    lookup.learn(LEAST)
    assert len(lookup.guess(50)) == 2 * LEAST
    lookup.learn(MOST)
    assert len(lookup.guess(50)) == MOST


@given(st.lists(tokens, max_size=3), tokens, st.integers(0, 10))
def test_a_guess_stands_in_the_texts_and_keeps_to_the_room(
    texts: list[list[int]], answer: list[int], room: int
) -> None:
    guess = grown(Lookup(texts), answer).guess(room)
    assert len(guess) <= room
    if guess:
        key = answer[-2:]
        assert guess in [
            text[at + 2 : at + 2 + len(guess)]
            for text in (*texts, answer)
            for at in range(len(text))
            if text[at : at + 2] == key
        ]
