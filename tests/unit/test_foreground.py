"""What moves in front of a still camera."""

from __future__ import annotations

import functools

import numpy as np

from streamcap.foreground import Foreground
from streamcap.geometry import contained, union
from streamcap.types import Box
from tests.scenes import canvas, lit, noisy, view, with_patch

ROOM = view(canvas(1))
PERSON = (0.08, 0.5)


def learnt(rng: np.random.Generator, frames: int = 12) -> Foreground:
    model = Foreground()
    for _ in range(frames):
        model.update(noisy(ROOM, 2, rng))
    return model


def walker(x: float, y: float = 0.3) -> Box:
    return x, y, x + PERSON[0], y + PERSON[1]


def test_nothing_moves_in_a_still_room() -> None:
    rng = np.random.default_rng(0)
    model = learnt(rng)
    assert [model.update(noisy(ROOM, 2, rng)) for _ in range(50)] == [[]] * 50


def test_a_walker_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    model = learnt(rng)
    for step in range(20):
        box = walker(0.1 + 0.03 * step)
        blobs = model.update(noisy(with_patch(ROOM, box, seed=2), 2, rng))
        assert 1 <= len(blobs) <= 3  # clothes match the wall in places
        assert contained(box, functools.reduce(union, blobs)) > 0.6
        assert all(contained(blob, box) > 0.5 for blob in blobs)
        assert model.cover(box) > 0.3
        assert model.cover(walker(0.1 + 0.03 * ((step + 10) % 20))) < 0.2


def test_two_walkers_are_two_the_larger_first() -> None:
    rng = np.random.default_rng(2)
    model = learnt(rng)
    small, large = (0.1, 0.4, 0.16, 0.7), (0.6, 0.2, 0.75, 0.9)
    blobs = model.update(noisy(with_patch(with_patch(ROOM, small, 3), large, 4), 2, rng))
    assert len(blobs) == 2
    assert contained(blobs[0], large) > 0.5
    assert contained(blobs[1], small) > 0.5


def test_what_stays_becomes_background() -> None:
    rng = np.random.default_rng(3)
    model = learnt(rng)
    parked = noisy(with_patch(ROOM, walker(0.5), seed=5), 2, rng)
    counts = [len(model.update(parked)) for _ in range(400)]
    assert counts[0] > 0
    assert counts[-1] == 0


def test_while_it_learns_it_is_silent() -> None:
    rng = np.random.default_rng(4)
    model = Foreground()
    assert model.update(noisy(ROOM, 2, rng)) == []
    assert model.cover(walker(0.5)) == 0.0
    model = learnt(rng)
    model.reset()
    assert model.cover(walker(0.5)) == 0.0
    assert model.update(noisy(with_patch(ROOM, walker(0.5), seed=2), 2, rng)) == []


def test_a_change_of_everything_is_no_object() -> None:
    rng = np.random.default_rng(5)
    model = learnt(rng)
    assert model.update(noisy(lit(ROOM, 0.4), 2, rng)) == []


def test_another_size_starts_anew() -> None:
    rng = np.random.default_rng(6)
    model = learnt(rng)
    assert model.update(view(canvas(1), size=(320, 240))) == []


def test_what_lies_outside_is_not_covered() -> None:
    rng = np.random.default_rng(7)
    model = learnt(rng)
    model.update(noisy(with_patch(ROOM, walker(0.5), seed=2), 2, rng))
    assert model.cover((1.2, 0.2, 1.5, 0.4)) == 0.0
    assert model.cover((0.5, 0.5, 0.5, 0.5)) in (0.0, 1.0)


def test_of_a_box_that_reaches_out_of_the_frame_the_part_inside_counts() -> None:
    rng = np.random.default_rng(8)
    model = learnt(rng)
    for box in ((-0.1, 0.2, 0.1, 0.8), (0.9, 0.2, 1.1, 0.8), (0.3, -0.2, 0.5, 0.4), (0.3, 0.6, 0.5, 1.2)):
        model.update(noisy(with_patch(ROOM, box, seed=2), 2, rng))
        assert model.cover(box) > 0.5


def test_a_background_that_was_forgotten_is_learnt_as_if_new() -> None:
    used = learnt(np.random.default_rng(3))
    used.reset()
    fresh = Foreground()
    assert used.cover((0.0, 0.0, 1.0, 1.0)) == 0.0
    other = view(canvas(2))
    for step in range(12):
        picture = noisy(with_patch(other, walker(0.05 * step), seed=2), 2, np.random.default_rng(step))
        assert used.update(picture) == fresh.update(picture)


def test_what_comes_after_a_few_quiet_frames_stands_out() -> None:
    foreground, rng = Foreground(), np.random.default_rng(0)
    road = view(canvas(11))
    while foreground.learns:
        assert foreground.update(noisy(road, 1.5, rng)) == []
    (blob,) = foreground.update(noisy(with_patch(road, (0.2, 0.4, 0.5, 0.7)), 1.5, rng))
    assert contained(blob, (0.15, 0.35, 0.55, 0.75)) > 0.95
