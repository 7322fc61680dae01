"""Captioners: put a window into words."""

from __future__ import annotations

from streamcap.captioners.base import Captioner
from streamcap.captioners.grounded import GroundedCaptioner
from streamcap.config import CaptionerName, StreamSettings
from streamcap.errors import ConfigError

__all__ = ["Captioner", "GroundedCaptioner", "captioner_for"]


def captioner_for(settings: StreamSettings) -> Captioner:
    """The captioner that a stream's settings name. Further ones are imported here, late, when they are asked for."""
    match settings.captioner:
        case CaptionerName.GROUNDED:
            return GroundedCaptioner(settings.profile)
        case CaptionerName.VISION:
            raise ConfigError("no vision–language model is set up", hint="add a [vision] section to the settings")
