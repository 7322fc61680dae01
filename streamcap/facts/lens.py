"""What the camera, the light and the picture itself do."""

from __future__ import annotations

from collections.abc import Iterator

from streamcap.facts.scene import SALIENCY, Scene
from streamcap.types import Condition, Fact, Skill, Trouble

__all__ = ["Lens"]

# Condition of the picture -> the fact that tells its beginning, with its ``where``.
_BEGINS = {
    Condition.FREEZE: ("freeze", ""),
    Condition.BLACK: ("black", ""),
    Condition.BLANK: ("black", "blank"),
    Condition.DARK: ("exposure", "dark"),
    Condition.BRIGHT: ("exposure", "bright"),
    Condition.BLUR: ("blur", ""),
    Condition.BLOCKED: ("blocked", ""),
    Condition.MOVED: ("moved", ""),
}


class Lens:
    """Cut, pan, tilt, zoom, shake, light and the picture's health, which their watches have already made sure of."""

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for change in scene.camera.changes:
            skill = Skill.ENVIRONMENT if change.what in ("light", "cut") else Skill.CAMERA
            label = "scene" if skill is Skill.ENVIRONMENT else "camera"
            yield Fact(
                change.what, change.start, change.end, change.confidence, skill,
                label=label, where=change.where, saliency=SALIENCY[change.what],
            )  # fmt: skip
        for trouble in scene.health.began:
            yield _of_picture(*_BEGINS[trouble.what], trouble.since, scene.pts, trouble)
        if scene.health.ended and not scene.health.troubles:
            last = scene.health.ended[-1]
            what = "unfreeze" if last.what is Condition.FREEZE else "clear"
            yield _of_picture(what, "", scene.pts, scene.pts, last)


def _of_picture(what: str, where: str, start: float, end: float, trouble: Trouble) -> Fact:
    return Fact(
        what, start, end, trouble.confidence, Skill.CAMERA, label="camera", where=where, saliency=SALIENCY[what]
    )
