"""What perception holds to be true of a frame: who is where, what happened, and how fit the picture is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from streamcap.types.media import Alike, KeyFrame

if TYPE_CHECKING:  # a subscriber installs without numpy
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Box",
    "Condition",
    "Detections",
    "Fact",
    "Health",
    "Instance",
    "Look",
    "Observation",
    "Setting",
    "Side",
    "Skill",
    "Trouble",
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
        continuous: it was there from ``first_seen`` on; false for who came back, and where nobody watched for a time.
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
    continuous: bool = True


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
        sure: False for what is likely only: fit for a draft, told anew with each frame for as long as it is likely.
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
    sure: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A picture of a stream together with who was where in it, for a vision–language model.

    Attributes:
        t: media seconds.
        image: (height, width, 3) uint8 RGB, made small, read-only.
        instances: those in view, as they were at ``t``.
        alike: others that it stands for, for a model that blends them.
        count: frames that it stands for by itself.
        silhouettes: by id of an instance (height, width) bool, the pixels of the picture that show it; of who is
            missing here only the box is known.
    """

    t: float
    image: NDArray[np.uint8]
    instances: tuple[Instance, ...]
    alike: tuple[Alike, ...] = ()
    count: int = 1
    silhouettes: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)


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
        likely: facts that are not sure, as they stand with this frame: one that is missing in the next frame has become
            sure, and is among its ``facts``, or was wrong.
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
    likely: tuple[Fact, ...] = ()
