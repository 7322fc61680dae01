"""What happened: facts from instance histories and the camera, each said once.

A rule looks at one frame's :class:`Scene` and yields facts. Rules keep their own hysteresis and share nothing; a new
sort of fact is a new rule in :data:`RULES`. Each file holds its rule's thresholds, with units.
"""

from __future__ import annotations

from collections.abc import Callable

from streamcap.facts.crowds import Crowds, Struggles
from streamcap.facts.gestures import Gestures
from streamcap.facts.groups import Groups
from streamcap.facts.lens import Lens
from streamcap.facts.loads import Loads
from streamcap.facts.motion import Motion
from streamcap.facts.nearing import ClosingIn, Nearing, NearingCamera
from streamcap.facts.objects import Handling, LeftBehind
from streamcap.facts.posture import Postures
from streamcap.facts.presence import Presence
from streamcap.facts.scene import SALIENCY, Rule, Scene
from streamcap.facts.vehicles import Boarding, Driving, OwnDrive, Riding
from streamcap.facts.ways import Lingering, Running, Turning
from streamcap.types import Fact

__all__ = ["RULES", "SALIENCY", "FactEngine", "Rule", "Scene"]

RULES: tuple[Callable[[], Rule], ...] = (
    Presence,
    Motion,
    Postures,
    Gestures,
    Turning,
    Running,
    Lingering,
    ClosingIn,
    NearingCamera,
    Nearing,
    Groups,
    Crowds,
    Struggles,
    Handling,
    LeftBehind,
    Loads,
    Driving,
    Riding,
    Boarding,
    OwnDrive,
    Lens,
)


class FactEngine:
    """Runs the rules over a stream.

    Attributes:
        likely: what is likely but not sure as of the last frame, most salient first.
    """

    def __init__(self) -> None:
        self._rules = [make() for make in RULES]
        self.likely: tuple[Fact, ...] = ()

    def update(self, scene: Scene) -> list[Fact]:
        """Facts that this frame made sure, most salient first; those that are likely only are then in ``likely``."""
        found = sorted((fact for rule in self._rules for fact in rule.update(scene)), key=lambda fact: -fact.saliency)
        self.likely = tuple(fact for fact in found if not fact.sure)
        return [fact for fact in found if fact.sure]
