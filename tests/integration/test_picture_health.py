"""A feed whose picture is no good says so in its state, and says when it is well again."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from streamcap.models.pool import Models
from streamcap.wire import StatusMessage, StreamState
from tests.integration.test_pipeline import watch

pytestmark = pytest.mark.weights
FPS = 5
FROZE_S, BACK_S, END_S = 16.0, 25.0, 30.0


@pytest.fixture(scope="module")
def freezing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A noisy sensor whose picture freezes and comes back."""
    path = tmp_path_factory.mktemp("clips") / "freezing.mkv"
    rng = np.random.default_rng(1)
    scene = rng.integers(40, 200, (9, 16, 3), np.uint8).repeat(20, 0).repeat(20, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "bgr0"
        picture = scene
        for index in range(round(END_S * FPS)):
            if not FROZE_S <= index / FPS < BACK_S:
                noise = rng.integers(-6, 7, scene.shape, np.int16)
                picture = np.clip(scene + noise, 0, 255).astype(np.uint8)
            container.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode(None))
    return path


async def test_a_frozen_picture_degrades_the_stream_and_its_return_heals_it(models: Models, freezing: Path) -> None:
    run = await watch(models, str(freezing))
    assert run.states == [
        (StreamState.CONNECTING, ""),
        (StreamState.LIVE, "connected"),
        (StreamState.DEGRADED, "freeze"),
        (StreamState.LIVE, "recovered"),
        (StreamState.ENDED, "end"),
    ]
    told = next(m for m in run.messages if isinstance(m, StatusMessage) and m.reason == "freeze")
    assert told.detail == "the same picture over and over"
    frozen = run.event("freeze")
    assert FROZE_S - 1 < frozen.start < FROZE_S + 1 < frozen.end < BACK_S
    assert BACK_S <= run.event("unfreeze").start < BACK_S + 2
