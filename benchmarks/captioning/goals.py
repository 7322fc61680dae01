"""What is aimed at, and the floor below which no change may bring the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS

__all__ = ["FLOOR", "GOALS", "Goal", "below", "raised", "read_floor", "write_floor"]

FLOOR = RESULTS / "quality_floor.json"
# A floor lies this much (relative) on the worse side of what was measured: on another processor the detector's last
# digits differ, and one event more or less of 47 is 2 % of the recall.
MARGIN = 0.03


@dataclass(frozen=True, slots=True)
class Goal:
    """A pooled figure of the scorer and what it should reach.

    Attributes:
        key: as the scorer names it.
        what: in words.
        value: at least this, or at most where ``low`` is set.
        low: small is good.
        form: how the figure is written.
        grain: least margin of its floor, in its own unit.
    """

    key: str
    what: str
    value: float
    low: bool = False
    form: str = ".2f"
    grain: float = 0.02

    def met(self, figure: float | None) -> bool:
        """Whether a figure reaches it; nothing to measure reaches nothing."""
        return figure is not None and (figure <= self.value if self.low else figure >= self.value)

    def better(self, a: float, b: float) -> bool:
        """Whether ``a`` is better than ``b``."""
        return a < b if self.low else a > b

    @property
    def wanted(self) -> str:
        """The goal as text: ``≥ 0.75``."""
        return f"{'≤' if self.low else '≥'} {self.value:g}"

    def written(self, figure: float | None) -> str:
        """A figure as text."""
        return "–" if figure is None else format(figure, self.form)


GOALS = (
    Goal("salient_recall", "salient events told", 0.75),
    Goal("precision", "statements that are true", 0.85),
    # One invention in the six minutes of the reference clips is 0.16 a minute.
    Goal("hallucinations_per_min", "inventions a minute", 0.3, low=True, grain=0.16),
    Goal("redundancy", "captions that repeat another", 0.03, low=True),
    Goal("static_extra_per_min", "extra captions a minute where nothing happens", 0.0, low=True),
    Goal("camera_recall", "events of the camera told", 0.8),
    Goal("object_recall", "things named", 0.7),
    Goal("object_precision", "named things that are there", 0.9),
    # Frames come every 0.2 s: a median moves by half of that when one caption closes a frame later.
    Goal("median_delay_s", "median delay, s", 1.0, low=True, grain=0.1),
)


def read_floor(path: Path = FLOOR) -> dict[str, float]:
    """The stored floor by figure; empty where there is none."""
    if not path.is_file():
        return {}
    floor: dict[str, float] = json.loads(path.read_text("utf-8"))["floor"]
    return floor


def below(overall: Mapping[str, Any], floor: Mapping[str, float]) -> list[str]:
    """What lies on the worse side of the floor, a line each."""
    return [
        f"{goal.what}: {goal.written(overall[goal.key])}, and the floor is {floor[goal.key]:g}"
        for goal in GOALS
        if goal.key in floor and (overall[goal.key] is None or goal.better(floor[goal.key], overall[goal.key]))
    ]


def raised(overall: Mapping[str, Any], floor: Mapping[str, float]) -> dict[str, float]:
    """The floor brought up to just below these figures; none of it is lowered."""
    found = dict(floor)
    for goal in GOALS:
        figure = overall[goal.key]
        if figure is None:
            continue
        margin = max(goal.grain, MARGIN * abs(figure))
        step = round(figure + (margin if goal.low else -margin), 3)
        if goal.key not in found or goal.better(step, found[goal.key]):
            found[goal.key] = step
    return found


def write_floor(floor: Mapping[str, float], clips: list[str], commit: str, path: Path = FLOOR) -> None:
    """Store a floor, with what it was measured on."""
    path.write_text(json.dumps({"clips": clips, "commit": commit, "floor": floor}, indent=1) + "\n", "utf-8")
