"""Which sighting belongs to which track."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streamcap.appearance import unlike
from streamcap.geometry import iou_matrix
from streamcap.tracks import Observed, Stage, Track

__all__ = ["assign", "costs"]

# How far, in its own sizes, a track may be from where it was expected; grows while it is not seen.
REACH = 0.9
REACH_PER_S = 0.7
# Who comes out from behind something looks as before: single sightings of one person differ by less in 19 of 20.
AWAY_UNLIKE = 0.41
AWAY_S = 1.0


def assign(cost: NDArray[np.float64], limit: float) -> list[tuple[int, int]]:
    """Pairs of (row, column) with the least total cost, none above ``limit``.

    What is above the limit costs the same however far above: else a bad pair would be broken up to mend a worse one.
    """
    rows, columns = linear_sum_assignment(np.minimum(cost, limit + 1e-3))
    return [(r, c) for r, c in zip(rows.tolist(), columns.tolist(), strict=True) if cost[r, c] <= limit]


def costs(tracks: list[Track], seen: list[Observed], pts: float) -> NDArray[np.float64]:
    """(tracks, seen) cost 0..1; 10 where a match is out of the question."""
    a = np.asarray([t.box for t in tracks], np.float32)
    b = np.asarray([o.box for o in seen], np.float32)
    overlap = iou_matrix(a, b).astype(np.float64)
    size = np.maximum((a[:, 2:] - a[:, :2]).max(1), 0.02)[:, None]
    offset = np.hypot(*((a[:, None, :2] + a[:, None, 2:] - b[None, :, :2] - b[None, :, 2:]) / 2).transpose(2, 0, 1))
    waited = np.asarray([pts - t.seen for t in tracks])[:, None]
    distance = offset / size / (REACH + REACH_PER_S * np.minimum(waited, 3.0))
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clip(1e-4).prod(1) for x in (a, b))
    ratio = np.abs(np.log(area_a[:, None] / area_b[None])) / np.log(4.0)
    unlike = np.asarray([[_unlike(t, o, pts) for o in seen] for t in tracks])
    other = np.asarray([[0.0 if not o.label else t.vote.distance(o.label) for o in seen] for t in tracks])
    cost = (
        0.3 * (1 - overlap) + 0.3 * np.minimum(distance, 1) + 0.15 * np.minimum(ratio, 1) + 0.25 * unlike + 0.3 * other
    )
    return np.where((distance > 1) & (overlap < 0.1), 10.0, cost)


def _unlike(track: Track, seen: Observed, pts: float) -> float:
    """How the appearances differ, 0..1; half way where one has none, and 10 where who was away looked quite other."""
    known = track.appearance.look
    if known is None or seen.look is None:
        return 0.5
    far = unlike(known, seen.look)
    away = track.stage is Stage.LOST or pts - track.seen > AWAY_S
    return 10.0 if away and far > AWAY_UNLIKE else far
