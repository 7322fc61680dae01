"""Detections in crops as sightings in the frame."""

from __future__ import annotations

import numpy as np
import pytest

from streamcap.sightings import distinct, placed
from streamcap.types import Box, Detections

LABELS = ("person", "dog")
RIGHT_HALF: Box = (0.5, 0.0, 1.0, 1.0)


def detected(*boxes: Box) -> Detections:
    count = len(boxes)
    return Detections(
        np.asarray(boxes, np.float32), np.zeros(count, np.int32), np.linspace(0.9, 0.5, count, dtype=np.float32)
    )


def test_a_box_in_a_crop_is_told_in_the_frame() -> None:
    ((score, label, box),) = placed(detected((0.2, 0.4, 0.6, 0.8)), LABELS, RIGHT_HALF)
    assert (round(score, 3), label) == (0.9, "person")
    assert box == pytest.approx((0.6, 0.4, 0.8, 0.8))


def test_what_the_crop_cuts_off_is_left_out_and_what_the_frame_does_is_not() -> None:
    cut, at_the_side = (0.0, 0.4, 0.3, 0.8), (0.7, 0.4, 1.0, 0.8)
    (found,) = placed(detected(cut, at_the_side), LABELS, RIGHT_HALF)
    assert found[2] == pytest.approx((0.85, 0.4, 1.0, 0.8))


def test_of_two_that_cover_each_other_the_better_stays() -> None:
    one = (0.6, "person", (0.1, 0.1, 0.3, 0.6))
    better = (0.8, "dog", (0.1, 0.12, 0.3, 0.62))
    assert distinct([one, better]) == [better]


def test_a_bag_on_a_person_stays_and_a_second_small_person_does_not() -> None:
    person = (0.9, "person", (0.1, 0.1, 0.3, 0.6))
    bag = (0.5, "backpack", (0.15, 0.2, 0.22, 0.35))
    half = (0.4, "person", (0.15, 0.2, 0.22, 0.35))
    assert distinct([half, bag, person]) == [person, bag]
    assert distinct([half, person]) == [person]
