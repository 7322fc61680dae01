"""Windows and captions: when to speak, what belongs together, and that nothing is said twice. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from streamcap.config import Profile
from streamcap.language import Description
from streamcap.types import Caption, CaptionKind, CaptionStatus, Fact, Instance, Observation, Window

__all__ = ["PACES", "CaptionBook", "Pace", "Step", "WindowBuilder"]

# In a busy scene windows grow, so that a caption says more and comes less often; drafts and events do not wait. Each
# caption of the last minute beyond a calm one's makes them longer (seconds), up to the BUSY values, and raises the
# floor, so that small things make room. What is salient is told all the same.
QUIET_STEP_S = 0.7
BUSY_QUIET_S = 4.0
BUSY_LONGEST_S = 9.0
FLOOR_STEP = 0.03
BUSY_FLOOR = 0.5
MINUTE_S = 60.0
# A window that is held open for a captioner that is busy closes after this long at the latest (media seconds): what
# happened at its beginning has waited long enough for its final text.
HELD_S = 12.0
# The same words about the same instances within this time (media seconds) say nothing new.
REPEAT_S = 30.0
RECENT = 16
# Of so many instances it is remembered that a caption spoke of them.
TOLD = 1024
KEY_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Pace:
    """When to speak.

    Attributes:
        floor: facts of lower saliency (0..1) are not spoken of.
        quiet_s: a window closes this long (media seconds) after its last fact,
        longest_s: or this long after its first.
        calm: captions a minute that are no haste.
    """

    floor: float
    quiet_s: float
    longest_s: float
    calm: int


# A guard is told of all that may matter, at once; a viewer often, of what is worth a word; a listener of less, in
# longer breaths.
PACES = {
    Profile.SURVEILLANCE: Pace(0.2, 0.6, 1.8, 6),
    Profile.COMMENTARY: Pace(0.3, 0.9, 2.5, 8),
    Profile.GENERAL: Pace(0.4, 1.2, 4.0, 4),
}


@dataclass(frozen=True, slots=True)
class Step:
    """A window that changed; ``closed`` when it is complete, ``overdue`` where it was held as long as may be.

    One that has neither begun a scene nor any fact, sure or likely, is withdrawn: what was likely has not come true.
    """

    window: Window
    closed: bool
    overdue: bool = False


class WindowBuilder:
    """Collects facts into windows. A window opens at a scene start or a fact and closes when it grows quiet.

    What is likely only changes no window: it is shown with the one that is open, or under the id of the next one, until
    it is sure, and then is a fact like any other, or until it is likely no more.

    Args:
        stream: id of the stream.
        pace: when to speak.
        prefix: what caption ids begin with; tells one run of a stream from the next.

    Attributes:
        held: the captioner is busy: what changes now belongs to the window that is open, which does not close by itself
            before it is twelve seconds old. A scene that begins closes it all the same.
    """

    def __init__(self, stream: str, *, pace: Pace, prefix: str = "c") -> None:
        self._stream, self.pace, self._prefix = stream, pace, prefix
        self.held = False
        self._count = 0
        self._reserved = ""  # id of the next window, where it was shown already
        self._likely: tuple[Fact, ...] = ()  # as last shown
        self._window: Window | None = None
        self._opened = self._touched = 0.0
        self._closed_at: deque[float] = deque(maxlen=64)
        self._told_until = 0.0

    def add(self, seen: Observation) -> list[Step]:
        """Take in one observation; returns windows that changed or closed, in order."""
        steps: list[Step] = []
        floor = max(self.pace.floor, min(BUSY_FLOOR, self.pace.floor + FLOOR_STEP * self._haste(seen.pts)))
        facts = tuple(fact for fact in seen.facts if fact.saliency >= floor)
        changed = False
        if seen.scene_start and self._window is not None:
            steps.append(self._close())
        if seen.scene_start or (facts and self._window is None):
            self._open(seen)
        if self._window is not None:
            before = self._window
            self._window = _grown(before, facts, seen, self._told_until)
            if facts:
                self._touched = seen.pts
            if self._is_over(seen):
                self._closed_at.append(seen.pts)
                steps.append(replace(self._close(), overdue=self.held))
            else:
                changed = bool(facts) or (before.scene_start and before.instances != self._window.instances)
        likely = tuple(fact for fact in seen.likely if fact.saliency >= floor)
        if changed or _deeds(likely) != _deeds(self._likely):
            steps.append(self._shown(likely, seen))
        return steps

    def flush(self) -> list[Step]:
        """The stream is over: close what is open, and withdraw what was likely only."""
        if self._window is not None:
            return [self._close()]
        if not self._likely:
            return []
        self._likely = ()
        at = self._told_until
        return [Step(Window(self._next_id(), self._stream, at, at, 0.0, (), ()), closed=False)]

    def _shown(self, likely: tuple[Fact, ...], seen: Observation) -> Step:
        """The window that is open, or the next one, with what is likely."""
        self._likely = likely
        window = self._window
        if window is None:
            self._reserved = self._next_id()
            window = Window(self._reserved, self._stream, seen.pts, seen.pts, seen.captured_at, (), ())
        if not likely:
            return Step(window, closed=False)
        grown = _grown(window, likely, seen, self._told_until)
        return Step(replace(grown, facts=window.facts, likely=likely), closed=False)

    def _next_id(self) -> str:
        if self._reserved:
            return self._reserved
        self._count += 1
        return f"{self._prefix}{self._count}"

    def _open(self, seen: Observation) -> None:
        self._opened = self._touched = seen.pts
        self._window = Window(
            self._next_id(), self._stream, seen.pts, seen.pts, seen.captured_at, (), (), scene_start=seen.scene_start
        )
        self._reserved = ""

    def _is_over(self, seen: Observation) -> bool:
        if self._window is not None and self._window.scene_start and not seen.settled:
            return False
        if self.held:
            return seen.pts - self._opened >= HELD_S
        pace = self.pace
        quiet = max(pace.quiet_s, min(BUSY_QUIET_S, pace.quiet_s + self._haste(seen.pts) * QUIET_STEP_S))
        longest = max(pace.longest_s, min(BUSY_LONGEST_S, pace.longest_s * quiet / pace.quiet_s))
        return seen.pts - self._touched >= quiet or seen.pts - self._opened >= longest

    def _haste(self, pts: float) -> int:
        """Captions of the last minute beyond those of a calm one."""
        while self._closed_at and pts - self._closed_at[0] > MINUTE_S:
            self._closed_at.popleft()
        return max(0, len(self._closed_at) - self.pace.calm)

    def _close(self) -> Step:
        assert self._window is not None
        window, self._window = self._window, None
        self._likely = ()  # what is still likely goes over to the next one
        self._told_until = window.end
        return Step(window, closed=True)


def _grown(window: Window, facts: tuple[Fact, ...], seen: Observation, told_until: float) -> Window:
    """The window with one more observation.

    It ends no earlier than the caption before it, so that captions come in the order of time.
    """
    if window.scene_start:  # a full caption speaks of all that was seen until now
        end = seen.pts
    else:
        end = max([fact.end for fact in facts] + ([window.end] if window.facts else []), default=window.end)
    start = min([window.start, *(fact.start for fact in facts)])
    end = max(end, told_until)
    # The frame at ``end`` was captured as much earlier as its media time is.
    captured_at = seen.captured_at - (seen.pts - end) if end != window.end else window.captured_at
    instances = _known(window, facts, seen) if facts or window.scene_start else window.instances
    kept = (*window.key_frames, seen.key_frame)[-KEY_FRAMES:] if seen.key_frame else window.key_frames
    return replace(
        window,
        start=start,
        end=end,
        captured_at=captured_at,
        facts=window.facts + facts,
        instances=instances,
        key_frames=kept,
        setting=seen.setting,
        waited=max(0.0, seen.pts - end),
    )


def _deeds(facts: tuple[Fact, ...]) -> set[tuple[str, tuple[int, ...]]]:
    """What is said of whom."""
    return {(fact.what, fact.who) for fact in facts}


def _known(window: Window, facts: tuple[Fact, ...], seen: Observation) -> tuple[Instance, ...]:
    """Those that are there now, and those of which the window speaks though they are gone."""
    spoken_of = {who for fact in (*window.facts, *facts) for who in fact.who}
    gone = {i.id: i for i in window.instances if i.id in spoken_of}
    return tuple((gone | {i.id: i for i in seen.instances}).values())


class CaptionBook:
    """Turns descriptions of windows into revisions of captions, and remembers what was said."""

    def __init__(self) -> None:
        self._open: dict[str, Caption] = {}
        self._sure: dict[str, str] = {}  # of those: the newest text that held nothing but what was sure, by id
        self._withdrawn: dict[str, int] = {}  # newest revisions, of the last few
        self._said: list[Caption] = []
        self._told: dict[int, None] = {}  # in the order in which they were told of

    @property
    def told(self) -> frozenset[int]:
        """Ids of those of whom it has spoken, the last 1,024."""
        return frozenset(self._told)

    def said(self, at: float) -> tuple[str, ...]:
        """Texts of the final captions that a reader at ``at`` (media seconds) remembers, oldest first."""
        recent = [caption.text for caption in self._said if at - caption.end <= REPEAT_S]
        return tuple(recent or [caption.text for caption in self._said[-1:]])

    def is_news(self, window: Window, what: Description) -> bool:
        """True where a draft of what is sure was shown, or one would say something new."""
        return window.id in self._sure or (bool(what.text) and not self._repeats(window, what))

    def revise(self, window: Window, what: Description, *, source: str, final: bool) -> Caption | None:
        """The next revision of a window's caption; None where it would say nothing new.

        A caption of which a draft was shown becomes final, or is withdrawn where the draft said nothing but what was
        likely and did not come true: so no subscriber keeps a draft for ever. What is withdrawn has no text.
        """
        before = self._open.get(window.id)
        if not self.is_news(window, what):
            return self._withdraw(before) if before is not None else None
        text = what.text or self._sure[window.id]
        if not window.likely:
            self._sure[window.id] = text
        if before is not None and not final and before.text == text:
            return None
        status = CaptionStatus.FINAL if final else CaptionStatus.UPDATE if before else CaptionStatus.OPEN
        caption = Caption(
            window.id,
            before.rev + 1 if before else self._withdrawn.get(window.id, -1) + 1,
            status,
            CaptionKind.FULL if window.scene_start else CaptionKind.DIFF,
            window.start,
            window.end,
            text,
            window.captured_at,
            what.saliency,
            source,
            what.skills,
            _named(window.instances, what.who),
            _evidence(window),
            window.waited,
            what.conflicts,
        )
        if final:
            self._told |= dict.fromkeys(what.who)
            while len(self._told) > TOLD:
                del self._told[next(iter(self._told))]
            self._open.pop(window.id, None)
            self._sure.pop(window.id, None)
            self._said = [*self._said[-RECENT + 1 :], caption]
        else:
            self._open[window.id] = caption
        return caption

    def _withdraw(self, draft: Caption) -> Caption:
        del self._open[draft.id]
        self._withdrawn[draft.id] = draft.rev + 1
        while len(self._withdrawn) > RECENT:
            del self._withdrawn[next(iter(self._withdrawn))]
        return replace(
            draft, rev=draft.rev + 1, status=CaptionStatus.UPDATE, text="", skills={}, instances=(), evidence=(),
            conflicts=(),
        )  # fmt: skip

    def _repeats(self, window: Window, what: Description) -> bool:
        if window.scene_start:  # another scene is news, also where it looks like one before
            return False
        about = set(what.who)
        recent = [s for s in reversed(self._said) if window.start - s.end < REPEAT_S]
        if not about:
            return any(said.text == what.text for said in recent)
        # Of instances only the newest word counts: who enters, leaves and enters again is news each time.
        newest = next((said for said in recent if about & {i.id for i in said.instances}), None)
        return newest is not None and newest.text == what.text and {i.id for i in newest.instances} == about


def _evidence(window: Window) -> tuple[float, ...]:
    """Media times of the frames that show what is told; none are kept for what may not come true."""
    ends = {fact.end for fact in window.facts}
    return tuple(sorted(ends if window.likely else {window.end, *ends}))


def _named(instances: tuple[Instance, ...], who: tuple[int, ...]) -> tuple[Instance, ...]:
    known = {i.id: i for i in instances}
    return tuple(known[key] for key in who if key in known)
