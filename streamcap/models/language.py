"""What the captioner asks of a vision–language model. Backends implement this; nothing above knows which is below."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from streamcap.prompts import Prompt

__all__ = ["LanguageModel", "Piece", "Usage"]


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
