"""Nouns in free text and the groups of instances that they may stand for."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from streamcap.labels import ANIMALS, VEHICLES, group
from streamcap.language.words import plural

__all__ = ["Mention", "groups_of", "mentions", "number_of"]

_PERSON = (
    "person",
    "man",
    "woman",
    "boy",
    "girl",
    "child",
    "kid",
    "baby",
    "toddler",
    "lady",
    "gentleman",
    "guy",
    "adult",
    "teenager",
    "youth",
    "pedestrian",
    "individual",
    "figure",
    "worker",
    "player",
    "customer",
    "shopper",
    "visitor",
    "guest",
    "cook",
    "chef",
    "runner",
    "jogger",
    "walker",
    "athlete",
    "dancer",
    "student",
    "teacher",
    "guard",
    "policeman",
    "officer",
    "waiter",
    "waitress",
    "commuter",
    "passer-by",
    "bystander",
    "skater",
    "skateboarder",
    "surfer",
    "swimmer",
    "friend",
    "couple",
    "crowd",
    "family",
    "group",
)
_VEHICLE = (
    "van",
    "lorry",
    "taxi",
    "cab",
    "suv",
    "sedan",
    "minivan",
    "minibus",
    "coach",
    "pickup",
    "motorbike",
    "scooter",
    "moped",
    "tram",
    "ambulance",
    "automobile",
)
_ANIMAL = (
    "puppy",
    "kitten",
    "parrot",
    "cockatoo",
    "pigeon",
    "duck",
    "goose",
    "chicken",
    "hen",
    "rooster",
    "crow",
    "gull",
    "seagull",
    "pony",
    "foal",
    "calf",
    "bull",
    "lamb",
    "deer",
    "fox",
)
# One word, two things that may be meant.
_BOTH = {
    "cyclist": {"person", "bicycle"},
    "bicyclist": {"person", "bicycle"},
    "biker": {"person", "bicycle", "vehicle"},
    "rider": {"person", "bicycle", "vehicle", "animal"},
    "motorcyclist": {"person", "vehicle"},
    "driver": {"person", "vehicle"},
    "passenger": {"person", "vehicle"},
    "traffic": {"vehicle", "bicycle"},
    "bike": {"bicycle", "vehicle"},
    "pet": {"animal"},
    "creature": {"animal"},
}
_IRREGULAR = {
    "people": "person",
    "persons": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "passers-by": "passer-by",
}
# Whom a pronoun stands for nobody can tell without grammar; these at least are a person.
_SOMEONE = ("someone", "somebody", "everyone", "everybody")
_NUMBERS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12,
}  # fmt: skip
# Nouns of many: how many, nobody says.
_MANY = frozenset({"couple", "crowd", "family", "group", "traffic"})
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*|\d+")


@dataclass(frozen=True, slots=True)
class Mention:
    """A noun in a text.

    Attributes:
        word: as it stands there.
        groups: what it may stand for: ``person``, ``vehicle``, ``animal``, ``bicycle``.
        plural: it stands for several.
        start, end: place in the text, characters.
    """

    word: str
    groups: frozenset[str]
    plural: bool
    start: int
    end: int


@functools.cache
def _lexicon() -> dict[str, tuple[frozenset[str], bool]]:
    """Word to groups, and whether it is a plural."""
    base: dict[str, set[str]] = {word: {"person"} for word in _PERSON}
    base |= {word: {"vehicle"} for word in (*_VEHICLE, *VEHICLES)}
    base |= {word: {"animal"} for word in (*_ANIMAL, *ANIMALS)}
    base |= {"bicycle": {"bicycle"}, **_BOTH}
    found = {word: (frozenset(groups), word in _MANY) for word, groups in base.items()}
    found |= {plural(word): (frozenset(groups), True) for word, groups in base.items() if word not in _MANY}
    found |= {many: (frozenset(base[one]), True) for many, one in _IRREGULAR.items()}
    return found | {word: (frozenset({"person"}), False) for word in _SOMEONE}


def mentions(text: str) -> Iterator[Mention]:
    """Nouns for people, vehicles, bicycles and animals, in order."""
    for found in _WORD.finditer(text.lower()):
        entry = _lexicon().get(found[0])
        if entry is not None and not _is_part(text.lower(), found):
            yield Mention(found[0], entry[0], entry[1], found.start(), found.end())


def groups_of(label: str) -> frozenset[str]:
    """What a label in a model's own words may stand for; empty where that is not known."""
    found = [m.groups for m in mentions(label.replace("_", " "))]
    return (
        frozenset().union(*found) if found else frozenset({group(label)} & {"person", "vehicle", "animal", "bicycle"})
    )


def number_of(word: str) -> int | None:
    """A number from 2 on, in words or figures; None for any other word."""
    count = int(word) if word.isdigit() and len(word) <= 3 else _NUMBERS.get(word, 0)
    return count if count >= 2 else None


# "Car park", "bus stop", "person's", "dog-eared", "hot dog", "police car" (which is one): the noun is part of another.
_AFTER = re.compile(
    r"(?:'s|s')?\s+(?:park|parks|stop|door|window|seat|station|lane|lights?|wheel|toy|costume|statue|track|rack|path)\b"
)
_BEFORE = re.compile(
    r"\b(?:hot|toy|stuffed|teddy|computer|statue of an?|picture of an?|photo of an?|poster of an?|drawing of an?)\s+$"
)


def _is_part(text: str, found: re.Match[str]) -> bool:
    return bool(_AFTER.match(text, found.end()) or _BEFORE.search(text, 0, found.start()))
