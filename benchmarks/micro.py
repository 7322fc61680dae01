"""What one call of each part costs: the least of many repeats, and the median."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import typer
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import SHARED, CannotRun, Quick, Result, Table, conclude, median, progress
from benchmarks.process import busy_clip, need_weights
from streamcap.closeups import step_back
from streamcap.colours import balance, shares
from streamcap.foreground import Foreground
from streamcap.gating import BlockGate, luma
from streamcap.health import HealthWatch
from streamcap.hub import Hub, Subscription
from streamcap.journal import MemoryJournal
from streamcap.memory import Memory
from streamcap.nearness import NearnessWatch
from streamcap.reid import CAPACITY, Gallery
from streamcap.setting import SettingWatch
from streamcap.sources.av_picture import Converter
from streamcap.stationary import StationaryWatch
from streamcap.tracks import Observed, Track, birth
from streamcap.transform import estimate
from streamcap.types import Caption, CaptionKind, CaptionStatus
from streamcap.wire import StreamState, caption_message, status_message

__all__ = ["Cost", "measure"]

Image = NDArray[np.uint8]
FRAMES = 60
SIDE = 1280
MEMORY_AT = (100, 1_000, 10_000)
SUBSCRIBERS = (1, 10, 100)
DIM = 512
# Five frames a second, and where somebody stands in them.
FRAME_S = 0.2
PERSON = (0.45, 0.3, 0.55, 0.7)


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of one call.

    Attributes:
        cpu: mean processor milliseconds of the thread that calls; None where others work too, or were not asked.
        repeats: how often it was timed.
    """

    name: str
    least: float
    median: float
    repeats: int
    cpu: float | None = None


