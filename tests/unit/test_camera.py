"""What the camera and the light do, on pictures that were moved and lit by known amounts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from streamcap.camera import CameraChange, CameraReading, CameraWatch
from streamcap.gating import BlockGate
from streamcap.transform import Transform, estimate
from tests.scenes import Grey, canvas, lit, noisy, view, with_patch

FPS = 5
PLACE = canvas(11)


def watch(pictures: Iterable[Grey], sigma: float = 1.5) -> list[CameraReading]:
    """Readings of a sequence, behind the gate as in the pipeline."""
    gate, camera, rng = BlockGate(), CameraWatch(), np.random.default_rng(0)
    readings = []
    for number, picture in enumerate(pictures):
        grey = noisy(picture, sigma, rng)
        pts = number / FPS
        readings.append(camera.update(grey, pts, gate.update(grey, pts).changed))
    return readings


def told(readings: Iterable[CameraReading]) -> list[tuple[str, str]]:
    return [(change.what, change.where) for change in changes(readings)]


def changes(readings: Iterable[CameraReading]) -> list[CameraChange]:
    return [change for reading in readings for change in reading.changes]


def ramp(time: float, start: float, end: float) -> float:
    return min(1.0, max(0.0, (time - start) / (end - start)))


def film(seconds: float, picture: Callable[[float], Grey]) -> list[Grey]:
    return [picture(number / FPS) for number in range(round(seconds * FPS))]


# ---- one pair of pictures


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("dx", "dy"), [(0.03, 0.0), (-0.06, 0.0), (0.0, 0.05), (0.0, -0.04), (0.05, -0.06)])
def test_a_shift_is_measured(dx: float, dy: float, seed: int) -> None:
    place, rng = canvas(seed), np.random.default_rng(seed)
    # The picture moves against the camera.
    found = estimate(noisy(view(place), 1.5, rng), noisy(view(place, x=-dx, y=-dy), 1.5, rng))
    assert found.trusted
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.005)
    assert found.scale == pytest.approx(1, abs=0.01)
    assert found.angle == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("zoom", [0.93, 1.05, 1.1])
def test_a_zoom_is_measured(zoom: float) -> None:
    found = estimate(view(PLACE), view(PLACE, zoom=zoom))
    assert found.trusted
    assert found.scale == pytest.approx(zoom, abs=0.01)
    assert (found.dx, found.dy) == pytest.approx((0, 0), abs=0.005)


def test_a_shift_with_a_zoom_is_measured_about_the_middle() -> None:
    found = estimate(view(PLACE), view(PLACE, x=-0.03, zoom=1.06))
    assert found.trusted
    assert found.scale == pytest.approx(1.06, abs=0.01)
    assert found.dx == pytest.approx(0.03 * 1.06, abs=0.005)


def test_points_go_where_the_transform_says() -> None:
    found = estimate(view(PLACE), view(PLACE, x=-0.03, y=0.02, zoom=1.05))
    for x, y in ((0.2, 0.3), (0.8, 0.7), (0.5, 0.5)):
        # A point of the picture is a point of the place: follow it through both views.
        expected = ((x - 0.5 + 0.03) * 1.05 + 0.5, (y - 0.5 - 0.02) * 1.05 + 0.5)
        assert found.apply(x, y) == pytest.approx(expected, abs=0.007)


def test_the_same_picture_has_not_moved() -> None:
    rng = np.random.default_rng(0)
    found = estimate(noisy(view(PLACE), 2, rng), noisy(view(PLACE), 2, rng))
    assert found.still
    assert (found.dx, found.dy, found.scale) == pytest.approx((0, 0, 1), abs=3e-3)


@pytest.mark.parametrize("x", [0.02, 0.3, 0.5])
@pytest.mark.parametrize("size", [(0.25, 0.8), (0.45, 0.9)])
def test_a_large_object_that_moves_is_not_the_camera(x: float, size: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    y = (1 - size[1]) / 2
    before, after = (
        noisy(with_patch(view(PLACE), (x + dx, y, x + dx + size[0], y + size[1]), seed=4), 1.5, rng) for dx in (0, 0.05)
    )
    found = estimate(before, after)
    assert found.still
    assert not found.trusted or math.hypot(found.dx, found.dy) < 0.003


def test_the_camera_is_seen_behind_an_object_that_stands_in_the_picture() -> None:
    """Something moves with the picture's own frame, as a logo or a bonnet does."""
    box = (0.3, 0.5, 0.55, 1.0)
    found = estimate(with_patch(view(PLACE), box, 4), with_patch(view(PLACE, x=-0.04), box, 4))
    assert found.trusted
    assert found.dx == pytest.approx(0.04, abs=0.005)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_tells_nothing(level: int) -> None:
    flat = np.full(view(PLACE).shape, level, np.uint8)
    assert estimate(flat, flat) == Transform()
    assert not estimate(flat, view(PLACE)).trusted
    assert not estimate(view(PLACE), flat).trusted


