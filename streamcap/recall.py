"""What of all that was said is told for a question: chosen while it is read, in memory that does not grow. Pure.

The first and the newest texts, those that share words with the question, and over the whole span the most salient text
of each stretch of it: so that an answer about a week does not rest on its first hour.
"""

from __future__ import annotations

import heapq
import re
from collections import deque
from dataclasses import dataclass
from typing import Final

__all__ = ["TOLD_MOST", "Recall", "Said", "words"]

# Texts that are told at most: as many as a prompt takes. The newest ones, those that share words with the question, and
# those that stand for stretches of the span; the first one is always among them.
TOLD_MOST: Final = 60
NEWEST: Final = 16
ALIKE: Final = 18
SPREAD: Final = TOLD_MOST - NEWEST - ALIKE - 1
# Width of a stretch at first (seconds); doubled whenever there are more than SPREAD of them.
STRETCH_S: Final = 1.0

_WORD: Final = re.compile(r"[a-z]{3,}")
_ENDING: Final = re.compile(r"(ing|ed|es|s)$")
# Words of questions, which say nothing about what is asked for.
_ASKING: Final = frozenset(
    {
        *("what", "when", "where", "who", "whom", "whose", "which", "how", "many", "much", "did", "does", "was"),
        *("were", "are", "the", "and", "has", "have", "had", "been", "there", "any", "can", "could", "you", "tell"),
        *("show", "see", "seen", "for", "with", "that", "this", "then", "than", "from", "into", "about", "happen"),
        "happened",
    }
)


@dataclass(frozen=True, slots=True)
class Said:
    """A final caption.

    Attributes:
        number: of its message; they rise.
        id: of the caption.
        t: media seconds at which what it tells was over.
        saliency: 0..1.
    """

    number: int
    id: str
    t: float
    text: str
    saliency: float


class Recall:
    """Takes captions in order and keeps at most some 140 of them, whatever their number.

    Args:
        question: in the words of who asks.

    Attributes:
        taken: captions that were taken in order.
    """

    def __init__(self, question: str) -> None:
        self._asked = words(question)
        self.taken = 0
        self._first: Said | None = None
        self._newest: deque[Said] = deque(maxlen=TOLD_MOST)
        self._alike: list[tuple[int, int, Said]] = []  # a heap of words shared, number
        self._spread: dict[int, Said] = {}  # by stretch
        self._stretch_s = STRETCH_S

    def take(self, said: Said) -> None:
        """Take the next caption."""
        self.taken += 1
        self._first = self._first or said
        self._newest.append(said)
        self.find(said)
        self._put(said)
        while len(self._spread) > SPREAD:
            self._stretch_s *= 2
            kept, self._spread = list(self._spread.values()), {}
            for each in kept:
                self._put(each)

    def find(self, said: Said) -> None:
        """Take a caption out of turn, which was searched for; it is told where it shares words with the question."""
        share = len(self._asked & words(said.text))
        if not share or any(number == said.number for _, number, _ in self._alike):
            return
        heapq.heappush(self._alike, (share, said.number, said))
        if len(self._alike) > ALIKE:
            heapq.heappop(self._alike)

    def retract(self, id: str) -> None:
        """Forget a caption that was taken back. What it stood before in its stretch is not known any more."""
        if self._first is not None and self._first.id == id:
            self._first = None
        self._newest = deque((each for each in self._newest if each.id != id), TOLD_MOST)
        self._alike = [entry for entry in self._alike if entry[2].id != id]
        heapq.heapify(self._alike)
        self._spread = {key: each for key, each in self._spread.items() if each.id != id}

    def alike(self) -> list[Said]:
        """What shares words with the question, the most first; of equals the newest."""
        return [said for _, _, said in sorted(self._alike, reverse=True)]

    def chosen(self) -> list[Said]:
        """What is told, oldest first: all of it where it is no more than :data:`TOLD_MOST`."""
        if self.taken <= TOLD_MOST:
            kept = [*self._newest, *self.alike()]
        else:
            first = [self._first] if self._first is not None else []
            kept = [*first, *list(self._newest)[-NEWEST:], *self.alike(), *self._spread.values()]
        return sorted({each.number: each for each in kept}.values(), key=lambda each: each.number)

    def _put(self, said: Said) -> None:
        stretch = int(said.t // self._stretch_s)
        there = self._spread.get(stretch)
        if there is None or said.saliency > there.saliency:
            self._spread[stretch] = said


def words(text: str) -> frozenset[str]:
    """Content words, without the ends that number and time give them."""
    return frozenset(_ENDING.sub("", word) for word in _WORD.findall(text.lower()) if word not in _ASKING)
