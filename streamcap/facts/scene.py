"""What the rules of facts see, and how a fact about an instance is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from streamcap.camera import CameraReading
from streamcap.geometry import area
from streamcap.instances import Track, TrackerUpdate
from streamcap.labels import MOVERS
from streamcap.nearness import CloseUp
from streamcap.stationary import PlaceChange
from streamcap.types import Box, Fact, Health, Skill

__all__ = ["SALIENCY", "Rule", "Scene", "about", "is_named", "moves_by_itself"]

# Scene start: seconds in which what is found was there already. The detector goes over a picture in parts: where it is
# looked at less often than five times a second, so many looks have to be over too, but no more time than that.
SETTLE_S = 1.2
SETTLE_LOOKS = 5
SETTLE_MOST_S = 4.0
# Moments (media seconds) that differ by less are one.
SAME_MOMENT_S = 1e-6
# Below this confidence a wrong noun is likelier than a right one.
NAME_LEAST = 0.5

SALIENCY = {
    "enter": 0.7, "leave": 0.65, "appear": 0.55, "disappear": 0.45, "empty": 0.4, "stop": 0.35, "start": 0.35,
    "cut": 0.9, "pan": 0.45, "tilt": 0.45, "zoom": 0.45, "shake": 0.35, "light": 0.75,
    "fall": 1.0, "lie": 0.8, "meet": 0.7,
    "sit": 0.6, "stand_up": 0.5, "bend": 0.45, "raise_arms": 0.6, "wave": 0.65, "eat": 0.55, "drink": 0.55,
    "drive_through": 0.55, "park": 0.5, "ride": 0.6, "get_in": 0.65, "get_out": 0.65,
    "carry": 0.5, "pick_up": 0.7, "put_down": 0.7, "left_behind": 0.95,
    "turn": 0.3, "run": 0.75, "loiter": 0.6, "approach": 0.45, "retreat": 0.35, "close_up": 0.8,
    "part": 0.45, "group_forms": 0.6, "group_parts": 0.45, "crowd": 0.7, "grapple": 0.9,
    "freeze": 0.85, "unfreeze": 0.5, "black": 0.9, "blur": 0.8, "blocked": 0.9, "moved": 0.9, "exposure": 0.5,
    "clear": 0.5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the rules see of one frame.

    Attributes:
        pts: media seconds.
        since_start: seconds since the scene began (start of stream, or cut).
        tracks: what the tracker did.
        camera: what the camera did.
        lost: tracks that are out of sight but not given up.
        aspect: width of the frame by its height.
        driving: the camera itself travels forward.
        places: places that were just found to look lastingly other.
        health: what is wrong with the picture itself.
        stir: share of a box, 0..1, that changed since the frame before.
        close: something without a name that is close to the camera.
        steady_since: media seconds since when the whole picture has not moved, by the camera or however else.
        looks: frames of the scene so far, this one among them.
    """

    pts: float
    since_start: float
    tracks: TrackerUpdate
    camera: CameraReading
    lost: tuple[Track, ...] = ()
    aspect: float = 4 / 3
    driving: bool = False
    places: tuple[PlaceChange, ...] = ()
    health: Health = field(default_factory=Health)
    stir: Callable[[Box], float] = lambda _: 0.0
    close: CloseUp | None = None
    steady_since: float = -math.inf
    looks: int = SETTLE_LOOKS

    @property
    def settling(self) -> bool:
        """What is found now was there already."""
        return self.since_start < (SETTLE_S if self.looks >= SETTLE_LOOKS else SETTLE_MOST_S)

    def watched_since(self, track: Track) -> float:
        """Since when (media seconds) a track is watched without a break: one may be older than its scene.

        After a time that was not seen a scene begins, and tracks live on.
        """
        return max(track.born, self.pts - self.since_start)

    def was_there(self, track: Track) -> bool:
        """A track that is found now did not come, as far as anybody can tell: it was there when the scene began."""
        return self.settling or track.born < self.pts - self.since_start - SAME_MOMENT_S


class Rule(Protocol):
    """Looks at every frame in order; yields a fact when it is sure of it, and with each frame what is likely."""

    def update(self, scene: Scene) -> Iterator[Fact]:
        """Facts that this frame made sure, and those that are likely as it stands (``sure`` is False)."""
        ...


def about(track: Track, what: str, start: float, end: float, where: str, confidence: float) -> Fact:
    """A fact about one instance, from its first sighting on; its saliency grows with its class and size."""
    instance = track.instance()
    label = instance.label if instance.confidence >= NAME_LEAST else "object"
    size = min(1.0, area(track.box) * 10)
    saliency = SALIENCY[what] * (1.0 if label == "person" else 0.9) * (0.85 + 0.15 * size)
    if label == "object":
        saliency *= 0.6
    start = max(start, track.first_seen)  # a rule's span of time may reach back to before the stream began
    return Fact(
        what, start, max(start, end), confidence, Skill.ACTION, (instance.id,), label, where, saliency,
        (track.trail[-1][1],),
    )  # fmt: skip


def is_named(track: Track) -> bool:
    """Its name is likelier right than wrong, so that it is spoken of by it."""
    name = track.instance()
    return name.label != "object" and name.confidence >= NAME_LEAST


def moves_by_itself(track: Track) -> bool:
    """It is of a kind that goes about by itself; by what it was seen to do, its class was chosen."""
    return track.label in MOVERS
