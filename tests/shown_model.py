"""A language model for tests that keeps what it is shown."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from streamcap.models.language import Piece, Usage
from streamcap.prompts import Prompt


class Shown:
    """Says the same of everything.

    Args:
        says: each answer.

    Attributes:
        prompts: what it was shown, oldest first.
    """

    name = "shown"

    def __init__(self, says: str) -> None:
        self._says = says
        self.prompts: list[Prompt] = []

    async def generate(self, prompt: Prompt, *, timeout_s: float) -> AsyncGenerator[Piece, None]:
        """See :class:`streamcap.models.language.LanguageModel`."""
        self.prompts.append(prompt)
        yield Piece(self._says, Usage(10, 10))

    async def close(self) -> None:
        """Nothing is held."""
