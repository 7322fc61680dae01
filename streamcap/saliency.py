"""How much a viewer would want to know: what is rare on this stream is worth more than what happens all day.

The facts' own saliency is class × kind × size (``facts/scene.py``); here comes novelty and rarity on the stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from streamcap.types import Fact

__all__ = ["SALIENT", "Rarity"]

# From here on a fact is told whatever else happens, and however often it happened before.
SALIENT = 0.6
# A count of what happened halves in this time (media seconds): a street's rush hour is forgotten by noon.
HALF_LIFE_S = 600.0
# Each doubling of that count takes this much away, down to the least; a fact stays worth at least that share.
STEP = 0.06
LEAST = 0.7
# Something never seen before on a stream that has been watched for a while (media seconds) is news.
KNOWN_AFTER_S = 300.0
NEWS = 1.2
# Kinds of fact that are counted; a viewer who is used to more does not exist.
KINDS = 512


class Rarity:
    """Counts what happens on one stream, bounded, and rates facts by it."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], tuple[float, float]] = {}  # (count, media seconds of the last one)
        self._began: float | None = None

    def rated(self, facts: Iterable[Fact], pts: float) -> tuple[Fact, ...]:
        """Facts of one frame with their saliency (0..1) weighed by how usual their kind is; then they are counted.

        Args:
            pts: media seconds, not falling from call to call.
        """
        if self._began is None:
            self._began = pts
        rated = []
        for fact in facts:  # the second of a kind in one frame is as usual as in the next
            rated.append(replace(fact, saliency=self._weighed(fact, pts)))
            self._count((fact.what, fact.label), self._so_far(fact, pts) + 1.0, pts)
        return tuple(rated)

    def weighed(self, facts: Iterable[Fact], pts: float) -> tuple[Fact, ...]:
        """The same for facts that may not come true: they are not counted."""
        return tuple(replace(fact, saliency=self._weighed(fact, pts)) for fact in facts)

    def _so_far(self, fact: Fact, pts: float) -> float:
        known = self._counts.get((fact.what, fact.label))
        return known[0] * 0.5 ** ((pts - known[1]) / HALF_LIFE_S) if known is not None else 0.0

    def _weighed(self, fact: Fact, pts: float) -> float:
        count = self._so_far(fact, pts)
        if (fact.what, fact.label) not in self._counts:
            watched = self._began is not None and pts - self._began >= KNOWN_AFTER_S
            return min(1.0, fact.saliency * NEWS) if watched else fact.saliency
        weighed = fact.saliency * max(LEAST, 1.0 - STEP * math.log2(1.0 + count))
        return max(weighed, SALIENT) if fact.saliency >= SALIENT else weighed

    def _count(self, key: tuple[str, str], count: float, pts: float) -> None:
        if key not in self._counts and len(self._counts) >= KINDS:
            rarest = min(self._counts, key=lambda k: self._counts[k])
            del self._counts[rarest]
        self._counts[key] = count, pts
