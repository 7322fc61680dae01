"""How it stands with a stream: one state out of all that may be wrong with it at once. Pure.

A stream that is watched is ``degraded`` while anything is not as it should be, for the gravest reason; when that is
over the next one shows, and the last gives way to ``live``. While its source is away the state is ``reconnecting``,
whatever else is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from streamcap.types import Condition, Health, Notice, NoticeKind
from streamcap.wire import StreamState

__all__ = ["ORDER", "Standing", "Status", "merged"]

# Reasons of the state ``degraded``, the gravest first: what is not seen at all, what is seen badly, what is done late.
ORDER: Final = (
    "blocked", "black", "blank", "freeze", "moved", "blur", "dark", "bright", "truncated", "damage", "captioner",
    "encoder", "engine", "load",
)  # fmt: skip
# A damaged stream is well again after this much undamaged media, and one whose camera was moved after this long
# (seconds): whoever watches the feed has been told, and the new view is the normal one.
RECOVERED_S = 10.0
MOVED_S = 60.0

_PICTURE: Final = {
    Condition.FREEZE: "the same picture over and over",
    Condition.BLACK: "the picture is black",
    Condition.BLANK: "the picture is of one colour",
    Condition.DARK: "the picture is too dark",
    Condition.BRIGHT: "the picture is too bright",
    Condition.BLUR: "the picture is blurred",
    Condition.BLOCKED: "something covers the view",
    Condition.MOVED: "the camera looks elsewhere than before",
}
_PASSING: Final = {
    NoticeKind.CONNECTED: "connected",
    NoticeKind.RESOLUTION: "resolution",
    NoticeKind.DISCONTINUITY: "discontinuity",
}


class Status(NamedTuple):
    """A state to publish, with its reason (a word) and detail (a line)."""

    state: StreamState
    reason: str
    detail: str


class Standing:
    """Why one stream is degraded, and what has to be published when that changes."""

    def __init__(self) -> None:
        self._active: dict[str, str] = {}
        self._until: dict[str, float] = {}  # media time at which a reason is over by itself
        self._away = False

    @property
    def gravest(self) -> Status | None:
        """What the stream's state shows while its source is there, None where all is well."""
        for reason in ORDER:
            if reason in self._active:
                return Status(StreamState.DEGRADED, reason, self._active[reason])
        return None

    def __contains__(self, reason: str) -> bool:
        return reason in self._active

    def begin(self, reason: str, detail: str, *, news: bool = False) -> Iterator[Status]:
        """Something is wrong.

        Args:
            news: the detail is told also where the reason was told before: it is another fault.

        Raises:
            ValueError: a reason that is not in ``ORDER``.
        """
        if reason not in ORDER:
            raise ValueError(f"no such reason: {reason}")
        if reason in self._active and not news:  # it was told; another detail is no news
            return
        self._active[reason] = detail
        status = self.gravest
        if status is not None and status.reason == reason and not self._away:
            yield status

    def end(self, reason: str, detail: str = "") -> Iterator[Status]:
        """Something is well again; nothing happens where it was not wrong."""
        before = self.gravest
        self._until.pop(reason, None)
        if self._active.pop(reason, None) is None or before is None or before.reason != reason or self._away:
            return
        yield self.gravest or Status(StreamState.LIVE, "recovered", detail or f"no longer: {reason}")

    def notice(self, notice: Notice) -> Iterator[Status]:
        """What a source had to say; gaps are no states."""
        if notice.kind is NoticeKind.LOST:
            self._away = True
            yield Status(StreamState.RECONNECTING, "lost", notice.detail)
        elif notice.kind is NoticeKind.DAMAGE:
            self._until["damage"] = notice.at + RECOVERED_S
            yield from self.begin("damage", notice.detail)
        elif notice.kind is NoticeKind.TRUNCATED:
            yield from self.begin("truncated", notice.detail)
        elif notice.kind in _PASSING:
            if notice.kind is NoticeKind.CONNECTED:
                if not self._away:  # who opened the source has said so
                    return
                self._away = False
            yield Status(StreamState.LIVE, _PASSING[notice.kind], notice.detail)
            if (status := self.gravest) is not None:
                yield status

    def seen(self, health: Health, pts: float) -> Iterator[Status]:
        """What one frame made sure of.

        Args:
            pts: its media seconds.
        """
        for trouble in health.ended:
            yield from self.end(trouble.what.value)
        for trouble in health.began:
            if trouble.what is Condition.MOVED:
                self._until["moved"] = pts + MOVED_S
            yield from self.begin(trouble.what.value, _PICTURE[trouble.what])
        for reason in [reason for reason, until in self._until.items() if pts > until]:
            detail = f"no damage for {RECOVERED_S:.0f} s" if reason == "damage" else ""
            yield from self.end(reason, detail)


def merged(notices: Iterable[Notice]) -> list[Notice]:
    """Fewer notices that leave a stream in the same state: of each kind the newest, and one gap over all gaps.

    For those that could not be told for long. What was seen between two gaps is lost in the one, and it says so; no
    time that was not seen goes untold.
    """
    newest: dict[NoticeKind, Notice] = {}
    gaps: list[Notice] = []
    for notice in notices:
        if notice.kind is NoticeKind.GAP:
            gaps.append(notice)
        newest.pop(notice.kind, None)  # in the order in which each kind came last
        newest[notice.kind] = notice
    if len(gaps) > 1:
        start = min(gap.at if gap.start is None else gap.start for gap in gaps)
        end = max(gap.at if gap.end is None else gap.end for gap in gaps)
        detail = f"between {start:.1f} s and {end:.1f} s not all was seen: {gaps[-1].detail}"
        newest[NoticeKind.GAP] = Notice(NoticeKind.GAP, gaps[-1].at, detail, start, end)
    return list(newest.values())
