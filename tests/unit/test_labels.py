"""The vote of a track: a wrong noun is worse than "something"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.labels import ANIMALS, MOVERS, VEHICLES, Vote, group

NAMES = ["person", "car", "truck", "bus", "dog", "cat", "chair", "cell phone", "toilet", "bicycle"]


def vote(*looks: tuple[str, float]) -> Vote:
    result = Vote()
    for label, score in looks:
        result.add(label, score)
    return result


@pytest.mark.parametrize(
    ("label", "wide"),
    [("car", "vehicle"), ("bus", "vehicle"), ("dog", "animal"), ("person", "person"), ("chair", "chair")],
)
def test_groups(label: str, wide: str) -> None:
    assert group(label) == wide
    assert group(wide) == wide  # the name of a group belongs to it


def test_what_moves_by_itself() -> None:
    assert VEHICLES | ANIMALS | {"person", "bicycle", "object"} <= MOVERS
    assert not {"chair", "laptop", "backpack", "bench"} & MOVERS


def test_nobody_has_looked_yet() -> None:
    empty = Vote()
    assert empty.result() == ("object", 0.0)
    assert not empty.named
    assert empty.weight == 0
    assert empty.sureness("person") == 0


def test_a_blob_of_motion_names_nothing() -> None:
    moved = vote(("", 0.0), ("", 0.9))
    assert not moved.named
    assert moved.result() == ("object", 0.0)


def test_one_look_is_not_enough() -> None:
    assert vote(("person", 0.6)).result()[0] == "object"
    assert vote(("person", 0.6), ("person", 0.5)).result()[0] == "person"


def test_the_odd_wrong_noun_is_outvoted() -> None:
    looks = [("person", 0.6)] * 8
    looks[2] = looks[5] = ("fire hydrant", 0.6)
    label, share = vote(*looks).result()
    assert label == "person"
    assert 0.6 < share < 0.95


def test_where_the_votes_disagree_it_is_something() -> None:
    assert vote(*[("cell phone", 0.5), ("toilet", 0.5), ("chair", 0.5)] * 4).result()[0] == "object"


def test_cars_and_trucks_are_vehicles_cats_and_dogs_animals() -> None:
    assert vote(*[("car", 0.5), ("truck", 0.5)] * 3).result()[0] == "vehicle"
    assert vote(*[("cat", 0.5), ("dog", 0.5)] * 4).result()[0] == "animal"


def test_people_and_cars_have_no_common_name() -> None:
    assert vote(*[("person", 0.5), ("car", 0.5)] * 4).result()[0] == "object"


def test_a_chair_that_drives_is_no_chair() -> None:
    driving = vote(*[("chair", 0.6)] * 6, *[("car", 0.5)] * 2)
    assert driving.result()[0] == "chair"
    assert driving.result(roams=True)[0] == "car"
    assert vote(*[("chair", 0.6)] * 6).result(roams=True) == ("object", 0.0)


def test_a_long_track_can_change_its_mind() -> None:
    changed = vote(*[("dog", 0.5)] * 100)
    for _ in range(150):
        changed.add("person", 0.5)
    assert changed.result()[0] == "person"


def test_one_lucky_look_makes_nothing_sure() -> None:
    lucky = vote(*[("person", 0.3)] * 5, ("person", 0.9))
    steady = vote(*[("person", 0.7)] * 6)
    assert lucky.sureness("person") < steady.sureness("person")
    assert steady.sureness("person") == pytest.approx(1, abs=0.05)
    assert steady.sureness("dog") == 0


def test_a_group_is_as_sure_as_its_surest_member() -> None:
    both = vote(*[("car", 0.6)] * 4, *[("truck", 0.3)] * 4)
    assert both.sureness("vehicle") == both.sureness("car") > both.sureness("truck") > 0


def test_distance_tells_what_fits() -> None:
    cars = vote(*[("car", 0.6)] * 5)
    assert cars.distance("car") < cars.distance("truck") < cars.distance("person") == 1
    assert Vote().distance("person") == 0


def test_alike() -> None:
    cars, trucks, people = (vote(*[(name, 0.6)] * 5) for name in ("car", "truck", "person"))
    assert cars.alike(trucks)
    assert not cars.alike(people)
    assert Vote().alike(people)


looks = st.lists(st.tuples(st.sampled_from(["", *NAMES]), st.floats(0.2, 1.0)), max_size=40)


@given(looks, st.booleans())
def test_the_result_is_something_that_was_said(seen: list[tuple[str, float]], roams: bool) -> None:
    result = vote(*seen)
    label, share = result.result(roams=roams)
    said = {name for name, _ in seen} - {""}
    assert label in said | {group(name) for name in said} | {"object"}
    assert 0 <= share <= 1
    assert not roams or label in MOVERS
    assert result.named == bool(said)
    for name in NAMES:
        assert 0 <= result.distance(name) <= 1
        assert 0 <= result.sureness(name) <= 1
    assert result.weight >= 0


@given(st.sampled_from(NAMES), st.integers(13, 60), st.floats(0.4, 1.0))
def test_what_all_say_it_is(label: str, count: int, score: float) -> None:
    name, share = vote(*[(label, score)] * count).result()
    assert name == label
    assert share == pytest.approx(1.0)


def test_a_head_from_behind_is_called_a_dog_twice_and_is_not_one_yet() -> None:
    assert vote(("dog", 0.64), ("cat", 0.5)).result()[0] == "object"
    assert vote(*[("dog", 0.64)] * 4).result()[0] == "animal"
    assert vote(*[("dog", 0.64)] * 8).result()[0] == "dog"


def test_a_hardly_decided_name_does_not_keep_a_person_off() -> None:
    early, settled = vote(("dog", 0.5)), vote(*[("dog", 0.5)] * 8)
    assert early.distance("person") < 0.5 < settled.distance("person") == 1.0


def test_which_sort_of_screen_takes_many_looks_that_agree() -> None:
    assert vote(*[("laptop", 0.5)] * 4).result()[0] == "screen"
    assert vote(*[("laptop", 0.5)] * 20).result()[0] == "laptop"
    assert vote(*[("laptop", 0.5), ("laptop", 0.5), ("tv", 0.5)] * 10).result()[0] == "screen"


def test_a_teddy_bear_that_goes_about_is_an_animal() -> None:
    toy = vote(*[("teddy bear", 0.6)] * 9)
    assert toy.result()[0] == "teddy bear"
    assert toy.result(roams=True)[0] == "animal"
    assert vote(*[("teddy bear", 0.6), ("bird", 0.6)] * 3).result()[0] == "animal"


def test_a_bed_that_is_a_couch_now_and_then_is_surely_a_bed() -> None:
    label, share = vote(*[("bed", 0.55), ("bed", 0.55), ("bed", 0.55), ("couch", 0.5)] * 4).result()
    assert label == "bed"
    assert share == pytest.approx(1.0)
    assert vote(*[("bed", 0.5), ("couch", 0.5)] * 6).result()[1] < 0.65
