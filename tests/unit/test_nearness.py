"""What comes before the lens: told when it is large, quick, from a border, with an edge, and has no name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest

from streamcap.facts.nearing import ClosingIn
from streamcap.facts.scene import Scene
from streamcap.gating import luma
from streamcap.instances import TrackerUpdate
from streamcap.language import describe_change
from streamcap.nearness import CloseUp, NearnessWatch
from streamcap.types import Box, Fact
from tests.scenes import STILL, Image, canvas, view

FPS = 5
SIZE = (320, 240)
SKIN = (205, 150, 125)
PLACE: Image = np.repeat(view(canvas(51), size=SIZE)[..., None], 3, axis=2)


def watch(
    film: Callable[[float], Image], seconds: float = 12.0, known: Sequence[Box] = ()
) -> list[tuple[float, CloseUp]]:
    """When something was close."""
    nearness, rng, found = NearnessWatch(), np.random.default_rng(0), []
    for number in range(round(seconds * FPS)):
        pts = number / FPS
        image = np.clip(film(pts) + rng.normal(0, 2, PLACE.shape), 0, 255).astype(np.uint8)
        if (close := nearness.update(luma(image), image, pts, known)) is not None:
            found.append((pts, close))
    return found


def hand(t: float, colour: tuple[int, int, int] = SKIN, reach: float = 0.6) -> Image:
    """An arm that comes in from the right at 5 s and goes at 9 s."""
    picture = PLACE.copy()
    share = float(np.clip((t - 5) / 0.8, 0, 1) * np.clip((9 - t) / 0.6, 0, 1))
    left = round(SIZE[0] * (1 - reach * share))
    cv2.rectangle(picture, (left, 70), (SIZE[0] + 20, 160), colour, -1)
    return picture


def test_a_hand_before_the_lens_is_seen_for_as_long_as_it_is_there() -> None:
    found = watch(hand)
    assert 5.5 < found[0][0] < 7.5
    assert 8 < found[-1][0] < 9.5
    close = found[0][1]
    assert close.skin
    assert close.since == pytest.approx(5.5, abs=0.6)
    assert close.box == pytest.approx((0.4, 0.29, 1.0, 0.67), abs=0.08)


def test_what_has_not_the_colour_of_skin_is_no_hand() -> None:
    assert not watch(lambda t: hand(t, (60, 60, 160)))[0][1].skin
    wood = np.full_like(PLACE, 0) + np.asarray((150, 105, 80), np.uint8)
    assert not any(
        close.skin for _, close in watch(lambda t: np.where(hand(t) == PLACE, wood, hand(t)).astype(np.uint8))
    )


def shadow(t: float) -> Image:
    picture = PLACE.copy()
    left = round(SIZE[0] * (1 - 0.6 * float(np.clip((t - 5) / 0.8, 0, 1))))
    picture[60:180, left:] = (picture[60:180, left:] * 0.5).astype(np.uint8)
    return picture


def cloud(t: float) -> Image:
    """The soft edge of a shadow on a plain wall."""
    ramp = np.clip((np.arange(SIZE[0]) - SIZE[0] * (1.3 - 0.25 * max(0.0, t - 4))) / 160, 0, 0.5)
    return np.asarray(np.broadcast_to((160 * (1 - ramp))[None, :, None], PLACE.shape), np.uint8)


def wanderer(t: float) -> Image:
    """Something that is small and does not come from a border."""
    picture = PLACE.copy()
    cv2.rectangle(picture, (60 + round(10 * t), 80), (110 + round(10 * t), 150), SKIN, -1)
    return picture


@pytest.mark.parametrize(
    "film",
    [
        lambda t: PLACE,
        shadow,
        cloud,
        wanderer,
        lambda t: hand(t, reach=0.15),
        lambda t: hand(t) if t % 1 < 0.4 else PLACE,
        lambda t: np.clip(PLACE * (1.0 if t < 5 else 1.6), 0, 255).astype(np.uint8),
        lambda t: hand(7.0),
    ],
    ids=["nothing", "shadow", "cloud", "inside", "small", "flicker", "light", "always there"],
)
def test_nothing_comes_close(film: Callable[[float], Image]) -> None:
    assert watch(film) == []


def test_what_has_a_name_is_told_by_its_name() -> None:
    assert watch(hand, known=[(0.4, 0.2, 1.0, 0.8)]) == []


def test_after_a_cut_the_background_is_learnt_anew() -> None:
    nearness = NearnessWatch()
    for number in range(20):
        nearness.update(luma(PLACE), PLACE, number / FPS, [])
    nearness.reset()
    other = hand(7.0)
    assert all(nearness.update(luma(other), other, 4 + n / FPS, []) is None for n in range(20))


@pytest.mark.parametrize(
    ("skin", "text"), [(True, "A hand comes close to the camera."), (False, "Something comes close to the camera.")]
)
def test_it_is_told_once(skin: bool, text: str) -> None:
    rule = ClosingIn()
    facts: list[Fact] = []
    for number in range(10):
        close = CloseUp((0.5, 0.2, 1.0, 0.8), 1.0, skin) if 3 <= number < 7 else None
        there = TrackerUpdate((), (), (), ())
        facts += rule.update(Scene(number / FPS, 9.0, there, STILL, close=close))
    (fact,) = facts
    assert describe_change([fact], []).text == text
