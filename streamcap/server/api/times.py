"""Moments as the HTTP API takes them: media seconds, or wall time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from streamcap.errors import UsageError

__all__ = ["Instant", "Seconds", "span"]


def _an_instant(value: Any) -> Any:
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("not a time as 2026-11-20T05:00:00Z")  # a number would be taken for Unix seconds
    return value


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None


Instant = Annotated[AwareDatetime, BeforeValidator(_an_instant), AfterValidator(_to_utc)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


def span(start: float | datetime | None, end: float | datetime | None) -> dict[str, Any]:
    """``from`` and ``to`` as a journal takes them."""
    bounds: dict[str, Any] = {}
    for value, media, wall in ((start, "start", "since"), (end, "end", "until")):
        if value is not None:
            bounds[wall if isinstance(value, datetime) else media] = value
    if {"start", "until"} <= bounds.keys() or {"end", "since"} <= bounds.keys():
        raise UsageError("from and to are both media seconds, or both wall times")
    return bounds
