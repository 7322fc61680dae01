"""Whose joints are looked at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from streamcap.crew import Crew
from streamcap.metrics import Stages
from streamcap.pose import Pose
from streamcap.posing import BUDGET, RENEW_S, STILL_S, WALK_S, PoseStage, chosen
from streamcap.tracks import Observed, Stage, Track, birth
from streamcap.types import Box, Frame
from tests.bodies import ASPECT, figure

SIZE = (800, 600)


def person(
    box: Box, *, t: float = 0.0, label: str = "person", looked: float | None = None, speed: float = 0.0
) -> Track:
    """Somebody who was seen at 5 frames a second in the second before ``t``."""
    step = speed * (box[3] - box[1]) * 0.2
    start = t - 1.0
    boxes = [(box[0] + step * (n - 5), box[1], box[2] + step * (n - 5), box[3]) for n in range(6)]
    track = birth(Observed(boxes[0], 0.9, label), start)
    for n, place in enumerate(boxes[1:], 1):
        track.observe(Observed(place, 0.9, label), start + n / 5)
    track.stage = Stage.ACTIVE
    if looked is not None:
        for n in range(4):
            track.body.add(Pose(looked - (3 - n) / 5, figure(torso=0.1), ASPECT))
    return track


def tall(height: float, x: float = 0.3) -> Box:
    return x, 0.1, x + 0.1, 0.1 + height


def still(_: Box) -> float:
    return 0.0


def moving(_: Box) -> float:
    return 0.3


def test_no_more_than_the_budget_and_the_largest_first() -> None:
    people = [person(tall(height)) for height in (0.2, 0.3, 0.4, 0.5, 0.6)]
    assert chosen(people, 0.0, SIZE, moving) == people[:-BUDGET - 1:-1]  # fmt: skip


def test_nobody_small_nothing_else_and_nobody_whose_place_is_a_guess() -> None:
    small, dog = person((0.3, 0.1, 0.33, 0.19)), person(tall(0.5), label="dog")
    gone = person(tall(0.5))
    assert chosen([small, dog], 0.0, SIZE, moving) == []
    assert chosen([gone], 0.0, SIZE, moving) == [gone]
    assert chosen([gone], 1.4, SIZE, moving) == []


def test_who_is_still_is_looked_at_from_time_to_time() -> None:
    track = person(tall(0.5), looked=0.0)
    assert chosen([track], 0.2, SIZE, still) == []
    assert chosen([track], 0.2, SIZE, moving) == [track]
    track.hold(STILL_S)
    assert chosen([track], STILL_S, SIZE, still) == [track]


def test_who_walks_upright_is_looked_at_less_often() -> None:
    walker = person(tall(0.5), t=10.0, looked=9.8, speed=0.5)
    assert chosen([walker], 10.0, SIZE, moving) == []
    assert chosen([walker], 9.81 + WALK_S, SIZE, moving) == [walker]


def test_a_walker_whose_box_comes_down_is_looked_at_at_once() -> None:
    walker = person(tall(0.5), t=10.0, looked=10.0, speed=0.5)
    x0, y0, x1, y1 = walker.box
    for n in (1, 2):
        walker.observe(Observed((x0, y0 + 0.1 * n, x1, y1), 0.9, "person"), 10.0 + n / 5)
    assert chosen([walker], 10.4, SIZE, moving) == [walker]


def test_who_is_small_is_looked_at_now_and_then() -> None:
    track = person((0.3, 0.1, 0.34, 0.25), looked=0.0)  # 90 pixels high
    assert chosen([track], 0.2, SIZE, moving) == []
    assert chosen([track], 0.4, SIZE, moving) == [track]


def test_everybody_has_a_turn() -> None:
    crowd = [person(tall(0.3 + n / 50), looked=0.0) for n in range(8)]
    seen: set[int] = set()
    for n in range(1, 12):
        for track in crowd:
            track.hold(n / 5)
        for track in chosen(crowd, n / 5, SIZE, moving):
            track.body.looked = n / 5
            seen.add(id(track))
    assert len(seen) == len(crowd)


class Estimator:
    """Reports a standing figure in the middle of the box, and remembers the boxes."""

    def __init__(self) -> None:
        self.boxes: list[Box] = []

    def estimate(self, image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        self.boxes.append(box)
        return figure(at=((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), torso=0.1)


def test_what_is_seen_comes_to_the_body_and_from_there_to_the_instance() -> None:
    track, estimator = person(tall(0.5)), Estimator()
    frame = np.zeros((600, 800, 3), np.uint8)
    with ThreadPoolExecutor(1) as pool:
        stage = PoseStage(estimator, Crew(pool, Stages()))
        for n in range(1, 4):
            track.observe(Observed(tall(0.5), 0.9, "person"), n / 5)
            stage.begin(Frame("s", n, n / 5, 0.0, frame), [track], moving)()
        assert track.instance().posture == "standing"
        assert estimator.boxes[0] == track.box
        close = estimator.boxes[-1]  # around the joints of the look before
        assert close[1] > track.box[1]
        assert close[3] < track.box[3]
        stage.begin(Frame("s", 7, 1.4, 0.0, frame), [track], moving)()
    unseen = estimator.boxes[-1]
    assert unseen[0] < track.box[0]
    assert unseen[3] > track.box[3]
    assert len(track.body.poses) == 4


def test_of_whom_nothing_changes_the_joints_are_known_for_a_while() -> None:
    track, estimator = person(tall(0.5)), Estimator()
    frame = np.zeros((600, 800, 3), np.uint8)
    with ThreadPoolExecutor(1) as pool:
        stage = PoseStage(estimator, Crew(pool, Stages()))

        def watch(pts: float, changed: Callable[[Box], float]) -> int:
            before = len(estimator.boxes)
            track.hold(pts)
            stage.begin(Frame("s", 0, pts, 0.0, frame), [track], changed)()
            return len(estimator.boxes) - before

        assert [watch(n * STILL_S, still) for n in range(1, 5)] == [1, 1, 0, 0]
        assert track.body.looked == 4 * STILL_S
        assert track.body.pose is not None
        assert track.body.pose.t == 4 * STILL_S
        assert watch(5 * STILL_S, moving) == 1
        assert [watch((5 + n) * STILL_S, still) for n in (1, 2, 3)] == [1, 0, 0]
        assert watch(7 * STILL_S + RENEW_S, still) == 1
