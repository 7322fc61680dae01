"""A differential caption: only what the facts of a window say, in the order of time, grouped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from streamcap.language.description import Description
from streamcap.language.naming import dressed, is_named
from streamcap.language.phrases import ARRIVALS, DEPARTURES, MUTUAL, SCENE, phrase
from streamcap.language.words import at, conjugated, noun, number, plural, sentence, with_article
from streamcap.types import Fact, Instance, Skill

__all__ = ["describe_change"]

# Below this confidence a fact is said with a hedge: "seems to pick something up".
HEDGED = 0.5


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
    last_gone = max((item.start for item in merged if item.what in DEPARTURES), default=0.0)

    def when(item: _Group) -> tuple[float, bool, float]:
        """Order of time; a scene is empty once the last one has gone."""
        empty = item.what == "empty"
        return max(item.start, last_gone) if empty else item.start, empty, -item.saliency

    return sorted(merged, key=when)


def _clause(item: _Group, present: dict[int, Instance], facts: Sequence[Fact]) -> str:
    if item.what == "empty" and any(is_named(i) and _was_there(i, item, facts) for i in present.values()):
        return "no one is left in view"
    if item.what in SCENE:
        return SCENE[item.what][item.where]
    return f"{_subject(item, present, facts)} {_verb(item, item.count)}"


def _subject(item: _Group, present: dict[int, Instance], facts: Sequence[Fact]) -> str:
    """Who: by what tells them apart.

    ``a person in a red top``, ``another person``, ``two more people`` for who comes; ``the person`` for the only one,
    ``the person in the red top`` where that tells, else ``one of the people``.
    """
    if item.label == "object" or item.what in MUTUAL:  # who meets is told by how many they are
        return noun(item.label, item.count)
    alike = [i for i in present.values() if i.label == item.label and i.id not in item.who]
    others = [i for i in alike if _was_there(i, item, facts)]
    one = present.get(item.who[0]) if item.count == 1 and item.who else None
    looks = one is not None and one.label == item.label and bool(one.attributes)
    if item.what in ARRIVALS:
        fresh = {who for fact in facts if fact.what in ARRIVALS for who in fact.who}
        older = any(i.id not in fresh for i in others)
        if one is not None and looks:
            return dressed(one, definite=False)
        if not older:
            return noun(item.label, item.count)
        return f"another {item.label}" if item.count == 1 else f"{number(item.count)} more {plural(item.label)}"
    if one is not None and looks and all(i.attributes[:1] != one.attributes[:1] for i in others):
        return dressed(one, definite=True)
    if not others:
        return f"the {item.label}" if item.count == 1 else f"the {number(item.count)} {plural(item.label)}"
    return f"{number(item.count)} of the {plural(item.label)}"


def _was_there(instance: Instance, item: _Group, facts: Sequence[Fact]) -> bool:
    """In view when it happened: who came after a leave was not among those who could leave."""
    own = [fact for fact in facts if instance.id in fact.who]
    if item.what not in ARRIVALS and any(fact.what in ARRIVALS and fact.start > item.start for fact in own):
        return False
    return instance.visible or any(fact.what in DEPARTURES and fact.start > item.start for fact in own)


def _verb(item: _Group, count: int) -> str:
    where, detail = item.where, item.facts[0].detail
    known = {
        "where": where,
        "at": at(where) if where else "",
        "out": f"to the {where}" if where in ("left", "right") else f"at the {where}" if where else "",
        "object": with_article(detail["object"]) if detail.get("object") else "",
        "to": f"the {detail['to']}" if detail.get("to") else "",
    }
    said = phrase(item.what, known)
    if max(fact.confidence for fact in item.facts) < HEDGED:
        said = f"seem to {said}"
    return conjugated(said, count)
