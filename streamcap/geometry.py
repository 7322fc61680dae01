"""Boxes in 0..1 and the words for places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamcap.types import Box, Side

__all__ = [
    "area", "centre", "clip", "contained", "depth", "iou_matrix", "nearest_side", "outward", "place", "touches",
    "union",
]  # fmt: skip


def area(box: Box) -> float:
    """Area as a share of the frame."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def centre(box: Box) -> tuple[float, float]:
    """Middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def clip(box: Box) -> Box:
    """The part of a box inside the frame."""
    x0, y0, x1, y1 = (min(1.0, max(0.0, v)) for v in box)
    return x0, y0, x1, y1


def union(a: Box, b: Box) -> Box:
    """Smallest box around both."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def contained(inner: Box, outer: Box) -> float:
    """Share of ``inner`` that lies in ``outer``, 0..1; 0 for an empty box."""
    w = min(inner[2], outer[2]) - max(inner[0], outer[0])
    h = min(inner[3], outer[3]) - max(inner[1], outer[1])
    if w <= 0 or h <= 0:
        return 0.0
    whole = (inner[2] - inner[0]) * (inner[3] - inner[1])
    return w * h / whole if whole > 0 else 0.0


def iou_matrix(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of each of (n, 4) with each of (m, 4) boxes as (n, m) float32."""
    top = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(bottom - top, 0, None).prod(-1)
    size_a, size_b = ((x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b))
    return np.asarray(inter / (size_a[:, None] + size_b[None] - inter + 1e-9), np.float32)


def touches(box: Box, margin: float) -> set[Side]:
    """Sides of the frame that a box comes within ``margin`` (of the frame) of."""
    near = {
        Side.LEFT: box[0] <= margin,
        Side.RIGHT: box[2] >= 1 - margin,
        Side.TOP: box[1] <= margin,
        Side.BOTTOM: box[3] >= 1 - margin,
    }
    return {side for side, yes in near.items() if yes}


def depth(box: Box, side: Side) -> float:
    """How far (share of the frame) a box reaches into the frame from a side: so far it must go to be out by it."""
    reach = {Side.LEFT: box[2], Side.RIGHT: 1 - box[0], Side.TOP: box[3], Side.BOTTOM: 1 - box[1]}
    return reach[side]


def outward(velocity: tuple[float, float]) -> dict[Side, float]:
    """How fast a velocity (frame sizes a second) goes towards each side; negative where it goes away from it."""
    vx, vy = velocity
    return {Side.LEFT: -vx, Side.RIGHT: vx, Side.TOP: -vy, Side.BOTTOM: vy}


def nearest_side(box: Box, velocity: tuple[float, float], candidates: set[Side]) -> Side:
    """The side that something at ``box`` with ``velocity`` (frame sizes a second) goes to.

    Args:
        candidates: sides to choose from, at least one. For where something came from, pass the negated velocity.
    """
    away = outward(velocity)
    gap = {Side.LEFT: box[0], Side.RIGHT: 1 - box[2], Side.TOP: box[1], Side.BOTTOM: 1 - box[3]}
    return max(candidates, key=lambda side: (away[side] - gap[side], side.value))


def place(box: Box) -> str:
    """Where a box lies on a 3×3 grid: ``"top left"``, ``"left"``, ``"centre"`` …"""
    x, y = centre(box)
    across = "left" if x < 0.36 else "right" if x > 0.64 else ""
    down = "top" if y < 0.3 else "bottom" if y > 0.72 else ""
    return " ".join(word for word in (down, across) if word) or "centre"
