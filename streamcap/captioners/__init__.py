"""Captioners: put a window into words."""

from __future__ import annotations

from streamcap.captioners.base import Captioner
from streamcap.captioners.grounded import GroundedCaptioner
from streamcap.config import CaptionerName

__all__ = ["Captioner", "GroundedCaptioner", "captioner_for"]


def captioner_for(name: CaptionerName) -> Captioner:
    """The captioner of a name. Further ones are imported here, late, when they are asked for."""
    match name:
        case CaptionerName.GROUNDED:
            return GroundedCaptioner()
