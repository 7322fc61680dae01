"""Following instances under stable ids, on boxes of which it is known whose they are."""

from __future__ import annotations

import functools
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcap.camera import CameraReading
from streamcap.geometry import contained
from streamcap.instances import Observed, Stage, Tracker, TrackerUpdate
from streamcap.tracks import birth
from streamcap.transform import Transform
from streamcap.types import Box
from tests.scenes import WHOLE, Actor, Detector, Play, Scripted, Stagehand, colours, lying_on, perfect, truthful

STREET = [Scripted(1), Scripted(2), Scripted(3), Scripted(4)]
STILL = Transform()


def ids_of(stage: Stagehand, start: float = 0.0) -> dict[int, set[int]]:
    """Ids of the tracks that lay on each actor (by its number), as a whole in the frame, from ``start`` on."""
    found: defaultdict[int, set[int]] = defaultdict(set)
    for time, instances in stage.actives:
        for number, actor in enumerate(stage.actors):
            box = actor.box(time)
            if time < start or box is None or min(box) < 0.01 or max(box) > 0.99:
                continue
            others = [other.box(time) for other in stage.actors if other is not actor]
            if any(other is not None and contained(box, other) > 0.2 for other in others):
                continue  # which of the two lies there is not for certain
            if (track := lying_on(box, instances)) is not None:
                found[number].add(track.id)
    return dict(found)


def seen_for(stage: Stagehand, number: int) -> float:
    """Share of the moments in which the actor is whole in the frame that a track lay on it."""
    moments = [(now, box) for time, now in stage.actives if (box := stage.actors[number].box(time)) is not None]
    whole = [(now, box) for now, box in moments if min(box) >= 0.01 and max(box) <= 0.99]
    return sum(lying_on(box, now) is not None for now, box in whole) / len(whole)


def all_ids(stage: Stagehand) -> list[int]:
    return [track.id for _, update in stage.updates for track in update.confirmed]


