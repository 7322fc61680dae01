"""What fills the picture is judged at two scales."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.closeups import STEP_BACK, Found, agreed, fills, from_afar, step_back
from streamcap.types import Box

FULL: Box = (0.0, 0.0, 0.9, 1.0)
SMALL: Box = (0.1, 0.1, 0.2, 0.3)


def test_stepping_back_keeps_the_picture_in_the_middle() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    back = step_back(image)
    assert back.shape == (60, 90, 3)
    assert np.array_equal(back[10:50, 15:75], image)
    assert (back[:10] == back[0, 0]).all()


@given(st.tuples(*(st.floats(0, 1) for _ in range(4))))
def test_a_box_comes_back_to_where_it_is_in_the_frame(box: Box) -> None:
    margin = (1 - 1 / STEP_BACK) / 2
    seen = tuple(margin + v / STEP_BACK for v in box)
    assert from_afar(seen) == pytest.approx(box, abs=1e-6)


def test_what_is_small_passes_unchanged() -> None:
    bottle: Found = (0.5, "bottle", SMALL)
    assert not fills(SMALL)
    assert fills(FULL)
    assert agreed([bottle], []) == [bottle]


def test_a_name_that_holds_at_both_scales_is_believed() -> None:
    assert agreed([(0.6, "person", FULL)], [(0.8, "person", FULL)]) == [(0.8, "person", FULL)]


def test_the_smaller_picture_names_it_where_the_two_disagree() -> None:
    assert agreed([(0.43, "person", FULL)], [(0.68, "bird", FULL)]) == [(0.68, "bird", FULL)]


def test_a_wall_of_lit_windows_is_no_television() -> None:
    """Every picture with a rim looks like a screen: from afar, screens do not count."""
    (told,) = agreed([(0.77, "tv", FULL)], [(0.6, "tv", FULL)])
    assert told[:2] == (0.77 * 0.5, "tv")


def test_what_only_the_smaller_picture_shows_is_a_guess() -> None:
    assert agreed([], [(0.7, "dog", FULL), (0.7, "dog", SMALL)]) == [(0.7 * 0.5, "dog", FULL)]
