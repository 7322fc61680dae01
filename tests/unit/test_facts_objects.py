"""Things put down, taken and left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.facts import Scene
from streamcap.facts.objects import LEFT_AFTER_S, Handling, LeftBehind
from streamcap.facts.scene import Rule
from streamcap.instances import Observed, Stage, Tracker
from streamcap.language.change import describe_change
from streamcap.pose import Joint, Pose
from streamcap.stationary import Kind, PlaceChange
from streamcap.types import Box, Fact
from tests.scenes import STILL, WHOLE, colours

PERSON: Box = (0.4, 0.3, 0.5, 0.8)
BESIDE: Box = (0.52, 0.7, 0.56, 0.78)
FAR: Box = (0.85, 0.7, 0.89, 0.78)
ASPECT = 4 / 3


@dataclass
class Play:
    """Plays boxes, places and poses to one rule, five frames a second."""

    rule: Rule
    tracker: Tracker = field(default_factory=Tracker)
    facts: list[Fact] = field(default_factory=list)

    def frame(
        self,
        pts: float,
        seen: Sequence[tuple[str, Box]] = (),
        places: Sequence[PlaceChange] = (),
        joints: NDArray[np.float32] | None = None,
    ) -> None:
        """One frame; ``joints`` are those of every person in view."""
        found = [Observed(box, 0.8, label, colours(len(label)), 0.5) for label, box in seen]
        update = self.tracker.update(found, [WHOLE], STILL.transform, pts, changed=lambda _: 0.5)
        for track in update.active:
            if joints is not None and track.label == "person":
                track.body.add(Pose(pts, joints, ASPECT))
        lost = tuple(t for t in self.tracker.tracks if t.stage is Stage.LOST)
        self.facts += self.rule.update(Scene(pts, pts, update, STILL, lost, ASPECT, places=tuple(places)))

    def told(self) -> list[tuple[str, str]]:
        """What was done, to what."""
        return [(fact.what, fact.detail.get("object", "")) for fact in self.facts]


def came(box: Box, at: float, **values: object) -> PlaceChange:
    """Something came to a place that came to rest a second before."""
    return PlaceChange(box, Kind.CAME, 0.8, at - 2, at - 1, False) if not values else replace(came(box, at), **values)  # type: ignore[arg-type]


def played(
    place: PlaceChange, at: float, seen: Sequence[tuple[str, Box]], *, hands: bool = True, person: Box = PERSON
) -> Play:
    """A person stands from the start; at a moment a place is found other, and things are seen from then on."""
    play = Play(Handling())
    for step in range(60):
        pts = step / 5
        there = [("person", person)]
        things = [*seen] if pts >= at - 1 else []
        joints = body(0.8, bent=False)
        joints[[Joint.LEFT_WRIST, Joint.RIGHT_WRIST], :2] = 0.53, 0.7
        play.frame(pts, [*there, *things], [place] if abs(pts - at) < 0.01 else [], joints if hands else None)
    return play


def test_what_comes_beside_a_person_was_put_down_by_the_person() -> None:
    play = played(came(BESIDE, 6.0), 6.0, [("suitcase", BESIDE)])
    (fact,) = play.facts
    assert (fact.what, fact.who, fact.detail["object"]) == ("put_down", (1,), "suitcase")
    assert fact.confidence >= 0.7
    assert describe_change([fact], []).text == "The person puts a suitcase down at the bottom."


def test_what_has_no_name_is_told_with_a_hedge() -> None:
    (fact,) = played(came(BESIDE, 6.0), 6.0, []).facts
    assert fact.detail == {}
    assert describe_change([fact], []).text == "The person seems to put something down."


def test_what_has_no_name_is_what_the_person_was_seen_to_carry() -> None:
    play = Play(Handling())
    for step in range(40):
        joints = body(0.8, bent=False)
        joints[[Joint.LEFT_WRIST, Joint.RIGHT_WRIST], :2] = 0.53, 0.7
        play.frame(step / 5, [("person", PERSON)], [came(BESIDE, 6.0)] if step == 30 else [], joints)
        for track in play.tracker.tracks:
            track.load.carries = ("bag",)
    (fact,) = play.facts
    assert (fact.what, fact.detail) == ("put_down", {"object": "bag"})
    assert describe_change([fact], []).text == "The person puts a bag down at the bottom."


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("far from everybody", came(FAR, 6.0)),
        ("as large as a person", came((0.5, 0.3, 0.6, 0.8), 6.0)),
        ("came or went is not clear", came(BESIDE, 6.0, kind=Kind.OTHER)),
        ("hardly clear", came(BESIDE, 6.0, sureness=0.2)),
        ("long ago", came(BESIDE, 6.0, start=1.0, end=1.6)),
        ("behind the person all the time", came((0.42, 0.6, 0.46, 0.68), 6.0)),
        ("a speck", came((0.52, 0.7, 0.53, 0.71), 6.0)),
    ],
)
def test_what_is_no_deed(name: str, place: PlaceChange) -> None:
    assert played(place, 8.0, []).facts == [], name


def test_where_no_hand_was_seen_nothing_unnamed_is_told() -> None:
    assert played(came(BESIDE, 6.0), 6.0, [], hands=False).facts == []


def test_of_who_is_far_away_nothing_unnamed_is_told() -> None:
    assert played(came(BESIDE, 6.0), 6.0, [], person=(0.45, 0.6, 0.5, 0.8)).facts == []


def test_what_is_shifted_is_neither_taken_nor_put_down() -> None:
    play = Play(Handling())
    for step in range(60):
        places = [came(BESIDE, 6.0)] if step == 30 else []
        places += [came((0.57, 0.7, 0.61, 0.78), 6.2, kind=Kind.WENT)] if step == 31 else []
        joints = body(0.8, bent=False)
        joints[[Joint.LEFT_WRIST, Joint.RIGHT_WRIST], :2] = 0.55, 0.7
        play.frame(step / 5, [("person", PERSON)], places, joints)
    assert len(play.facts) == 1


def taken(*, reached: bool, person: Box | None) -> Play:
    """A bottle stands there until the eighth second."""
    play = Play(Handling())
    place = PlaceChange(BESIDE, Kind.WENT, 0.9, 8.0, 8.4, reached)
    for step in range(90):
        pts = step / 5
        seen = [("bottle", BESIDE)] if pts < 8 else []
        seen += [("person", person)] if person else []
        play.frame(pts, seen, [place] if step == 47 else [])
    return play


def test_who_is_at_a_bottle_that_goes_picks_it_up() -> None:
    play = taken(reached=False, person=PERSON)
    assert play.told() == [("pick_up", "bottle")]
    assert play.facts[0].who != ()


def test_an_arm_is_someone() -> None:
    (fact,) = taken(reached=True, person=None).facts
    assert (fact.what, fact.who) == ("pick_up", ())
    assert describe_change([fact], []).text == "Someone picks up a bottle at the bottom."


def test_what_goes_with_nobody_there_disappears() -> None:
    (fact,) = taken(reached=False, person=None).facts
    assert (fact.what, fact.label) == ("disappear", "bottle")


def test_a_reflection_of_a_bottle_is_no_bottle() -> None:
    play = Play(Handling())
    speck = (BESIDE[0], BESIDE[1], BESIDE[0] + 0.012, BESIDE[1] + 0.02)
    for step in range(60):
        places = [PlaceChange(speck, Kind.WENT, 0.9, 8.0, 8.4, True)] if step == 47 else []
        play.frame(step / 5, [("bottle", BESIDE)] if step < 40 else [], places)
    assert ("pick_up", "bottle") not in play.told()


# ---- what the body tells


def body(hand: float, *, bent: bool) -> NDArray[np.float32]:
    """Joints of somebody of whom the lower hand is at this height (0 the hips, 1 the floor)."""
    joints = np.zeros((17, 3), np.float32)
    hips, knees, ankles = 0.55, 0.67, 0.79
    head, shoulders = ((0.62, 0.58), (0.58, 0.54)) if bent else ((0.45, 0.32), (0.45, 0.38))
    for joint in Joint:
        x, y = 0.45, hips
        if joint <= Joint.RIGHT_EAR:
            x, y = head
        elif joint <= Joint.RIGHT_SHOULDER:
            x, y = shoulders
        elif joint <= Joint.RIGHT_WRIST:
            x, y = (0.6 if bent else 0.46), hips + hand * (ankles - hips)
        elif joint >= Joint.LEFT_ANKLE:
            y = ankles
        elif joint >= Joint.LEFT_KNEE:
            y = knees
        joints[joint] = x, y, 0.9
    return joints


BENT: Box = (0.4, 0.45, 0.55, 0.8)


def bends(*spans: tuple[float, float], hand: float = 0.9, seconds: float = 16, falls: bool = False) -> Play:
    """Somebody stands, bent in these spans of time; who falls stays low whatever the joints seem to say."""
    play = Play(Handling())
    for step in range(round(seconds * 5)):
        pts = step / 5
        over = any(a <= pts < b for a, b in spans)
        low = over or (falls and pts >= spans[0][0])
        play.frame(pts, [("person", BENT if low else PERSON)], joints=body(hand if over else 0.0, bent=over))
    return play


def test_bent_down_and_up_again_is_probably_picking_up() -> None:
    play = bends((4, 5.6))
    assert play.told() == [("pick_up", "")]
    (fact,) = play.facts
    assert fact.confidence < 0.5
    assert fact.start == pytest.approx(4, abs=0.3)
    assert fact.end == pytest.approx(5.4, abs=0.3)


def test_who_picked_up_puts_down_next() -> None:
    assert bends((4, 5.6), (9, 10.4)).told() == [("pick_up", ""), ("put_down", "")]


@pytest.mark.parametrize(
    ("name", "spans", "hand"),
    [("stands", (), 0.0), ("stays down", ((4, 16),), 0.9), ("works", ((3, 12),), 0.9), ("bows", ((4, 5.6),), 0.2)],
)
def test_what_the_body_does_not_tell(name: str, spans: tuple[tuple[float, float], ...], hand: float) -> None:
    assert bends(*spans, hand=hand).told() == [], name


def test_who_falls_picks_nothing_up() -> None:
    assert bends((4, 5.6), falls=True).told() == []


def test_joints_of_people_before_each_other_tell_nothing() -> None:
    play = Play(Handling())
    for step in range(60):
        over = 4 <= step / 5 < 5.6
        people = [("person", BENT if over else PERSON), ("person", (0.46, 0.3, 0.58, 0.8))]
        play.frame(step / 5, people, joints=body(0.9 if over else 0.0, bent=over))
    assert play.told() == []


def test_a_deed_that_the_body_told_is_not_told_again_by_the_place() -> None:
    play = Play(Handling())
    place = PlaceChange(BESIDE, Kind.WENT, 0.8, 4.4, 5.0, False)
    for step in range(60):
        pts = step / 5
        over = 4 <= pts < 5.6
        joints = body(0.9 if over else 0.0, bent=over)
        play.frame(pts, [("person", BENT if over else PERSON)], [place] if step == 40 else [], joints)
    assert play.told() == [("pick_up", "")]


# ---- left behind


def left(*, returns: float | None = None, moves: bool = False, until: float = 60) -> list[Fact]:
    """Somebody comes with a suitcase at 3 s, puts it down and goes away at 8 s."""
    play = Play(LeftBehind())
    for step in range(round(until * 5)):
        pts = step / 5
        seen: list[tuple[str, Box]] = []
        if 3 <= pts < 8 or (returns is not None and pts >= returns):
            seen.append(("person", PERSON))
        elif pts < 3 or pts >= 11:
            pass
        else:
            x = (pts - 8) * 0.25
            seen.append(("person", (0.4 - x, 0.3, 0.5 - x, 0.8)))
        if pts >= 3.4:
            x = 0.01 * (pts - 3.4) if moves else 0.0
            seen.append(("suitcase", (BESIDE[0] + x, BESIDE[1], BESIDE[2] + x, BESIDE[3])))
        play.frame(pts, seen)
    return play.facts


def test_a_suitcase_whose_bringer_stays_away_is_left_behind() -> None:
    (fact,) = left()
    assert (fact.what, fact.label) == ("left_behind", "suitcase")
    assert 8 + LEFT_AFTER_S <= fact.end <= 13 + LEFT_AFTER_S
    assert describe_change([fact], []).text == "The suitcase is left behind at the bottom."


def test_a_suitcase_whose_bringer_comes_back_is_not() -> None:
    assert left(returns=15) == []


def test_a_suitcase_beside_its_owner_is_not() -> None:
    assert left(returns=8) == []


def test_what_stood_there_from_the_start_is_not() -> None:
    play = Play(LeftBehind())
    for step in range(300):
        play.frame(step / 5, [("suitcase", BESIDE)] + ([("person", PERSON)] if step < 30 else []))
    assert play.facts == []
