"""Where a text contradicts what perception holds to be true: how many, what, where, which way, and whether at all.

A model may see what perception does not; saying more is no contradiction, and neither is saying less. A conflict is
something that cannot be true beside what was perceived. A false alarm takes a good text from its reader, so each rule
speaks only where the words leave one reading, and perception is sure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from streamcap.geometry import area, centre, place
from streamcap.labels import group
from streamcap.language.naming import is_named
from streamcap.language.phrases import ARRIVALS, DEPARTURES
from streamcap.language.words import noun
from streamcap.prompts.answers import InstanceNote, WindowAnswer
from streamcap.prompts.nouns import Mention, groups_of, mentions, number_of
from streamcap.prompts.perceived import Seen
from streamcap.types import Conflict, ConflictKind, Fact, Instance, Setting

__all__ = ["contradictions", "scored"]

# Kinds of instance that texts are checked for; of things a detector of eighty classes knows too little.
CHECKED = frozenset({"person", "vehicle", "animal", "bicycle"})
# From so many on perception itself only counts roughly.
COUNTED = 7
# An instance is plainly on one side where its centre lies beyond this (share of the frame), and its box no wider.
PLAIN = 0.62
WIDEST = 0.5
# Somebody smaller than this (share of the frame) may be overlooked by a reader, too.
PLAINLY_THERE = 0.01
# Where more than so many others are about, one of them may have come or gone another way, unseen by perception: the
# conflict is so much less sure. On real clips one of 262 true statements was contradicted so, and 13 false ones.
OTHERS, DOUBT = 1, 0.7
# What a fact must have, 0..1, for a model's "nothing new" to be wrong.
NEWS = 0.6
# Share of its weight that a text loses by a sure conflict.
LOSS = 0.6


def contradictions(
    answer: WindowAnswer | str,
    facts: Sequence[Fact],
    instances: Sequence[Instance],
    *,
    setting: Setting | None = None,
    full: bool = False,
) -> tuple[Conflict, ...]:
    """What of an answer contradicts perception, in the order of the text; empty where nothing does.

    Args:
        answer: structured, or its text alone.
        facts: of the window.
        instances: all that are known at its end, and those of whom the facts speak.
        setting: what kind of scene it is, as far as that is sure.
        full: the text is to tell all that is there, not only what changed.
    """
    text = answer if isinstance(answer, str) else answer.text
    seen = Seen(facts, instances)
    found = [c for clause in _clauses(text) for rule in _CLAUSE_RULES for c in rule(clause, seen)]
    found += _of_another_kind(text, seen, full=full)
    found += _setting(text, setting or Setting())
    if isinstance(answer, WindowAnswer):
        found += [c for note in answer.instances for c in _note(note, seen)]
        found += _nothing(answer, seen)
    return tuple(dict.fromkeys(found))


def scored(saliency: float, conflicts: Collection[Conflict]) -> float:
    """A caption's saliency (0..1), lowered by what contradicts it."""
    for conflict in conflicts:
        saliency *= 1.0 - LOSS * conflict.sure
    return saliency


def _clauses(text: str) -> list[str]:
    return [
        part for part in re.split(r"[.;:!?…]\s*|,\s+(?:and|but|while)\s+|\s+(?:while|whereas)\s+", text) if part.strip()
    ]


# ---- how many

_VAGUE = re.compile(
    r"\b(?:about|around|some|roughly|nearly|almost|at least|up to|more than|over|maybe|perhaps|another|or|to)\s+$"
)
_EXACTLY_ONE = re.compile(r"\b(?:only one|just one|a single|only a single)\s+(?:\w+\s+)?$")


def _counts(clause: str, seen: Seen) -> Iterator[Conflict]:
    low = clause.lower()
    for mention in mentions(clause):
        if low[mention.end : mention.end + 1] in ("'", "’"):
            continue  # two people's bags may lie there without them
        count, at = _count_before(low, mention)
        most = seen.most(mention.groups)
        if count is not None and not _VAGUE.search(low[:at]) and 1 <= most < count and most < COUNTED:
            said = clause[at : mention.end]
            yield Conflict(ConflictKind.COUNT, said, _so_many(mention, most), min(0.9, 0.5 + 0.15 * (count - most)))
        there = seen.sure(mention.groups)
        if not mention.plural and len(there) >= 2 and (one := _EXACTLY_ONE.search(low[: mention.start])):
            said = clause[one.start() : mention.end]
            yield Conflict(ConflictKind.COUNT, said, _so_many(mention, len(there)), 0.7)


