"""What one person carries: votes over several looks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamcap.load import MISSES, STALE_S, Load
from streamcap.types import Box

ASPECT = 16 / 9
LOW_LEFT: Box = (0.0, 0.55, 0.35, 0.7)  # of the person's box, as shares of it
BACK: Box = (0.1, 0.15, 0.6, 0.45)
COAT: Box = (0.0, 0.15, 1.0, 0.6)


def on(person: Box, part: Box) -> Box:
    """A part of the person's box as a box of the frame."""
    w, h = person[2] - person[0], person[3] - person[1]
    return person[0] + part[0] * w, person[1] + part[1] * h, person[0] + part[2] * w, person[1] + part[3] * h


def walked(
    labels: Sequence[str], part: Box = LOW_LEFT, *, score: float = 0.5, step: float = 0.02, stays: bool = False
) -> Load:
    """Somebody 0.4 high walks for one look a label; what is seen goes along, or stays where it was first."""
    load, trail = Load(), []
    for n, label in enumerate(labels):
        person = (0.1 + step * n, 0.3, 0.2 + step * n, 0.7)
        trail.append((0.2 * n, person))
        thing = on(trail[0][1] if stays else person, part)
        load.look(0.2 * n)
        load.add(label, score, thing, person, ASPECT, 0.2 * n)
        load.settle(trail, ASPECT, 0.2 * n)
    return load


@pytest.mark.parametrize(
    ("labels", "part", "noun"),
    [
        (["backpack"] * 8, BACK, "backpack"),
        (["handbag"] * 8, LOW_LEFT, "bag"),
        (["suitcase"] * 8, LOW_LEFT, "suitcase"),
        (["umbrella"] * 8, BACK, "umbrella"),
        (["backpack", "handbag"] * 4, BACK, "bag"),
        (["handbag", "suitcase"] * 4, LOW_LEFT, "bag"),
    ],
)
def test_what_goes_along_is_carried_and_named_as_far_as_the_looks_agree(
    labels: list[str], part: Box, noun: str
) -> None:
    assert walked(labels, part).carries == (noun,)


def test_a_poor_suitcase_is_a_bag() -> None:
    assert walked(["suitcase"] * 10, score=0.44).carries == ("bag",)


@pytest.mark.parametrize(
    "load",
    [
        walked(["handbag"] * 2, step=0.1),
        walked(["handbag"] * 20, step=0.0),
        walked(["handbag"] * 8, stays=True),
        walked(["handbag"] * 24, score=0.25),
        walked(["handbag"] * 24, score=0.4),
        walked(["suitcase"] * 8, COAT),
        walked(["backpack"] * 8, (0.1, 0.65, 0.6, 0.9)),
        walked(["suitcase"] * 8, (0.2, 0.1, 0.6, 0.3)),
        walked(["handbag"] * 8, (4.0, 0.5, 4.3, 0.6)),
    ],
    ids=["two looks", "stands still", "stays behind", "poor", "never good", "coat", "low", "high", "elsewhere"],
)
def test_what_is_not_sure_is_not_carried(load: Load) -> None:
    assert load.carries == ()


def test_it_is_believed_until_looks_from_close_by_miss_it() -> None:
    load = walked(["handbag"] * 8)
    trail = [(0.2 * 7, (0.24, 0.3, 0.34, 0.7))]
    for n in range(MISSES):
        assert load.carries == ("bag",)
        load.look(2.0 + n)
        load.settle(trail, ASPECT, 2.0 + n)
    assert load.carries == ()
    assert not load.open


def test_it_is_not_believed_for_ever() -> None:
    load = walked(["handbag"] * 8)
    load.settle([(1.4, (0.24, 0.3, 0.34, 0.7))], ASPECT, 1.4 + STALE_S + 0.1)
    assert load.carries == ()


def test_a_doubtful_sighting_asks_for_another_look() -> None:
    load = walked(["handbag"])
    assert load.open
    assert not walked(["handbag"] * 8).open