def measure(*, quick: bool = False) -> Result:
    """Time the parts, one after the other, in this process.

    Raises:
        CannotRun: no weights, or no clip that can be decoded.
    """
    need_weights()
    clip = busy_clip().path
    if clip is None:
        raise CannotRun("there is no clip to decode")
    images = _images(clip, FRAMES)
    times = 20 if quick else 200
    parts: list[tuple[str, Callable[[], list[Cost]]]] = [
        ("decoding", lambda: _decoding(clip, 2 if quick else 5)),
        ("pixels", lambda: _pixels(images, times)),
        ("models", lambda: _models(images, times // 4)),
        ("memory", lambda: _memory(MEMORY_AT[:2] if quick else MEMORY_AT)),
        ("hub", lambda: asyncio.run(_hub(50 if quick else 500))),
    ]
    costs: list[Cost] = []
    with progress("micro", len(parts)) as step:
        for name, part in parts:
            costs += part()
            step(name)
    height, width = images[0].shape[:2]
    rows = [(c.name, _ms(c.least), _ms(c.median), _ms(c.cpu), str(c.repeats)) for c in costs]
    return Result(
        "micro",
        {"clip": clip.name, "size": [width, height], "frames": FRAMES},
        {
            c.name: {
                "least_ms": round(c.least, 4),
                "median_ms": round(c.median, 4),
                "cpu_ms": None if c.cpu is None else round(c.cpu, 4),
                "repeats": c.repeats,
            }
            for c in costs
        },
        [
            Table(
                (f"call (pictures of {width}×{height})", "least ms", "median ms", "processor ms", "repeats"),
                tuple(rows),
            )
        ],
        notes=[
            "The least is what the code costs; the median is what this machine gave it meanwhile; processor time is a "
            "mean and counts no waiting, so that it holds on a busy machine too. Decoding is the time "
            "of a whole pass divided by its frames. Memory is the mean of 180 additions after so many; publishing "
            "includes the delivery to all subscribers in the process, without sockets."
        ],
        quick=quick,
    )


def _images(path: Path, count: int) -> list[Image]:
    converter = Converter(SIDE)
    with av.open(str(path)) as container:
        images = [converter.image(frame) for frame, _ in zip(container.decode(video=0), range(count), strict=False)]
    if len(images) < 2:
        raise CannotRun(f"{path.name} has {len(images)} frames")
    return images


def _decoding(path: Path, repeats: int) -> list[Cost]:
    clips = [path]
    modern = SHARED / "clips" / "store_aisle.mp4"
    if modern.exists():
        clips.append(modern)
    costs = []
    for clip in clips:
        for kind in ("NONE", "SLICE", "FRAME", "AUTO"):
            for convert in (False, True) if kind == "NONE" else (False,):
                passes = [_pass(clip, kind, convert=convert) for _ in range(repeats)]
                codec, size = passes[0][1:]
                what = "decode and convert" if convert else "decode"
                costs.append(_cost(f"{what} a frame, {codec} {size}, threads {kind}", [p[0] for p in passes]))
    return costs


def _pass(path: Path, kind: str, *, convert: bool) -> tuple[float, str, str]:
    converter = Converter(SIDE)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = kind
        count = 0
        began = time.perf_counter()
        for frame in container.decode(stream):
            if convert:
                converter.image(frame)
            count += 1
        spent = time.perf_counter() - began
        return 1e3 * spent / max(count, 1), stream.codec_context.name, f"{stream.width}×{stream.height}"


def _pixels(images: Sequence[Image], times: int) -> list[Cost]:
    """The steps that see pixels and no model: of a busy view, and of one in which nothing changes."""
    greys = [luma(image) for image in images]
    gate, foreground, stationary, quiet = BlockGate(), Foreground(), StationaryWatch(), StationaryWatch()
    nearness, health, setting = NearnessWatch(), HealthWatch(), SettingWatch()
    pairs = list(itertools.pairwise(greys))
    seen = BlockGate()
    readings = [seen.update(grey, n * FRAME_S).changed for n, grey in enumerate(greys)]
    nothing = np.zeros_like(readings[0])
    gains = balance(images[0][::8, ::8])

    def at(n: int) -> int:
        return n % len(greys)

    return [
        _timed("gate: grey picture of 320 pixels", lambda i: luma(images[at(i)]), times),
        _timed("gate: block difference", lambda i: gate.update(greys[at(i)], i * FRAME_S), times),
        _timed("camera: flow between two frames", lambda i: estimate(*pairs[i % len(pairs)]), times),
        _timed("foreground: background model and blobs", lambda i: foreground.update(greys[at(i)]), times),
        _timed(
            "stationary: lasting places, busy",
            lambda i: stationary.update(greys[at(i)], i * FRAME_S, readings[at(i)], [PERSON]),
            times,
        ),
        _timed(
            "stationary: lasting places, quiet", lambda i: quiet.update(greys[0], i * FRAME_S, nothing, [PERSON]), times
        ),
        _timed(
            "nearness: what comes close",
            lambda i: nearness.update(greys[at(i)], images[at(i)], i * FRAME_S, [PERSON]),
            times,
        ),
        _timed("health: freeze, blur, blocked", lambda i: health.update(greys[at(i)], i * FRAME_S), times),
        _timed(
            "setting: kind of scene",
            lambda i: setting.update(images[at(i)], i * FRAME_S, (), moving=False, scene_start=False),
            times,
        ),
        _timed("colours: of one person", lambda i: shares(images[at(i)], PERSON, gains), times),
        _timed("close-ups: stepping back from a frame", lambda i: step_back(images[at(i)]), times),
        _timed("re-identification: one who comes among 32 who left", _recalled(), times),
    ]


def _recalled() -> Callable[[int], object]:
    """Somebody comes in by the side where all of those who are remembered went out, and looks like none of them."""
    rng = np.random.default_rng(1)
    gallery = Gallery()

    def someone(born: float) -> Track:
        track: Track | None = None
        look = rng.dirichlet(np.full(22, 0.3)).astype(np.float32)
        for n in range(5):
            x = 0.94 - 0.04 * (4 - n)
            sight = Observed((x - 0.05, 0.3, x + 0.05, 0.7), 0.8, "person", look)
            if track is None:
                track = birth(sight, born)
            else:
                track.observe(sight, born + n * FRAME_S)
        assert track is not None
        return track

    for n in range(CAPACITY):
        gone = someone(n * FRAME_S)
        gone.disturbed, gone.id = True, n + 1
        gallery.add(gone)
    back = [someone(CAPACITY * FRAME_S + 2.0) for _ in range(8)]
    return lambda i: gallery.recall(back[i % len(back)], CAPACITY * FRAME_S + 3.0)


def _models(images: Sequence[Image], times: int) -> list[Cost]:
    from streamcap.models.clip import ClipEncoder
    from streamcap.models.efficientdet import EfficientDetLite0
    from streamcap.models.movenet import MoveNetLightning
    from streamcap.models.resolver import ensure

    pose = MoveNetLightning(ensure("movenet-lightning"), interpreters=1)
    detector = EfficientDetLite0(ensure("efficientdet-lite0"), interpreters=1)
    encoder = ClipEncoder(ensure("clip-vit-b16-int8"), threads=1)
    height, width = images[0].shape[:2]
    side = min(height, width, 320)
    crops = [image[:side, :side] for image in images]
    return [
        _timed(
            f"detector: a crop of {side}×{side}, 1 thread", lambda i: _detect(detector, crops[i % len(crops)]), times
        ),
        _timed("detector: a whole frame, 1 thread", lambda i: _detect(detector, images[i % len(images)]), times),
        _timed("pose: a person, 1 thread", lambda i: pose.estimate(images[i % len(images)], PERSON), times),
        _timed(
            "encoder: a frame, 1 thread",
            lambda i: asyncio.run(encoder.encode([images[i % len(images)]])),
            max(5, times // 2),
        ),
    ]


def _detect(detector: Any, image: Image) -> object:
    return detector.detect(image, threshold=0.22)


def _memory(places: Sequence[int]) -> list[Cost]:
    rng = np.random.default_rng(1)
    memory, added, costs = Memory(), 0, []

    def features(count: int) -> NDArray[np.float32]:
        # Neighbours in time are alike, as in a video.
        rows = rng.normal(size=(count, DIM)).cumsum(axis=0) * 0.05 + rng.normal(size=DIM)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    block = 180  # ten fillings of the short memory
    for place in places:
        for feature in features(max(0, place - added)):
            memory.add(feature, float(added))
            added += 1
        spent = []
        for _ in range(5):
            rows = features(block)
            began = time.perf_counter()
            for feature in rows:
                memory.add(feature, float(added))
                added += 1
            spent.append(1e3 * (time.perf_counter() - began) / block)
        costs.append(_cost(f"memory: add a frame after {place:,}", spent))
    return costs


async def _hub(messages: int) -> list[Cost]:
    costs = []
    for count in SUBSCRIBERS:
        spent = await _published(count, messages)
        costs.append(_cost(f"hub: publish a caption to {count}", spent))
    return costs


async def _published(count: int, messages: int) -> list[float]:
    """Milliseconds from each publication until all subscribers have the message."""
    journal = MemoryJournal()
    hub = Hub(journal)
    await hub.open_stream("bench")
    now = time.time()
    await hub.publish("bench", status_message("bench", StreamState.LIVE, at=now))
    spent: list[float] = []
    async with contextlib.AsyncExitStack() as stack:
        subscriptions = [await stack.enter_async_context(hub.subscribe("bench")) for _ in range(count)]
        got = asyncio.Semaphore(0)
        readers = [asyncio.create_task(_take(each, messages, got), name="reader") for each in subscriptions]
        await asyncio.sleep(0.05)  # all have read their snapshots and wait
        for number in range(messages):
            message = caption_message("bench", _caption(number, now), emitted_at=now)
            began = time.perf_counter()
            await hub.publish("bench", message)
            for _ in range(count):
                await got.acquire()
            spent.append(1e3 * (time.perf_counter() - began))
        await asyncio.gather(*readers)
    await hub.close()
    await journal.close()
    return spent


async def _take(subscription: Subscription, messages: int, got: asyncio.Semaphore) -> None:
    taken = 0
    async for item in subscription:
        if item.type == "caption":
            taken += 1
            got.release()
            if taken == messages:
                return


def _caption(number: int, now: float) -> Caption:
    return Caption(
        f"c{number}", 0, CaptionStatus.FINAL, CaptionKind.DIFF, float(number), number + 1.0,
        "A person enters from the left and walks towards the door.", now,
    )  # fmt: skip


def _timed(name: str, call: Callable[[int], object], times: int) -> Cost:
    for warm in range(3):
        call(warm)
    spent = []
    cpu = time.thread_time()
    for turn in range(times):
        began = time.perf_counter()
        call(turn + 3)
        spent.append(1e3 * (time.perf_counter() - began))
    return _cost(name, spent, 1e3 * (time.thread_time() - cpu) / times)


def _cost(name: str, spent: Sequence[float], cpu: float | None = None) -> Cost:
    return Cost(name, min(spent), median(spent), len(spent), cpu)


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def command(quick: Quick = False) -> None:
    """Time one call of each part of the pipeline."""
    conclude(lambda: measure(quick=quick))


if __name__ == "__main__":
    typer.run(command)
