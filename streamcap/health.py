"""Is the picture fit to be described? Freeze, black, blur, exposure, and a view that is blocked or was moved.

Each condition is judged against the stream's own normal and must last, so that a fade, a clip that begins black, a
night scene or a still film title raises nothing. A caption of a broken feed is worse than a word that it is broken
(after FineVQ's attributes of quality, arXiv:2412.19238). Pure; about a tenth of a millisecond a frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.types import Condition, Health, Trouble

__all__ = ["HealthWatch"]

# Media seconds between two looks at more than "is it the same picture as before?".
LOOK_S = 0.5
# A condition must last this long (seconds) before it holds, and be over this long before it no longer does.
HOLD_S = {
    Condition.BLACK: 3.0,  # fades and pauses between films are shorter
    Condition.BLANK: 3.0,
    Condition.DARK: 6.0,
    Condition.BRIGHT: 6.0,  # automatic exposure needs some seconds after the light changed
    Condition.BLUR: 4.0,  # automatic focus hunts for a second or two
    Condition.BLOCKED: 6.0,  # a lorry that passes close by is gone sooner
}
CLEAR_S = 1.0
# The stream must have shown a picture for this long (seconds) before its loss is news.
SHOWN_S = 5.0

# Freeze: this many pairs of neighbouring frames of the scene are known, of which at most this share were equal in every
# pixel (a sensor's noise changes each frame, a rendered or hard compressed picture does not); then all are equal for
# this long (seconds), and for several times the longest such run before.
FREEZE_PAIRS = 60
FREEZE_EQUAL = 0.03
FREEZE_S = 5.0
FREEZE_TIMES = 5.0
# Its end: so many frames that differ.
UNFREEZE_FRAMES = 2

# Black (grey levels of 255): the mean, and all but this share of the pixels, are below.
BLACK_MEAN = 18.0
BLACK_LEVEL = 40
BLACK_REST = 0.005
# Blank: the standard deviation (grey levels) of a picture without any content, such as a generator's blue.
BLANK_STD = 1.2
# Exposure: nearly all pixels this dark, or most of them this bright.
DARK_LEVEL, DARK_SHARE = 32, 0.985
BRIGHT_LEVEL, BRIGHT_SHARE = 250, 0.6

# Blur, blocked and moved are told of a view that stood still and uncut for this long (seconds): of a fixed camera.
FIXED_S = 60.0
# The normal structure of each cell of the picture is followed with this time constant (seconds).
NORMAL_S = 30.0
CELLS = (8, 6)
# Bands of structure in pixels of a 320 wide picture, each between two means. Fine is lost first when the lens is out of
# focus; finer than that is noise.
FINE_PX = (3, 9)
COARSE_PX = (5, 21)
# Cells whose normal fine structure is less than this (grey levels) are sky or wall and say nothing; so many must speak.
STRUCTURE_LEAST = 1.5
CELLS_LEAST = 10
# Blur: fine structure below this share of the normal (for the light there is) in this share of the cells.
BLUR_FINE, BLUR_CELLS = 0.45, 0.8
# Blocked: coarse structure too has gone, in nearly all cells.
BLOCKED_COARSE, BLOCKED_CELLS = 0.3, 0.85
# Moved: after the camera came to rest for this long (seconds), what it sees correlates less than this with before.
MOVED_REST_S = 5.0
MOVED_CORRELATION = 0.35

Map = NDArray[np.float32]


@dataclass(slots=True)
class _Latch:
    """A condition with hysteresis in time."""

    hold: float
    since: float | None = None
    quiet_since: float | None = None
    on: bool = False

    def update(self, active: bool, pts: float) -> bool:
        """Take in a reading; true where the state changed."""
        if active:
            self.quiet_since = None
            self.since = pts if self.since is None else self.since
            changed = not self.on and pts - self.since >= self.hold
        else:
            self.quiet_since = pts if self.quiet_since is None else self.quiet_since
            if not self.on:
                self.since = None
            changed = self.on and pts - self.quiet_since >= CLEAR_S
        if changed:
            self.on = active
            self.since = self.since if active else None
        return changed


@dataclass(slots=True)
class _Sameness:
    """Tells a frozen picture from one that is still by nature."""

    last: NDArray[np.uint8] | None = None
    pairs: int = 0
    equal: int = 0
    longest: float = 0.0
    run: int = 0
    since: float | None = None
    differ: int = 0
    frozen: bool = False

    def update(self, grey: NDArray[np.uint8], pts: float) -> bool:
        """Take in a frame; true where the picture became or ceased to be frozen."""
        before, self.last = self.last, grey
        if before is None or before.shape != grey.shape:
            return False
        if np.array_equal(before, grey):
            self.since = pts if self.since is None else self.since
            self.run += 1
            self.differ = 0
            if not self.frozen and self._is_frozen(pts - self.since):
                self.frozen = True
                return True
            return False
        self.differ += 1
        if self.frozen and self.differ < UNFREEZE_FRAMES:
            return False
        ended, self.frozen = self.frozen, False
        if not ended and self.since is not None:  # a fault is no part of what is normal
            self.longest = max(self.longest, pts - self.since)
            self.equal += self.run
            self.pairs += self.run
        self.pairs += 1
        self.run, self.since = 0, None
        return ended

    def _is_frozen(self, lasted: float) -> bool:
        lively = self.pairs >= FREEZE_PAIRS and self.equal <= FREEZE_EQUAL * self.pairs
        return lively and lasted >= max(FREEZE_S, FREEZE_TIMES * self.longest)


@dataclass(slots=True)
class _Normal:
    """How the view usually looks: its structure by cells, its light, and a map of its edges."""

    fine: Map
    coarse: Map
    edges: Map
    light: float
    since: float

    def learn(self, fine: Map, coarse: Map, edges: Map, light: float, dt: float) -> None:
        step = np.float32(1 - np.exp(-dt / NORMAL_S))
        self.fine += step * (fine - self.fine)
        self.coarse += step * (coarse - self.coarse)
        self.edges += step * (edges - self.edges)
        self.light += float(step) * (light - self.light)


@dataclass(slots=True)
class HealthWatch:
    """Watches the pictures of one stream. State: two grey pictures and some small maps.

    What it raises: ``freeze``, ``black``, ``blank``, ``dark``, ``bright``, ``blur``, ``blocked`` hold until they are
    over; ``moved`` is of one moment and is only ever in ``began``.
    """

    _sameness: _Sameness = field(default_factory=_Sameness)
    _latches: dict[Condition, _Latch] = field(default_factory=lambda: {c: _Latch(s) for c, s in HOLD_S.items()})
    _frozen_since: float = 0.0
    _normal: _Normal | None = None
    _before_move: _Normal | None = None
    _moved_since: float | None = None
    _rested_at: float | None = None
    _looked: float | None = None
    _shown: float = 0.0
    _nothing_shown: bool = False
    _anew: bool = False

    def begin_anew(self) -> None:
        """What comes next is another scene, though no cut to it was seen."""
        self._anew = True

    def update(self, grey: NDArray[np.uint8], pts: float, *, moving: bool = False, cut: bool = False) -> Health:
        """Look at one frame.

        Args:
            grey: (h, 320) uint8 from :func:`streamcap.gating.luma`.
            pts: media seconds, increasing.
            moving: the camera moves.
            cut: the scene is another one from this frame on.
        """
        began: list[Trouble] = []
        ended = self._forget() if cut or self._anew else []
        self._anew = False
        # Black frames are all alike: that is no second fault.
        if not self._nothing_shown and self._sameness.update(grey, pts):
            if self._sameness.frozen:
                self._frozen_since = self._sameness.since or pts
                began.append(self._trouble(Condition.FREEZE))
            else:
                ended.append(Trouble(Condition.FREEZE, self._frozen_since, 0.9))
        if self._looked is None or pts - self._looked >= LOOK_S or moving:
            self._look(grey, pts, moving, began, ended)
        return Health(self._troubles(), tuple(began), tuple(ended))

    def _forget(self) -> list[Trouble]:
        """Another scene: its normal is not known yet. Returns what was wrong with the one before and ends with it."""
        lost = [Condition.FREEZE] if self._sameness.frozen else []
        lost += [what for what in (Condition.BLUR, Condition.BLOCKED) if self._latches[what].on]
        over = [self._trouble(what) for what in lost]
        self._normal = self._before_move = None
        self._rested_at = self._moved_since = None
        self._sameness = _Sameness()
        for what in (Condition.BLUR, Condition.BLOCKED):
            self._latches[what] = _Latch(HOLD_S[what])
        return over

    def _trouble(self, what: Condition) -> Trouble:
        if what is Condition.FREEZE:
            return Trouble(what, self._frozen_since, 0.9)
        return Trouble(what, self._latches[what].since or 0.0, _CONFIDENCE[what])

    def _troubles(self) -> tuple[Trouble, ...]:
        on = [what for what, latch in self._latches.items() if latch.on]
        return tuple(self._trouble(what) for what in ([Condition.FREEZE] if self._sameness.frozen else []) + on)

    def _look(
        self, grey: NDArray[np.uint8], pts: float, moving: bool, began: list[Trouble], ended: list[Trouble]
    ) -> None:
        dt = min(pts - self._looked, 2.0) if self._looked is not None else 0.0
        self._looked = pts
        found = _light(grey)
        self._nothing_shown = bool(found & {Condition.BLACK, Condition.BLANK})
        if not self._nothing_shown:
            self._shown += dt
            found |= self._structure(grey, pts, dt, moving)
            if not moving and self._was_moved(pts):
                began.append(Trouble(Condition.MOVED, self._moved_since or pts, _CONFIDENCE[Condition.MOVED]))
                self._before_move = self._moved_since = None
        for what, latch in self._latches.items():
            # That nothing was ever to be seen is no change; a camera that begins over-exposed is ill from the start.
            active = what in found and (self._shown >= SHOWN_S or what in (Condition.DARK, Condition.BRIGHT))
            was = self._trouble(what)
            if latch.update(active, pts):
                (began if latch.on else ended).append(self._trouble(what) if latch.on else was)

    def _structure(self, grey: NDArray[np.uint8], pts: float, dt: float, moving: bool) -> set[Condition]:
        """What the structure says against the normal, which is learnt while all is well."""
        if moving:
            if self._normal is not None and pts - self._normal.since >= FIXED_S:
                self._before_move, self._moved_since = self._normal, pts
            self._normal = self._rested_at = None
            return set()
        fine, coarse, edges = _bands(grey)
        light = float(grey.mean())
        normal = self._normal
        if normal is None or normal.edges.shape != edges.shape:
            self._normal = _Normal(fine, coarse, edges, light, pts)
            self._rested_at = pts
            return set()
        speaks = normal.fine >= STRUCTURE_LEAST
        if int(speaks.sum()) >= CELLS_LEAST and pts - normal.since >= FIXED_S:
            # In less light the same structure has less contrast: lights that go out block no view.
            gain = min(1.0, light / max(normal.light, 1.0))
            if float((coarse < BLOCKED_COARSE * gain * normal.coarse)[speaks].mean()) >= BLOCKED_CELLS:
                return {Condition.BLOCKED}
            if float((fine < BLUR_FINE * gain * normal.fine)[speaks].mean()) >= BLUR_CELLS:
                return {Condition.BLUR}
        normal.learn(fine, coarse, edges, light, dt)
        return set()

    def _was_moved(self, pts: float) -> bool:
        """The camera rests again after a move, and for all of that time saw another view than the one before."""
        if self._before_move is None or self._normal is None or self._rested_at is None:
            return False
        if _correlation(self._before_move.edges, self._normal.edges) >= MOVED_CORRELATION:
            self._normal, self._before_move, self._moved_since = self._before_move, None, None  # it only trembled
            return False
        return pts - self._rested_at >= MOVED_REST_S


_CONFIDENCE = {
    Condition.BLACK: 0.95, Condition.BLANK: 0.95, Condition.DARK: 0.8, Condition.BRIGHT: 0.8, Condition.BLUR: 0.75,
    Condition.BLOCKED: 0.75, Condition.MOVED: 0.7,
}  # fmt: skip


def _light(grey: NDArray[np.uint8]) -> set[Condition]:
    """What the grey levels alone say."""
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).reshape(-1) / grey.size
    levels = np.arange(256, dtype=np.float32)
    mean = float(counts @ levels)
    if mean < BLACK_MEAN and float(counts[BLACK_LEVEL:].sum()) <= BLACK_REST:
        return {Condition.BLACK}
    if float(counts @ (levels - mean) ** 2) < BLANK_STD**2:
        return {Condition.BLANK}
    if float(counts[:DARK_LEVEL].sum()) >= DARK_SHARE:
        return {Condition.DARK}
    return {Condition.BRIGHT} if float(counts[BRIGHT_LEVEL:].sum()) >= BRIGHT_SHARE else set()


def _bands(grey: NDArray[np.uint8]) -> tuple[Map, Map, Map]:
    """Mean strength of fine and of coarse structure in each cell; the coarse structure with its sign, made small."""
    sharp, near, middle, wide = (cv2.blur(grey, (size, size)) for size in (*FINE_PX, *COARSE_PX))
    fine = cv2.resize(cv2.absdiff(sharp, near).astype(np.float32), CELLS, interpolation=cv2.INTER_AREA)
    band = middle.astype(np.float32) - wide
    coarse = cv2.resize(np.abs(band), CELLS, interpolation=cv2.INTER_AREA)
    edges = cv2.resize(band, (40, 24), interpolation=cv2.INTER_AREA)
    return np.asarray(fine, np.float32), np.asarray(coarse, np.float32), np.asarray(edges, np.float32)


def _correlation(a: Map, b: Map) -> float:
    x, y = a - a.mean(), b - b.mean()
    return float((x * y).sum() / (np.sqrt((x * x).sum() * (y * y).sum()) + 1e-6))
