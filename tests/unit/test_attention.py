"""Where the detector looks."""

from __future__ import annotations

import numpy as np

from streamcap.attention import CURIOUS_S, REVISIT_S, START_FRAMES, WALK_QUIET_S, Attention
from streamcap.gating import GateReading
from streamcap.geometry import contained
from streamcap.regions import tiles
from streamcap.tracks import Observed, Stage, Track, birth
from streamcap.types import Box

SIZE = (768, 576)
LATER = START_FRAMES + 1
STILL = GateReading(False, np.zeros((30, 40), np.bool_))
THERE: Box = (0.5, 0.4, 0.55, 0.6)


def stirred(box: Box) -> GateReading:
    changed = np.zeros((30, 40), np.bool_)
    changed[int(box[1] * 30) : int(box[3] * 30), int(box[0] * 40) : int(box[2] * 40)] = True
    return GateReading(True, changed)


def followed(box: Box, pts: float) -> Track:
    track = birth(Observed(box, 0.8, "person"), pts)
    track.id, track.stage = 1, Stage.ACTIVE
    return track


def rested() -> Attention:
    """It has just made a step of its walk."""
    attention = Attention()
    attention.looks(SIZE, 10.0, LATER, STILL, [], [])
    return attention


def test_the_first_frames_of_a_scene_see_all_of_it() -> None:
    attention = Attention()
    assert attention.looks(SIZE, 0.0, 1, STILL, [], []) == tiles(SIZE)
    two = [box for n in (2, 3) for box in attention.looks(SIZE, n / 5, n, STILL, [], [])]
    assert set(two) == set(tiles(SIZE))


def test_where_nothing_moves_it_walks_slowly() -> None:
    attention = rested()
    assert attention.looks(SIZE, 10.0 + WALK_QUIET_S / 2, LATER, STILL, [], []) == []
    assert len(attention.looks(SIZE, 10.0 + WALK_QUIET_S, LATER, STILL, [], [])) == 1


def test_what_moves_is_looked_at_and_who_explains_it_counts_once() -> None:
    blob = rested().looks(SIZE, 10.2, LATER, stirred(THERE), [THERE], [])
    assert len(blob) == 1
    assert contained(THERE, blob[0]) > 0.99
    assert len(rested().looks(SIZE, 10.2, LATER, stirred(THERE), [THERE], [followed(THERE, 10.0)])) == 1


def test_who_rests_is_looked_at_again_after_a_while() -> None:
    track = followed(THERE, 10.0)
    attention = rested()
    assert attention.looks(SIZE, 10.2, LATER, STILL, [], [track]) == []
    attention.looks(SIZE, 10.0 + REVISIT_S, LATER, STILL, [], [])
    crops = attention.looks(SIZE, 10.2 + REVISIT_S, LATER, STILL, [], [track])
    assert len(crops) == 1
    assert contained(THERE, crops[0]) > 0.99


def test_a_place_that_became_other_is_looked_at_for_a_while() -> None:
    attention = rested()
    attention.note([THERE], 10.0)
    assert len(attention.looks(SIZE, 10.2, LATER, STILL, [], [])) == 1
    attention.note([], 10.1 + CURIOUS_S)
    assert attention.looks(SIZE, 10.2 + CURIOUS_S, LATER, STILL, [], []) == []
    attention.note([THERE], 20.0)
    attention.restart()
    attention.looks(SIZE, 20.0, LATER, STILL, [], [])
    assert attention.looks(SIZE, 20.2, LATER, STILL, [], []) == []
