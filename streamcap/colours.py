"""Colour words that people use, from an instance's own pixels.

Every pixel is one of the eleven basic colour terms (Berlin and Kay 1969); a part of an instance is described by its
shares of the eleven. The same shares tell instances apart across an occlusion, as "colour names" do in the literature
(van de Weijer et al., IEEE TIP 2009).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.labels import BAGS, group
from streamcap.types import Box

__all__ = ["NAMES", "PARTS", "attributes", "balance", "colour_share", "name_of", "shares"]

NAMES = ("black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
# Upper and lower clothing of a person, as top and bottom of the box; of a vehicle they show the same body.
PARTS = ((0.18, 0.48), (0.55, 0.85))
# The rim of a box is background: this much is left out on either side.
INSET = 0.25
# A part is called by a name that has this share of its pixels, and this much more than the next.
NAME_SHARE = 0.5
NAME_LEAD = 1.8
# Grey is what roads and walls are that shine through a loose box: it needs more.
GREY_SHARE = 0.7
# Where the background is known, only pixels that differ from it count, if they are this share of the part.
OWN_SHARE = 0.4
# Narrower than this (pixels of the mask) the outline is too coarse.
OWN_WIDTH = 28
# Grey-world gains are trusted this far only: a lawn is green and no colour cast.
GAIN_LIMIT = 1.25

_GRID = (12, 18)  # pixels (across, down) that stand for a part
_BITS = 3  # the table has 32 steps a channel


def _table() -> NDArray[np.uint8]:
    """(32, 32, 32) uint8: index into NAMES of each RGB value; thresholds in HSV."""
    steps = np.arange(4, 256, 8, dtype=np.uint8)
    r, g, b = np.meshgrid(steps, steps, steps, indexing="ij")
    rgb = np.stack([r, g, b], -1).reshape(1, -1, 3)
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[0].astype(int)
    hue, saturation, value = hsv[:, 0] * 2, hsv[:, 1], hsv[:, 2]
    name = np.full(len(hue), NAMES.index("grey"))

    def put(where: NDArray[np.bool_], word: str) -> None:
        name[where] = NAMES.index(word)

    # Dark and pale pixels carry little colour; the darker, the more saturation it takes to count.
    chromatic = (saturation > 60 + np.clip(110 - value, 0, 110) * 0.8) & (value > 45)
    put(~chromatic & (value < 72), "black")
    put(~chromatic & (value > 190), "white")
    for low, high, word in (
        (0, 15, "red"), (15, 40, "orange"), (40, 68, "yellow"), (68, 170, "green"), (170, 260, "blue"),
        (260, 315, "purple"), (315, 345, "pink"), (345, 361, "red"),
    ):  # fmt: skip
        put(chromatic & (hue >= low) & (hue < high), word)
    warm = chromatic & ((hue < 45) | (hue >= 340))
    put(warm & (hue >= 12) & (hue < 45) & (value < 165), "brown")
    put(warm & ((hue < 12) | (hue >= 340)) & (saturation < 110) & (value > 150), "pink")
    put(chromatic & (hue >= 12) & (hue < 45) & (saturation < 90) & (value >= 165), "grey")  # skin, sand, walls
    return name.reshape(32, 32, 32).astype(np.uint8)


_TABLE = _table()


def balance(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Gains that take out a colour cast (shades of grey, Finlayson and Trezzi 2004), each within 0.8..1.25.

    Args:
        image: (h, w, 3) uint8 RGB, small.

    Returns:
        (3,) float32, to be multiplied with R, G and B.
    """
    norm = np.power(np.power(image.reshape(-1, 3).astype(np.float64) + 1, 6).mean(axis=0), 1 / 6)
    return np.asarray(np.clip(norm.mean() / norm, 1 / GAIN_LIMIT, GAIN_LIMIT), np.float32)


