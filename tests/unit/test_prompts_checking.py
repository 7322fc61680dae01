"""Contradictions: what cannot be true beside what was perceived is found; what can be is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcap.labels import ANIMALS, VEHICLES
from streamcap.language import describe_change, describe_scene
from streamcap.language.phrases import SCENE, VERBS
from streamcap.prompts import InstanceNote, WindowAnswer, contradictions, scored
from streamcap.prompts.nouns import groups_of, mentions
from streamcap.types import Box, ConflictKind, Fact, Instance, Setting, Skill

LEFT: Box = (0.05, 0.3, 0.2, 0.9)
RIGHT: Box = (0.8, 0.3, 0.95, 0.9)
MIDDLE: Box = (0.4, 0.3, 0.6, 0.9)
TOP: Box = (0.4, 0.02, 0.6, 0.2)


def thing(number: int, label: str, box: Box = MIDDLE, **more: Any) -> Instance:
    known = {"confidence": 0.95, "velocity": (0.0, 0.0), "first_seen": 0.0, "last_seen": 9.0}
    return Instance(number, label, box=box, **{**known, **more})


def did(what: str, *who: Instance, where: str = "", sure: float = 0.9, saliency: float = 0.7) -> Fact:
    label = who[0].label if who else "scene"
    boxes = tuple(each.box for each in who)
    return Fact(what, 8.0, 8.5, sure, Skill.ACTION, tuple(each.id for each in who), label, where, saliency, boxes)


def camera(what: str, where: str) -> Fact:
    return Fact(what, 8.0, 8.5, 0.9, Skill.CAMERA, (), "camera", where, 0.5)


MAN, WOMAN = thing(1, "person", LEFT), thing(2, "person", RIGHT)
CAR, DOG, BIKE = thing(3, "car", RIGHT), thing(4, "dog", LEFT), thing(5, "bicycle")
CHAIR = thing(6, "chair", RIGHT)
TWO = ((), (MAN, WOMAN))
ENTERS = ((did("enter", MAN, where="left"),), (MAN,))
LEAVES = ((did("leave", CAR, where="right"),), (CAR,))
Seen = tuple[tuple[Fact, ...], tuple[Instance, ...]]

COUNT, LABEL, PLACE = ConflictKind.COUNT, ConflictKind.LABEL, ConflictKind.PLACE
DIRECTION, ABSENCE, IDENTITY = ConflictKind.DIRECTION, ConflictKind.ABSENCE, ConflictKind.IDENTITY

WRONG: list[tuple[str, Seen, ConflictKind]] = [
    # how many
    ("Three people stand in the yard.", TWO, COUNT),
    ("Four young men walk by.", TWO, COUNT),
    ("There are 5 pedestrians on the pavement.", TWO, COUNT),
    ("Two cars are parked.", ((), (CAR,)), COUNT),
    ("Three dogs run.", ((), (DOG,)), COUNT),
    ("Only one person is in view.", TWO, COUNT),
    ("A single woman is in the room.", TWO, COUNT),
    # what
    ("A dog enters from the left.", ENTERS, LABEL),
    ("A car drives in from the left.", ENTERS, LABEL),
    ("A woman walks away.", LEAVES, LABEL),
    ("A cat sits down.", ((did("sit", MAN),), (MAN,)), LABEL),
    # where
    ("A man stands on the right.", ((), (MAN,)), PLACE),
    ("The car is parked on the left side of the picture.", ((), (CAR,)), PLACE),
    ("The dog lies at the right edge.", ((), (DOG,)), PLACE),
    # which way
    ("A man walks in from the right.", ENTERS, DIRECTION),
    ("A person enters the frame from the right.", ENTERS, DIRECTION),
    ("The car drives off to the left.", LEAVES, DIRECTION),
    ("The car leaves the picture on the left.", LEAVES, DIRECTION),
    ("The man leaves the frame.", ENTERS, DIRECTION),
    ("A car comes into view.", LEAVES, DIRECTION),
    ("The person turns left.", ((did("turn", MAN, where="right"),), (MAN,)), DIRECTION),
    ("The camera pans to the left.", ((camera("pan", "right"),), ()), DIRECTION),
    ("The camera slowly zooms out.", ((camera("zoom", "in"),), ()), DIRECTION),
    ("The camera tilts down.", ((camera("tilt", "up"),), ()), DIRECTION),
    # whether at all
    ("No one is in view.", TWO, ABSENCE),
    ("There is nobody in the room.", TWO, ABSENCE),
    ("No people are visible.", TWO, ABSENCE),
    ("The room is empty.", TWO, ABSENCE),
    ("The street is deserted, no cars.", ((), (MAN, CAR)), ABSENCE),
]

RIGHT_ENOUGH: list[tuple[str, Seen]] = [
    # fewer, roughly, or others than those that are counted
    ("Two people stand in the yard.", TWO),
    ("A person walks along the wall.", TWO),
    ("About three people stand there.", TWO),
    ("Two or three people stand there.", TWO),
    ("Another two people are expected.", TWO),
    ("One of the three people, the man, waves.", ((), (MAN, WOMAN, thing(9, "person")))),
    ("Several people stand in the yard.", TWO),
    ("A group of people waits.", TWO),
    ("Three people pass.", ((), (MAN, WOMAN, thing(9, "object")))),  # what has no name may be the third
    ("Three people pass.", ((), ())),  # perceived nobody: too far away, perhaps
    ("Nine people stand around.", ((), tuple(thing(i, "person") for i in range(1, 9)))),  # nobody counts so many
    ("Two people's bags lie there.", ((), (MAN,))),
    ("A man walks past two parked bicycles.", ((), (BIKE, thing(6, "bicycle"), MAN))),
    # the same by another name, or something else beside it
    ("A man walks in from the left.", ENTERS),
    ("A child runs in from the left side.", ENTERS),
    ("A cyclist comes in from the left.", ((did("enter", BIKE, where="left"),), (BIKE,))),
    ("A van drives off to the right.", LEAVES),
    ("The driver goes off to the right.", LEAVES),
    ("A motorcycle passes.", ((did("enter", BIKE, where="left"),), (BIKE,))),
    ("A white pickup truck disappears on the right.", LEAVES),
    ("A woman with a dog enters from the left.", ENTERS),
    ("He puts a bottle down.", ((did("put_down", MAN),), (MAN,))),
    ("A hot dog stand is set up.", ENTERS),
    ("A hand reaches in.", ENTERS),
    ("A parrot moves its head.", ((did("start", thing(7, "bird")),), (thing(7, "bird"),))),
    ("A dog barks at the door.", ((did("enter", thing(8, "object"), where="left"),), (thing(8, "object"),))),
    ("A bird flies over the cars.", LEAVES),
    # sides of other things, and of people
    ("A man stands on the left.", ((), (MAN,))),
    ("A man raises his right arm.", ((), (MAN,))),
    ("A man sits to the right of the table.", ((), (MAN,))),
    ("The man is on the right side of the road.", ((), (MAN,))),
    ("A man on the left waves to a woman on the right.", TWO),
    ("The man has left.", ((), (MAN,))),
    ("The man turns right away.", ((did("turn", MAN, where=""),), (MAN,))),
    ("A man is at the right.", ((), (thing(1, "person", MIDDLE),))),  # neither left nor right
    ("A man is on the right.", ((), (MAN, thing(9, "object", RIGHT)))),
    ("The man on the right stops.", ((did("stop", thing(1, "person", RIGHT), where="right"),), (MAN,))),  # was there
    ("The sofa on the right is red, a man sits.", ((), (MAN,))),
    # ways that can both be
    ("The man enters the building.", ((did("leave", MAN, where="left"),), (MAN,))),
    ("A man leaves the house.", ENTERS),
    ("A man enters from the bottom.", ENTERS),
    (
        "A man enters from the right.",
        ((did("enter", MAN, where="left"), did("enter", WOMAN, where="right")), (MAN, WOMAN)),
    ),
    ("A man walks to the right.", ENTERS),
    (
        "A man enters from the left and leaves to the right.",
        ((did("enter", MAN, where="left"), did("leave", MAN, where="right")), (MAN,)),
    ),
    ("The car leaves the lane.", LEAVES),
    ("A woman leaves the frame as the man comes in.", ((did("enter", MAN, where="left"),), (MAN, WOMAN))),
    ("The camera moves.", ((camera("pan", "right"),), ())),
    ("The man turns to the camera.", ((did("turn", MAN, where="right"),), (MAN,))),
    # nobody of another sort
    ("No one else is in view.", TWO),
    ("No one moves.", TWO),
    ("Nobody is sitting at the table.", TWO),
    ("No one is in view.", ((did("leave", MAN, where="left"),), (MAN,))),  # while they leave
    ("The room is not empty.", TWO),
    ("The chair is empty.", TWO),
    ("No cars are in view.", TWO),
    ("There is no one in view.", ((), (thing(1, "person", (0.5, 0.5, 0.52, 0.54)),))),  # too small to be sure
    ("No dog is in view.", TWO),
    ("No people or vehicles are recognised.", ((did("enter", DOG, where="left"),), (DOG,))),
    ("A chair enters from the right.", ((*ENTERS[0], did("enter", CHAIR, where="right")), (MAN, CHAIR))),
    ("There is a dog at the top left and a chair on the right.", ((), (DOG, CHAIR))),
    ("A chair stands on the right, the dog sleeps.", ((), (DOG, CHAIR))),
    ("Neither people nor cars can be seen.", ((did("enter", DOG, where="left"),), (DOG,))),
    ("", TWO),
]


def kinds(text: str | WindowAnswer, seen: Seen) -> set[ConflictKind]:
    return {each.kind for each in contradictions(text, *seen)}


@pytest.mark.parametrize(("text", "seen", "kind"), WRONG)
def test_what_cannot_be_is_found(text: str, seen: Seen, kind: ConflictKind) -> None:
    found = contradictions(text, *seen)
    assert {each.kind for each in found} == {kind}
    for each in found:
        assert 0.4 < each.sure < 1.0
        assert each.said.lower() in text.lower()
        assert each.perceived


@pytest.mark.parametrize(("text", "seen"), RIGHT_ENOUGH)
def test_what_can_be_is_left_alone(text: str, seen: Seen) -> None:
    assert contradictions(text, *seen) == ()


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        (InstanceNote(1, "dog", position="left"), LABEL),
        (InstanceNote(1, "parked car"), LABEL),
        (InstanceNote(1, "man", position="right"), PLACE),
        (InstanceNote(1, "man", position="bottom right"), PLACE),
        (InstanceNote(77, "man"), IDENTITY),
    ],
)
def test_notes_are_held_against_their_instance(note: InstanceNote, kind: ConflictKind) -> None:
    assert kinds(WindowAnswer("A man stands.", instances=(note,)), ((), (MAN,))) == {kind}


@pytest.mark.parametrize(
    "note",
    [
        InstanceNote(1, "man", position="left"),
        InstanceNote(1, "young woman in red", position="bottom left"),
        InstanceNote(1, "figure", position="centre"),
        InstanceNote(1, "skateboarder"),
        InstanceNote(1, "thingamajig", position=""),
        InstanceNote(1, "man with a dog"),
    ],
)
def test_notes_that_may_be_true_are_left_alone(note: InstanceNote) -> None:
    assert kinds(WindowAnswer("A man stands.", instances=(note,)), ((), (MAN,))) == set()


def test_what_perception_is_not_sure_of_contradicts_nothing() -> None:
    doubtful = thing(1, "person", LEFT, confidence=0.4)
    assert kinds("A dog enters from the left.", ((did("enter", doubtful, where="left"),), (doubtful,))) == set()
    assert kinds("No one is in view.", ((), (doubtful,))) == set()
    assert kinds(WindowAnswer("x", instances=(InstanceNote(1, "dog"),)), ((), (doubtful,))) == set()


def test_a_full_text_is_about_what_is_plainly_there() -> None:
    text = "A cat sits on the sofa."
    assert {c.kind for c in contradictions(text, (), (MAN,), full=True)} == {LABEL}
    assert contradictions(text, (), (MAN,)) == ()  # of what changed, the man need be no part
    assert contradictions("A cat sits beside a man.", (), (MAN,), full=True) == ()
    assert contradictions("No cats are seen.", (), (), full=True) == ()
    assert contradictions("An empty street.", (), (MAN,), full=True) == ()


def test_among_others_a_conflict_is_less_sure() -> None:
    text, facts = "A man enters from the right.", (did("enter", MAN, where="left"),)
    (alone,) = contradictions(text, facts, (MAN,))
    (among,) = contradictions(text, facts, (MAN, WOMAN, thing(8, "person")))
    assert among.sure < alone.sure


def test_who_was_there_long_ago_does_not_count() -> None:
    gone = thing(2, "person", RIGHT, visible=False, last_seen=1.0)
    assert kinds("Two people stand there.", ((), (MAN, gone))) == {COUNT}
    assert kinds("Two people stand there.", ((did("leave", gone, where="right"),), (MAN, gone))) == set()


def test_nothing_new_is_wrong_where_something_fell() -> None:
    fell = (did("fall", MAN, saliency=0.9),), (MAN,)
    assert kinds(WindowAnswer(nothing_new=True), fell) == {ABSENCE}
    assert kinds(WindowAnswer(nothing_new=True), ((did("stop", MAN, saliency=0.4),), (MAN,))) == set()


@pytest.mark.parametrize(
    ("text", "setting", "wrong"),
    [
        ("A street at night.", Setting(light="day"), True),
        ("A sunny street.", Setting(light="night"), True),
        ("A car on the road.", Setting(space="indoor"), True),
        ("A man in the kitchen.", Setting(space="outdoor"), True),
        ("A street at night.", Setting(light="night"), False),
        ("A street at night.", Setting(), False),
        ("A night-stand.", Setting(light="day"), False),
    ],
)
def test_the_setting_is_held_against_the_text(text: str, setting: Setting, wrong: bool) -> None:
    assert bool(contradictions(text, (), (), setting=setting)) == wrong


def test_a_text_is_scored_down_by_how_sure_its_conflicts_are() -> None:
    assert scored(0.8, ()) == 0.8
    one = contradictions("A dog enters from the left.", *ENTERS)
    more = (*one, *contradictions("Three people stand in the yard.", *TWO))
    assert 0 < scored(0.8, more) < scored(0.8, one) < 0.8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Two men and a dog near a police car.", ["men", "dog", "car"]),
        ("The car park by the bus stop.", []),
        ("A hot dog and a teddy bear.", []),
        ("Passers-by watch the cyclists.", ["passers-by", "cyclists"]),
        ("The person's hat; the dogs' bowl.", ["person", "dogs"]),
        ("A manly human resource.", []),
    ],
)
def test_nouns_are_found(text: str, words: list[str]) -> None:
    assert [m.word for m in mentions(text)] == words


def test_every_label_that_is_checked_is_understood() -> None:
    for label in VEHICLES:
        assert groups_of(label) == {"vehicle"}
    for label in ANIMALS:
        assert groups_of(label) == {"animal"}
    assert groups_of("person") == {"person"}
    assert groups_of("chair") == frozenset()


# ---- what the grounded captioner says of facts never contradicts them

PLACES = ["left", "right", "top", "bottom", "top left", "bottom right", "centre", ""]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Fact], list[Instance]]:
    labels = st.sampled_from(["person", "car", "truck", "dog", "animal", "bicycle", "bus", "chair", "bottle", "object"])
    there = []
    for number in range(1, draw(st.integers(0, 9)) + 1):
        x, y = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
        box: Box = (x, y, min(1.0, x + draw(st.floats(0.01, 0.6))), min(1.0, y + draw(st.floats(0.01, 0.6))))
        label = draw(labels)
        there.append(
            Instance(
                number, label, draw(st.floats(0, 1)), box, (0.0, 0.0),
                draw(st.floats(0, 5)), draw(st.floats(5, 9)),
                draw(st.sampled_from([(), ("red top",), ("black",), ("white top", "blue trousers")])),
                draw(st.sampled_from(["", "sitting", "lying"])), draw(st.booleans()),
                carries=draw(st.sampled_from([(), ("backpack",)])) if label == "person" else (),
            )
        )  # fmt: skip
    facts = []
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.booleans()) and there:
            who = draw(st.lists(st.sampled_from(there), min_size=1, max_size=3, unique=True))
            what = draw(st.sampled_from([w for w in VERBS if "." not in w and w != "come_back"]))
            same = [each for each in who if each.label == who[0].label]
            detail = draw(st.sampled_from([{}, {"object": "bottle"}, {"vehicle": "bicycle"}, {"again": "1"}]))
            facts.append(
                Fact(
                    what, 6.0, 6.5, draw(st.floats(0.1, 1)), Skill.ACTION, tuple(each.id for each in same),
                    same[0].label, draw(st.sampled_from(PLACES)), draw(st.floats(0, 1)),
                    tuple(e.box for e in same), detail,
                )
            )  # fmt: skip
        else:
            what = draw(st.sampled_from(sorted(SCENE)))
            where = draw(st.sampled_from(sorted(SCENE[what])))
            facts.append(Fact(what, 6.0, 6.5, 0.9, Skill.CAMERA, (), "camera", where, 0.5))
    return facts, there


@settings(max_examples=150, deadline=None)
@given(scenes(), st.booleans())
def test_what_the_grounded_captioner_says_never_contradicts_its_own_facts(
    scene: tuple[list[Fact], list[Instance]], smooth: bool
) -> None:
    facts, there = scene
    change = describe_change(facts, there, smooth=smooth).text
    assert contradictions(change, facts, there) == ()
    assert contradictions(describe_scene(there, facts).text, facts, there, full=True) == ()


@given(st.text(max_size=200))
def test_any_text_can_be_checked(text: str) -> None:
    contradictions(text, *ENTERS)