def _count_before(low: str, mention: Mention) -> tuple[int | None, int]:
    """The number that counts a noun, "two", "two young", and where it begins."""
    if not mention.plural:
        return None, 0
    words = list(re.finditer(r"[a-z0-9'-]+", low[: mention.start]))
    for word in reversed(words[-3:]):
        if (count := number_of(word[0])) is not None:
            between = low[word.end() : mention.start]
            plain = not re.search(r"\b(?:of|more|other|the|to|or|and|with|by|from|at|in|on)\b|[,()%:/]", between)
            return (count, word.start()) if plain else (None, 0)
    return None, 0


def _so_many(mention: Mention, count: int) -> str:
    label = "person" if mention.groups == {"person"} else next(iter(sorted(mention.groups)))
    return f"{noun(label, count)} at most" if count else f"no {label}"


# ---- whether at all

_NONE = re.compile(
    r"\b(?:no one|nobody|no (?:people|person|persons|pedestrians|humans|men or women)|(?P<v>no (?:cars|vehicles|"
    r"traffic)))"
    r"(?: (?:is|are|can be|to be))?(?: (?:visible|present|seen|there|around|in (?:the )?(?:view|sight|frame|scene|"
    r"picture|image|"
    r"room|street|yard|shop|store))\b|\s*$)"
)
_EMPTY = re.compile(
    r"\b(?:scene|street|room|yard|place|frame|picture|view|shop|store|hall|corridor|area|square) (?:is|remains|stays|"
    r"lies) "
    r"(?:completely |entirely |now )?(?:empty|deserted)\b"
)


def _absences(clause: str, seen: Seen) -> Iterator[Conflict]:
    found = _NONE.search(clause.lower()) or _EMPTY.search(clause.lower())
    if found is None or any(fact.what in (*DEPARTURES, *ARRIVALS, "empty", "cut") for fact in seen.facts):
        return
    groups = {"vehicle"} if "v" in found.groupdict() and found["v"] else {"person"}
    there = [i for i in seen.sure(groups) if area(i.box) >= PLAINLY_THERE]
    if there:
        sure = max(i.confidence for i in there)
        yield Conflict(
            ConflictKind.ABSENCE, found[0].strip(), f"{noun(there[0].label, len(there))} in view", 0.8 * sure
        )


# ---- where

_FRAME = r"(?:frame|picture|image|scene|screen|view|video)"
_SIDE = re.compile(
    rf"\b(?:on|in|at|near) the (?:far |very )?(?P<x>left|right)(?:[- ]hand)?(?: side| edge| part| half)?"
    rf"(?=\s*(?:$|,|\)|and\b|of the {_FRAME}\b))"
)
_OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


def _places(clause: str, seen: Seen) -> Iterator[Conflict]:
    named, sides = list(mentions(clause)), list(_SIDE.finditer(clause.lower()))
    if (
        len(named) != 1
        or len(sides) != 1
        or named[0].plural
        or _IN.search(clause.lower())
        or _OUT.search(clause.lower())
    ):
        return
    if not _belongs(clause.lower(), named[0], sides[0]):
        return
    alike = seen.of(named[0].groups)
    side = sides[0]["x"]
    if len(alike) == 1 and is_named(alike[0]) and _is_opposite(alike[0], side, seen):
        yield Conflict(
            ConflictKind.PLACE,
            sides[0][0],
            f"the {alike[0].label} is at the {place(alike[0].box)}",
            0.7 * alike[0].confidence,
        )


# Between a noun and a side: that of something else, or a place of its own.
_ANOTHER = re.compile(r"\band\b|\b(?:left|right|top|bottom|centre|center|middle)\b")


def _belongs(low: str, mention: Mention, side: re.Match[str]) -> bool:
    """The side is said of the noun: "a dog on the left", and not "a dog at the top left and a chair on the right"."""
    if side.start() > mention.start:
        return not _ANOTHER.search(low[mention.end : side.start()])
    return not low[: side.start()].strip() and not _ANOTHER.search(low[side.end() : mention.start])


def _is_opposite(instance: Instance, said: str, seen: Seen) -> bool:
    """All the time plainly on the other side of the frame than was said."""
    axis, sign = (0, 1) if said in ("left", "right") else (1, 1)
    if said in seen.words(instance):
        return False
    for box in seen.places(instance):
        c = centre(box)[axis]
        c = c if said in ("left", "top") else 1.0 - c
        if c * sign < PLAIN or box[axis + 2] - box[axis] > WIDEST:
            return False
    return True


