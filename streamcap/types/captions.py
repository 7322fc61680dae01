"""What is told: windows, captions and events."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from streamcap.types.media import KeyFrame, Stretch
from streamcap.types.perceived import Fact, Instance, Look, Setting, Skill

__all__ = ["Caption", "CaptionKind", "CaptionStatus", "Conflict", "ConflictKind", "Event", "Window"]


class CaptionKind(StrEnum):
    """What a caption is for."""

    FULL = "full"
    DIFF = "diff"
    SUMMARY = "summary"
    COMMENTARY = "commentary"


class CaptionStatus(StrEnum):
    """Life of a caption. ``final`` never changes; ``retracted`` withdraws a final."""

    OPEN = "open"
    UPDATE = "update"
    FINAL = "final"
    RETRACTED = "retracted"


class ConflictKind(StrEnum):
    """What a text may get wrong."""

    COUNT = "count"
    LABEL = "label"
    PLACE = "place"
    DIRECTION = "direction"
    ABSENCE = "absence"  # "no one", where somebody is
    IDENTITY = "identity"  # an instance that does not exist
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Where a text says otherwise than what perception holds to be true.

    Attributes:
        said: the words in question.
        perceived: what is held to be true instead, in words.
        sure: probability that the text is wrong here, 0..1; a judgement, not measured.
    """

    kind: ConflictKind
    said: str
    perceived: str
    sure: float


@dataclass(frozen=True, slots=True)
class Window:
    """What a captioner gets: one span of a stream in which something changed.

    Attributes:
        id: id of the caption that comes of it.
        start, end: media seconds that its facts speak about.
        scene_start: true where the scene begins here (start, cut, long silence): asks for a full caption.
        key_frames: kept frames of the span, oldest first, at most 8.
        told: ids of those of whom a caption spoke before; None: of all.
        said: texts of the final captions of the half minute before, oldest first; at least of the newest one.
        setting: what kind of scene it is, as far as is known at its end.
        looks: pictures of the span for a vision–language model, oldest first, at most 8; where the scene goes on the
            first one is of before the change. Empty for a captioner that looks at none.
        past: spans of what was seen before, oldest first, at most 3, each with a kept frame; likewise.
        so_far: what happened in the last minutes, in a sentence; likewise.
        likely: facts that are not sure yet, for a draft; a window that is closed has none.
        captured_at: wall time of capture of the frame at ``end``, Unix seconds.
        waited: media seconds from ``end`` to the newest frame that was looked at when it took this shape: until a rule
            was sure, and until nothing more came.
    """

    id: str
    stream: str
    start: float
    end: float
    captured_at: float
    facts: tuple[Fact, ...]
    instances: tuple[Instance, ...]
    key_frames: tuple[KeyFrame, ...] = ()
    scene_start: bool = False
    said: tuple[str, ...] = ()
    told: frozenset[int] | None = None
    setting: Setting = field(default_factory=Setting)
    waited: float = 0.0
    looks: tuple[Look, ...] = ()
    past: tuple[Stretch, ...] = ()
    so_far: str = ""
    likely: tuple[Fact, ...] = ()

    @property
    def previous(self) -> str:
        """Text of the last final caption, empty at the start."""
        return self.said[-1] if self.said else ""


@dataclass(frozen=True, slots=True)
class Caption:
    """One revision of a caption. Every revision carries the whole text.

    Attributes:
        id: stable over the revisions, unique in the stream.
        rev: 0, 1, 2 …
        text: all of it. Of a draft that is withdrawn it is empty: nothing of what it said stands.
        start, end: media span that the text speaks about.
        captured_at: wall time of capture of the last frame that the text speaks about, Unix seconds.
        skills: the text by skill, only those that have one.
        instances: those that the text names, as they were at ``end``.
        evidence: media times of the frames that show it.
        source: name of the captioner.
        waited: media seconds from ``end`` to the newest frame that was looked at, as in :class:`Window`.
        conflicts: where the text contradicts what was perceived; of a vetoed text those that it was vetoed for.
    """

    id: str
    rev: int
    status: CaptionStatus
    kind: CaptionKind
    start: float
    end: float
    text: str
    captured_at: float
    saliency: float = 0.5
    source: str = "grounded"
    skills: dict[Skill, str] = field(default_factory=dict)
    instances: tuple[Instance, ...] = ()
    evidence: tuple[float, ...] = ()
    waited: float = 0.0
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A time–saliency–text triple (TRACE, arXiv:2410.05643) about one fact.

    Attributes:
        label: the fact's ``what``.
        instances: those that it is about.
        rule: what raised it; ``builtin`` for the embedded rules.
    """

    id: str
    label: str
    start: float
    end: float
    saliency: float
    text: str
    instances: tuple[Instance, ...] = ()
    rule: str = "builtin"
