"""Looks turned by a quarter, for vehicles seen from above.

Seen from above, a car that drives across the picture is a telephone to a detector that learnt from photographs; one
that drives up the picture is a car. So what is quick and has no name of anything that moves is looked at turned, every
other time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamcap.geometry import clip, contained
from streamcap.labels import MOVERS, VEHICLES
from streamcap.tracks import Stage, Track
from streamcap.types import Box, Detections

__all__ = ["turn", "turn_back", "turned"]

# A crop is turned where this share of something quick lies in it, and not so much of anything named with this score.
INSIDE = 0.75
KNOWN_INSIDE = 0.5
KNOWN = 0.45
# Only vehicles are believed of a turned look, from this score on.
SURE = 0.35


def turned(crops: Sequence[Box], tracks: Sequence[Track], pts: float, aspect: float) -> list[bool]:
    """Which crops are to be looked at turned.

    Args:
        crops: in 0..1 of the frame.
        tracks: all that are followed, as they were before this frame.
        pts: of this frame, media seconds.
        aspect: width of the frame by its height.
    """
    quick = [clip(t.expected(pts)) for t in tracks if _is_due(t, aspect)]
    known = [clip(t.expected(pts)) for t in tracks if _is_known(t)]
    return [
        any(contained(box, crop) > INSIDE for box in quick)
        and not any(contained(box, crop) > KNOWN_INSIDE for box in known)
        for crop in crops
    ]


def _is_due(track: Track, aspect: float) -> bool:
    """It goes across, lies across, has no name, and it is its turn."""
    width, height = (track.box[2] - track.box[0]) * aspect, track.box[3] - track.box[1]
    nameless = track.vote.result(roams=True)[0] == "object" and track.stage is not Stage.LOST
    across = abs(track.velocity[0]) * aspect > abs(track.velocity[1]) and width > height
    return nameless and across and len(track.trail) % 2 == 0 and track.is_quick


def _is_known(track: Track) -> bool:
    return track.id > 0 and track.best >= KNOWN and track.label in MOVERS and track.label != "object"


def turn(part: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An (h, w, 3) uint8 picture turned by a quarter against the clock, (w, h, 3)."""
    return np.ascontiguousarray(np.rot90(part))


def turn_back(seen: Detections, labels: Sequence[str]) -> Detections:
    """The vehicles that were seen in a turned picture, in 0..1 of the picture as it was."""
    keep = [
        labels[n] in VEHICLES and s >= SURE for n, s in zip(seen.labels.tolist(), seen.scores.tolist(), strict=True)
    ]
    sure = np.asarray(keep, np.bool_)
    a, b, c, d = seen.boxes[sure].T
    return Detections(np.stack([1 - d, a, 1 - b, c], -1), seen.labels[sure], seen.scores[sure])
