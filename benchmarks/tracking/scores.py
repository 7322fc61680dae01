"""How well did a tracker do: CLEAR MOT (Bernardin and Stiefelhagen 2008) and IDF1 (Ristani et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.tracking.scenes import COUNTED, Scene, True_
from streamcap.geometry import iou_matrix
from streamcap.types import Box

__all__ = ["Score", "Tracked", "pooled", "score"]

OVERLAP = 0.5
# Boxes of a tracker in one frame, by its id.
Tracked = dict[int, Box]


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one scene, or of several together.

    Attributes:
        truth: boxes that count; ``boxes``: boxes that the tracker gave where something counts or nothing is.
        found: true boxes that a track covered.
        switches: a true object goes on under another id. fragments: it is covered again after it was not.
        same_id: true boxes covered by the one track that is best for their object (as IDF1 has it).
        tracks, objects: different ids that the tracker gave, and different objects that there were.
        seconds: the tracker's own time; frames: that it had.
    """

    truth: int
    boxes: int
    found: int
    switches: int
    fragments: int
    same_id: int
    tracks: int
    objects: int
    seconds: float
    frames: int

    @property
    def mota(self) -> float:
        """1 − (missed + false + switches) / truth."""
        return 1 - (self.truth - self.found + self.boxes - self.found + self.switches) / max(self.truth, 1)

    @property
    def idf1(self) -> float:
        """Share of boxes that bear the right identity over the whole scene, 0..1."""
        return 2 * self.same_id / max(self.truth + self.boxes, 1)

    @property
    def ms(self) -> float:
        """Milliseconds a frame."""
        return 1e3 * self.seconds / max(self.frames, 1)


def pooled(scores: Iterable[Score]) -> Score:
    """Several scenes as one: counts are added."""
    rows = list(scores)
    return Score(*(sum(getattr(row, name) for row in rows) for name in Score.__dataclass_fields__))


def score(scene: Scene, tracked: Sequence[Tracked], seconds: float) -> Score:
    """Hold a tracker's boxes, frame by frame, against the truth.

    An object of which too little is visible does not count, and neither does a track's box on it.

    Raises:
        ValueError: there are not as many frames as the scene has.
    """
    if len(tracked) != len(scene.moments):
        raise ValueError(f"{len(tracked)} frames of {len(scene.moments)}")
    truth = boxes = found = switches = fragments = 0
    last: dict[int, int] = {}  # object: the track that covered it last
    covered: dict[int, bool] = {}
    together: dict[tuple[int, int], int] = {}
    ids: set[int] = set()
    for moment, given in zip(scene.moments, tracked, strict=True):
        counted = {o.id: o.box for o in moment.truth if o.visible >= COUNTED}
        judged = _judged(moment.truth, given)
        pairs = _pairs(counted, judged, last)
        truth, boxes, found = truth + len(counted), boxes + len(judged), found + len(pairs)
        ids |= judged.keys()
        for key, track in pairs.items():
            if key in last:
                switches += last[key] != track
                fragments += not covered[key]
            last[key] = track
        covered.update({key: key in pairs for key in counted})
        for pair in _overlapping(counted, judged):
            together[pair] = together.get(pair, 0) + 1
    return Score(
        truth, boxes, found, switches, fragments, _best(together), len(ids), scene.objects, seconds, len(tracked)
    )  # fmt: skip


def _judged(truth: Sequence[True_], given: Tracked) -> Tracked:
    """Leave out boxes that belong on something hidden: they are neither right nor wrong."""
    hidden = {o.id for o in truth if o.visible < COUNTED}
    if not hidden:
        return given
    pairs = _pairs({o.id: o.box for o in truth}, given, {})
    return {track: box for track, box in given.items() if track not in {pairs.get(key) for key in hidden}}


def _pairs(truth: dict[int, Box], given: Tracked, last: dict[int, int]) -> dict[int, int]:
    """Object to track: first those that go on, then the best of the rest."""
    close = set(_overlapping(truth, given))
    pairs = {key: last[key] for key in truth if key in last and (key, last[key]) in close}
    taken = set(pairs.values())
    keys, tracks = [k for k in truth if k not in pairs], [t for t in given if t not in taken]
    if keys and tracks:
        overlap = _iou([truth[k] for k in keys], [given[t] for t in tracks])
        rows, columns = linear_sum_assignment(np.where(overlap >= OVERLAP, overlap, 0), maximize=True)
        pairs |= {keys[r]: tracks[c] for r, c in zip(rows, columns, strict=True) if overlap[r, c] >= OVERLAP}
    return pairs


def _overlapping(truth: dict[int, Box], given: Tracked) -> list[tuple[int, int]]:
    if not truth or not given:
        return []
    keys, tracks = list(truth), list(given)
    overlap = _iou([truth[k] for k in keys], [given[t] for t in tracks])
    return [(keys[r], tracks[c]) for r, c in zip(*np.nonzero(overlap >= OVERLAP), strict=True)]


def _iou(a: Sequence[Box], b: Sequence[Box]) -> NDArray[np.float32]:
    return iou_matrix(np.asarray(a, np.float32), np.asarray(b, np.float32))


def _best(together: dict[tuple[int, int], int]) -> int:
    """The most frames that a one-to-one pairing of objects and tracks can have in common."""
    keys, tracks = sorted({k for k, _ in together}), sorted({t for _, t in together})
    if not keys:
        return 0
    shared = np.zeros((len(keys), len(tracks)))
    for (key, track), count in together.items():
        shared[keys.index(key), tracks.index(track)] = count
    rows, columns = linear_sum_assignment(shared, maximize=True)
    return int(shared[rows, columns].sum())
