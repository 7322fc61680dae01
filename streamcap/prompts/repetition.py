"""That nothing is said twice: before a model is asked, after it has answered, and inside of one text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from streamcap.language import describe_change
from streamcap.types import Fact, Instance

__all__ = ["is_told", "likeness", "repeats", "unlooped"]

# Share of the content words that two texts have in common, from which on the second says nothing new.
SAME = 0.8
# Who says a thing this often in a row is caught in a loop.
LOOP = 3
LONGEST_LOOP = 12  # words

_WORD = re.compile(r"[a-z0-9']+")
# Words without which a text says the same.
_EMPTY = frozenset(
    (
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "been",
        "being",
        "by",
        "for",
        "from",
        "has",
        "have",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "so",
        "that",
        "the",
        "their",
        "there",
        "then",
        "this",
        "to",
        "was",
        "were",
        "which",
        "while",
        "who",
        "with",
        "still",
        "now",
        "just",
        "again",
        "some",
    )
)


def likeness(text: str, other: str) -> float:
    """Share of content words in common (Jaccard), 0..1; two texts without any are alike."""
    a, b = _content(text), _content(other)
    return len(a & b) / len(a | b) if a | b else 1.0


def repeats(text: str, said: Sequence[str]) -> bool:
    """A text says what one of those before said.

    Args:
        said: texts of the last half minute, as in :attr:`streamcap.types.Window.said`.
    """
    return any(likeness(text, other) >= SAME for other in said)


def is_told(facts: Sequence[Fact], instances: Sequence[Instance], said: Sequence[str]) -> bool:
    """All that a window's facts say stands in what was said: a model need not be asked. False where there are none."""
    sentences = [describe_change([fact], instances).text for fact in facts]
    return bool(facts) and all(any(_within(s, other) for other in said) for s in sentences)


def unlooped(text: str) -> str:
    """A text cut off where it begins to say the same few words over and over."""
    words = text.split()
    for start in range(len(words)):
        for length in range(1, min(LONGEST_LOOP, (len(words) - start) // LOOP) + 1):
            unit = words[start : start + length]
            again = (words[start + length * i : start + length * (i + 1)] for i in range(1, LOOP))
            if all(part == unit for part in again):
                return " ".join(words[: start + length])
    return text


def _within(sentence: str, other: str) -> bool:
    words = _content(sentence)
    return len(words & _content(other)) >= SAME * len(words)


def _content(text: str) -> frozenset[str]:
    return frozenset(word for word in _WORD.findall(text.lower()) if word not in _EMPTY)
