"""A camera that was away: who is still there keeps the id, what was not seen is not told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from streamcap.metrics import Stages
from streamcap.models.pool import Models
from streamcap.perception import Perception
from streamcap.sources import SourceOptions, open_source
from streamcap.types import Frame, Observation

pytestmark = [pytest.mark.clips, pytest.mark.weights]

PLACE, OTHER, LOOPED = "surv_pets09_s2l1.avi", "dashcam_highway.mp4", "parking_car_and_bicycle.mp4"
AWAY_S = 20.0


async def frames(path: Path, seconds: float) -> list[Frame]:
    async with open_source(str(path), SourceOptions(stream="s", fps=4, end=seconds)) as source:
        return [frame async for frame in source.frames()]


def after_hole(taken: list[Frame], before: list[Frame]) -> list[Frame]:
    start = before[-1].pts + AWAY_S - taken[0].pts
    return [replace(frame, pts=frame.pts + start, connection=1) for frame in taken]


def watch(perception: Perception, taken: list[Frame]) -> list[Observation]:
    return [perception.observe(frame) for frame in taken]


def ids(seen: Observation) -> set[int]:
    return {instance.id for instance in seen.instances if instance.visible}


@pytest.fixture
def perception(models: Models) -> Perception:
    return Perception(models.detector, models.workers, Stages())


async def test_who_is_still_there_keeps_the_id(perception: Perception, clips_dir: Path) -> None:
    taken = await frames(clips_dir / PLACE, 4.0)
    before = watch(perception, taken)
    # The camera comes back when everybody stands where they stood.
    after = watch(perception, after_hole(taken[::-1], taken))
    assert len(ids(before[-1])) >= 3
    assert after[0].scene_start
    assert not any(seen.scene_start for seen in after[1:])
    assert len(ids(after[-1]) & ids(before[-1])) >= 0.6 * len(ids(before[-1]))
    told = [fact.what for seen in after[:6] for fact in seen.facts]
    assert not {"leave", "disappear", "empty", "cut", "pan", "light", "start", "run"} & set(told)


async def test_another_place_is_a_new_scene_with_new_ids(perception: Perception, clips_dir: Path) -> None:
    taken = await frames(clips_dir / PLACE, 3.0)
    before = watch(perception, taken)
    other = await frames(clips_dir / OTHER, 1.5)
    after = watch(perception, after_hole(other, taken))
    assert after[0].scene_start
    known = {instance.id for seen in before for instance in seen.instances}
    assert not known & {instance.id for seen in after for instance in seen.instances}


async def test_nobody_moves_from_the_end_of_a_looped_file_to_its_beginning(
    perception: Perception, clips_dir: Path
) -> None:
    """A car stands where it came from again, and a cyclist is not there yet: neither came nor left."""
    taken = await frames(clips_dir / LOOPED, 60.0)
    watch(perception, taken)
    seam = taken[-1].pts + 0.25
    beginning = [frame for frame in taken if frame.pts < 1.2]
    after = watch(perception, [replace(frame, pts=frame.pts + seam, round=1) for frame in beginning])
    assert [seen.scene_start for seen in after] == [True] + [False] * (len(after) - 1)
    assert [fact for seen in after for fact in seen.facts] == []


async def test_a_short_break_is_no_hole(perception: Perception, clips_dir: Path) -> None:
    taken = await frames(clips_dir / PLACE, 2.0)
    watch(perception, taken[:4])
    after = watch(perception, [replace(frame, connection=1) for frame in taken[4:]])
    assert not any(seen.scene_start for seen in after)
