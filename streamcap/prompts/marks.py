"""Visual prompts: what is drawn on copies of pictures, in which order, and the lines that say what it means."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.config import Mark
from streamcap.prompts.lettering import text_size, write
from streamcap.prompts.set_of_mark import set_of_mark
from streamcap.prompts.shading import attention_heat, blur_reverse_mask
from streamcap.prompts.silhouettes import Mask, Rect
from streamcap.types import Fact, Instance, Look

__all__ = ["Marked", "grid", "legend", "marked", "numbered", "tiled"]

# NumPro (arXiv:2411.10332): 40 pixels where the picture is 336 high, red, at the bottom right.
NUMBER, NUMBER_AT, NUMBER_LEAST = 40.0, 336.0, 12
RED = (255, 0, 0)
# Widest side of a grid of pictures (pixels), and of its bars the height as a share of a tile's.
GRID_SIDE = 1344
BAR = 0.11
BAR_LEAST = 16
GAP = 4

_LEGEND = {
    Mark.HEAT: "Bright parts of a picture are those that matter most; the rest was darkened on purpose and is not "
    "night.",
    Mark.BLUR: "All but the instances was blurred on purpose; never speak of blur.",
    Mark.SET_OF_MARK: "Each instance has a coloured outline and a plate with its number; the same number is the same "
    "instance in every picture. Outlines and plates were drawn on and are no part of the scene.",
    Mark.FRAME_NUMBER: "The red number at the bottom right of a picture is the number of the picture, in order of "
    "time.",
}
_GRID_LEGEND = (
    "The pictures stand in one grid, in order of time from left to right and from top to bottom. The bar above each "
    "one gives its number and its time in seconds."
)


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """A picture with marks.

    Attributes:
        image: (height, width, 3) uint8 RGB, new.
        ids: of the instances that carry a number, rising; empty without Set-of-Mark.
    """

    image: NDArray[np.uint8]
    ids: tuple[int, ...]


def marked(
    image: NDArray[np.uint8],
    instances: Sequence[Instance],
    marks: Collection[Mark],
    *,
    number: int = 1,
    facts: Sequence[Fact] = (),
    silhouettes: Mapping[int, Mask] | None = None,
) -> Marked:
    """A copy of a picture with the marks on it; the picture itself stays as it is.

    Always in this order, whatever the order of ``marks``: light, blur, outlines and numbers, the picture's number; so
    no mark is blurred or darkened by another.

    Args:
        image: (height, width, 3) uint8 RGB.
        instances: in view.
        number: of the picture in its prompt, from 1.
        facts: of the window: whom it tells of comes first where there are too many.
        silhouettes: of some instances, by id, (height, width) bool of the picture or of a larger or smaller copy.
    """
    drawn = image.copy()
    ids: tuple[int, ...] = ()
    if Mark.HEAT in marks:
        drawn = attention_heat(drawn, instances, facts)
    if Mark.BLUR in marks:
        drawn = blur_reverse_mask(drawn, instances, facts, silhouettes=silhouettes)
    if Mark.SET_OF_MARK in marks:
        reserved = [_corner(image.shape, number)] if Mark.FRAME_NUMBER in marks else []
        drawn, ids = set_of_mark(drawn, instances, facts, silhouettes=silhouettes, reserved=reserved)
    if Mark.FRAME_NUMBER in marks:
        drawn = numbered(drawn, number)
    return Marked(drawn, ids)


def numbered(image: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """A copy with the picture's number in red at the bottom right (NumPro), rimmed white to be read on any ground."""
    drawn = image.copy()
    left, top, _, _ = _corner(image.shape, number)
    size = _number_size(image.shape)
    write(drawn, str(number), (left, top), size, RED, halo=_halo(size))
    return drawn


def _number_size(shape: tuple[int, ...]) -> int:
    return max(NUMBER_LEAST, round(NUMBER / NUMBER_AT * shape[0]))


def _halo(size: int) -> int:
    return max(1, round(size / 14))


