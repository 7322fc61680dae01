"""Facts to sentences: present tense, one idea a clause, right numbers and articles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import inflect

from streamcap.geometry import area, place
from streamcap.labels import MOVERS
from streamcap.types import Fact, Instance, Skill

__all__ = ["Description", "Tally", "describe_change", "describe_scene", "summarise"]

_words = inflect.engine()

_ARRIVALS = ("enter", "appear")
_DEPARTURES = ("leave", "disappear")

# Most kinds of thing that a full caption names; a viewer stops listening to a longer list.
MAX_KINDS = 4
# Only what the detector named this surely is part of a full caption.
NAME_SURE = 0.6
THING_SURE = 0.8
# What does not move by itself and fills more than this share of the frame is the scene itself, misread.
THING_LARGEST = 0.4
# Where it is said of so few.
PLACED = 2
# From this share of the frame on, something is close to the camera.
CLOSE = 0.4


@dataclass(frozen=True, slots=True)
class Description:
    """What a captioner has to say of a window.

    Attributes:
        text: the whole sentence or sentences; empty where there is nothing to say.
        skills: the parts of the text by skill.
        who: ids of the instances that the text is about.
        saliency: 0..1, the largest of its facts.
    """

    text: str
    skills: dict[Skill, str] = field(default_factory=dict)
    who: tuple[int, ...] = ()
    saliency: float = 0.5


def noun(label: str, count: int = 1) -> str:
    """``a person``, ``two people``, ``something``, ``several things``."""
    if label == "object":
        return "something" if count == 1 else f"{_number(count)} things"
    if count == 1:
        return str(_words.a(label))
    return f"{_number(count)} {plural(label)}"


def plural(label: str) -> str:
    """Plural of a label; ``person`` is ``people``."""
    return "people" if label == "person" else str(_words.plural_noun(label) or label)


def _number(count: int) -> str:
    return str(_words.number_to_words(str(count))) if count <= 12 else str(count)


def listing(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return str(_words.join(list(parts), final_sep="")) if parts else ""


def sentence(clause: str) -> str:
    """Capital letter and full stop."""
    return clause[:1].upper() + clause[1:] + "."


def at(where: str) -> str:
    """``in the centre``, ``on the left``, ``at the top right``."""
    if where == "centre":
        return "in the centre"
    return f"on the {where}" if where in ("left", "right") else f"at the {where}"


def describe_scene(instances: Sequence[Instance], facts: Iterable[Fact] = ()) -> Description:
    """The full caption of a scene: who and what is in view."""
    cut = any(fact.what == "cut" for fact in facts)
    lead = "the view cuts to another scene: " if cut else ""
    sure = [i for i in instances if _is_named(i)]
    kinds = Counter(i.label for i in sure)
    if not kinds:
        text = lead + "no people or vehicles are recognised"
        return Description(sentence(text), {Skill.ENVIRONMENT: sentence(text)}, (), 0.5)
    order = sorted(kinds, key=lambda k: (k != "person", k not in MOVERS, -kinds[k], k))[:MAX_KINDS]
    named = [i for i in sure if i.label in order]
    if len(named) <= PLACED:
        parts = [f"{dressed(i, definite=False)} {_spot(i)}" for k in order for i in named if i.label == k]
        if len(parts) == 2 and len(order) == 1:
            a, b = named
            spots = [_spot(a), _spot(b)]
            parts = (
                [f"{noun(order[0], 2)}, one {spots[0]} and one {spots[1]}"]
                if spots[0] != spots[1]
                else [f"{noun(order[0], 2)} {spots[0]}"]
            )
        text = f"{lead}{_be(named)} {listing(parts)}"
    else:
        text = f"{lead}{_be(named, kinds[order[0]])} {listing([noun(k, kinds[k]) for k in order])} in view"
    return Description(sentence(text), {Skill.ENVIRONMENT: sentence(text)}, tuple(i.id for i in named), 0.6)


def _is_named(instance: Instance) -> bool:
    if not instance.visible or instance.label == "object":
        return False
    if instance.label in MOVERS:
        return instance.confidence >= NAME_SURE
    return instance.confidence >= THING_SURE and area(instance.box) <= THING_LARGEST


def _be(named: Sequence[Instance], first: int | None = None) -> str:
    many = first if first is not None else sum(i.label == named[0].label for i in named)
    return "there is" if many == 1 else "there are"


def _spot(instance: Instance) -> str:
    return "close to the camera" if area(instance.box) >= CLOSE else at(place(instance.box))


@dataclass(frozen=True, slots=True)
class _Group:
    """Facts that one clause says."""

    what: str
    label: str
    where: str
    facts: tuple[Fact, ...]

    @property
    def count(self) -> int:
        return max(1, len({who for fact in self.facts for who in fact.who}))

    @property
    def who(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(who for fact in self.facts for who in fact.who))

    @property
    def saliency(self) -> float:
        return max(fact.saliency for fact in self.facts)

    @property
    def start(self) -> float:
        return min(fact.start for fact in self.facts)


def describe_change(facts: Sequence[Fact], instances: Sequence[Instance]) -> Description:
    """A differential caption: only what these facts say, in the order of time, grouped.

    Args:
        facts: what happened in the window.
        instances: all that are known at its end, for "the", "another" and counts.
    """
    groups = _grouped(facts)
    if not groups:
        return Description("", saliency=0.0)
    present = {i.id: i for i in instances}
    clauses: list[tuple[Skill, str]] = []
    done: set[int] = set()
    for index, item in enumerate(groups):
        if index in done:
            continue
        clause = _clause(item, present, facts)
        for later in range(index + 1, len(groups)):  # "enters from the left and stops in the centre"
            if groups[later].who and groups[later].who == item.who and later not in done:
                clause += f" and {_verb(groups[later], item.count)}"
                done.add(later)
        clauses.append((item.facts[0].skill, clause))
    skills = {
        skill: " ".join(sentence(clause) for _, clause in part)
        for skill, part in groupby(sorted(clauses, key=lambda c: c[0].value), key=lambda c: c[0])
    }
    text = " ".join(sentence(clause) for _, clause in clauses)
    who = tuple(dict.fromkeys(w for item in groups for w in item.who))
    return Description(text, skills, who, max(item.saliency for item in groups))


def _grouped(facts: Sequence[Fact]) -> list[_Group]:
    def key(fact: Fact) -> tuple[str, str, str]:
        return fact.what, fact.label, fact.where

    merged = [_Group(*k, tuple(g)) for k, g in groupby(sorted(facts, key=key), key=key)]
    last_gone = max((item.start for item in merged if item.what in _DEPARTURES), default=0.0)

    def when(item: _Group) -> tuple[float, bool, float]:
        """Order of time; a scene is empty once the last one has gone."""
        empty = item.what == "empty"
        return max(item.start, last_gone) if empty else item.start, empty, -item.saliency

    return sorted(merged, key=when)


def _clause(item: _Group, present: dict[int, Instance], facts: Sequence[Fact]) -> str:
    if item.what == "empty" and any(_is_named(i) and _was_there(i, item, facts) for i in present.values()):
        return "no one is left in view"
    if item.what in _SCENE_CLAUSES:
        return _SCENE_CLAUSES[item.what][item.where]
    return f"{_subject(item, present, facts)} {_verb(item, item.count)}"


def _subject(item: _Group, present: dict[int, Instance], facts: Sequence[Fact]) -> str:
    """Who: by what tells them apart.

    ``a person in a red top``, ``another person``, ``two more people`` for who comes; ``the person`` for the only one,
    ``the person in the red top`` where that tells, else ``one of the people``.
    """
    if item.label == "object" or item.what == "meet":  # who meets is told by how many they are
        return noun(item.label, item.count)
    alike = [i for i in present.values() if i.label == item.label and i.id not in item.who]
    others = [i for i in alike if _was_there(i, item, facts)]
    one = present.get(item.who[0]) if item.count == 1 and item.who else None
    looks = one is not None and one.label == item.label and bool(one.attributes)
    if item.what in _ARRIVALS:
        fresh = {who for fact in facts if fact.what in _ARRIVALS for who in fact.who}
        older = any(i.id not in fresh for i in others)
        if one is not None and looks:
            return dressed(one, definite=False)
        if not older:
            return noun(item.label, item.count)
        return f"another {item.label}" if item.count == 1 else f"{_number(item.count)} more {plural(item.label)}"
    if one is not None and looks and all(i.attributes[:1] != one.attributes[:1] for i in others):
        return dressed(one, definite=True)
    if not others:
        return f"the {item.label}" if item.count == 1 else f"the {_number(item.count)} {plural(item.label)}"
    return f"{_number(item.count)} of the {plural(item.label)}"


def _was_there(instance: Instance, item: _Group, facts: Sequence[Fact]) -> bool:
    """In view when it happened: who came after a leave was not among those who could leave."""
    own = [fact for fact in facts if instance.id in fact.who]
    if item.what not in _ARRIVALS and any(fact.what in _ARRIVALS and fact.start > item.start for fact in own):
        return False
    return instance.visible or any(fact.what in _DEPARTURES and fact.start > item.start for fact in own)


def dressed(instance: Instance, *, definite: bool) -> str:
    """An instance with what it looks like: ``a person in a red top``, ``the person in black``, ``the white car``."""
    words = instance.attributes
    if instance.label != "person":
        described = " ".join([*words[:1], instance.label])
        return f"the {described}" if definite else str(_words.a(described))
    head = "the person" if definite else "a person"
    colours = [word.split(" ")[0] for word in words]
    if not words:
        return head
    if len(words) == 2 and colours[0] == colours[1]:
        return f"{head} in {colours[0]}"
    if definite:
        return f"{head} in the {words[0]}"
    return f"{head} in " + listing([word if word.endswith("trousers") else str(_words.a(word)) for word in words])


def _verb(item: _Group, count: int) -> str:
    if not item.where:
        return _conjugated(_PLACELESS.get(item.what, item.what), count)
    out = f"to the {item.where}" if item.where in ("left", "right") else f"at the {item.where}"
    return _conjugated(_VERBS[item.what].format(where=item.where, out=out, at=at(item.where)), count)


def _conjugated(phrase: str, count: int) -> str:
    """A phrase that begins with a verb, for one or for many: ``enters from the left``, ``enter from the left``."""
    verb, *rest = phrase.split(" ")
    if count == 1:
        verb += "es" if verb.endswith(("s", "sh", "ch", "x", "o")) else "s"
    return " ".join([verb, *rest])


_VERBS = {
    "enter": "enter from the {where}",
    "leave": "leave {out}",
    "appear": "appear {at}",
    "disappear": "disappear from view {at}",
    "stop": "stop {at}",
    "start": "start moving {at}",
    "meet": "meet {at}",
    "fall": "fall to the floor",
    "lie": "lie on the floor",
}
# Where no place is known: else the bare verb.
_PLACELESS = {
    "disappear": "disappear from view",
    "start": "start moving",
    "fall": "fall to the floor",
    "lie": "lie on the floor",
}
_SCENE_CLAUSES = {
    "empty": {"": "the scene is empty again"},
    "cut": {"": "the view cuts to another scene"},
    "pan": {"left": "the camera pans to the left", "right": "the camera pans to the right"},
    "tilt": {"up": "the camera tilts up", "down": "the camera tilts down"},
    "zoom": {"in": "the camera zooms in", "out": "the camera zooms out"},
    "shake": {"": "the camera shakes"},
    "light": {"on": "the lights come on", "off": "the lights go out"},
}


class Tally:
    """Folds differences into numbers for a summary; constant size whatever the length of the stream."""

    def __init__(self, start: float = 0.0) -> None:
        self.start = start
        self._done: Counter[tuple[str, str]] = Counter()
        self._most: Counter[str] = Counter()

    def add(self, facts: Iterable[Fact], instances: Iterable[Instance]) -> None:
        """Take in one window."""
        for fact in facts:
            self._done[fact.what, fact.label] += max(1, len(fact.who))
        in_view = Counter(i.label for i in instances if i.visible and i.confidence >= NAME_SURE and i.label in MOVERS)
        for label, count in in_view.items():
            self._most[label] = max(self._most[label], count)

    def clauses(self) -> list[str]:
        """What happened, most telling first."""
        lines = []
        for what, verb in _SUMMARY_VERBS:
            parts = [noun(label, n) for (w, label), n in sorted(self._done.items()) if w == what and label != "object"]
            total = sum(n for (w, label), n in self._done.items() if w == what and label != "object")
            if parts:
                lines.append(f"{listing(parts)} {_conjugated(verb, total)}")
        if peak := [noun(label, n) for label, n in self._most.most_common(2) if n > 1]:
            lines.append(f"at most {listing(peak)} are in view at once")
        for what in _SUMMARY_CAMERA:
            times = sum(n for (w, _), n in self._done.items() if w == what)
            if times:
                lines.append(f"{_SUMMARY_CAMERA[what]} {_times(times)}")
        return lines


_SUMMARY_VERBS = (
    ("fall", "fall to the floor"),
    ("lie", "lie on the floor"),
    ("meet", "meet"),
    ("enter", "enter"),
    ("leave", "leave"),
    ("appear", "come into view"),
    ("disappear", "disappear from view"),
)
_SUMMARY_CAMERA = {
    "cut": "the view cuts to another scene", "light": "the light changes", "pan": "the camera pans",
    "tilt": "the camera tilts", "zoom": "the camera zooms", "shake": "the camera shakes",
}  # fmt: skip


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{_number(count)} times")


def summarise(tally: Tally, end: float) -> str:
    """One text for the span from the tally's start to ``end`` (media seconds); empty where nothing stands out."""
    lines = tally.clauses()
    span = _duration(end - tally.start)
    if not lines:
        return ""
    return f"In {span}: {'; '.join(lines)}."


def _duration(seconds: float) -> str:
    whole = max(1, round(seconds))
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{rest} seconds" if rest != 1 else "one second"
    words = f"{minutes} minute" + ("s" if minutes > 1 else "")
    return words if not rest else f"{words} {rest} second" + ("s" if rest > 1 else "")
