"""Pictures of many streams at one encoder, the real int8 one: whose turn it is, what is cancelled, what one spoils."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.config import StreamSettings
from streamcap.errors import ModelError
from streamcap.flow import SystemClock
from streamcap.models.clip import DIM, NAMES, RULE
from streamcap.models.detr import DetrDetector
from streamcap.models.engine import Device, Engine, EngineInfo, Tensor
from streamcap.models.graph import read_graph
from streamcap.models.onnx import OnnxEngine
from streamcap.models.pictures import PictureRule, prepare
from streamcap.models.pool import Models
from streamcap.models.vision import GraphEncoder
from streamcap.pipeline import Pipeline
from streamcap.sources import SourceOptions, open_source
from streamcap.sources.rendered_art import Painter
from streamcap.types import Instance
from streamcap.wire import PublishableMessage
from tests.blind import Blind
from tests.graphs import make_detector
from tests.patience import PATIENCE_S
from tests.prerequisites import need

STREAMS = 12
PICTURES = [Painter(160, 90, 1).paint(4.0 * n, n) for n in range(STREAMS)]
BAD, CANCELLED = 5, (2, 7, 8)
WAIT_S = PATIENCE_S


class Gated:
    """An engine in front of another: stands still while its gate is closed, and notes which pictures came when.

    Attributes:
        came: by number, in the order in which they came first.
    """

    def __init__(self, engine: Engine, rule: PictureRule) -> None:
        self._engine = engine
        self._numbers = {prepare(picture, rule).tobytes(): n for n, picture in enumerate(PICTURES)}
        self.came: dict[int, None] = {}
        self.entered, self.gate = threading.Event(), threading.Event()

    @property
    def info(self) -> EngineInfo:
        return replace(self._engine.info, lanes=1)

    def run(self, batch: Tensor, *wanted: str) -> list[Tensor]:
        numbers = [self._numbers.get(picture.tobytes(), -1) for picture in batch]
        self.came |= dict.fromkeys(numbers)
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        if BAD in numbers:
            raise ModelError("this one cannot be done")
        return self._engine.run(batch, *wanted)

    def close(self) -> None:
        self.gate.set()
        self._engine.close()


@pytest.fixture
def gated(weights: Callable[[str], Path]) -> Iterator[Gated]:
    path = weights("clip-vit-b16-int8")
    engine = Gated(OnnxEngine(path, (3, 224, 224), device=Device.CPU, precision="int8-dynamic"), RULE)
    yield engine
    engine.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0.005)


@pytest.mark.weights
@pytest.mark.parametrize("batch", [1, 4])
async def test_many_streams_under_backlog(gated: Gated, batch: int) -> None:
    encoder = GraphEncoder(gated, RULE, dim=DIM, names=NAMES, batch=batch)
    first = asyncio.create_task(encoder.encode([PICTURES[0]]))
    await until(gated.entered.is_set)
    # The engine stands still from here on; that all this goes on is the proof that the event loop does not.
    due = {n: float(1000 + n) for n in range(1, STREAMS)}
    shuffled = random.Random(3).sample(sorted(due), len(due))
    tasks = {n: asyncio.create_task(encoder.encode([PICTURES[n]], deadline=due[n])) for n in shuffled}
    await until(lambda: encoder.batcher.waiting == len(tasks))
    for n in CANCELLED:
        tasks[n].cancel()
    await until(lambda: all(tasks[n].cancelled() for n in CANCELLED))
    assert not first.done()
    gated.gate.set()
    async with asyncio.timeout(WAIT_S):
        await asyncio.wait([first, *tasks.values()])
    assert list(gated.came) == [n for n in range(STREAMS) if n not in CANCELLED], "the earliest deadline first"
    with pytest.raises(ModelError, match="this one cannot be done"):
        tasks[BAD].result()
    for n in set(tasks) - {BAD, *CANCELLED}:
        alone = (await encoder.encode([PICTURES[n]])).pooled[0]
        assert tasks[n].result().pooled[0] @ alone > 0.97, "each has its own answer"
        assert tasks[n].result().cpu_s > 0
    assert encoder.batcher.stats.cancelled == len(CANCELLED)
    await asyncio.to_thread(encoder.close)


class Nobody:
    """A feed that nobody reads."""

    async def publish(self, stream: str, message: PublishableMessage, /) -> None:
        pass

    def set_scene(self, stream: str, /, *, summary: str, instances: tuple[Instance, ...], camera: str) -> None:
        pass

    def show_instances(self, stream: str, /, *, t: float, instances: tuple[Instance, ...]) -> None:
        pass


def pipeline(models: Models, source: str = "test:?realtime=1") -> Pipeline:
    settings = StreamSettings(id="a", source=source)
    options = SourceOptions(stream="a", fps=5.0, realtime=True)
    return Pipeline(
        settings,
        lambda notify: open_source(source, replace(options, on_notice=notify)),
        models,
        Nobody(),
        SystemClock(),
    )


async def _stop(watching: Pipeline, task: asyncio.Task[None]) -> None:
    await watching.stop()


async def _cancel(watching: Pipeline, task: asyncio.Task[None]) -> None:
    task.cancel()


@pytest.mark.weights
@pytest.mark.parametrize("end", [_stop, _cancel], ids=["stopped", "cancelled"])
async def test_a_stream_that_is_removed_takes_its_picture_out_of_the_queue(
    gated: Gated, end: Callable[[Pipeline, asyncio.Task[None]], Awaitable[None]]
) -> None:
    encoder = GraphEncoder(gated, RULE, dim=DIM, names=NAMES)
    held = asyncio.create_task(encoder.encode([PICTURES[0]]))  # of another stream
    await until(gated.entered.is_set)
    with ThreadPoolExecutor(2) as workers:
        detector = Blind()
        watching = pipeline(Models(detector, encoder, workers))
        task = asyncio.create_task(watching.run())
        await until(lambda: encoder.batcher.waiting == 1)
        await until(lambda: watching.frames > 3)  # the stream is watched on while its picture waits
        await end(watching, task)
        async with asyncio.timeout(WAIT_S):
            await asyncio.wait([task])
    assert not held.done(), "the engine stood still all the time"
    gated.gate.set()
    assert len((await held).pooled) == 1
    await until(lambda: encoder.batcher.stats.cancelled == 1)
    assert list(gated.came) == [0]
    deadlines = [deadline for deadline in detector.deadlines if deadline is not None]
    assert len(deadlines) == len(detector.deadlines) > 0
    assert deadlines == sorted(deadlines), "each look is wanted before the next one"
    await asyncio.to_thread(encoder.close)


def test_crops_of_the_stream_that_is_due_first_are_looked_at_first(tmp_path: Path) -> None:
    need("engines")
    path = make_detector(tmp_path)
    info = read_graph(path)
    engine = Gated(OnnxEngine.of(path, info, device=Device.CPU), info.pictures)
    detector = DetrDetector(engine, info.pictures, info.labels, batch=2)
    assert detector.batcher is not None
    order = [n for n in range(STREAMS) if n != BAD]
    with ThreadPoolExecutor(STREAMS) as threads:

        def look(n: int) -> NDArray[np.float32]:
            return detector.detect(PICTURES[n], threshold=0.0, deadline=1000.0 + n).scores

        found = [threads.submit(look, order[0])]
        assert engine.entered.wait(WAIT_S)
        found += [threads.submit(look, n) for n in reversed(order[1:])]
        asyncio.run(until(lambda: detector.batcher is not None and detector.batcher.waiting == len(order) - 1))
        engine.gate.set()
        assert all(len(future.result(WAIT_S)) for future in found)
    assert list(engine.came) == order
    detector.close()
