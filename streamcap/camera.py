"""What the camera itself does: cut, pan, tilt, zoom, shake, and the light of the scene.

Its motion (``transform.py``) is known before instance motion is judged, so that a pan does not set people walking.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.swing import swing
from streamcap.transform import IDENTITY, Transform, changed_everywhere, estimate, moves_all_over

__all__ = ["CameraChange", "CameraReading", "CameraWatch"]

# A camera that moves changes the rim of the picture on all sides: share of the outer blocks. Less is objects.
FLOW_RIM = 0.3
# Cut: nearly everything changed at once and the thumbnails do not correlate. Two views of one place rarely
# correlate less than 0.6.
CUT_RIM = 0.6
CUT_CORRELATION = 0.5
# No cut: the picture before is found, shifted, in the one after, at least this alike. A camera that was seen to move so
# shortly before (seconds) is followed by such shifts through a swing.
CUT_SWUNG = 0.55
SWING_LIKENESS = 0.7
SWING_GOES_ON_S = 0.8
# A thumbnail whose grey levels spread less than this shows nothing (noise is averaged out of it).
FLAT = 0.7
# Quicker cuts than one in this many seconds are one flicker.
CUT_PAUSE_S = 1.0
# The frame after a cut shows what the one before it showed.
CUT_AGREE = 0.5
# A view that the scene had at rest (less than this share of its blocks changed) was only covered for a while.
REST_CHANGED = 0.02
REST_AGREE = 0.7
# In a scene that changes all over all the time (a close-up, a drive) a cut is a change much above the usual.
USUAL_FADE = 0.6
CUT_ABOVE_USUAL = 0.35
# Light: the mean grey level jumps by this much (of 255) while the structure stays.
LIGHT_STEP = 28.0
LIGHT_CORRELATION = 0.5
LIGHT_HOLD_S = 0.5
LIGHT_SPAN_S = 1.2

# Pan and tilt in frame sizes, zoom in natural log of scale, all summed over SPAN_S.
SPAN_S = 1.2
PAN_START = 0.06
ZOOM_START = 0.06
# Below this rate (per second) the camera rests; it has stopped after REST_S of that.
PAN_REST = 0.012
ZOOM_REST = 0.012
REST_S = 0.8
# Shake: at least this much path for little displacement, with this many turns.
SHAKE_PATH = 0.05
SHAKE_TURNS = 3


def _swung(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Transform:
    """A swing as a transform, where the two pictures show one place."""
    moved = swing(before, after)
    return Transform(moved.dx, moved.dy, trusted=True) if moved.likeness >= SWING_LIKENESS else IDENTITY


def _rim(changed: NDArray[np.bool_]) -> float:
    """Share of the outermost blocks that changed."""
    rim = np.concatenate([changed[0], changed[-1], changed[1:-1, 0], changed[1:-1, -1]])
    return float(rim.mean())


@dataclass(frozen=True, slots=True)
class CameraChange:
    """Something that the camera or the light did: ``cut``, ``pan``, ``tilt``, ``zoom``, ``shake``, ``light``.

    Attributes:
        where: left, right, up, down, in, out, on, off; empty for a cut or a shake.
        start, end: media seconds.
        confidence: 0..1.
    """

    what: str
    where: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class CameraReading:
    """What the camera did between the last frame and this one.

    Attributes:
        moving: the camera moves, so differences of pixels say nothing of instances.
    """

    transform: Transform
    moving: bool
    changes: tuple[CameraChange, ...]

    @property
    def cut(self) -> bool:
        """The scene is another one from this frame on."""
        return any(change.what == "cut" for change in self.changes)


class CameraWatch:
    """Follows the camera over a stream. State is a second of transforms and two pictures."""

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None
        self._shown: NDArray[np.uint8] = np.zeros((1, 1), np.uint8)  # the last picture that showed something
        self._steps: deque[tuple[float, float, float, float]] = deque()  # t, dx, dy, log scale
        self._said: dict[str, tuple[str, float]] = {}  # axis -> direction, last time it moved that way
        self._rest: NDArray[np.uint8] | None = None  # the scene's view when last nothing moved in it
        self._light = _LightWatch()
        self._cut_at = -CUT_PAUSE_S
        self._pending: tuple[NDArray[np.uint8], NDArray[np.uint8], float] | None = None  # before, after, when
        self._moved_at = -math.inf  # when the camera was last seen to move
        self._usual = 0.0  # how unlike each other neighbouring frames are of late, 0..1

    def resume(self, grey: NDArray[np.uint8]) -> bool:
        """After a time that was not seen: true where ``grey`` shows the place that was shown before it.

        What the camera and the light did meanwhile is not told. A picture without structure tells nothing, and passes.
        """
        same = _is_flat(grey) or _correlation(self._shown, grey) >= CUT_CORRELATION
        self._last, self._pending = None, None
        self._said.clear()
        if not same:
            self._shown, self._usual = grey, 0.0
        return same

    def update(self, grey: NDArray[np.uint8], pts: float, changed: NDArray[np.bool_]) -> CameraReading:
        """Look at one frame.

        Args:
            grey: (h, w) uint8.
            pts: media seconds, increasing.
            changed: (rows, columns) the blocks that the gate saw change.
        """
        before, self._last = self._last, grey
        if before is None or before.shape != grey.shape:
            self._steps.clear()
            self._light = _LightWatch()
            self._light.update(grey, pts)
            self._rest = None
            if self._shown.shape != grey.shape or not _is_flat(grey):
                self._shown = grey
            return CameraReading(IDENTITY, False, ())
        rim = _rim(changed)
        transform = estimate(before, grey) if rim >= FLOW_RIM else IDENTITY
        if not transform.trusted and pts - self._moved_at <= SWING_GOES_ON_S and moves_all_over(changed):
            transform = _swung(before, grey)
        if transform.trusted and not transform.still:
            self._moved_at = pts
        flat = _is_flat(grey)
        cut, returned = self._confirmed_cut(grey)
        if cut is not None:
            self._steps.clear()
            self._said.clear()
            self._usual, self._cut_at = 0.0, pts
            self._light = _LightWatch()
            self._light.update(grey, pts)
            self._shown, self._rest = grey, None
            return CameraReading(IDENTITY, False, (CameraChange("cut", "", cut, pts, 0.9),))
        if not flat and not returned and self._is_cut(self._shown, grey, rim, transform, pts):
            self._pending = (self._shown, grey, pts)
        self._shown = self._shown if flat else grey
        if not flat and float(changed.mean()) < REST_CHANGED:
            self._rest = grey
        self._steps.append((pts, transform.dx, transform.dy, math.log(transform.scale)))
        while self._steps and pts - self._steps[0][0] > SPAN_S:
            self._steps.popleft()
        changes = [*self._motion(pts), *self._light.update(grey, pts)]
        moving = not transform.still or any(pts - last < REST_S / 2 for _, last in self._said.values())
        return CameraReading(transform, moving, tuple(changes))

    def _confirmed_cut(self, grey: NDArray[np.uint8]) -> tuple[float | None, bool]:
        """When the cut was (media seconds) that the frame before seemed to be, if this frame agrees; else None.

        What only passes, a lorry or a damaged picture, does not look alike in two frames. The second value tells that
        the view is again what it was before.
        """
        if self._pending is None:
            return None, False
        before, after, pts = self._pending
        self._pending = None
        returned = _correlation(before, grey) >= CUT_CORRELATION
        return (pts if not returned and _correlation(after, grey) >= CUT_AGREE else None), returned

    def _is_cut(
        self, before: NDArray[np.uint8], after: NDArray[np.uint8], rim: float, transform: Transform, pts: float
    ) -> bool:
        if rim < FLOW_RIM:
            self._usual *= USUAL_FADE
            return False
        unlike = 1 - _correlation(before, after)
        unusual = unlike > self._usual + CUT_ABOVE_USUAL
        self._usual = USUAL_FADE * self._usual + (1 - USUAL_FADE) * unlike
        return (
            unusual
            and pts - self._cut_at >= CUT_PAUSE_S
            and rim >= CUT_RIM
            and unlike > 1 - CUT_CORRELATION
            and not transform.trusted
            and changed_everywhere(before, after)
            and (self._rest is None or _correlation(self._rest, after) < REST_AGREE)
            and swing(before, after).likeness < CUT_SWUNG
        )

    def _motion(self, pts: float) -> list[CameraChange]:
        steps = np.asarray(self._steps)
        span = max(steps[-1, 0] - steps[0, 0], 1e-6)
        if _shaking(steps):
            return self._say("shake", "", pts, steps[0, 0])
        # The picture moves against the camera: a picture that shifts right is a pan to the left.
        axes = (
            ("pan", steps[:, 1], PAN_START, PAN_REST, ("left", "right")),
            ("tilt", steps[:, 2], PAN_START, PAN_REST, ("up", "down")),
            ("zoom", steps[:, 3], ZOOM_START, ZOOM_REST, ("in", "out")),
        )
        found = []
        for what, values, start, rest, (positive, negative) in axes:
            total = float(values.sum())
            way = positive if total > 0 else negative
            if abs(total) >= start:
                found += self._say(what, way, pts, float(steps[0, 0]))
            elif abs(total) / span > rest and self._said.get(what, ("", 0.0))[0] == way:
                self._said[what] = (way, pts)  # goes on, slower
        self._said = {k: v for k, v in self._said.items() if pts - v[1] <= REST_S}
        return found

    def _say(self, what: str, way: str, pts: float, start: float) -> list[CameraChange]:
        fresh = self._said.get(what, ("?", 0.0))[0] != way
        self._said[what] = (way, pts)
        return [CameraChange(what, way, start, pts, 0.8)] if fresh else []


def _shaking(steps: NDArray[np.float64]) -> bool:
    moves = steps[:, 1:3]
    path = float(np.hypot(moves[:, 0], moves[:, 1]).sum())
    net = float(np.hypot(*moves.sum(axis=0)))
    turns = max(int((np.diff(np.sign(axis[np.abs(axis) > 0.004])) != 0).sum()) for axis in moves.T)
    return path > SHAKE_PATH and net < path / 3 and turns >= SHAKE_TURNS


def _is_flat(grey: NDArray[np.uint8]) -> bool:
    """A picture without structure: a flash, a blank, a covered lens. It is no scene to cut to."""
    return float(cv2.resize(grey, (40, 24), interpolation=cv2.INTER_AREA).std()) < FLAT


def _correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Correlation of two grey pictures as thumbnails, −1..1; flat pictures correlate with nothing but each other."""
    x, y = (cv2.resize(p, (40, 24), interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1) for p in (a, b))
    sx, sy = float(x.std()), float(y.std())
    if sx < FLAT or sy < FLAT:
        return 1.0 if sx < FLAT and sy < FLAT else 0.0
    return float(((x - x.mean()) * (y - y.mean())).mean() / (sx * sy))


