"""What is read from joints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.body import KEPT, Body
from streamcap.pose import Facing, Pose, Posture
from tests.bodies import (
    ASPECT,
    BENT_AWAY,
    BENT_SIDE,
    CROUCHING,
    EATING,
    HANDS_UP,
    HIGH_CAMERA,
    SITTING,
    SITTING_SIDE,
    figure,
    pose,
)

LEGS = ("knee", "ankle")


def held(*poses: Pose) -> Body:
    body = Body()
    for n, one in enumerate(poses):
        body.add(Pose(n / 5, one.joints, one.aspect))
    return body


def word(*poses: Pose) -> str:
    body = held(*poses)
    return body.posture(body.looked)[0].value


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        (Posture.STANDING, pose()),
        (Posture.STANDING, pose(HIGH_CAMERA)),
        (Posture.STANDING, pose(hidden=("ankle",))),
        (Posture.STANDING, pose(HANDS_UP)),
        (Posture.SITTING, pose(SITTING)),
        (Posture.SITTING, pose(SITTING_SIDE)),
        (Posture.CROUCHING, pose(CROUCHING)),
        (Posture.BENT, pose(BENT_SIDE)),
        (Posture.LYING, pose(turned=90)),
        (Posture.LYING, pose(turned=-80)),
        (Posture.LYING, pose(turned=90, hidden=("knee",))),
    ],
)
def test_postures(expected: Posture, seen: Pose) -> None:
    assert word(*[seen] * 4) == expected


@pytest.mark.parametrize(
    "seen",
    [
        pose(hidden=LEGS),
        pose(SITTING, hidden=LEGS, hidden_score=0.32),  # half seen behind a table, and drawn too short
        pose(at=(0.5, 0.9)),  # the legs are below the border of the frame
        pose(score=0.2),
        pose(hidden=("shoulder", "elbow", "wrist", "knee", "ankle")),
    ],
)
def test_whose_legs_are_not_seen_neither_sits_nor_stands(seen: Pose) -> None:
    assert word(*[seen] * 4) == ""


def test_bent_towards_the_camera_or_away_from_it_is_seen_by_comparison() -> None:
    assert word(*[pose()] * 5, *[pose(BENT_AWAY)] * 5) == Posture.BENT
    assert word(*[pose(HIGH_CAMERA)] * 5, *[pose(HIGH_CAMERA, BENT_AWAY)] * 5) == Posture.BENT


def test_one_odd_look_changes_no_word() -> None:
    assert word(*[pose()] * 6, pose(SITTING)) == Posture.STANDING
    assert word(*[pose()] * 6, pose(turned=90), pose()) == Posture.STANDING


def test_the_word_grows_old() -> None:
    body = held(*[pose()] * 4)
    assert body.posture(3.0)[0] is Posture.STANDING
    assert body.posture(9.0) == (Posture.UNKNOWN, 0.0)


@given(st.floats(0.03, 0.3), st.floats(0.4, 0.6), st.sampled_from([{}, SITTING, CROUCHING, BENT_SIDE]))
def test_size_and_place_do_not_count(torso: float, x: float, change: dict[str, tuple[float, float]]) -> None:
    far = pose(change, torso=torso, at=(x, 0.45))
    assert far.likelihoods() == pytest.approx(pose(change, torso=0.15, at=(0.5, 0.45)).likelihoods(), abs=1e-3)


@given(st.lists(st.tuples(*[st.floats(-1, 2, width=32)] * 2, st.floats(0, 1, width=32)), min_size=17, max_size=17))
def test_whatever_the_joints_it_is_some_posture_or_none(rows: list[tuple[float, float, float]]) -> None:
    one = Pose(0.0, np.asarray(rows, np.float32), ASPECT)
    assert all(0 <= value <= 1 for value in one.likelihoods(1.0).values())
    assert 0 <= one.stoop <= 1
    assert one.raised in (0, 1, 2)
    assert isinstance(one.hand_at_mouth, bool)
    assert len(one.reaching) <= len(one.wrists) <= 2
    assert len(one.hand_boxes) <= 2
    assert one.facing in Facing


def test_what_is_kept_is_bounded() -> None:
    body = held(*[pose()] * (3 * KEPT))
    assert len(body.poses) == KEPT
    assert body.last(1.0)[0].t >= body.looked - 1.0


def test_hands() -> None:
    assert [pose(c).raised for c in ({}, HANDS_UP, EATING, BENT_SIDE)] == [0, 2, 0, 0]
    assert [pose(c).hand_at_mouth for c in ({}, EATING, HANDS_UP)] == [False, True, False]
    stretched = {"left_elbow": (0.8, -0.8), "left_wrist": (1.3, -0.7)}
    assert len(pose(stretched).reaching) == 1
    assert pose().reaching == ()
    assert pose(BENT_SIDE).stoop == pytest.approx(1.1 / 1.6)
    assert pose().stoop < 0.1
    x, y = pose().wrists[0]
    assert (x, y) == pytest.approx((0.5 + 0.45 * 0.15 / ASPECT, 0.5 + 0.05 * 0.15))
    first = pose().hand_boxes[0]
    assert first[0] < x < first[2]
    assert first[1] < y + 0.02 < first[3]


def test_facing() -> None:
    away = {name.replace("left", "right") if "left" in name else name.replace("right", "left"): xy
            for name, xy in {"left_shoulder": (0.35, -1.0), "right_shoulder": (-0.35, -1.0)}.items()}  # fmt: skip
    side = {"left_shoulder": (0.05, -1.0), "right_shoulder": (-0.05, -1.0), "nose": (-0.3, -1.45)}
    ears = {"left_ear": (0.0, -1.45), "right_ear": (0.02, -1.45)}
    assert pose().facing is Facing.TOWARDS
    assert pose(away).facing is Facing.AWAY
    assert pose(side, ears).facing is Facing.LEFT
    assert pose(hidden=("shoulder",)).facing is Facing.UNKNOWN


def test_the_figure_is_what_it_says() -> None:
    joints = figure(torso=0.2)
    assert joints.shape == (17, 3)
    assert Pose(0.0, joints, ASPECT).torso == pytest.approx(0.2)
