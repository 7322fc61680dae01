"""The goals and the floor, and how a time line is laid out."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.captioning.goals import GOALS, below, raised, read_floor, write_floor
from benchmarks.captioning.scoring import Judged, Statement, TruthEvent
from benchmarks.captioning.timeline import LANE, LETTER, WIDTH, Bar, timeline

FIGURES = st.fixed_dictionaries({goal.key: st.floats(0, 2) for goal in GOALS})


@given(FIGURES, FIGURES)
def test_a_floor_rises_and_never_falls_and_lies_below_what_was_measured(
    first: dict[str, float], second: dict[str, float]
) -> None:
    floor = raised(first, {})
    assert below(first, floor) == []
    higher = raised(second, floor)
    assert below(second, raised(second, {})) == []
    assert not any(goal.better(floor[goal.key], higher[goal.key]) for goal in GOALS)


def test_what_fell_is_named_and_a_figure_that_vanished_has_fallen(tmp_path: Path) -> None:
    good = {goal.key: goal.value for goal in GOALS}
    path = tmp_path / "floor.json"
    write_floor(raised(good, {}), ["a.mp4"], "abc", path)
    floor = read_floor(path)
    assert below(good | {"precision": 0.5, "redundancy": 0.4}, floor) == [
        "statements that are true: 0.50, and the floor is 0.825",
        "captions that repeat another: 0.40, and the floor is 0.05",
    ]
    assert len(below(good | {"camera_recall": None}, floor)) == 1
    assert read_floor(tmp_path / "nothing.json") == {}


@pytest.mark.parametrize(("key", "good", "bad"), [("precision", 0.85, 0.84), ("redundancy", 0.03, 0.04)])
def test_goals_are_met_on_their_own_side(key: str, good: float, bad: float) -> None:
    goal = next(goal for goal in GOALS if goal.key == key)
    assert goal.met(good)
    assert not goal.met(bad)
    assert not goal.met(None)


def laid_out(spans: list[tuple[float, float]]) -> tuple[list[Bar], float]:
    events = [TruthEvent(a, a + d, "enter", "person", n % 2 == 0, None, {}) for n, (a, d) in enumerate(spans)]
    said = [
        Statement("caption", a, a + d, "A person enters from the left.", [], [], {"kind": "diff"}) for a, d in spans
    ]
    line = timeline(Judged("x", {"duration": 60.0, "static_spans": [[1, 5]]}, events, said), "x")
    return line.bars, line.height


@given(st.lists(st.tuples(st.floats(0, 59), st.floats(0, 1)), min_size=1, max_size=30))
def test_no_bar_or_label_lies_on_another_or_leaves_the_line(spans: list[tuple[float, float]]) -> None:
    bars, height = laid_out(spans)
    assert len(bars) == 2 * len(spans)
    extents = [(b.y, min(b.x, b.label_x), max(b.x + b.width, b.label_x + LETTER * len(b.label))) for b in bars]
    for y, left, right in extents:
        assert left >= 0
        assert right <= WIDTH + 1
        assert y + LANE <= height + 1
    for row in {y for y, _, _ in extents}:
        inside = sorted((left, right) for y, left, right in extents if y == row)
        assert all(a[1] <= b[0] + 1e-6 for a, b in pairwise(inside))


def test_bars_say_what_was_missed_and_lead_to_their_cards() -> None:
    bars, _ = laid_out([(1.0, 1.0), (20.0, 1.0)])
    events, said = bars[:2], bars[2:]
    assert [(b.state, b.link) for b in events] == [("missed", "x-e0"), ("unsaid", "x-1")]
    assert events[0].label.startswith("✗")
    assert [b.link for b in said] == ["x-0", "x-1"]
    assert said[0].title.endswith("A person enters from the left.")
