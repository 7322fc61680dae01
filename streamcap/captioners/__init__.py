"""Captioners: put a window into words."""

from __future__ import annotations

from streamcap.captioners.base import Captioner, Difference, Recovering, Summariser
from streamcap.captioners.grounded import GroundedCaptioner
from streamcap.captioners.shared import SharedModel
from streamcap.config import CaptionerName, StreamSettings
from streamcap.errors import ConfigError

__all__ = ["Captioner", "Difference", "GroundedCaptioner", "Recovering", "SharedModel", "Summariser", "captioner_for"]


def captioner_for(settings: StreamSettings, vision: SharedModel | None = None) -> Captioner:
    """The captioner that a stream's settings name. Further ones are imported here, late, when they are asked for.

    Args:
        settings: of the stream.
        vision: the vision–language model that streams share; None where none is set up.

    Raises:
        ConfigError: the settings ask for one, and none is set up.
    """
    match settings.captioner:
        case CaptionerName.GROUNDED:
            return GroundedCaptioner(settings.profile)
        case CaptionerName.VISION:
            if vision is None:
                raise ConfigError(
                    f"stream {settings.id} wants a vision–language model, and none is set up",
                    hint="add a [vision] section to the settings (docs/vision.md)",
                )
            from streamcap.captioners.vision import VisionCaptioner

            return VisionCaptioner(settings, vision)
