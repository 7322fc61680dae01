"""Set-of-Mark (arXiv:2310.11441): each instance outlined and numbered with its own stable id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.prompts.choosing import chosen
from streamcap.prompts.lettering import RGB, colour_of, ink_on, text_size, write
from streamcap.types import Box, Fact, Instance

__all__ = ["Plate", "Rect", "outlined", "plates", "set_of_mark"]

# Share of the tint along the inside of an outline, from the line inwards; the paper's range, laid over all of a region
# there. Here it ends at this share of the box's smaller side: a model is to tell what colour a van is.
TINT_OUTER, TINT_INNER = 0.4, 0.1
RIM = 0.1
# Height of a number, as a share of the picture's smaller side, and its least (pixels): below nobody can read it.
NUMBER = 0.05
NUMBER_LEAST = 11
# Thickness of an outline likewise.
LINE = 0.004
# What is narrower than so many outlines would be hidden by one: it gets a plain line.
SLIM = 4
# A number that hides more of an instance than this stands beside it.
HIDES = 0.22
# The most inner point is looked for on a picture of at most this many pixels a side, this often where it is taken.
# Points with this share of the greatest distance from the border are as good.
SEARCH = 320
TRIES = 8
DEEP = 0.85

Rect = tuple[int, int, int, int]  # left, top, right, bottom in pixels


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
    reserved: Sequence[Rect] = (),
) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    """Outlines and numbers on a copy of a picture.

    Args:
        image: (height, width, 3) uint8 RGB.
        instances: in view; where there are too many, or no room for a number, the least telling are left out whole.
        facts: of the window: whom it tells of is marked first.
        reserved: where no number may stand, in pixels: something else is to be drawn there.

    Returns:
        The new picture, and the ids that are marked, rising.
    """
    shown = [i for i in chosen(instances, facts) if i.visible and _pixels(i.box, image.shape) is not None]
    placed = plates(image.shape[:2], shown, reserved=reserved)
    marked = {plate.id for plate in placed}
    drawn = image.copy()
    # The large first, so that the lines of what stands before them stay whole.
    order = sorted((i for i in shown if i.id in marked), key=lambda i: -_area(_pixels(i.box, image.shape)))
    for instance in order:
        outlined(drawn, instance)
    for plate in placed:
        _stamp(drawn, plate)
    return drawn, tuple(sorted(marked))


def plates(
    shape: tuple[int, int], instances: Sequence[Instance], *, reserved: Sequence[Rect] = ()
) -> tuple[Plate, ...]:
    """Where the numbers stand: none over another, each at the most inner point of what is its instance's alone.

    Where that would hide the instance, beside it.

    Args:
        shape: (height, width) of the picture in pixels.
        instances: to be numbered; the one with the smallest box chooses its place first, as in the paper.
    """
    boxes = {i.id: box for i in instances if (box := _pixels(i.box, shape)) is not None}
    placed: list[Plate] = []
    for key in sorted(boxes, key=lambda k: (_area(boxes[k]), k)):
        size = _plate_size(key, shape)
        others = [box for other, box in boxes.items() if other != key]
        rect = _place(size, boxes[key], others, [*reserved, *(plate.rect for plate in placed)], shape)
        if rect is not None:
            placed.append(Plate(key, rect))
    return tuple(placed)


def outlined(image: NDArray[np.uint8], instance: Instance) -> None:
    """Draw an instance's rim and outline into a picture: its colour between two dark lines, seen on any ground."""
    box = _pixels(instance.box, image.shape)
    if box is None:
        return
    left, top, right, bottom = box
    _tint(image[top:bottom, left:right], colour_of(instance.id))
    line = max(1, round(min(image.shape[:2]) * LINE))
    if min(right - left, bottom - top) < SLIM * (line + 2):
        _frame(image, box, 0, colour_of(instance.id), 1)
        return
    _frame(image, box, 0, (0, 0, 0), 1)
    _frame(image, box, 1, colour_of(instance.id), line)
    _frame(image, box, 1 + line, (0, 0, 0), 1)