# ---- which way

_GAP = r"(?:(?!\band\b|\bthen\b)[^.;,]){0,30}?"
_SIDES = r"(?P<side>left|right|top|bottom)"
_IN = re.compile(
    rf"\b(?:enters?|entering|comes? in|coming in|arrives?|arriving|walks? in|walking in|drives? in|runs? in|steps? "
    rf"in)\b{_GAP}"
    rf"\bfrom the {_SIDES}\b"
)
_OUT = re.compile(
    rf"\b(?:leaves?|leaving|exits?|exiting|goes out|go out|walks? (?:out|off)|drives? (?:out|off)|runs? (?:out|"
    rf"off))\b{_GAP}"
    rf"\b(?:to|on|at|by|towards?|through) the {_SIDES}\b(?! of (?!the {_FRAME}))"
)
_COMES = re.compile(
    rf"\b(?:enters?|entering) (?:from the (?:left|right)|the {_FRAME})\b|\b(?:comes?|coming) (?:into view|into the "
    rf"{_FRAME})\b"
)
_GOES = re.compile(
    rf"\b(?:leaves?|leaving|exits?|exiting) (?:to the (?:left|right)|the {_FRAME})\b|\bout of (?:view|sight|the "
    rf"{_FRAME})\b"
)
_TURN = re.compile(r"\bturns? (?:to the |towards the )?(?P<side>left|right)\b")
_CAMERA = re.compile(
    r"\bcamera (?:slowly |quickly |smoothly )?(?:pans?|turns?|swings?) (?:to(?:wards)? the )?(?P<side>left|right)\b"
)
_TILT = re.compile(r"\bcamera (?:slowly |quickly )?tilts? (?:to the )?(?P<side>up|down)")
_ZOOM = re.compile(r"\bcamera (?:slowly |quickly )?zooms? (?P<side>in|out)\b")


def _directions(clause: str, seen: Seen) -> Iterator[Conflict]:
    low, named = clause.lower(), _groups(mentions(clause))
    groups = named or CHECKED
    for pattern, what in ((_IN, "enter"), (_OUT, "leave"), (_TURN, "turn")):
        if (found := pattern.search(low)) is not None:
            if not named and any(f.what == what and f.where == found["side"] for f in seen.facts):
                continue  # without a noun that is understood it may be about whatever did just that, a chair too
            facts = [f for f in seen.did((what,), groups) if f.where]
            others = len(seen.of(groups)) - len({who for f in facts for who in f.who})
            yield from _other_way(found, facts, doubt=DOUBT if others > OTHERS else 1.0)
    for pattern, what in ((_CAMERA, "pan"), (_TILT, "tilt"), (_ZOOM, "zoom")):
        if (found := pattern.search(low)) is not None:
            yield from _other_way(found, [f for f in seen.facts if f.what == what])
    for pattern, other, done, undone in ((_COMES, _GOES, DEPARTURES, ARRIVALS), (_GOES, _COMES, ARRIVALS, DEPARTURES)):
        found = pattern.search(low)
        mine = seen.did(done, groups)
        if found is None or other.search(low) or not mine or seen.did(undone, groups) or groups == CHECKED:
            continue
        if len(seen.of(groups)) == 1:  # with others about, one of them may have
            yield Conflict(ConflictKind.DIRECTION, found[0], _told(mine[0]), 0.7 * mine[0].confidence)


_REVERSED = {**_OPPOSITE, "up": "down", "down": "up", "in": "out", "out": "in"}


def _other_way(found: re.Match[str], facts: Sequence[Fact], *, doubt: float = 1.0) -> Iterator[Conflict]:
    """All facts that may be meant go the opposite way."""
    if facts and all(fact.where == _REVERSED[found["side"]] for fact in facts):
        sure = 0.85 * doubt * max(fact.confidence for fact in facts)
        yield Conflict(ConflictKind.DIRECTION, found[0], _told(facts[0]), sure)


def _told(fact: Fact) -> str:
    return " ".join(word for word in (fact.label, fact.what.replace("_", " "), fact.where) if word)


# ---- what

_DENIED = re.compile(r"\b(?:no|without|not any|neither) (?:[\w-]+ )?(?:[\w-]+,? (?:or|nor) )?$")


