"""Pictures made ready for a network, and boxes brought back: whatever the size, they meet."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.errors import ModelError
from streamcap.models.pictures import Interpolation, PictureRule, Resize, prepare, to_picture

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300))
MODES = st.sampled_from(get_args(Resize))


@given(SIZES, SIZES, MODES, st.sampled_from(get_args(Interpolation)))
def test_any_picture_fits_any_network(
    picture: tuple[int, int], size: tuple[int, int], resize: Resize, interpolation: Interpolation
) -> None:
    rule = PictureRule(size, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), resize=resize, interpolation=interpolation)
    ready = prepare(np.full((*picture, 3), (255, 0, 51), np.uint8), rule)
    assert ready.shape == (3, size[1], size[0])
    assert ready.dtype == np.float32
    assert ready.flags.c_contiguous
    expected = (np.array([1, 0, 0.2]) - rule.mean) / rule.std
    assert ready[:, 0, 0] == pytest.approx(expected, abs=1e-5)  # letterboxed pictures lie at the top left


@given(st.tuples(st.integers(40, 300), st.integers(40, 300)), MODES, st.integers(0, 2**32 - 1))
def test_a_box_comes_back_to_where_it_was_seen(picture: tuple[int, int], resize: Resize, seed: int) -> None:
    """A white rectangle is drawn, found in the network's input, and brought back."""
    height, width = picture
    rng = np.random.default_rng(seed)
    # In the middle half of the shorter side, which no mode cuts away.
    side = min(picture)
    x0, y0 = (width - side) // 2 + side // 4, (height - side) // 2 + side // 4
    x1, y1 = x0 + int(rng.integers(side // 4, side // 2)), y0 + int(rng.integers(side // 4, side // 2))
    image = np.zeros((height, width, 3), np.uint8)
    image[y0:y1, x0:x1] = 255
    rule = PictureRule((96, 96), resize=resize)
    seen = prepare(image, rule)[0] > 0.5
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    box = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], np.float32) / np.float32(96)
    found = to_picture(box, picture, rule)[0] * np.array([width, height, width, height])
    assert found == pytest.approx([x0, y0, x1, y1], abs=1 + max(picture) / 96)


def test_boxes_stay_in_the_picture() -> None:
    far = np.array([[-1, -1, 2, 2]], np.float32)
    for resize in get_args(Resize):
        found = to_picture(far, (90, 160), PictureRule((32, 32), resize=resize))
        assert found.min() >= 0
        assert found.max() <= 1


def test_a_small_bright_thing_survives_shrinking() -> None:
    """Ways to shrink that look at some pixels only would lose one in sixteen."""
    image = np.zeros((512, 512, 3), np.uint8)
    image[::16, ::16] = 255
    for interpolation in get_args(Interpolation):
        rule = PictureRule((32, 32), interpolation=interpolation)
        assert prepare(image, rule).mean() == pytest.approx((image / 255).mean(), rel=0.15)


@pytest.mark.parametrize(
    "shape", [(4, 4), (4, 4, 1), (0, 4, 3), (4, 0, 3), (1, 4, 4, 3)], ids=lambda shape: "x".join(map(str, shape))
)
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="a picture must be"):
        prepare(np.zeros(shape, np.uint8), PictureRule((8, 8)))
