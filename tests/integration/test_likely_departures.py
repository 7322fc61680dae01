"""Departures on a real street, as they go out: a draft before it is sure, a final after, and nothing left of errors."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamcap.config import StreamSettings
from streamcap.flow import SystemClock
from streamcap.models.pool import Models, load_default
from streamcap.pipeline import Pipeline
from streamcap.sources import SourceOptions, open_source
from streamcap.types import CaptionKind, CaptionStatus, Instance
from streamcap.wire import CaptionMessage, EventMessage, FeedState, PublishableMessage
from tests.prerequisites import SHARED, need

pytestmark = pytest.mark.weights

CLIP = SHARED / "clips" / "traffic_overhead_four_cars.mp4"


@pytest.fixture(scope="module")
def models(weights: Callable[[str], Path]) -> Iterator[Models]:
    with load_default() as loaded:
        # All its threads begin here, so that no test is held to have left them.
        list(loaded.workers.map(time.sleep, [0.05] * (os.cpu_count() or 1) * 2))
        yield loaded


class Heard:
    """A feed that keeps what comes, and at which media time."""

    def __init__(self) -> None:
        self.pipeline: Pipeline | None = None
        self.messages: list[tuple[float, PublishableMessage]] = []

    async def publish(self, stream: str, message: PublishableMessage, /) -> None:
        assert self.pipeline is not None
        self.messages.append((self.pipeline.pts, message))

    def set_scene(self, stream: str, /, *, summary: str, instances: tuple[Instance, ...], camera: str) -> None:
        """Nobody joins late here."""

    def show_instances(self, stream: str, /, *, t: float, instances: tuple[Instance, ...]) -> None:
        """Nobody looks."""

    def captions(self) -> Iterator[tuple[float, CaptionMessage]]:
        """All but summaries, with the media time at which they went out."""
        for pts, message in self.messages:
            if isinstance(message, CaptionMessage) and message.kind is not CaptionKind.SUMMARY:
                yield pts, message


async def test_cars_that_drive_out_of_the_picture_are_drafted_before_it_is_sure(models: Models) -> None:
    need("clips")
    heard, clock, source = Heard(), SystemClock(), str(CLIP)
    heard.pipeline = Pipeline(
        StreamSettings(id="road", source=source),
        lambda notify: open_source(source, SourceOptions(stream="road", fps=5.0, clock=clock, on_notice=notify)),
        models,
        heard,
        clock,
    )
    async with asyncio.timeout(600):
        await heard.pipeline.run()

    leaves = [(pts, m) for pts, m in heard.messages if isinstance(m, EventMessage) and m.label == "leave"]
    early = [
        next((pts for pts, c in heard.captions() if c.status is not CaptionStatus.FINAL and _tells(c, event)), None)
        for _, event in leaves
    ]
    assert len(leaves) >= 4
    ahead = [at for at, (sure, _) in zip(early, leaves, strict=True) if at is not None and at < sure]
    assert len(ahead) >= len(leaves) / 2
    # A draft speaks of the last sight, and says how long that is ago.
    for pts, caption in heard.captions():
        if caption.status is not CaptionStatus.FINAL and "leave" in caption.text:
            assert pts - caption.end <= 1.0

    state = FeedState("road")
    for _, caption in heard.captions():
        if caption.status is not CaptionStatus.FINAL:
            state.apply(caption)
        else:
            state.open.pop(caption.id, None)
            assert caption.text
    assert state.open == {}, "each draft became final, or was withdrawn"


def _tells(caption: CaptionMessage, event: EventMessage) -> bool:
    """It says of those of the event, at its time, that they leave."""
    mine = {i.id for i in event.instances} & {i.id for i in caption.instances}
    return bool(mine) and caption.start <= event.end <= caption.end and "leave" in caption.text
