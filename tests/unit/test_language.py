"""Facts to sentences that a person would have written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcap.facts import SALIENCY
from streamcap.language import Tally, describe_change, describe_scene, summarise
from streamcap.language.phrases import SCENE
from streamcap.language.words import at, listing, noun, plural, sentence
from streamcap.types import Box, Fact, Instance, Setting, Skill
from tests.scenes import fact, instance

LEFT: Box = (0.05, 0.4, 0.15, 0.7)
RIGHT: Box = (0.85, 0.4, 0.95, 0.7)
MIDDLE: Box = (0.45, 0.4, 0.55, 0.7)
# Every sort of fact with every place that it may have.
PLACES = ["left", "right", "top", "bottom", "centre", "top left", "bottom right"]
KINDS: dict[str, list[str]] = {
    "enter": ["left", "right", "top", "bottom"],
    "leave": ["left", "right", "top", "bottom"],
    "appear": PLACES,
    "disappear": PLACES,
    "stop": PLACES,
    "start": PLACES,
    "fall": PLACES,
    "meet": PLACES,
    "lie": PLACES,
    "sit": [""],
    "stand_up": [""],
    "bend": [""],
    "raise_arms": [""],
    "wave": [""],
    "eat": [""],
    "drink": [""],
    "turn": ["", "left", "right"],
    "run": PLACES,
    "loiter": PLACES,
    "approach": [""],
    "retreat": [""],
    "close_up": [""],
    "part": PLACES,
    "group_forms": PLACES,
    "group_parts": PLACES,
    "grapple": PLACES,
    "drive_through": ["left", "right", "top", "bottom"],
    "park": PLACES,
    "carry": [""],
    "pick_up": [""],
    "put_down": [""],
    "left_behind": PLACES,
    "ride": [""],
    "get_in": [""],
    "get_out": [""],
    **{what: list(places) for what, places in SCENE.items()},
}
OF_SCENE = set(SCENE)


def change(facts: Sequence[Fact], instances: Sequence[Instance] = ()) -> str:
    return describe_change(facts, instances).text


def well_formed(text: str) -> bool:
    """Sentences with a capital, a full stop and single spaces; no identifiers, no numbers but counts, no raw words."""
    sentences = re.findall(r"[^.]+\.", text)
    return (
        "".join(sentences) == text
        and all(re.match(r" ?[A-Z][a-z]*( |,)", s) for s in sentences)
        and "  " not in text
        and not re.search(r"[{}_<>#\[\]()]|\d\.\d|\bNone\b|\bobjects?\b|\bscene-|\benter from the centre\b", text)
        and not re.search(r"\ba [aeio]|\ban [^aeiouh]", text)
    )


# ---- words


@pytest.mark.parametrize(
    ("label", "count", "words"),
    [
        ("person", 1, "a person"), ("person", 2, "two people"), ("person", 12, "twelve people"),
        ("person", 13, "13 people"), ("umbrella", 1, "an umbrella"), ("elephant", 3, "three elephants"),
        ("airplane", 1, "an airplane"), ("bus", 2, "two buses"), ("sheep", 2, "two sheep"), ("knife", 2, "two knives"),
        ("bench", 2, "two benches"), ("traffic light", 2, "two traffic lights"), ("cell phone", 1, "a cell phone"),
        ("object", 1, "something"), ("object", 3, "three things"),
        ("mouse", 2, "two mice"), ("vehicle", 1, "a vehicle"),
    ],
)  # fmt: skip
def test_nouns_with_numbers_and_articles(label: str, count: int, words: str) -> None:
    assert noun(label, count) == words


def test_people_are_the_plural_of_a_person() -> None:
    assert (plural("person"), plural("car"), plural("bus")) == ("people", "cars", "buses")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d"], "a, b, c and d"),
    ],
)
def test_lists(parts: list[str], text: str) -> None:
    assert listing(parts) == text


def test_sentences_begin_large_and_end_with_a_stop() -> None:
    assert sentence("the lights go out") == "The lights go out."


def test_places() -> None:
    assert [at(w) for w in ("centre", "left", "top", "bottom right")] == [
        "in the centre", "on the left", "at the top", "at the bottom right",
    ]  # fmt: skip


# ---- what changed


@pytest.mark.parametrize(("what", "where"), [(what, where) for what, places in KINDS.items() for where in places])
@pytest.mark.parametrize("count", [1, 2])
def test_every_sort_of_fact_is_a_sentence(what: str, where: str, count: int) -> None:
    who = () if what in OF_SCENE else tuple(range(1, count + 1))
    label = "scene" if what in OF_SCENE else "person"
    found = describe_change([fact(what, *who, label=label, where=where)], [])
    assert well_formed(found.text), found.text
    assert found.who == who
    assert found.text.count(".") == 1
    # Lights go out and come on; the floor is where one falls; the picture has no place.
    if what not in ("light", "fall", "lie", "black", "exposure", "part", "group_parts", "grapple"):
        assert all(word in found.text for word in where.split())


def test_all_that_can_happen_is_known_here() -> None:
    assert KINDS.keys() == SALIENCY.keys()


@pytest.mark.parametrize(
    ("what", "where", "one", "two"),
    [
        ("enter", "left", "A person enters from the left.", "Two people enter from the left."),
        ("leave", "right", "The person leaves to the right.", "The two people leave to the right."),
        ("appear", "centre", "A person appears in the centre.", "Two people appear in the centre."),
        ("disappear", "top", "The person disappears from view at the top.",
         "The two people disappear from view at the top."),
        ("stop", "bottom", "The person stops at the bottom.", "The two people stop at the bottom."),
        ("start", "right", "The person starts moving on the right.", "The two people start moving on the right."),
    ],
)  # fmt: skip
def test_verbs_agree_with_their_number(what: str, where: str, one: str, two: str) -> None:
    assert change([fact(what, 1, where=where)]) == one
    assert change([fact(what, 1, where=where), fact(what, 2, where=where)]) == two


@pytest.mark.parametrize(
    ("what", "where", "text"),
    [
        ("empty", "", "The scene is empty again."), ("cut", "", "The view cuts to another scene."),
        ("pan", "left", "The camera pans to the left."), ("tilt", "down", "The camera tilts down."),
        ("zoom", "out", "The camera zooms out."), ("shake", "", "The camera shakes."),
        ("light", "on", "The lights come on."), ("light", "off", "The lights go out."),
    ],
)  # fmt: skip
def test_the_scene_and_the_camera(what: str, where: str, text: str) -> None:
    assert change([fact(what, label="scene", where=where)]) == text


def test_one_more_is_another() -> None:
    first = instance(1, box=LEFT)
    assert change([fact("enter", 2, where="right")], [first, instance(2)]) == "Another person enters from the right."
    both = [fact("enter", 2, where="right"), fact("enter", 3, where="right")]
    assert change(both, [first, instance(2), instance(3)]) == "Two more people enter from the right."


def test_a_person_is_not_another_car() -> None:
    assert (
        change([fact("enter", 2, where="right")], [instance(1, "car"), instance(2)])
        == "A person enters from the right."
    )


def test_who_came_together_is_not_another() -> None:
    facts = [fact("enter", 1, where="left"), fact("enter", 2, where="right", at=0.5)]
    assert change(facts, [instance(1), instance(2)]) == "A person enters from the left. A person enters from the right."


def test_among_several_it_is_one_of_them() -> None:
    three = [instance(n) for n in (1, 2, 3)]
    assert change([fact("leave", 1, where="left")], three) == "One of the people leaves to the left."
    assert change([fact("leave", 1, where="left"), fact("leave", 2, where="left")], three) == (
        "Two of the people leave to the left."
    )


def test_the_only_one_is_the_one() -> None:
    assert change([fact("stop", 1, where="left")], [instance(1), instance(2, "car")]) == "The person stops on the left."
    gone = instance(2, visible=False)
    assert change([fact("stop", 1, where="left")], [instance(1), gone]) == "The person stops on the left."


def test_when_one_of_two_has_gone_the_one_left_is_the_other() -> None:
    gone = [instance(1, "car", visible=False), instance(2, "car", visible=False)]
    facts = [fact("leave", 1, label="car", where="left"), fact("leave", 2, label="car", where="right", at=2)]
    assert change(facts, gone) == "One of the cars leaves to the left. The other car leaves to the right."


def test_who_came_in_turn_is_counted() -> None:
    three = [instance(n, "car", first_seen=10.0 * n) for n in (1, 2, 3)]
    assert change([fact("stop", 2, label="car", where="left")], three) == "The second car stops on the left."
    four = [*three, instance(4, "car", first_seen=40.0)]
    assert change([fact("stop", 2, label="car", where="left")], four) == "One of the cars stops on the left."


def test_who_comes_back_is_known() -> None:
    back = replace(fact("enter", 1, where="left"), detail={"again": "1"})
    assert (
        change([back], [instance(1, attributes=("red top",))]) == "The person in the red top comes back from the left."
    )


def test_a_doubtful_fact_is_hedged() -> None:
    doubtful = replace(fact("fall", 1), confidence=0.4)
    assert change([doubtful], [instance(1)]) == "The person seems to fall to the floor."


def test_what_reads_like_a_caption_just_before_is_put_in_other_words() -> None:
    facts, there = [fact("enter", 2, where="right")], [instance(1), instance(2)]
    said: list[str] = []
    for _ in range(4):
        said.append(describe_change(facts, there, said=said).text)
    assert said[0] == "Another person enters from the right."
    assert said[1] == "One more person comes in from the right."
    assert len(set(said)) == 4
    assert all(well_formed(text) and "right" in text for text in said)


def test_how_long_somebody_stayed_is_told_where_the_plain_words_were_used() -> None:
    facts = [fact("leave", 1, where="right", at=30)]
    plain = describe_change(facts, [instance(1, first_seen=9.0)]).text
    again = describe_change(facts, [instance(1, first_seen=9.0)], said=[plain]).text
    assert (plain, again) == ("The person leaves to the right.", "The person goes out to the right after 21 seconds.")
    back = describe_change(facts, [instance(1, first_seen=9.0, continuous=False)], said=[plain]).text
    assert back == "The person goes out to the right."


def test_for_a_listener_clauses_are_joined() -> None:
    facts = [fact("enter", 1, where="left"), fact("leave", 2, label="car", where="right", at=1), fact("stop", 1, at=9)]
    smooth = describe_change(facts, [instance(1), instance(2, "car")], smooth=True)
    assert smooth.text == "A person enters from the left and stops, and the car leaves to the right."


def test_what_one_does_after_the_other_is_one_sentence() -> None:
    facts = [fact("enter", 1, where="left", at=1), fact("stop", 1, where="centre", at=3)]
    assert change(facts, [instance(1)]) == "A person enters from the left and stops in the centre."


def test_a_summary_counts_only_what_was_held_to_be_so() -> None:
    tally = Tally(0.0)
    tally.add([fact("enter", 1, where="left"), replace(fact("fall", 1), confidence=0.3)], [])
    tally.add([replace(fact("grapple", 1, 2), confidence=0.4)], [])
    assert summarise(tally, 10.0) == "In 10 seconds: two people seem to struggle; a person enters."


def test_who_comes_back_is_not_counted_as_another() -> None:
    tally = Tally(0.0)
    back = replace(fact("enter", 1, where="left", at=5), detail={"again": "1"})
    tally.add([fact("enter", 1, where="left"), fact("leave", 1, where="left", at=2), back], [])
    assert summarise(tally, 10.0) == "In 10 seconds: a person enters; a person comes back; a person leaves."


def test_a_summary_tells_of_cars_that_drive_through_and_not_of_the_camera_among_them() -> None:
    tally = Tally(0.0)
    tally.add([fact("drive_through", 1, label="car", where="left"), fact("drive_through", label="camera")], [])
    assert summarise(tally, 10.0) == "In 10 seconds: a car drives through."


def test_of_whom_nothing_was_said_is_not_spoken_as_if_known() -> None:
    leaves, there = [fact("leave", 1, label="car", where="top")], [instance(1, "car", visible=False)]
    assert describe_change(leaves, there, told=()).text == "A car leaves at the top."
    assert describe_change(leaves, there, told={1}).text == "The car leaves at the top."
    red = [instance(1, attributes=("red top",))]
    assert describe_change([fact("stop", 1, where="left")], red, told=()).text == (
        "A person in a red top stops on the left."
    )
    came = [fact("enter", 1, where="left"), fact("bend", 1, at=20.0), fact("leave", 1, where="left", at=30.0)]
    assert describe_change(came, [instance(1)], told=()).text == (
        "A person enters from the left, bends forward and leaves to the left."
    )


def test_three_deeds_are_listed() -> None:
    facts = [fact("enter", 1, where="left", at=1), fact("stop", 1, where="centre", at=3), fact("fall", 1, at=4)]
    assert change(facts, [instance(1)]) == "A person enters from the left, stops in the centre and falls to the floor."


def test_going_ends_what_is_told_of_one() -> None:
    facts = [fact("stop", 1, where="left", at=1), fact("leave", 1, where="left", at=3)]
    back = [*facts, fact("enter", 1, where="left", at=5)]
    assert change(facts, [instance(1)]) == "The person stops on the left and leaves to the left."
    assert change(back, [instance(1)]) == (
        "The person stops on the left and leaves to the left. A person enters from the left."
    )


def test_what_has_no_name_is_something() -> None:
    assert change([fact("enter", 1, label="object", where="left")]) == "Something enters from the left."
    two = [fact("enter", n, label="object", where="left") for n in (1, 2)]
    assert change(two) == "Two things enter from the left."


def test_it_is_told_in_the_order_of_time_and_emptiness_last() -> None:
    facts = [
        fact("empty", label="scene", at=1),
        fact("leave", 2, label="car", where="right", at=3, saliency=0.9),
        fact("leave", 1, where="left", at=2, saliency=0.1),
    ]
    assert change(facts) == "The person leaves to the left. The car leaves to the right. The scene is empty again."


def test_who_comes_does_so_before_all_else() -> None:
    """An arm is noticed when it has the bottle already."""
    deed = replace(fact("put_down", 1, where="left", at=2.0), detail={"object": "bottle"})
    came = fact("enter", 1, where="top", at=2.4)
    assert change([deed, came], [instance(1)]) == "A person enters from the top and puts a bottle down on the left."
    left, back = fact("leave", 1, where="left", at=3.0), replace(came, start=5.0, detail={"again": "1"})
    assert change([deed, left, back], [instance(1)]) == (
        "The person puts a bottle down on the left and leaves to the left. The person comes back from the top."
    )


@pytest.mark.parametrize(
    ("where", "way"),
    [
        ("left", "to the left"), ("right", "to the right"),
        ("top", "towards the top of the picture"), ("bottom", "towards the bottom of the picture"),
    ],
)  # fmt: skip
def test_a_car_drives_one_way(where: str, way: str) -> None:
    found = change([fact("drive_through", 1, label="car", where=where)], [instance(1, "car")])
    assert found == f"The car drives {way}."


def test_who_comes_later_was_not_among_those_who_leave() -> None:
    """One leaves, a second and a half later another comes: never were there two."""
    facts = [fact("leave", 1, where="right", at=19.5), fact("enter", 2, where="left", at=21.8)]
    assert change(facts, [instance(2)]) == "The person leaves to the right. A person enters from the left."


def test_when_somebody_came_since_it_is_not_empty() -> None:
    facts = [
        fact("leave", 1, where="right", at=19.5),
        fact("empty", label="scene", at=21.0),
        fact("enter", 2, where="left", at=21.8),
    ]
    text = change(facts, [instance(2)])
    assert text.endswith("A person enters from the left.")
    assert "No one is left" not in text


def test_empty_with_things_left_is_not_quite_empty() -> None:
    facts = [fact("leave", 1, where="left"), fact("empty", label="scene", at=1)]
    assert change(facts, [instance(2, "car")]) == "The person leaves to the left. No one is left in view."
    assert change(facts, []) == "The person leaves to the left. The scene is empty again."


def test_each_skill_has_its_part() -> None:
    facts = [
        fact("enter", 1, where="left"),
        fact("pan", label="camera", where="left", at=1, skill=Skill.CAMERA),
        fact("light", label="scene", where="off", at=2, skill=Skill.ENVIRONMENT),
    ]
    found = describe_change(facts, [])
    assert found.skills == {
        Skill.ACTION: "A person enters from the left.",
        Skill.CAMERA: "The camera pans to the left.",
        Skill.ENVIRONMENT: "The lights go out.",
    }
    assert found.text == "A person enters from the left. The camera pans to the left. The lights go out."
    assert found.saliency == 0.6


def test_nothing_happened_nothing_is_said() -> None:
    nothing = describe_change([], [instance(1)])
    assert (nothing.text, nothing.skills, nothing.who) == ("", {}, ())


labels = st.sampled_from(["person", "car", "umbrella", "dog", "bus", "object", "traffic light"])


@st.composite
def anything(draw: st.DrawFn) -> Fact:
    what = draw(st.sampled_from(sorted(KINDS)))
    where = draw(st.sampled_from(KINDS[what]))
    time = draw(st.floats(0, 10))
    if what in OF_SCENE:
        skill = draw(st.sampled_from([Skill.CAMERA, Skill.ENVIRONMENT]))
        return fact(what, label="scene", where=where, at=time, skill=skill)
    who = draw(st.integers(1, 6))
    # One instance has one label.
    return fact(
        what, who, label=["person", "car", "umbrella", "dog", "bus", "object", "person"][who], where=where, at=time
    )


@given(st.lists(anything(), min_size=1, max_size=8), st.lists(st.tuples(st.integers(1, 9), labels), max_size=6))
@settings(deadline=None)
def test_whatever_happens_the_text_is_well_formed(facts: list[Fact], there: list[tuple[int, str]]) -> None:
    instances = [instance(number, label) for number, label in dict(there).items()]
    found = describe_change(facts, instances)
    assert well_formed(found.text), found.text
    assert set(found.who) == {who for f in facts for who in f.who}
    assert len(set(found.who)) == len(found.who)
    assert all(
        well_formed(part) and all(s in found.text for s in part.split(". ")[:1]) for part in found.skills.values()
    )
    assert found.saliency == max(f.saliency for f in facts)


# ---- the whole scene


@pytest.mark.parametrize(
    ("instances", "text"),
    [
        ([], "No people or vehicles are recognised."),
        ([instance(1, box=LEFT)], "There is a person on the left."),
        ([instance(1, box=LEFT), instance(2, "car", MIDDLE)], "There is a person on the left and a car in the centre."),
        (
            [instance(1, box=LEFT), instance(2, box=RIGHT)],
            "There are two people, one on the left and one on the right.",
        ),
        ([instance(1, box=LEFT), instance(2, box=LEFT)], "There are two people on the left."),
        ([instance(n) for n in (1, 2, 3)], "There are three people in view."),
        ([*(instance(n) for n in (1, 2, 3)), instance(4, "car")], "There are three people and a car in view."),
        ([instance(1), *(instance(n, "car") for n in (2, 3))], "There is a person and two cars in view."),
        ([instance(1, box=(0.0, 0.0, 0.9, 1.0))], "There is a person close to the camera."),
    ],
)  # fmt: skip
def test_a_scene_in_full(instances: list[Instance], text: str) -> None:
    found = describe_scene(instances)
    assert found.text == text
    assert found.who == tuple(i.id for i in instances)
    assert found.skills == {Skill.ENVIRONMENT: text}


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (Setting(), "There is a person on the left."),
        (Setting(light="day", space="outdoor"), "Outdoors by day: there is a person on the left."),
        (Setting(light="day", space="indoor"), "Indoors: there is a person on the left."),
        (Setting(light="night", place="street"), "A street at night: there is a person on the left."),
        (Setting(place="street", traffic="busy"), "A busy street: there is a person on the left."),
        (Setting(place="street", traffic="empty"), "A street: there is a person on the left."),
        (Setting(light="infra-red"), "In infra-red light: there is a person on the left."),
        (Setting(sway="leaves"), "There is a person on the left. Leaves move in the wind."),
    ],
)
def test_the_kind_of_scene_leads(setting: Setting, text: str) -> None:
    found = describe_scene([instance(1, box=LEFT)], setting=setting)
    assert found.text == text
    assert found.skills == {Skill.ENVIRONMENT: text}


def test_another_scene_says_of_what_kind() -> None:
    cut = [fact("cut", label="scene")]
    found = describe_scene([instance(1, box=LEFT)], cut, Setting(place="street", light="day"))
    assert found.text == "The view cuts to another scene, a street by day: there is a person on the left."


@pytest.mark.parametrize(("count", "text"), [(6, "six people"), (8, "about eight people"), (19, "about 20 people")])
def test_nobody_counts_a_crowd(count: int, text: str) -> None:
    assert describe_scene([instance(n) for n in range(1, count + 1)]).text == f"There are {text} in view."


def test_people_come_before_things() -> None:
    text = describe_scene([instance(1, "chair", LEFT), instance(2, box=RIGHT)]).text
    assert text.index("person") < text.index("chair")


def test_only_what_is_surely_seen_is_named() -> None:
    unsure = [instance(1, confidence=0.2), instance(2, visible=False), instance(3, "object")]
    assert describe_scene(unsure).text == "No people or vehicles are recognised."


def test_what_fills_the_picture_is_no_thing() -> None:
    assert describe_scene([instance(1, "bed", (0, 0, 1, 1))]).text == "No people or vehicles are recognised."


def test_a_long_list_is_cut_short() -> None:
    kinds = ["person", "car", "dog", "bus", "chair", "laptop", "bench"]
    text = describe_scene([instance(n, kind) for n, kind in enumerate(kinds, 1)]).text
    assert well_formed(text)
    assert sum(kind in text for kind in kinds) <= 4
    assert "person" in text


def test_after_a_cut_it_says_so() -> None:
    cut = [fact("cut", label="scene")]
    assert (
        describe_scene([instance(1, box=LEFT)], cut).text
        == "The view cuts to another scene: there is a person on the left."
    )
    assert describe_scene([], cut).text.startswith("The view cuts to another scene: no people")


@given(
    st.lists(
        st.tuples(labels, st.floats(0, 0.8), st.floats(0, 0.8), st.floats(0.02, 0.9), st.floats(0, 1)), max_size=9
    ),
    st.booleans(),
)
@settings(deadline=None)
def test_any_scene_is_well_formed(things: list[tuple[str, float, float, float, float]], cut: bool) -> None:
    there = [
        instance(n, label, (x, y, min(1.0, x + size), min(1.0, y + size)), confidence=sure)
        for n, (label, x, y, size, sure) in enumerate(things, 1)
    ]
    found = describe_scene(there, [fact("cut", label="scene")] if cut else [])
    assert well_formed(found.text), found.text
    assert set(found.who) <= {i.id for i in there}


# ---- summaries


def test_a_summary_counts() -> None:
    tally = Tally(0.0)
    tally.add([fact("enter", 1, where="left")], [instance(1)])
    tally.add(
        [fact("enter", 2, where="right"), fact("enter", 3, where="left")], [instance(1), instance(2), instance(3)]
    )
    tally.add([fact("enter", 4, label="car", where="left"), fact("leave", 1, where="left")], [instance(2)])
    tally.add([fact("cut", label="scene"), fact("cut", label="scene")], [])
    assert summarise(tally, 75.0) == (
        "In 1 minute 15 seconds: a car and three people enter; a person leaves; "
        "at most three people are in view at once; the view cuts to another scene twice."
    )


def test_a_summary_says_what_sort_of_place_it_is() -> None:
    chair, second, bottle = (
        replace(instance(n, label=k), last_seen=9.0) for n, k in ((5, "chair"), (6, "chair"), (7, "bottle"))
    )
    glimpse = replace(instance(8, label="clock"), first_seen=8.9, last_seen=9.0)
    tally = Tally(0.0)
    tally.add([fact("enter", 1, where="left")], [instance(1), chair, second, bottle, glimpse])
    assert summarise(tally, 10.0) == "In 10 seconds: a person enters; also in view: a bottle and chairs."
    tally.add([fact("disappear", 7, label="bottle", where="left")], [instance(1), chair])
    assert "also in view: chairs" in summarise(tally, 10.0)


def test_a_summary_of_nothing_is_nothing() -> None:
    assert summarise(Tally(0.0), 300.0) == ""
    quiet = Tally(0.0)
    quiet.add([fact("stop", 1, where="left")], [instance(1)])
    assert "stop" not in summarise(quiet, 300.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "one second"), (1, "one second"), (42, "42 seconds"), (59.6, "1 minute"), (60, "1 minute"),
        (61, "1 minute 1 second"), (300, "5 minutes"),
    ],
)  # fmt: skip
def test_the_span_of_a_summary(seconds: float, words: str) -> None:
    tally = Tally(10.0)
    tally.add([fact("enter", 1, where="left")], [])
    assert summarise(tally, 10.0 + seconds) == f"In {words}: a person enters."


def test_each_camera_move_has_its_clause_in_the_summary() -> None:
    for what, places in KINDS.items():
        if what in {"cut", "light", "pan", "tilt", "zoom"}:
            tally = Tally(0.0)
            for _ in range(3):
                tally.add([fact(what, label="scene", where=places[0])], [])
            assert summarise(tally, 10.0).endswith("three times.")


def test_a_tally_stays_small() -> None:
    tally = Tally(0.0)
    for number in range(5000):
        tally.add([fact("enter", number, where="left")], [instance(number)])
    assert summarise(tally, 3600.0) == "In 60 minutes: 5000 people enter."
    assert max(len(v) for v in vars(tally).values() if hasattr(v, "__len__")) <= 2


@pytest.mark.parametrize(
    ("what", "detail", "text"),
    [
        ("sit", {}, "The person sits down."),
        ("sit", {"object": "chair"}, "The person sits down on a chair."),
        ("stand_up", {}, "The person stands up."),
        ("stand_up", {"pose": "bending"}, "The person straightens up."),
        ("bend", {}, "The person bends forward."),
        ("bend", {"pose": "down"}, "The person bends down."),
        ("bend", {"pose": "crouching"}, "The person crouches down."),
        ("lie", {}, "The person lies down."),
        ("lie", {"pose": "floor"}, "The person lies on the floor."),
        ("raise_arms", {}, "The person raises an arm."),
        ("raise_arms", {"pose": "both"}, "The person raises both arms."),
        ("wave", {}, "The person waves."),
        ("eat", {}, "The person eats something."),
        ("drink", {}, "The person drinks something."),
    ],
)
def test_what_people_do_with_their_bodies(what: str, detail: dict[str, str], text: str) -> None:
    told = replace(fact(what, 1), detail=detail)
    assert describe_change([told], [instance(1)]).text == text


def test_who_sits_is_found_sitting() -> None:
    sitting = replace(instance(1, box=(0.4, 0.3, 0.6, 0.9)), posture="sitting")
    chair = replace(instance(2, "chair", box=(0.4, 0.5, 0.62, 0.95)), confidence=0.9)
    assert "a person sitting in the centre" in describe_scene([sitting]).text
    assert "a person sitting on a chair in the centre" in describe_scene([sitting, chair]).text
    assert "a person in the centre" in describe_scene([replace(sitting, posture="standing")]).text


# ---- what people carry


def test_who_comes_comes_with_what_is_carried() -> None:
    who = instance(1, attributes=("black top",), carries=("backpack",))
    facts = [fact("enter", 1, where="right"), fact("carry", 1, at=1.0, detail={"object": "backpack"})]
    assert change(facts, [who]) == "A person in a black top with a backpack enters from the right."
    assert change(facts[:1], [instance(1, carries=("umbrella",))]) == "A person with an umbrella enters from the right."


def test_what_is_found_out_later_is_told_by_itself() -> None:
    carry = fact("carry", 1, at=1.0, detail={"object": "bag"})
    assert change([carry], [instance(1, carries=("bag",))]) == "The person carries a bag."
    two = [instance(1, carries=("bag",)), instance(2)]
    both = [fact("enter", 1, where="left"), fact("enter", 2, where="left"), carry]
    assert change(both, two) == "Two people enter from the left. One of the people carries a bag."


def test_somebody_is_known_by_what_only_he_carries() -> None:
    two = [instance(1, carries=("suitcase",)), instance(2)]
    assert change([fact("leave", 1, where="left")], two) == "The person with the suitcase leaves to the left."
    put = fact("put_down", 1, detail={"object": "suitcase"})
    assert change([put], two) == "One of the people puts a suitcase down."
    both = [instance(1, carries=("bag",)), instance(2, carries=("bag",))]
    assert change([fact("leave", 1, where="left")], both) == "One of the people leaves to the left."
    dressed = [instance(1, attributes=("red top",), carries=("bag",)), instance(2)]
    assert change([fact("stop", 1)], dressed) == "The person in the red top stops."


def test_what_somebody_carries_is_part_of_the_first_look() -> None:
    text = describe_scene([instance(1, carries=("umbrella",))]).text
    assert "a person with an umbrella in the centre" in text
