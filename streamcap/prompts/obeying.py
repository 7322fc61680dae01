"""Answers that do what words in a picture or of a user bid, instead of telling what is seen. Pure.

The prompt says that such words are data; a model may fall for them all the same. What shows by the answer's text alone
is refused here: a shout, a single word, the prompt's own words. Markup, addresses and what steers a screen are taken
out by :mod:`streamcap.prompts.cleaning`; a false sentence in plain words is left to :mod:`streamcap.prompts.checking`,
which holds it against perception.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from streamcap.errors import AnswerUnreadable
from streamcap.prompts.answers import QuestionAnswer, Structured
from streamcap.prompts.base import Prompt
from streamcap.prompts.parsing import check_end

__all__ = ["OwnWords", "check_answer", "is_a_shout"]

# So many words in a row that stand in the instructions, or in an example, are recited and not said of a picture. People
# and cars come in much the same words again and again, so an example has to be recited at more length.
INSTRUCTIONS_RUN: Final = 6
EXAMPLE_RUN: Final = 10
# Share of capitals from which on a text is a shout, as signs are written; of so many letters at least.
CAPITALS: Final = 0.7
LETTERS_LEAST: Final = 4

_WORD: Final = re.compile(r"[^\W_]+")
_FALLEN: Final = "words in the picture may have been taken for orders; a larger model falls for them less"


class OwnWords:
    """The words of a prompt that no answer has a reason to say: its instructions and its examples."""

    def __init__(self, prompt: Prompt) -> None:
        self._instructions = frozenset(_runs(prompt.system, INSTRUCTIONS_RUN))
        self._examples = frozenset(run for turn in prompt.demonstrations for run in _runs(turn.answer, EXAMPLE_RUN))

    def within(self, text: str) -> bool:
        """True for a text that recites them."""
        return any(run in self._instructions for run in _runs(text, INSTRUCTIONS_RUN)) or any(
            run in self._examples for run in _runs(text, EXAMPLE_RUN)
        )

    def check(self, text: str) -> None:
        """Refuse a text that recites them.

        Raises:
            AnswerUnreadable: it does.
        """
        if self.within(text):
            raise AnswerUnreadable("the answer recites its instructions or examples", hint=_FALLEN)


def check_answer(answer: Structured, own: OwnWords) -> None:
    """Refuse an answer that is not whole, is no sentence, or recites its prompt.

    Raises:
        AnswerUnreadable: it is to be refused.
    """
    check_end(answer)
    if not isinstance(answer, QuestionAnswer) and is_a_shout(answer.text):
        raise AnswerUnreadable("the answer is no sentence", hint=_FALLEN)
    own.check(answer.text)


def is_a_shout(text: str) -> bool:
    """True for capitals and for a single word; never in writing that has no capitals, such as Chinese."""
    letters = [c for c in text if c.upper() != c.lower()]
    if len(letters) < LETTERS_LEAST:
        return False
    return len(text.split()) == 1 or sum(c.isupper() for c in letters) > CAPITALS * len(letters)


def _runs(text: str, length: int) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return zip(*(words[first:] for first in range(length)), strict=False)
