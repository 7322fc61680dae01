"""Since when the picture has not moved, on a place that is looked at from known points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from streamcap.camera import CameraChange, CameraReading
from streamcap.gating import BlockGate
from streamcap.steadiness import SteadyWatch, stays
from streamcap.transform import Transform, moves_all_over
from tests.scenes import STILL, Grey, canvas, lit, noisy, view, with_patch

PLACE = canvas(11)


def since(pictures: Sequence[Grey], camera: CameraReading = STILL, *, drives: bool = False) -> float:
    """What the watch says after the last of pictures at five a second; the camera reading is of the last."""
    gate, watch, at = BlockGate(), SteadyWatch(), 0.0
    for number, grey in enumerate(pictures):
        last = number == len(pictures) - 1
        changed = gate.update(grey, number / 5).changed
        at = watch.update(grey, number / 5, changed, camera if last else STILL, drives=drives and last)
    return at


def test_a_picture_that_moves_and_is_not_understood_is_not_steady() -> None:
    assert since([view(PLACE)] * 5 + [view(PLACE, x=0.1, y=0.1)]) == 1.0


def test_one_that_was_never_shown_before_has_not_rested() -> None:
    assert since([view(PLACE)] * 5) == 0.0


@pytest.mark.parametrize("gain", [0.85, 1.15])
def test_another_exposure_moves_nothing(gain: float) -> None:
    grey, other = view(PLACE), lit(view(PLACE), gain)
    gate = BlockGate()
    for number in range(5):
        gate.update(grey, number / 5)
    assert moves_all_over(gate.update(other, 1.0).changed)
    assert since([grey] * 5 + [other]) == 0.0


def test_who_walks_in_close_up_while_the_exposure_follows_moves_not_the_picture() -> None:
    assert since([view(PLACE)] * 5 + [with_patch(lit(view(PLACE), 1.15), (0.3, 0.1, 0.7, 1.0))]) == 0.0


def test_a_camera_known_to_move_or_drive_is_not_steady_and_a_cut_begins_anew() -> None:
    still = [view(PLACE)] * 5
    assert since(still, CameraReading(Transform(0.05, trusted=True), True, ())) == 0.8
    assert since(still, drives=True) == 0.8
    cut = CameraReading(Transform(), False, (CameraChange("cut", "", 0.8, 0.8, 0.9),))
    assert since(still, cut) == -math.inf


def test_what_has_no_structure_cannot_be_seen_to_stay() -> None:
    flat = np.full_like(view(PLACE), 90)
    assert not stays(flat, flat)
    assert not stays(None, flat)
    assert not stays(flat[:-8], flat)


def test_noise_moves_nothing() -> None:
    rng = np.random.default_rng(1)
    assert stays(noisy(view(PLACE), 4.0, rng), noisy(view(PLACE), 4.0, rng))
