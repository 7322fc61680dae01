"""What kind of scene it is, on pictures drawn for it; open wherever the evidence is not strong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.captions import PACES, WindowBuilder
from streamcap.config import Profile
from streamcap.setting import SettingWatch
from streamcap.types import Instance, Setting
from tests.scenes import Image, canvas, instance, observation, view

FPS = 5
SIZE = (320, 240)


def watch(
    picture: Callable[[float], Image],
    seconds: float = 3.0,
    instances: Sequence[Instance] = (),
    *,
    moving: bool = False,
) -> Setting:
    """What is known after so many seconds of a scene."""
    watch, last = SettingWatch(), Setting()
    for number in range(round(seconds * FPS)):
        pts = number / FPS
        last = watch.update(picture(pts), pts, instances, moving=moving, scene_start=number == 0)
    return last


def tinted(grey: NDArray[np.uint8], colour: tuple[float, float, float]) -> Image:
    """A grey picture in shades of one colour."""
    return np.asarray(np.clip(grey[..., None] / 128 * np.asarray(colour), 0, 255), np.uint8)


def leaves(x: float = 0.0, y: float = 0.0) -> Image:
    return tinted(view(canvas(41), x=x, y=y, size=SIZE), (70, 120, 50))


ROOM = tinted(view(canvas(42), size=SIZE), (140, 120, 110))
SKY = ROOM.copy()
SKY[:80] = (110, 160, 230)


def test_a_room_and_its_wall_tell_nothing() -> None:
    assert watch(lambda _: ROOM) == Setting(fixed=True, traffic="empty")


@pytest.mark.parametrize("picture", [SKY, leaves()], ids=["sky", "leaves"])
def test_sky_or_leaves_are_out_of_doors_by_day(picture: Image) -> None:
    found = watch(lambda _: picture)
    assert (found.space, found.light, found.sway) == ("outdoor", "day", "")


def test_a_blue_wall_is_no_sky() -> None:
    wall = ROOM.copy()
    wall[100:] = (110, 160, 230)
    assert watch(lambda _: wall).space == ""


@pytest.mark.parametrize(
    ("labels", "space", "place"),
    [
        (["car"], "outdoor", ""),
        (["car", "truck"], "outdoor", "street"),
        (["traffic light"], "outdoor", "street"),
        (["bed"], "indoor", "bedroom"),
        (["couch"], "indoor", "room"),
        (["oven", "sink"], "indoor", "kitchen"),
        (["car", "couch"], "", ""),  # a shop window, or a mistake
        (["person", "chair", "bottle", "dog"], "", ""),
    ],
)
def test_what_stands_there_tells_the_place(labels: list[str], space: str, place: str) -> None:
    found = watch(lambda _: ROOM, 3.0, [instance(n + 1, label) for n, label in enumerate(labels)])
    assert (found.space, found.place) == (space, place)


def test_what_is_not_sure_or_was_seen_once_tells_nothing() -> None:
    assert watch(lambda _: ROOM, 3.0, [instance(1, "bed", confidence=0.6)]).space == ""
    assert watch(lambda _: ROOM, 0.4, [instance(1, "bed")]).space == ""


def test_lamps_in_the_dark_are_night() -> None:
    night = np.full((*SIZE[::-1], 3), 22, np.uint8)
    night[..., 2] = 34
    for x in range(20, 320, 60):
        cv2.circle(night, (x, 60 + x // 4), 5, (255, 240, 200), -1)
    assert watch(lambda _: night).light == "night"
    assert watch(lambda _: night, 3.0, [instance(1, "couch")]).light == ""  # a lamp in a dark room


def test_a_grey_picture_lit_from_the_camera_is_infra_red() -> None:
    ys, xs = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    far = np.hypot((xs - 160) / 160, (ys - 120) / 120)
    grey = np.clip(view(canvas(43), size=SIZE) * (1.2 - far), 0, 255).astype(np.uint8)
    assert watch(lambda _: cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)).light == "infra-red"
    plain = view(canvas(43), size=SIZE)
    assert watch(lambda _: cv2.cvtColor(plain, cv2.COLOR_GRAY2RGB)).light == ""


def trembling(t: float) -> Image:
    """All leaves move a little to and fro."""
    return leaves(0.012 * np.sin(9 * t), 0.008 * np.cos(7 * t))


def test_leaves_in_the_wind_are_told_when_all_of_them_move() -> None:
    assert watch(trembling).sway == "leaves"
    assert watch(trembling, moving=True).sway == ""


def test_who_walks_over_the_lawn_moves_no_leaves() -> None:
    def lawn(t: float) -> Image:
        picture = leaves()
        x = round(60 * t)
        picture[40:220, x : x + 50] = (60, 50, 90)
        return picture

    assert watch(lawn).sway == ""


def test_the_camera_is_fixed_or_not_when_that_is_known() -> None:
    assert watch(lambda _: ROOM, 0.6).fixed is None
    assert watch(lambda _: ROOM).fixed is True
    assert watch(lambda _: ROOM, moving=True).fixed is False


def test_busy_and_empty() -> None:
    crowd = [instance(n) for n in range(1, 8)]
    assert watch(lambda _: ROOM, 3.0, crowd).traffic == "busy"
    assert watch(lambda _: ROOM, 3.0, crowd[:2]).traffic == ""
    assert watch(lambda _: ROOM, 3.0, [instance(1, visible=False)]).traffic == "empty"


def test_another_scene_is_looked_at_anew() -> None:
    watch = SettingWatch()
    for number in range(10):
        watch.update(leaves(), number / FPS, [instance(1, "car")], moving=False, scene_start=number == 0)
    found = Setting()
    for number in range(10, 20):
        found = watch.update(ROOM, number / FPS, [], moving=False, scene_start=number == 10)
    assert found == Setting(fixed=True, traffic="empty")


def test_a_window_carries_the_setting_of_its_end() -> None:
    builder = WindowBuilder("s", pace=PACES[Profile.SURVEILLANCE])
    seen = observation(0.0, scene_start=True)
    builder.add(seen)
    known = Setting(space="indoor")
    (step,) = builder.add(type(seen)(2.0, 2.0, False, False, True, (), (), setting=known))
    assert step.window.setting == known