def careless(seed: int, misses: float = 0.15, jitter: float = 0.01) -> Detector:
    """A detector that misses some, and is not exact about the others."""
    rng = random.Random(seed)

    def detect(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        for seen in truthful(time, there):
            if rng.random() >= misses:
                x0, y0, x1, y1 = (
                    v + rng.gauss(0, jitter) * (seen.box[2 + n % 2] - seen.box[n % 2]) * 4
                    for n, v in enumerate(seen.box)
                )
                box = (x0, y0, max(x1, x0 + 0.01), max(y1, y0 + 0.01))
                yield Observed(box, min(1.0, max(0.25, rng.gauss(0.6, 0.12))), seen.label, seen.look)

    return detect


# ---- the rendered street, whose truth is known


@pytest.mark.parametrize("fps", [2.5, 5, 10])
def test_everybody_on_the_street_keeps_one_id(fps: float) -> None:
    """Two people, one of whom a van hides for a second, the van, and a bag."""
    stage = Stagehand(STREET, fps=fps, detector=truthful)
    stage.play(0, 40)
    found = ids_of(stage)
    assert {number: len(ids) for number, ids in found.items()} == {0: 1, 1: 1, 2: 1, 3: 1}
    assert len(set.union(*found.values())) == 4
    assert all_ids(stage) == [1, 2, 3, 4]
    assert all(seen_for(stage, number) > 0.8 for number in (0, 1))


@pytest.mark.parametrize("seed", range(6))
def test_a_careless_detector_does_not_change_who_is_who(seed: int) -> None:
    stage = Stagehand(STREET, detector=careless(seed))
    stage.play(0, 40)
    found = ids_of(stage)
    assert found.keys() == {0, 1, 2, 3}
    assert all(len(ids) == 1 for ids in found.values())
    assert len(all_ids(stage)) == 4


@pytest.mark.parametrize("seed", range(4))
def test_the_detector_need_not_look_everywhere_each_time(seed: int) -> None:
    """Two crops a frame: who is outside of both is not missed, and not forgotten."""
    rng = random.Random(seed)
    halves: list[Box] = [(0, 0, 0.5, 1), (0.5, 0, 1, 1), (0.25, 0, 0.75, 1), (0, 0.5, 1, 1), WHOLE]
    stage = Stagehand(STREET, detector=truthful, looks=lambda _: rng.sample(halves, 2))
    stage.play(0, 40)
    found = ids_of(stage)
    assert all(len(ids) == 1 for ids in found.values())
    assert len(all_ids(stage)) == 4


@pytest.mark.parametrize("seed", range(4))
def test_frames_may_be_dropped(seed: int) -> None:
    rng = random.Random(seed)
    stage = Stagehand(STREET, detector=truthful)
    time = 0.0
    while time < 40:
        stage.frame(time)
        time += rng.choice([0.1, 0.2, 0.2, 0.4, 0.6])
    assert all(len(ids) == 1 for ids in ids_of(stage).values())
    assert len(all_ids(stage)) == 4


# ---- single situations


def test_an_id_comes_with_the_second_or_third_look() -> None:
    stage = Stagehand([Actor(((0, 0.2, 0.5), (10, 0.8, 0.5)))])
    stage.play(0, 2)
    firsts = [time for time, update in stage.updates if update.confirmed]
    assert len(firsts) == 1
    assert 0 < firsts[0] <= 1.0


def test_a_single_false_sighting_gets_no_id() -> None:
    stage = Stagehand([Actor(((1.0, 0.5, 0.5), (1.1, 0.5, 0.5)))])
    stage.play(0, 6)
    assert all_ids(stage) == []
    assert stage.tracker.tracks == ()


def test_weak_detections_carry_a_track_but_begin_none() -> None:
    path = ((0.0, 0.1, 0.5), (10.0, 0.8, 0.5))
    begins = Stagehand([Actor(path, score=0.3)])
    begins.play(0, 5)
    assert all_ids(begins) == []

    def fading(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        for seen in perfect(time, there):
            yield Observed(seen.box, 0.7 if time < 2 else 0.28, seen.label, seen.look)

    carried = Stagehand([Actor(path)], detector=fading)
    carried.play(0, 10)
    assert all_ids(carried) == [1]
    assert carried.updates[-1][1].active[0].id == 1


@pytest.mark.parametrize("alike", [False, True])
def test_two_who_cross_stay_who_they_are(alike: bool) -> None:
    one = Actor(((0, 0.1, 0.5), (8, 0.9, 0.5)), look=1)
    other = Actor(((0, 0.9, 0.52), (8, 0.1, 0.52)), look=1 if alike else 2)

    def front(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        """While one hides the other, only the one in front is seen."""
        boxes = [box for _, box in there]
        for number, seen in enumerate(perfect(time, there)):
            if number == 0 or contained(boxes[number], boxes[0]) < 0.4:
                yield seen

    stage = Stagehand([one, other], detector=front)
    stage.play(0, 8)
    found = ids_of(stage)
    assert all_ids(stage) == [1, 2]
    assert found[0] != found[1]
    assert all(len(ids) == 1 for ids in found.values())


def test_who_comes_out_from_behind_a_pillar_is_known_again() -> None:
    pillar: Box = (0.45, 0.0, 0.6, 1.0)

    def hidden(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        return (seen for seen in perfect(time, there) if contained(seen.box, pillar) < 0.6)

    stage = Stagehand([Actor(((0, 0.1, 0.5), (8, 0.9, 0.5)))], detector=hidden)
    stage.play(0, 8)
    assert all_ids(stage) == [1]
    assert ids_of(stage)[0] == {1}


def test_who_leaves_is_gone_and_who_comes_later_is_another() -> None:
    first = Actor(((0, 0.5, 0.5), (4, 1.1, 0.5)), look=1)
    second = Actor(((14, 1.1, 0.5), (18, 0.5, 0.5)), look=2)
    stage = Stagehand([first, second])
    stage.play(0, 18)
    ends = [(time, track.id) for time, update in stage.updates for track in update.ended]
    assert [key for _, key in ends] == [1]
    assert 3.5 <= ends[0][0] <= 10
    assert all_ids(stage) == [1, 2]


def test_what_stands_still_is_kept_when_nobody_sees_it() -> None:
    """A parked car that the detector misses for a while, in a picture that does not change there."""
    tracker = Tracker()
    box: Box = (0.4, 0.5, 0.6, 0.65)
    for step in range(10):
        tracker.update([Observed(box, 0.7, "car", colours(1))], [WHOLE], STILL, step * 0.2)
    for step in range(10, 50):
        update = tracker.update([], [WHOLE], STILL, step * 0.2)
        assert [track.id for track in update.active] == [1]
        assert not update.ended
    update = tracker.update([Observed(box, 0.7, "car", colours(1))], [WHOLE], STILL, 10.0)
    assert [track.id for track in update.active] == [1]
    assert not update.returned


def test_where_nobody_looks_nothing_is_missed() -> None:
    tracker = Tracker()
    box: Box = (0.4, 0.5, 0.6, 0.65)
    for step in range(10):
        tracker.update([Observed(box, 0.7, "car", colours(1))], [WHOLE], STILL, step * 0.2)
    for minute in range(1, 60):
        update = tracker.update([], [(0.0, 0.0, 0.3, 0.3)], STILL, minute * 60.0)
        assert [track.id for track in update.active] == [1]
    assert update.active[0].box == pytest.approx(box, abs=1e-3)


def test_what_was_taken_away_ends() -> None:
    tracker = Tracker()
    box: Box = (0.4, 0.5, 0.6, 0.65)
    for step in range(10):
        tracker.update([Observed(box, 0.7, "suitcase", colours(1))], [WHOLE], STILL, step * 0.2)
    ended = [
        track.id
        for step in range(10, 50)
        for track in tracker.update([], [WHOLE], STILL, step * 0.2, changed=lambda _: 1.0, cover=lambda _: 1.0).ended
    ]
    assert ended == [1]
    assert tracker.tracks == ()


@pytest.mark.parametrize("shift", [0.03, 0.06])
def test_a_pan_moves_nobody(shift: float) -> None:
    """Three people stand; the camera pans by several times their width."""

    def camera(time: float) -> CameraReading:
        moving = 2 <= time < 4
        return CameraReading(Transform(dx=-shift if moving else 0.0, trusted=moving), moving, ())

    def panned(x: float) -> Actor:
        # 10 frames of the pan, from the frame at 2.0 s on.
        return Actor(
            ((0, x, 0.5), (1.8, x, 0.5), (3.8, x - 10 * shift, 0.5), (8, x - 10 * shift, 0.5)), size=(0.05, 0.3)
        )

    stage = Stagehand([panned(x) for x in (0.7, 0.8, 0.9)], camera=camera)
    stage.play(0, 8)
    assert all_ids(stage) == [1, 2, 3]
    assert ids_of(stage) == {0: {1}, 1: {2}, 2: {3}}
    speeds = [abs(one.velocity[0]) for time, now in stage.actives if time > 1 for one in now]
    assert max(speeds) < 0.05  # frame widths a second, where the picture moves by 0.15 and 0.3


def test_a_zoom_lets_boxes_grow() -> None:
    tracker = Tracker()
    for step in range(5):
        tracker.update([Observed((0.6, 0.6, 0.7, 0.8), 0.7, "person", colours(1))], [WHOLE], STILL, step * 0.2)
    update = tracker.update([], [], Transform(scale=1.2, trusted=True), 1.0)
    assert update.active[0].box == pytest.approx((0.62, 0.62, 0.74, 0.86), abs=1e-3)


def test_velocity_is_in_frames_a_second() -> None:
    stage = Stagehand([Actor(((0, 0.1, 0.3), (8, 0.9, 0.7)))])
    stage.play(0, 6)
    (track,) = stage.updates[-1][1].active
    assert track.velocity == pytest.approx((0.1, 0.05), abs=0.02)
    assert track.speed(2.0) == pytest.approx(np.hypot(0.1, 0.05) / 0.3, rel=0.15)  # its own heights


def test_an_instance_is_what_its_track_is() -> None:
    stage = Stagehand([Actor(((0, 0.3, 0.5), (20, 0.3, 0.5)), label="dog")])
    stage.play(0, 3)
    one = stage.updates[-1][1].active[0].instance()
    assert (one.id, one.label, one.visible) == (1, "dog", True)
    assert one.first_seen == 0.0
    assert one.last_seen == pytest.approx(2.8)
    assert 0.5 < one.confidence <= 1


def test_a_cut_ends_all_and_ids_go_on() -> None:
    stage = Stagehand([Actor(((0, 0.3, 0.5), (20, 0.3, 0.5))), Actor(((0, 0.7, 0.5), (20, 0.7, 0.5)), look=2)])
    stage.play(0, 3)
    before = stage.tracker.tracks
    assert [track.id for track in stage.tracker.reset()] == [1, 2]
    assert all(track.stage is Stage.ENDED for track in before)
    assert stage.tracker.tracks == ()
    stage.play(3, 6)
    assert all_ids(stage) == [1, 2, 3, 4]


def test_who_is_found_after_a_time_that_nobody_watched_keeps_the_id_and_begins_another_way() -> None:
    tracker, look = Tracker(), colours(1)

    def seen(x: float, time: float) -> TrackerUpdate:
        return tracker.update([Observed((x, 0.3, x + 0.1, 0.7), 0.8, "person", look)], [WHOLE], STILL, time)

    for n in range(6):
        before = seen(0.4, 0.2 * n)
    (track,) = before.active
    assert len(track.trail) == 6
    tracker.resume(1.2)
    after = seen(0.42, 1.2)
    assert after.active == after.confirmed == (track,)
    assert [time for time, _ in track.trail] == [1.2]
    assert track.box[0] == pytest.approx(0.42)


def test_one_thing_seen_twice_is_one() -> None:
    """A second box on the same person, a little smaller, now and then."""
    rng = random.Random(1)

    def doubled(time: float, there: Sequence[tuple[Play, Box]]) -> Iterator[Observed]:
        for seen in perfect(time, there):
            yield seen
            x0, y0, x1, y1 = seen.box
            if rng.random() < 0.5:
                yield Observed((x0, y0, x1, y0 + 0.75 * (y1 - y0)), 0.45, "person", seen.look)

    stage = Stagehand([Actor(((0, 0.1, 0.5), (10, 0.9, 0.5)))], detector=doubled)
    stage.play(0, 9)
    together = [len([t for t in update.active if t.twin_since is None]) for _, update in stage.updates[5:]]
    assert sum(count > 1 for count in together) <= 3


def test_large_motion_that_no_detector_knows_is_followed_as_an_object() -> None:
    tracker, updates = Tracker(), []
    for step in range(20):
        x = 0.1 + 0.03 * step
        blob = Observed((x, 0.3, x + 0.15, 0.6), 0.0, "", None, 0.9)
        updates.append(tracker.update([blob], [WHOLE], STILL, step * 0.2, changed=lambda _: 1.0))
    assert [t.id for update in updates for t in update.confirmed] == [1]
    assert updates[-1].active[0].label == "object"


@pytest.mark.parametrize("named", [(4,), (1, 2, 3)])
def test_what_crosses_quickly_is_one_object_though_the_detector_calls_it_a_cake(named: tuple[int, ...]) -> None:
    """A word or two do not undo that it was seen to move, and its motion carries it on where the words end."""
    tracker, ids = Tracker(), set()
    for step in range(10):
        box = (0.86 - 0.09 * step, 0.5, 1.0 - 0.09 * step, 0.75)
        label, score = ("cake", 0.5) if step in named else ("", 0.0)
        seen = Observed(box, score, label, None, 0.9)
        update = tracker.update([seen], [WHOLE], STILL, step * 0.2, changed=lambda _: 1.0, cover=lambda _: 0.9)
        ids |= {t.id for t in update.active}
    assert ids == {1}
    (track,) = update.active
    assert track.roams
    assert track.label == "object"
    assert track.hits == 10


def test_leaves_in_the_wind_are_nobody() -> None:
    """Motion that stays where it is, however long."""
    tracker, rng = Tracker(), random.Random(2)
    for step in range(100):
        x, y = rng.uniform(0.6, 0.62), rng.uniform(0.1, 0.12)
        update = tracker.update([Observed((x, y, x + 0.1, y + 0.1), 0.0, "", None, 0.5)], [WHOLE], STILL, step * 0.2)
        assert not update.confirmed


# ---- whatever is seen

sights = st.builds(
    lambda x, y, w, h, score, label, look: Observed(
        (x, y, x + w, y + h), score if label else 0.0, label, colours(look) if look else None, score
    ),
    st.floats(-0.1, 1.0), st.floats(-0.1, 1.0), st.floats(0.001, 0.6), st.floats(0.001, 0.6),
    st.floats(0.22, 1.0), st.sampled_from(["person", "person", "car", "chair", ""]), st.integers(0, 3),
)  # fmt: skip
frames = st.lists(
    st.tuples(
        st.lists(sights, max_size=5), st.sampled_from([0.04, 0.2, 0.2, 1.0, 30.0]), st.floats(-0.1, 0.1), st.booleans()
    ),
    max_size=25,
)


@given(frames, st.booleans())
@settings(deadline=None, max_examples=80)
def test_whatever_is_seen_ids_are_unique_and_boxes_finite(
    steps: list[tuple[list[Observed], float, float, bool]], reset: bool
) -> None:
    tracker, time, given_ids = Tracker(), 0.0, []
    ended: set[int] = set()
    for number, (seen, wait, pan, looked) in enumerate(steps):
        time += wait
        if reset and number == 10:
            ended |= {track.id for track in tracker.reset()}
        camera = Transform(dx=pan, scale=1 + pan, trusted=pan != 0)
        changed = 0.5 if looked else 0.0
        update = tracker.update(seen, [WHOLE] if looked else [], camera, time, changed=lambda _, c=changed: c)  # type: ignore[misc]
        given_ids += [track.id for track in update.confirmed]
        check_update(update, time)
        now = [track.id for track in tracker.tracks if track.id]
        assert len(set(now)) == len(now)
        ended |= {track.id for track in update.ended}
        assert not ended & set(now)
    assert given_ids == list(range(1, len(given_ids) + 1))


def check_update(update: TrackerUpdate, time: float) -> None:
    assert {t.id for t in update.confirmed} | {t.id for t in update.returned} <= {t.id for t in update.active}
    for track in (*update.active, *update.ended):
        assert np.isfinite(track.box).all()
        assert np.isfinite(track.velocity).all()
        assert track.box[0] <= track.box[2]
        assert track.box[1] <= track.box[3]
        assert track.born <= track.seen <= time
        assert len(track.trail) <= 64
        assert np.isfinite(track.speed(1.0))
        one = track.instance()
        assert one.id == track.id > 0
        assert 0 <= one.confidence <= 1


def _always(share: float, _: Box) -> float:
    return share


def test_who_walks_out_of_the_frame_does_not_stay_at_its_border() -> None:
    """The next one who comes in there is somebody else."""
    tracker = Tracker()
    ended: list[int] = []
    for step in range(30):
        x = 0.6 + 0.03 * step
        box: Box = (min(x, 1.0), 0.4, min(x + 0.1, 1.0), 0.7)
        seen = [Observed(box, 0.7, "person", colours(1), 0.5)] if box[2] - box[0] > 0.04 else []
        moving = 0.6 if seen else 0.0
        update = tracker.update(seen, [WHOLE], STILL, step * 0.2, cover=functools.partial(_always, moving))
        ended += [track.id for track in update.ended]
    assert ended == [1]
    assert tracker.tracks == ()


def test_what_fills_the_frame_and_stirs_is_still_there() -> None:
    """Too near to be recognised for two seconds."""
    tracker = Tracker()
    for step in range(40):
        seen = [] if 10 <= step < 20 else [Observed((0.1, 0.0, 0.9, 1.0), 0.7, "person", colours(1), 0.5)]
        update = tracker.update(seen, [WHOLE], STILL, step * 0.2, changed=lambda _: 0.4, cover=lambda _: 0.5)
        if step > 4:
            assert [track.id for track in update.active] == [1]


def test_of_bottles_in_a_row_one_taken_for_the_other_does_not_go_about() -> None:
    tracker = Tracker()
    for step in range(30):
        x = 0.1 if step < 15 else 0.4
        tracker.update([Observed((x, 0.3, x + 0.25, 0.9), 0.7, "bottle", colours(1))], [WHOLE], STILL, step * 0.2)
    assert all(not track.roams and track.label == "bottle" for track in tracker.tracks if track.id)


@pytest.mark.parametrize(
    ("box", "near"),
    [((0.2, 0.1, 0.6, 0.95), True), ((0.4, 0.4, 0.5, 0.7), None), ((0.4, 0.4, 0.43, 0.5), False)],
)
def test_near_and_far(box: Box, near: bool | None) -> None:
    tracker = Tracker()
    for step in range(10):
        update = tracker.update([Observed(box, 0.7, "person", colours(1))], [WHOLE], STILL, step * 0.2)
    assert update.active[0].instance().near is near


def test_what_is_quick_is_one_track_though_it_slows_down_as_it_recedes() -> None:
    track = Tracker()
    ids = set()
    for n, x in enumerate((0.1, 0.28, 0.43, 0.55, 0.65, 0.73, 0.79, 0.84)):
        size = 0.3 - 0.03 * n
        blob = Observed((x - size / 2, 0.4, x + size / 2, 0.4 + size), 0.0, "", None, 1.0)
        update = track.update([blob], (WHOLE,), STILL, n / 5, changed=lambda _: 1.0)
        ids |= {t.id for t in update.active}
    assert ids == {1}


@pytest.mark.parametrize(("speed", "out"), [(0.02, False), (0.5, True)])
def test_who_is_missed_at_a_border_has_left_only_if_there_was_time_to(speed: float, out: bool) -> None:
    track = birth(Observed((0.4, 0.3, 0.6, 0.98), 0.9, "person"), 0.0)
    for n in range(1, 6):
        y = n * speed / 5
        track.observe(Observed((0.4, min(0.9, 0.3 + y), 0.6, 1.0), 0.9, "person"), n / 5)
    track.disturbed, track.course = True, (0.0, speed)
    assert track.may_be_out(1.6) is out
