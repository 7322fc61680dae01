"""Vehicles and riders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from streamcap.facts import Scene
from streamcap.facts.vehicles import PARK_S, OwnDrive
from streamcap.instances import Observed, Tracker
from streamcap.language.change import describe_change
from streamcap.types import Box, Fact
from tests.scenes import STILL, WHOLE, Actor, Play, Stagehand, perfect

CAR = (0.25, 0.2)


def said(actors: list[Actor], seconds: float, what: str) -> list[Fact]:
    stage = Stagehand(actors)
    stage.play(0, seconds)
    return stage.said(what)


# ---- driving


@pytest.mark.parametrize(("end", "side"), [((0.9, 0.5), "right"), ((0.1, 0.5), "left"), ((0.5, 0.0), "top")])
def test_a_car_that_drives_from_the_start_is_told_once_with_its_way(end: tuple[float, float], side: str) -> None:
    car = Actor(((0, 0.5, 0.55), (5, *end), (20, *end)), CAR, "car")
    (drive,) = said([car], 8, "drive_through")
    assert drive.where == side
    assert drive.end <= 4


def test_a_car_of_which_it_is_told_that_it_enters_is_not_told_to_drive_by() -> None:
    car = Actor(((3, -0.12, 0.5), (9, 1.12, 0.5)), CAR, "car")
    stage = Stagehand([car])
    stage.play(0, 12)
    assert [f.what for f in stage.facts if f.label == "car"] == ["enter", "leave"]


def test_a_car_that_stands_does_not_drive() -> None:
    assert said([Actor(((0, 0.5, 0.5), (30, 0.5, 0.5)), CAR, "car")], 20, "drive_through") == []


def test_a_car_that_comes_and_stays_is_parked() -> None:
    car = Actor(((3, -0.12, 0.5), (7, 0.5, 0.5), (60, 0.5, 0.5)), CAR, "car")
    (park,) = said([car], 40, "park")
    assert 7 + PARK_S <= park.end <= 10 + PARK_S


def test_a_queue_at_a_light_is_not_parked() -> None:
    cars = [
        Actor(((3, 1.2, y), (7, 0.4, y), (60, 0.4, y)), (0.2, 0.15), "car", look=i)
        for i, y in enumerate((0.2, 0.5, 0.8))
    ]
    assert said(cars, 40, "park") == []


# ---- riding


def rider(speed: float, *, lift: float = 0.05) -> list[Actor]:
    """A person and a bicycle that go to the right as one from the third second on; ``lift``: feet above the ground."""

    def path(dy: float) -> tuple[tuple[float, float, float], ...]:
        return (3, -0.05, 0.5 + dy), (3 + 1.1 / speed, 1.05, 0.5 + dy)

    return [
        Actor(path(-0.1 + 0.0), (0.08, 0.3), "person", look=1),
        Actor(path(0.05 + lift - 0.05), (0.12, 0.2), "bicycle", look=2),
    ]


def test_who_is_on_a_moving_bicycle_rides_it() -> None:
    (ride,) = said(rider(0.15, lift=0.1), 12, "ride")
    assert ride.detail["vehicle"] == "bicycle"
    assert ride.end <= 6
    assert describe_change([ride], []).text == "The person rides a bicycle."


def test_a_rider_who_is_only_just_recognised_rides_at_once() -> None:
    def late(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        """The rider is found with little certainty, and so takes longer to confirm than the bicycle."""
        for seen in perfect(time, there):
            if seen.label == "bicycle" or time >= 4.0:
                yield seen

    stage = Stagehand(rider(0.15, lift=0.1), detector=late)
    stage.play(0, 8)
    (ride,) = stage.said("ride")
    (confirmed,) = [time for time, update in stage.updates for t in update.confirmed if t.label == "person"]
    assert ride.end <= confirmed + 0.41


def test_who_stands_at_a_bicycle_does_not_ride() -> None:
    actors = [
        Actor(((0, 0.5, 0.5), (20, 0.5, 0.5)), (0.08, 0.3), "person"),
        Actor(((0, 0.5, 0.6), (20, 0.5, 0.6)), (0.12, 0.2), "bicycle", look=2),
    ]
    assert said(actors, 15, "ride") == []


def test_who_walks_past_a_bicycle_does_not_ride() -> None:
    actors = [
        Actor(((0, 0.1, 0.5), (9, 0.9, 0.5)), (0.08, 0.3), "person"),
        Actor(((0, 0.5, 0.58), (20, 0.5, 0.58)), (0.12, 0.2), "bicycle", look=2),
    ]
    assert said(actors, 10, "ride") == []


def test_who_pushes_a_bicycle_does_not_ride() -> None:
    actors = [
        Actor(((0, 0.1, 0.5), (12, 0.9, 0.5)), (0.08, 0.3), "person"),
        Actor(((0, 0.13, 0.57), (12, 0.93, 0.57)), (0.12, 0.16), "bicycle", look=2),
    ]
    assert said(actors, 12, "ride") == []


# ---- getting in and out

PARKED = Actor(((0, 0.5, 0.5), (60, 0.5, 0.5)), (0.4, 0.3), "car", look=9)


def test_who_walks_up_to_a_car_and_is_gone_gets_in() -> None:
    person = Actor(((0, 0.05, 0.55), (5, 0.33, 0.55), (7, 0.33, 0.55)), (0.08, 0.3), "person")
    (fact,) = said([PARKED, person], 20, "get_in")
    assert fact.detail["vehicle"] == "car"
    assert describe_change([fact], []).text == "The person gets into the car."


def test_who_walks_on_behind_a_car_does_not_get_in() -> None:
    before = Actor(((0, 0.05, 0.5), (4, 0.35, 0.5)), (0.08, 0.3), "person", look=3)
    after = Actor(((6, 0.65, 0.5), (10, 0.95, 0.5)), (0.08, 0.3), "person", look=3)
    assert said([PARKED, before, after], 20, "get_in") == []


def test_who_walks_out_of_the_view_before_a_car_does_not_get_in() -> None:
    person = Actor(((0, 0.9, 0.6), (6, -0.1, 0.6)), (0.08, 0.3), "person")
    assert said([PARKED, person], 14, "get_in") == []


def test_who_comes_to_be_at_a_car_gets_out() -> None:
    person = Actor(((5, 0.33, 0.55), (6, 0.33, 0.55), (12, 0.1, 0.6)), (0.08, 0.3), "person")
    (fact,) = said([PARKED, person], 12, "get_out")
    assert fact.end <= 8
    assert describe_change([fact], []).text == "The person gets out of the car."


def test_who_comes_from_the_side_does_not_get_out() -> None:
    person = Actor(((3, -0.05, 0.55), (10, 0.5, 0.55)), (0.08, 0.3), "person")
    assert said([PARKED, person], 12, "get_out") == []


# ---- the camera's own drive


def seen(rule: OwnDrive, *, driving: bool, vehicles: bool) -> list[Fact]:
    """Ten seconds of a scene."""
    tracker, facts = Tracker(), []
    for step in range(50):
        pts = step / 5
        found = [Observed((0.4, 0.4, 0.5, 0.5), 0.8, "car")] if vehicles else []
        update = tracker.update(found, [WHOLE], STILL.transform, pts)
        scene = Scene(pts, pts, update, replace(STILL, moving=driving), driving=driving and pts >= 2)
        facts += list(rule.update(scene))
    return facts


def test_a_drive_among_vehicles_is_told_once() -> None:
    (fact,) = seen(OwnDrive(), driving=True, vehicles=True)
    assert fact.label == "camera"
    assert describe_change([fact], []).text == "The camera drives along a road."


@pytest.mark.parametrize(("driving", "vehicles"), [(True, False), (False, True)])
def test_no_drive_is_told_without_vehicles_or_motion(driving: bool, vehicles: bool) -> None:
    assert seen(OwnDrive(), driving=driving, vehicles=vehicles) == []


def test_who_is_not_known_is_someone() -> None:
    fact = Fact("ride", 0, 1, 0.8, skill=seen(OwnDrive(), driving=True, vehicles=True)[0].skill, label="person")
    assert describe_change([fact], []).text == "Someone rides past."
