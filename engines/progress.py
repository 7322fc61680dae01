"""How far something is that takes minutes: whoever does it tells, whoever shows it listens."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "quiet"]

# What is done, how many of its steps are, and how many there are. May be called from any thread.
Progress = Callable[[str, int, int], None]


def quiet(what: str, done: int, total: int) -> None:
    """Nobody listens."""
