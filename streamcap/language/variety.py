"""That captions do not read alike: two that do are taken for one, and soon not read at all."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

__all__ = ["MANNERS", "SAME_TEXT", "likeness"]

# Share of a text that stands in another (Ratcliff and Obershelp); from here on a reader takes both for the same.
SAME_TEXT = 0.88
# Ways to say a thing, the plainest first.
MANNERS = (0, 1, 2, 3)


def likeness(text: str, said: Sequence[str]) -> float:
    """How much a text reads like the one of others that it is most like, 0..1; 0 where there are none."""
    matcher = SequenceMatcher(b=text.lower(), autojunk=False)
    best = 0.0
    for other in said:
        matcher.set_seq1(other.lower())
        if matcher.quick_ratio() > best:
            best = max(best, matcher.ratio())
    return best
