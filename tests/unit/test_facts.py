"""What is held to have happened: each thing once, on the right side, and nothing that did not."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest

from streamcap.camera import CameraReading
from streamcap.facts import RULES, SALIENCY, FactEngine, Scene
from streamcap.instances import Observed, Tracker, TrackerUpdate
from streamcap.transform import Transform
from streamcap.types import Box, Fact, Skill
from tests.scenes import STILL, Actor, Play, Scripted, Stagehand, change, perfect, truthful

SIDES = {
    "left": ((-0.06, 0.5), (0.5, 0.5)),
    "right": ((1.06, 0.5), (0.5, 0.5)),
    "top": ((0.5, -0.12), (0.5, 0.6)),
    "bottom": ((0.5, 1.12), (0.5, 0.4)),
}
SMALL = (0.08, 0.2)


def comes(side: str, at: float, seconds: float = 4.0, stays: float = 30.0, **values: object) -> Actor:
    """Someone who comes in from a side and stays."""
    (x0, y0), (x1, y1) = SIDES[side]
    path = ((at, x0, y0), (at + seconds, x1, y1), (at + seconds + stays, x1, y1))
    return Actor(path, SMALL, **values)  # type: ignore[arg-type]


def goes(side: str, at: float, seconds: float = 4.0, **values: object) -> Actor:
    """Someone who is there from the beginning and leaves at a side."""
    (x1, y1), (x0, y0) = SIDES[side]
    return Actor(((0, x0, y0), (at, x0, y0), (at + seconds, x1, y1)), SMALL, **values)  # type: ignore[arg-type]


def told(facts: Sequence[Fact]) -> list[tuple[str, str]]:
    """What happened and where, of people and things."""
    return [(f.what, f.where) for f in facts if f.what in ("enter", "leave", "appear", "disappear")]


# ---- what was there already


@pytest.mark.parametrize(
    ("since", "looks", "settling"),
    [(1.0, 6, True), (1.2, 7, False), (1.2, 4, True), (3.9, 3, True), (4.0, 3, False), (2.0, 5, False)],
)
def test_a_scene_settles_after_a_time_and_some_looks(since: float, looks: int, settling: bool) -> None:
    assert Scene(since, since, TrackerUpdate((), (), (), ()), STILL, looks=looks).settling is settling


# ---- coming and going


@pytest.mark.parametrize("side", SIDES)
def test_who_enters_is_told_once_with_the_side(side: str) -> None:
    stage = Stagehand([comes(side, 3.0)])
    facts = stage.play(0, 12)
    assert told(facts) == [("enter", side)]
    (enter,) = stage.said("enter")
    assert (enter.who, enter.label, enter.skill) == ((1,), "person", Skill.ACTION)
    assert 3.0 <= enter.start <= enter.end <= 6.0
    assert len(enter.boxes) == 1


@pytest.mark.parametrize("side", SIDES)
def test_who_leaves_is_told_once_with_the_side(side: str) -> None:
    stage = Stagehand([goes(side, 4.0)])
    facts = stage.play(0, 18)
    assert told(facts) == [("leave", side)]
    (leave,) = stage.said("leave")
    assert leave.who == (1,)
    assert 6.0 <= leave.end <= 9.0


def test_through_the_picture() -> None:
    stage = Stagehand([Actor(((3, -0.06, 0.5), (9, 1.06, 0.5)), SMALL)])
    facts = stage.play(0, 18)
    assert told(facts) == [("enter", "left"), ("leave", "right")]
    assert {who for f in facts if f.what in ("enter", "leave") for who in f.who} == {1}


def test_a_quick_one_is_not_missed() -> None:
    stage = Stagehand([Actor(((3, -0.1, 0.5), (4.6, 1.1, 0.5)), (0.2, 0.2), "car")])
    assert told(stage.play(0, 14)) == [("enter", "left"), ("leave", "right")]


def test_who_comes_out_of_a_door_appears() -> None:
    stage = Stagehand([Actor(((3, 0.5, 0.5), (7, 0.75, 0.5), (60, 0.75, 0.5)), SMALL)])
    facts = stage.play(0, 12)
    assert [what for what, _ in told(facts)] == ["appear"]
    assert "left" not in told(facts)[0][1]


def test_a_bag_that_is_put_down_appears() -> None:
    stage = Stagehand([Actor(((4, 0.8, 0.8), (60, 0.8, 0.8)), (0.08, 0.1), "suitcase")])
    assert told(stage.play(0, 50)) == [("appear", "bottom right")]
    (appear,) = stage.facts
    assert appear.label == "suitcase"
    assert 4 <= appear.start <= appear.end < 7


@pytest.mark.parametrize("since", [0, 4])
@pytest.mark.parametrize("until", [14, 70])
def test_a_bag_that_is_taken_away_disappears(since: int, until: int) -> None:
    """Whether it was always there or is new, and whether for a short or a long time."""
    stage = Stagehand([Actor(((since, 0.8, 0.8), (until, 0.8, 0.8)), (0.08, 0.1), "suitcase")])
    stage.play(0, until + 20)
    (disappear,) = stage.said("disappear")
    assert (disappear.label, disappear.where) == ("suitcase", "bottom right")
    # Its end is when it was last seen, however late that was made sure of.
    assert until - 2 <= disappear.end <= until + 1


@pytest.mark.parametrize("seed", range(4))
def test_someone_at_the_border_comes_once(seed: int) -> None:
    """Half in, half out, for half a minute, and the detector misses every third look."""
    rng = random.Random(seed)

    def flickering(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        return (seen for seen in perfect(time, there) if rng.random() > 0.33)

    wobble = tuple((6.0 + 0.4 * n, 0.02 + rng.uniform(-0.015, 0.015), 0.5) for n in range(75))
    stage = Stagehand([Actor(((3, -0.06, 0.5), *wobble), SMALL)], detector=flickering)
    facts = stage.play(0, 35)
    assert len(stage.said("enter")) <= 1
    assert stage.said("leave") == []
    assert len(facts) <= 3


def test_a_scene_that_begins_is_silent() -> None:
    """What is found in the first second was there already."""
    there = [Actor(((0, x, 0.5), (60, x + 0.05, 0.5)), SMALL, look=n) for n, x in enumerate((0.04, 0.4, 0.7))]
    stage = Stagehand(there)
    assert stage.play(0, 10) == []
    assert len(stage.actives[-1][1]) == 3


def test_what_stands_and_is_found_late_did_not_appear() -> None:
    """A parked car that the detector sees for the first time after ten seconds."""

    def late(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        return (seen for seen in perfect(time, there) if time > 10)

    stage = Stagehand([Actor(((0, 0.5, 0.5), (60, 0.5, 0.5)), (0.2, 0.15), "car")], detector=late)
    assert told(stage.play(0, 20)) == []
    assert stage.actives[-1][1]


def test_who_hides_for_a_moment_neither_leaves_nor_comes() -> None:
    def behind(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        return (seen for seen in perfect(time, there) if not 0.42 < (seen.box[0] + seen.box[2]) / 2 < 0.58)

    stage = Stagehand([Actor(((0, 0.15, 0.5), (10, 0.85, 0.5)), SMALL)], detector=behind)
    assert told(stage.play(0, 10)) == []


def test_a_thing_that_the_detector_names_badly_is_not_spoken_of() -> None:
    names = itertools.cycle(["toilet", "cell phone", "car", "person"])

    def babbling(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        return (Observed(seen.box, seen.score, next(names), seen.look) for seen in perfect(time, there))

    stage = Stagehand([comes("left", 3.0)], detector=babbling)
    assert {f.label for f in stage.play(0, 14)} <= {"object"}


def test_the_street_is_told_as_its_script_has_it() -> None:
    """The rendered scene with a perfect detector: who comes and goes, once each, in time."""
    stage = Stagehand([Scripted(n) for n in (1, 2, 3, 4)], detector=truthful)
    stage.play(0, 39)
    moves = [(f.what, f.label, f.where) for f in stage.facts if f.what in ("enter", "leave")]
    assert sorted(moves) == sorted(
        [
            ("enter", "person", "left"),
            ("leave", "person", "right"),
            ("enter", "person", "left"),
            ("enter", "truck", "right"),
            ("leave", "truck", "left"),
            ("leave", "person", "right"),
        ]
    )
    times = {("enter", 5.8), ("leave", 19.5), ("enter", 21.5), ("enter", 23.3), ("leave", 27.5), ("leave", 28.8)}
    for what, time in times:
        assert any(f.what == what and abs(f.end - time) < 1.5 for f in stage.facts), (what, time)
    assert len(stage.said("empty")) == 2  # between the first person and the second, and at the end
    assert [(f.what, f.label) for f in stage.said("stop") + stage.said("start")] == [
        ("stop", "person"),
        ("start", "person"),
    ]
    assert [f.what for f in stage.facts if f.label == "bag"] == ["appear", "disappear"]


# ---- empty again


def test_the_scene_is_empty_again_when_the_last_one_has_gone() -> None:
    stage = Stagehand([goes("right", 4.0), goes("left", 8.0, look=1)])
    stage.play(0, 25)
    assert len(stage.said("leave")) == 2
    (empty,) = stage.said("empty")
    assert stage.facts.index(empty) > stage.facts.index(stage.said("leave")[1])
    assert 10 <= empty.end <= 20
    assert (empty.who, empty.skill, empty.label) == ((), Skill.ENVIRONMENT, "scene")


def test_an_empty_scene_does_not_become_empty() -> None:
    stage = Stagehand([Actor(((0, 0.8, 0.8), (60, 0.8, 0.8)), SMALL, "chair")])
    assert stage.play(0, 20) == []


def test_it_becomes_empty_each_time() -> None:
    stage = Stagehand([Actor(((at, -0.06, 0.5), (at + 5, 1.06, 0.5)), SMALL, look=n) for n, at in enumerate((3, 20))])
    stage.play(0, 40)
    assert len(stage.said("empty")) == 2


def cut_off(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
    """All are cut off by the lower border."""
    for seen in perfect(time, there):
        yield Observed((*seen.box[:3], 1.0), seen.score, seen.label, seen.look)


def test_after_a_visitor_who_is_never_seen_whole_it_is_empty_too() -> None:
    stage = Stagehand([Actor(((3, -0.06, 0.7), (8, 1.06, 0.7)), (0.3, 0.6))], detector=cut_off)
    stage.play(0, 20)
    assert len(stage.said("empty")) == 1


def test_after_an_arm_that_reached_in_it_is_not_empty() -> None:
    arm = Actor(((3, 0.5, 1.3), (4, 0.5, 1.15), (6, 0.5, 1.15), (7, 0.5, 1.4)), (0.4, 0.7))
    stage = Stagehand([arm])
    stage.play(0, 20)
    assert stage.said("empty") == []


# ---- stop and start


def test_who_stops_and_walks_on_is_told() -> None:
    stage = Stagehand([Actor(((0, 0.1, 0.5), (4, 0.5, 0.5), (10, 0.5, 0.5), (14, 0.9, 0.5)), SMALL)])
    stage.play(0, 13)
    (stop,), (start,) = stage.said("stop"), stage.said("start")
    assert 3.0 <= stop.start <= stop.end <= 6.5
    assert 9.0 <= start.start <= start.end <= 12
    assert (stop.who, start.who) == ((1,), (1,))


@pytest.mark.parametrize("seed", range(3))
def test_trembling_boxes_are_no_steps(seed: int) -> None:
    rng = random.Random(seed)

    def trembling(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        for seen in perfect(time, there):
            dx, dy = rng.gauss(0, 0.004), rng.gauss(0, 0.006)
            x0, y0, x1, y1 = seen.box
            yield Observed((x0 + dx, y0 + dy, x1 + dx, y1 + dy), seen.score, seen.label, seen.look)

    stage = Stagehand([Actor(((0, 0.5, 0.5), (60, 0.5, 0.5)), SMALL)], detector=trembling)
    assert stage.play(0, 40) == []


def test_a_short_pause_is_no_stop() -> None:
    stage = Stagehand([Actor(((0, 0.1, 0.5), (4, 0.4, 0.5), (4.6, 0.4, 0.5), (9, 0.8, 0.5)), SMALL)])
    stage.play(0, 8)
    assert stage.said("stop") + stage.said("start") == []


def test_in_a_crowd_single_stops_are_no_news() -> None:
    paths = [
        ((0, 0.1, y), (4 + n / 3, 0.5, y), (12, 0.5, y)) for n, y in enumerate((0.1, 0.27, 0.44, 0.61, 0.78, 0.95))
    ]
    stage = Stagehand([Actor(path, (0.06, 0.12), look=n) for n, path in enumerate(paths)])
    stage.play(0, 12)
    assert len(stage.actives[-1][1]) == 6
    assert stage.said("stop") == []


def test_while_the_camera_moves_nobody_stops_or_starts() -> None:
    def camera(time: float) -> CameraReading:
        return CameraReading(Transform(dx=-0.02, trusted=True), True, ()) if 4 <= time < 8 else STILL

    stage = Stagehand([Actor(((0, 0.9, 0.5), (4, 0.9, 0.5), (8, 0.5, 0.5), (20, 0.5, 0.5)), SMALL)], camera=camera)
    stage.play(0, 15)
    assert stage.said("stop") + stage.said("start") == []


def test_who_walked_on_while_the_camera_was_away_neither_starts_nor_runs_then() -> None:
    stage = Stagehand([Actor(((0, 0.1, 0.5), (16, 0.9, 0.5)), SMALL)])
    stage.play(0, 6)
    stage.come_back(8.2)
    assert stage.play(8.2, 12) == []
    assert [i.id for i in stage.actives[-1][1]] == [1], "it is still the same one"


def test_who_took_a_step_while_the_camera_was_away_is_not_seen_to_walk() -> None:
    stage = Stagehand([Actor(((0, 0.4, 0.5), (6, 0.4, 0.5), (6.1, 0.5, 0.5), (20, 0.5, 0.5)), SMALL)])
    stage.play(0, 5)
    stage.come_back(9)
    assert stage.play(9, 15) == []
    assert [i.id for i in stage.actives[-1][1]] == [1]


def test_who_is_found_late_after_the_camera_was_away_did_not_come_in_then() -> None:
    def slow(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        return iter(()) if 8 <= time < 10 else perfect(time, there)

    stage = Stagehand([Actor(((0, 0.1, 0.5), (4, 0.3, 0.5), (20, 0.4, 0.5)), SMALL)], detector=slow)
    stage.play(0, 5)
    stage.come_back(8)
    assert stage.play(8, 14) == []
    assert [i.id for i in stage.actives[-1][1]] == [1]


def test_who_left_before_the_camera_was_away_and_comes_in_after_is_told_of() -> None:
    away = Actor(((0, 0.5, 0.5), (3, 0.5, 0.5), (5, 1.06, 0.5)), SMALL, look=1)
    back = Actor(((12, 1.06, 0.5), (15, 0.5, 0.5), (30, 0.5, 0.5)), SMALL, look=1)
    stage = Stagehand([away, back, Actor(((0, 0.2, 0.5), (40, 0.2, 0.5)), SMALL, look=2)])
    stage.play(0, 7)
    stage.come_back(10)
    stage.play(10, 18)
    ways = [(fact.what, fact.who, "again" in fact.detail) for fact in stage.facts if fact.what in ("leave", "enter")]
    assert ways == [("leave", (1,), False), ("enter", (1,), True)]
    assert {i.id: i.continuous for i in stage.actives[-1][1]} == {1: False, 2: False}


# ---- the camera

CHANGES = [
    ("cut", ""), ("pan", "left"), ("pan", "right"), ("tilt", "up"), ("tilt", "down"), ("zoom", "in"), ("zoom", "out"),
    ("shake", ""), ("light", "on"), ("light", "off"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "where"), CHANGES)
def test_what_the_camera_does_is_told_once(what: str, where: str) -> None:
    stage = Stagehand(camera=lambda time: change(what, where, time) if time == 5.0 else STILL)
    (fact,) = stage.play(0, 10)
    assert (fact.what, fact.where, fact.start, fact.end, fact.who) == (what, where, 5.0, 5.0, ())
    lit_or_cut = what in ("cut", "light")
    assert fact.skill is (Skill.ENVIRONMENT if lit_or_cut else Skill.CAMERA)
    assert fact.label == ("scene" if lit_or_cut else "camera")


# ---- the engine


def test_facts_of_a_frame_come_the_most_salient_first() -> None:
    nothing = TrackerUpdate((), (), (), ())
    both = CameraReading(Transform(), False, (*change("shake").changes, *change("light", "off").changes))
    facts = FactEngine().update(Scene(5.0, 5.0, nothing, both))
    assert [f.what for f in facts] == ["light", "shake"]
    assert all(f.saliency == SALIENCY[f.what] for f in facts)


def test_every_fact_has_what_the_feed_needs() -> None:
    rng = random.Random(9)
    actors = [
        Actor(
            tuple((at + 2.0 * n, rng.uniform(-0.2, 1.2), rng.uniform(0, 1)) for n in range(6)),
            SMALL, rng.choice(["person", "car", "dog", "chair"]), look=k,
        )
        for k, at in enumerate((0.0, 1.0, 5.0, 9.0, 14.0, 15.0, 20.0))
    ]  # fmt: skip
    stage = Stagehand(actors)
    for step in range(250):
        stage.frame(step / 5)
        for fact in stage.facts:
            assert 0 <= fact.start <= fact.end <= step / 5
    assert stage.facts
    for fact in stage.facts:
        assert fact.what in SALIENCY
        assert 0 <= fact.saliency <= 1
        assert 0 <= fact.confidence <= 1
        assert len(fact.boxes) == len(fact.who)
    whos = [(f.what, f.who) for f in stage.facts if f.what in ("appear", "disappear")]
    assert len(set(whos)) == len(whos)


def test_rules_forget_who_is_gone() -> None:
    """An hour of passers-by leaves nothing behind in the rules."""
    tracker, engine = Tracker(), FactEngine()
    for number in range(40):
        at = number * 12.0
        stage = Stagehand(
            [Actor(((at + 1, -0.06, 0.5), (at + 4, 1.06, 0.5)), SMALL, look=number)], tracker=tracker, engine=engine
        )
        stage.play(at, at + 12)
        assert len(stage.said("enter")) == 1
    assert len(engine._rules) == len(RULES)
    held = [len(value) for rule in engine._rules for value in _containers(rule)]
    assert max(held, default=0) <= 1


def _containers(rule: object) -> Iterator[dict[object, object] | set[object]]:
    names = getattr(rule, "__slots__", None) or vars(rule)
    return (value for name in names if isinstance(value := getattr(rule, name), dict | set))


def test_who_comes_and_goes_by_the_cameras_own_swing_is_not_told_of() -> None:
    swung = Stagehand([comes("left", 3.0, seconds=1.0)], steady=lambda time: time)
    assert "enter" not in {f.what for f in swung.play(0, 8)}
    still = Stagehand([comes("left", 3.0, seconds=1.0)])
    assert "enter" in {f.what for f in still.play(0, 8)}


def test_a_speck_without_a_name_is_not_spoken_of() -> None:
    def blobs(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        for seen in perfect(time, there):
            x, y = seen.box[0], seen.box[1]
            yield Observed((x, y, x + 0.09, y + 0.09), 0.0, "", None, 1.0)

    assert not Stagehand([comes("left", 3.0)], detector=blobs).play(0, 14)


def unnamed(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
    """Only that people are somewhere is seen, of others what they are."""
    for seen in perfect(time, there):
        yield Observed(seen.box, 0.0, "", None, 1.0) if seen.label == "person" else seen


@pytest.mark.parametrize(("standing", "told"), [(0, ["enter", "leave"]), (6, [])])
def test_a_large_thing_without_a_name_that_crosses_is_told_of_unless_many_are_about(
    standing: int, told: list[str]
) -> None:
    cars = [Actor(((0, 0.1 + 0.15 * n, 0.2), (40, 0.1 + 0.15 * n, 0.2)), (0.1, 0.1), "car") for n in range(standing)]
    thing = Actor(((5, -0.1, 0.7), (9, 1.1, 0.7)), (0.2, 0.3))
    stage = Stagehand([*cars, thing], detector=unnamed)
    stage.play(0, 20)
    assert [f.what for f in stage.facts if f.label == "object"] == told


def test_what_is_seen_coming_without_a_name_is_told_of_by_the_name_that_it_gets() -> None:
    def late(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        for seen in perfect(time, there):
            yield seen if time >= 7.0 else Observed(seen.box, 0.0, "", None, 1.0)

    stage = Stagehand([Actor(((5, -0.1, 0.7), (12, 0.8, 0.7), (40, 0.8, 0.7)), (0.2, 0.3), "car")], detector=late)
    stage.play(0, 20)
    assert [f.label for f in stage.said("enter")] == ["car"]


def test_a_car_does_not_step_out_of_a_door() -> None:
    sign = Actor(((5, 0.5, 0.5), (5.6, 0.54, 0.5), (40, 0.54, 0.5)), (0.1, 0.1), "car")
    stage = Stagehand([sign])
    stage.play(0, 14)
    assert stage.said("appear") == []
