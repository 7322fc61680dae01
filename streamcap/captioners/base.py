"""What the caption lane asks of a captioner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from streamcap.language import Description
from streamcap.types import Window

__all__ = ["Captioner"]


class Captioner(Protocol):
    """Puts a closed window into words."""

    @property
    def name(self) -> str:
        """What ``source`` of its captions says."""
        ...

    def describe(self, window: Window) -> AsyncIterator[Description]:
        """Yield growing descriptions of the window; the last one stands.

        Cancelling the iteration leaves nothing behind.

        Raises:
            ModelError: no description can be had; the stream falls back to the next captioner.
        """
        ...
