"""That captions do not read alike: two that do are taken for one, and soon not read at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

__all__ = ["MANNERS", "Likeness", "likeness"]

# Share of a text that stands in another (Ratcliff and Obershelp); from here on a reader takes both for the same.
SAME_TEXT = 0.88
# Ways to say a thing, the plainest first.
MANNERS = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much a text reads like others: ``ratio`` 0..1."""

    ratio: float

    @property
    def repeats(self) -> bool:
        """A reader would take it for one of them."""
        return self.ratio >= SAME_TEXT


def likeness(text: str, said: Sequence[str]) -> Likeness:
    """Compare a text with others; with none of them it has nothing in common."""
    matcher = SequenceMatcher(b=text.lower(), autojunk=False)
    best = 0.0
    for other in said:
        matcher.set_seq1(other.lower())
        if matcher.quick_ratio() > best:
            best = max(best, matcher.ratio())
    return Likeness(best)
