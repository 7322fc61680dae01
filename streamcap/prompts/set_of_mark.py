"""Set-of-Mark (arXiv:2310.11441): each instance outlined and numbered with its own stable id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.prompts.choosing import chosen
from streamcap.prompts.lettering import colour_of, ink_on, text_size, write
from streamcap.prompts.outlines import outlined
from streamcap.prompts.silhouettes import Mask, Rect, Region, common, regions
from streamcap.types import Fact, Instance

__all__ = ["Plate", "plates", "set_of_mark"]

# Height of a number, as a share of the picture's smaller side, and its least (pixels): below nobody can read it.
NUMBER = 0.05
NUMBER_LEAST = 11
# A number that hides more of an instance than this stands beside it.
HIDES = 0.22
# The most inner point is looked for on a picture of at most this many pixels a side, this often where it is taken.
# Points with this share of the greatest distance from the border are as good.
SEARCH = 320
TRIES = 8
DEEP = 0.85


@dataclass(frozen=True, slots=True)
class Plate:
    """A number and where it stands.

    Attributes:
        rect: left, top, right, bottom in pixels, inside of the picture.
    """

    id: int
    rect: Rect


def set_of_mark(
    image: NDArray[np.uint8],
    instances: Sequence[Instance],
    facts: Sequence[Fact] = (),
    *,
    silhouettes: Mapping[int, Mask] | None = None,
    reserved: Sequence[Rect] = (),
) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    """Outlines and numbers on a copy of a picture.

    Args:
        image: (height, width, 3) uint8 RGB.
        instances: in view; where there are too many, or no room for a number, the least telling are left out whole.
        facts: of the window: whom it tells of is marked first.
        silhouettes: of some of them, by id, (height, width) bool; the others are marked by their boxes.
        reserved: where no number may stand, in pixels: something else is to be drawn there.

    Returns:
        The new picture, and the ids that are marked, rising.
    """
    shown = [i for i in chosen(instances, facts) if i.visible]
    covered = regions(shown, image.shape, silhouettes or {})
    placed = plates(image.shape, covered, reserved=reserved)
    marked = {plate.id for plate in placed}
    drawn = outlined(image, {key: region for key, region in covered.items() if key in marked})
    for plate in placed:
        _stamp(drawn, plate)
    return drawn, tuple(sorted(marked))


def plates(
    shape: tuple[int, ...], covered: Mapping[int, Region], *, reserved: Sequence[Rect] = ()
) -> tuple[Plate, ...]:
    """Where the numbers stand: none over another, each at the most inner point of what is its instance's alone.

    Where that would hide the instance, beside it.

    Args:
        shape: (height, width, …) of the picture in pixels.
        covered: what is to be numbered, by id; the smallest one chooses its place first, as in the paper.
    """
    placed: list[Plate] = []
    for key, region in sorted(covered.items(), key=lambda each: (each[1].area, each[0])):
        others = [other for other in covered.values() if other.id != key]
        taken = [*reserved, *(plate.rect for plate in placed)]
        rect = _place(_plate_size(key, shape), region, others, taken, shape)
        if rect is not None:
            placed.append(Plate(key, rect))
    return tuple(placed)


def _place(
    size: tuple[int, int], region: Region, others: list[Region], taken: list[Rect], shape: tuple[int, ...]
) -> Rect | None:
    within = _inner(size, region, others, taken, shape)
    if within is not None and size[0] * size[1] <= HIDES * region.area:
        return within
    return _beside(size, region.rect, others, taken, shape) or within


def _inner(
    size: tuple[int, int], region: Region, others: list[Region], taken: list[Rect], shape: tuple[int, ...]
) -> Rect | None:
    """At the point of the region that is farthest from its border and from the regions of others."""
    left, top, right, bottom = region.rect
    scale = min(1.0, SEARCH / max(right - left, bottom - top))
    w, h = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    alone = region.over(region.rect)
    for other in others:
        if other.area < region.area:  # a smaller one stands before it, or is a part of it
            alone &= ~other.over(region.rect)
    own = cv2.resize(alone.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST)
    depth = cv2.distanceTransform(np.pad(own, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    # Of a long region many points are about as deep: the one in the middle leaves the head of who stands in it free.
    y, x = (np.abs(np.arange(n, dtype=np.float32) - (n - 1) / 2) for n in (h, w))
    off = np.hypot(y[:, None], x[None])
    for _ in range(TRIES):
        deep = depth >= DEEP * max(float(depth.max()), 1e-6)
        if not deep.any():
            return None
        row, column = np.unravel_index(int(np.argmin(np.where(deep, off, np.inf))), depth.shape)
        rect = _at(left + (column + 0.5) / scale, top + (row + 0.5) / scale, size, shape)
        if rect is not None and not any(common(rect, other) for other in taken):
            return rect
        reach = max(2, round(min(size) * scale / 2))
        depth[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = 0
    return None


def _beside(
    size: tuple[int, int], box: Rect, others: list[Region], taken: list[Rect], shape: tuple[int, ...]
) -> Rect | None:
    """Right above, below or beside the box, where it hides least of the others; None where there is no room."""
    w, h = size
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    spots = [
        (x, box[1] - h / 2),
        (x, box[3] + h / 2),
        (box[0] - w / 2, y),
        (box[2] + w / 2, y),
        *((cx, cy) for cx in (box[0] - w / 2, box[2] + w / 2) for cy in (box[1] - h / 2, box[3] + h / 2)),
    ]
    rects = [_at(*spot, size, shape, move=False) for spot in spots]
    free = [r for r in rects if r is not None and not any(common(r, other) for other in taken)]
    return min(free, key=lambda r: sum(np.count_nonzero(other.over(r)) for other in others), default=None)


def _at(x: float, y: float, size: tuple[int, int], shape: tuple[int, ...], *, move: bool = True) -> Rect | None:
    """A rectangle around a point, moved into the picture; None where it may not move and would not lie inside."""
    w, h = size
    left, top = round(x - w / 2), round(y - h / 2)
    inside = min(max(0, left), shape[1] - w), min(max(0, top), shape[0] - h)
    if min(inside) < 0 or (not move and inside != (left, top)):
        return None
    return inside[0], inside[1], inside[0] + w, inside[1] + h


def _number_size(shape: tuple[int, ...]) -> int:
    return max(NUMBER_LEAST, round(min(shape[:2]) * NUMBER))


def _margin(size: int) -> int:
    return max(2, round(size * 0.22))


def _plate_size(number: int, shape: tuple[int, ...]) -> tuple[int, int]:
    size = _number_size(shape)
    w, h = text_size(str(number), size)
    margin = _margin(size)
    return max(w, h) + 2 * margin if len(str(number)) == 1 else w + 2 * margin, h + 2 * margin


def _stamp(image: NDArray[np.uint8], plate: Plate) -> None:
    left, top, right, bottom = plate.rect
    colour = colour_of(plate.id)
    ink = ink_on(colour)
    image[top:bottom, left:right] = ink
    image[top + 1 : bottom - 1, left + 1 : right - 1] = colour
    size = _number_size(image.shape)
    w, h = text_size(str(plate.id), size)
    write(image, str(plate.id), (left + (right - left - w) // 2, top + (bottom - top - h) // 2), size, ink)
