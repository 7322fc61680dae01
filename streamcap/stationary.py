"""Small places that look lastingly other than before: something was put there, taken away or moved.

Two backgrounds at different rates (Porikli 2007, "Detection of temporarily static regions by processing video at
different frame rates"): the gate's view of the last moment tells when a block has come to rest, a reference that only
changes where it is confirmed tells what it looked like before. Whether a thing came or went is read from the outline
of the change: an object has an edge where it is, and none where it was (the boundary test of Connell et al. 2004).
Structure is compared and not brightness, with a little room for a camera on a mast, so that light, shadows and shake
are no things. Where people are, nothing is judged until they are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.gating import BLOCK
from streamcap.types import Box

__all__ = ["Kind", "PlaceChange", "StationaryWatch"]

# Seconds without change until a block's look is taken for lasting: when it is learnt, and when it is told.
SETTLE_S = 1.0
# What reaches in from the border may rest there for a while: an arm.
BORDER_S = 4.0
# A pixel differs by this much (grey levels), measured against its surroundings (a square of so many pixels), so that
# exposure and wide shadows do not count, and by this much by itself, so that what comes near it does not count; a block
# is other where this share of its pixels differs.
DIFFERS = 12.0
DIFFERS_ALONE = 7.0
SURROUNDINGS_PX = 41
OTHER = 0.2
# Share of the blocks; more at once, or more places at once, is light or the camera.
MOST_BLOCKS = 0.3
MOST_PLACES = 4
# Size of a place: at least so many blocks, at most this share of the frame.
LEAST_BLOCKS = 2
LARGEST = 0.12
# A thing is no line and no scatter: longer side by shorter at most, and the share of its box that differs.
SLIM = 5.0
FILLED = 0.2
# Two pictures of a place that correlate this well, shifted by at most so many pixels, show the same things.
SAME_STRUCTURE = 0.8
SHIFT_PX = 2
# Outline edges after less before, by their sum: beyond this it came, below the negative it went.
DECISIVE = 0.12
# Seconds between two steps by which the reference follows slow light, and the share taken over at each.
FOLLOW_S = 1.0
FOLLOW = 0.1


class Kind(StrEnum):
    """What became of a place."""

    CAME = "came"
    WENT = "went"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class PlaceChange:
    """A place that looks lastingly other.

    Attributes:
        box: in 0..1 of the frame.
        kind: whether something came, went, or neither is clear.
        sureness: 0..1, how decisive the outline is about the kind.
        start, end: media seconds: when the place began to be disturbed, and since when it has been at rest.
        reached: what disturbed it reached in from the border of the picture, as an arm or somebody passing does.
    """

    box: Box
    kind: Kind
    sureness: float
    start: float
    end: float
    reached: bool


class StationaryWatch:
    """Follows the lasting look of a view. State is a picture with its relief and seven small grids.

    Pixels are compared when blocks have come to rest, and once a second: what rests and was compared stays as it is.
    """

    _settled: NDArray[np.bool_]
    _compared: NDArray[np.bool_]
    _quiet_since: NDArray[np.float64]
    _free_since: NDArray[np.float64]

    def __init__(self) -> None:
        # (2, h, w): the smoothed picture, and the same less the surroundings of each pixel. Both are learnt block by
        # block: the relief of a picture of old and new blocks would be that of neither.
        self._reference: NDArray[np.float32] | None = None
        self._followed = 0.0

    def reset(self) -> None:
        """Forget what the view looked like: after a cut, or when the camera has moved."""
        self._reference = None

    def update(
        self,
        grey: NDArray[np.uint8],
        pts: float,
        changed: NDArray[np.bool_],
        held: Sequence[Box] = (),
        doubtful: Sequence[Box] = (),
    ) -> list[PlaceChange]:
        """Look at one frame; returns places found to be lastingly other, each once.

        Args:
            grey: (h, w) uint8 analysis picture, sides multiples of 8.
            pts: media seconds, increasing.
            changed: (h / 8, w / 8) blocks that changed since the last kept frame.
            held: where people, animals and vehicles are: not judged now.
            doubtful: where some of them were found who had been there unseen: the reference may show them.
        """
        if self._reference is None or self._reference.shape[1:] != grey.shape:
            self._begin(_look(grey), pts, changed.shape)
            return []
        covered, doubt = _mask(held, changed.shape), _mask(doubtful, changed.shape)
        self._settled &= ~doubt
        self._note(changed, pts)
        self._free_since[covered] = pts  # boxes jitter: who stands still may stick out for a moment
        rest = pts - np.maximum(self._quiet_since, self._free_since) >= SETTLE_S
        self._compared &= rest & self._settled
        if (rest == self._compared).all() and pts - self._followed < FOLLOW_S:
            return []
        now = _look(grey)
        other = _block_means(_differs(now, self._reference)) >= OTHER
        self._learn(now, rest & ~self._settled)
        if pts - self._followed >= FOLLOW_S:
            self._followed = pts
            self._learn(now, rest & self._settled & ~other, FOLLOW)
        waiting = rest & self._settled & other
        self._compared = rest & ~waiting
        if not waiting.any():
            return []
        if other.mean() > MOST_BLOCKS:
            self._learn(now, waiting)
            return []
        return self._judge(now, pts, waiting, other & ~rest & ~covered)

    def _begin(self, now: NDArray[np.float32], pts: float, shape: tuple[int, ...]) -> None:
        self._reference = now
        self._settled = np.zeros(shape, np.bool_)
        self._compared = np.zeros(shape, np.bool_)  # since they came to rest
        self._quiet_since = np.full(shape, pts)
        self._free_since = np.full(shape, pts)
        self._disturbed = np.full(shape, pts)
        self._reached = np.full(shape, -np.inf)
        self._followed = pts

    def _note(self, changed: NDArray[np.bool_], pts: float) -> None:
        """When each block was disturbed, and by what."""
        self._disturbed[changed & (pts - self._quiet_since >= SETTLE_S)] = pts
        self._quiet_since[changed] = pts
        if changed.any():
            for part in _parts(changed):
                if _at_border(part):
                    self._reached[part] = pts

    def _learn(self, now: NDArray[np.float32], blocks: NDArray[np.bool_], share: float = 1.0) -> None:
        if self._reference is None or not blocks.any():
            return
        size = (now.shape[2], now.shape[1])
        mask = cv2.resize(blocks.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        for known, seen in zip(self._reference, now, strict=True):
            cv2.accumulateWeighted(seen, known, share, mask)
        self._settled |= blocks

    def _judge(
        self, now: NDArray[np.float32], pts: float, waiting: NDArray[np.bool_], busy: NDArray[np.bool_]
    ) -> list[PlaceChange]:
        found = []
        for around in _parts(_grown(waiting)):  # fragments of one thing lie near each other
            part = around & waiting
            if (busy & _grown(around)).any():
                continue  # the rest of it is still in motion
            if _at_border(part) and pts - float(np.median(self._quiet_since[part])) < BORDER_S:
                continue
            change = self._change(now, part)
            self._learn(now, part)
            if change is not None:
                found.append(change)
        return found if len(found) <= MOST_PLACES else []

    def _change(self, now: NDArray[np.float32], part: NDArray[np.bool_]) -> PlaceChange | None:
        assert self._reference is not None
        if part.sum() < LEAST_BLOCKS or part.mean() > LARGEST:
            return None
        rows, columns = _window(part)
        before, after = self._reference[:, rows, columns], now[:, rows, columns]
        solid = _solid(_differs(after, before))
        if not solid.any() or _same_structure(before[1], after[1], _grown(solid)):
            return None
        x0, y0, width, height = cv2.boundingRect(solid.astype(np.uint8))
        if max(width, height) > SLIM * min(width, height) or solid.sum() < FILLED * width * height:
            return None
        kind, sureness = _kind(before[0], after[0], _rim(solid))
        _, h, w = now.shape
        top, left = rows.start, columns.start
        start, end = float(np.median(self._disturbed[part])), float(np.median(self._quiet_since[part]))
        return PlaceChange(
            ((left + x0) / w, (top + y0) / h, (left + x0 + width) / w, (top + y0 + height) / h),
            kind,
            sureness,
            min(start, end),
            end,
            bool((self._reached[_grown(part)] >= start - SETTLE_S).any()),
        )


def _look(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(2, h, w): a picture without its noise, and its relief: that less the mean of the surroundings of each pixel."""
    look = np.empty((2, *grey.shape), np.float32)
    look[0] = cv2.GaussianBlur(grey, (0, 0), 1.2)
    cv2.subtract(look[0], cv2.blur(look[0], (SURROUNDINGS_PX, SURROUNDINGS_PX)), look[1])
    return look


