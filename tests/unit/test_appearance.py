"""Words for a look are chosen once, and kept until the pixels speak against them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcap.appearance import Appearance, common_colour, unlike
from streamcap.colours import NAMES


def look(**parts: float) -> NDArray[np.float32]:
    """A top of these colours (shares of it), over black trousers; the rest of the top is grey."""
    top = np.zeros(len(NAMES), np.float32)
    for name, share in parts.items():
        top[NAMES.index(name)] = share
    top[NAMES.index("grey")] += 1 - top.sum()
    bottom = np.zeros(len(NAMES), np.float32)
    bottom[NAMES.index("black")] = 1.0
    return np.asarray(np.concatenate([top, bottom]) / 2, np.float32)


def seen(*looks: NDArray[np.float32], whole: bool = True) -> Appearance:
    appearance = Appearance()
    for each in looks:
        appearance.add(each, whole=whole, label="person")
    return appearance


def test_it_takes_some_sightings_of_the_whole() -> None:
    assert seen(*[look(red=0.7)] * 3).words == ()
    assert seen(*[look(red=0.7)] * 9, whole=False).words == ()
    assert seen(*[look(red=0.7)] * 4).words == ("red top", "black trousers")


def test_words_once_chosen_do_not_flicker() -> None:
    """The share of red goes up and down around what it takes to be named."""
    appearance = seen(*[look(red=0.7)] * 4)
    words = set()
    for share in [0.3, 0.6, 0.4, 0.35] * 8:
        appearance.add(look(red=share), whole=True, label="person")
        words.add(appearance.words)
    assert words == {("red top", "black trousers")}


def test_words_that_the_pixels_speak_against_are_given_up() -> None:
    appearance = seen(*[look(red=0.7)] * 4, *[look(blue=0.8)] * 30)
    assert appearance.words == ("blue top", "black trousers")


def test_who_walks_from_light_into_shade_keeps_the_words() -> None:
    appearance = seen(*[look(red=0.7)] * 10, *[look(black=0.5, red=0.3)] * 10)
    assert appearance.words[0] == "red top"


shares = st.lists(st.floats(0.001, 1), min_size=22, max_size=22).map(
    lambda values: np.asarray(values, np.float32) / np.float32(sum(values))
)


@given(shares, shares)
def test_how_unlike_two_looks_are(a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
    assert unlike(a, a) == pytest.approx(0, abs=2e-3)
    assert unlike(a, b) == pytest.approx(unlike(b, a), abs=1e-4)
    assert 0 <= unlike(a, b) <= 1
    assert 0 <= common_colour(a, b) <= 1 + 1e-5


def test_black_and_grey_are_no_colour_in_common() -> None:
    assert common_colour(look(black=1.0), look(black=1.0)) == 0
    assert common_colour(look(red=0.6), look(red=0.8)) == pytest.approx(0.3)
