"""What the caption lane asks of a captioner."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from streamcap.language import Description
from streamcap.types import Window

__all__ = ["Captioner", "Difference", "Recovering", "Summariser"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A final caption, as a summary is made of them.

    Attributes:
        start, end: media seconds that the text speaks about.
        saliency: 0..1.
    """

    start: float
    end: float
    text: str
    saliency: float


class Captioner(Protocol):
    """Puts a closed window into words."""

    @property
    def name(self) -> str:
        """What ``source`` of its captions says."""
        ...

    def describe(self, window: Window) -> AsyncGenerator[Description, None]:
        """Yield growing descriptions of the window; the last one stands.

        Closing or cancelling it ends the work and leaves nothing behind; whoever iterates closes it.

        Raises:
            ModelError: no description can be had; the stream falls back to the next captioner.
        """
        ...


@runtime_checkable
class Summariser(Protocol):
    """A captioner that can also fold differences into one text."""

    async def summarise(self, differences: Sequence[Difference], start: float, end: float, before: str = "") -> str:
        """One text of what happened between two moments (media seconds), from the captions alone, oldest first.

        Args:
            before: the summary until then, of whatever captioner; empty for none.

        Raises:
            ModelError: there is none; the grounded summary stands.
        """
        ...


@runtime_checkable
class Recovering(Protocol):
    """A captioner that may be well again before it is asked again."""

    async def recovered(self) -> None:
        """Return when there is reason to think so; where none comes, never. Costs nothing.

        Cancelling it leaves nothing behind.
        """
        ...
