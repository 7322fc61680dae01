"""From a prompt to the tokens of its answer, on the thread that owns the model.

Greedy decoding with four savings, none of which changes the answer: keys and values are laid out once, those of the
constant prefix are kept from one prompt to the next, tokens that the answer is likely to repeat are checked several at
a time, and what a schema fixes is not asked for one by one. See docs/decisions/032-vlm-runner.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from streamcap.errors import ModelError, OutOfDeviceMemory, PromptTooLong
from streamcap.models.language import Piece, Usage
from streamcap.models.vlm.cache import KeysAndValues, Prefixes
from streamcap.models.vlm.chat import Chat, Tokens
from streamcap.models.vlm.families import Family, Features
from streamcap.models.vlm.grammar import Choice, FreeText, Grammars
from streamcap.models.vlm.lookup import Lookup
from streamcap.models.vlm.towers import Sight, VisionTower
from streamcap.prompts import Prompt

__all__ = ["Cancelled", "Runner", "Savings", "Work"]

Tensor: TypeAlias = Any  # torch ships types, but they are not read: its installation is optional

_log = logging.getLogger(__name__)

# Tokens of prompt and answer together. A window of eight pictures of 256 tokens with its facts and demonstrations takes
# about half of it; a prompt beyond is a mistake, or somebody's attempt to keep the model busy.
CONTEXT = 8192
# Tokens of a prompt that are read at a time; between them a cancelled answer ends. About a second on two cores at 500 M
# parameters; a GPU is not kept busy by less than some thousand.
CHUNK = {"cpu": 256, "cuda": 2048}
# A prefix that is shorter costs no more to read than to keep.
SHORTEST_PREFIX = 16


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class Savings:
    """What is done to answer sooner; each can be left out, which only costs time."""

    prefix: bool = True
    lookup: bool = True
    grammar: bool = True


@dataclass(slots=True)
class Work:
    """What the answers so far took.

    Attributes:
        passes: of the language model over tokens of an answer; fewer than tokens where guesses were right.
        prompt_tokens: of prompts; ``reused`` of them were not read again.
        guessed: tokens that were guessed; ``kept`` of them were right.
    """

    answers: int = 0
    passes: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    reused: int = 0
    guessed: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Embedded:
    """A prompt as the language model reads it: (1, n, width), where visual tokens stand, and what goes deeper."""

    embeds: Tensor
    seen: Tensor
    deep: Sequence[Tensor]


class Runner:
    """Answers one prompt at a time; to be used by one thread at a time.

    Args:
        family: the loaded model.
        tokenizer: transformers' fast tokenizer of the model.
        chat: how it is spoken to.
        ends: ids of tokens that end an answer.
        tower: stands in the place of the model's own; it is closed with the runner.
        learned: (n, width) embeddings that stand before every prompt.
        context: most tokens of prompt and answer together.
        most_tokens: of any answer, whatever its prompt says.

    Attributes:
        work: what its answers took so far.
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
        self._tower = tower
        self._learned = learned.to(family.model.device, family.model.dtype) if learned is not None else None
        self._context = min(context, family.longest)
        self._most_tokens = most_tokens
        self._savings = savings or Savings()
        self._device = torch.device(family.model.device)
        self._chunk = CHUNK["cuda" if self._device.type == "cuda" else "cpu"]
        self._kv = KeysAndValues(family.layers)
        self._prefixes = Prefixes()
        self._held: tuple[int, ...] = ()  # the prefix whose keys and values stand first
        self._grammars: Grammars | None = None
        self.work = Work()
        self.at_limit = False

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values that are held."""
        return self._kv.nbytes + self._prefixes.nbytes

    def close(self) -> None:
        """Give back what is held beside the weights."""
        if self._tower is not None:
            self._tower.close()
        self._prefixes.clear()
        self._kv = KeysAndValues(self._family.layers)
        self._held = ()

    def answer(self, prompt: Prompt, cancelled: Callable[[], bool] = lambda: False) -> Iterator[Piece]:
        """Yield the answer piece by piece; the last one has its usage.

        Args:
            cancelled: asked between tokens, pictures and parts of the prompt.

        Raises:
            Cancelled: it was; the next answer is not affected.
            ModelError: as :class:`~streamcap.models.language.LanguageModel` says.
        """
        words = _Words(self._tokenizer)
        tokens = self._prepare(prompt, cancelled)
        made: list[int] = []
        for token in tokens[1]:
            if cancelled():
                raise Cancelled
            made.append(token)
            if text := words.add(token):
                yield Piece(text)
        self.work.answers += 1
        self.work.tokens += len(made)
        yield Piece(words.rest(), Usage(prompt_tokens=tokens[0], completion_tokens=len(made)))

    def _prepare(self, prompt: Prompt, cancelled: Callable[[], bool]) -> tuple[int, Iterator[int]]:
        grid = self._tower.grid if self._tower is not None else None
        sights = [self._family.see(picture.image, grid=grid) for picture in prompt.pictures]
        tokens = self._before(self._chat.tokens(prompt, sights))
        most = min(prompt.max_tokens, self._most_tokens)
        if len(tokens.ids) + most > self._context:
            raise PromptTooLong(
                f"the prompt has {len(tokens.ids)} tokens, and its answer may have {most}: at most {self._context} fit",
                hint="fewer or smaller pictures, a shorter prompt, or a lower max_tokens",
            )
        self.at_limit = False
        choice = self._choice(prompt)
        echo = [self._chat.encode(text) for text in prompt.echo] if self._savings.lookup else []
        return len(tokens.ids), self._tokens(tokens, sights, choice, Lookup(echo), most, cancelled)

    def _before(self, tokens: Tokens) -> Tokens:
        """The prompt with places for what was learned; any token that stands for no picture holds them."""
        if self._learned is None:
            return tokens
        count = len(self._learned)
        filler = 0 if self._family.placeholder else 1
        return Tokens((filler,) * count + tokens.ids, count + tokens.constant)

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
        with _room():
            scores, shift = self._read_prompt(tokens, sights, most, cancelled)
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
            with _room():
                scores = self._read_answer([fresh[-1], *guess], shift)
            fresh = self._take(scores, guess, choice)
            kept = len(fresh) - 1
            self._kv.cut(self._kv.length - len(guess) + kept)
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

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _read_prompt(
        self, tokens: Tokens, sights: Sequence[Sight], most: int, cancelled: Callable[[], bool]
    ) -> tuple[Tensor, int]:
        """Scores for the first token of the answer, and what to add to a token's number to get its position."""
        ids = torch.tensor([tokens.ids], device=self._device)
        positions, shift = self._family.positions(ids, sights)
        start = self._begin(tokens, positions, len(tokens.ids) + most, cancelled)
        whole = self._embed(ids, [self._look(sight, cancelled) for sight in sights])
        hidden = self._read(whole, positions, start, len(tokens.ids), cancelled)
        self.work.prompt_tokens += len(tokens.ids)
        return self._family.score(hidden[:, -1:]), shift

    def _read(self, whole: _Embedded, positions: Tensor, begin: int, end: int, cancelled: Callable[[], bool]) -> Tensor:
        """Read tokens ``begin`` to ``end`` of a prompt, those before being in the cache; returns the last layer's state
        of the last part."""
        hidden = None
        for first in range(begin, end, self._chunk):
            if cancelled():
                raise Cancelled
            last = min(first + self._chunk, end)
            seen = whole.seen[:, first:last]
            row = int(whole.seen[:, :first].sum())
            rows = slice(row, row + int(seen.sum()))
            deep = [layer[rows] for layer in whole.deep] if rows.start < rows.stop else []
            embeds = whole.embeds[:, first:last]
            hidden = self._family.read(embeds, positions[..., first:last], self._kv.cache, seen, deep)
        return hidden

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _read_answer(self, tokens: Sequence[int], shift: int) -> Tensor:
        ids = torch.tensor([tokens], device=self._device)
        first = self._kv.length + shift
        positions = torch.arange(first, first + len(tokens), device=self._device)[None]
        hidden = self._family.read(
            self._family.embed(ids), positions, self._kv.cache, torch.zeros_like(ids, dtype=torch.bool), []
        )
        self.work.passes += 1
        return self._family.score(hidden)

    def _begin(self, tokens: Tokens, positions: Tensor, room: int, cancelled: Callable[[], bool]) -> int:
        """See that keys and values of the constant prefix stand in the cache; returns how many tokens that are."""
        if self._kv.reserve(room):
            self._held = ()
        prefix = tokens.ids[: tokens.constant]
        if not self._savings.prefix or len(prefix) < SHORTEST_PREFIX:
            self._kv.cut(0)
            self._held = ()
            return 0
        if prefix == self._held:
            self._kv.cut(len(prefix))
            self.work.reused += len(prefix)
            return len(prefix)
        self._held = ()
        if (stored := self._prefixes.get(prefix)) is not None:
            self._kv.restore(stored)
            self.work.reused += len(prefix)
        else:
            self._kv.cut(0)
            ids = torch.tensor([prefix], device=self._device)
            self._read(self._embed(ids, []), positions, 0, len(prefix), cancelled)
            self._prefixes.put(prefix, self._kv.copy())
        self._held = prefix
        return len(prefix)

    def _look(self, sight: Sight, cancelled: Callable[[], bool]) -> Features:
        if cancelled():
            raise Cancelled
        if self._tower is None:
            return self._family.encode(sight)
        made = [torch.from_numpy(array).to(self._device) for array in self._tower.features(sight)]
        return Features(made[0], tuple(made[1:]))

    def _embed(self, ids: Tensor, features: Sequence[Features]) -> _Embedded:
        """Tokens as what the language model reads, visual ones in their places."""
        embeds = self._family.embed(ids)
        if self._learned is not None:
            embeds = torch.cat([self._learned[None], embeds[:, len(self._learned) :]], dim=1)
        seen = ids == self._family.placeholder
        if not features:
            return _Embedded(embeds, seen, [])
        visual = torch.cat([one.tokens for one in features]).to(embeds.dtype)
        if int(seen.sum()) != len(visual):
            raise ModelError(f"the vision tower made {len(visual)} tokens, and the prompt has {int(seen.sum())} places")
        embeds = embeds.masked_scatter(seen[..., None], visual)
        deep = [torch.cat(layers).to(embeds.dtype) for layers in zip(*(one.deep for one in features), strict=True)]
        return _Embedded(embeds, seen, deep)


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


@contextmanager
def _room() -> Iterator[None]:
    """Memory that runs out is told in our words."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise OutOfDeviceMemory(
            f"the GPU has no room for this prompt: {str(error).splitlines()[0]}",
            hint="fewer or smaller pictures, a smaller model, or another process on the GPU less",
        ) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # how torch says it of the CPU's
            raise ModelError("there is no memory left for this prompt", hint="a smaller model") from error
        raise