class _LightWatch:
    """Tells lights that go on or off from a passing shadow: the step is wide, quick and lasts."""

    def __init__(self) -> None:
        self._history: deque[tuple[float, float, NDArray[np.uint8]]] = deque()  # t, mean, picture
        self._since: float | None = None

    def update(self, grey: NDArray[np.uint8], pts: float) -> list[CameraChange]:
        mean = float(grey.mean())
        while self._history and pts - self._history[0][0] > LIGHT_SPAN_S:
            self._history.popleft()
        found: list[CameraChange] = []
        if self._history:
            then, level, picture = self._history[0]
            step = mean - level
            if abs(step) < LIGHT_STEP:
                self._since = None
            elif self._since is None:
                self._since = pts
            elif pts - self._since >= LIGHT_HOLD_S and _everywhere(picture, grey, step):
                found = [CameraChange("light", "on" if step > 0 else "off", then, pts, 0.8)]
                self._history.clear()
                self._since = None
        self._history.append((pts, mean, grey))
        return found


def _everywhere(before: NDArray[np.uint8], after: NDArray[np.uint8], step: float) -> bool:
    """The change has one sign over most of the picture, and what had structure keeps it."""
    small = [cv2.resize(p, (8, 6), interpolation=cv2.INTER_AREA).astype(np.float32) for p in (before, after)]
    same_way = float(((small[1] - small[0]) * math.copysign(1, step) > LIGHT_STEP / 4).mean())
    return same_way > 0.7 and _correlation(before, after) > LIGHT_CORRELATION
