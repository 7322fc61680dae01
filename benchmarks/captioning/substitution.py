"""The truth in the place of a sense: what is found when that sense makes no mistakes.

The truth has events with their times and actors, but no boxes. So it can stand in for labels (the noun of who acts) and
for facts (everything that perception says); detections, tracks and poses cannot be replaced, and what they cost is told
from the chain of evidence instead (causes.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache

from benchmarks.captioning.recording import Recording, Refit
from benchmarks.captioning.scoring import AFTER_S, BEFORE_S, Truth, fact_line, scorer
from streamcap.facts import SALIENCY
from streamcap.language import describe_change
from streamcap.language.phrases import SCENE, VERBS
from streamcap.types import Fact, Instance, Observation, Skill

__all__ = ["KINDS", "fact_for", "with_true_facts", "with_true_labels", "without"]

# Kinds of fact that a rule may yield and language can say.
KINDS = tuple(what for what in SALIENCY if what in VERBS or what in SCENE)
# Ids of actors that the truth adds; no recorded one comes near.
FIRST_ID = 1_000_000
# A rule is sure of what it sees about this long (seconds) after it begins.
SURE_S = 0.6
# Where an actor of the truth is put: it has no box.
SOMEWHERE = (0.4, 0.4, 0.6, 0.6)


def with_true_labels(truth: Truth) -> Refit:
    """Who acts is called what it is, wherever it was seen to act at its time; what cannot be there has no name."""
    known = {*truth.get("objects", ()), *(e["who"] for e in truth["events"])}

    def refit(seen: Observation) -> Observation:
        named: dict[int, str] = {}
        facts = []
        for fact in seen.facts:
            label = _true_label(fact, seen, truth)
            named |= dict.fromkeys(fact.who, label) if label else {}
            facts.append(replace(fact, label=label) if label else fact)
        instances = tuple(_renamed(each, named.get(each.id), known) for each in seen.instances)
        return replace(seen, facts=tuple(facts), instances=instances)

    return refit


def _true_label(fact: Fact, seen: Observation, truth: Truth) -> str:
    """The actor of the event that a fact is about, where the fact gets the actor wrong; else empty."""
    if not fact.who:
        return ""
    rules = scorer()
    line = fact_line(fact, seen.instances, describe_change([fact], seen.instances).text or fact.what)
    for who, action, count in line.claims:
        nearby = [e for e in truth["events"] if line.near(e, BEFORE_S, AFTER_S)]
        acts = [e for e in nearby if rules.fits((frozenset(), action, count), e)]
        if acts and not any(rules.who_fits(who, e) for e in acts):
            return str(acts[0]["who"])
    return ""


def _renamed(instance: Instance, label: str | None, known: set[str]) -> Instance:
    if label:
        return replace(instance, label=label, confidence=1.0)
    if instance.label != "object" and not any(scorer().alike(instance.label, each) for each in known):
        return replace(instance, label="object", attributes=())
    return instance


def with_true_facts(truth: Truth, recording: Recording) -> Refit:
    """Every event of the truth that language has words for, at its time, by the right kind of actor; nothing else."""
    waiting = sorted(_true_facts(truth), key=lambda pair: pair[0].end)
    last = recording.seen[-1].pts

    def refit(seen: Observation) -> Observation:
        facts, instances = [], []
        while waiting and (waiting[0][0].end <= seen.pts or seen.pts == last):
            fact, actor = waiting.pop(0)
            facts.append(replace(fact, end=min(fact.end, seen.pts)))
            instances.append(actor)
        there = tuple(actor for actor in instances if actor is not None)
        return replace(seen, facts=tuple(facts), instances=there)

    return refit


def _true_facts(truth: Truth) -> Iterator[tuple[Fact, Instance | None]]:
    for number, event in enumerate(truth["events"], start=FIRST_ID):
        what = fact_for(event)
        if what is None:
            continue
        fact = _fact(what, event["who"], event["t0"], event["t0"] + SURE_S, number)
        actor = Instance(number, event["who"], 1.0, SOMEWHERE, (0, 0), event["t0"], event["t1"])
        yield fact, actor if fact.who else None


def fact_for(event: Mapping[str, object]) -> str | None:
    """The kind of fact that tells an event of the truth; None where no rule and no phrase is for it."""
    kinds = sorted(KINDS, key=lambda what: what != event["what"])
    return next((what for what in kinds if _tells(what, str(event["who"]), event)), None)


def _tells(what: str, who: str, event: Mapping[str, object]) -> bool:
    return any(scorer().fits(claim, event) for claim in _claims(what, who))


@cache
def _claims(what: str, who: str) -> tuple[tuple[frozenset[str], str, int], ...]:
    fact = _fact(what, who, 0.0, 1.0, FIRST_ID)
    actor = (Instance(FIRST_ID, who, 1.0, SOMEWHERE, (0, 0), 0.0, 1.0),) if fact.who else ()
    return tuple(fact_line(fact, actor, describe_change([fact], actor).text).claims)


def _fact(what: str, who: str, start: float, end: float, number: int) -> Fact:
    if what in SCENE:
        place = next(iter(SCENE[what]))
        return Fact(what, start, end, 1.0, Skill.CAMERA, where=place, saliency=SALIENCY[what])
    return Fact(what, start, end, 1.0, Skill.ACTION, (number,), who, "", SALIENCY[what], (SOMEWHERE,))


def without(what: str) -> Refit:
    """All facts but those of one kind."""
    return lambda seen: replace(seen, facts=tuple(fact for fact in seen.facts if fact.what != what))
