"""What the captioner asks of a vision–language model. Backends implement this; nothing above knows which is below."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from streamcap.prompts import Prompt, Text

__all__ = ["LanguageModel", "Piece", "Probed", "Usage", "estimate", "text_tokens"]

# English has about four characters a token; names, numbers and JSON have fewer.
CHARACTERS_A_TOKEN = 3.5
# Side of the square of pixels that one token stands for: 28 in Qwen2-VL and Qwen2.5-VL, 32 in Qwen3-VL.
TOKEN_SIDE = 28
# Of roles and separators, a part of the prompt.
TOKENS_A_PART = 4


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost.

    Attributes:
        prompt_tokens: pictures counted in; estimated where the backend does not say.
        completion_tokens: of the answer.
    """

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of an answer.

    Attributes:
        text: may be empty.
        usage: with the last piece alone.
    """

    text: str
    usage: Usage | None = None


class LanguageModel(Protocol):
    """Answers prompts, several at a time if its backend can; shared by all streams."""

    @property
    def name(self) -> str:
        """Which model, as a reader would name it."""
        ...

    def generate(self, prompt: Prompt, *, timeout_s: float) -> AsyncGenerator[Piece, None]:
        """Yield an answer piece by piece; the pieces' texts joined are the answer, the last piece has its usage.

        Closing or cancelling the generator ends the work on the answer and leaves nothing behind.

        Args:
            prompt: what to show and ask.
            timeout_s: for the whole answer, > 0.

        Raises:
            ModelError: there is no (whole) answer: the server is down, stalls or refuses, memory is short, the prompt
                is too long. Which, says the class; what to do about it, the hint.
        """
        ...

    async def close(self) -> None:
        """Let go of connections, threads and memory. Idempotent."""
        ...


@runtime_checkable
class Probed(Protocol):
    """A model that can be found to be there without being asked anything: it runs elsewhere."""

    async def probe(self) -> bool:
        """True where it is there, False where that cannot be told. Costs no tokens; a cancelled call leaves nothing.

        Raises:
            ModelError: it is not.
        """
        ...


def text_tokens(characters: int) -> int:
    """About how many tokens a text of so many characters is."""
    return math.ceil(characters / CHARACTERS_A_TOKEN)


def estimate(prompt: Prompt) -> Usage:
    """What an answer will cost at most, before it is asked for. Models differ: by a factor of two for pictures."""
    texts = [prompt.system, *(turn.ask + turn.answer for turn in prompt.demonstrations)]
    texts += [part.text for part in prompt.parts if isinstance(part, Text)]
    shown = sum(
        math.ceil(p.image.shape[0] / TOKEN_SIDE) * math.ceil(p.image.shape[1] / TOKEN_SIDE) for p in prompt.pictures
    )
    parts = len(texts) + len(prompt.pictures)
    return Usage(sum(text_tokens(len(text)) for text in texts) + shown + parts * TOKENS_A_PART, prompt.max_tokens)
