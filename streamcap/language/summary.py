"""Summaries: differences folded into numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from streamcap.labels import MOVERS
from streamcap.language.naming import NAME_SURE, is_named
from streamcap.language.phrases import ARRIVALS, DOUBTED, HEDGED, SUMMARY, SUMMARY_SCENE
from streamcap.language.words import conjugated, listing, noun, plural, times
from streamcap.types import Fact, Instance

__all__ = ["Tally", "summarise"]

# Things that do not go about by themselves and were there for this long (seconds) say what sort of place it is.
THING_SEEN_S = 1.5
MAX_THINGS = 4
# What has no name is not counted, and the camera's own drive is none of what it sees.
NOBODY = ("object", "camera")


class Tally:
    """Folds differences into numbers for a summary; constant size whatever the length of the stream."""

    def __init__(self, start: float = 0.0) -> None:
        self.start = start
        self._done: Counter[tuple[str, str]] = Counter()
        self._most: Counter[str] = Counter()
        self._things: Counter[str] = Counter()

    def add(self, facts: Iterable[Fact], instances: Iterable[Instance]) -> None:
        """Take in one window."""
        for fact in facts:
            if fact.confidence < HEDGED and fact.what not in DOUBTED:
                continue  # what was only said to seem so is not counted as done
            again = fact.what in ARRIVALS and fact.detail.get("again")  # the same one is not counted as another
            self._done["come_back" if again else fact.what, fact.label] += max(1, len(fact.who))
        in_view = Counter(i.label for i in instances if i.visible and i.confidence >= NAME_SURE and i.label in MOVERS)
        there = Counter(
            i.label
            for i in instances
            if i.label not in MOVERS and i.last_seen - i.first_seen >= THING_SEEN_S and is_named(i)
        )
        self._things |= there
        for label, count in in_view.items():
            self._most[label] = max(self._most[label], count)

    def clauses(self) -> list[str]:
        """What happened, most telling first."""
        lines = []
        for what, verb in SUMMARY.items():
            who = [(label, n) for (w, label), n in sorted(self._done.items()) if w == what and label not in NOBODY]
            if who:
                total = sum(n for _, n in who)
                lines.append(f"{listing([noun(*each) for each in who])} {conjugated(verb, total)}")
        if peak := [noun(label, n) for label, n in self._most.most_common(2) if n > 1]:
            lines.append(f"at most {listing(peak)} are in view at once")
        for what, clause in SUMMARY_SCENE.items():
            count = sum(n for (w, _), n in self._done.items() if w == what)
            if count:
                lines.append(f"{clause} {times(count)}")
        told = {label for _, label in self._done}  # what was carried about is no part of the place
        things = [noun(k) if n == 1 else plural(k) for k, n in sorted(self._things.items()) if k not in told]
        if lines and things:
            lines.append(f"also in view: {listing(things[:MAX_THINGS])}")
        return lines


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