def test_other_scenes_have_no_common_motion() -> None:
    assert not estimate(view(canvas(1)), view(canvas(2))).trusted


# ---- sequences

MOVES = {
    ("pan", "right"): {"x": 0.3},
    ("pan", "left"): {"x": -0.3},
    ("tilt", "down"): {"y": 0.3},
    ("tilt", "up"): {"y": -0.3},
    ("zoom", "in"): {"zoom": 0.4},
    ("zoom", "out"): {"zoom": -0.28},
}


def moved(share: float, amounts: dict[str, float]) -> Grey:
    values = {key: share * value for key, value in amounts.items()}
    return view(PLACE, x=values.get("x", 0), y=values.get("y", 0), zoom=1 + values.get("zoom", 0))


@pytest.mark.parametrize("move", MOVES, ids=" ".join)
@pytest.mark.parametrize("seconds", [1.5, 3.0])
def test_a_move_is_told_once_with_its_direction(move: tuple[str, str], seconds: float) -> None:
    readings = watch(film(seconds + 4, lambda t: moved(ramp(t, 2, 2 + seconds), MOVES[move])))
    assert told(readings) == [move]
    (change,) = changes(readings)
    assert 1.8 <= change.end <= 2 + seconds + 0.5
    assert change.start <= change.end
    assert 0 <= change.confidence <= 1


def test_there_and_back_are_two_moves() -> None:
    readings = watch(film(10, lambda t: moved(ramp(t, 2, 3.5) - ramp(t, 6, 7.5), MOVES["pan", "right"])))
    assert told(readings) == [("pan", "right"), ("pan", "left")]


def test_the_same_move_after_a_rest_is_told_again() -> None:
    readings = watch(film(10, lambda t: moved((ramp(t, 2, 3.5) + ramp(t, 7, 8.5)) / 1.5, MOVES["pan", "right"])))
    assert told(readings) == [("pan", "right")] * 2


def test_while_the_camera_moves_it_says_so() -> None:
    readings = watch(film(8, lambda t: moved(ramp(t, 2, 4), MOVES["pan", "right"])))
    moving = [number / FPS for number, reading in enumerate(readings) if reading.moving]
    assert all(2 <= t <= 6 for t in moving)  # a moment longer than it moves, in case it goes on
    assert {2.4, 2.8, 3.2, 3.6} <= set(moving)


def test_the_steps_add_up_to_the_move() -> None:
    readings = watch(film(6, lambda t: moved(ramp(t, 2, 4), MOVES["pan", "right"])))
    assert sum(reading.transform.dx for reading in readings) == pytest.approx(-0.3, abs=0.02)


def test_a_shaking_camera_shakes_and_does_not_pan() -> None:
    rng = np.random.default_rng(5)

    def shaken(t: float) -> Grey:
        x, y = rng.uniform(-0.02, 0.02, 2) if 2 <= t < 4 else (0.0, 0.0)
        return view(PLACE, x=x, y=y)

    assert told(watch(film(7, shaken))) == [("shake", "")]


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_noise_is_no_news(sigma: float) -> None:
    readings = watch([view(PLACE)] * 60, sigma)
    assert told(readings) == []
    assert not any(reading.moving for reading in readings)


def test_a_mast_in_the_wind_is_no_news() -> None:
    readings = watch(film(10, lambda t: view(PLACE, x=0.0015 * math.sin(t * 5), y=0.001 * math.sin(t * 7))))
    assert told(readings) == []


def test_a_passing_object_is_no_news() -> None:
    def passed(t: float) -> Grey:
        x = -0.4 + 0.25 * t
        return with_patch(view(PLACE), (x, 0.1, x + 0.35, 0.95), seed=6)

    readings = watch(film(7, passed))
    assert told(readings) == []
    assert not any(reading.moving for reading in readings)


