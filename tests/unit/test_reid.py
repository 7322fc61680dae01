"""Who came back: by place, time and look together, and rather nobody than the wrong one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.colours import NAMES
from streamcap.instances import Observed
from streamcap.reid import CAPACITY, Gallery
from streamcap.tracks import Track, birth
from streamcap.types import Box
from tests.scenes import Play, Stagehand, clipped

RED, BLUE, DARK, BLACK = 1, 2, 3, 4


def dress(number: int) -> NDArray[np.float32]:
    """Looks by number: a red top, a blue one, and two darks that are alike but not the same."""
    top, bottom = {
        RED: ({"red": 0.7, "grey": 0.3}, {"black": 0.8, "grey": 0.2}),
        BLUE: ({"blue": 0.7, "grey": 0.3}, {"black": 0.8, "grey": 0.2}),
        DARK: ({"black": 0.7, "grey": 0.3}, {"black": 0.9, "grey": 0.1}),
        BLACK: ({"black": 0.95, "grey": 0.05}, {"black": 0.6, "blue": 0.4}),
    }[number]
    return np.asarray([(p.get(name, 0.0)) / 2 for p in (top, bottom) for name in NAMES], np.float32)


@dataclass(frozen=True)
class Walk:
    """Walks along a line from one moment to another; the box is 0.08 by 0.3 of the frame."""

    look: int
    start: float
    end: float
    x: tuple[float, float]
    y: float = 0.5
    label: str = "person"
    score: float = 0.7

    def box(self, time: float) -> Box | None:
        if not self.start <= time < self.end:
            return None
        x = self.x[0] + (self.x[1] - self.x[0]) * (time - self.start) / (self.end - self.start)
        return (x - 0.04, self.y - 0.15, x + 0.04, self.y + 0.15)


def in_their_clothes(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
    for actor, box in there:
        inside = clipped(box)
        if (inside[2] - inside[0]) > (box[2] - box[0]) / 3:
            yield Observed(inside, actor.score, actor.label, dress(actor.look))


def played(*walks: Walk, end: float = 30.0) -> Stagehand:
    stage = Stagehand(walks, detector=in_their_clothes)
    stage.play(0, end)
    return stage


def ids(stage: Stagehand) -> list[int]:
    return [track.id for _, update in stage.updates for track in update.confirmed]


OUT_LEFT = Walk(RED, 2, 8, (0.5, -0.1))


def test_who_goes_out_and_comes_back_by_the_same_side_keeps_the_id() -> None:
    stage = played(OUT_LEFT, Walk(RED, 11, 17, (-0.1, 0.5)))
    assert ids(stage) == [1, 1]
    (back,) = (f for f in stage.said("enter") if f.start > 10)
    assert back.detail == {"again": "1"}
    assert back.where == "left"
    assert back.who == (1,)
    instance = next(i for time, now in stage.actives for i in now if time > 16)
    assert instance.first_seen < 3
    assert instance.attributes == ("red top", "black trousers")


@pytest.mark.parametrize(
    "other",
    [
        Walk(BLUE, 11, 17, (-0.1, 0.5)),  # another look
        Walk(RED, 11, 17, (1.1, 0.5)),  # the other side
        Walk(RED, 11, 17, (-0.1, 0.5), y=0.8),  # from elsewhere along that side
        Walk(RED, 50, 56, (-0.1, 0.5)),  # long after
    ],
    ids=["look", "side", "place", "time"],
)
def test_who_differs_in_one_thing_is_somebody_else(other: Walk) -> None:
    stage = played(OUT_LEFT, other, end=60.0)
    assert ids(stage) == [1, 2]
    assert all("again" not in fact.detail for fact in stage.facts)


def test_of_two_who_look_the_same_neither_is_known_again() -> None:
    stage = played(OUT_LEFT, Walk(RED, 4, 10, (0.5, -0.1), y=0.6), Walk(RED, 13, 19, (-0.1, 0.5), y=0.55))
    assert ids(stage) == [1, 2, 3]


def test_two_in_dark_clothes_are_not_taken_for_one() -> None:
    stage = played(Walk(DARK, 2, 8, (0.5, -0.1)), Walk(BLACK, 11, 17, (-0.1, 0.5)))
    assert ids(stage) == [1, 2]


def test_nobody_waits_where_nobody_left() -> None:
    """The delay until the whole of somebody is seen is only for those who may be coming back."""
    alone = played(Walk(RED, 11, 17, (-0.1, 0.5)))
    after = played(Walk(RED, 2, 8, (0.5, 1.1)), Walk(RED, 11, 17, (-0.1, 0.5)))
    (first,), (_, second) = (
        [time for time, update in stage.updates for _ in update.confirmed] for stage in (alone, after)
    )
    assert second == first


def test_a_cut_forgets_all() -> None:
    stage = Stagehand((OUT_LEFT, Walk(RED, 11, 17, (-0.1, 0.5))), detector=in_their_clothes)
    stage.play(0, 10)
    stage.tracker.reset()
    stage.play(10, 20)
    assert ids(stage) == [1, 2]


def test_the_gallery_is_bounded() -> None:
    gallery = Gallery()
    for number in range(3 * CAPACITY):
        gallery.add(departed(number + 1, number / 10))
    assert len(gallery) == CAPACITY
    assert gallery.recall(departed(0, 100.0), 100.0) is None
    assert len(gallery) == 0  # all too long ago


def departed(key: int, pts: float) -> Track:
    track = birth(Observed((0.4, 0.4, 0.5, 0.7), 0.7, "person", dress(RED)), pts)
    for step in range(1, 4):
        track.observe(Observed((0.4, 0.4, 0.5, 0.7), 0.7, "person", dress(RED)), pts + step / 5)
    track.id = key
    return track


def test_who_was_hidden_for_a_while_keeps_the_id() -> None:
    """Behind a lorry for six seconds, longer than a lost track is kept."""
    stage = played(Walk(RED, 1, 6, (0.1, 0.4)), Walk(RED, 12, 18, (0.45, 0.9)))
    assert ids(stage) == [1, 1]
