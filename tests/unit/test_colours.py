"""Colour words from pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.colours import NAMES, attributes, balance, name_of, shares

NO_CAST = np.ones(3, np.float32)


def person(top: tuple[int, int, int], trousers: tuple[int, int, int]) -> np.ndarray:
    image = np.full((200, 100, 3), 128, np.uint8)
    image[:100, 20:80] = top
    image[100:, 20:80] = trousers
    return image


@pytest.mark.parametrize(
    ("rgb", "word"),
    [
        ((10, 10, 12), "black"),
        ((240, 240, 240), "white"),
        ((130, 130, 130), "grey"),
        ((200, 20, 25), "red"),
        ((255, 130, 0), "orange"),
        ((240, 220, 30), "yellow"),
        ((30, 150, 40), "green"),
        ((30, 60, 200), "blue"),
        ((20, 30, 90), "blue"),
        ((120, 30, 160), "purple"),
        ((110, 65, 25), "brown"),
        ((240, 150, 180), "pink"),
    ],
)
def test_a_plain_colour_has_its_name(rgb: tuple[int, int, int], word: str) -> None:
    image = np.full((50, 50, 3), rgb, np.uint8)
    assert name_of(shares(image, (0, 0, 1, 1), NO_CAST)[: len(NAMES)]) == word


def test_top_and_trousers_are_told_apart() -> None:
    look = shares(person((200, 20, 25), (20, 20, 22)), (0, 0, 1, 1), NO_CAST)
    assert attributes("person", look) == ("red top", "black trousers")


def test_a_vehicle_has_one_colour_and_a_bottle_none() -> None:
    look = shares(np.full((60, 90, 3), (240, 240, 240), np.uint8), (0, 0, 1, 1), NO_CAST)
    assert attributes("car", look) == ("white",)
    assert attributes("bottle", look) == ()


def test_where_no_colour_stands_out_none_is_named() -> None:
    stripes = np.zeros((60, 60, 3), np.uint8)
    stripes[::3], stripes[1::3], stripes[2::3] = (200, 20, 25), (30, 60, 200), (240, 220, 30)
    wide = np.repeat(np.repeat(stripes, 6, axis=0), 6, axis=1)
    assert name_of(shares(wide, (0, 0, 1, 1), NO_CAST)[: len(NAMES)]) == ""


def test_a_cast_is_taken_out_but_a_lawn_is_none() -> None:
    warm = np.full((20, 20, 3), (150, 130, 115), np.uint8)
    gains = balance(warm)
    assert gains[0] < 1 < gains[2]
    lawn = balance(np.full((20, 20, 3), (40, 160, 40), np.uint8))
    assert 0.79 < float(lawn.min()) <= float(lawn.max()) < 1.26


@given(st.tuples(*(st.floats(-0.5, 1.5) for _ in range(4))))
def test_any_box_gives_shares_that_sum_to_one(corners: tuple[float, float, float, float]) -> None:
    image = np.random.default_rng(1).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    look = shares(image, corners, NO_CAST)
    assert look.shape == (2 * len(NAMES),)
    assert abs(float(look.sum()) - 1) < 1e-4


def test_hair_down_the_back_is_no_top() -> None:
    """Where the outline is known, shoulders and arms count too."""
    image = person((20, 20, 22), (20, 20, 22))
    image[:100, 41:59] = (110, 65, 25)
    mask = np.zeros((200, 100), np.uint8)
    mask[:, 20:80] = 1
    box = (0.2, 0.0, 0.8, 1.0)
    assert attributes("person", shares(image, box, NO_CAST, mask))[0] == "black top"
    assert attributes("person", shares(image, box, NO_CAST))[0] != "black top"


def test_a_mask_of_a_few_pixels_is_not_trusted() -> None:
    image = person((200, 20, 25), (20, 20, 22))
    coarse = np.zeros((20, 10), np.uint8)
    assert np.array_equal(shares(image, (0.2, 0, 0.8, 1), NO_CAST, coarse), shares(image, (0.2, 0, 0.8, 1), NO_CAST))
