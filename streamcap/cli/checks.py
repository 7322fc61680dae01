"""What ``streamcap doctor`` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Check", "Level"]


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  # runs, with a restriction
    MISSING = "missing"  # the embedded default does not run


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        detail: what was found.
        fix: the one command (or step) that mends it, empty where nothing is wrong.
    """

    name: str
    level: Level
    detail: str
    fix: str = ""
