"""What all settings have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = [
    "Strict",
]


class Strict(BaseModel):
    """Settings that a user wrote: known keys alone, never changed afterwards."""

    # A misspelt key is an error, not a silent default.
    model_config = ConfigDict(extra="forbid", frozen=True)
