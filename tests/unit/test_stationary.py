"""Places that look lastingly other: things put there and taken, and none of what light, people and noise do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.gating import BlockGate
from streamcap.geometry import contained
from streamcap.stationary import Kind, PlaceChange, StationaryWatch
from streamcap.types import Box
from tests.scenes import canvas, lit, noisy, view, with_patch

Grey = NDArray[np.uint8]
SIZE = (320, 176)
BAG: Box = (0.6, 0.55, 0.68, 0.75)
PERSON: Box = (0.4, 0.2, 0.52, 0.9)


def room(seed: int = 1) -> Grey:
    """A calm room: a floor and a wall with soft structure."""
    place = view(canvas(seed)).astype(np.float32)
    return np.asarray(np.clip(120 + 0.25 * (place - 120), 0, 255), np.uint8)


ROOM = room()
WITH_BAG = with_patch(ROOM, BAG, 3)


def watched(
    picture: Callable[[float], Grey],
    seconds: float,
    held: Callable[[float], Sequence[Box]] = lambda _: (),
    noise: float = 1.5,
) -> list[PlaceChange]:
    """What the watch finds in noisy pictures, five a second."""
    gate, watch, rng = BlockGate(), StationaryWatch(), np.random.default_rng(0)
    found = []
    for step in range(round(seconds * 5)):
        pts = step / 5
        grey = noisy(picture(pts), noise, rng)
        found += watch.update(grey, pts, gate.update(grey, pts).changed, held(pts))
    return found


def walker(t: float) -> Box:
    """Comes from the left at 2 s, is at the bag's place from 4 s to 6 s, and is gone at 8 s."""
    x = float(np.interp(t, (2, 4, 6, 8), (-0.2, 0.6, 0.6, 1.2)))
    return x, 0.25, x + 0.12, 0.9


def visited(before: Grey, after: Grey) -> Callable[[float], Grey]:
    """A walker exchanges one room for the other."""
    return lambda t: with_patch(before if t < 5 else after, walker(t), 8) if 2 <= t <= 8 else before if t < 5 else after


@pytest.mark.parametrize(("before", "after", "kind"), [(ROOM, WITH_BAG, Kind.CAME), (WITH_BAG, ROOM, Kind.WENT)])
def test_what_a_visitor_puts_down_or_takes_is_found_once(before: Grey, after: Grey, kind: Kind) -> None:
    held = lambda t: [walker(t)] if 2 <= t <= 8 else []  # noqa: E731 - a place by time
    (change,) = watched(visited(before, after), 14, held)
    assert change.kind is kind
    assert change.sureness > 0.4
    assert contained(BAG, change.box) > 0.7
    assert contained(change.box, BAG) > 0.5
    assert 3 <= change.start <= change.end <= 8
    assert not change.reached  # the visitor stands free in the room


def test_an_arm_that_takes_something_reached_in_from_the_border() -> None:
    def shown(t: float) -> Grey:
        depth = float(np.interp(t, (3, 4, 5, 6), (-0.1, 0.6, 0.6, -0.1)))
        x = 0.61 + 0.02 * (round(5 * t) % 2)
        now = WITH_BAG if t < 4.6 else ROOM
        return with_patch(now, (x, -0.05, x + 0.06, depth), 8) if 3 <= t <= 6 else now

    (change,) = watched(shown, 12)
    assert change.kind is Kind.WENT
    assert change.reached
    assert contained(BAG, change.box) > 0.7


def test_what_falls_from_nowhere_did_not_reach_in() -> None:
    (change,) = watched(lambda t: ROOM if t < 3 else WITH_BAG, 8)
    assert change.kind is Kind.CAME
    assert not change.reached


def test_nothing_is_judged_while_somebody_is_there() -> None:
    assert watched(lambda t: ROOM if t < 3 else WITH_BAG, 10, lambda t: [BAG] if t >= 2 else []) == []


def test_who_stands_still_and_is_known_is_no_thing() -> None:
    def shown(t: float) -> Grey:
        return with_patch(ROOM, PERSON, 5) if 3 <= t < 12 else ROOM

    assert watched(shown, 18, lambda t: [PERSON] if 3 <= t < 12.5 else []) == []


def test_who_was_there_from_the_start_leaves_no_hole() -> None:
    gate, watch = BlockGate(), StationaryWatch()
    found = []
    for step in range(80):
        pts = step / 5
        grey = ROOM if pts >= 6 else with_patch(ROOM, PERSON, 5)
        late = [PERSON] if step == 8 else []
        held = [PERSON] if pts < 6 else []
        found += watch.update(grey, pts, gate.update(grey, pts).changed, held if step >= 8 else [], late)
    assert found == []


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("noise", lambda t: ROOM),
        ("lights", lambda t: ROOM if t < 4 else lit(ROOM, 1.35, 10)),
        ("dusk", lambda t: lit(ROOM, 1 - 0.04 * t)),
        ("shake", lambda t: np.roll(ROOM, int(t * 5) % 2, axis=1)),
        ("passer-by", lambda t: with_patch(ROOM, (0.2 * t - 0.5, 0.25, 0.2 * t - 0.38, 0.9), 8)),
        ("wide shadow", lambda t: shaded(t)),
    ],
)
def test_what_changes_nothing_for_good(name: str, picture: Callable[[float], Grey]) -> None:
    assert watched(picture, 12) == [], name


def shaded(t: float) -> Grey:
    """From the fourth second on a soft shadow lies over a third of the room."""
    x = np.linspace(0, 1, SIZE[0])
    dark = 1 - 0.3 / (1 + np.exp(-(x - 0.65) * 25)) * (t >= 4)
    return np.asarray(ROOM * dark[None], np.uint8)


def test_another_view_is_a_new_beginning() -> None:
    gate, watch = BlockGate(), StationaryWatch()
    found = []
    for step in range(60):
        pts = step / 5
        if step == 30:
            watch.reset()
        grey = ROOM if step < 30 else WITH_BAG
        found += watch.update(grey, pts, gate.update(grey, pts).changed)
    assert found == []


def test_another_size_is_a_new_beginning() -> None:
    watch = StationaryWatch()
    assert watch.update(ROOM, 0.0, np.ones((22, 40), np.bool_)) == []
    assert watch.update(np.zeros((240, 320), np.uint8), 0.2, np.ones((30, 40), np.bool_)) == []