def _tint(part: NDArray[np.uint8], colour: RGB) -> None:
    """Colour the rim of a part of a picture, ever less towards its inside."""
    h, w = part.shape[:2]
    rim = max(2.0, min(h, w) * RIM)
    y, x = (np.minimum(np.arange(n), np.arange(n)[::-1]).astype(np.float32) for n in (h, w))
    depth = np.minimum(y[:, None], x[None]) / np.float32(rim)
    share = np.where(depth < 1.0, TINT_OUTER + (TINT_INNER - TINT_OUTER) * depth, 0.0).astype(np.float32)[..., None]
    part[:] = np.round(part * (1.0 - share) + np.array(colour, np.float32) * share).astype(np.uint8)


def _frame(image: NDArray[np.uint8], box: Rect, inset: int, colour: RGB, thick: int) -> None:
    left, top, right, bottom = box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset
    if right - left < 2 * thick or bottom - top < 2 * thick:
        return
    image[top : top + thick, left:right] = colour
    image[bottom - thick : bottom, left:right] = colour
    image[top:bottom, left : left + thick] = colour
    image[top:bottom, right - thick : right] = colour


def _place(
    size: tuple[int, int], box: Rect, others: list[Rect], taken: list[Rect], shape: tuple[int, ...]
) -> Rect | None:
    within = _inner(size, box, others, taken, shape)
    if within is not None and size[0] * size[1] <= HIDES * _area(box):
        return within
    return _beside(size, box, others, taken, shape) or within


def _inner(
    size: tuple[int, int], box: Rect, others: list[Rect], taken: list[Rect], shape: tuple[int, ...]
) -> Rect | None:
    """At the point of the box that is farthest from its border and from the boxes of others."""
    scale = min(1.0, SEARCH / max(box[2] - box[0], box[3] - box[1]))
    w, h = (max(1, round((box[i + 2] - box[i]) * scale)) for i in (0, 1))
    own = np.ones((h, w), np.uint8)
    for other in others:
        if _area(other) < _area(box):  # a smaller one stands before it, or is a part of it
            left, top, right, bottom = (round((v - box[i % 2]) * scale) for i, v in enumerate(other))
            own[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 0
    depth = cv2.distanceTransform(np.pad(own, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    # Of a long box many points are about as deep: the one in the middle leaves the head of who stands in it free.
    y, x = (np.abs(np.arange(n, dtype=np.float32) - (n - 1) / 2) for n in (h, w))
    off = np.hypot(y[:, None], x[None])
    for _ in range(TRIES):
        deep = depth >= DEEP * max(float(depth.max()), 1e-6)
        if not deep.any():
            return None
        row, column = np.unravel_index(int(np.argmin(np.where(deep, off, np.inf))), depth.shape)
        rect = _at(box[0] + (column + 0.5) / scale, box[1] + (row + 0.5) / scale, size, shape)
        if rect is not None and not any(_meet(rect, other) for other in taken):
            return rect
        reach = max(2, round(min(size) * scale / 2))
        depth[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = 0
    return None


def _beside(
    size: tuple[int, int], box: Rect, others: list[Rect], taken: list[Rect], shape: tuple[int, ...]
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
    free = [r for r in rects if r is not None and not any(_meet(r, other) for other in taken)]
    return min(free, key=lambda r: sum(_common(r, other) for other in others), default=None)


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


def _pixels(box: Box, shape: tuple[int, ...]) -> Rect | None:
    """A box in pixels, inside of the picture; None where nothing of it is left."""
    h, w = shape[:2]
    left, top = (min(n, max(0, round(v * n))) for v, n in zip(box[:2], (w, h), strict=True))
    right, bottom = (min(n, max(0, round(v * n))) for v, n in zip(box[2:], (w, h), strict=True))
    return (left, top, right, bottom) if right - left >= 2 and bottom - top >= 2 else None


def _area(rect: Rect | None) -> int:
    return 0 if rect is None else (rect[2] - rect[0]) * (rect[3] - rect[1])


def _common(a: Rect, b: Rect) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _meet(a: Rect, b: Rect) -> bool:
    return _common(a, b) > 0
