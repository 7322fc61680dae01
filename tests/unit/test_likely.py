"""Who is likely leaving: told before it is sure, of whom, and of whom not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from streamcap.facts import Scene
from streamcap.facts.presence import LIKELY_S, Presence
from streamcap.instances import Observed, TrackerUpdate
from streamcap.tracks import birth
from streamcap.types import Box
from tests.scenes import STILL, Actor, Detector, Play, Stagehand, perfect

SIDES = {"left": (-0.06, 0.5), "right": (1.06, 0.5), "top": (0.5, -0.12), "bottom": (0.5, 1.12)}
SMALL = (0.08, 0.2)


def goes(side: str, at: float, seconds: float = 3.0, **values: object) -> Actor:
    """Someone who is there from the beginning and leaves at a side."""
    x, y = SIDES[side]
    return Actor(((0, 0.5, 0.5), (at, 0.5, 0.5), (at + seconds, x, y)), SMALL, **values)  # type: ignore[arg-type]


def hidden(*spans: tuple[float, float]) -> Detector:
    """A detector that finds nothing in these times."""

    def detect(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        if not any(start <= time < end for start, end in spans):
            yield from perfect(time, there)

    return detect


@pytest.mark.parametrize("fps", [3.0, 5.0, 10.0])
@pytest.mark.parametrize("side", SIDES)
def test_who_walks_out_is_likely_gone_well_before_it_is_sure(side: str, fps: float) -> None:
    stage = Stagehand([goes(side, 6)], fps=fps)
    stage.play(0, 14)
    (leave,) = stage.said("leave")
    assert leave.sure
    times = [time for time, _ in stage.likely]
    assert {(f.what, f.who, f.where, f.start, f.end) for _, f in stage.likely} == {
        ("leave", leave.who, side, leave.start, leave.end)
    }, "what is likely is what is then said"
    assert not any(fact.sure for _, fact in stage.likely)
    assert LIKELY_S <= times[0] - leave.end <= max(LIKELY_S + 1.0 / fps, 0.34)
    sure_at = next(time for time, update in stage.updates if update.ended)
    assert max(times) < sure_at, "once it is sure it is likely no more"


def test_who_was_missed_at_the_border_has_not_left_and_is_not_doubted_twice() -> None:
    path = (
        (0, 0.5, 0.5),
        (4, 0.5, 0.5),
        (6.4, 1.0, 0.5),
        (7, 0.95, 0.5),
        (9, 0.5, 0.5),
        (12, 0.5, 0.5),
        (15, 1.1, 0.5),
    )
    stage = Stagehand([Actor(path, SMALL)], detector=hidden((6.3, 6.7)))
    stage.play(0, 12)
    assert [round(time, 1) for time, _ in stage.likely] == [6.4, 6.6]
    assert stage.said("leave") == []
    stage.play(12, 20)
    assert len(stage.said("leave")) == 1
    assert len(stage.likely) == 2, "who was misjudged once is told of when it is sure"


def test_nothing_is_likely_of_who_is_not_seen_in_the_middle_of_the_picture() -> None:
    stage = Stagehand([Actor(((0, 0.2, 0.5), (6, 0.6, 0.5)), SMALL)])  # as behind a door
    stage.play(0, 14)
    assert [f.what for f in stage.facts if f.what in ("leave", "disappear")] == ["disappear"]
    assert stage.likely == []


def test_who_stands_where_no_detector_finds_him_has_not_disappeared() -> None:
    path = ((0, 0.1, 0.5), (6, 0.5, 0.5), (6.4, 0.52, 0.5), (14, 0.52, 0.5))
    stage = Stagehand([Actor(path, SMALL)], detector=hidden((6.1, 14)))
    stage.play(0, 14)
    assert [f.what for f in stage.facts if f.what in ("leave", "disappear")] == []


def withdraws(gone: float) -> Actor:
    """An arm, from above: it is drawn back slowly from 6 s on, and all at once before ``gone`` seconds."""
    reach = ((4, -0.3), (5, 0.25), (6, 0.25), (6.4, 0.23), (gone - 0.2, 0.23), (gone, -0.4))
    return Actor(tuple((time, 0.5, y) for time, y in reach), (0.4, 0.55))


def test_who_is_cut_off_by_the_border_has_gone_where_the_place_was_seen_empty() -> None:
    stage = Stagehand([withdraws(6.8)], detector=hidden((6.5, 20)))
    stage.play(0, 6.7)
    assert stage.likely == [], "the place is not empty yet"
    stage.play(6.8, 20)
    (leave,) = stage.said("leave")
    assert (leave.where, leave.end) == ("top", 6.4)
    sure_at = next(time for time, update in stage.updates if update.ended)
    assert sure_at <= 7.2, "well before there was time to go out as slowly as it went"
    assert {fact.who for _, fact in stage.likely} == {leave.who}
    assert stage.likely[0][0] < sure_at


def test_who_is_gone_before_the_name_is_sure_is_told_of_all_the_same() -> None:
    reach = ((4, -0.3), (4.2, 0.25), (4.6, 0.1), (4.8, -0.4))
    arm = Actor(tuple((time, 0.5, y) for time, y in reach), (0.4, 0.55), score=0.45)
    stage = Stagehand([arm], detector=hidden((4.7, 20)))
    stage.play(0, 12)
    assert [fact.what for fact in stage.facts if fact.who] == ["enter", "leave"]


def test_who_went_along_the_border_may_be_elsewhere() -> None:
    path = ((0, 0.2, 0.72), (4, 0.2, 0.72), (6.4, 0.5, 0.82), (6.6, 0.5, 0.82), (6.8, 0.5, 1.8))
    stage = Stagehand([Actor(path, (0.3, 0.6))], detector=hidden((6.5, 20)))
    stage.play(0, 13)
    (ended,) = [track for _, update in stage.updates for track in update.ended]
    assert ended.went_out
    assert ended.vacated
    assert stage.likely == []
    assert stage.said("leave") == []


def test_who_stands_cut_off_by_the_border_and_is_not_recognised_has_not_left() -> None:
    fidgets = ((6.2 + 0.4 * step, 0.5 + 0.15 * (step % 2), 0.74) for step in range(20))
    stage = Stagehand([Actor(((0, 0.5, 0.6), (6, 0.5, 0.74), *fidgets), (0.3, 0.6))], detector=hidden((6.1, 20)))
    stage.play(0, 13)
    (ended,) = [track for _, update in stage.updates for track in update.ended]
    assert ended.went_out, "as it went he might be on his way out"
    assert stage.likely == []
    assert stage.said("leave") == []


def test_a_place_is_not_seen_empty_where_the_background_is_another() -> None:
    stage = Stagehand([withdraws(6.8)], detector=hidden((6.5, 20)))
    stage.play(0, 6.6)
    stage.tracker.forget_background()  # the camera has moved
    stage.play(6.6, 9)
    assert stage.likely == []
    assert stage.said("leave") == []


def test_nothing_is_seen_to_be_empty_where_hardly_anything_was_seen() -> None:
    track = birth(Observed((0.4, 0.0, 0.6, 0.5), 0.8, "person"), 0.0)
    track.covered, track.hole = 0.2, 0.01
    assert track.vacated
    track.covered, track.hole = 0.04, 0.0
    assert not track.vacated


def test_a_second_view_of_somebody_is_not_likely_to_leave() -> None:
    stage, time = Stagehand([goes("right", 6)]), 0.0
    while not stage.likely:
        stage.frame(time)
        time += 0.2
    (track,) = stage.tracker.tracks
    # It was there when the scene began, and is missed now.
    scene = Scene(time, 0.2, TrackerUpdate((), (track,), (), ()), STILL)
    assert [(f.what, f.sure) for f in Presence().update(scene)] == [("leave", False)]
    track.twin_since = time - 0.2
    assert list(Presence().update(scene)) == []


def test_nothing_is_likely_where_the_detector_did_not_look() -> None:
    stage = Stagehand([goes("right", 4)], looks=lambda time: ((0.0, 0.0, 1.0, 1.0),) if time < 6.3 else ())
    stage.play(0, 7)
    seen = max(track_time for track_time, active in stage.actives if active)
    assert all(time > seen for time, _ in stage.likely)
