"""Where the detector looks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcap.geometry import area, clip, contained
from streamcap.regions import Look, TileWalk, plan, tiles
from streamcap.types import Box

SIZES = st.one_of(
    st.sampled_from([(1280, 720), (768, 576), (640, 360), (320, 240), (720, 1280), (96, 64), (1280, 90)]),
    st.tuples(st.integers(16, 1280), st.integers(16, 1280)),
)
EPSILON = 1e-9


@st.composite
def looks(draw: st.DrawFn, outside: float = 0.2) -> Look:
    x, y = draw(st.floats(-outside, 0.95)), draw(st.floats(-outside, 0.95))
    w, h = draw(st.floats(0.005, 1.0)), draw(st.floats(0.005, 1.0))
    return Look((x, y, min(x + w, 1 + outside), min(y + h, 1 + outside)), draw(st.floats(0, 10)))


def inside_frame(crop: Box) -> bool:
    return crop[0] >= -EPSILON and crop[1] >= -EPSILON and crop[2] <= 1 + EPSILON and crop[3] <= 1 + EPSILON


@given(st.lists(looks(), max_size=12), SIZES, st.integers(0, 6))
@settings(deadline=None)
def test_crops_stay_in_the_frame_and_in_the_budget(wishes: list[Look], size: tuple[int, int], budget: int) -> None:
    crops = plan(wishes, size, budget)
    assert len(crops) <= min(budget, len(wishes))
    assert bool(crops) == bool(wishes and budget)
    for crop in crops:
        assert inside_frame(crop)
        assert int(crop[2] * size[0]) - int(crop[0] * size[0]) >= 16 or crop[2] - crop[0] > 1 - EPSILON
        assert int(crop[3] * size[1]) - int(crop[1] * size[1]) >= 16 or crop[3] - crop[1] > 1 - EPSILON


@given(st.lists(looks(), min_size=1, max_size=12), SIZES)
@settings(deadline=None)
def test_the_most_urgent_wish_is_met_first(wishes: list[Look], size: tuple[int, int]) -> None:
    first = max(wishes, key=lambda look: look.priority)
    crop = plan(wishes, size, 2)[0]
    part = clip(first.box)
    if area(part) > 1e-6:
        assert contained(part, crop) > 0.98


@given(st.lists(looks(), min_size=1, max_size=8), SIZES)
@settings(deadline=None)
def test_with_budget_enough_all_wishes_are_met(wishes: list[Look], size: tuple[int, int]) -> None:
    crops = plan(wishes, size, len(wishes))
    for look in wishes:
        part = clip(look.box)
        if area(part) > 1e-6:
            assert max(contained(part, crop) for crop in crops) > 0.9


def test_a_small_object_is_magnified() -> None:
    size = (1280, 720)
    (crop,) = plan([Look((0.5, 0.5, 0.53, 0.6), 1.0)], size, 1)
    assert (crop[2] - crop[0]) * size[0] == pytest.approx((crop[3] - crop[1]) * size[1])  # a square
    assert area(crop) < 0.2


def test_neighbours_share_a_crop_and_others_do_not() -> None:
    size = (1280, 720)
    near = [Look((0.2, 0.5, 0.23, 0.6), 2.0), Look((0.24, 0.5, 0.27, 0.6), 1.0)]
    far = Look((0.9, 0.1, 0.93, 0.2), 0.5)
    crops = plan([*near, far], size, 5)
    assert len(crops) == 2
    assert all(contained(look.box, crops[0]) > 0.99 for look in near)
    assert contained(far.box, crops[1]) > 0.99


def test_no_wish_no_crop() -> None:
    assert plan([], (640, 360), 3) == []


@given(SIZES)
@settings(deadline=None)
def test_tiles_lie_in_the_frame_and_cover_it(size: tuple[int, int]) -> None:
    found = tiles(size)
    assert found[0] == (0.0, 0.0, 1.0, 1.0)
    assert len(found) < 200
    assert all(inside_frame(tile) and area(tile) > 0 for tile in found)
    smaller = [tile for tile in found if area(tile) < 0.99]
    if smaller:
        points = [(i / 40, j / 40) for i in range(41) for j in range(41)]
        missed = [
            (x, y)
            for x, y in points
            if not any(t[0] - EPSILON <= x <= t[2] + EPSILON and t[1] - EPSILON <= y <= t[3] + EPSILON for t in smaller)
        ]
        assert missed == []


@pytest.mark.parametrize("size", [(1280, 720), (768, 576), (320, 240)])
def test_an_object_of_a_tenth_of_the_height_is_whole_in_some_tile(size: tuple[int, int]) -> None:
    """Tiles overlap, so that what lies on the border of one is whole in the next."""
    found = tiles(size)
    smallest = min(found, key=area)
    w, h = 0.1 * size[1] / size[0], 0.1
    fine = [tile for tile in found if area(tile) < 1.01 * area(smallest)]
    for i in range(30):
        for j in range(30):
            x, y = (1 - w) * i / 29, (1 - h) * j / 29
            assert max(contained((x, y, x + w, y + h), tile) for tile in fine) > 0.95


@given(SIZES)
@settings(deadline=None, max_examples=30)
def test_the_walk_visits_every_tile_and_begins_again(size: tuple[int, int]) -> None:
    walk, every = TileWalk(), tiles(size)
    first = [walk.next(size) for _ in every]
    assert sorted(first) == sorted(every)
    assert first[0] == (0.0, 0.0, 1.0, 1.0)
    assert [walk.next(size) for _ in every] == first
    for _ in range(math.ceil(len(every) / 2)):
        walk.next(size)
    walk.restart()
    assert walk.next(size) == first[0]


def test_the_walk_follows_a_change_of_size() -> None:
    walk = TileWalk()
    for _ in range(5):
        walk.next((1280, 720))
    assert walk.next((320, 240)) in tiles((320, 240))
