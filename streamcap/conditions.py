"""What is not as it should be with a stream. Pure.

Several things may be wrong at once, and a stream has one state: that of the gravest. When it is over the next one
shows, and the last one gives way to ``live``.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ORDER", "Conditions"]

# Reasons of the state ``degraded``, the gravest first: what is not seen at all, what is seen badly, what is done late.
ORDER: Final = (
    "blocked", "black", "freeze", "moved", "blur", "dark", "bright", "truncated", "damage", "captioner", "load",
)  # fmt: skip


class Conditions:
    """The reasons why one stream is degraded."""

    def __init__(self) -> None:
        self._active: dict[str, str] = {}

    @property
    def gravest(self) -> tuple[str, str] | None:
        """Reason and detail that the stream's state shows, None where all is well."""
        for reason in ORDER:
            if reason in self._active:
                return reason, self._active[reason]
        return None

    def __contains__(self, reason: str) -> bool:
        return reason in self._active

    def begin(self, reason: str, detail: str) -> bool:
        """Note that something is wrong, or its new detail. True where the stream's state shows it.

        Raises:
            ValueError: a reason that is not in ``ORDER``.
        """
        if reason not in ORDER:
            raise ValueError(f"no such reason: {reason}")
        self._active[reason] = detail
        return self.gravest == (reason, detail)

    def end(self, reason: str) -> bool:
        """Note that something is well again. True where the stream's state has to change for it."""
        shown = self.gravest
        if self._active.pop(reason, None) is None:
            return False
        return shown is not None and shown[0] == reason
