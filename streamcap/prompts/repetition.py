"""That nothing is said twice: in the next text, and inside of one.

A window opens only where something happened, so most repetition is avoided before a model is asked. NanoLLM drops a
text from a likeness of 0.25 on; nine tenths of the true captions of real clips are as like as that to one of the half
minute before. What differs in one word may be the news: *another* person, to the *right*, stands *up*. See
docs/decisions/030-answers.md for how this measure was chosen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["likeness", "repeats", "unlooped"]

# Share of the words in common from which on the second text says nothing new: at most one word in seven is another.
SAME = 0.85
# Who says a thing this often in a row is caught in a loop.
LOOP = 3
LONGEST_LOOP = 12  # words

_WORD = re.compile(r"[a-z]+|\d+")
_ENDING = re.compile(r"(?<=[a-z]{3})(?:ing|ed|es|s)$")
# Words without which a text says the same. Those for sides, ways, numbers and "not" are none of them.
_EMPTY = frozenset(
    [
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
        "has",
        "have",
        "is",
        "it",
        "its",
        "of",
        "so",
        "that",
        "the",
        "their",
        "there",
        "then",
        "this",
        "was",
        "were",
        "wearing",
        "which",
        "while",
        "who",
        "with",
        "still",
        "now",
        "just",
        "also",
        "side",
        "can",
        "seen",
        "he",
        "she",
        "they",
        "his",
        "her",
    ]
)


def likeness(text: str, other: str) -> float:
    """Share of the words, without endings, that two texts have in common (Jaccard), 0..1; 1 for two without any."""
    a, b = _words(text), _words(other)
    return len(a & b) / len(a | b) if a | b else 1.0


def repeats(text: str, said: Sequence[str]) -> bool:
    """A text says what one of those before said.

    Args:
        said: texts of the last half minute, as in :attr:`streamcap.types.Window.said`.
    """
    return any(likeness(text, other) >= SAME for other in said)


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


def _words(text: str) -> frozenset[str]:
    """Words that tell something, without endings: ``walking`` and ``walks`` are ``walk``; doubled letters are one."""
    found = (_ENDING.sub("", word) for word in _WORD.findall(text.lower()) if word not in _EMPTY)
    return frozenset(re.sub(r"([a-z])\1$", r"\1", word) for word in found)
