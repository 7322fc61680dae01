"""Raised arms, waving, eating and drinking, from joints that are known."""

from __future__ import annotations

import pytest

from streamcap.facts.gestures import EAT_AGAIN_S, Gestures, swings
from streamcap.instances import Observed, Stage
from streamcap.tracks import birth
from tests.bodies import BENT_SIDE, EATING, HANDS_UP, SITTING, Performer, figure, pose

STANDS = figure()
UP = figure(HANDS_UP)
ONE_UP = figure({"left_elbow": (0.55, -1.3), "left_wrist": (0.5, -1.9)})
EATS = figure(SITTING, EATING)
SITS = figure(SITTING)


def waving(x: float) -> dict[str, tuple[float, float]]:
    return {"left_elbow": (0.6, -0.9), "left_wrist": (0.6 + x, -1.5)}


def performer() -> Performer:
    return Performer(Gestures())


@pytest.mark.parametrize(("up", "told"), [(UP, "raise_arms both"), (ONE_UP, "raise_arms")])
def test_raised_arms_are_told_once(up: object, told: str) -> None:
    one = performer()
    one.act(2, STANDS)
    one.act(3, up)  # type: ignore[arg-type]
    assert one.told == [told]
    assert one.said[0].start == pytest.approx(2.0)
    one.act(2, STANDS)
    one.act(2, up)  # type: ignore[arg-type]
    assert one.told == [told]  # not again so soon
    one.act(10, STANDS)
    one.act(2, up)  # type: ignore[arg-type]
    assert one.told == [told, told]


def test_two_raised_arms_matter_more_than_one() -> None:
    both, single = performer(), performer()
    for one, up in ((both, UP), (single, ONE_UP)):
        one.act(1, STANDS)
        one.act(2, up)
    assert both.said[0].saliency > single.said[0].saliency


def test_waving() -> None:
    one = performer()
    one.act(1, STANDS)
    one.act(3, figure(waving(-0.3)), figure(waving(0.0)), figure(waving(0.3)), figure(waving(0.0)))
    assert one.told == ["wave"]


def test_how_often_a_hand_turns_about() -> None:
    there_and_back = [pose(waving(x), t=n / 5) for n, x in enumerate((-0.3, 0.3, -0.3, 0.3, -0.3, 0.3))]
    assert swings(there_and_back, 0) == 4
    assert swings(there_and_back, 1) == 0
    assert swings([pose(waving(0.1), t=n / 5) for n in range(10)], 0) == 0
    assert swings([], 0) == 0


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("stands", [STANDS]),
        ("a hand that is up and still", [figure(waving(0.0))]),
        ("a hand that trembles", [figure(waving(0.0)), figure(waving(0.05))]),
        ("bends", [figure(BENT_SIDE)]),
        ("one look at a raised arm", [STANDS, STANDS, STANDS, UP]),
        ("arms that swing while walking", [figure({"left_wrist": (0.2, 0.0)}), figure({"left_wrist": (0.7, 0.0)})]),
        ("hands in front of the belly", [figure({"left_wrist": (0.1, -0.4), "right_wrist": (-0.1, -0.4)})]),
        ("touches the chin for a moment", [EATS, SITS, SITS, SITS, SITS, SITS, SITS, SITS]),
        ("whose arm is up from the start on", [UP]),
        ("nobody can be read", [figure(HANDS_UP, score=0.2)]),
    ],
)
def test_what_is_no_gesture(name: str, looks: list[object]) -> None:
    one = performer()
    one.act(6, *looks)  # type: ignore[arg-type]
    assert one.told == [], name


def test_a_hand_held_at_the_mouth_is_said_with_a_hedge_and_repeated_ones_with_less() -> None:
    held, repeated = performer(), performer()
    held.act(2, SITS)
    held.act(2, EATS)
    for _ in range(3):
        repeated.act(2, SITS)
        repeated.act(0.6, EATS)
    assert held.told == repeated.told == ["eat"]
    assert held.said[0].confidence < repeated.said[0].confidence < 0.5
    held.act(EAT_AGAIN_S - 10, SITS, SITS, EATS, EATS, SITS)
    assert held.told == ["eat"]


def test_a_lifted_elbow_tips_a_cup() -> None:
    one = performer()
    one.act(2, figure(SITTING, {"left_elbow": (0.8, -0.95), "left_wrist": (0.25, -1.3)}))
    assert one.told == ["drink"]


@pytest.mark.parametrize(("thing", "told"), [("cup", "drink"), ("sandwich", "eat")])
def test_a_cup_at_the_hand_says_what_it_is(thing: str, told: str) -> None:
    hand = pose(SITTING, EATING).hand_boxes[0]
    cup = birth(Observed(hand, 0.9, thing), 0.0)
    cup.stage, cup.id = Stage.ACTIVE, 2
    for _ in range(4):
        cup.vote.add(thing, 0.9)
    one = Performer(Gestures(), others=[cup])
    one.act(2, EATS)
    assert one.told == [told]
    assert one.said[0].confidence >= 0.7