def shares(
    image: NDArray[np.uint8], box: Box, gains: NDArray[np.float32], own: NDArray[np.uint8] | None = None
) -> NDArray[np.float32]:
    """Colour shares of the two parts of an instance.

    Args:
        image: (height, width, 3) uint8 RGB.
        box: in 0..1.
        gains: from :func:`balance`.
        own: (rows, columns) uint8 over the same frame, not 0 where it differs from the background, or None.

    Returns:
        (22,) float32, sums to 1: the eleven names of the upper part, then of the lower.
    """
    counts = []
    for top, bottom in PARTS:
        height, width = box[3] - box[1], box[2] - box[0]
        part = (box[0], box[1] + top * height, box[2], box[1] + bottom * height)
        pixels = _own_pixels(image, part, own) if own is not None else None
        if pixels is None:
            inset = INSET * width
            pixels = _grid(image, (part[0] + inset, part[1], part[2] - inset, part[3]))
        r, g, b = np.clip(pixels * gains, 0, 255).astype(np.uint8).T >> _BITS
        counted = np.bincount(_TABLE[r, g, b], minlength=len(NAMES)).astype(np.float64)
        counts.append(counted if len(pixels) else np.full(len(NAMES), 1.0))
    return np.concatenate([0.5 * c / c.sum() for c in counts]).astype(np.float32)


def _grid(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """(216, 3) colours that stand for a box; none where it lies outside of the frame."""
    h, w = image.shape[:2]
    x0, x1 = int(max(0.0, box[0]) * w), int(np.ceil(min(1.0, box[2]) * w))
    y0, y1 = int(max(0.0, box[1]) * h), int(np.ceil(min(1.0, box[3]) * h))
    part = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    if part.size == 0:
        return np.zeros((0, 3), np.uint8)
    return np.asarray(cv2.resize(part, _GRID, interpolation=cv2.INTER_AREA).reshape(-1, 3), np.uint8)


def _own_pixels(image: NDArray[np.uint8], box: Box, own: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The colours of a box that differ from the background; None where too few do, or the mask is too coarse.

    Over the whole width of the box: long hair falls down the middle of a back.
    """
    rows, columns = own.shape
    if (box[2] - box[0]) * columns < OWN_WIDTH or min(box[0], box[1]) < 0 or max(box[2], box[3]) > 1:
        return None
    pixels = _grid(image, box)
    x = np.clip((np.linspace(box[0], box[2], _GRID[0] + 2)[1:-1] * columns).astype(int), 0, columns - 1)
    y = np.clip((np.linspace(box[1], box[3], _GRID[1] + 2)[1:-1] * rows).astype(int), 0, rows - 1)
    mine = (own[np.ix_(y, x)] > 0).reshape(-1)
    return pixels[mine] if len(pixels) == len(mine) and mine.mean() >= OWN_SHARE else None


def colour_share(word: str, look: NDArray[np.float32]) -> float:
    """Share, 0..1, that the colour of a word of :func:`attributes` has in the part that the word is about."""
    at = NAMES.index(word.split(" ")[0])
    top, bottom = look[: len(NAMES)], look[len(NAMES) :]
    part = top if word.endswith(" top") else bottom if word.endswith(" trousers") else top + bottom
    return float(part[at] / max(float(part.sum()), 1e-6))


def attributes(label: str, look: NDArray[np.float32]) -> tuple[str, ...]:
    """Words for what an instance looks like: ``red top``, ``black trousers``; ``white`` for what has one body.

    Args:
        label: its class; only people, vehicles, animals and bags are described by colour.
        look: (22,) shares, averaged over its sightings.
    """
    top, bottom = look[: len(NAMES)], look[len(NAMES) :]
    if label == "person":
        words = (f"{name} {part}" for name, part in ((name_of(top), "top"), (name_of(bottom), "trousers")) if name)
        return tuple(words)
    if group(label) in ("vehicle", "animal") or label in BAGS:
        name = name_of(top + bottom)
        return (name,) if name else ()
    return ()


def name_of(part: NDArray[np.float32]) -> str:
    """The word for one part's shares (11,), or empty where no colour stands out."""
    order = np.argsort(-part)
    total = float(part.sum())
    best, second = float(part[order[0]]), float(part[order[1]])
    if total <= 0 or best < NAME_SHARE * total or best < NAME_LEAD * second:
        return ""
    name = NAMES[int(order[0])]
    return "" if name == "grey" and best < GREY_SHARE * total else name
