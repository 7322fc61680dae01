"""What a source has to say beside its frames, kept to a rate that a person can read."""

from __future__ import annotations

from collections.abc import Callable

from streamcap.types import NoticeKind

__all__ = ["Emit", "Reporter"]

# kind, media seconds, one line
Emit = Callable[[NoticeKind, float, str], None]

_SPAN = 10.0  # media seconds over which notices of one kind are limited
_BURST = 3  # notices of one kind in that span, where each says something of its own


class Reporter:
    """Limits notices by kind: a broken source says so in a line now and then, with counts, not at every picture.

    Args:
        emit: takes what gets through.

    Attributes:
        offset: added to every time, so that a session may speak in its own.
        muted: true while what is said is a repetition.
    """

    def __init__(self, emit: Emit) -> None:
        self.offset = 0.0
        self.muted = False
        self._emit = emit
        self._said: dict[NoticeKind, list[float]] = {}
        self._held_back: dict[NoticeKind, int] = {}
        self._packets = 0
        self._pictures = 0
        self._damage_since = 0.0
        self._damage_said: float | None = None

    def say(self, kind: NoticeKind, at: float, detail: str) -> None:
        """Tell one thing, unless too much of its kind was told lately.

        Args:
            at: media seconds, not decreasing.
        """
        if self.muted:
            return
        at += self.offset
        recent = [t for t in self._said.get(kind, []) if at - _SPAN < t]
        if len(recent) >= _BURST:
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return
        held_back = self._held_back.pop(kind, 0)
        self._said[kind] = [*recent, at]
        self._emit(kind, at, f"{detail} (and {held_back} more like it before)" if held_back else detail)

    def damage(self, at: float, *, packets: int = 0, pictures: int = 0) -> None:
        """Count damaged data: packets (marked so, or not decodable) and pictures that were decoded with errors."""
        if self.muted:
            return
        if not self._packets and not self._pictures:
            self._damage_since = at + self.offset
        self._packets += packets
        self._pictures += pictures
        if self._damage_said is None or at + self.offset - self._damage_said >= _SPAN:
            self.flush(at)

    def flush(self, at: float) -> None:
        """Tell what was counted and not told yet."""
        counts = [
            f"{n} {noun}{'s' if n > 1 else ''}"
            for n, noun in ((self._packets, "packet"), (self._pictures, "picture"))
            if n
        ]
        if not counts:
            return
        at += self.offset
        span = f"at {at:.1f} s" if at - self._damage_since < 0.1 else f"from {self._damage_since:.1f} s to {at:.1f} s"
        self._packets = self._pictures = 0
        self._damage_said = at
        self._emit(NoticeKind.DAMAGE, at, f"damaged data: {', '.join(counts)}, {span}")