def _spoken_of(text: str) -> list[Mention]:
    """Whom and what the text says to be there: not the people of "no people or vehicles are in view"."""
    low = text.lower()
    return [mention for mention in mentions(text) if not _DENIED.search(low[: mention.start])]


def _groups(named: Iterable[Mention]) -> frozenset[str]:
    """All that the nouns may stand for."""
    return frozenset[str]().union(*(mention.groups for mention in named))


def _of_another_kind(text: str, seen: Seen, *, full: bool) -> Iterator[Conflict]:
    """All that the text is about is of kinds that are not there, and what was perceived is of others."""
    did = [f for f in seen.facts if f.who and group(f.label) in CHECKED]
    if full and not did:
        yield from _overlooked(text, seen)
        return
    said = _spoken_of(text)
    groups = _groups(said)
    about = {group(f.label) for f in did}
    there = {group(i.label) for i in seen.known.values()}
    if not did or not groups or _near(groups, about) or _near(groups, there) or "object" in there:
        return
    sure = max((seen.known[w].confidence for f in did for w in f.who if w in seen.known), default=0.0)
    if sure >= NEWS:
        yield Conflict(ConflictKind.LABEL, said[0].word, _told(did[0]), 0.9 * sure)


def _overlooked(text: str, seen: Seen) -> Iterator[Conflict]:
    """A full text speaks of living things and vehicles, and of none that is plainly there."""
    said = _spoken_of(text)
    there = [i for i in seen.sure(CHECKED) if area(i.box) >= PLAINLY_THERE]
    groups = _groups(said)
    perceived = {group(i.label) for i in seen.known.values()}
    if said and there and not _near(groups, perceived) and "object" not in perceived:
        largest = max(there, key=lambda i: area(i.box))
        yield Conflict(ConflictKind.LABEL, said[0].word, noun(largest.label), 0.7 * largest.confidence)


def _near(said: Collection[str], perceived: Collection[str]) -> bool:
    """Some of the groups are the same, or taken for each other by anyone: a bicycle for a motorcycle."""
    wheels = {"vehicle", "bicycle"}
    return bool(set(said) & set(perceived)) or bool(wheels & set(said) and wheels & set(perceived))


def _note(note: InstanceNote, seen: Seen) -> Iterator[Conflict]:
    instance = seen.known.get(note.id)
    if instance is None:
        yield Conflict(ConflictKind.IDENTITY, f"#{note.id}", "there is no such instance", 0.9)
        return
    groups = groups_of(note.label)
    if (
        groups
        and is_named(instance)
        and group(instance.label) in CHECKED
        and not _near(groups, {group(instance.label)})
    ):
        yield Conflict(
            ConflictKind.LABEL, f"#{note.id} {note.label}", f"#{note.id} {instance.label}", 0.9 * instance.confidence
        )
    for side in note.position.split():
        if side in _OPPOSITE and instance.visible and _is_opposite(instance, side, seen):
            yield Conflict(ConflictKind.PLACE, f"#{note.id} {note.position}", f"#{note.id} {place(instance.box)}", 0.7)


def _nothing(answer: WindowAnswer, seen: Seen) -> Iterator[Conflict]:
    news = [f for f in seen.facts if f.saliency >= NEWS and f.confidence >= NEWS]
    if answer.nothing_new and not answer.text and news:
        yield Conflict(ConflictKind.ABSENCE, "nothing new", _told(news[0]), 0.9 * news[0].confidence)


# ---- the scene

_SETTINGS = (
    ("light", "day", re.compile(r"\bat night\b|\bnight-?time\b")),
    ("light", "night", re.compile(r"\bin (?:broad )?daylight\b|\bby day\b|\bdaytime\b|\bsunny\b|\bsunlit\b")),
    ("space", "indoor", re.compile(r"\boutdoors\b|\bon (?:the|a) (?:street|road|highway|motorway)\b")),
    ("space", "outdoor", re.compile(r"\bindoors\b|\bin (?:the|a) (?:living room|kitchen|bedroom|office|bathroom)\b")),
)


def _setting(text: str, setting: Setting) -> Iterator[Conflict]:
    for name, value, pattern in _SETTINGS:
        found = pattern.search(text.lower())
        if found is not None and getattr(setting, name) == value:
            yield Conflict(ConflictKind.SETTING, found[0], value, 0.6)


_CLAUSE_RULES = (_counts, _absences, _places, _directions)
