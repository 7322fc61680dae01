"""What a subscription asks for, held to what can be had before it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamcap.errors import FeedError, UsageError
from streamcap.wire import ASKED_KINDS, KINDS, CloseCode

__all__ = ["SubscribeRefused", "kinds_asked", "places_asked"]


class SubscribeRefused(FeedError):
    """A subscription that cannot be.

    Args:
        code: the close code that tells the subscriber why.
    """

    def __init__(self, message: str, *, code: CloseCode, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


def kinds_asked(kinds: Iterable[str] | None) -> frozenset[str]:
    """The kinds of messages to get; all of ``KINDS`` where none are named.

    Raises:
        UsageError: one is neither of ``KINDS`` nor of ``ASKED_KINDS``.
    """
    wanted = KINDS if kinds is None else frozenset(kinds)
    if unknown := wanted - KINDS - ASKED_KINDS:
        known = ", ".join(sorted(KINDS | ASKED_KINDS))
        raise UsageError(f"no such kind: {', '.join(sorted(unknown))}", hint=f"kinds: {known}")
    return wanted


def places_asked(names: list[str] | None, after: int | Mapping[str, int] | None) -> Mapping[str, int]:
    """The number to resume after, by stream.

    Args:
        names: the streams; None for all.

    Raises:
        UsageError: no stream at all, or one number for several.
    """
    if names is not None and not names:
        raise UsageError("a subscription needs a stream")
    if not isinstance(after, int):
        return after or {}
    if names is None or len(names) > 1:
        raise UsageError("one number to resume after, and several streams", hint="give a number for each stream")
    return {names[0]: after}
