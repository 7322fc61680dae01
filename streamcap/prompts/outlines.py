"""Outlines of regions, drawn into a picture: a line in the instance's colour beside a dark one, seen on any ground.

Around a silhouette the lines lie outside of it, so that small people stay to be seen; of a box they lie inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.prompts.lettering import RGB, colour_of
from streamcap.prompts.silhouettes import Mask, Rect, Region

__all__ = ["Stroke", "outlined", "strokes"]

# Share of the tint along the inside of an outline, from the line inwards; the paper's range, laid over all of a region
# there. In a box it ends at a share of the smaller side, and of the picture's: a model is to tell what colour a van is.
TINT_OUTER, TINT_INNER = 0.4, 0.1
RIM = 0.1
RIM_MOST = 0.02
# Thickness of an outline, as a share of the picture's smaller side.
LINE = 0.004
# What is narrower than so many outlines would be hidden by one: it gets a plain line.
SLIM = 4
DARK: RGB = (0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Stroke:
    """The mark of one silhouette: pixels that no other one has.

    Attributes:
        rect: within which the masks lie.
        body: of its (height, width) what the instance itself covers.
        line: of the coloured line around it; rim: of the dark one around that.
        thick: both lines in pixels. The tint inside is as wide: more would dye the clothes of people, who are slim.
    """

    id: int
    rect: Rect
    body: Mask
    line: Mask
    rim: Mask
    thick: int


def outlined(image: NDArray[np.uint8], regions: Mapping[int, Region]) -> NDArray[np.uint8]:
    """Outlines on a copy of a picture: the large first, so that the lines of what stands before them stay whole."""
    drawn = image.copy()
    marks = {stroke.id: stroke for stroke in strokes(regions.values(), image.shape)}
    for region in sorted(regions.values(), key=lambda region: (-region.area, region.id)):
        if region.id in marks:
            _draw(drawn, image, marks[region.id])
        else:
            _draw_box(drawn, region.rect, colour_of(region.id))
    return drawn


def strokes(regions: Iterable[Region], shape: tuple[int, ...]) -> tuple[Stroke, ...]:
    """The marks of silhouettes, the smaller first: its lines may lie on the larger one behind it. None share a pixel.

    Args:
        regions: those of boxes alone are left out.
        shape: (height, width, …) of the picture in pixels.
    """
    taken = np.zeros(shape[:2], np.bool_)
    found = []
    for region in sorted((r for r in regions if r.cover is not None), key=lambda r: (r.area, r.id)):
        line = _line(region.rect, shape)
        thick = line + 1  # of what is slim the dark line is left out, and the other is a single pixel
        rect = _grown(region.rect, thick + 1, shape)
        part = np.s_[rect[1] : rect[3], rect[0] : rect[2]]
        cover, free = region.over(rect), ~taken[part]
        body = cover & free
        away = cv2.distanceTransform((~cover).astype(np.uint8), cv2.DIST_L2, 5)
        near = free & ~cover & (away < thick + 0.5)
        coloured = near & (away < max(1, line) + 0.5)
        taken[part] |= body | near
        found.append(Stroke(region.id, rect, body, coloured, near & ~coloured, thick))
    return tuple(found)


def _draw(drawn: NDArray[np.uint8], image: NDArray[np.uint8], stroke: Stroke) -> None:
    left, top, right, bottom = stroke.rect
    part, colour = drawn[top:bottom, left:right], colour_of(stroke.id)
    part[stroke.body] = image[top:bottom, left:right][stroke.body]  # what a larger box has left there goes
    depth = cv2.distanceTransform(np.pad(stroke.body, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    _tint(part, np.where(stroke.body, depth - 1.0, np.inf).astype(np.float32), float(stroke.thick), colour)
    part[stroke.line], part[stroke.rim] = colour, DARK


def _draw_box(drawn: NDArray[np.uint8], box: Rect, colour: RGB) -> None:
    left, top, right, bottom = box
    part = drawn[top:bottom, left:right]
    y, x = (np.minimum(np.arange(n), np.arange(n)[::-1]).astype(np.float32) for n in part.shape[:2])
    _tint(part, np.minimum(y[:, None], x[None]), _rim(box, drawn.shape), colour)
    line = _line(box, drawn.shape)
    if line == 0:
        _frame(drawn, box, 0, colour, 1)
        return
    _frame(drawn, box, 0, DARK, 1)
    _frame(drawn, box, 1, colour, line)
    _frame(drawn, box, 1 + line, DARK, 1)


def _tint(part: NDArray[np.uint8], depth: NDArray[np.float32], rim: float, colour: RGB) -> None:
    """Colour the rim of a part of a picture, ever less towards its inside; ``depth`` in pixels from the line."""
    far = depth / np.float32(rim)
    share = np.where(far < 1.0, TINT_OUTER + (TINT_INNER - TINT_OUTER) * far, 0.0).astype(np.float32)[..., None]
    part[:] = np.round(part * (1.0 - share) + np.array(colour, np.float32) * share).astype(np.uint8)


def _frame(image: NDArray[np.uint8], box: Rect, inset: int, colour: RGB, thick: int) -> None:
    left, top, right, bottom = box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset
    if right - left < 2 * thick or bottom - top < 2 * thick:
        return
    image[top : top + thick, left:right] = colour
    image[bottom - thick : bottom, left:right] = colour
    image[top:bottom, left : left + thick] = colour
    image[top:bottom, right - thick : right] = colour


def _line(rect: Rect, shape: tuple[int, ...]) -> int:
    """Thickness in pixels; 0 for what is so slim that a plain line has to do."""
    line = max(1, round(min(shape[:2]) * LINE))
    return 0 if _side(rect) < SLIM * (line + 2) else line


def _rim(rect: Rect, shape: tuple[int, ...]) -> float:
    return max(2.0, min(_side(rect) * RIM, min(shape[:2]) * RIM_MOST))


def _side(rect: Rect) -> int:
    return min(rect[2] - rect[0], rect[3] - rect[1])


def _grown(rect: Rect, by: int, shape: tuple[int, ...]) -> Rect:
    return max(0, rect[0] - by), max(0, rect[1] - by), min(shape[1], rect[2] + by), min(shape[0], rect[3] + by)