def _corner(shape: tuple[int, ...], number: int) -> Rect:
    """Where the picture's number stands."""
    size = _number_size(shape)
    w, h = text_size(str(number), size, halo=_halo(size))
    margin = max(1, size // 8)
    right, bottom = shape[1] - margin, shape[0] - margin
    return right - w, bottom - h, right, bottom


def legend(marks: Collection[Mark], *, in_grid: bool = False) -> tuple[str, ...]:
    """What the marks mean, a line each, in the order in which they are drawn."""
    lines = [line for mark, line in _LEGEND.items() if mark in marks and not (in_grid and mark is Mark.FRAME_NUMBER)]
    return (*((_GRID_LEGEND,) if in_grid else ()), *lines)


def grid(
    looks: Sequence[Look], marks: Collection[Mark] = (), *, facts: Sequence[Fact] = (), side: int = GRID_SIDE
) -> Marked:
    """All pictures in one, each under a bar with its number and time (the fast mode of ShareGPT4Video).

    Args:
        looks: at least one, oldest first; all are brought to one size.
        side: most pixels of the wider side.

    Raises:
        ValueError: no picture is given.
    """
    if not looks:
        raise ValueError("a grid needs at least one picture")
    drawn = set(marks) - {Mark.FRAME_NUMBER}
    size = _tile(len(looks), max((look.image.shape for look in looks), key=lambda each: each[0] * each[1]), side)
    tiles = [
        marked(
            np.asarray(cv2.resize(look.image, size, interpolation=cv2.INTER_AREA), np.uint8),
            look.instances,
            drawn,
            facts=facts,
            silhouettes=look.silhouettes,
        )
        for look in looks
    ]
    labels = [f"{i}   {look.t:.1f} s" for i, look in enumerate(looks, 1)]
    sheet = tiled([tile.image for tile in tiles], labels, side=side)
    return Marked(sheet, tuple(sorted({number for tile in tiles for number in tile.ids})))


def tiled(images: Sequence[NDArray[np.uint8]], labels: Sequence[str], *, side: int = GRID_SIDE) -> NDArray[np.uint8]:
    """Pictures side by side, each under a bar with its label.

    Args:
        images: at least one; all are brought to the size that the largest one gets.
        labels: one each.
        side: most pixels of the wider side.
    """
    largest = max((image.shape for image in images), key=lambda each: each[0] * each[1])
    w, h = _tile(len(images), largest, side)
    rows, columns = shape(len(images), largest[1] / largest[0])
    bar = _bar(h)
    sheet = np.full((rows * (h + bar + GAP) - GAP, columns * (w + GAP) - GAP, 3), 255, np.uint8)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        top, left = i // columns * (h + bar + GAP), i % columns * (w + GAP)
        head = sheet[top : top + bar, left : left + w]
        head[:] = 0
        size = round(bar * 0.72)
        write(head, label, (GAP, (bar - text_size(label, size)[1]) // 2), size, (255, 255, 255))
        fits = image if image.shape[:2] == (h, w) else cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
        sheet[top + bar : top + bar + h, left : left + w] = fits
    return sheet


def _tile(count: int, picture: tuple[int, ...], side: int) -> tuple[int, int]:
    """(width, height) of one picture of a sheet; never larger than it is."""
    h, w = picture[:2]
    rows, columns = shape(count, w / h)
    scale = min(1.0, (side / columns - GAP) / w, (side / rows - GAP) / (h + max(_bar(h), BAR_LEAST)))
    return max(8, round(w * scale)), max(8, round(h * scale))


def _bar(height: int) -> int:
    return max(BAR_LEAST, round(height * BAR))


def shape(count: int, aspect: float) -> tuple[int, int]:
    """Rows and columns of a grid that is about as wide as it is high.

    Args:
        aspect: width over height of one picture.
    """
    columns = max(1, min(count, round(math.sqrt(count / aspect))))
    return math.ceil(count / columns), columns
