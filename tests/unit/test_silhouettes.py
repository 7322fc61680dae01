"""Silhouettes: of likelihoods what belongs to an instance, and marks along bodies that share no pixel."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcap.config import Mark
from streamcap.prompts.marks import marked
from streamcap.prompts.outlines import strokes
from streamcap.prompts.set_of_mark import plates
from streamcap.prompts.silhouettes import Mask, Region, extent, regions, silhouette
from streamcap.types import Box, Instance
from tests.prompt_goldens import couple, cut_out, rendered

SHAPE = (180, 320)


def who(key: int, box: Box) -> Instance:
    return Instance(key, "person", 0.9, box, (0.0, 0.0), 0.0, 1.0)


def ellipse(x: int, y: int, across: int, down: int, shape: tuple[int, int] = SHAPE) -> Mask:
    drawn = cv2.ellipse(np.zeros(shape, np.uint8), (x, y), (across, down), 0, 0, 360, 1, cv2.FILLED)
    return np.asarray(drawn, np.bool_)


def box_of(mask: Mask, spare: float = 0.0) -> Box:
    left, top, right, bottom = extent(mask) or (0, 0, 0, 0)
    h, w = mask.shape
    return left / w - spare, top / h - spare, right / w + spare, bottom / h + spare


def likely(mask: Mask) -> NDArray[np.float32]:
    return np.where(mask, 0.9, 0.1).astype(np.float32)


bodies = st.lists(
    st.tuples(st.integers(-20, 340), st.integers(-20, 200), st.integers(2, 90), st.integers(2, 90)),
    min_size=1,
    max_size=8,
)


def scene(some: list[tuple[int, int, int, int]]) -> tuple[tuple[Instance, ...], dict[int, Mask]]:
    masks = {key: ellipse(*each) for key, each in enumerate(some, 1)}
    masks = {key: mask for key, mask in masks.items() if mask.any()}
    return tuple(who(key, box_of(mask)) for key, mask in masks.items()), masks


# ---- a silhouette of likelihoods


def test_what_lies_in_the_box_is_kept_and_the_neighbour_is_not() -> None:
    body, neighbour = ellipse(100, 90, 25, 60), ellipse(180, 90, 25, 60)
    found = silhouette(likely(body | neighbour), box_of(body, 0.02))
    assert found is not None
    assert np.count_nonzero(found & neighbour) == 0
    assert np.count_nonzero(found & body) > 0.97 * np.count_nonzero(body)


def test_a_neighbour_that_reaches_into_the_box_is_cut_off() -> None:
    body, neighbour = ellipse(100, 90, 25, 60), ellipse(150, 90, 20, 20)
    found = silhouette(likely(body | neighbour), (75 / 320, 30 / 180, 140 / 320, 150 / 180))
    assert found is not None
    assert not found[90, 140:].any()


def test_holes_are_filled_and_both_sides_of_a_pole_are_kept() -> None:
    body = ellipse(100, 90, 30, 60)
    holed = body.copy()
    holed[85:95, 95:105] = False
    found = silhouette(likely(holed), box_of(body))
    assert found is not None
    assert found[90, 100]
    parted = body.copy()
    parted[:, 98:103] = False
    halves = silhouette(likely(parted), box_of(body))
    assert halves is not None
    assert halves[90, 80]
    assert halves[90, 120]


@pytest.mark.parametrize(
    ("mask", "box"),
    [
        (ellipse(100, 90, 8, 8), (70 / 320, 20 / 180, 130 / 320, 160 / 180)),  # a small part of it
        (np.ones(SHAPE, np.bool_), (0.2, 0.2, 0.6, 0.9)),  # all of it and beyond
        (np.zeros(SHAPE, np.bool_), (0.2, 0.2, 0.6, 0.9)),
        (ellipse(100, 90, 30, 60), (0.6, 0.2, 0.9, 0.8)),  # somewhere else
        (ellipse(100, 90, 60, 10), (40 / 320, 20 / 180, 160 / 320, 160 / 180)),  # a stripe of it
        (ellipse(100, 90, 7, 7), box_of(ellipse(100, 90, 7, 7))),  # too few pixels to tell
        (ellipse(100, 90, 30, 60), (1.2, 0.2, 1.5, 0.8)),  # not in the picture
    ],
)
def test_what_fits_its_box_badly_is_none(mask: Mask, box: Box) -> None:
    assert silhouette(likely(mask), box) is None


@settings(max_examples=50, deadline=None)
@given(bodies, st.floats(-0.1, 0.1))
def test_a_silhouette_stays_about_its_box_whatever_is_likely(some: list[tuple[int, int, int, int]], off: float) -> None:
    instances, masks = scene(some)
    for each in instances:
        x0, y0, x1, y1 = each.box
        box = (x0 + off, y0, x1 + off, y1)
        found = silhouette(likely(np.logical_or.reduce(list(masks.values()))), box)
        if found is not None:
            left, top, right, bottom = extent(found) or (0, 0, 0, 0)
            spare = 0.1 * (x1 - x0) * 320 + 2, 0.1 * (y1 - y0) * 180 + 2
            assert left >= box[0] * 320 - spare[0]
            assert right <= box[2] * 320 + spare[0]
            assert top >= box[1] * 180 - spare[1]
            assert bottom <= box[3] * 180 + spare[1]


# ---- several of them


def shared(regions_or_strokes: Mapping[int, Mask]) -> int:
    return max(
        (int(np.count_nonzero(a & b)) for a, b in itertools.combinations(regions_or_strokes.values(), 2)), default=0
    )


def whole(region: Region) -> Mask:
    return region.over((0, 0, SHAPE[1], SHAPE[0]))


@settings(max_examples=60, deadline=None)
@given(bodies)
def test_no_pixel_belongs_to_two_marks(some: list[tuple[int, int, int, int]]) -> None:
    instances, masks = scene(some)
    covered = regions(instances, SHAPE, masks)
    assert shared({key: whole(region) for key, region in covered.items() if region.cover is not None}) == 0
    marks: dict[int, Mask] = {}
    for stroke in strokes(covered.values(), SHAPE):
        left, top, right, bottom = stroke.rect
        marks[stroke.id] = np.zeros(SHAPE, np.bool_)
        marks[stroke.id][top:bottom, left:right] = stroke.body | stroke.line | stroke.rim
        assert not (stroke.line & stroke.rim).any()
        assert not (stroke.body & (stroke.line | stroke.rim)).any()
    assert shared(marks) == 0


def test_of_two_overlapping_ones_the_smaller_is_whole_and_its_line_lies_on_the_larger() -> None:
    look = couple()
    covered = regions(look.instances, SHAPE, look.silhouettes)
    np.testing.assert_array_equal(whole(covered[2]), look.silhouettes[2])
    assert covered[1].area < np.count_nonzero(look.silhouettes[1])
    first, *_ = strokes(covered.values(), SHAPE)
    assert first.id == 2
    left, top, right, bottom = first.rect
    assert (first.line & covered[1].over((left, top, right, bottom))).any()


def test_two_boxes_with_one_body_are_marked_along_it_once() -> None:
    body = ellipse(100, 90, 25, 60)
    near, off = who(1, (0.1, 0.1, 0.5, 0.9)), who(2, box_of(body, 0.01))
    covered = regions((near, off), SHAPE, {1: body, 2: body})
    assert covered[1].cover is None  # the box fits it worse
    np.testing.assert_array_equal(whole(covered[2]), body)


def test_who_is_hidden_by_others_has_the_box() -> None:
    behind = ellipse(100, 90, 60, 60)
    masks = {1: behind, 2: behind & ellipse(60, 90, 36, 60), 3: behind & ellipse(140, 90, 36, 60)}
    covered = regions([who(key, box_of(mask)) for key, mask in masks.items()], SHAPE, masks)
    assert {key: region.cover is None for key, region in covered.items()} == {1: True, 2: False, 3: False}


def test_a_child_before_an_adult_has_its_own_outline() -> None:
    adult, child = ellipse(100, 90, 40, 80), ellipse(100, 120, 16, 40)
    masks = {1: adult, 2: child}
    covered = regions([who(key, box_of(mask)) for key, mask in masks.items()], SHAPE, masks)
    np.testing.assert_array_equal(whole(covered[2]), child)
    np.testing.assert_array_equal(whole(covered[1]), adult & ~child)


def test_a_silhouette_of_another_size_fits_the_picture() -> None:
    look = rendered(24.2, 640, 360)
    small = rendered(24.2)
    large = regions(look.instances, (360, 640), cut_out(look))
    for key, region in regions(small.instances, SHAPE, cut_out(look)).items():
        if region.cover is not None:
            assert region.area == pytest.approx(large[key].area / 4, rel=0.15)


# ---- drawn


@settings(max_examples=30, deadline=None)
@given(bodies)
def test_numbers_stand_on_their_own_body_or_beside_it(some: list[tuple[int, int, int, int]]) -> None:
    instances, masks = scene(some)
    covered = regions(instances, SHAPE, masks)
    placed = plates(SHAPE, covered)
    for a, b in itertools.combinations(placed, 2):
        assert a.rect[2] <= b.rect[0] or b.rect[2] <= a.rect[0] or a.rect[3] <= b.rect[1] or b.rect[3] <= a.rect[1]


def test_a_number_stands_in_the_widest_part_of_a_body() -> None:
    shape = (360, 640)
    head, trunk = ellipse(300, 60, 22, 26, shape), ellipse(300, 200, 60, 110, shape)
    person = who(1, box_of(head | trunk, 0.02))
    (plate,) = plates(shape, regions((person,), shape, {1: head | trunk}))
    left, top, right, bottom = plate.rect
    assert trunk[top:bottom, left:right].all()
    assert not head[top:bottom, left:right].any()


def test_a_number_stands_on_the_body_and_not_in_the_middle_of_the_box() -> None:
    shape = (360, 640)
    bent = ellipse(220, 180, 120, 40, shape) & ~ellipse(300, 150, 120, 40, shape)
    body = bent | ellipse(130, 220, 60, 80, shape)
    (plate,) = plates(shape, regions((who(1, box_of(body)),), shape, {1: body}))
    x, y = (plate.rect[0] + plate.rect[2]) // 2, (plate.rect[1] + plate.rect[3]) // 2
    assert body[y, x]


def test_blur_keeps_the_body_to_the_pixel_and_takes_the_rest_of_the_box() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (*SHAPE, 3), np.uint8)
    body = ellipse(100, 90, 20, 60)
    box = (40 / 320, 20 / 180, 160 / 320, 160 / 180)
    drawn = marked(noise, (who(1, box),), (Mark.BLUR,), silhouettes={1: body}).image
    np.testing.assert_array_equal(drawn[body], noise[body])
    corner = np.s_[24:44, 44:64]
    assert drawn[corner].std() < 0.3 * noise[corner].std()


def test_nothing_is_drawn_away_from_the_body() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (*SHAPE, 3), np.uint8)
    body = ellipse(100, 90, 30, 60)
    one = who(1, (0.1, 0.0, 0.7, 1.0))
    drawn = marked(noise, (one,), (Mark.SET_OF_MARK,), silhouettes={1: body}).image
    far = cv2.dilate(body.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    np.testing.assert_array_equal(drawn[far], noise[far])
    inner = cv2.erode(body.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    (plate,) = plates(SHAPE, regions((one,), SHAPE, {1: body}))
    inner[plate.rect[1] : plate.rect[3], plate.rect[0] : plate.rect[2]] = False
    np.testing.assert_array_equal(drawn[inner], noise[inner])  # clothes keep their colours


def test_a_box_behind_a_body_does_not_run_over_it() -> None:
    image = np.full((*SHAPE, 3), 128, np.uint8)
    body = ellipse(100, 90, 20, 60)
    bed = Instance(2, "bed", 0.95, (0.1, 0.5, 0.9, 0.95), (0.0, 0.0), 0.0, 1.0)
    drawn = marked(image, (who(1, box_of(body)), bed), (Mark.SET_OF_MARK,), silhouettes={1: body}).image
    assert (drawn[90, 88] == 128).all()
    assert not (drawn[90, 60] == 128).all()  # its frame, beside the body
