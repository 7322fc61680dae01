"""Where the detector looks: a few crops a frame that cover what matters, and in time everything.

A detector with a 320-pixel input misses a person of 60 pixels in a whole 768×576 frame and finds the same person in a
crop four times as high as the person. So crops are sized by what they are to show, and a rotating tile
walks over the frame so that small and still things are found too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from streamcap.geometry import contained, union
from streamcap.types import Box

__all__ = ["Look", "TileWalk", "plan"]

# A crop is this many times as large as the object that it is for.
ZOOM = 3.0
# A second look, where the first found nothing, is this close: who lies on the floor is a dog from afar.
ZOOM_CLOSER = 1.7
# An object that fills this much of a square crop is still found well.
SNUG = 0.92
# Never magnify beyond the network's own input by more than 2: nothing is gained.
MIN_CROP_PX = 160
# A tile for the walk over the frame: the network's input size, but not less than half the short side.
TILE_PX = 320
TILE_SHARE = 0.6
# From here on a crop is as good as the whole frame.
WHOLE = 0.85


@dataclass(frozen=True, slots=True)
class Look:
    """A wish: look at ``box``; wishes of higher priority are met first.

    Attributes:
        closer: the last look from the usual distance found nothing.
    """

    box: Box
    priority: float
    closer: bool = False


def plan(looks: Sequence[Look], size: tuple[int, int], budget: int) -> list[Box]:
    """Choose at most ``budget`` crops that meet the most urgent wishes, and others beside them.

    Args:
        looks: what should be seen.
        size: (width, height) of the frame in pixels.
        budget: most crops.

    Returns:
        Crops in 0..1; the first serves the wish of the highest priority.
    """
    waiting = sorted(looks, key=lambda look: -look.priority)
    crops: list[Box] = []
    while waiting and len(crops) < budget:
        first = waiting[0].box
        target = first
        side = _side(first, size, ZOOM_CLOSER if waiting[0].closer else ZOOM)
        for look in waiting[1:]:  # stretch the target while all fits comfortably in the same crop
            wider = union(target, look.box)
            if _fits(wider, side, size):
                target = wider
        crop = _crop(target, side, size)
        crops.append(crop)
        waiting = [look for look in waiting if contained(look.box, crop) < 0.95 and look.box is not first]
    return crops


class TileWalk:
    """Walks over the frame: the whole first, then overlapping tiles, then again."""

    def __init__(self) -> None:
        self._at = 0

    def restart(self) -> None:
        """Begin with the whole frame: after a cut."""
        self._at = 0

    def next(self, size: tuple[int, int]) -> Box:
        """The next crop for a frame of (width, height) pixels."""
        all_tiles = tiles(size)
        tile = all_tiles[self._at % len(all_tiles)]
        self._at += 1
        return tile


def tiles(size: tuple[int, int]) -> list[Box]:
    """The whole frame, squares as high as the frame, and a grid of smaller ones; for a small frame the whole alone."""
    width, height = size
    short = min(width, height)
    fine = max(TILE_PX, TILE_SHARE * short)
    found: list[Box] = [(0.0, 0.0, 1.0, 1.0)]
    for side in (short, fine):
        if (side == short and max(size) < 1.15 * short) or (side == fine and fine >= WHOLE * short):
            continue
        sx, sy = side / width, side / height
        found += [(x, y, x + sx, y + sy) for y in _steps(height, side) for x in _steps(width, side)]
    return found


def _steps(length: int, side: float) -> list[float]:
    share = min(side / length, 1.0)
    count = 1 if share >= 1 else math.ceil((1 - share) / (share * 0.8)) + 1
    return [i * (1 - share) / (count - 1) for i in range(count)] if count > 1 else [0.0]


def _side(box: Box, size: tuple[int, int], zoom: float) -> float:
    longest = max((box[2] - box[0]) * size[0], (box[3] - box[1]) * size[1])
    side = max(MIN_CROP_PX, zoom * longest)
    short = min(size)
    # A square as high as the frame shows a large object better than the whole frame does.
    return float(short) if side > short >= longest / SNUG else side


def _fits(box: Box, side: float, size: tuple[int, int]) -> bool:
    return (box[2] - box[0]) * size[0] <= 0.85 * side and (box[3] - box[1]) * size[1] <= 0.85 * side


def _crop(box: Box, side: float, size: tuple[int, int]) -> Box:
    width, height = size
    short = min(width, height)
    if side > short:
        return (0.0, 0.0, 1.0, 1.0)
    side = short if side >= WHOLE * short else side
    sx, sy = side / width, side / height
    x = min(max((box[0] + box[2] - sx) / 2, 0.0), 1 - sx)
    y = min(max((box[1] + box[3] - sy) / 2, 0.0), 1 - sy)
    return (x, y, x + sx, y + sy)
