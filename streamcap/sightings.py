"""From what a detector says of crops to what is in the frame."""

from __future__ import annotations

from collections.abc import Sequence

from streamcap.closeups import Found
from streamcap.geometry import area, clip, contained, touches
from streamcap.labels import MOVERS, VEHICLES
from streamcap.tracks import Stage, Track
from streamcap.types import Box

__all__ = ["distinct", "in_frame", "is_vehicle", "turned", "upright"]

# A detection cut by its crop's border shows a part of the object.
CROP_MARGIN = 0.015
# Two detections of which one covers this much of the other are one object.
SAME = 0.75
# Seen from above, a car that drives across the picture is a telephone to a detector that learnt from photographs; one
# that drives up the picture is a car. So what is quick and has no name of anything that
# moves is looked at turned by a quarter, every other time; not together with what was named with this score. Only
# vehicles are believed of such a look, from this score on.
KNOWN = 0.45
TURNED_SURE = 0.35


def distinct(found: Sequence[Found]) -> list[Found]:
    """Leave out what a better detection, from whichever crop, already covers; best first."""
    kept: list[Found] = []
    for item in sorted(found, key=lambda x: -x[0]):
        box = item[2]
        if not any(_same(box, other, item[1] == label) for _, label, other in kept):
            kept.append(item)
    return kept


def _same(a: Box, b: Box, same_label: bool) -> bool:
    inside = max(contained(a, b), contained(b, a))
    ratio = min(area(a), area(b)) / max(area(a), area(b), 1e-9)
    # A bag on a person is inside the person and much smaller; a second box on the person is not.
    return inside > SAME and (ratio > 0.4 or same_label)


def in_frame(box: Sequence[float], crop: Box) -> Box | None:
    """A detection in 0..1 of its crop, in 0..1 of the frame; None where only the crop's border ends it."""
    a, b, c, d = box
    if touches((a, b, c, d), CROP_MARGIN) - touches(crop, 1e-6):
        return None
    x0, y0, x1, y1 = crop
    sx, sy = x1 - x0, y1 - y0
    return x0 + a * sx, y0 + b * sy, x0 + c * sx, y0 + d * sy


def turned(crops: Sequence[Box], tracks: Sequence[Track], pts: float, aspect: float) -> list[bool]:
    """Which crops are to be looked at turned by a quarter.

    Args:
        crops: in 0..1 of the frame.
        tracks: all that are followed, as they were before this frame.
        pts: of this frame, media seconds; ``aspect``: width of the frame by its height.
    """
    quick = [clip(t.expected(pts)) for t in tracks if _is_quick(t, aspect)]
    known = [clip(t.expected(pts)) for t in tracks if _is_known(t)]
    return [
        any(contained(box, crop) > SAME for box in quick) and not any(contained(box, crop) > 0.5 for box in known)
        for crop in crops
    ]


def _is_quick(track: Track, aspect: float) -> bool:
    """It goes across, lies across, has no name, and it is its turn."""
    width, height = (track.box[2] - track.box[0]) * aspect, track.box[3] - track.box[1]
    nameless = track.vote.result(roams=True)[0] == "object" and track.stage is not Stage.LOST
    across = abs(track.velocity[0]) * aspect > abs(track.velocity[1]) and width > height
    return nameless and across and len(track.trail) % 2 == 0 and track.is_quick


def _is_known(track: Track) -> bool:
    return track.id > 0 and track.best >= KNOWN and track.label in MOVERS and track.label != "object"


def upright(box: Sequence[float]) -> Box:
    """A box in 0..1 of a picture turned by a quarter against the clock, in 0..1 of the picture as it was."""
    a, b, c, d = box
    return 1 - d, a, 1 - b, c


def is_vehicle(label: str, score: float) -> bool:
    """A turned look is believed."""
    return label in VEHICLES and score >= TURNED_SURE
