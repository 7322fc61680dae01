"""Something that comes close to the camera: large, from a border, and nothing that a detector has a name for.

A hand before the lens fills a tenth of the picture within a second or two. It differs from the background as a whole
(a shadow keeps the background's texture), has an edge (the shadow of a cloud has none), and no track explains it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.geometry import contained
from streamcap.types import Box

__all__ = ["CloseUp", "NearnessWatch"]

SIZE = (80, 60)
# The background is followed with these time constants (seconds), where it is free and where it is covered.
FREE_S, COVERED_S = 3.0, 20.0
# Seconds of a scene until its background is known.
WARM_S = 2.0
# Foreign: further from the background than this many of its usual deviations and grey levels.
DEVIATIONS, LEVELS = 4.0, 14.0
# Close: so large a share of the picture, of which at most that much was covered GROWN_S before.
LARGE, SMALL, GROWN_S = 0.1, 0.02, 3.0
# Once so large it may shrink to this share until it is told.
STILL_LARGE = 0.07
# More than this is the light, or the lens is covered, which the health of the picture tells.
ALL = 0.8
# It lasts this long (seconds), and is over below this share.
HOLD_S, OVER = 0.8, 0.05
# The texture of the background shows through a shadow: correlation, where the background has texture (grey levels).
SHADOW, TEXTURE = 0.5, 2.0
# Mean step of grey levels from pixel to pixel along its outline.
EDGE = 8.0
# Specks narrower than this (pixels) are noise.
OPENING = 3
# Share of it that a track of known class may explain.
EXPLAINED = 0.3
# Skin, in OpenCV's YCrCb (Chai and Ngan 1999), over this share of it, and on at most that share of the rest: wood and
# brick have its colour too.
SKIN_CR, SKIN_CB = (135, 175), (77, 127)
SKIN_SHARE, SKIN_REST = 0.6, 0.25

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CloseUp:
    """Something close to the camera.

    Attributes:
        box: around it.
        since: media seconds.
        skin: it has the colour of skin.
    """

    box: Box
    since: float
    skin: bool


@dataclass(slots=True)
class NearnessWatch:
    """Watches one stream. State: some pictures of 80×60."""

    _back: Map | None = None
    _deviation: Map | None = None
    _before: float = 0.0
    _began: float = 0.0
    _covers: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=64))  # when, share of the picture
    _since: float | None = None
    _on: bool = False
    _skin: bool = False

    def reset(self) -> None:
        """Forget the background: after a cut, or when the camera has moved."""
        self._back = self._since = None
        self._covers.clear()
        self._on = False

    def update(
        self, luma: NDArray[np.uint8], image: NDArray[np.uint8], pts: float, known: Sequence[Box]
    ) -> CloseUp | None:
        """What is close to the camera, for as long as it is.

        Args:
            luma: (h', w') uint8 grey, small.
            image: (h, w, 3) uint8 RGB, looked at only where something is close.
            pts: media seconds, increasing.
            known: boxes of what has a name.
        """
        grey = cv2.resize(luma, SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._back is None or self._deviation is None:
            self._back, self._deviation = grey, np.full_like(grey, 2.0)
            self._before = self._began = pts
            return None
        dt, self._before = pts - self._before, pts
        distance = np.abs(grey - self._back)
        foreign = distance > DEVIATIONS * self._deviation + LEVELS
        region = _from_border(foreign)
        share = float(region.mean())
        was = min((cover for at, cover in self._covers if pts - at <= GROWN_S), default=1.0)
        self._covers.append((pts, share))
        sure = self._is_close(grey, region, share, was, known) if pts - self._began >= WARM_S else False
        found = self._hold(sure, region, image, pts)
        self._learn(grey, distance, foreign, dt)
        return found

    def _is_close(self, grey: Map, region: Mask, share: float, was: float, known: Sequence[Box]) -> bool:
        if self._on:
            return share >= OVER
        begins = self._since is None
        if not (LARGE if begins else STILL_LARGE) <= share <= ALL or (begins and was > SMALL):
            return False
        box = _box(region)
        if any(contained(box, k) > EXPLAINED or contained(k, box) > EXPLAINED for k in known):
            return False
        return not self._shines_through(grey, region) and _edge(grey, region) >= EDGE

    def _shines_through(self, grey: Map, region: Mask) -> bool:
        assert self._back is not None
        inside = cv2.erode(region.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1) > 0
        a, b = (_detail(picture)[inside] for picture in (self._back, grey))
        if a.size < 2 or float(a.std()) < TEXTURE or float(b.std()) < TEXTURE / 4:
            return False
        return float(np.corrcoef(a, b)[0, 1]) >= SHADOW

    def _hold(self, sure: bool, region: Mask, image: NDArray[np.uint8], pts: float) -> CloseUp | None:
        if not sure:
            self._since, self._on = None, False
            return None
        self._since = pts if self._since is None else self._since
        if not self._on and pts - self._since >= HOLD_S:
            self._on, self._skin = True, _is_skin(image, region)
        return CloseUp(_box(region), self._since, self._skin) if self._on else None

    def _learn(self, grey: Map, distance: Map, foreign: Mask, dt: float) -> None:
        assert self._back is not None
        assert self._deviation is not None
        step = np.where(foreign, 1 - np.exp(-dt / COVERED_S), 1 - np.exp(-dt / FREE_S)).astype(np.float32)
        self._back = self._back + step * (grey - self._back)
        self._deviation = self._deviation + step * (np.minimum(distance, LEVELS) - self._deviation)


def _from_border(foreign: Mask) -> Mask:
    """The largest connected part that reaches a border of the picture."""
    if np.count_nonzero(foreign) < OPENING**2:  # nothing that would be left
        return np.zeros(foreign.shape, np.bool_)
    mask = cv2.morphologyEx(foreign.astype(np.uint8), cv2.MORPH_OPEN, np.ones((OPENING, OPENING), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    rim = set(np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])).tolist()) - {0}
    if count <= 1 or not rim:
        return np.zeros(foreign.shape, np.bool_)
    return np.asarray(labels == max(rim, key=lambda n: int(stats[n, cv2.CC_STAT_AREA])), np.bool_)


def _box(region: Mask) -> Box:
    rows, columns = np.nonzero(region)
    h, w = region.shape
    return float(columns.min() / w), float(rows.min() / h), float((columns.max() + 1) / w), float((rows.max() + 1) / h)


def _detail(grey: Map) -> Map:
    """What is finer than 5 pixels."""
    return np.asarray(grey - cv2.blur(grey, (5, 5)), np.float32)


def _edge(grey: Map, region: Mask) -> float:
    """Mean step of grey levels along the outline of a region, inside the picture."""
    inner = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    outline = region & (inner == 0)
    dx, dy = (cv2.Sobel(grey, cv2.CV_32F, x, 1 - x, ksize=3, scale=1 / 8) for x in (1, 0))
    return float(np.hypot(dx, dy)[outline].mean()) if outline.any() else 0.0


def _is_skin(image: NDArray[np.uint8], region: Mask) -> bool:
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    _, cr, cb = cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb))
    skin = (cr >= SKIN_CR[0]) & (cr <= SKIN_CR[1]) & (cb >= SKIN_CB[0]) & (cb <= SKIN_CB[1])
    return float(skin[region].mean()) >= SKIN_SHARE and float(skin[~region].mean()) <= SKIN_REST
