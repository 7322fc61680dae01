"""Frozen value types that cross layers. No behaviour beyond geometry, no adapters, no I/O.

Times: ``pts``, ``start``, ``end``, ``t`` are media seconds from the start of the stream, monotonic.
``captured_at`` is wall time in Unix seconds. Boxes are ``(x0, y0, x1, y1)`` in 0..1 of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a subscriber installs without numpy
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Alike",
    "Box",
    "Caption",
    "CaptionKind",
    "CaptionStatus",
    "Condition",
    "Conflict",
    "Detections",
    "Event",
    "Fact",
    "Frame",
    "Health",
    "Instance",
    "KeyFrame",
    "Look",
    "Notice",
    "NoticeKind",
    "Observation",
    "Setting",
    "Side",
    "Skill",
    "SourceInfo",
    "Stretch",
    "Trouble",
    "Window",
]


Box = tuple[float, float, float, float]


class Side(StrEnum):
    """A side of the frame, as the viewer sees it."""

    LEFT = "left"
    RIGHT = "right"
    TOP = "top"
    BOTTOM = "bottom"


class Skill(StrEnum):
    """The four sorts of difference between two moments (ShareGPT4Video, arXiv:2406.04325)."""

    ACTION = "action"
    ENVIRONMENT = "environment"
    APPEARANCE = "appearance"
    CAMERA = "camera"


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


class NoticeKind(StrEnum):
    """What a source has to say beside its frames."""

    CONNECTED = "connected"  # frames flow (again)
    LOST = "lost"  # a live source went away; a reconnect follows
    DAMAGE = "damage"  # the decoder met damaged data
    TRUNCATED = "truncated"  # the file ends before its header says so
    RESOLUTION = "resolution"  # the picture size changed
    DISCONTINUITY = "discontinuity"  # time stamps jumped and were re-based
    GAP = "gap"  # media time that was not seen


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture.

    Attributes:
        stream: id of the stream.
        index: number of the picture in the source's own rate; a hole in the numbers is a drop.
        pts: media seconds from the start of the stream, strictly increasing.
        captured_at: wall time of capture in Unix seconds, as near to the glass as the source knows.
        image: (height, width, 3) uint8 RGB, read-only.
        connection: counts up each time that the source was lost: what lies between two connections was not seen.
    """

    stream: str
    index: int
    pts: float
    captured_at: float
    image: NDArray[np.uint8]
    connection: int = 0


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open.

    Attributes:
        uri: the source as a user may see it: credentials removed.
        live: true where time does not wait (camera, looped or ``realtime`` file).
        width, height: size of the first picture in pixels.
        fps: the source's own rate, 0 where unknown.
        duration: seconds of media, None where unknown or endless.
    """

    uri: str
    live: bool
    width: int
    height: int
    fps: float
    duration: float | None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a source has to say beside its frames.

    Attributes:
        at: media seconds at which it happened.
        detail: one line for a person.
        start, end: span in media seconds, for a gap.
    """

    kind: NoticeKind
    at: float
    detail: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects that a detector found in one picture, as arrays of one length n.

    Attributes:
        boxes: (n, 4) float32, ``x0, y0, x1, y1`` in 0..1 of the picture.
        labels: (n,) int32 index into the detector's ``labels``.
        scores: (n,) float32 in 0..1.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.labels.shape != (n,):
            raise ValueError(f"ragged detections: {self.boxes.shape}, {self.labels.shape}, {n}")

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Instance:
    """Something that is followed under an id which is never reused in the life of the stream.

    Attributes:
        id: 1, 2, 3 … in order of confirmation.
        label: class by vote over the track; ``"object"`` while the vote is open.
        confidence: share of the vote, 0..1.
        box: place now.
        velocity: (vx, vy) of the box centre in frame sizes a second, the camera's own motion removed.
        first_seen, last_seen: media seconds.
        attributes: words such as colours, most telling first.
        posture: a word, or empty where unknown.
        visible: false while it is occluded or coasting.
        near: close to the camera (true) or far from it (false); None between, or where its kind tells no size.
        carries: nouns of what a person surely has along, as ``("backpack",)``.
    """

    id: int
    label: str
    confidence: float
    box: Box
    velocity: tuple[float, float]
    first_seen: float
    last_seen: float
    attributes: tuple[str, ...] = ()
    posture: str = ""
    visible: bool = True
    near: bool | None = None
    carries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that perception holds to be true, with its evidence.

    Attributes:
        what: the action or change: ``enter``, ``leave``, ``stop``, ``cut`` … (see facts.py).
        who: ids of the instances it is about; empty for the scene or the camera.
        label: class of the instances, or ``scene`` / ``camera``.
        start, end: media seconds.
        confidence: 0..1.
        skill: which of the four differential skills it belongs to.
        where: a side or place word, or empty.
        saliency: 0..1, how much a viewer would want to know.
        boxes: where the instances were, one for each id.
        detail: further words that the sentence needs, by name.
    """

    what: str
    start: float
    end: float
    confidence: float
    skill: Skill
    who: tuple[int, ...] = ()
    label: str = "scene"
    where: str = ""
    saliency: float = 0.5
    boxes: tuple[Box, ...] = ()
    detail: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A picture that stands for a span; it is kept small, or left out.

    Attributes:
        t: media seconds.
        jpeg: the picture, 320 pixels wide, or None where only the time is kept.
    """

    t: float
    jpeg: bytes | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A span of the past, and the kept frame that stands for it.

    Attributes:
        count: frames that ``key`` stands for by itself.
        others: kept frames of the span beside it, each with what it stands for; the weightiest few.
    """

    key: KeyFrame
    count: int = 1
    others: tuple[tuple[KeyFrame, int], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """A picture that another one stands for.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        count: frames that it stands for, >= 1.
    """

    image: NDArray[np.uint8]
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A picture of a stream together with who was where in it, for a vision–language model.

    Attributes:
        t: media seconds.
        image: (height, width, 3) uint8 RGB, made small, read-only.
        instances: those in view, as they were at ``t``.
        alike: others that it stands for, for a model that blends them.
        count: frames that it stands for by itself.
    """

    t: float
    image: NDArray[np.uint8]
    instances: tuple[Instance, ...]
    alike: tuple[Alike, ...] = ()
    count: int = 1


