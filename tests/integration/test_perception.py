"""Perception says the same of the same frames, however its worker threads take turns."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from streamcap.metrics import Stages
from streamcap.models.pool import Models
from streamcap.perception import Perception
from streamcap.sources import SourceOptions, open_source
from streamcap.types import Frame, Observation

pytestmark = [pytest.mark.clips, pytest.mark.weights]


async def frames(path: Path, seconds: float) -> list[Frame]:
    async with open_source(str(path), SourceOptions(stream="s", fps=5, end=seconds)) as source:
        return [frame async for frame in source.frames()]


def watch(models: Models, taken: list[Frame], workers: int) -> tuple[list[Observation], Stages]:
    stages = Stages()
    with ThreadPoolExecutor(workers) as pool:
        perception = Perception(models.detector, pool, stages, models.pose)
        # Clocks differ between runs; all else is of the pixels alone.
        seen = [replace(perception.observe(frame), captured_at=0.0) for frame in taken]
    return seen, stages


@pytest.mark.parametrize("clip", ["pick_up_pen_put_on_bed.mp4", "surv_pets09_s2l1.avi"])
async def test_two_runs_say_the_same(models: Models, clips_dir: Path, clip: str) -> None:
    taken = await frames(clips_dir / clip, 8.0)
    (alone, _), (beside, stages) = watch(models, taken, 1), watch(models, taken, 3)
    for one, other in zip(alone, beside, strict=True):
        # When a feature is ready depends on the workers, and with it whether the next frame may be a key frame.
        assert replace(one, key_frame=None) == replace(other, key_frame=None)
    assert any(seen.facts for seen in alone)
    ran = {"gate", "camera", "health", "foreground", "detect", "track", "pose", "facts", "setting"}
    assert ran | {"stationary", "nearness"} == set(stages.times)
