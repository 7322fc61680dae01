"""Falls, lying and meetings."""

from __future__ import annotations

import pytest

from streamcap.facts.posture import fall_began
from streamcap.types import Box
from tests.scenes import Actor, Stagehand

ASPECT = 4 / 3


def upright(x: float = 0.5) -> Box:
    return x - 0.12, 0.25, x + 0.12, 0.95


def lying(x: float = 0.35) -> Box:
    return x - 0.25, 0.70, x + 0.25, 0.96


def trail(*spans: tuple[float, float, Box]) -> list[tuple[float, Box]]:
    """Boxes at 5 a second: (from, to, box)."""
    return [(t / 5, box) for start, end, box in spans for t in range(round(start * 5), round(end * 5))]


def test_from_upright_to_flat_within_a_second_is_a_fall() -> None:
    began = fall_began(trail((0, 2, upright()), (2.6, 3.4, lying())), ASPECT)
    assert began == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("name", "boxes"),
    [
        ("stands", trail((0, 4, upright()))),
        ("always lay", trail((0, 4, lying()))),
        ("lies down slowly", trail((0, 2, upright()), (5, 6, lying()))),
        ("one wide box is a glitch", [*trail((0, 2, upright())), (2.4, lying())]),
        ("two people in one box, heads up", trail((0, 2, upright()), (2.6, 3.4, (0.1, 0.3, 0.9, 0.95)))),
        ("the feet leave the ground", trail((0, 2, upright()), (2.6, 3.4, (0.3, 0.5, 0.8, 0.66)))),
    ],
)
def test_what_is_no_fall(name: str, boxes: list[tuple[float, Box]]) -> None:
    assert fall_began(boxes, ASPECT) is None, name


def test_two_who_walk_up_to_each_other_and_stand_meet_once() -> None:
    left = Actor(((0, 0.2, 0.5), (3, 0.44, 0.5), (14, 0.44, 0.5)), (0.06, 0.3), look=1)
    right = Actor(((0, 0.85, 0.5), (4, 0.54, 0.5), (14, 0.54, 0.5)), (0.06, 0.3), look=2)
    stage = Stagehand([left, right])
    stage.play(0, 13)
    (meet,) = stage.said("meet")
    assert len(meet.who) == 2
    assert 4 <= meet.end <= 8


def test_who_walks_past_meets_nobody() -> None:
    left = Actor(((0, 0.1, 0.5), (8, 0.9, 0.5)), (0.06, 0.3), look=1)
    right = Actor(((0, 0.9, 0.52), (8, 0.1, 0.52)), (0.06, 0.3), look=2)
    stage = Stagehand([left, right])
    stage.play(0, 8)
    assert stage.said("meet") == []


def test_who_stands_together_from_the_start_has_not_met() -> None:
    pair = [Actor(((0, x, 0.5), (12, x, 0.5)), (0.06, 0.3), look=n) for n, x in enumerate((0.45, 0.53))]
    stage = Stagehand(pair)
    stage.play(0, 11)
    assert stage.said("meet") == []
