"""Who turns, runs, lingers, comes near and moves away: from paths and sizes."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from streamcap.facts.paths import angle, leg
from streamcap.facts.ways import LINGER_S
from streamcap.instances import Observed
from streamcap.language import describe_change
from streamcap.types import Box
from tests.scenes import Actor, Play, Shaped, Stagehand, instance, perfect

PERSON = (0.06, 0.3)


def around(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def walk(*points: tuple[float, float, float], size: tuple[float, float] = PERSON, label: str = "person") -> Actor:
    return Actor(points, size, label)


def trembling(seed: int) -> Callable[[float, Sequence[tuple[Play, Box]]], Iterator[Observed]]:
    """A detector whose boxes tremble by a hundredth of the frame."""
    rng = random.Random(seed)

    def detector(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        for seen in perfect(time, there):
            x0, y0, x1, y1 = (v + rng.gauss(0, 0.008) for v in seen.box)
            yield Observed((x0, y0, x1, y1), seen.score, seen.label, seen.look)

    return detector


# ---- measures


def test_a_leg_counts_square_pixels() -> None:
    across = leg([(0.0, around(0.2, 0.5, 0.1, 0.1)), (1.0, around(0.5, 0.5, 0.1, 0.1))], 2.0)
    down = leg([(0.0, around(0.5, 0.2, 0.1, 0.1)), (1.0, around(0.5, 0.8, 0.1, 0.1))], 2.0)
    assert across.far == pytest.approx(0.6)
    assert down.far == pytest.approx(0.6)
    assert angle(across, down) == pytest.approx(90)
    assert leg([], 2.0).straight == 0


# ---- turn


@pytest.mark.parametrize(
    ("after", "where"),
    [((0.3, 0.5), "left"), ((0.7, 0.95), None), ((0.3, 0.8), "left")],
    ids=["back", "down", "aslant"],
)
def test_who_changes_direction_turns_once(after: tuple[float, float], where: str | None) -> None:
    stage = Stagehand([walk((0, 0.1, 0.5), (5, 0.7, 0.5), (8, *after))], detector=trembling(1))
    stage.play(0, 8)
    turns = stage.said("turn")
    assert [f.where for f in turns] == ([] if where is None else [where])
    assert all(4.5 <= f.end <= 8.5 for f in turns)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "path",
    [
        ((0, 0.1, 0.5), (10, 0.9, 0.5)),
        ((0, 0.5, 0.5), (10, 0.5, 0.5)),
        ((0, 0.1, 0.4), (5, 0.5, 0.5), (10, 0.9, 0.7)),
    ],
    ids=["straight on", "stands", "a bend"],
)
def test_who_keeps_the_direction_does_not_turn(path: tuple[tuple[float, float, float], ...], seed: int) -> None:
    stage = Stagehand([walk(*path)], detector=trembling(seed))
    stage.play(0, 10)
    assert stage.said("turn") == []


# ---- run


def test_who_runs_is_told_once() -> None:
    stage = Stagehand([walk((2, 0.1, 0.5), (3.6, 0.2, 0.5), (6, 0.95, 0.5), size=(0.04, 0.2))])
    stage.play(0, 6)
    (run,) = stage.said("run")
    assert run.label == "person"
    assert 0.5 < run.confidence < 1


@pytest.mark.parametrize(
    "actors",
    [
        [walk((1, 0.1, 0.5), (6, 0.9, 0.5))],  # strides
        [walk((1, 0.0, 0.5), (3, 1.0, 0.5), label="car", size=(0.1, 0.2))],
        [
            walk((1, 0.05, 0.5), (4, 0.95, 0.5), size=(0.04, 0.2)),
            walk((1, 0.05, 0.58), (4, 0.95, 0.58), size=(0.08, 0.14), label="bicycle"),
        ],
        [walk((1, 0.1, 0.5), (3, 0.9, 0.5), size=(0.2, 0.2))],  # as wide as high: no whole person
    ],
    ids=["walks", "car", "rides", "part of a person"],
)
def test_who_does_not_run(actors: list[Actor]) -> None:
    stage = Stagehand(actors)
    stage.play(0, 6)
    assert stage.said("run") == []


def test_a_box_that_jumps_is_no_runner() -> None:
    jumps = Shaped(lambda t: around(0.3 if (t // 1) % 2 else 0.5, 0.5, 0.05, 0.25))
    stage = Stagehand([jumps])
    stage.play(0, 12)
    assert stage.said("run") == []


# ---- linger


def wanders(t: float) -> Box | None:
    """Comes in and then goes to and fro."""
    if t < 4:
        return None
    x = min(0.5, -0.05 + 0.11 * (t - 4))
    return around(x + (0.04 * math.sin(t) if t > 10 else 0.0), 0.5, *PERSON)


def test_who_comes_and_stays_lingers_once() -> None:
    stage = Stagehand([Shaped(wanders)])
    stage.play(0, 100)
    (linger,) = stage.said("loiter")
    assert linger.where == "centre"
    assert linger.end - linger.start == pytest.approx(LINGER_S, abs=1)


@pytest.mark.parametrize(
    "actor",
    [
        walk((0, 0.5, 0.5), (80, 0.5, 0.5)),  # was there from the start
        walk((4, 0.0, 0.5), (60, 1.0, 0.5)),  # walks through slowly
        Actor(((4, 0.0, 0.5), (9, 0.5, 0.5), (80, 0.5, 0.5)), (0.2, 0.1), "car"),
        walk((4, 0.0, 0.5), (9, 0.5, 0.5), (25, 0.5, 0.5), (30, 0.9, 0.5), (45, 0.9, 0.5)),
    ],
    ids=["at work", "walks", "car", "two short stays"],
)
def test_who_does_not_linger(actor: Actor) -> None:
    stage = Stagehand([actor])
    stage.play(0, 80)
    assert stage.said("loiter") == []


# ---- near the camera


def grows(t: float, factor: float, *, wide: bool = True) -> Box:
    share = min(1.0, max(0.0, (t - 4) / 4))
    g = 1 + (factor - 1) * share
    return around(0.5, 0.5, 0.15 * (g if wide else 1), 0.4 * g)


def test_who_comes_closer_approaches_the_camera_once() -> None:
    stage = Stagehand([Shaped(lambda t: grows(t, 2.0))], detector=trembling(2))
    stage.play(0, 14)
    (approach,) = stage.said("approach")
    assert approach.detail == {"to": "camera"}
    assert 5 <= approach.end <= 9
    assert describe_change([approach], [instance(1)]).text == "The person approaches the camera."


def cut_off(t: float, *, gradual: bool = True) -> Box:
    """The lower border cuts the legs off; the width grows, gradually or in one step."""
    share = min(1.0, max(0.0, (t - 4) / 4)) if gradual else float(t >= 5.5)
    half = 0.08 * (1 + 1.5 * share)
    return 0.5 - half, 0.3 - 0.05 * share, 0.5 + half, 1.0


def test_whom_the_lower_border_cuts_off_approaches_by_growing_wider() -> None:
    stage = Stagehand([Shaped(cut_off)], detector=trembling(2))
    stage.play(0, 14)
    assert len(stage.said("approach")) == 1


def test_who_approaches_from_the_start_does_so_from_the_first_sighting_on() -> None:
    stage = Stagehand([Shaped(lambda t: cut_off(t + 4))])
    stage.play(0, 5)
    (approach,) = stage.said("approach")
    assert approach.start == 0.0


def test_who_stretches_out_the_arms_at_the_lower_border_does_not_approach() -> None:
    stage = Stagehand([Shaped(functools.partial(cut_off, gradual=False))])
    stage.play(0, 14)
    assert stage.said("approach") == []


def test_who_backs_away_is_told_once() -> None:
    stage = Stagehand([Shaped(lambda t: grows(12 - t, 2.0))], detector=trembling(2))
    stage.play(0, 14)
    (retreat,) = stage.said("retreat")
    assert stage.said("approach") == []
    assert describe_change([retreat], [instance(1)]).text == "The person moves away from the camera."


@pytest.mark.parametrize(
    "shape",
    [
        lambda t: grows(t, 1.15),
        lambda t: grows(t, 1.8, wide=False),  # stands up
        lambda t: around(0.5, 0.5, 0.05, 0.15 * (1 + min(1, max(0, (t - 4) / 4)))),  # far away
        lambda t: (0.0, 0.2, 0.05 + 0.3 * min(1, max(0, (t - 2) / 4)), 0.9),  # comes in from the side
    ],
    ids=["hardly", "stands up", "far", "comes in"],
)
def test_who_does_not_come_closer(shape: Callable[[float], Box]) -> None:
    stage = Stagehand([Shaped(shape)], detector=trembling(3))
    stage.play(0, 14)
    assert stage.said("approach") == []


def test_what_comes_to_fill_the_view_is_close() -> None:
    bird = Shaped(
        lambda t: around(0.5, 0.5, min(0.95, 0.2 + 0.2 * max(0, t - 3)), min(0.95, 0.3 + 0.2 * max(0, t - 3))), "bird"
    )
    stage = Stagehand([bird])
    stage.play(0, 12)
    (close,) = stage.said("close_up")
    assert close.label == "bird"
    assert describe_change([close], [instance(1, "bird")]).text == "The bird comes very close."


def test_what_fills_the_view_from_the_start_does_not_come_close() -> None:
    stage = Stagehand([Shaped(lambda t: around(0.5, 0.5, 0.9, 0.9))])
    stage.play(0, 12)
    assert stage.said("close_up") == []


# ---- near another


def test_who_walks_up_to_a_standing_car_approaches_it_once() -> None:
    car = Actor(((0, 0.8, 0.55), (30, 0.8, 0.55)), (0.2, 0.2), "car", look=3)
    person = walk((5, 0.0, 0.55), (9, 0.65, 0.55), (20, 0.65, 0.55), size=(0.05, 0.2))
    stage = Stagehand([car, person])
    stage.play(0, 18)
    (approach,) = stage.said("approach")
    assert approach.detail == {"to": "car"}
    assert 8 <= approach.end <= 11
    assert describe_change([approach], [instance(approach.who[0])]).text == "The person approaches the car."


def test_who_walks_past_approaches_nobody() -> None:
    car = Actor(((0, 0.5, 0.5), (30, 0.5, 0.5)), (0.2, 0.2), "car", look=3)
    stage = Stagehand([car, walk((5, 0.0, 0.6), (13, 1.0, 0.6), size=(0.05, 0.2))])
    stage.play(0, 14)
    assert stage.said("approach") == []
