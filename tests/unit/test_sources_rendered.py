"""The rendered scene: what is drawn is what the script says."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.sources import SourceOptions, open_source
from streamcap.sources.rendered import PERIOD, SceneEvent, TrueObject, script, truth
from streamcap.sources.rendered_art import Painter
from streamcap.types import Frame

STEP = 0.05


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter(320, 180, 1)


def of(events: tuple[SceneEvent, ...], what: str, who: int) -> SceneEvent:
    return next(e for e in events if e.what == what and who in e.who)


def seen(time: float, who: int) -> TrueObject | None:
    return next((o for o in truth(time) if o.id == who), None)


def moments(start: float, end: float) -> list[float]:
    return [start + n * STEP for n in range(int((end - start) / STEP))]


async def read(uri: str, **options: Any) -> list[Frame]:
    async with open_source(uri, SourceOptions(stream="s", **options)) as source:
        return [frame async for frame in source.frames()]


def test_the_script_is_in_order_and_goes_on_for_ever() -> None:
    events = script(3 * PERIOD)
    assert [e.start for e in events] == sorted(e.start for e in events)
    assert [e.start for e in events if e.what == "cut"] == [40.0, 60.0, 100.0, 120.0, 160.0]
    enters = [e.who[0] for e in events if e.what == "enter"]
    assert len(set(enters)) == len(enters) == 9


@pytest.mark.parametrize("period", [0, 1])
def test_objects_come_and_go_as_the_script_says(period: int) -> None:
    events = script((period + 1) * PERIOD)
    for who in (1 + 5 * period, 3 + 5 * period, 4 + 5 * period):
        enter, leave = of(events, "enter", who), of(events, "leave", who)
        present = [t for t in moments(period * PERIOD, (period + 1) * PERIOD) if seen(t, who)]
        assert present[0] == pytest.approx(enter.start, abs=2 * STEP)
        assert present[-1] == pytest.approx(leave.end, abs=2 * STEP)
        whole = [t for t in present if (o := seen(t, who)) and o.box[0] > 0 and o.box[2] < 1]
        assert whole[0] == pytest.approx(enter.end, abs=3 * STEP)
        assert whole[-1] == pytest.approx(leave.start, abs=3 * STEP)
    bag = [t for t in moments(0, PERIOD) if seen(t, 2)]
    assert (bag[0], bag[-1]) == pytest.approx((12.0, 28.0), abs=2 * STEP)


def test_the_walker_stands_still_exactly_while_the_script_says_so() -> None:
    events = script()
    stop, start = of(events, "stop", 1).start, of(events, "start", 1).start
    boxes = {t: o.box for t in moments(6, 19) if (o := seen(t, 1))}
    still = [t for t, later in itertools.pairwise(boxes) if boxes[t] == boxes[later]]
    assert (still[0], still[-1]) == pytest.approx((stop, start), abs=2 * STEP)
    assert len(still) == pytest.approx((start - stop) / STEP, abs=2)


def test_the_van_hides_the_person_while_the_script_says_so() -> None:
    event = next(e for e in script() if e.what == "occlude")
    hidden = [t for t in moments(21, 29) if (o := seen(t, 3)) and 0.1 < o.box[0] < 0.9 and o.visible < 0.5]
    assert (hidden[0], hidden[-1]) == pytest.approx((event.start, event.end), abs=3 * STEP)


def box_pixels(picture: NDArray[np.uint8], item: TrueObject, grow: float = 0.0) -> tuple[slice, slice]:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = item.box
    return (
        slice(max(0, int((y0 - grow) * height)), int((y1 + grow) * height) + 1),
        slice(max(0, int((x0 - grow) * width)), int((x1 + grow) * width) + 1),
    )


@pytest.mark.parametrize("time", [7.0, 12.5, 16.0, 23.0, 24.0, 27.0])
def test_what_is_drawn_fills_its_true_box_and_nothing_else(painter: Painter, time: float) -> None:
    empty, picture = painter.paint(2.0, 0), painter.paint(time, 0)  # the same noise
    changed = np.abs(picture.astype(int) - empty.astype(int)).max(axis=2) > 20
    outside = changed.copy()
    for item in truth(time):
        assert changed[box_pixels(picture, item)].mean() > 0.35, item
        outside[box_pixels(picture, item, grow=0.01)] = False
    assert outside.sum() == 0


def test_the_quiet_scene_has_noise_but_no_change(painter: Painter) -> None:
    a, b = painter.paint(1.0, 1).astype(int), painter.paint(4.0, 2).astype(int)
    assert 0.5 < np.abs(a - b).mean() < 4.0
    assert np.abs(a - b).max() < 20


def test_lights_and_cut(painter: Painter) -> None:
    level = {t: float(painter.paint(t, 0).mean()) for t in (29.5, 30.5, 33.5, 34.5)}
    assert level[30.5] < 0.2 * level[29.5]
    assert level[33.5] < 0.2 * level[34.5]
    assert level[34.5] == pytest.approx(level[29.5], rel=0.01)
    before, after = painter.paint(39.95, 0).astype(int), painter.paint(40.0, 0).astype(int)
    assert np.abs(before - after).mean() > 25


def test_the_camera_moves_only_when_the_script_says_so(painter: Painter) -> None:
    moving = [e for e in script() if e.label == "camera"]
    for time in np.arange(41.0, 59.5, 0.5):
        difference = np.abs(painter.paint(time, 0).astype(int) - painter.paint(time + 0.3, 0).astype(int)).mean()
        inside = any(e.start + 0.1 < time and time + 0.3 < e.end - 0.1 for e in moving)
        outside = all(time + 0.3 <= e.start or time >= e.end for e in moving)
        if inside:
            assert difference > 2.0, time
        if outside:
            assert difference < 0.5, time


async def test_as_a_source_it_is_deterministic_and_complete() -> None:
    first = await read("test:?seconds=3&width=160&height=90", fps=5)
    again = await read("test:?seconds=3&width=160&height=90", fps=5)
    assert [f.pts for f in first] == pytest.approx([n * 0.2 for n in range(15)])
    assert [f.index for f in first] == list(range(0, 30, 2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    other = await read("test:?seconds=1&width=160&height=90&seed=2", fps=5)
    assert not np.array_equal(first[0].image, other[0].image)


async def test_size_limits_and_span() -> None:
    frames = await read("test:?seconds=6&width=640&height=360", fps=5, max_side=64, start=2.0, end=3.0)
    assert frames[0].image.shape == (36, 64, 3)
    assert [f.pts for f in frames] == pytest.approx([2.0, 2.2, 2.4, 2.6, 2.8])
    assert not frames[0].image.flags.writeable
