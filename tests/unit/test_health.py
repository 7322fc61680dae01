"""The health of a picture: what lasts and is unlike the stream's own normal is told once, all else is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import cv2
import numpy as np
import pytest

from streamcap.camera import CameraWatch
from streamcap.facts.lens import Lens
from streamcap.facts.scene import Scene
from streamcap.gating import BlockGate, luma
from streamcap.health import FIXED_S, FREEZE_S, HOLD_S, HealthWatch
from streamcap.instances import TrackerUpdate
from streamcap.language.phrases import SCENE
from streamcap.types import Condition, Health, Trouble
from tests.prerequisites import SHARED, need
from tests.scenes import STILL, Grey, canvas, lit, noisy, view, with_patch

FPS = 4
PLACE = canvas(21)
FIXED = FIXED_S + 10
Film = Callable[[float], Grey]


def watch(film: Film, seconds: float, *, sigma: float = 1.5, fps: float = FPS) -> list[tuple[float, Health]]:
    """Readings of a film as a live camera with the noise of a sensor sends it."""
    rng, health, camera, gate = np.random.default_rng(0), HealthWatch(), CameraWatch(), BlockGate()
    readings = []
    for number in range(round(seconds * fps)):
        pts = number / fps
        grey = noisy(film(pts), sigma, rng) if sigma else film(pts)
        seen = camera.update(grey, pts, gate.update(grey, pts).changed)
        readings.append((pts, health.update(grey, pts, moving=seen.moving, cut=seen.cut)))
    return readings


def began(readings: Iterable[tuple[float, Health]]) -> list[Condition]:
    return [trouble.what for _, health in readings for trouble in health.began]


def ended(readings: Iterable[tuple[float, Health]]) -> list[Condition]:
    return [trouble.what for _, health in readings for trouble in health.ended]


def between(start: float, end: float, usual: Grey, other: Grey) -> Film:
    return lambda t: other if start <= t < end else usual


def defocused(picture: Grey, sigma: float) -> Grey:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


USUAL = view(PLACE)
BLACK = np.zeros_like(USUAL)
COVER = np.full_like(USUAL, 90)


@pytest.mark.parametrize(
    ("what", "other"),
    [
        (Condition.BLACK, BLACK),
        (Condition.DARK, lit(USUAL, 0.06, 14)),
        (Condition.BRIGHT, lit(USUAL, 1.0, 150)),
        (Condition.BLUR, defocused(USUAL, 4.5)),
        (Condition.BLOCKED, COVER),
    ],
)
def test_a_lasting_fault_is_told_once_and_its_end_too(what: Condition, other: Grey) -> None:
    fault = HOLD_S[what] + 6
    readings = watch(between(FIXED, FIXED + fault, USUAL, other), FIXED + fault + 10)
    assert began(readings) == [what]
    assert ended(readings) == [what]
    (told,) = [(pts, trouble) for pts, health in readings for trouble in health.began]
    assert told[1].since == pytest.approx(FIXED, abs=1.0)
    assert told[0] - FIXED == pytest.approx(HOLD_S[what], abs=1.0)
    assert all(health.troubles for pts, health in readings if told[0] <= pts < FIXED + fault)
    assert not readings[-1][1].troubles


@pytest.mark.parametrize("other", [BLACK, defocused(USUAL, 3.5), COVER, lit(USUAL, 1.0, 150)])
def test_what_passes_is_not_told(other: Grey) -> None:
    assert began(watch(between(FIXED, FIXED + 2.4, USUAL, other), FIXED + 12)) == []


def test_one_colour_in_place_of_a_picture() -> None:
    readings = watch(between(20, 30, USUAL, COVER), 34, sigma=0)
    assert began(readings) == ended(readings) == [Condition.BLANK]


def test_a_clip_that_begins_black_or_fades_raises_nothing() -> None:
    def film(t: float) -> Grey:
        return lit(USUAL, float(np.clip((t - 8) / 3, 0, 1) * np.clip((22 - t) / 2, 0, 1)))

    assert began(watch(film, 23)) == []


def test_lights_that_go_out_block_no_view() -> None:
    assert began(watch(between(FIXED, FIXED + 30, USUAL, lit(USUAL, 0.3)), FIXED + 30)) == []


def test_people_before_the_camera_are_no_fault() -> None:
    def film(t: float) -> Grey:
        x = (t * 0.05) % 1.4 - 0.4
        return with_patch(USUAL, (x, 0.05, x + 0.4, 1.0))

    assert began(watch(film, FIXED + 40)) == []


# ---- freeze


def test_a_frozen_picture_is_told_and_its_end() -> None:
    rng = np.random.default_rng(1)
    live = [noisy(USUAL, 1.5, rng) for _ in range(400)]
    frames = [live[min(n, 120) if n < 200 else n] for n in range(240)]
    readings = watch(lambda t: frames[round(t * FPS)], 60, sigma=0)
    assert began(readings) == ended(readings) == [Condition.FREEZE]
    told = next(pts for pts, health in readings if health.began)
    assert told == pytest.approx(30 + FREEZE_S, abs=0.6)


@pytest.mark.parametrize("repeats", [2, 3, 40])
def test_a_source_that_repeats_its_pictures_is_not_frozen(repeats: int) -> None:
    """A slow camera, a slide show, a hard compressed still scene."""
    rng = np.random.default_rng(1)
    slides = [noisy(USUAL, 1.5, rng) for _ in range(1 + 120 * FPS // repeats)]
    assert began(watch(lambda t: slides[round(t * FPS) // repeats], 120, sigma=0)) == []


def test_a_rendered_still_scene_is_not_frozen() -> None:
    assert began(watch(lambda t: USUAL, 60, sigma=0)) == []


def test_a_freeze_that_ends_with_a_cut_has_ended() -> None:
    rng = np.random.default_rng(1)
    live, other = [noisy(USUAL, 1.5, rng) for _ in range(121)], view(canvas(22))
    after = [noisy(other, 1.5, rng) for _ in range(80)]
    frames = [*live, *([live[-1]] * 79), *after]
    readings = watch(lambda t: frames[round(t * FPS)], 60, sigma=0)
    assert began(readings) == ended(readings) == [Condition.FREEZE]
    assert not readings[-1][1].troubles


def test_black_frames_are_not_a_frozen_picture_too() -> None:
    rng = np.random.default_rng(1)
    frames = [BLACK if 120 <= n < 180 else noisy(USUAL, 1.5, rng) for n in range(240)]
    assert began(watch(lambda t: frames[round(t * FPS)], 60, sigma=0)) == [Condition.BLACK]


@pytest.mark.parametrize("again", [False, True])
def test_after_a_hole_another_place_is_no_blur(again: bool) -> None:
    health = HealthWatch()
    rng = np.random.default_rng(0)
    dull = defocused(view(canvas(22)), 4.5)
    told: list[Trouble] = []
    for n in range(round((FIXED + 20) * FPS)):
        if n == FIXED * FPS and again:
            health.begin_anew()
        told += health.update(noisy(USUAL if n < FIXED * FPS else dull, 1.5, rng), n / FPS).began
    assert [trouble.what for trouble in told] == ([] if again else [Condition.BLUR])


# ---- moved


def test_a_fixed_camera_that_is_turned_away_is_told() -> None:
    def film(t: float) -> Grey:
        return view(PLACE, x=0.9 * float(np.clip((t - FIXED) / 4, 0, 1)))

    readings = watch(film, FIXED + 20)
    assert began(readings) == [Condition.MOVED]
    assert not readings[-1][1].troubles


def test_a_camera_that_trembles_and_looks_where_it_did_is_not_moved() -> None:
    def film(t: float) -> Grey:
        return view(PLACE, x=0.03 * float(np.sin(9 * t)) if FIXED < t < FIXED + 3 else 0.0)

    assert began(watch(film, FIXED + 20)) == []


def test_a_camera_that_often_turns_is_not_tampered_with() -> None:
    stops = (0.0, 0.8, 0.0, -0.8)

    def film(t: float) -> Grey:
        at, part = divmod(t, 20.0)
        a, b = list(pairwise([*stops, stops[0]]))[int(at) % 4]
        return view(PLACE, x=a + (b - a) * min(1.0, part / 4))

    assert began(watch(film, 100)) == []


def test_another_scene_has_its_own_normal() -> None:
    other = view(canvas(22))
    assert began(watch(lambda t: USUAL if t < FIXED else other, FIXED + 20)) == []


# ---- what is said


@pytest.mark.parametrize("what", list(Condition))
def test_each_condition_has_its_fact_and_its_words(what: Condition) -> None:
    scene = Scene(9.0, 9.0, TrackerUpdate((), (), (), ()), STILL, health=Health(began=(Trouble(what, 4.0, 0.8),)))
    (fact,) = Lens().update(scene)
    assert (fact.start, fact.end, fact.label) == (4.0, 9.0, "camera")
    assert SCENE[fact.what][fact.where]


def test_the_end_is_told_when_all_is_well() -> None:
    black, blur = Trouble(Condition.BLACK, 1.0, 0.9), Trouble(Condition.BLUR, 1.0, 0.9)
    nobody = TrackerUpdate((), (), (), ())
    rule = Lens()
    assert list(rule.update(Scene(9, 9, nobody, STILL, health=Health((blur,), (), (black,))))) == []
    (fact,) = rule.update(Scene(10, 10, nobody, STILL, health=Health((), (), (blur,))))
    assert fact.what == "clear"


# ---- real pictures


@pytest.mark.parametrize("clip", ["tree_wind_then_hand.avi", "cockatoo_closeup.mp4", "city_night_towers.mpg"])
def test_nothing_is_wrong_with_real_clips(clip: str) -> None:
    need("clips")
    av = pytest.importorskip("av")

    health, camera, gate, count = HealthWatch(), CameraWatch(), BlockGate(), 0
    with av.open(str(SHARED / "clips" / clip)) as file:
        for number, picture in enumerate(file.decode(video=0)):
            if number % 5:
                continue
            count += 1
            grey, pts = luma(np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)), number / 25
            seen = camera.update(grey, pts, gate.update(grey, pts).changed)
            reading = health.update(grey, pts, moving=seen.moving, cut=seen.cut)
            assert not reading.troubles
            assert not reading.began
    assert count > 10
