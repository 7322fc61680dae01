"""The first gate: closed for noise, open for change, however slow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcap.gating import BLOCK, BlockGate, GateReading, luma
from tests.scenes import GREY_SIZE, canvas, noisy, view, with_patch

STEP = 0.2
WARM_UP = 10
ROOM = view(canvas(1))


def blocks_of(box: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    """Blocks that a box touches."""
    width, height = GREY_SIZE
    touched = np.zeros((height // BLOCK, width // BLOCK), np.bool_)
    x0, y0, x1, y1 = (round(v * side) for v, side in zip(box, (width, height, width, height), strict=True))
    touched[y0 // BLOCK : -(-y1 // BLOCK), x0 // BLOCK : -(-x1 // BLOCK)] = True
    return touched


def warm(gate: BlockGate, sigma: float, seed: int = 0) -> np.random.Generator:
    rng = np.random.default_rng(seed)
    for step in range(WARM_UP):
        gate.update(noisy(ROOM, sigma, rng), step * STEP)
    return rng


def test_the_first_frame_opens() -> None:
    reading = BlockGate().update(ROOM, 0.0)
    assert reading.open
    assert reading.changed.shape == (GREY_SIZE[1] // BLOCK, GREY_SIZE[0] // BLOCK)
    assert reading.changed.all()


@pytest.mark.parametrize("sigma", [0.0, 2.0, 4.0, 6.0])
def test_the_noise_of_a_sensor_never_opens(sigma: float) -> None:
    gate = BlockGate()
    rng = warm(gate, sigma)
    opened = [step for step in range(400) if gate.update(noisy(ROOM, sigma, rng), (WARM_UP + step) * STEP).open]
    assert opened == []


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_slow_drift_opens_in_the_end(sigma: float) -> None:
    """0.05 grey levels a frame: no two neighbouring frames differ by anything that one could call a change."""
    gate = BlockGate()
    rng = warm(gate, sigma)
    place = canvas(1).astype(np.float32)
    base = place[: GREY_SIZE[1], : GREY_SIZE[0]]
    gate.update(noisy(base.astype(np.uint8), sigma, rng), WARM_UP * STEP)
    opened = []
    for step in range(1, 300):
        # Rounding is dithered as a sensor's own noise does it, so the picture creeps and does not jump.
        grey = np.clip(base + 0.05 * step + rng.uniform(-0.5, 0.5, base.shape), 0, 255).astype(np.uint8)
        if gate.update(noisy(grey, sigma, rng), (WARM_UP + step) * STEP).open:
            opened.append(step)
    assert opened
    assert opened[0] > 20
    assert len(opened) < 30


@pytest.mark.parametrize("sigma", [0.0, 3.0])
def test_a_small_object_opens_at_once_and_only_its_blocks(sigma: float) -> None:
    gate = BlockGate()
    rng = warm(gate, sigma)
    box = (0.4, 0.4, 0.45, 0.55)  # 16 × 26 pixels
    reading = gate.update(noisy(with_patch(ROOM, box), sigma, rng), WARM_UP * STEP)
    assert reading.open
    assert reading.changed.any()
    assert not (reading.changed & ~blocks_of(box)).any()
    assert reading.changed.sum() >= blocks_of(box).sum() / 2


def test_what_has_been_kept_is_no_change_any_more() -> None:
    gate = BlockGate()
    rng = warm(gate, 2.0)
    there = with_patch(ROOM, (0.4, 0.4, 0.45, 0.55))
    assert gate.update(noisy(there, 2.0, rng), 2.0).open
    assert not gate.update(noisy(there, 2.0, rng), 2.2).open
    assert gate.update(noisy(ROOM, 2.0, rng), 2.4).open  # and its going away is one


def test_something_that_moves_all_the_time_opens_all_the_time() -> None:
    """A person who walks for a minute must not become the noise floor."""
    gate = BlockGate()
    rng = warm(gate, 2.0)
    closed = []
    for step in range(300):
        x = 0.1 + 0.7 * abs((step / 40) % 2 - 1)
        grey = noisy(with_patch(ROOM, (x, 0.3, x + 0.08, 0.8), seed=3), 2.0, rng)
        if not gate.update(grey, 2.0 + step * STEP).open:
            closed.append(step)
    assert closed == []


@pytest.mark.parametrize("size", [(320, 240), (320, 88)])
def test_another_size_opens_and_starts_anew(size: tuple[int, int]) -> None:
    gate = BlockGate()
    rng = warm(gate, 2.0)
    other = view(canvas(2), size=size)
    reading = gate.update(noisy(other, 2.0, rng), 2.0)
    assert reading.open
    assert reading.changed.shape == (size[1] // BLOCK, size[0] // BLOCK)
    assert reading.changed.all()
    later = [gate.update(noisy(other, 2.0, rng), 2.2 + step * STEP).open for step in range(40)]
    assert not any(later[5:])


def test_a_pause_in_the_stream_changes_nothing() -> None:
    gate = BlockGate()
    rng = warm(gate, 3.0)
    assert not gate.update(noisy(ROOM, 3.0, rng), 3600.0).open


@given(st.integers(16, 2000), st.integers(16, 2000))
@settings(deadline=None, max_examples=30)
def test_the_grey_picture_is_of_whole_blocks(width: int, height: int) -> None:
    grey = luma(np.full((height, width, 3), (200, 100, 50), np.uint8))
    assert grey.dtype == np.uint8
    assert grey.shape[1] == GREY_SIZE[0]
    assert grey.shape[0] % BLOCK == 0
    assert grey.shape[0] >= BLOCK
    assert abs(grey.shape[0] - height * GREY_SIZE[0] / width) <= BLOCK
    assert (grey == grey[0, 0]).all()
    assert 115 <= int(grey[0, 0]) <= 130  # 0.299 R + 0.587 G + 0.114 B


def test_readings_are_values() -> None:
    first = BlockGate().update(ROOM, 0.0)
    assert isinstance(first, GateReading)
    gate = BlockGate()
    kept = gate.update(ROOM, 0.0).changed
    gate.update(with_patch(ROOM, (0.1, 0.1, 0.3, 0.3)), 0.2)
    assert kept.all()  # later frames do not write into it
