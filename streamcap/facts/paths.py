"""Measures of a path: where somebody went in a span of time, in pixels that are square.

Lengths are in frame heights, so that a step across and a step up the picture count alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from streamcap.types import Box

__all__ = ["Leg", "Trail", "angle", "height", "leg", "size", "within"]

Trail = Sequence[tuple[float, Box]]


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a path.

    Attributes:
        dx, dy: from its first to its last place; right and down are positive.
        off: largest distance of a place on it from the straight line between these two.
        seconds: how long it took.
        looks: how many places of it are known.
    """

    dx: float
    dy: float
    off: float
    seconds: float
    looks: int

    @property
    def far(self) -> float:
        """Distance from its first to its last place."""
        return math.hypot(self.dx, self.dy)

    @property
    def straight(self) -> float:
        """1 for a line, 0 for what strays as far as it goes; boxes that tremble do not lower it as a length would."""
        return max(0.0, 1 - self.off / self.far) if self.far > 0 else 0.0


def within(trail: Trail, start: float, end: float) -> Trail:
    """The part of a trail between two moments (media seconds), both included."""
    return [(t, box) for t, box in trail if start - 1e-6 <= t <= end + 1e-6]


def leg(trail: Trail, aspect: float) -> Leg:
    """A whole trail as one leg.

    Args:
        trail: (media seconds, box), oldest first.
        aspect: width of the frame by its height.
    """
    if len(trail) < 2:
        return Leg(0.0, 0.0, 0.0, 0.0, len(trail))
    points = [((b[0] + b[2]) / 2 * aspect, (b[1] + b[3]) / 2) for _, b in trail]
    (x0, y0), (x1, y1) = points[0], points[-1]
    off = max(_off(point, (x0, y0), (x1, y1)) for point in points)
    return Leg(x1 - x0, y1 - y0, off, trail[-1][0] - trail[0][0], len(trail))


def _off(point: tuple[float, float], start: tuple[float, float], end: tuple[float, float]) -> float:
    """Distance of a point from the line between two others, and not beyond them."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    square = dx * dx + dy * dy
    share = ((point[0] - start[0]) * dx + (point[1] - start[1]) * dy) / square if square > 0 else 0.0
    share = min(1.0, max(0.0, share))
    return math.dist(point, (start[0] + share * dx, start[1] + share * dy))


def angle(a: Leg, b: Leg) -> float:
    """Degrees between two directions, 0..180; 0 where one of them has none."""
    if a.far == 0 or b.far == 0:
        return 0.0
    cosine = (a.dx * b.dx + a.dy * b.dy) / (a.far * b.far)
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def height(trail: Trail) -> float:
    """Median height of the boxes."""
    return median(box[3] - box[1] for _, box in trail) if trail else 0.0


def size(trail: Trail, aspect: float) -> float:
    """Median of the longer side of the boxes."""
    return median(max(box[3] - box[1], (box[2] - box[0]) * aspect) for _, box in trail) if trail else 0.0
