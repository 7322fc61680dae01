"""From a prompt to the words of its answer, on the thread that owns the model.

Greedy decoding with savings, none of which changes the answer: what is known of the prompt is not read again, tokens
that the answer is likely to repeat are checked several at a time, and what a schema fixes is not asked for one by one.
See docs/decisions/032-vlm-runner.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from streamcap.errors import PromptTooLong
from streamcap.models.language import Piece, Usage
from streamcap.models.vlm.chat import Chat, Tokens
from streamcap.models.vlm.families import Family
from streamcap.models.vlm.grammar import Choice, FreeText, Grammars
from streamcap.models.vlm.lookup import Lookup
from streamcap.models.vlm.reader import Cancelled, Reader, Savings, Work
from streamcap.models.vlm.towers import Sight, VisionTower
from streamcap.prompts import Picture, Prompt

__all__ = ["Runner"]

Tensor: TypeAlias = Any  # torch ships types, but they are not read: its installation is optional

# Tokens of prompt and answer together. A window of eight pictures of 256 tokens with its facts and demonstrations takes
# about half of it; a prompt beyond is a mistake, or somebody's attempt to keep the model busy.
CONTEXT = 8192


class Runner:
    """Answers one prompt at a time; to be used by one thread at a time.

    Args:
        family: the loaded model.
        tokenizer: transformers' fast tokenizer of the model.
        chat: how it is spoken to.
        ends: ids of tokens that end an answer.
        tower, learned: as :class:`~streamcap.models.vlm.reader.Reader`.
        context: most tokens of prompt and answer together.
        most_tokens: of any answer, whatever its prompt says.
        savings: all, where nothing is said.

    Attributes:
        reader: the model.
        at_limit: the last answer ended at the most tokens that it might have, and not of itself.
    """

    def __init__(
        self,
        family: Family,
        tokenizer: Any,
        chat: Chat,
        *,
        ends: Sequence[int],
        tower: VisionTower | None = None,
        learned: Tensor | None = None,
        context: int = CONTEXT,
        most_tokens: int = 4096,
        savings: Savings | None = None,
    ) -> None:
        self._family = family
        self._tokenizer = tokenizer
        self._chat = chat
        self._ends = frozenset(ends)
        self._context = min(context, family.longest)
        self._most_tokens = most_tokens
        self._savings = savings or Savings()
        self._grammars: Grammars | None = None
        self.reader = Reader(family, tower=tower, learned=learned, savings=self._savings)
        self.at_limit = False

    @property
    def work(self) -> Work:
        """What its answers took so far."""
        return self.reader.work

    def close(self) -> None:
        """Give back what is held beside the weights."""
        self.reader.close()

    def answer(self, prompt: Prompt, cancelled: Callable[[], bool] = lambda: False) -> Iterator[Piece]:
        """Yield the answer piece by piece; the last one has its usage.

        Args:
            cancelled: asked between tokens, pictures and parts of the prompt.

        Raises:
            Cancelled: it was; the next answer is not affected.
            ModelError: as :class:`~streamcap.models.language.LanguageModel` says.
        """
        self.at_limit = False
        sights = [self._see(picture) for picture in prompt.pictures]
        tokens = self.reader.whole(self._chat.tokens(prompt, sights))
        most = min(prompt.max_tokens, self._most_tokens)
        self._check(len(tokens.ids), most)
        echo = [self._chat.encode(text) for text in prompt.echo] if self._savings.lookup else []
        words = _Words(self._tokenizer)
        count = 0
        for token in self._tokens(tokens, sights, self._choice(prompt), Lookup(echo), most, cancelled):
            if cancelled():
                raise Cancelled
            count += 1
            if text := words.add(token):
                yield Piece(text)
        self.work.answers += 1
        self.work.tokens += count
        yield Piece(words.rest(), Usage(prompt_tokens=len(tokens.ids), completion_tokens=count))

    def _see(self, picture: Picture) -> Sight:
        grid = self.reader.grid
        sight = self._family.see(picture.image, grid=grid)
        others = [replace(self._family.see(one.image, grid=grid), count=one.count) for one in picture.alike]
        alike = tuple(one for one in others if (one.text, one.grid) == (sight.text, sight.grid))
        return replace(sight, count=picture.count, alike=alike)

    def _check(self, tokens: int, most: int) -> None:
        if tokens + most > self._context:
            raise PromptTooLong(
                f"the prompt has {tokens} tokens, and its answer may have {most}: at most {self._context} fit",
                hint="fewer or smaller pictures, a shorter prompt, or a lower max_tokens",
            )

    def _choice(self, prompt: Prompt) -> Choice:
        if prompt.answer is None or not self._savings.grammar:
            return FreeText()
        if self._grammars is None:
            self._grammars = Grammars(self._tokenizer, self._family.vocabulary, sorted(self._ends))
        return self._grammars.of(prompt.answer.schema)

    def _tokens(
        self,
        tokens: Tokens,
        sights: Sequence[Sight],
        choice: Choice,
        lookup: Lookup,
        most: int,
        cancelled: Callable[[], bool],
    ) -> Iterator[int]:
        """Tokens of the answer, its end left out."""
        scores, shift = self.reader.read_prompt(tokens, sights, most, cancelled)
        fresh = [choice.next(int(scores[-1].argmax()), scores[-1])]
        made = 0
        while True:
            for token in fresh:
                if token in self._ends:
                    return
                yield token
                lookup.add(token)
                made += 1
            if choice.done:
                return
            if made >= most:
                self.at_limit = True
                return
            guess, looked_up = self._guess(choice, lookup, most - made - 1)
            fresh = self._take(self.reader.read_answer([fresh[-1], *guess], shift), guess, choice)
            kept = len(fresh) - 1
            self.reader.take_back(len(guess) - kept)
            if looked_up:
                lookup.learn(kept)
                self.work.guessed += len(guess)
                self.work.kept += kept

    def _guess(self, choice: Choice, lookup: Lookup, room: int) -> tuple[list[int], bool]:
        """What may come next, and whether that was looked up: what the form fixes is no guess."""
        if not self._savings.lookup or room < 1:
            return [], False
        if fixed := choice.fixed()[:room]:
            return fixed, False
        guess = lookup.guess(room)
        return guess[: choice.fitting(guess)], bool(guess)

    def _take(self, scores: Tensor, guess: Sequence[int], choice: Choice) -> list[int]:
        """What the model itself chooses, for as long as that is what was guessed, and one token more."""
        fresh: list[int] = []
        for best, row, guessed in zip(scores.argmax(-1).tolist(), scores, [*guess, None], strict=True):
            fresh.append(choice.next(best, row))
            if fresh[-1] != guessed or fresh[-1] in self._ends or choice.done:
                break
        return fresh


class _Words:
    """Tokens as text, each piece as soon as it stands: a character may be made of several tokens."""

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._tokens: list[int] = []
        self._said = ""

    def add(self, token: int) -> str:
        self._tokens.append(token)
        text = self._stream.step(self._tokenizer.backend_tokenizer, token) or ""
        self._said += text
        return text

    def rest(self) -> str:
        """What is left when no token follows: the answer may end within a character."""
        whole = self._tokenizer.backend_tokenizer.decode(self._tokens, skip_special_tokens=True)
        return whole.removeprefix(self._said) if whole.startswith(self._said) else ""
