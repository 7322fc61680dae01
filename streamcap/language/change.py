"""A differential caption: only what the facts of a window say, in the order of time, grouped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from streamcap.language.description import Description
from streamcap.language.groups import Group, grouped
from streamcap.language.naming import is_named
from streamcap.language.phrases import ARRIVALS, DEPARTURES, HEDGED, SCENE, phrase
from streamcap.language.subjects import subject, was_there
from streamcap.language.variety import MANNERS, SAME_TEXT, likeness
from streamcap.language.words import at, conjugated, joined, listing, number, sentence, with_article
from streamcap.types import Fact, Instance, Skill

__all__ = ["describe_change"]

# A stay that is told when somebody goes (seconds).
STAY_LEAST_S = 2.0
STAY_MOST_S = 3600.0

_Clause = tuple[Skill, str]


@dataclass(frozen=True, slots=True)
class _Now:
    """What the words for a clause depend on besides its facts.

    Attributes:
        present: all that are known, by id.
        facts: all of the window.
        strangers: ids of those of whom nothing was said yet.
        manner: 0 for the usual words, more for other words of the same meaning.
    """

    present: dict[int, Instance]
    facts: Sequence[Fact]
    strangers: frozenset[int]
    manner: int = 0


_WAYS = {
    "left": "to the left",
    "right": "to the right",
    "top": "towards the top of the picture",
    "bottom": "towards the bottom of the picture",
}


def describe_change(
    facts: Sequence[Fact],
    instances: Sequence[Instance],
    *,
    said: Sequence[str] = (),
    told: Collection[int] | None = None,
    smooth: bool = False,
) -> Description:
    """A differential caption: only what these facts say, in the order of time, grouped.

    Args:
        facts: what happened in the window.
        instances: all that are known at its end, for "the", "another" and counts.
        said: captions of the last while; where this one would read like one of them, it is put in other words.
        told: ids of those of whom something was said before; None: of all.
        smooth: clauses are joined to longer sentences, for a listener; else each is a sentence, for a guard.
    """
    groups = grouped(_untold(facts, instances))
    if not groups:
        return Description("", saliency=0.0)
    came = {who for fact in facts if fact.what in ARRIVALS for who in fact.who}
    strangers = {i.id for i in instances if i.id not in told and i.id not in came} if told is not None else set()
    now = _Now({i.id: i for i in instances}, facts, frozenset(strangers))
    ways: list[tuple[float, Description]] = []
    for manner in MANNERS:
        way = _described(groups, replace(now, manner=manner), smooth=smooth)
        ratio = likeness(way.text, said)
        if ratio < SAME_TEXT:
            return way
        ways.append((ratio, way))
    return min(ways, key=lambda tried: tried[0])[1]


def _untold(facts: Sequence[Fact], instances: Sequence[Instance]) -> list[Fact]:
    """Without what is said where somebody comes alone: "a person with a bag enters" carries one."""
    came = [item for item in grouped(facts) if item.what in ARRIVALS and not item.again and item.count == 1]
    carry = {i.id: i.carries[:1] for i in instances}
    said = {(who, thing) for item in came for who in item.who for thing in carry.get(who, ())}
    return [f for f in facts if f.what != "carry" or (f.who[0], f.detail.get("object")) not in said]


def _described(groups: Sequence[Group], now: _Now, *, smooth: bool) -> Description:
    clauses = _clauses(groups, now)
    skills = {
        skill: _text([clause for _, clause in part], smooth=smooth)
        for skill, part in groupby(sorted(clauses, key=lambda c: c[0].value), key=lambda c: c[0])
    }
    who = tuple(dict.fromkeys(w for item in groups for w in item.who))
    text = _text([clause for _, clause in clauses], smooth=smooth)
    return Description(text, skills, who, max(item.saliency for item in groups))


def _text(clauses: Sequence[str], *, smooth: bool) -> str:
    """One sentence a clause, or clauses two by two."""
    pairs = [clauses[i : i + 2] for i in range(0, len(clauses), 2)] if smooth else [[clause] for clause in clauses]
    return " ".join(sentence(joined(pair)) for pair in pairs)


def _clauses(groups: Sequence[Group], now: _Now) -> list[_Clause]:
    clauses: list[_Clause] = []
    left = list(groups)
    while left:
        item = left.pop(0)
        deeds = _deeds(item, left)
        left = [other for other in left if other not in deeds]
        clauses.append((item.facts[0].skill, _clause(item, deeds, now)))
    return clauses


def _deeds(item: Group, later: Sequence[Group]) -> list[Group]:
    """What the same ones do after ``item``, for one clause: "enters from the left, stops and sits down".

    Going ends the clause: what they do after it, they do elsewhere.
    """
    deeds = [item]
    for other in later:
        if item.who and other.who == item.who and deeds[-1].what not in DEPARTURES:
            deeds.append(other)
    return deeds[1:]


def _clause(item: Group, deeds: Sequence[Group], now: _Now) -> str:
    if item.what == "empty" and any(is_named(i) and was_there(i, item, now.facts) for i in now.present.values()):
        return "no one is left in view"
    if item.what in SCENE:
        return SCENE[item.what][item.where]
    verbs = [_verb(each, now.present, now.manner) for each in (item, *deeds)]
    who = subject(item, now.present, now.facts, strangers=now.strangers, manner=now.manner)
    return f"{who} {listing(verbs)}"


def _verb(item: Group, present: dict[int, Instance], manner: int) -> str:
    where, detail = item.where, item.facts[0].detail
    known = {
        "where": where,
        "at": at(where) if where else "",
        "out": f"to the {where}" if where in ("left", "right") else f"at the {where}" if where else "",
        "way": _WAYS.get(where, ""),
        "in": f"the {detail['vehicle']}" if detail.get("vehicle") else "",
        **{key: with_article(detail[key]) for key in ("object", "vehicle", "along") if detail.get(key)},
        "to": f"the {detail['to']}" if detail.get("to") else "",
        "pose": detail.get("pose", ""),
    }
    said = phrase("come_back" if item.again else item.what, known, manner)
    if max(fact.confidence for fact in item.facts) < HEDGED:
        said = f"seem to {said}"
    return conjugated(said, item.count) + (_stay(item, present) if manner else "")


def _stay(item: Group, present: dict[int, Instance]) -> str:
    """How long somebody was in view who goes."""
    one = present.get(item.who[0]) if item.count == 1 and item.who else None
    if one is None or item.what not in DEPARTURES or not one.continuous:
        return ""
    stay = item.start - one.first_seen
    return f" after {number(round(stay))} seconds" if STAY_LEAST_S <= stay <= STAY_MOST_S else ""
