"""From the glass to the caption: a rendered source whose pixels carry the clock, through a real RTSP server and a file.

A camera is played by a program that draws the rendered scene, writes the wall time into each picture as a row of black
and white blocks, and hands it to the encoder at once. The clock is read back from the very frames that are analysed, so
the age of a caption begins when light would have fallen on the sensor: encoder, network, buffers and decoder count.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import typer
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import CannotRun, Quick, Result, Table, conclude, percentile, progress
from benchmarks.footage import encode
from benchmarks.process import need_weights
from streamcap.config import StreamSettings
from streamcap.flow import Clock, SystemClock
from streamcap.models.pool import load_default
from streamcap.pipeline import Pipeline
from streamcap.sources import FrameSource, Source, SourceOptions, open_source
from streamcap.sources.rendered import PERIOD
from streamcap.sources.rendered_art import Painter
from streamcap.types import CaptionKind, CaptionStatus, Frame, Instance, Notice
from streamcap.wire import CaptionMessage, PublishableMessage

__all__ = ["BLOCKS", "measure", "read_clock", "stamp"]

SIZE, FPS = (640, 360), 15
SYSTEM_PYTHON = "/usr/bin/python3"
CAMERA = Path(__file__).with_name("clock_camera.py")
# Milliseconds of the day-long clock, as so many bits, each block so many pixels of a 640 wide picture.
BLOCKS, BLOCK = 32, 16
SECONDS, QUICK_SECONDS = 240, 25


def stamp(picture: NDArray[np.uint8], wall: float) -> None:
    """Write a wall time into the top row of a picture, in place.

    Args:
        picture: (height, width, 3) uint8, at least 512 wide and 16 high.
        wall: Unix seconds.
    """
    number = round(wall * 1e3) % (1 << BLOCKS)
    for bit in range(BLOCKS):
        picture[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 235 if number >> bit & 1 else 16


def read_clock(picture: NDArray[np.uint8], near: float) -> float | None:
    """The wall time (Unix seconds) in a picture, None where its blocks are not clear.

    Args:
        picture: as in :func:`stamp`.
        near: a time within three weeks of it.
    """
    middle = picture[BLOCK // 4 : 3 * BLOCK // 4, : BLOCKS * BLOCK].astype(np.float32).mean(axis=(0, 2))
    levels = middle.reshape(BLOCKS, BLOCK)[:, BLOCK // 4 : 3 * BLOCK // 4].mean(axis=1)
    if np.any((levels > 80) & (levels < 170)):
        return None
    number = sum(1 << bit for bit in range(BLOCKS) if levels[bit] > 125)
    span = 1 << BLOCKS
    turns = round((near * 1e3 - number) / span)
    return (number + turns * span) / 1e3


@dataclass(slots=True)
class Ages:
    """Milliseconds of one run.

    Attributes:
        draft, final: from the glass to the hand-over of a caption, by the last frame that it speaks of.
        lag: of drafts, by the newest frame that was looked at: without what a rule waited to be sure.
        frame: from the glass to the analysed frame.
        error: captured_at as the source tells it, minus the clock in the picture.
    """

    draft: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    frame: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)


def measure(*, quick: bool = False) -> Result:
    """Caption the clock's scene through RTSP and as a file played in real time.

    Raises:
        CannotRun: no weights, or no RTSP server.
    """
    need_weights()
    seconds = QUICK_SECONDS if quick else SECONDS
    found: dict[str, Ages] = {}
    with progress("glass", 2) as step:
        for name, source in (("RTSP", _camera), ("file, in real time", _file)):
            with source(seconds) as uri:
                found[name] = asyncio.run(_watch(uri, seconds))
            step(name)
    for name, ages in found.items():
        if not ages.final:
            raise CannotRun(f"nothing was said of the scene in {seconds} s through {name}")
    figures = {name: {key: _figures(getattr(ages, key)) for key in Ages.__slots__} for name, ages in found.items()}
    headers = (
        "way",
        "glass → frame",
        "glass → draft",
        "… without its doubt",
        "glass → final",
        "feed's own age of a final",
        "captured_at − glass",
    )
    rows = tuple(
        (name, *(_cell(of[key]) for key in ("frame", "draft", "lag", "final", "told", "error")))
        for name, of in figures.items()
    )
    return Result(
        "glass",
        {"seconds": seconds, "source": f"{SIZE[0]}x{SIZE[1]}, {FPS}/s, H.264", "analysed_fps": 5},
        figures,
        [Table(headers, rows, "Milliseconds: median / 95th / 99th percentile")],
        notes=[
            "The wall time is drawn into each picture as blocks before it is encoded, and read back from the analysed "
            "frame. A caption counts from the last frame that it speaks about; that of a final includes the wait for "
            "its window to close, that of a draft what some rules doubt on purpose, up to 4 s, whether who is not seen "
            "any more has gone; beside it is the age from the newest frame that was looked at. A file has no glass: "
            "its clock is that of its playing."
        ],
        quick=quick,
    )


class _Reading:
    """A source whose frames are looked at on their way to the pipeline."""

    def __init__(self, source: Source, look: Callable[[Frame], None]) -> None:
        self._source, self._look = source, look

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def __aenter__(self) -> _Reading:
        await self._source.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._source.close()

    async def frames(self) -> AsyncIterator[Frame]:
        """Each frame, once it was looked at."""
        async for frame in self._source.frames():
            self._look(frame)
            yield frame


class _Feed:
    """Takes the ages of what a pipeline publishes."""

    def __init__(self, clock: Clock, *, live: bool) -> None:
        self.ages = Ages()
        self._live = live
        self._began: float | None = None
        self._clock = clock
        self._glass: deque[tuple[float, float]] = deque(maxlen=600)  # media time of a frame, wall time in its picture

    def look(self, frame: Frame) -> None:
        """Read the clock of a frame that is about to be analysed."""
        now = self._clock.wall()
        wall = read_clock(frame.image, now if self._live else frame.pts)
        if wall is None:  # it was damaged on the way
            return
        if not self._live:  # the clock of a file begins with its playing
            self._began = frame.captured_at - wall if self._began is None else self._began
            wall += self._began
        self._glass.append((frame.pts, wall))
        self.ages.frame.append(1e3 * (now - wall))
        self.ages.error.append(1e3 * (frame.captured_at - wall))

    async def publish(self, stream: str, message: PublishableMessage, /) -> None:
        """Take the age of a caption."""
        if not isinstance(message, CaptionMessage) or message.kind is CaptionKind.SUMMARY or not self._glass:
            return
        if not message.text:  # a draft is withdrawn: that speaks of no frame
            return
        pts, wall = min(self._glass, key=lambda each: abs(each[0] - message.end))
        age = 1e3 * (self._clock.wall() - wall - (message.end - pts))  # the end may lie between two analysed frames
        if message.status is CaptionStatus.FINAL:
            self.ages.final.append(age)
            self.ages.told.append(float(message.age_ms))
        else:
            self.ages.draft.append(age)
            self.ages.lag.append(age - (message.waited_ms or 0))

    def set_scene(self, stream: str, /, *, summary: str, instances: tuple[Instance, ...], camera: str) -> None:
        """Nobody joins late here."""

    def show_instances(self, stream: str, /, *, t: float, instances: tuple[Instance, ...]) -> None:
        """Nobody looks."""


async def _watch(uri: str, seconds: float) -> Ages:
    clock = SystemClock()
    feed, settings = _Feed(clock, live="://" in uri), StreamSettings(id="glass", source=uri)

    def source(notify: Callable[[Notice], None]) -> FrameSource:
        options = SourceOptions(stream="glass", fps=settings.fps, realtime=True, clock=clock, on_notice=notify)
        reading: FrameSource = cast("FrameSource", _Reading(open_source(uri, options), feed.look))
        return reading

    with load_default() as models:
        pipeline = Pipeline(settings, source, models, feed, clock)
        running = asyncio.create_task(pipeline.run(), name="glass")
        await asyncio.wait({running}, timeout=seconds)
        await pipeline.stop()
        await running
    return feed.ages


@contextlib.contextmanager
def _camera(seconds: float) -> Iterator[str]:
    """The scene with its clock behind an RTSP server; yields the address.

    Raises:
        CannotRun: the server does not start: it needs GStreamer's bindings for the system's Python.
    """
    width, height = SIZE
    command = [SYSTEM_PYTHON, str(CAMERA), "--width", str(width), "--height", str(height), "--fps", str(FPS)]
    try:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise CannotRun(f"{SYSTEM_PYTHON} is not there") from error
    assert server.stdin is not None and server.stdout is not None
    done = threading.Event()
    try:
        word, _, port = server.stdout.readline().decode().partition(" ")
        if word != "ready":
            raise CannotRun("the RTSP server did not start: it needs gir1.2-gst-rtsp-server-1.0 and python3-gi")
        painting = threading.Thread(target=_paint, args=(server.stdin, done), name="painter")
        painting.start()
        try:
            yield f"rtsp://127.0.0.1:{int(port)}/cam"
        finally:
            done.set()
            painting.join(10)
    finally:
        server.kill()
        server.communicate()


def _paint(out: IO[bytes], done: threading.Event) -> None:
    """Draw the scene at its own pace, each picture with the time at which it was drawn."""
    painter, began = Painter(*SIZE, 1), time.monotonic()
    for index in itertools.count():
        if done.wait(max(0.0, began + index / FPS - time.monotonic())):
            return
        picture = painter.paint(index / FPS % PERIOD, index).copy()
        stamp(picture, time.time())
        try:
            out.write(picture.tobytes())
            out.flush()
        except OSError:  # the camera was switched off
            return


@contextlib.contextmanager
def _file(seconds: float) -> Iterator[str]:
    """The scene with a clock that agrees with the wall when it is played; yields its path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clock.mp4"
        painter = Painter(*SIZE, 1)

        def pictures() -> Iterator[NDArray[np.uint8]]:
            for index in range(round((seconds + 10) * FPS)):
                picture = painter.paint(index / FPS % PERIOD, index).copy()
                stamp(picture, index / FPS)
                yield picture

        encode(path, pictures(), fps=FPS)
        yield str(path)


def _figures(values: list[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {"count": len(values), **{name: round(percentile(values, share), 1) for name, share in shares.items()}}


def _cell(figures: dict[str, float]) -> str:
    return f"{figures['p50']:.0f} / {figures['p95']:.0f} / {figures['p99']:.0f}" if figures["count"] else "–"


def command(quick: Quick = False) -> None:
    """Measure how old captions are, from the glass."""
    conclude(lambda: measure(quick=quick))


if __name__ == "__main__":
    typer.run(command)
