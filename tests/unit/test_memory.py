"""Short and long memory: nothing is lost, time keeps its order, and neither grows for ever."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcap.memory import LONG_CAP, SHORT_CAP, Memory, Slot
from streamcap.types import KeyFrame

DIM = 6


def unit(rng: np.random.Generator, dim: int = DIM) -> NDArray[np.float32]:
    feature = rng.normal(size=dim)
    return np.asarray(feature / np.linalg.norm(feature), np.float32)


@st.composite
def caps(draw: st.DrawFn) -> dict[str, int]:
    short = draw(st.integers(2, 20))
    return {"short_cap": short, "short_keep": draw(st.integers(1, short - 1)), "long_cap": draw(st.integers(1, 12))}


def filled(count: int, seed: int, limits: dict[str, int], gaps: Sequence[float] = (1.0,)) -> tuple[Memory, list[float]]:
    rng = np.random.default_rng(seed)
    memory, t, times = Memory(**limits), 0.0, []
    for number in range(count):
        memory.add(unit(rng), t)
        times.append(t)
        t += gaps[number % len(gaps)]
    return memory, times


any_memory = given(
    st.integers(0, 150), st.integers(0, 99), caps(), st.lists(st.sampled_from([0.0, 0.2, 1.0, 60.0]), min_size=1)
)


@any_memory
@settings(deadline=None, max_examples=60)
def test_each_frame_is_counted_once(count: int, seed: int, limits: dict[str, int], gaps: list[float]) -> None:
    memory, _ = filled(count, seed, limits, gaps)
    assert sum(slot.count for slot in memory.reading()) == count
    assert len(memory) == len(memory.reading())


@any_memory
@settings(deadline=None, max_examples=60)
def test_spans_are_in_order_and_cover_all_that_was_seen(
    count: int, seed: int, limits: dict[str, int], gaps: list[float]
) -> None:
    memory, times = filled(count, seed, limits, gaps)
    slots = memory.reading()
    assert all(slot.start <= slot.key.t <= slot.end for slot in slots)
    assert all(a.end <= b.start for a, b in pairwise(slots))
    ends = iter(times)
    for slot in slots:  # each slot stands for exactly the next frames in line
        part = [next(ends) for _ in range(slot.count)]
        assert (slot.start, slot.end) == (part[0], part[-1])
    assert next(ends, None) is None


@any_memory
@settings(deadline=None, max_examples=60)
def test_it_never_grows_beyond_its_caps(count: int, seed: int, limits: dict[str, int], gaps: list[float]) -> None:
    rng = np.random.default_rng(seed)
    memory = Memory(**limits)
    for number in range(count):
        memory.add(unit(rng), float(number))
        assert len(memory) <= limits["short_cap"] + limits["long_cap"]


@given(st.integers(1, 400), caps())
@settings(deadline=None, max_examples=30)
def test_frames_that_look_the_same_leave_the_feature_as_it_was(count: int, limits: dict[str, int]) -> None:
    feature = unit(np.random.default_rng(7))
    memory = Memory(**limits)
    for number in range(count):
        memory.add(feature, float(number))
    for slot in memory.reading():
        assert slot.feature == pytest.approx(feature, abs=1e-4)
        assert np.linalg.norm(slot.feature) == pytest.approx(1, abs=1e-4)
    assert memory.similarity(feature) == pytest.approx(1, abs=1e-4)


@given(st.integers(1, 120), st.integers(0, 99), caps(), st.floats(-5, 130))
@settings(deadline=None, max_examples=60)
def test_at_a_breakpoint_only_what_was_known_then_is_read(
    count: int, seed: int, limits: dict[str, int], moment: float
) -> None:
    memory, _ = filled(count, seed, limits)
    part, whole = memory.breakpoint(moment), memory.reading()
    assert all(slot.start <= moment for slot in part)
    assert part == whole[: len(part)]
    assert all(slot.start > moment for slot in whole[len(part) :])
    if part and moment <= count - 1:
        assert part[-1].start <= moment
        assert len(part) == len(whole) or whole[len(part)].start > moment


def test_the_most_alike_neighbours_are_merged() -> None:
    east, north = np.eye(2, dtype=np.float32)
    memory = Memory(short_cap=6, short_keep=3, long_cap=8)
    for number, feature in enumerate([east, east, north, north, north, east]):
        memory.add(feature, float(number))
    assert [(slot.start, slot.end, slot.count) for slot in memory.reading()] == [(0, 1, 2), (2, 4, 3), (5, 5, 1)]


def test_a_merge_is_weighted_by_count_and_keeps_the_key_frame_of_the_larger_part() -> None:
    east, north = np.eye(2, dtype=np.float32)
    many = Slot(east, 0, 2, 3, KeyFrame(1))
    one = Slot(north, 3, 3, 1, KeyFrame(3))
    merged = many.merge(one)
    assert merged.feature.tolist() == pytest.approx([0.75, 0.25])
    assert (merged.start, merged.end, merged.count, merged.key.t) == (0, 3, 4, 1)
    before = Slot(north, -1, -1, 1, KeyFrame(-1))
    assert before.merge(many).key.t == 1


def test_the_key_frame_is_kept() -> None:
    memory = Memory()
    picture = np.zeros((2, 2, 3), np.uint8)
    memory.add(unit(np.random.default_rng(0)), 1.0, KeyFrame(1.0, picture.tobytes()))
    assert memory.reading()[0].key.jpeg == picture.tobytes()


def test_time_does_not_go_back() -> None:
    memory = Memory()
    rng = np.random.default_rng(0)
    memory.add(unit(rng), 5.0)
    memory.add(unit(rng), 5.0)
    with pytest.raises(ValueError, match="4"):
        memory.add(unit(rng), 4.999)
    assert len(memory) == 2


def test_time_does_not_go_back_behind_what_was_merged_either() -> None:
    memory, times = filled(SHORT_CAP, 0, {})
    with pytest.raises(ValueError, match="does not follow"):
        memory.add(unit(np.random.default_rng(0)), times[-1] - 0.5)


def test_features_are_of_one_length() -> None:
    memory = Memory()
    memory.add(np.full(4, 0.5, np.float32), 0.0)
    with pytest.raises(ValueError, match=r"\(9,\)"):
        memory.add(np.full(9, 1 / 3, np.float32), 1.0)


@pytest.mark.parametrize(
    "limits", [{"short_cap": 1}, {"short_keep": 0}, {"short_cap": 5, "short_keep": 5}, {"long_cap": 0}]
)
def test_caps_that_cannot_be(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="need"):
        Memory(**limits)


def test_similarity_is_to_the_newest_frame() -> None:
    east, north = np.eye(2, dtype=np.float32)
    memory = Memory()
    assert memory.similarity(east) == -1
    memory.add(east, 0)
    memory.add(north, 1)
    assert memory.similarity(north) == pytest.approx(1)
    assert memory.similarity(east) == pytest.approx(0)
    assert memory.similarity(-north) == pytest.approx(-1)


def test_memory_and_time_a_frame_stay_the_same_for_ever() -> None:
    rng = np.random.default_rng(3)
    features = [unit(rng, 16) for _ in range(500)]

    def seconds(memory: Memory, begun: int) -> float:
        start = time.process_time()
        for number, feature in enumerate(features, begun):
            memory.add(feature, float(number))
        return time.process_time() - start

    # The long memory is full after about 2300 frames; from then on a frame costs what a frame cost.
    young, old = Memory(), Memory()
    for memory, frames in ((young, 2500), (old, 12_000)):
        for begun in range(0, frames, 500):
            seconds(memory, begun)
            assert len(memory) <= LONG_CAP + SHORT_CAP
        assert sum(slot.count for slot in memory.reading()) == frames
    # Turn by turn, so that whatever else the machine has to do meets both; four times as many frames lie behind one.
    took = [(seconds(young, 2500 + begun), seconds(old, 12_000 + begun)) for begun in range(0, 2000, 500)]
    assert min(of_old for _, of_old in took) < 3 * min(of_young for of_young, _ in took)
