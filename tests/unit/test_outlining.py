"""When silhouettes are cut out: only for marks that need them, in limited time, and never as a condition."""

from __future__ import annotations

import asyncio
import logging
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.captioners import SharedModel
from streamcap.captioners.outlining import AGAIN_S, MOST_S, Outliner
from streamcap.captioners.vision import VisionCaptioner
from streamcap.config import (
    AnswerForm,
    CaptionerName,
    Mark,
    Outlines,
    StreamSettings,
    VisionBackend,
    VisionMode,
    VisionSettings,
)
from streamcap.errors import ModelError, WeightsUnavailable
from streamcap.flow import SystemClock
from streamcap.models.base import Image, Segmenter
from streamcap.models.language import LanguageModel
from streamcap.types import Box, Instance, Look, Window
from tests.patience import LONG_S, SOON_S
from tests.scenes import fact
from tests.shown_model import Shown

SOM = (Mark.SET_OF_MARK,)


class HandClock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self._now = 100.0

    def jump(self, seconds: float) -> None:
        self._now += seconds

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.jump(seconds)


class Filled:
    """A segmenter that finds an ellipse in each box.

    Args:
        clock: goes on by ``takes`` seconds with each instance.
        fails_at: the number of the instance at which it fails.
    """

    def __init__(self, clock: HandClock, takes: float = 0.0, fails_at: int = 0) -> None:
        self.asked: list[Box] = []
        self._clock, self._takes, self._fails_at = clock, takes, fails_at

    def segment(self, image: Image, box: Box, label: str) -> NDArray[np.float32] | None:
        self.asked.append(box)
        self._clock.jump(self._takes)
        if len(self.asked) == self._fails_at:
            raise ModelError("the segmenter failed: out of memory")
        height, width = image.shape[:2]
        y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
        x0, y0, x1, y1 = box
        inside = ((x - (x0 + x1) / 2) / (x1 - x0)) ** 2 + ((y - (y0 + y1) / 2) / (y1 - y0)) ** 2 < 0.2
        return np.asarray(inside, np.float32)


def look(t: float, count: int = 3) -> Look:
    boxes = [(0.02 + 0.3 * i, 0.2, 0.28 + 0.3 * i, 0.8) for i in range(count)]
    some = tuple(Instance(i, "person", 0.9, box, (0.0, 0.0), 0.0, 1.0) for i, box in enumerate(boxes, 1))
    return Look(t, np.zeros((90, 160, 3), np.uint8), some)


async def test_silhouettes_are_of_those_who_are_marked() -> None:
    clock = HandClock()
    outliner = Outliner(Outlines.SILHOUETTE, clock, lambda: Filled(clock))
    assert await outliner.ready(SOM, patience_s=30)
    before, now = outliner.cut((look(1.0), look(2.0, 2)), ())
    assert sorted(before.silhouettes) == [1, 2, 3]
    assert sorted(now.silhouettes) == [1, 2]
    assert now.silhouettes[1].shape == (90, 160)
    assert now.silhouettes[1][45, 24]
    assert not now.silhouettes[1][:, 80:].any()
    await outliner.close()


@pytest.mark.parametrize(
    ("outlines", "marks"),
    [
        (Outlines.BOX, (Mark.SET_OF_MARK, Mark.BLUR)),
        (Outlines.SILHOUETTE, ()),
        (Outlines.SILHOUETTE, (Mark.FRAME_NUMBER, Mark.HEAT)),
    ],
)
async def test_nothing_is_loaded_where_no_mark_asks_for_it(outlines: Outlines, marks: tuple[Mark, ...]) -> None:
    def refuse() -> Segmenter:
        raise AssertionError("it must not be loaded")

    outliner = Outliner(outlines, HandClock(), refuse)
    assert not await outliner.ready(marks)
    assert outliner.cut((look(1.0),), ())[0].silhouettes == {}
    await outliner.close()


async def test_it_is_loaded_once_and_waited_for_a_moment_only() -> None:
    clock, go, loads = HandClock(), threading.Event(), []

    def load() -> Segmenter:
        loads.append(1)
        assert go.wait(30)
        return Filled(clock)

    outliner = Outliner(Outlines.SILHOUETTE, clock, load)
    assert [await outliner.ready(SOM, patience_s=0.01) for _ in range(3)] == [False] * 3
    assert outliner.cut((look(1.0),), ())[0].silhouettes == {}
    go.set()
    assert await outliner.ready(SOM, patience_s=30)
    assert await outliner.ready(SOM)
    assert len(loads) == 1
    await outliner.close()


