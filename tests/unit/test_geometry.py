"""Boxes and the words for places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.geometry import area, centre, clip, contained, iou_matrix, nearest_side, place, touches, union
from streamcap.types import Box, Side

numbers = st.floats(-0.5, 1.5).map(lambda v: round(v, 3))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    xs, ys = sorted([draw(numbers), draw(numbers)]), sorted([draw(numbers), draw(numbers)])
    return xs[0], ys[0], xs[1], ys[1]


@given(boxes())
def test_what_is_clipped_lies_in_the_frame(box: Box) -> None:
    inside = clip(box)
    assert all(0 <= v <= 1 for v in inside)
    assert inside[0] <= inside[2]
    assert inside[1] <= inside[3]
    assert area(inside) <= area(box) + 1e-9
    assert clip(inside) == inside


@given(boxes(), boxes())
def test_a_union_holds_both(a: Box, b: Box) -> None:
    both = union(a, b)
    assert union(b, a) == both
    for box in (a, b):
        assert both[0] <= box[0]
        assert both[1] <= box[1]
        assert both[2] >= box[2]
        assert both[3] >= box[3]
        if area(box) > 0:
            assert contained(box, both) == pytest.approx(1)


@given(boxes(), boxes())
def test_contained_is_a_share(a: Box, b: Box) -> None:
    assert 0 <= contained(a, b) <= 1 + 1e-9
    assert contained(a, b) * area(a) == pytest.approx(contained(b, a) * area(b), abs=1e-9)


def test_contained_by_example() -> None:
    assert contained((0, 0, 0.2, 0.2), (0.1, 0, 0.5, 0.5)) == pytest.approx(0.5)
    assert contained((0, 0, 0.2, 0.2), (0.2, 0, 0.5, 0.5)) == 0  # they only touch
    assert contained((0.3, 0.3, 0.3, 0.3), (0, 0, 1, 1)) == 0  # nothing to contain


@given(st.lists(boxes(), max_size=5), st.lists(boxes(), max_size=5))
def test_overlaps_agree_with_the_definition(first: list[Box], second: list[Box]) -> None:
    a, b = (np.asarray(x, np.float32).reshape(-1, 4) for x in (first, second))
    matrix = iou_matrix(a, b)
    assert matrix.shape == (len(first), len(second))
    assert matrix.dtype == np.float32
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            common = contained(one, other) * area(one)
            whole = area(one) + area(other) - common
            assert matrix[i, j] == pytest.approx(common / whole if whole > 1e-6 else 0, abs=2e-3)


def test_centre() -> None:
    assert centre((0.2, 0.4, 0.4, 0.8)) == pytest.approx((0.3, 0.6))


@pytest.mark.parametrize(
    ("box", "sides"),
    [
        ((0.4, 0.4, 0.6, 0.6), set()),
        ((0.0, 0.4, 0.2, 0.6), {Side.LEFT}),
        ((0.9, 0.4, 0.96, 1.2), {Side.RIGHT, Side.BOTTOM}),
        ((-0.1, -0.1, 1.1, 1.1), set(Side)),
        ((0.4, 0.05, 0.5, 0.5), {Side.TOP}),
    ],
)
def test_sides_that_a_box_touches(box: Box, sides: set[Side]) -> None:
    assert touches(box, 0.05) == sides


@pytest.mark.parametrize(
    ("velocity", "side"),
    [((-0.5, 0.0), Side.LEFT), ((0.5, 0.1), Side.RIGHT), ((0.1, -0.5), Side.TOP), ((0.0, 0.5), Side.BOTTOM)],
)
def test_the_side_that_something_goes_to(velocity: tuple[float, float], side: Side) -> None:
    assert nearest_side((0.4, 0.4, 0.6, 0.6), velocity, set(Side)) is side


def test_only_candidates_are_chosen() -> None:
    assert nearest_side((0.4, 0.4, 0.6, 0.6), (-5.0, 0.0), {Side.RIGHT, Side.TOP}) is not Side.LEFT
    corner = (0.0, 0.0, 0.1, 0.1)
    assert nearest_side(corner, (-0.3, 0.0), {Side.LEFT, Side.TOP}) is Side.LEFT
    assert nearest_side(corner, (0.0, -0.3), {Side.LEFT, Side.TOP}) is Side.TOP


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (0.5, 0.5, "centre"),
        (0.1, 0.5, "left"),
        (0.9, 0.5, "right"),
        (0.5, 0.1, "top"),
        (0.5, 0.9, "bottom"),
        (0.1, 0.1, "top left"),
        (0.9, 0.9, "bottom right"),
    ],
)
def test_words_for_places(x: float, y: float, words: str) -> None:
    assert place((x - 0.02, y - 0.02, x + 0.02, y + 0.02)) == words


@given(boxes())
def test_every_place_has_a_word(box: Box) -> None:
    assert set(place(box).split()) <= {"left", "right", "top", "bottom", "centre"}
    assert place(box)
