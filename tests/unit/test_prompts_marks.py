"""Marks on pictures: on copies, where they belong, never over one another, and as they were looked at."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcap.config import Mark
from streamcap.prompts.choosing import MOST_MARKED, MOST_STANDING, chosen
from streamcap.prompts.lettering import colour_of, ink_on
from streamcap.prompts.marks import grid, legend, marked, shape
from streamcap.prompts.set_of_mark import Plate, plates
from streamcap.prompts.silhouettes import Rect, common, regions
from streamcap.types import Box, Fact, Instance, Look, Skill
from tests.prompt_goldens import DRAWINGS, crowd, golden, rendered

# Fonts and resizing differ by a little from release to release of the libraries: mean difference in grey levels, and
# share of the pixels that differ plainly.
MEAN_OFF = 1.5
PLAINLY, PLAINLY_MOST = 48, 0.01

sizes = st.sampled_from([(120, 160), (97, 201), (336, 336), (240, 427), (540, 960)])
labels = st.sampled_from(["person", "car", "dog", "chair", "object"])


@st.composite
def instances(draw: st.DrawFn, most: int = 30) -> tuple[Instance, ...]:
    found = []
    for number in range(1, draw(st.integers(0, most)) + 1):
        x0, y0 = draw(st.floats(-0.1, 0.98)), draw(st.floats(-0.1, 0.98))
        box: Box = (x0, y0, x0 + draw(st.floats(0.0, 0.9)), y0 + draw(st.floats(0.0, 0.9)))
        speed = draw(st.floats(-1, 1)), 0.0
        found.append(Instance(number * 7, draw(labels), draw(st.floats(0, 1)), box, speed, 0.0, draw(st.floats(0, 9))))
    return tuple(found)


def picture(size: tuple[int, int]) -> NDArray[np.uint8]:
    image = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    image.flags.writeable = False  # drawing on it would raise
    return image


def placed_for(size: tuple[int, int], some: Sequence[Instance], reserved: Sequence[Rect] = ()) -> tuple[Plate, ...]:
    """The numbers of instances of which only the boxes are known."""
    return plates(size, regions(some, size, {}), reserved=reserved)


@pytest.mark.parametrize("name", DRAWINGS)
def test_pictures_look_as_they_were_looked_at(name: str) -> None:
    now, kept = DRAWINGS[name]().astype(int), golden(name).astype(int)
    assert now.shape == kept.shape
    off = np.abs(now - kept)
    assert off.mean() < MEAN_OFF
    assert (off.max(axis=2) > PLAINLY).mean() < PLAINLY_MOST


@settings(max_examples=30, deadline=None)
@given(sizes, instances(), st.sets(st.sampled_from(Mark)), st.integers(1, 999))
def test_the_original_is_untouched_and_the_copy_has_its_size(
    size: tuple[int, int], some: tuple[Instance, ...], marks: set[Mark], number: int
) -> None:
    image = picture(size)
    before = image.copy()
    drawn = marked(image, some, marks, number=number)
    assert drawn.image.shape == image.shape
    assert drawn.image.dtype == np.uint8
    assert not np.shares_memory(drawn.image, image)
    np.testing.assert_array_equal(image, before)
    assert drawn.ids == tuple(sorted(drawn.ids))
    assert len(drawn.ids) <= MOST_MARKED


@settings(max_examples=60, deadline=None)
@given(sizes, instances())
def test_numbers_lie_in_the_picture_and_never_on_one_another(size: tuple[int, int], some: tuple[Instance, ...]) -> None:
    placed = placed_for(size, some)
    for plate in placed:
        left, top, right, bottom = plate.rect
        assert 0 <= left < right <= size[1]
        assert 0 <= top < bottom <= size[0]
    for a, b in itertools.combinations(placed, 2):
        apart = a.rect[2] <= b.rect[0] or b.rect[2] <= a.rect[0] or a.rect[3] <= b.rect[1] or b.rect[3] <= a.rect[1]
        assert apart, (a, b)


@settings(max_examples=30, deadline=None)
@given(sizes, instances(6))
def test_set_of_mark_changes_nothing_outside_of_boxes_and_numbers(
    size: tuple[int, int], some: tuple[Instance, ...]
) -> None:
    image = picture(size)
    drawn = marked(image, some, (Mark.SET_OF_MARK,))
    h, w = size
    free = np.ones(size, bool)
    for each in some:
        x0, y0, x1, y1 = (max(0.0, min(1.0, v)) for v in each.box)
        free[int(y0 * h) : int(np.ceil(y1 * h)) + 1, int(x0 * w) : int(np.ceil(x1 * w)) + 1] = False
    for plate in placed_for(size, [i for i in chosen(some) if i.id in drawn.ids]):
        free[plate.rect[1] : plate.rect[3], plate.rect[0] : plate.rect[2]] = False
    np.testing.assert_array_equal(drawn.image[free], image[free])


@settings(max_examples=20, deadline=None)
@given(sizes, instances(6))
def test_blur_leaves_every_instance_as_it_is(size: tuple[int, int], some: tuple[Instance, ...]) -> None:
    image = picture(size)
    drawn = marked(image, some, (Mark.BLUR,)).image
    for each in chosen(some):
        x0, y0, x1, y1 = (max(0.0, min(1.0, v)) for v in each.box)
        inside = np.s_[int(y0 * size[0]) : int(y1 * size[0]), int(x0 * size[1]) : int(x1 * size[1])]
        np.testing.assert_array_equal(drawn[inside], image[inside])


def test_blur_takes_the_detail_of_the_rest() -> None:
    image = picture((336, 336))
    one = Instance(1, "person", 0.9, (0.0, 0.0, 0.2, 0.2), (0.0, 0.0), 0.0, 1.0)
    rest = marked(image, (one,), (Mark.BLUR,)).image[150:, 150:]
    assert rest.std() < 0.1 * image[150:, 150:].std()


def test_blur_is_as_wide_on_a_larger_picture() -> None:
    look = rendered(24.2, 640, 360)
    small = rendered(24.2, 320, 180)
    a = marked(look.image, look.instances, (Mark.BLUR,)).image[:60:2, :200:2].astype(int)
    b = marked(small.image, small.instances, (Mark.BLUR,)).image[:30, :100].astype(int)
    assert np.abs(a - b).mean() < 3


def test_heat_keeps_the_light_on_who_acts_and_the_hues_everywhere() -> None:
    look = rendered(24.2)
    lit = marked(look.image, look.instances, (Mark.HEAT,)).image.astype(float)
    van = next(i for i in look.instances if i.label == "truck")
    x, y = int((van.box[0] + van.box[2]) / 2 * 320), int((van.box[1] + van.box[3]) / 2 * 180)
    assert lit[y, x].mean() > 0.8 * look.image[y, x].mean()
    assert lit[2, 2].mean() < 0.5 * look.image[2, 2].mean()
    wall = look.image[100, 20].astype(float)
    np.testing.assert_allclose(lit[100, 20] / lit[100, 20].sum(), wall / wall.sum(), atol=0.02)


@pytest.mark.parametrize("mark", [Mark.HEAT, Mark.BLUR, Mark.SET_OF_MARK])
def test_where_nobody_is_nothing_is_drawn(mark: Mark) -> None:
    image = picture((120, 160))
    np.testing.assert_array_equal(marked(image, (), (mark,)).image, image)


def test_of_thirty_the_least_telling_are_left_out() -> None:
    people = crowd(30)
    speaks = Fact("enter", 1.0, 1.5, 0.9, Skill.ACTION, (people[17].id,), "person", "left", 0.9)
    drawn = marked(rendered(2.0, 640, 360).image, people, (Mark.SET_OF_MARK,), facts=(speaks,))
    assert len(drawn.ids) == MOST_MARKED
    assert people[17].id in drawn.ids


def test_a_shelf_of_bowls_is_not_numbered_bowl_by_bowl() -> None:
    bowls = [Instance(i, "bowl", 0.95, (0.1 * i, 0.1, 0.1 * i + 0.08, 0.2), (0, 0), 0.0, 9.0) for i in range(1, 9)]
    person = Instance(20, "person", 0.9, (0.4, 0.3, 0.6, 0.9), (0, 0), 0.0, 9.0)
    picked = chosen([*bowls, person])
    assert person in picked
    assert len(picked) == 1 + MOST_STANDING
    taken = Fact("pick_up", 1.0, 1.5, 0.9, Skill.ACTION, (bowls[7].id,), "bowl", "", 0.9)
    assert bowls[7] in chosen([*bowls, person], (taken,))


def test_a_number_stands_in_the_middle_of_a_large_box_and_beside_a_small_one() -> None:
    large = Instance(1, "person", 0.9, (0.3, 0.1, 0.5, 0.9), (0, 0), 0.0, 1.0)
    small = Instance(2, "person", 0.9, (0.8, 0.5, 0.815, 0.55), (0, 0), 0.0, 1.0)
    one, two = sorted(placed_for((360, 640), (large, small)), key=lambda plate: plate.id)
    x, y = (one.rect[0] + one.rect[2]) / 2 / 640, (one.rect[1] + one.rect[3]) / 2 / 360
    assert (round(x, 1), round(y, 1)) == (0.4, 0.5)
    assert two.rect[3] <= 180 or two.rect[1] >= 198 or two.rect[2] <= 512 or two.rect[0] >= 521


def test_a_number_is_not_put_on_who_stands_before() -> None:
    behind = Instance(1, "bed", 0.9, (0.1, 0.4, 0.9, 0.8), (0, 0), 0.0, 1.0)
    before = Instance(2, "person", 0.9, (0.4, 0.1, 0.6, 0.9), (0, 0), 0.0, 1.0)
    # The smaller box is in front where it is smaller by area.
    placed = {plate.id: plate.rect for plate in placed_for((360, 640), (behind, before))}
    assert placed[1][2] <= 0.4 * 640 or placed[1][0] >= 0.6 * 640


def test_no_number_stands_where_something_else_is_to_be_drawn() -> None:
    corner = Instance(12, "person", 0.9, (0.8, 0.5, 1.0, 1.0), (0, 0), 0.0, 1.0)
    reserved = (280, 60, 320, 180)
    (plate,) = placed_for((180, 320), (corner,), reserved=(reserved,))
    assert plate.rect[2] <= reserved[0]


def test_colours_are_the_same_for_ever_and_numbers_on_them_are_read() -> None:
    def luminance(colour: tuple[int, int, int]) -> float:
        linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for number in range(1, 40):
        colour = colour_of(number)
        assert colour == colour_of(number)
        bright, dark = sorted((luminance(colour), luminance(ink_on(colour))), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5
    assert all(len({colour_of(number) for number in range(n, n + 11)}) == 11 for n in range(1, 30)), "far apart"


def test_who_shares_a_colour_in_one_picture_has_a_number_of_his_own() -> None:
    ids = marked(picture((540, 960)), crowd(), {Mark.SET_OF_MARK}).ids
    shared = [pair for pair in itertools.combinations(ids, 2) if colour_of(pair[0]) == colour_of(pair[1])]
    assert shared, "of so many some have one colour"
    rects = {plate.id: plate.rect for plate in placed_for((540, 960), chosen(crowd()))}
    assert rects.keys() == set(ids)
    assert not any(common(rects[a], rects[b]) for a, b in itertools.combinations(ids, 2))


@pytest.mark.parametrize("size", [(120, 160), (2160, 3840)])
def test_the_smallest_and_the_largest_picture_are_marked(size: tuple[int, int]) -> None:
    look = rendered(24.2, size[1], size[0])
    drawn = marked(look.image, look.instances, tuple(Mark), number=2)
    assert drawn.ids == (2, 3, 4)
    heights = {p.rect[3] - p.rect[1] for p in placed_for(size, look.instances)}
    assert all(11 <= height <= size[0] / 6 for height in heights)


@pytest.mark.parametrize(("count", "most"), [(1, (1, 1)), (2, (2, 1)), (4, (2, 2)), (8, (4, 2)), (5, (3, 2))])
def test_a_grid_is_about_square(count: int, most: tuple[int, int]) -> None:
    assert shape(count, 16 / 9) == most


@pytest.mark.parametrize("count", range(1, 9))
def test_a_grid_holds_all_pictures_and_stays_within_its_size(count: int) -> None:
    looks = [Look(float(i), picture((360, 640)), ()) for i in range(count)]
    drawn = grid(looks, side=800).image
    rows, columns = shape(count, 640 / 360)
    assert max(drawn.shape) <= 800 + 8 * columns
    assert rows * columns >= count


def test_a_grid_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        grid(())


def test_each_mark_has_a_line_that_says_what_it_means() -> None:
    assert len(legend(tuple(Mark))) == len(Mark)
    assert legend(()) == ()
    assert legend((Mark.FRAME_NUMBER, Mark.HEAT)) == legend((Mark.HEAT, Mark.FRAME_NUMBER))  # one order
    assert "grid" in legend((), in_grid=True)[0]