async def test_only_the_first_window_waits_for_weights_that_are_being_fetched() -> None:
    clock, go = HandClock(), threading.Event()

    def load() -> Segmenter:
        assert go.wait(LONG_S)
        return Filled(clock)

    outliner = Outliner(Outlines.SILHOUETTE, clock, load)
    assert not await outliner.ready(SOM, patience_s=0.01)
    clock.jump(LONG_S)
    async with asyncio.timeout(SOON_S):
        assert not await outliner.ready(SOM, patience_s=LONG_S)
    go.set()
    await outliner.close()


async def test_weights_that_cannot_be_had_are_told_of_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    clock, loads = HandClock(), []

    def load() -> Segmenter:
        loads.append(1)
        if len(loads) < 3:
            raise WeightsUnavailable("no source can be reached", hint="try later")
        return Filled(clock)

    outliner = Outliner(Outlines.SILHOUETTE, clock, load)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert not await outliner.ready(SOM, patience_s=30)
        assert len(loads) == 1
        clock.jump(AGAIN_S)
        assert not await outliner.ready(SOM, patience_s=30)
        clock.jump(AGAIN_S)
        assert await outliner.ready(SOM, patience_s=30)
    assert [r.getMessage() for r in caplog.records] == [
        "marks are boxes, not outlines: no source can be reached; try later"
    ]
    await outliner.close()


async def test_the_newest_picture_comes_first_where_time_is_short() -> None:
    clock = HandClock()
    outliner = Outliner(Outlines.SILHOUETTE, clock, lambda: Filled(clock, takes=MOST_S / 4))
    assert await outliner.ready(SOM, patience_s=30)
    before, now = outliner.cut((look(1.0), look(2.0)), ())
    assert len(now.silhouettes) == 3
    assert len(before.silhouettes) == 1
    await outliner.close()


async def test_a_segmenter_that_fails_leaves_the_rest_to_boxes(caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    outliner = Outliner(Outlines.SILHOUETTE, clock, lambda: Filled(clock, fails_at=2))
    assert await outliner.ready(SOM, patience_s=30)
    (now,) = outliner.cut((look(1.0),), ())
    assert len(now.silhouettes) == 1
    assert "out of memory" in caplog.text
    assert not await outliner.ready(SOM)
    await outliner.close()


async def test_closing_while_it_is_being_loaded_leaves_no_task() -> None:
    go = threading.Event()

    def load() -> Segmenter:
        assert go.wait(30)
        raise WeightsUnavailable("gone")

    outliner = Outliner(Outlines.SILHOUETTE, HandClock(), load)
    assert not await outliner.ready(SOM, patience_s=0.01)
    await outliner.close()
    go.set()
    assert [t for t in asyncio.all_tasks() if t.get_name() == "load-segmenter"] == []
    assert not await outliner.ready(SOM)


@pytest.mark.parametrize(("mode", "cut"), [(VisionMode.SLIDING, 2), (VisionMode.GRID, 5), (VisionMode.RECAPTION, 5)])
async def test_of_a_window_only_what_the_model_is_shown_is_cut_out(mode: VisionMode, cut: int) -> None:
    clock, model = HandClock(), Shown("Somebody walks on.")
    segmenter = Filled(clock)

    async def load(_: VisionSettings) -> LanguageModel:
        return model

    looks = tuple(look(float(t), 2) for t in range(5))
    window = Window("c1", "s", 0.0, 4.0, 1004.0, (fact("enter"),), looks[-1].instances, looks=looks)
    stream = StreamSettings(id="s", source="test:", captioner=CaptionerName.VISION, mode=mode, marks=SOM)
    settings = VisionSettings(backend=VisionBackend.TRANSFORMERS, model="a/b", answers=AnswerForm.TEXT)
    async with SharedModel(settings, SystemClock(), load) as shared:
        await shared.ready()
        for outlines in (Outlines.BOX, Outlines.SILHOUETTE):
            shared.outliner = Outliner(outlines, clock, lambda: segmenter)
            await shared.outliner.ready(SOM, patience_s=30)
            _ = [_ async for _ in VisionCaptioner(stream, shared).describe(window)]
    boxes, bodies = model.prompts
    assert len(segmenter.asked) == 2 * cut
    assert (boxes.pictures[-1].image != bodies.pictures[-1].image).any()
    assert not any(each.silhouettes for each in looks)
