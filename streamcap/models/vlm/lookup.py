"""Prompt-lookup decoding: guesses at the next tokens, copied from texts that the answer is likely to repeat.

A differential caption shares long spans with the caption before it. Where the last few tokens of the answer stand in
such a text, what follows them there is offered to the model, which checks all of it in one pass: tokens that it would
have chosen itself are kept, so that the answer is that of greedy decoding, only sooner. After Saxena, *Prompt Lookup
Decoding* (2023), and speculative decoding (arXiv:2211.17192).
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Lookup"]

# One token that stands elsewhere says nothing ("a", ","); three in a row seldom go on differently.
NGRAMS = (3, 2)
# A pass over nine tokens costs hardly more than over one, until the matrices no longer fit the caches.
MOST = 8
# What was guessed wrong makes the next guess shorter: this many are always tried.
LEAST = 2


class Lookup:
    """The texts that one answer may repeat, and the answer so far.

    Args:
        texts: token ids of each; the first is searched first.
    """

    def __init__(self, texts: Sequence[Sequence[int]]) -> None:
        self._sources = [_Source(text) for text in texts]
        self._answer = _Source(())
        self._length = MOST

    def add(self, token: int) -> None:
        """The answer has grown by a token."""
        self._answer.add(token)

    def guess(self, room: int) -> list[int]:
        """Tokens that may come next, ``room`` at most; empty where nothing is known."""
        most = min(self._length, room)
        if most < 1:
            return []
        for size in NGRAMS:
            if len(key := tuple(self._answer.tokens[-size:])) == size:
                for source in (*self._sources, self._answer):
                    if found := source.after(key, most):
                        return found
        return []

    def learn(self, kept: int) -> None:
        """Of the last guess so many tokens were right: the next one is made as long as that promises to pay."""
        self._length = min(MOST, max(LEAST, 2 * kept))


class _Source:
    """Tokens, and where in them each n-gram stood last with something behind it."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens: list[int] = []
        self._next: dict[tuple[int, ...], int] = {}
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        at = len(self.tokens)
        for size in NGRAMS:
            if at >= size:
                self._next[tuple(self.tokens[-size:])] = at
        self.tokens.append(token)

    def after(self, key: tuple[int, ...], most: int) -> list[int]:
        at = self._next.get(key)
        return [] if at is None else self.tokens[at : at + most]