def _differs(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 where two pictures (2, h, w) with their reliefs differ, else 0."""
    alone, relief = (cv2.absdiff(one, other) for one, other in zip(a, b, strict=True))
    return np.asarray((alone > DIFFERS_ALONE) & (relief > DIFFERS), np.float32)


def _block_means(values: NDArray[np.float32]) -> NDArray[np.float32]:
    size = (values.shape[1] // BLOCK, values.shape[0] // BLOCK)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def _mask(boxes: Iterable[Box], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The blocks that boxes touch."""
    mask = np.zeros(shape, np.bool_)
    rows, columns = shape
    for x0, y0, x1, y1 in boxes:
        top, left = max(0, int(y0 * rows)), max(0, int(x0 * columns))
        mask[top : max(0, int(np.ceil(y1 * rows))), left : max(0, int(np.ceil(x1 * columns)))] = True
    return mask


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _parts(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Connected groups of blocks."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    return [np.asarray(labels == n) for n in range(1, count)]


def _at_border(part: NDArray[np.bool_]) -> bool:
    return bool(part[0].any() or part[-1].any() or part[:, 0].any() or part[:, -1].any())


def _window(part: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The pixels of a group of blocks, with a rim of one block."""
    rows, columns = np.nonzero(part)
    height, width = part.shape
    return (
        slice(max(0, int(rows.min()) - 1) * BLOCK, min(height, int(rows.max()) + 2) * BLOCK),
        slice(max(0, int(columns.min()) - 1) * BLOCK, min(width, int(columns.max()) + 2) * BLOCK),
    )


def _same_structure(before: NDArray[np.float32], after: NDArray[np.float32], where: NDArray[np.bool_]) -> bool:
    """The same things in another light, or shifted by a pixel or two; looked at ``where`` (h, w) they differ."""
    ys, xs = np.nonzero(where[SHIFT_PX:-SHIFT_PX, SHIFT_PX:-SHIFT_PX])
    if len(ys) == 0:
        return True
    known = before[ys + SHIFT_PX, xs + SHIFT_PX]
    steps = range(2 * SHIFT_PX + 1)
    return any(_correlation(known, after[ys + dy, xs + dx]) >= SAME_STRUCTURE for dy in steps for dx in steps)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """−1..1; 0 where one of the two shows nothing."""
    spread = float(a.std() * b.std())
    return float(((a - a.mean()) * (b - b.mean())).mean()) / spread if min(a.std(), b.std()) > 1.0 else 0.0


def _solid(differs: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What differs, without specks and small holes."""
    closed = cv2.morphologyEx(differs, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0)


def _rim(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The outline of what differs, two pixels wide."""
    inner = cv2.erode(solid.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.asarray(_grown(solid) & ~inner)


def _kind(before: NDArray[np.float32], after: NDArray[np.float32], outline: NDArray[np.bool_]) -> tuple[Kind, float]:
    """Did something come or go, and how sure is that, 0..1?"""
    edge_before, edge_after = (float(_steepness(picture)[outline].mean()) for picture in (before, after))
    balance = (edge_after - edge_before) / max(edge_after + edge_before, 1e-6)
    if abs(balance) < DECISIVE:
        return Kind.OTHER, 0.0
    return (Kind.CAME if balance > 0 else Kind.WENT), min(1.0, 2 * abs(balance))


def _steepness(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    dx, dy = (cv2.Sobel(picture, cv2.CV_32F, 1 - n, n, ksize=3) for n in (0, 1))
    return np.asarray(cv2.magnitude(dx, dy), np.float32)
