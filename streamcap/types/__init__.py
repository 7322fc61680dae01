"""Frozen value types that cross layers. No behaviour beyond geometry, no adapters, no I/O.

Times: ``pts``, ``start``, ``end``, ``t`` are media seconds from the start of the stream, monotonic.
``captured_at`` is wall time in Unix seconds. Boxes are ``(x0, y0, x1, y1)`` in 0..1 of the frame.
"""

from streamcap.types.captions import Caption, CaptionKind, CaptionStatus, Conflict, ConflictKind, Event, Window
from streamcap.types.media import Alike, Frame, KeyFrame, Notice, NoticeKind, SourceInfo, Stretch
from streamcap.types.perceived import (
    Box,
    Condition,
    Detections,
    Fact,
    Health,
    Instance,
    Look,
    Observation,
    Setting,
    Side,
    Skill,
    Trouble,
)

__all__ = [
    "Alike",
    "Box",
    "Caption",
    "CaptionKind",
    "CaptionStatus",
    "Condition",
    "Conflict",
    "ConflictKind",
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
