"""What an instance covers of a picture: from likelihoods to a silhouette, and to regions that share no pixel.

Set-of-Mark (arXiv:2310.11441) and FGVP (arXiv:2306.04356) mark the pixels of an instance. Where these are not known,
or not to be trusted, its box stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.types import Box, Instance

__all__ = ["Mask", "Rect", "Region", "common", "extent", "pixels", "regions", "silhouette"]

Mask = NDArray[np.bool_]
Rect = tuple[int, int, int, int]  # left, top, right, bottom in pixels

# A silhouette covers this share of its box: with less it is a part of the instance, with more it is the box.
COVERS, COVERS_MOST = 0.15, 0.98
# Its extent and the box share this much (intersection over union): else it is of something else. Boxes of what moves
# are often half as wide again as it is.
FITS = 0.3
# It may reach beyond the box by this share of the box's sides: feet do, neighbours do too.
BEYOND = 0.1
# A box with fewer pixels, or a smaller side (pixels), holds too few to tell.
LEAST, LEAST_SIDE = 400, 8
# Parts this large, by the largest, belong to it: a pole in front of somebody cuts them in two.
PART = 0.3
# Blur that smooths an edge (σ by the box's larger side, and the least in pixels).
SMOOTH, SMOOTH_LEAST = 0.006, 0.6
# Two silhouettes that share this much (intersection over union) are of one body.
SAME = 0.5
# One that loses more than this share to those before it is no longer one.
HIDDEN = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """What an instance covers of a picture.

    Attributes:
        rect: its extent, inside of the picture.
        cover: of the rectangle's (height, width) the pixels that show it; None: all of it, only the box is known.
    """

    id: int
    rect: Rect
    cover: Mask | None = None

    @property
    def area(self) -> int:
        """Pixels."""
        return size(self.rect) if self.cover is None else int(np.count_nonzero(self.cover))

    def over(self, rect: Rect) -> Mask:
        """(height, width) of another rectangle: the pixels of this region in it."""
        left, top, right, bottom = rect
        found = np.zeros((bottom - top, right - left), np.bool_)
        x0, y0, x1, y1 = _meeting(self.rect, rect)
        if x1 > x0 and y1 > y0:
            own = slice(y0 - self.rect[1], y1 - self.rect[1]), slice(x0 - self.rect[0], x1 - self.rect[0])
            found[y0 - top : y1 - top, x0 - left : x1 - left] = True if self.cover is None else self.cover[own]
        return found


def silhouette(likelihood: NDArray[np.float32], box: Box) -> Mask | None:
    """The pixels of an instance, of how likely each one shows it; None where that fits the box badly.

    Args:
        likelihood: (height, width) float32, 0..1.
        box: of the instance, in 0..1 of the picture.

    Returns:
        (height, width) bool: the part that lies in the box with most pixels, with others nearly as large, holes
        filled, edges smoothed.
    """
    rect = pixels(box, likelihood.shape)
    if rect is None or size(rect) < LEAST or min(rect[2] - rect[0], rect[3] - rect[1]) < LEAST_SIDE:
        return None
    wide = _grown(rect, likelihood.shape)
    blur = max(SMOOTH_LEAST, SMOOTH * max(rect[2] - rect[0], rect[3] - rect[1]))
    part = cv2.GaussianBlur(likelihood[wide[1] : wide[3], wide[0] : wide[2]], (0, 0), blur) >= 0.5
    inner = np.s_[rect[1] - wide[1] : rect[3] - wide[1], rect[0] - wide[0] : rect[2] - wide[0]]
    whole = _main_parts(part, inner)
    if whole is None or not COVERS <= float(whole[inner].mean()) <= COVERS_MOST:
        return None
    found = np.zeros(likelihood.shape[:2], np.bool_)
    found[wide[1] : wide[3], wide[0] : wide[2]] = whole
    return found if _fit(found, rect) >= FITS else None


def regions(
    instances: Sequence[Instance], shape: tuple[int, ...], silhouettes: Mapping[int, Mask]
) -> dict[int, Region]:
    """What each instance covers, by id; who has nothing in the picture is left out.

    No pixel is in two silhouettes: what is smaller stands before what is larger, as in Set-of-Mark. Who is hidden by
    that, and the worse fitting of two that cut out the same, has its box.

    Args:
        shape: (height, width, …) of the picture in pixels.
        silhouettes: of some of them, (height, width) bool of this picture or of a larger or smaller copy.
    """
    boxes = {i.id: rect for i in instances if (rect := pixels(i.box, shape)) is not None}
    masks = {key: _sized(silhouettes[key], shape) for key in boxes if key in silhouettes}
    for a, b in combinations(sorted(masks), 2):
        if a in masks and b in masks and _alike(masks[a], masks[b]):
            del masks[min((a, b), key=lambda key: (_fit(masks[key], boxes[key]), -key))]
    taken = np.zeros(shape[:2], np.bool_)
    found: dict[int, Region] = {}
    for key in sorted(masks, key=lambda key: (np.count_nonzero(masks[key]), key)):
        left = masks[key] & ~taken
        rect = extent(left)
        if rect is None or np.count_nonzero(left) < (1 - HIDDEN) * np.count_nonzero(masks[key]):
            continue
        taken |= left
        found[key] = Region(key, rect, left[rect[1] : rect[3], rect[0] : rect[2]])
    return {key: found.get(key, Region(key, box)) for key, box in boxes.items()}


def pixels(box: Box, shape: tuple[int, ...]) -> Rect | None:
    """A box in pixels, inside of the picture; None where nothing of it is left."""
    h, w = shape[:2]
    left, top = (min(n, max(0, round(v * n))) for v, n in zip(box[:2], (w, h), strict=True))
    right, bottom = (min(n, max(0, round(v * n))) for v, n in zip(box[2:], (w, h), strict=True))
    return (left, top, right, bottom) if right - left >= 2 and bottom - top >= 2 else None


def extent(mask: Mask) -> Rect | None:
    """The rectangle around the pixels of a mask; None where it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if rows.size else None


