"""What the camera and the light do."""

from __future__ import annotations

from collections.abc import Iterator

from streamcap.facts.scene import SALIENCY, Scene
from streamcap.types import Fact, Skill

__all__ = ["Lens"]


class Lens:
    """Cut, pan, tilt, zoom, shake and light, which the camera watch has already made sure of."""

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`Rule`."""
        for change in scene.camera.changes:
            skill = Skill.ENVIRONMENT if change.what in ("light", "cut") else Skill.CAMERA
            label = "scene" if skill is Skill.ENVIRONMENT else "camera"
            yield Fact(
                change.what, change.start, change.end, change.confidence, skill,
                label=label, where=change.where, saliency=SALIENCY[change.what],
            )  # fmt: skip
