"""Who meets and parts, groups, crowds, and two who seem to struggle."""

from __future__ import annotations

import math

import pytest

from streamcap.language import describe_change
from streamcap.types import Box
from tests.scenes import Actor, Shaped, Stagehand, instance

PERSON = (0.05, 0.25)


def person(*points: tuple[float, float, float], look: int = 0) -> Actor:
    return Actor(points, PERSON, look=look)


# ---- meet and part


def passers(pause: float) -> list[Actor]:
    """Two who come from both sides, stop beside each other for a while, and go on."""
    a = person((0, 0.1, 0.5), (6, 0.46, 0.5), (6 + pause, 0.46, 0.5), (12 + pause, 0.9, 0.5), look=1)
    b = person((0, 0.9, 0.52), (6, 0.56, 0.52), (6 + pause, 0.56, 0.52), (12 + pause, 0.1, 0.52), look=2)
    return [a, b]


def test_who_meets_and_goes_on_parts() -> None:
    stage = Stagehand(passers(5.0))
    stage.play(0, 17)
    (meet,), (part,) = stage.said("meet"), stage.said("part")
    assert meet.who == part.who
    assert 6 <= meet.end < 11 < part.end <= 16
    people = [instance(n) for n in part.who]
    assert describe_change([part], people).text == "Two people part."


def test_who_pauses_beside_each_other_meets() -> None:
    stage = Stagehand(passers(2.4))
    stage.play(0, 14)
    assert len(stage.said("meet")) == 1


def test_who_passes_does_not_meet() -> None:
    stage = Stagehand(passers(0.0))
    stage.play(0, 12)
    assert stage.said("meet") + stage.said("part") == []


def test_who_stands_together_and_stays_does_not_part() -> None:
    stage = Stagehand(passers(40.0))
    stage.play(0, 40)
    assert len(stage.said("meet")) == 1
    assert stage.said("part") == []


# ---- groups and crowds


def gathering(count: int, leave: float | None = None) -> list[Actor]:
    """People who come from the sides to a place one by one, and go where they came from."""
    actors = []
    for n in range(count):
        side, x = (-0.1, 0.35 + 0.06 * n) if n % 2 else (1.1, 0.35 + 0.06 * n)
        start = 2.0 + n
        path = [(start, side, 0.5), (start + 4, x, 0.5), (leave or 60.0, x, 0.5)]
        if leave is not None:
            path.append((leave + 5, 0.05 + 0.18 * n, 0.5 + (0.3 if n % 2 else -0.2)))
            path.append((leave + 15, *path[-1][1:]))
        actors.append(Actor(tuple(path), PERSON, look=n))
    return actors


def test_a_group_forms_and_breaks_up_once() -> None:
    stage = Stagehand(gathering(6, leave=20.0))
    stage.play(0, 34)
    (forms,), (parts,) = stage.said("group_forms"), stage.said("group_parts")
    assert len(forms.who) >= 5
    assert forms.end < 15
    assert 20 < parts.end < 30
    text = describe_change([forms], [instance(n) for n in forms.who]).text
    assert text.startswith(("Five people form a group", "Six people form a group"))


def test_a_group_that_was_there_did_not_form() -> None:
    stage = Stagehand([person((0, 0.3 + 0.06 * n, 0.5), (20, 0.3 + 0.06 * n, 0.5), look=n) for n in range(6)])
    stage.play(0, 15)
    assert stage.said("group_forms") + stage.said("crowd") == []


@pytest.mark.parametrize("count", [3, 4])
def test_a_few_are_no_group(count: int) -> None:
    stage = Stagehand(gathering(count))
    stage.play(0, 20)
    assert stage.said("group_forms") == []


def test_a_place_that_fills_becomes_crowded_once() -> None:
    actors = [
        person(
            (6.0 + n, -0.1, 0.2 + 0.06 * (n % 3)),
            (10.0 + n, 0.1 + 0.07 * n, 0.3 + 0.2 * (n % 3)),
            (60, 0.1 + 0.07 * n, 0.3 + 0.2 * (n % 3)),
            look=n,
        )
        for n in range(12)
    ]
    stage = Stagehand(actors)
    stage.play(0, 45)
    (crowd,) = stage.said("crowd")
    assert describe_change([crowd], []).text == "The place becomes crowded."
    assert crowd.who == ()


def test_who_only_passes_a_few_forms_no_group_with_them() -> None:
    standing = [person((0, 0.4 + 0.06 * n, 0.5), (30, 0.4 + 0.06 * n, 0.5), look=n) for n in range(3)]
    passing = [person((4, -0.1 - 0.06 * n, 0.5), (14, 1.1 - 0.06 * n, 0.5), look=7 + n) for n in range(2)]
    stage = Stagehand([*standing, *passing])
    stage.play(0, 16)
    assert stage.said("group_forms") == []


# ---- struggle


def wrestler(side: int) -> Shaped:
    """Comes from a side, and is then entwined with another one."""

    def shape(t: float) -> Box:
        near = min(1.0, t / 4)
        x = 0.5 + side * (0.4 - 0.36 * near)
        width = 0.08 * (1 + (0.5 * math.sin(5 * t + side) if near == 1 else 0.0))
        x += 0.02 * math.sin(7 * t) if near == 1 else 0.0
        return x - width, 0.3, x + width, 0.8

    return Shaped(shape, look=side + 5)


def test_two_entwined_in_fast_motion_seem_to_struggle() -> None:
    stage = Stagehand([wrestler(-1), wrestler(1)], stir=lambda _: 0.9)
    stage.play(0, 10)
    (grapple,) = stage.said("grapple")
    assert grapple.confidence < 0.5
    assert describe_change([grapple], [instance(n) for n in grapple.who]).text == "Two people seem to struggle."


@pytest.mark.parametrize("case", ["calm", "apart", "many", "pass"])
def test_what_is_no_struggle(case: str) -> None:
    actors: list[Shaped | Actor] = [wrestler(-1), wrestler(1)]
    if case == "apart":
        actors = [person((0, x, 0.5), (20, x, 0.5), look=round(9 * x)) for x in (0.2, 0.6)]
    elif case == "many":
        actors += [person((0, 0.1 + 0.2 * n, 0.15), (20, 0.1 + 0.2 * n, 0.15), look=9 + n) for n in range(4)]
    elif case == "pass":
        actors = [
            person((1, 0.0, 0.5), (7, 1.0, 0.5), look=1),
            person((1, 1.0, 0.5), (7, 0.0, 0.5), look=2),
        ]
    stage = Stagehand(actors, stir=lambda _: 0.2 if case == "calm" else 0.9)
    stage.play(0, 10)
    assert stage.said("grapple") == []
