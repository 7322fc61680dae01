"""Which sense is missing where an event was missed or something false was said.

For each case the first sense, in the order of the work, that had nothing right to hand on is named. This is evidence,
not proof: the truth has no boxes, so that in a crowd "a person was detected" may be about somebody else, and what the
detector misses there is put down to a later sense. substitution.py measures what can be measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from benchmarks.captioning.recording import Recording
from benchmarks.captioning.scoring import AFTER_S, BEFORE_S, Judged, Statement, TruthEvent, fact_line, scorer
from benchmarks.captioning.substitution import KINDS
from streamcap.language import describe_change
from streamcap.types import Observation

__all__ = ["MEANING", "Case", "Cause", "false_statements", "missed_events"]

# A statement that holds of an event this far away (seconds) is true at the wrong time.
LATE_S = 12.0
# Actors that no detector looks for.
SCENE = {"scene", "camera"}
# Where the truth has another name for a kind of fact.
NAMES = {"start_moving": "start", "light_change": "light"}


class Cause(StrEnum):
    """The sense that failed, in the order of the work."""

    CAMERA = "camera or light"
    DETECTOR = "detector"
    LABEL = "label"
    TRACKING = "tracking"
    NO_RULE = "no rule"
    RULE = "rule"
    TIME = "time"
    LANGUAGE = "language"


MEANING = {
    Cause.CAMERA: "no reading of the picture as a whole tells it",
    Cause.DETECTOR: "nothing of the kind was detected near that time, nor anything taken for it",
    Cause.LABEL: "something was there or acted, under the wrong noun",
    Cause.TRACKING: "it was detected and never became an instance, or one instance stands for several",
    Cause.NO_RULE: "the actor was followed, and no rule knows the action",
    Cause.RULE: "the actor was followed, and the rule for the action did not see it, or saw it where it was not",
    Cause.TIME: "it is true of an event more than the scorer's tolerance away",
    Cause.LANGUAGE: "a fact says it and no sentence does, or a sentence says what no fact does",
}


@dataclass(frozen=True, slots=True)
class Case:
    """Something that went wrong.

    Attributes:
        text: the event, or the statement, for a person.
        why: the evidence, in words.
    """

    clip: str
    t: float
    text: str
    cause: Cause
    why: str


def missed_events(recording: Recording, judged: Judged, *, salient: bool = True) -> list[Case]:
    """A case for each (salient) event that no message told."""
    return [
        Case(recording.clip, event.start, f"{event.who} {event.what}", *_why_missed(recording, judged, event))
        for event in judged.events
        if event.found_by is None and (event.salient or not salient)
    ]


def _why_missed(recording: Recording, judged: Judged, event: TruthEvent) -> tuple[Cause, str]:
    rules = scorer()
    kinds = _fact_claims(recording, event)
    if any(rules.fits(claim, event.raw) for claim, _ in kinds):
        return _told_or_shared(judged, event)
    if event.who in SCENE:
        return Cause.CAMERA, "no fact about the picture as a whole"
    if wrong := [what for claim, what in kinds if rules.fits((frozenset(), *claim[1:]), event.raw)]:
        return Cause.LABEL, f"a fact “{wrong[0]}” was there, about something else"
    frames = [i for i, s in enumerate(recording.seen) if event.start - BEFORE_S <= s.pts <= event.end + AFTER_S]
    labels = {i.label for f in frames for i in recording.seen[f].instances if i.visible}
    if any(rules.alike(label, event.who) for label in labels - {"object"}):
        if not any(NAMES.get(what, what) in KINDS for what in (event.what, *event.raw.get("also", ()))):
            return Cause.NO_RULE, f"no kind of fact is for “{event.what}”"
        return Cause.RULE, f"“{event.what}” was not seen of what was followed"
    best: dict[str, float] = {}
    for label, score in (pair for f in frames for pair in recording.detected[f]):
        best[label] = max(score, best.get(label, 0.0))
    if seen := {label: score for label, score in best.items() if rules.alike(label, event.who)}:
        label = max(seen, key=seen.__getitem__)
        return Cause.TRACKING, f"{label} detected with {seen[label]:.2f}, and no instance of it"
    if labels:
        return Cause.LABEL, f"followed at that time: {', '.join(sorted(labels))}"
    return Cause.DETECTOR, "nothing followed" + (f"; detected: {', '.join(sorted(best))}" if best else "")


def _told_or_shared(judged: Judged, event: TruthEvent) -> tuple[Cause, str]:
    told = [
        s for s in judged.statements
        if any(scorer().fits((who, action, 1), event.raw) for who, action, _ in s.claims)
        and s.end >= event.start - BEFORE_S and s.start <= event.end + AFTER_S
    ]  # fmt: skip
    if told:
        return Cause.TRACKING, "what was said of it tells another event: one instance for two"
    return Cause.LANGUAGE, "a fact was there, and no message"


def _fact_claims(recording: Recording, event: TruthEvent) -> list[tuple[tuple[frozenset[str], str, int], str]]:
    found = []
    for seen, line, what in _lines(recording):
        if seen.pts >= event.start - BEFORE_S and line.near(event.raw, BEFORE_S, AFTER_S):
            found += [(claim, what) for claim in line.claims]
    return found


def _lines(recording: Recording) -> Iterator[tuple[Observation, Any, str]]:
    for seen in recording.seen:
        for fact in seen.facts:
            text = describe_change([fact], seen.instances).text or fact.what
            yield seen, fact_line(fact, seen.instances, text), fact.what


def false_statements(recording: Recording, judged: Judged) -> list[Case]:
    """A case for each message that says something false; its first false claim decides."""
    return [
        Case(recording.clip, s.end, s.text, *_why_false(recording, judged, s)) for s in judged.statements if s.wrong
    ]


def _why_false(recording: Recording, judged: Judged, said: Statement) -> tuple[Cause, str]:
    rules = scorer()
    false = [(who, action, 1) for who, action, true in said.claims if not true]
    if said.invented and not false:
        return Cause.LABEL, f"there is no {said.invented[0]} in this clip"
    true_of = [*judged.truth["events"], *judged.truth.get("also_true", ())]
    near = [e for e in true_of if said.end >= e["t0"] - BEFORE_S and said.start <= e["t1"] + AFTER_S]
    claim = false[0]
    acts = [e for e in near if rules.fits((frozenset(), *claim[1:]), e, lenient=True)]
    if said.invented or acts:
        nameless = "; who did it was not named" if claim[0] == {"object"} else ""
        why = f"{acts[0]['who']} was noted{nameless}" if acts else f"there is no {said.invented[0]} in this clip"
        return Cause.LABEL, why
    off = [
        min(abs(said.end - e["t0"]), abs(said.start - e["t1"])) for e in true_of if rules.fits(claim, e, lenient=True)
    ]
    if off and min(off) <= LATE_S:
        return Cause.TIME, f"true of an event {min(off):.0f} s away"
    facts = {what for seen, line, what in _lines(recording) for c in line.claims if c[1] == claim[1]
             and seen.pts >= said.start - 1 and line.start <= said.end + 1}  # fmt: skip
    if said.kind == "caption" and not facts:
        return Cause.LANGUAGE, f"no fact says “{claim[1]}”"
    return Cause.RULE, f"“{', '.join(sorted(facts)) or claim[1]}” was seen where nothing of the kind happened"
