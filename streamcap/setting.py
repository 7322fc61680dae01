"""What kind of scene it is: day or night, in or out of doors, what place, a fixed camera or not, empty or busy.

Each part is left open unless its evidence is strong: a wrong word about the place spoils every caption after it. Pure;
looks at a picture of 80×60 pixels, once in half a second at first and rarely later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.labels import MOVERS, VEHICLES
from streamcap.types import Instance, Setting

__all__ = ["SettingWatch"]

SIZE = (80, 60)
# Media seconds between two looks, in the first seconds of a scene and later.
LOOK_FIRST_S, LOOK_S = 0.4, 5.0
FIRST_S = 6.0
# Share of a new look that is taken over, so that one lorry does not change the place.
STEP = 0.2

# Without colour: mean distance between the channels (levels of 255).
GREY = 2.5
# Infra-red lamps light the middle: the picture's rim is darker than this share of its middle.
LAMP_RIM = 0.7
# Night: most pixels this dark (value of 255), and a few lamps this bright.
NIGHT_DARK, NIGHT_SHARE = 60, 0.6
LAMP_LEVEL, LAMP_LEAST, LAMP_MOST = 200, 0.0008, 0.12
# Day: out of doors and the mean value above this.
DAY_MEAN = 95.0

# Sky: blue, bright, smooth, from the top edge down; share of the picture. Hue in OpenCV's 0..180.
SKY_HUE, SKY_SATURATION, SKY_VALUE = (95, 125), (35, 190), 120
SKY_LEAST = 0.08
# Vegetation: green and textured (standard deviation of grey in 5×5 pixels); share of the picture.
GREEN_HUE, GREEN_SATURATION, GREEN_VALUE = (32, 85), 35, (35, 235)
GREEN_TEXTURE = 7.0
GREEN_LEAST = 0.15
# Leaves move: at least this share of the green changes between two looks by LEAF_STEP grey levels, and LEAF_MORE times
# as much as of the rest; half of that in LEAF_SPREAD of the cells that are green (a walker on the lawn is in one);
# in at least so many looks.
LEAF_STEP, LEAF_SHARE, LEAF_MORE, LEAF_LOOKS = 4.0, 0.12, 1.25, 2
LEAF_CELLS, LEAF_CELL_GREEN, LEAF_SPREAD = (4, 3), 0.2, 0.75

# What stands in the open, and what in rooms: one sure sighting is strong evidence. What may be carried is neither.
OUTDOOR_LABELS = VEHICLES | {
    "traffic light",
    "stop sign",
    "fire hydrant",
    "parking meter",
    "boat",
    "cow",
    "sheep",
    "horse",
}
INDOOR_LABELS = frozenset({"bed", "couch", "toilet", "oven", "refrigerator", "sink", "microwave", "toaster"})
STREET_LABELS = frozenset({"traffic light", "stop sign", "parking meter", "fire hydrant"})
KITCHEN_LABELS = frozenset({"oven", "refrigerator", "sink", "microwave", "toaster"})
LABEL_SURE = 0.8
# Frames in which it was sure.
LABEL_FRAMES = 3
STREET_VEHICLES = 2
KITCHEN_THINGS = 2

# The camera is fixed after this long (seconds) of the scene in which it moved for less than a tenth of the time.
FIXED_S, FIXED_SHARE = 1.0, 0.1
# Who goes about and is in view: from here on it is busy.
BUSY = 6
SURE = 0.6


@dataclass(slots=True)
class _Looks:
    """What was seen of a scene so far, as running means."""

    count: int = 0
    colour: float = 0.0
    dark: float = 0.0
    lamps: float = 0.0
    value: float = 0.0
    rim: float = 1.0
    sky: float = 0.0
    green: float = 0.0
    leaves: int = 0

    def take(self, **seen: float) -> None:
        step = max(STEP, 1 / (self.count + 1))
        for name, value in seen.items():
            before: float = getattr(self, name)
            setattr(self, name, before + step * (value - before))
        self.count += 1


@dataclass(slots=True)
class SettingWatch:
    """Watches one stream. State: a small picture and some means; forgotten at a cut."""

    _looks: _Looks = field(default_factory=_Looks)
    _last: NDArray[np.float32] | None = None
    _last_at: float = 0.0
    _began: float | None = None
    _looked: float | None = None
    _before: float | None = None
    _moving: float = 0.0
    _labels: Counter[str] = field(default_factory=Counter)  # frames in which it was surely there

    def update(
        self, image: NDArray[np.uint8], pts: float, instances: Iterable[Instance], *, moving: bool, scene_start: bool
    ) -> Setting:
        """Look at one frame.

        Args:
            image: (h, w, 3) uint8 RGB.
            pts: media seconds, increasing.
            instances: all that are known.
            moving: the camera moves.
            scene_start: another scene begins with this frame.
        """
        if scene_start or self._began is None:
            self._looks, self._last, self._looked, self._moving = _Looks(), None, None, 0.0
            self._labels.clear()
            self._began, self._before = pts, pts
        assert self._before is not None
        self._moving += (pts - self._before) * moving
        self._before = pts
        pause = LOOK_FIRST_S if pts - self._began <= FIRST_S else LOOK_S
        if self._looked is None or pts - self._looked >= pause:
            self._looked = pts
            self._look(image, pts, moving)
        seen = [i for i in instances if i.visible]
        sure = [i.label for i in seen if i.confidence >= LABEL_SURE]
        self._labels.update(set(sure))
        if sum(label in VEHICLES for label in sure) >= STREET_VEHICLES:
            self._labels["vehicles"] += 1
        return self._setting(pts, seen)

    def _look(self, image: NDArray[np.uint8], pts: float, moving: bool) -> None:
        small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
        hue, saturation, value = cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2HSV))
        channels = small.astype(np.float32)
        grey = channels.mean(axis=2)
        green = _between(hue, GREEN_HUE) & (saturation >= GREEN_SATURATION) & _between(value, GREEN_VALUE)
        green &= _texture(grey) >= GREEN_TEXTURE
        rim = np.ones(grey.shape, np.bool_)
        rim[10:-10, 13:-13] = False
        self._looks.take(
            colour=float((channels.max(axis=2) - channels.min(axis=2)).mean()),
            dark=float((value < NIGHT_DARK).mean()),
            lamps=float((value >= LAMP_LEVEL).mean()),
            value=float(value.mean()),
            rim=float(grey[rim].mean() / max(grey[~rim].mean(), 1.0)),
            sky=_sky(hue, saturation, value, grey),
            green=float(green.mean()),
        )
        if self._last is not None and not moving and pts - self._last_at <= 1.0 and green.mean() >= GREEN_LEAST:
            self._looks.leaves += _leaves_move(green, np.abs(grey - self._last) >= LEAF_STEP)
        self._last, self._last_at = grey, pts

    def _setting(self, pts: float, instances: list[Instance]) -> Setting:
        looks = self._looks
        sure = {label for label, frames in self._labels.items() if frames >= LABEL_FRAMES}
        outside = bool(OUTDOOR_LABELS & sure) + (looks.green >= GREEN_LEAST) + (looks.sky >= SKY_LEAST)
        inside = bool(INDOOR_LABELS & sure)
        space = "outdoor" if outside and not inside else "indoor" if inside and not outside else ""
        return Setting(
            light=self._light(space),
            space=space,
            place=_place(space, sure),
            fixed=self._fixed(pts),
            traffic=_traffic(instances, looks.count),
            sway="leaves" if looks.leaves >= LEAF_LOOKS and self._fixed(pts) else "",
        )

    def _light(self, space: str) -> str:
        looks = self._looks
        if looks.colour < GREY:
            return "infra-red" if looks.rim < LAMP_RIM and looks.dark > 0.3 else ""
        if looks.dark >= NIGHT_SHARE and LAMP_LEAST <= looks.lamps <= LAMP_MOST and space != "indoor":
            return "night"
        return "day" if space == "outdoor" and looks.value >= DAY_MEAN and looks.dark < NIGHT_SHARE / 2 else ""

    def _fixed(self, pts: float) -> bool | None:
        seen = pts - (self._began or 0.0)
        return self._moving <= FIXED_SHARE * seen if seen >= FIXED_S else None


def _place(space: str, sure: set[str]) -> str:
    if space == "outdoor":
        return "street" if sure & (STREET_LABELS | {"vehicles"}) else ""
    if space == "indoor":
        if "bed" in sure:
            return "bedroom"
        return "kitchen" if len(KITCHEN_LABELS & sure) >= KITCHEN_THINGS else "room"
    return ""


def _leaves_move(green: NDArray[np.bool_], changed: NDArray[np.bool_]) -> bool:
    """Most of what is green is in motion, and more than the rest."""
    share = float(changed[green].mean())
    if share < LEAF_SHARE or (not green.all() and share < LEAF_MORE * float(changed[~green].mean())):
        return False
    cover, moved = (
        cv2.resize(part.astype(np.float32), LEAF_CELLS, interpolation=cv2.INTER_AREA)
        for part in (green, changed & green)
    )
    leafy = cover >= LEAF_CELL_GREEN
    return bool(leafy.any()) and float((moved[leafy] >= LEAF_SHARE / 2 * cover[leafy]).mean()) >= LEAF_SPREAD


def _traffic(instances: list[Instance], looks: int) -> str:
    count = sum(i.label in MOVERS and i.confidence >= SURE for i in instances)
    return "busy" if count >= BUSY else "empty" if count == 0 and looks >= 3 else ""


def _between(values: NDArray[np.uint8], limits: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray((values >= limits[0]) & (values <= limits[1]), np.bool_)


def _texture(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviation in 5×5 pixels."""
    mean = cv2.blur(grey, (5, 5))
    return np.asarray(np.sqrt(np.maximum(cv2.blur(grey * grey, (5, 5)) - mean * mean, 0)), np.float32)


def _sky(
    hue: NDArray[np.uint8], saturation: NDArray[np.uint8], value: NDArray[np.uint8], grey: NDArray[np.float32]
) -> float:
    """Share of the picture that is blue, smooth and reaches down from the top edge without a break."""
    blue = _between(hue, SKY_HUE) & _between(saturation, SKY_SATURATION) & (value >= SKY_VALUE)
    smooth = blue & (_texture(grey) < GREEN_TEXTURE)
    return float(np.logical_and.accumulate(smooth, axis=0).mean())
