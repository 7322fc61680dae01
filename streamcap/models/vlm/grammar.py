"""Which token comes next: the likeliest, or the likeliest of those with which the answer still fits its JSON schema.

The grammar is llguidance's (Rust, MIT, no dependencies): what stands fixed in a schema, such as its keys, is told in
advance, so that it is checked in one pass like a guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from streamcap.errors import ModelError, ModelLoadError, PromptRefused

__all__ = ["Choice", "FreeText", "Grammars"]

Tensor: TypeAlias = Any  # torch ships types, but they are not read: its installation is optional


class Choice(Protocol):
    """Chooses the tokens of one answer, one after the other."""

    @property
    def done(self) -> bool:
        """The answer is complete, whatever the model would say."""
        ...

    def next(self, best: int, scores: Tensor) -> int:
        """Choose the next token.

        Args:
            best: the likeliest.
            scores: (vocabulary,) logits.
        """
        ...

    def fixed(self) -> list[int]:
        """Tokens that are likely to come next because the form leaves little else."""
        ...

    def fitting(self, tokens: Sequence[int]) -> int:
        """How many of these tokens may follow."""
        ...


class FreeText:
    """Whatever is likeliest."""

    done = False

    def next(self, best: int, scores: Tensor) -> int:
        """See :class:`Choice`."""
        return best

    def fixed(self) -> list[int]:
        """See :class:`Choice`."""
        return []

    def fitting(self, tokens: Sequence[int]) -> int:
        """See :class:`Choice`."""
        return len(tokens)


class Grammars:
    """Makes grammars for the tokens of one model.

    Args:
        tokenizer: transformers' fast tokenizer.
        vocabulary: how many scores the model gives; often some more than the tokenizer has tokens.
        ends: ids of tokens that end an answer.

    Raises:
        ModelLoadError: llguidance is not installed, or cannot read the tokenizer.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Sequence[int]) -> None:
        try:
            from llguidance import LLTokenizer
        except ImportError as error:
            raise ModelLoadError("llguidance is not installed", hint="pip install 'streamcap[torch]'") from error
        try:
            self._words = LLTokenizer(
                tokenizer.backend_tokenizer.to_str(), n_vocab=max(vocabulary, len(tokenizer)), eos_token=list(ends)
            )
        except ValueError as error:
            raise ModelLoadError(f"the tokenizer is of a sort without grammars: {error}") from error

    def of(self, schema: Mapping[str, Any]) -> Choice:
        """The choice of tokens for one answer of that schema.

        Raises:
            PromptRefused: the schema is of a sort that no grammar can be made of.
        """
        from llguidance import LLMatcher

        text = json.dumps(schema, sort_keys=False)
        # No white space that a schema does not need: it costs tokens, and a small model may go on with it for ever.
        grammar = LLMatcher.grammar_from_json_schema(text, overrides={"whitespace_flexible": False})
        matcher = LLMatcher(self._words, grammar, log_level=0)
        if matcher.is_error():
            raise PromptRefused(f"no grammar can be made of the answer's schema: {matcher.get_error()}")
        return _Schema(matcher)


class _Schema:
    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    @property
    def done(self) -> bool:
        return bool(self._matcher.is_stopped())

    def next(self, best: int, scores: Tensor) -> int:
        if not self._matcher.validate_tokens([best]):
            bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
            allowed = torch.from_numpy(bits[: len(scores)].astype(bool)).to(scores.device)  # bits come by whole words
            best = int(scores.masked_fill(~allowed, -torch.inf).argmax())
        if not self._matcher.consume_token(best):
            raise ModelError(f"the answer's grammar failed: {self._matcher.get_error().splitlines()[0]}")
        return best

    def fixed(self) -> list[int]:
        return list(self._matcher.compute_ff_tokens())

    def fitting(self, tokens: Sequence[int]) -> int:
        return int(self._matcher.validate_tokens(list(tokens)))