def test_a_passing_shadow_is_no_news() -> None:
    def shaded(t: float) -> Grey:
        picture = view(PLACE).astype(np.float32)
        edge = int((t / 6 - 0.3) * picture.shape[1])
        picture[:, max(0, edge) : max(0, edge + 90)] *= 0.55
        return picture.astype(np.uint8)

    assert told(watch(film(8, shaded))) == []


def test_a_cloud_before_the_sun_is_no_switch() -> None:
    assert told(watch(film(25, lambda t: lit(view(PLACE), 1 - 0.35 * ramp(t, 3, 20))))) == []


@pytest.mark.parametrize("dark", [0.1, 0.25, 0.5])
def test_lights_go_off_and_on_once_each(dark: float) -> None:
    readings = watch(film(12, lambda t: lit(view(PLACE), dark if 3 <= t < 7 else 1.0)))
    assert told(readings) == [("light", "off"), ("light", "on")]
    off, on = changes(readings)
    assert 2.5 <= off.end <= 4.5
    assert 6.5 <= on.end <= 8.5


def test_lights_that_come_on_are_told() -> None:
    readings = watch(film(8, lambda t: lit(view(PLACE), 1.0 if t >= 3 else 0.3)))
    assert told(readings) == [("light", "on")]


@pytest.mark.parametrize("pair", [(1, 2), (3, 4), (5, 6)])
def test_a_cut_is_told_once_when_the_next_frame_agrees(pair: tuple[int, int]) -> None:
    readings = watch(film(8, lambda t: view(canvas(pair[0] if t < 3 else pair[1]))))
    assert told(readings) == [("cut", "")]
    assert [number / FPS for number, reading in enumerate(readings) if reading.cut] == [3.2]
    assert [change.start for reading in readings for change in reading.changes] == [3.0]
    assert readings[15].transform == Transform()


def test_what_is_there_in_one_frame_only_is_no_cut() -> None:
    """A lorry right before the lens, or a picture that was damaged on its way."""
    readings = watch(film(8, lambda t: view(canvas(1 if t == 3.0 else 0))))
    assert told(readings) == []


def test_a_view_that_is_another_in_each_frame_is_no_cut() -> None:
    readings = watch(film(4, lambda t: view(canvas(0 if t < 2 else 1 + int(t * FPS)))))
    assert told(readings) == []


def test_cuts_one_after_the_other_are_told_each() -> None:
    readings = watch(film(12, lambda t: view(canvas(int(t // 3)))))
    assert told(readings) == [("cut", "")] * 3


@pytest.mark.parametrize(("gain", "lift"), [(1.0, 60.0), (1.0, 110.0), (1.0, 255.0)])
def test_a_flash_is_no_cut(gain: float, lift: float) -> None:
    """Lightning or a photographer: one frame much brighter, and then it is as it was."""
    readings = watch(film(8, lambda t: lit(view(PLACE), gain, lift) if t == 3.0 else view(PLACE)))
    assert told(readings) == []


def test_the_picture_may_change_its_size() -> None:
    readings = watch(film(6, lambda t: view(PLACE) if t < 3 else view(PLACE, size=(320, 240))))
    assert told(readings) == []


def test_a_stream_of_an_hour_takes_no_more_room_than_a_minute() -> None:
    camera, gate = CameraWatch(), BlockGate()
    grey = view(PLACE)
    for number in range(3000):
        camera.update(grey, number / FPS, gate.update(grey, number / FPS).changed)
    held = [
        len(value) for value in vars(camera).values() if hasattr(value, "__len__") and not isinstance(value, np.ndarray)
    ]
    assert max(held) < 50


@pytest.mark.parametrize("seed", [5, 6])
def test_a_view_that_was_covered_and_is_seen_again_is_no_cut(seed: int) -> None:
    """A lorry stops before the camera, in two steps of a slow stream, and is gone again."""
    place = view(PLACE)
    half, whole = (with_patch(place, (0.0, y, 1.0, 1.0), seed) for y in (0.45, 0.0))
    pictures = [place] * 10 + [half, whole, half] + [place] * 10
    assert "cut" not in [what for what, _ in told(watch(pictures))]
    assert "cut" not in [what for what, _ in told(watch([place] * 10 + [half, whole] + [place] * 10))]


def test_a_cut_back_to_the_scene_before_is_a_cut() -> None:
    one, other = view(canvas(31)), view(canvas(32))
    assert told(watch([one] * 12 + [other] * 12 + [one] * 12)) == [("cut", "")] * 2
