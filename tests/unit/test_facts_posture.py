"""Who sits down, stands up, bends, falls and lies, from joints that are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.facts.posture import Postures
from streamcap.instances import Observed, Stage, Track
from streamcap.pose import seat_of
from streamcap.tracks import birth
from streamcap.types import Box
from tests.bodies import (
    BENT_AWAY,
    BENT_SIDE,
    CROUCHING,
    HANDS_UP,
    HIGH_CAMERA,
    SITTING,
    SITTING_SIDE,
    Performer,
    figure,
    path,
)

Joints = NDArray[np.float32]
LEGS = ("knee", "ankle")

# All stand with their feet at one place; hips come down where the knees bend.
STANDS = figure(at=(0.5, 0.5))
SITS = figure(SITTING, at=(0.5, 0.56))
SITS_SIDE = figure(SITTING_SIDE, at=(0.42, 0.605))
CROUCHES = figure(CROUCHING, at=(0.49, 0.695))
BENDS = figure(BENT_SIDE, at=(0.5, 0.5))
BENDS_AWAY = figure(BENT_AWAY, at=(0.5, 0.5))
LIES = figure(at=(0.5, 0.72), turned=88)


def performer() -> Performer:
    return Performer(Postures())


def test_sits_down_and_stands_up() -> None:
    one = performer()
    one.act(2, STANDS)
    one.act(0.6, *path(STANDS, SITS, 3))
    one.act(3, SITS)
    assert one.told == ["sit"]
    assert one.said[0].end - one.said[0].start <= 2
    one.act(0.6, *path(SITS, STANDS, 3))
    one.act(3, STANDS)
    assert one.told == ["sit", "stand_up"]
    assert all(0.6 <= fact.confidence <= 0.9 for fact in one.said)


def test_a_seat_is_named() -> None:
    chair = birth(Observed((0.38, 0.5, 0.62, 0.85), 0.9, "chair"), 0.0)
    chair.stage, chair.id = Stage.ACTIVE, 2
    for _ in range(4):
        chair.vote.add("chair", 0.9)
    one = Performer(Postures(), others=[chair])
    one.act(2, STANDS)
    one.act(0.6, *path(STANDS, SITS, 3))
    one.act(2, SITS)
    assert one.said[0].detail == {"object": "chair"}


@pytest.mark.parametrize(
    ("person", "seat"),
    [((0.4, 0.2, 0.6, 0.8), "chair"), ((0.7, 0.2, 0.9, 0.8), ""), ((0.4, 0.0, 0.6, 0.3), "")],
)
def test_who_is_beside_a_seat_does_not_sit_on_it(person: Box, seat: str) -> None:
    assert seat_of(person, [("table", (0, 0, 1, 1)), ("chair", (0.4, 0.5, 0.62, 0.9))]) == seat


def test_sitting_seen_from_the_side() -> None:
    one = performer()
    one.act(2, STANDS)
    one.act(0.6, *path(STANDS, SITS_SIDE, 3))
    one.act(2, SITS_SIDE)
    assert one.told == ["sit"]


@pytest.mark.parametrize(("bent", "told"), [(BENDS, "bend down"), (BENDS_AWAY, "bend")])
def test_bends_and_straightens_up(bent: Joints, told: str) -> None:
    one = performer()
    one.act(2, STANDS)
    one.act(0.4, *path(STANDS, bent, 2))
    one.act(1.4, bent)
    one.act(0.4, *path(bent, STANDS, 2))
    one.act(2, STANDS)
    assert one.told == [told, "stand_up bending"]


def test_who_works_bent_is_not_told_of_each_time() -> None:
    one = performer()
    one.act(2, STANDS)
    for _ in range(3):
        one.act(1.0, BENDS)
        one.act(1.0, STANDS)
    assert [what for what in one.told if what.startswith("bend")] == ["bend down"]


def test_crouches_and_stands_up() -> None:
    one = performer()
    one.act(2, STANDS)
    one.act(0.6, *path(STANDS, CROUCHES, 3))
    one.act(2, CROUCHES)
    one.act(0.6, *path(CROUCHES, STANDS, 3))
    one.act(2, STANDS)
    assert one.told == ["bend crouching", "stand_up"]


def test_leans_forward_on_a_seat() -> None:
    leaning = figure(SITTING_SIDE, {"left_shoulder": (0.65, -0.75), "right_shoulder": (0.65, -0.75)}, at=(0.42, 0.605))
    one = performer()
    one.act(2, SITS_SIDE)
    one.act(0.6, *path(SITS_SIDE, leaning, 3))
    one.act(1, leaning)
    assert one.told == ["bend"]


@pytest.mark.parametrize("start", [STANDS, SITS_SIDE], ids=["standing", "sitting"])
def test_a_fall_is_told_within_a_second_and_lying_after_it(start: Joints) -> None:
    one = performer()
    one.act(2, start)
    one.act(0.6, *path(start, LIES, 3))
    one.act(0.6, LIES)
    assert one.told == ["fall"]
    assert one.said[0].start == pytest.approx(2.0, abs=0.45)
    assert one.said[0].end <= 3.2
    one.act(2, LIES)
    assert one.told == ["fall", "lie floor"]
    one.act(1, *path(LIES, STANDS, 5))
    one.act(2, STANDS)
    assert one.told[:3] == ["fall", "lie floor", "stand_up"]


def test_a_fall_of_which_no_joints_are_seen_is_read_from_the_box() -> None:
    one = performer()
    one.act(2, box=(0.4, 0.2, 0.6, 0.8))
    one.act(1.5, box=(0.3, 0.62, 0.75, 0.82))
    assert one.told == ["fall"]


def test_a_flat_box_around_legs_that_stand_is_no_fall() -> None:
    one = performer()
    one.act(2, STANDS, box=(0.4, 0.2, 0.6, 0.8))
    one.act(2, BENDS, box=(0.25, 0.55, 0.75, 0.82))
    assert "fall" not in one.told


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("lies down slowly", path(STANDS, LIES, 15)),
        ("sits down", path(STANDS, SITS, 2)),
        ("lies down on a bed from sitting", path(SITS_SIDE, figure(at=(0.42, 0.605), turned=88), 3)),
        ("bends down", path(STANDS, BENDS, 2)),
        ("crouches", path(STANDS, CROUCHES, 2)),
        ("joints jump for one look", [LIES, STANDS, STANDS]),
    ],
)
def test_what_is_no_fall(name: str, way: list[Joints]) -> None:
    one = performer()
    one.act(2, STANDS if name != "lies down on a bed from sitting" else SITS_SIDE)
    one.act(len(way) / 5, *way)
    one.act(3, way[-1])
    assert "fall" not in one.told, name


def test_who_lies_down_slowly_lies() -> None:
    one = performer()
    one.act(2, STANDS)
    one.act(1.0, *path(STANDS, SITS, 5))
    one.act(3.0, *path(SITS, LIES, 15))
    one.act(3, LIES)
    assert one.told[-1] == "lie"
    assert "fall" not in one.told


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("walks behind a table", [figure(hidden=LEGS), figure(SITTING, hidden=LEGS, hidden_score=0.33)]),
        ("legs that are drawn too short", [figure(SITTING)]),  # the head stays where it was
        ("goes out at the bottom", path(STANDS, figure(at=(0.5, 0.98)), 10)),
        ("raises the hands", [figure(HANDS_UP)]),
        ("is seen from above", [figure(HIGH_CAMERA)]),
        ("goes away", path(STANDS, figure(at=(0.5, 0.4), torso=0.06), 20)),
        ("comes near", path(STANDS, figure(at=(0.5, 0.6), torso=0.3), 20)),
        ("nobody can be read", [figure(score=0.2)]),
    ],
)
def test_who_stands_or_walks_does_nothing_else(name: str, looks: list[Joints]) -> None:
    one = performer()
    one.act(2, STANDS)
    one.act(4, *looks)
    assert one.told == [], name


def test_while_the_camera_moves_nothing_is_told() -> None:
    one = performer()
    one.act(2, STANDS)
    one.act(0.6, *path(STANDS, SITS, 3), moving=True)
    one.act(3, SITS)
    assert one.told == []


def test_what_is_kept_ends_with_the_track() -> None:
    from streamcap.camera import CameraReading
    from streamcap.facts import Scene
    from streamcap.instances import TrackerUpdate
    from streamcap.transform import Transform

    rule = Postures()
    one = Performer(rule)
    one.act(2, STANDS)
    gone: tuple[Track, ...] = (one.track,)
    list(rule.update(Scene(3.0, 8.0, TrackerUpdate((), (), (), gone), CameraReading(Transform(), False, ()))))
    assert not rule._states
