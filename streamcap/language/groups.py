"""Facts that one clause says, in the order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from streamcap.language.phrases import ARRIVALS, DEPARTURES
from streamcap.types import Fact

__all__ = ["Group", "grouped"]


@dataclass(frozen=True, slots=True)
class Group:
    """Facts that one clause says."""

    what: str
    label: str
    where: str
    facts: tuple[Fact, ...]

    @property
    def count(self) -> int:
        """How many it is about; 1 for the scene and the camera."""
        return max(1, len({who for fact in self.facts for who in fact.who}))

    @property
    def again(self) -> bool:
        """Who comes was there before."""
        return all(fact.detail.get("again") for fact in self.facts)

    @property
    def who(self) -> tuple[int, ...]:
        """Ids of those it is about, each once."""
        return tuple(dict.fromkeys(who for fact in self.facts for who in fact.who))

    @property
    def saliency(self) -> float:
        """The largest of its facts, 0..1."""
        return max(fact.saliency for fact in self.facts)

    @property
    def start(self) -> float:
        """Media seconds at which the first of its facts began."""
        return min(fact.start for fact in self.facts)


def grouped(facts: Sequence[Fact]) -> list[Group]:
    """Facts of one kind, class and place together; groups in the order of time.

    Who comes does so before all else, though a deed may be dated before the arrival was noticed.
    """

    def key(fact: Fact) -> tuple[str, ...]:
        return fact.what, fact.label, fact.where, *(word for item in sorted(fact.detail.items()) for word in item)

    merged = []
    for _, some in groupby(sorted(facts, key=key), key=key):
        alike = tuple(some)
        merged.append(Group(alike[0].what, alike[0].label, alike[0].where, alike))
    last_gone = max((item.start for item in merged if item.what in DEPARTURES), default=0.0)

    def when(item: Group) -> tuple[float, bool, bool, float]:
        """Order of time; a scene is empty once the last one has gone."""
        empty, comes = item.what == "empty", item.what in ARRIVALS
        start = _came(item, facts) if comes else item.start
        return max(start, last_gone) if empty else start, empty, not comes, -item.saliency

    return sorted(merged, key=when)


def _came(item: Group, facts: Sequence[Fact]) -> float:
    """When those of an arrival came, at the latest: before the first that they did, unless they were there and went."""
    own = [fact for fact in facts if set(fact.who) & set(item.who)]
    if item.again or any(fact.what in DEPARTURES and fact.start < item.start for fact in own):
        return item.start
    return min((fact.start for fact in own), default=item.start)
