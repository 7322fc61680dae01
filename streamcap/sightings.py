"""What the detector saw in crops, as sightings in the frame: each thing once, and nothing that a crop cuts off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamcap.closeups import Found
from streamcap.geometry import area, contained, touches
from streamcap.types import Box, Detections

__all__ = ["distinct", "placed"]

# A detection cut by its crop's border shows a part of the object.
CROP_MARGIN = 0.015
# Two detections of which one covers this much of the other are one object.
SAME = 0.75


def placed(detections: Detections, labels: Sequence[str], crop: Box) -> Iterator[Found]:
    """Detections in a crop as (score, label, box) of the frame, without those that the crop cuts off.

    Args:
        detections: boxes in 0..1 of the crop.
        labels: the detector's class names.
        crop: in 0..1 of the frame.
    """
    x0, y0, x1, y1 = crop
    sx, sy = x1 - x0, y1 - y0
    frame_sides = touches(crop, 1e-6)
    for (a, b, c, d), label, score in zip(
        detections.boxes.tolist(), detections.labels.tolist(), detections.scores.tolist(), strict=True
    ):
        if touches((a, b, c, d), CROP_MARGIN) <= frame_sides:
            yield score, labels[label], (x0 + a * sx, y0 + b * sy, x0 + c * sx, y0 + d * sy)


def distinct(found: Sequence[Found]) -> list[Found]:
    """Leave out what a better detection, from whichever crop, already covers; best first."""
    kept: list[Found] = []
    for item in sorted(found, key=lambda x: -x[0]):
        _, label, box = item
        if not any(_same(box, other, name == label) for _, name, other in kept):
            kept.append(item)
    return kept


def _same(a: Box, b: Box, same_label: bool) -> bool:
    inside = max(contained(a, b), contained(b, a))
    ratio = min(area(a), area(b)) / max(area(a), area(b), 1e-9)
    # A bag on a person is inside the person and much smaller; a second box on the person is not.
    return inside > SAME and (ratio > 0.4 or same_label)
