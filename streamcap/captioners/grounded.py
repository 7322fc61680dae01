"""The grounded captioner: says what perception holds to be true, in milliseconds, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from streamcap.config import Profile
from streamcap.language import Description, describe_change, describe_scene
from streamcap.types import Fact, Window

__all__ = ["GroundedCaptioner"]


class GroundedCaptioner:
    """Facts to sentences. Needs no model; also makes the draft that other captioners refine.

    Args:
        profile: who reads: longer sentences for a listener, one idea each for a guard.
    """

    name = "grounded"

    def __init__(self, profile: Profile = Profile.SURVEILLANCE) -> None:
        self._smooth = profile is not Profile.SURVEILLANCE

    def draft(self, window: Window) -> Description:
        """What can be said of an open window, and what is likely; of a scene in which nothing is found yet, nothing."""
        whole = self.whole(replace(window, facts=window.facts + window.likely))
        return whole if whole.who or not window.scene_start else Description("")

    def whole(self, window: Window) -> Description:
        """What there is to say of a closed window."""
        if not window.scene_start:
            return self._change(window, window.facts)
        scene = describe_scene(window.instances, window.facts, window.setting)
        happened = [fact for fact in window.facts if fact.what != "cut"]
        change = self._change(window, happened)
        if not change.text:
            return scene
        return Description(
            f"{scene.text} {change.text}",
            {**scene.skills, **change.skills},
            tuple(dict.fromkeys(scene.who + change.who)),
            max(scene.saliency, change.saliency),
        )

    def _change(self, window: Window, facts: Sequence[Fact]) -> Description:
        return describe_change(facts, window.instances, said=window.said, told=window.told, smooth=self._smooth)

    async def describe(self, window: Window) -> AsyncGenerator[Description, None]:
        """See :class:`streamcap.captioners.base.Captioner`; yields once."""
        yield self.whole(window)
