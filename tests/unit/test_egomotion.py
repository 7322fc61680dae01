"""Whether the camera drives: steady expansion, and none of what only looks like it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.egomotion import ForwardMotion, expansion
from streamcap.gating import BlockGate
from tests.scenes import canvas, noisy, view, with_patch

Grey = NDArray[np.uint8]
SIZE = (320, 176)


class Road:
    """Dots at many depths before a wall of grey, seen by a camera that goes forward."""

    def __init__(self, seed: int = 0, dots: int = 1500) -> None:
        rng = np.random.default_rng(seed)
        self._dots = rng.uniform((-30, -8, 4), (30, 8, 160), (dots, 3))
        self._shade = rng.integers(20, 240, dots)

    def seen(self, z: float, aside: float = 0.0) -> Grey:
        """The view ``z`` metres along the road, looking ``aside`` (frame widths) of where it goes."""
        picture = np.full((SIZE[1], SIZE[0]), 120, np.uint8)
        depth = (self._dots[:, 2] - z) % 156 + 4
        for index in np.argsort(-depth):
            x, y, _ = self._dots[index]
            d = depth[index]
            px, py = SIZE[0] * (0.5 + aside + 0.8 * x / d), SIZE[1] * 0.5 + SIZE[0] * 0.8 * y / d
            half = max(1, round(60 / d))
            corner = (int(px) - half, int(py) - half), (int(px) + half, int(py) + half)
            cv2.rectangle(picture, *corner, int(self._shade[index]), -1)
        return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0), np.uint8)


def watched(picture: Callable[[float], Grey], seconds: float = 5.0) -> list[tuple[float, bool]]:
    """What the watch says at each of five frames a second."""
    gate, watch = BlockGate(), ForwardMotion()
    found = []
    for step in range(round(seconds * 5)):
        grey = picture(step / 5)
        found.append((step / 5, watch.update(grey, step / 5, gate.update(grey, step / 5).changed)))
    return found


def test_a_drive_is_known_within_three_seconds_and_goes_on() -> None:
    road = Road()
    said = watched(lambda t: road.seen(6 * t), 8)
    first = next(t for t, drives in said if drives)
    assert 1.5 <= first <= 3.5
    assert all(drives for t, drives in said if t > first)


def test_the_focus_lies_where_the_camera_goes() -> None:
    road = Road(1)
    found = expansion(road.seen(0, 0.1), road.seen(1.2, 0.1))
    assert found is not None
    assert found.x == pytest.approx(0.6, abs=0.08)
    assert found.y == pytest.approx(0.5, abs=0.1)


def test_who_drives_and_halts_drives_no_more() -> None:
    road = Road(2)
    said = watched(lambda t: road.seen(6 * min(t, 5)), 10)
    assert dict(said)[5.0]
    assert not said[-1][1]


PLACE = canvas(5, (1600, 1000))


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("still", lambda t: view(PLACE)),
        ("pan", lambda t: view(PLACE, x=0.15 * t)),
        ("tilt", lambda t: view(PLACE, y=-0.3 + 0.1 * t)),
        ("zoom", lambda t: view(PLACE, zoom=1.07**t)),
        ("back", lambda t: Road(3).seen(60 - 6 * t)),
        ("noise", lambda t: noisy(view(PLACE), 6, np.random.default_rng(round(t * 5)))),
        ("comes near", lambda t: with_patch(view(PLACE), (0.5 - 0.06 * t, 0.5 - 0.07 * t, 0.5 + 0.06 * t, 0.9), 4)),
    ],
)
def test_what_is_no_drive(name: str, picture: Callable[[float], Grey]) -> None:
    assert not any(drives for _, drives in watched(picture)), name


def test_a_cut_is_a_new_beginning() -> None:
    road = Road()
    gate, watch = BlockGate(), ForwardMotion()
    for step in range(25):
        grey = road.seen(step * 1.2)
        watch.update(grey, step / 5, gate.update(grey, step / 5).changed)
    assert (watch.driving, watch.suspected) == (True, True)
    watch.reset()
    assert (watch.driving, watch.suspected) == (False, False)