@dataclass(frozen=True, slots=True)
class Conflict:
    """Where a text says otherwise than what perception holds to be true.

    Attributes:
        what: sort of the contradiction: ``count``, ``label``, ``side``, ``action`` …
        said: what the text says, in its own words.
        perceived: what perception holds, in words.
    """

    what: str
    said: str
    perceived: str


class Condition(StrEnum):
    """What may be wrong with the picture itself."""

    FREEZE = "freeze"  # the same picture over and over from a source that never repeats one
    BLACK = "black"
    BLANK = "blank"  # one colour all over, as a generator sends it in place of a picture
    DARK = "dark"  # under-exposed
    BRIGHT = "bright"  # over-exposed
    BLUR = "blur"  # out of focus, against the stream's own normal
    BLOCKED = "blocked"  # something covers the lens
    MOVED = "moved"  # a fixed camera looks elsewhere than before; of one moment


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong with the picture.

    Attributes:
        since: media seconds.
        confidence: 0..1.
    """

    what: Condition
    since: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the picture is fit to be described.

    Attributes:
        troubles: what holds now.
        began, ended: what this frame made sure of; ``moved`` is only ever in ``began``.
    """

    troubles: tuple[Trouble, ...] = ()
    began: tuple[Trouble, ...] = ()
    ended: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What kind of scene it is. An empty word, or None, where the evidence is not strong.

    Attributes:
        light: ``day``, ``night``, ``infra-red``.
        space: ``indoor``, ``outdoor``.
        place: ``street``, ``room``, ``kitchen``, ``bedroom``.
        fixed: the camera stands still.
        traffic: ``empty`` of all that goes about, ``busy``.
        sway: what moves in the wind: ``leaves``.
    """

    light: str = ""
    space: str = ""
    place: str = ""
    fixed: bool | None = None
    traffic: str = ""
    sway: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What perception tells of one frame.

    Attributes:
        pts, captured_at: of the frame.
        changed: something changed since the last kept frame.
        scene_start: a scene begins with this frame (start of the stream, or a cut).
        settled: the first look round in the scene is over.
        facts: what this frame made sure.
        instances: all that are known, visible or not.
        key_frame: the frame, made small, where it is kept; at most one in two seconds.
        health: what is wrong with the picture itself.
        setting: what kind of scene it is.
    """

    pts: float
    captured_at: float
    changed: bool
    scene_start: bool
    settled: bool
    facts: tuple[Fact, ...]
    instances: tuple[Instance, ...]
    key_frame: KeyFrame | None = None
    health: Health = field(default_factory=Health)
    setting: Setting = field(default_factory=Setting)


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
