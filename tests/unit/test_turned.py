"""Which crops are looked at turned, and what is believed of that."""

from __future__ import annotations

import numpy as np
import pytest

from streamcap.tracks import Observed, Track, birth
from streamcap.turned import turn, turn_back, turned
from streamcap.types import Box, Detections

LABELS = ("car", "person")


def crossing(step: float, label: str = "", frames: int = 4) -> Track:
    """Something wide that goes to the right by ``step`` of the frame every fifth of a second."""
    box: Box = (0.1, 0.4, 0.3, 0.55)
    track = birth(Observed(box, 0.6 if label else 0.0, label), 0.0)
    for n in range(1, frames):
        x = n * step
        track.observe(Observed((box[0] + x, box[1], box[2] + x, box[3]), 0.6 if label else 0.0, label), n / 5)
    return track


def detected(label: int, score: float, box: Box) -> Detections:
    return Detections(np.asarray([box], np.float32), np.asarray([label], np.int32), np.asarray([score], np.float32))


def test_a_turned_box_is_turned_back() -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[10:20, 20:60] = 1  # x 0.25..0.75, y 0.25..0.5
    rows, columns, _ = np.nonzero(turn(picture))
    box = (columns.min() / 40, rows.min() / 80, (columns.max() + 1) / 40, (rows.max() + 1) / 80)
    assert turn_back(detected(0, 0.6, box), LABELS).boxes[0].tolist() == pytest.approx([0.25, 0.25, 0.75, 0.5])


@pytest.mark.parametrize(("label", "score", "count"), [(0, 0.6, 1), (0, 0.2, 0), (1, 0.9, 0)])
def test_a_turned_look_is_believed_of_vehicles_only(label: int, score: float, count: int) -> None:
    assert len(turn_back(detected(label, score, (0.1, 0.1, 0.5, 0.5)), LABELS).scores) == count


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        pytest.param(crossing(0.1), True, id="quick, without a name"),
        pytest.param(crossing(0.1, "cell phone"), True, id="quick, by the name of what does not move"),
        pytest.param(crossing(0.1, "car"), False, id="quick and known"),
        pytest.param(crossing(0.02), False, id="slow"),
        pytest.param(crossing(0.1, frames=3), False, id="not its turn"),
    ],
)
def test_what_is_quick_and_nameless_is_looked_at_turned(track: Track, expected: bool) -> None:
    pts = track.trail[-1][0] + 0.2
    assert turned([(0.0, 0.0, 1.0, 1.0)], [track], pts, 16 / 9) == [expected]
