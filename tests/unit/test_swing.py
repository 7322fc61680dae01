"""Coarse motion of the whole picture, on a place that is looked at from known points."""

from __future__ import annotations

import pytest

from streamcap.gating import BlockGate
from streamcap.swing import swing
from streamcap.transform import moves_all_over
from tests.scenes import canvas, view, with_patch

PLACE = canvas(11)


@pytest.mark.parametrize(("x", "y"), [(0.1, 0.0), (-0.15, 0.1), (0.0, -0.2)])
def test_a_swing_is_measured(x: float, y: float) -> None:
    before, after = view(PLACE), view(PLACE, x=x, y=y)
    moved = swing(before, after)
    assert moved.likeness > 0.7
    assert (moved.dx, moved.dy) == pytest.approx((-x, -y), abs=0.03)


def test_another_place_is_not_found() -> None:
    assert swing(view(PLACE), view(canvas(12))).likeness < 0.55


def test_a_blank_picture_shows_nothing() -> None:
    grey = view(PLACE)
    assert swing(grey, grey * 0 + 90).likeness == 0.0


def test_a_picture_that_moves_changes_on_all_sides_and_a_lorry_in_it_does_not() -> None:
    for after, everywhere in (
        (view(PLACE, x=0.1, y=0.1), True),
        (with_patch(view(PLACE), (0.3, 0.3, 1.0, 0.9)), False),
    ):
        gate = BlockGate()
        for number in range(5):
            gate.update(view(PLACE), number / 5)
        assert moves_all_over(gate.update(after, 1.0).changed) is everywhere