def size(rect: Rect) -> int:
    """Pixels of a rectangle."""
    return max(0, rect[2] - rect[0]) * max(0, rect[3] - rect[1])


def common(a: Rect, b: Rect) -> int:
    """Pixels that two rectangles share."""
    return size(_meeting(a, b))


def _meeting(a: Rect, b: Rect) -> Rect:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _grown(rect: Rect, shape: tuple[int, ...]) -> Rect:
    x, y = (round(BEYOND * (rect[i + 2] - rect[i])) for i in (0, 1))
    return max(0, rect[0] - x), max(0, rect[1] - y), min(shape[1], rect[2] + x), min(shape[0], rect[3] + y)


def _main_parts(mask: Mask, inner: tuple[slice, slice]) -> Mask | None:
    """The parts with most pixels in the box, holes filled; None where none is in it."""
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    inside = np.bincount(parts[inner].ravel(), minlength=count)
    inside[0] = 0
    if not inside.any():
        return None
    kept = np.isin(parts, np.flatnonzero(inside >= max(1.0, PART * inside.max()))).astype(np.uint8)
    outlines, _ = cv2.findContours(kept, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(kept), outlines, -1, 1, cv2.FILLED), np.bool_)


def _fit(mask: Mask, rect: Rect) -> float:
    """Intersection over union of a mask's extent and a rectangle, 0..1."""
    around = extent(mask)
    if around is None:
        return 0.0
    shared = common(around, rect)
    return shared / (size(around) + size(rect) - shared)


def _alike(a: Mask, b: Mask) -> bool:
    return bool(np.count_nonzero(a & b) > SAME * np.count_nonzero(a | b))


def _sized(mask: Mask, shape: tuple[int, ...]) -> Mask:
    if mask.shape == shape[:2]:
        return mask
    grown = cv2.resize(mask.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(grown >= 0.5, np.bool_)
