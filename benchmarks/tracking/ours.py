"""streamcap's tracker on a simulated scene."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.tracking.scenes import Scene
from benchmarks.tracking.scores import Tracked
from streamcap.geometry import clip
from streamcap.instances import Tracker
from streamcap.tracks import Observed
from streamcap.transform import Transform
from streamcap.types import Box

__all__ = ["follow"]

# Blocks of the picture, as many as the gate has of a 16:9 frame.
BLOCKS = (22, 40)
# A silhouette fills about so much of each side of its box.
FILLED = 0.85


def follow(scene: Scene, *, pixels: bool) -> tuple[list[Tracked], float]:
    """Run over a scene.

    Args:
        pixels: also tell the tracker where the picture changes, as the gate and the background model do in the
            pipeline (from the truth: without noise). Otherwise anything may have changed anywhere.

    Returns:
        Boxes by id for each frame, and the seconds that the tracker took.
    """
    tracker, still = Tracker(), Transform()
    frames: list[Tracked] = []
    seconds = 0.0
    for moment in scene.moments:
        share = _share(_changes(moment.changed)) if pixels else _anything
        seen = [_observed(each.box, each.score, each.label, share, pixels) for each in moment.seen]
        began = time.perf_counter()
        update = tracker.update(seen, moment.looks, still, moment.t, changed=share, cover=share)
        seconds += time.perf_counter() - began
        frames.append({track.id: clip(track.box) for track in update.active})
    return frames, seconds


def _observed(box: Box, score: float, label: str, share: Callable[[Box], float], pixels: bool) -> Observed:
    return Observed(box, score, label, None, share(box) if pixels else 0.0)


def _anything(_: Box) -> float:
    return 1.0


def _changes(boxes: Sequence[Box]) -> NDArray[np.bool_]:
    changed = np.zeros(BLOCKS, np.bool_)
    for x0, y0, x1, y1 in boxes:
        dx, dy = (1 - FILLED) / 2 * (x1 - x0), (1 - FILLED) / 2 * (y1 - y0)
        changed[_part((x0 + dx, y0 + dy, x1 - dx, y1 - dy))] = True
    return changed


def _share(changed: NDArray[np.bool_]) -> Callable[[Box], float]:
    def share(box: Box) -> float:
        part = changed[_part(clip(box))]
        return float(part.mean()) if part.size else 0.0

    return share


def _part(box: Box) -> tuple[slice, slice]:
    rows, columns = BLOCKS
    return (
        slice(int(box[1] * rows), int(np.ceil(box[3] * rows))),
        slice(int(box[0] * columns), int(np.ceil(box[2] * columns))),
    )
