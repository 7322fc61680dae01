"""An encoder that fails for a while: its stream is watched on without features, and says so until they are back."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from streamcap.config import StreamSettings
from streamcap.errors import ModelError, OutOfDeviceMemory, Overloaded, StreamcapError
from streamcap.flow import SystemClock
from streamcap.models.base import Features, Image
from streamcap.models.pool import Models
from streamcap.pipeline import Pipeline
from streamcap.sources import SourceOptions, open_source
from streamcap.types import Instance
from streamcap.wire import PublishableMessage, StatusMessage
from tests.blind import Blind


class Failing:
    """An encoder whose first calls end in errors, one after the other. Implements ``models.base.Encoder``."""

    dim = 4

    def __init__(self, *errors: StreamcapError) -> None:
        self._errors = list(errors)

    async def encode(self, images: Sequence[Image], *, deadline: float | None = None) -> Features:
        if self._errors:
            raise self._errors.pop(0)
        return Features(np.tile(np.array([1, 0, 0, 0], np.float32), (len(images), 1)))


class States:
    """A feed of which the states are kept."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    async def publish(self, stream: str, message: PublishableMessage, /) -> None:
        if isinstance(message, StatusMessage):
            self.told.append((message.state.value, message.reason, message.detail))

    def set_scene(self, stream: str, /, *, summary: str, instances: tuple[Instance, ...], camera: str) -> None:
        pass

    def show_instances(self, stream: str, /, *, t: float, instances: tuple[Instance, ...]) -> None:
        pass


async def watched(encoder: Failing) -> tuple[Pipeline, States]:
    """A rendered scene from its beginning to its end, with nothing but this encoder and a detector that is blind."""
    source, feed = "test:?seconds=30", States()
    options = SourceOptions(stream="a", fps=5.0)
    with ThreadPoolExecutor(2) as workers:
        pipeline = Pipeline(
            StreamSettings(id="a", source=source),
            lambda notify: open_source(source, replace(options, on_notice=notify)),
            Models(Blind(), encoder, workers),
            feed,
            SystemClock(),
        )
        await pipeline.run()
    return pipeline, feed


@pytest.mark.parametrize(
    "error",
    [
        ModelError("the runtime failed"),
        OutOfDeviceMemory("no room for it", hint="fewer streams"),
        Overloaded("1024 wait", hint="fewer streams"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_the_stream_goes_on_without_features_and_says_so(error: StreamcapError) -> None:
    pipeline, feed = await watched(Failing(error, error))
    assert [(state, reason) for state, reason, _ in feed.told] == [
        ("connecting", ""),
        ("live", "connected"),
        ("degraded", "encoder"),  # told once, though it failed twice
        ("live", "recovered"),
        ("ended", "end"),
    ]
    assert feed.told[2][2] == f"the memory learns nothing new: {error.in_full}"
    assert pipeline.frames == 150, "no look was lost"
    assert len(pipeline.memory) > 0, "what came later is remembered"


async def test_one_that_never_answers_costs_the_memory_and_nothing_else() -> None:
    pipeline, feed = await watched(Failing(*[ModelError("it is gone")] * 1000))
    assert [state for state, _, _ in feed.told] == ["connecting", "live", "degraded", "ended"]
    assert (pipeline.frames, len(pipeline.memory)) == (150, 0)
