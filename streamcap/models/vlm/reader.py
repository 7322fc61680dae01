"""Tokens in, scores of the next one out: the model with what is kept of the prompts before.

Nothing that is kept changes a score: keys and values of a beginning that is the same, visual tokens of a picture that
comes again. See docs/decisions/032-vlm-runner.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import torch

from streamcap.errors import ModelError, OutOfDeviceMemory
from streamcap.models.vlm.cache import KeysAndValues, Prefixes
from streamcap.models.vlm.chat import Tokens, common
from streamcap.models.vlm.families import Family, Features
from streamcap.models.vlm.towers import Sight, VisionTower
from streamcap.models.vlm.weights import first_line

__all__ = ["Cancelled", "Reader", "Savings", "Work"]

Tensor: TypeAlias = Any  # torch ships types, but they are not read: its installation is optional

# Tokens of a prompt that are read at a time; between them a cancelled answer ends. About a second on two cores at 500 M
# parameters; a GPU is not kept busy by less than some thousand.
CHUNK = {"cpu": 256, "cuda": 2048}
# Pictures whose visual tokens are kept: those of the memory come back in window after window. A quarter of a megabyte
# each for SmolVLM2, up to eight for Qwen3-VL.
GLANCES = 32
# A prefix that is shorter costs no more to read than to keep.
SHORTEST_PREFIX = 16


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class Savings:
    """What is done to answer sooner; each can be left out, which only costs time."""

    prefix: bool = True
    pictures: bool = True
    lookup: bool = True
    grammar: bool = True


@dataclass(slots=True)
class Work:
    """What the answers so far took.

    Attributes:
        passes: of the language model over tokens of an answer; fewer than tokens where guesses were right.
        prompt_tokens: of prompts; ``reused`` of them were not read again.
        pictures: that were shown; ``remembered`` of them did not go through the vision tower again.
        guessed: tokens that were guessed; ``kept`` of them were right.
    """

    answers: int = 0
    passes: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    reused: int = 0
    pictures: int = 0
    remembered: int = 0
    guessed: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Embedded:
    """A prompt as the language model reads it: (1, n, width), where visual tokens stand, and what goes deeper."""

    embeds: Tensor
    seen: Tensor
    deep: Sequence[Tensor]


class Reader:
    """One model, read by one thread at a time.

    Args:
        family: the loaded model.
        tower: stands in the place of the model's own; it is closed with the reader.
        learned: (n, width) embeddings that stand before every prompt.

    Attributes:
        work: what it read so far.
    """

    def __init__(self, family: Family, *, tower: VisionTower | None, learned: Tensor | None, savings: Savings) -> None:
        self._family = family
        self._tower = tower
        self._learned = learned.to(family.model.device, family.model.dtype) if learned is not None else None
        self._savings = savings
        self._device = torch.device(family.model.device)
        self._chunk = CHUNK["cuda" if self._device.type == "cuda" else "cpu"]
        self._kv = KeysAndValues(family.layers)
        self._prefixes = Prefixes()
        self._held: tuple[int, ...] = ()  # tokens whose keys and values stand first; as far as they came
        self._glances: OrderedDict[bytes, Features] = OrderedDict()
        self.work = Work()

    @property
    def grid(self) -> tuple[int, int] | None:
        """Of patches, that pictures are to have."""
        return self._tower.grid if self._tower is not None else None

    @property
    def nbytes(self) -> int:
        """Bytes that are held beside the weights: keys and values, prefixes, visual tokens."""
        glances = sum(part.nbytes for one in self._glances.values() for part in (one.tokens, *one.deep))
        return self._kv.nbytes + self._prefixes.nbytes + int(glances)

    def close(self) -> None:
        """Give back what is held beside the weights."""
        if self._tower is not None:
            self._tower.close()
        self._let_go()

    def _let_go(self) -> None:
        self._prefixes.clear()
        self._glances.clear()
        self._kv = KeysAndValues(self._family.layers)
        self._held = ()

    @contextmanager
    def _whole_or_empty(self) -> Iterator[None]:
        """After a failure nothing is kept: it may be half of something, and where memory ran out it is in the way."""
        try:
            yield
        except Cancelled:  # what was read stands, and its length says how much that is
            raise
        except torch.OutOfMemoryError as error:
            self._let_go()
            torch.cuda.empty_cache()
            raise OutOfDeviceMemory(
                f"the GPU has no room for this prompt: {first_line(error)}",
                hint="fewer or smaller pictures, a smaller model, or another process on the GPU less",
            ) from error
        except BaseException as error:
            self._let_go()
            if "can't allocate memory" in str(error):  # how torch says it of the machine's memory, as RuntimeError
                raise ModelError("there is no memory left for this prompt", hint="a smaller model") from error
            raise

    def whole(self, tokens: Tokens) -> Tokens:
        """A prompt with places for what was learned; any token that stands for no picture holds them."""
        if self._learned is None:
            return tokens
        count = len(self._learned)
        filler = 0 if self._family.placeholder else 1
        return Tokens((filler,) * count + tokens.ids, count + tokens.constant)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def read_prompt(
        self, tokens: Tokens, sights: Sequence[Sight], most: int, cancelled: Callable[[], bool]
    ) -> tuple[Tensor, int]:
        """Read a prompt, in the place of the one before.

        Args:
            tokens: as :meth:`whole` gives them.
            sights: the prompt's pictures.
            most: tokens that its answer may have.
            cancelled: asked between pictures and parts of the prompt.

        Returns:
            (1, vocabulary) scores for the first token of the answer, and what to add to a token's number from there on
            to get its position.

        Raises:
            Cancelled: it was; the next prompt is not affected.
            ModelError, OutOfDeviceMemory: the model or its tower failed, or there is no room.
        """
        with self._whole_or_empty():
            ids = torch.tensor([tokens.ids], device=self._device)
            positions, shift = self._family.positions(ids, sights)
            start = self._begin(tokens, positions, len(tokens.ids) + most, cancelled)
            whole = self._embed(ids, [self._blend(sight, cancelled) for sight in sights])
            hidden = self._read(whole, positions, start, len(tokens.ids), cancelled)
            self.work.prompt_tokens += len(tokens.ids)
            return self._family.score(hidden[:, -1:]), shift

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def read_answer(self, tokens: Sequence[int], shift: int) -> Tensor:
        """Read the next n tokens of an answer; (n, vocabulary) scores for the token after each.

        Raises:
            OutOfDeviceMemory: there is no room.
        """
        with self._whole_or_empty():
            ids = torch.tensor([tokens], device=self._device)
            first = self._kv.length + shift
            positions = torch.arange(first, first + len(tokens), device=self._device)[None]
            nothing = torch.zeros_like(ids, dtype=torch.bool)
            hidden = self._family.read(self._family.embed(ids), positions, self._kv.cache, nothing, [])
            self.work.passes += 1
            return self._family.score(hidden)

    def take_back(self, count: int) -> None:
        """Forget the last tokens that were read."""
        self._kv.cut(self._kv.length - count)

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

    def _begin(self, tokens: Tokens, positions: Tensor, room: int, cancelled: Callable[[], bool]) -> int:
        """See that keys and values of the constant prefix stand in the cache; returns how many tokens need not be read.

        What the prompt before left is used as far as it is the same, so that a user's wish, which stands first in the
        question, is read once for a stream that is alone. Pictures end it.
        """
        if self._kv.reserve(room):
            self._held = ()
        if not self._savings.prefix:
            self._kv.cut(0)
            return 0
        start = self._reused(tokens.ids[:-1])
        self.work.reused += start
        prefix = tokens.ids[: tokens.constant]
        if len(prefix) >= SHORTEST_PREFIX and prefix not in self._prefixes:
            self._kv.cut(min(start, len(prefix)))
            ids = torch.tensor([prefix], device=self._device)
            self._read(self._embed(ids, []), positions, self._kv.length, len(prefix), cancelled)
            self._prefixes.put(prefix, self._kv.copy())
            start = len(prefix)
        placeholder = self._family.placeholder
        pictured = tokens.ids.index(placeholder) if placeholder in tokens.ids else len(tokens.ids)
        self._held = tokens.ids[:pictured]
        return start

    def _reused(self, ids: tuple[int, ...]) -> int:
        """Bring the longest beginning of a prompt that is known into the cache; returns how many tokens that are."""
        held = min(common(self._held, ids), self._kv.length)
        self._held = ()
        shared, stored = self._prefixes.longest(ids)
        if shared > held:
            self._kv.restore(stored, shared)
            return shared
        self._kv.cut(held)
        return held

    def _blend(self, sight: Sight, cancelled: Callable[[], bool]) -> Features:
        """Visual tokens of a picture, or the mean of those of all that it stands for, by their counts."""
        if not sight.alike:
            return self._look(sight, cancelled)
        seen = [(self._look(one, cancelled), one.count) for one in (sight, *sight.alike)]
        whole = sum(count for _, count in seen)
        parts = zip(*((one.tokens, *one.deep) for one, _ in seen), strict=True)
        shares = [count / whole for _, count in seen]
        mean = [sum(part.float() * share for part, share in zip(layer, shares, strict=True)) for layer in parts]
        return Features(mean[0], tuple(mean[1:]))

    def _look(self, sight: Sight, cancelled: Callable[[], bool]) -> Features:
        if cancelled():
            raise Cancelled
        self.work.pictures += 1
        if not self._savings.pictures:
            return self._encode(sight)
        key = blake2b(np.ascontiguousarray(sight.pixels).data, digest_size=16).digest()
        if key in self._glances:
            self.work.remembered += 1
        else:
            self._glances[key] = self._encode(sight)
        self._glances.move_to_end(key)
        while len(self._glances) > GLANCES:
            self._glances.popitem(last=False)
        return self._glances[key]

    def _encode(self, sight: Sight) -> Features:
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
