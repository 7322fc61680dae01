"""What fills the picture: an opinion on it counts only where it holds over scales.

A detector that has learnt from photographs calls a bird whose head fills the frame a person or a teddy bear, and a row
of lit towers a television: the larger part of the network's fields looks at one texture. The same picture, smaller and
with a grey rim around it, is judged anew. People and cars keep their name in both; what has a name in one only was a
guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamcap.geometry import area, clip, contained
from streamcap.labels import MOVERS, group
from streamcap.types import Box

__all__ = ["STEP_BACK", "Found", "agreed", "fills", "from_afar", "step_back"]

# Share of the frame from which on something fills it.
FILLS = 0.4
# The picture takes up one part in this many of the width and the height of the one that is judged anew.
STEP_BACK = 1.5
RIM = 128
# The same thing in both: this share of the smaller box lies in the other.
SAME = 0.6
# What one scale alone sees keeps this share of its score: too little to be believed on its own.
ALONE = 0.5

Found = tuple[float, str, Box]


def fills(box: Box) -> bool:
    """It takes up so much of the frame that a second opinion is due."""
    return area(clip(box)) >= FILLS


def step_back(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The (h, w, 3) uint8 picture in the middle of a grey one that is ``STEP_BACK`` times as wide and high."""
    h, w = image.shape[:2]
    high, wide = round(h * STEP_BACK), round(w * STEP_BACK)
    back = np.full((high, wide, 3), RIM, np.uint8)
    y, x = (high - h) // 2, (wide - w) // 2
    back[y : y + h, x : x + w] = image
    return back


def from_afar(box: Sequence[float]) -> Box:
    """A box in 0..1 of the picture stepped back from, in 0..1 of the frame."""
    x0, y0, x1, y1 = ((v - 0.5) * STEP_BACK + 0.5 for v in box)
    return clip((x0, y0, x1, y1))


def agreed(near: Sequence[Found], far: Sequence[Found]) -> list[Found]:
    """One opinion from two.

    Args:
        near: (score, label, box) of the frame as it is; small ones pass unchanged.
        far: of the frame stepped back from, boxes by :func:`from_afar`. Its rim makes a screen of every picture, so
            only what moves by itself counts.

    Returns:
        What both hold, by the name that the far look gives it; what only one holds, at half its score.
    """
    large = [f for f in far if fills(f[2]) and (f[1] in MOVERS or group(f[1]) == "animal")]
    told: list[Found] = [f for f in near if not fills(f[2])]
    taken: set[int] = set()
    for score, label, box in (f for f in near if fills(f[2])):
        there = [i for i, f in enumerate(large) if _same(f[2], box)]
        alike = [i for i in there if group(large[i][1]) == group(label)]
        taken.update(there)
        if alike:
            best = max(alike, key=lambda i: large[i][0])
            told.append((max(score, large[best][0]), large[best][1], box))
        elif there:
            best = max(there, key=lambda i: large[i][0])
            told.append((large[best][0], large[best][1], box))
        else:
            told.append((score * ALONE, label, box))
    told += [(f[0] * ALONE, f[1], f[2]) for i, f in enumerate(large) if i not in taken]
    return told


def _same(a: Box, b: Box) -> bool:
    return max(contained(a, b), contained(b, a)) >= SAME
