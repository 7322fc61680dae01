"""How many cameras does one machine watch? 720p30 H.264 played in real time, and the naive program beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Aim, CannotRun, Quick, Result, Table, conclude, percentile, progress
from benchmarks.footage import footage
from benchmarks.plots import bars
from benchmarks.process import cpu_seconds, need_weights, peak_mb, run
from benchmarks.serving import Scrape, Server, serving
from streamcap.client import subscribe
from streamcap.types import CaptionKind, CaptionStatus
from streamcap.wire import CaptionMessage

__all__ = ["Load", "largest", "measure"]

AIM_STREAMS = 12
FPS_LEAST = 3.0
AGE_MOST_S = 1.0
COUNTING = 0.05
NAIVE = Path(__file__).with_name("naive_streams.py")
NAIVES = {"naive, 5 frames a second": "5", "naive, every frame": "0"}
# Numbers of streams are tried in steps of four, then the space between the last two is halved.
STEP, MOST = 4, 40


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: length of the clips, time to settle, time that is measured."""

    clip: float
    settle: float
    watch: float


# Shedding takes a quarter of a minute to find its share; the naive program has nothing to settle.
FULL, SHORT = Times(20, 30, 30), Times(8, 10, 10)
NAIVE_FULL, NAIVE_SHORT = Times(20, 5, 15), Times(8, 3, 8)


@dataclass(frozen=True, slots=True)
class Load:
    """What was seen with one number of streams.

    Attributes:
        fps: frames analysed a second, by stream.
        ages: of drafts, seconds, from the newest frame that was looked at; empty for the naive program, which says
            nothing.
        told: of drafts, seconds, from the last frame that they speak of: with what a rule waited to be sure.
        late: seconds that the newest frame looked at was old, 95th percentile, for the naive program.
        stages: processor milliseconds for a second of video of one stream, by stage.
        cpus: processors that were busy.
    """

    streams: int
    fps: list[float]
    ages: list[float]
    told: list[float]
    late: float
    stages: dict[str, float]
    cpus: float
    peak: float

    @property
    def age(self) -> float:
        """95th percentile, seconds."""
        return percentile(self.ages, 0.95) if self.ages else self.late

    @property
    def holds(self) -> bool:
        """Every stream is analysed often enough, and told of soon after it was looked at."""
        return self._often_enough and self.age <= AGE_MOST_S

    @property
    def holds_whole(self) -> bool:
        """The same, with what rules wait on purpose in the age."""
        return self._often_enough and percentile(self.told or [self.late], 0.95) <= AGE_MOST_S

    @property
    def _often_enough(self) -> bool:
        """A frame more or less in all is where the run began and ended, not how fast it was."""
        return min(self.fps, default=0.0) >= FPS_LEAST - COUNTING

    def figures(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "streams": self.streams, "fps_least": round(min(self.fps, default=0.0), 2),
            "fps_mean": round(sum(self.fps) / max(1, len(self.fps)), 2), "age_p95_s": round(self.age, 3),
            "told_p95_s": round(percentile(self.told, 0.95), 3) if self.told else None,
            "drafts": len(self.ages), "cpus": round(self.cpus, 3), "peak_mb": round(self.peak),
            "stages_ms": {name: round(ms, 2) for name, ms in self.stages.items()}, "holds": self.holds,
        }  # fmt: skip


def largest(hold: Callable[[int], bool], *, step: int = STEP, most: int = MOST, first: int = STEP) -> int:
    """The largest number that holds, where each that holds makes smaller ones hold; 0 where none does."""
    low, high = 0, first
    while high <= most and hold(high):
        low, high = high, high + step
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if hold(middle):
            low = middle
        else:
            high = middle
    return low


def measure(*, quick: bool = False) -> Result:
    """Find the largest number of streams of streamcap and of the naive programs.

    Raises:
        CannotRun: no weights, or a program failed.
    """
    need_weights()
    times = SHORT if quick else FULL
    loads: dict[str, list[Load]] = {name: [] for name in ("streamcap", *NAIVES)}
    footage(12, times.clip, kinds=4 if quick else 12)  # made before anything is measured
    with progress("streams", 3) as step:
        for name, found in loads.items():
            _search(name, found, times, quick=quick)
            step(name)
    return _result(loads, times, quick)


def _search(name: str, found: list[Load], times: Times, *, quick: bool) -> None:
    def hold(number: int) -> bool:
        clips = [str(path) for path in footage(number, times.clip, kinds=4 if quick else 12)]
        one = (
            asyncio.run(_streamcap(clips, times))
            if name == "streamcap"
            else _naive(clips, NAIVES[name], NAIVE_SHORT if quick else NAIVE_FULL)
        )
        found.append(one)
        return one.holds

    if quick:  # two numbers say whether it works; the search is for the full run
        for number in (4, 12) if name == "streamcap" else (4,):
            hold(number)
    else:
        largest(hold, first=8 if name == "streamcap" else 4)


async def _streamcap(clips: list[str], times: Times) -> Load:
    # A picture of its own in each address, so that no two streams share a decoder.
    streams = {f"camera{n + 1}": f"{clip}?loop=1" for n, clip in enumerate(clips)}
    async with serving(streams) as server:
        await asyncio.sleep(times.settle)
        (before, began), cpu = await _scrape(server), cpu_seconds(server.pid)
        ages, told = await _ages(server, times.watch)
        after, ended = await _scrape(server)
        spent = ended - began
        cpus, peak = (cpu_seconds(server.pid) - cpu) / spent, peak_mb(server.pid)
    video = spent * len(clips)
    stages = {
        name: 1e3 * (seconds - before.stage_cpu.get(name, 0.0)) / video for name, seconds in after.stage_cpu.items()
    }
    fps = [(after.frames[name] - before.frames[name]) / spent for name in streams]
    return Load(len(clips), fps, ages, told, 0.0, stages, cpus, peak)


async def _scrape(server: Server) -> tuple[Scrape, float]:
    """The numbers, and when they were true: half way, as a busy server takes its time for them."""
    asked = time.monotonic()
    found = await server.scrape()
    return found, (asked + time.monotonic()) / 2


async def _ages(server: Server, seconds: float) -> tuple[list[float], list[float]]:
    """Ages of the drafts of so many seconds: without and with what they waited on purpose."""
    ages: list[float] = []
    told: list[float] = []
    async with subscribe(server.url, kinds=["caption"]) as feed:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for message in feed:
                    if isinstance(message, CaptionMessage) and _is_draft(message):
                        ages.append((message.age_ms - (message.waited_ms or 0)) / 1e3)
                        told.append(message.age_ms / 1e3)
    return ages, told


def _is_draft(message: CaptionMessage) -> bool:
    """One that says something; a withdrawal speaks of no frame."""
    return message.status is not CaptionStatus.FINAL and message.kind is not CaptionKind.SUMMARY and bool(message.text)


def _naive(clips: list[str], fps: str, times: Times) -> Load:
    done = run([
        sys.executable, str(NAIVE), *clips, "--fps", fps, "--settle", f"{times.settle:g}", "--watch", f"{times.watch:g}"
    ])  # fmt: skip
    said = json.loads(done.stdout)
    return Load(len(clips), said["fps"], [], [], said["late_p95_s"], {}, said["cpus"], done.peak_mb)


def _result(loads: dict[str, list[Load]], times: Times, quick: bool) -> Result:
    most = {name: max((one.streams for one in found if one.holds), default=0) for name, found in loads.items()}
    cores = len(os.sched_getaffinity(0))
    shown = max(loads["streamcap"], key=lambda one: (one.streams == most["streamcap"], one.streams))
    if not shown.stages:
        raise CannotRun("the service does not tell the cost of its stages")
    split = _split(shown, cores)
    image = "" if quick else bars(
        "streams", "Processor time for a second of video of one stream", list(split), list(split.values()), "ms"
    )  # fmt: skip
    rows = [
        (name if index == 0 else "", f"{one.streams}", f"{min(one.fps):.1f}", f"{one.age:.2f}",
         f"{percentile(one.told, 0.95):.2f}" if one.told else "–", f"{one.cpus:.2f}",
         f"{one.peak:.0f}", "✓" if one.holds else "✗")
        for name, found in loads.items()
        for index, one in enumerate(sorted(found, key=lambda each: each.streams))
    ]  # fmt: skip
    ages = ("p95 machine's part of age s", "p95 whole age s")
    headers = ("program", "streams", "least frames/s", *ages, "CPUs", "peak MB", "holds")
    cost = tuple((name, f"{ms:.1f}", f"{100 * ms * shown.streams / (1e3 * cores):.0f} %") for name, ms in split.items())
    whole = max((one.streams for one in loads["streamcap"] if one.holds_whole), default=0)
    held = f"streams on {cores} processors at ≥ {FPS_LEAST:g} frames/s each, p95 of"
    aims = [
        Aim(f"{held} the machine's part of the age of drafts ≤ {AGE_MOST_S:g} s", f"≥ {AIM_STREAMS}",
            str(most["streamcap"]), most["streamcap"] >= AIM_STREAMS),
        Aim(f"{held} their whole age ≤ {AGE_MOST_S:g} s, among the numbers tried", f"≥ {AIM_STREAMS}",
            str(whole), whole >= AIM_STREAMS),
    ]  # fmt: skip
    runs = {name: [one.figures() for one in found] for name, found in loads.items()}
    return Result(
        "streams",
        {"clip_s": times.clip, "settle_s": times.settle, "watch_s": times.watch, "source": "1280x720, 30/s, H.264"},
        {"largest": most, "largest_by_whole_age": whole, "runs": runs},
        [
            Table(headers, tuple(rows), "Number of streams"),
            Table(("stage", "ms", "of the machine"), cost,
                  f"Processor time for a second of video of one stream, {shown.streams} streams"),
        ],
        aims,
        [
            "Clips of 720p30 H.264 without B-frames, half rendered, half real, looped in real time, each stream with a "
            "decoder of its own. Largest numbers: " + ", ".join(f"{name} {number}" for name, number in most.items()) +
            ". The naive program has one thread a stream, OpenCV and the same detector on each whole frame; it "
            "follows, dates and says nothing, and its age is that of the frame it has just looked at. So is that of "
            "a draft here, the machine's part: `age_ms` − `waited_ms`, to its hand-over to the feed; the number that "
            "holds is judged by it. Beside it is the whole age, `age_ms`, from the last frame that the draft speaks "
            "of, which is what a reader waits: some rules doubt on purpose, up to 4 s, whether who is not seen any "
            "more has gone or is hidden, with one stream as with many."
        ],
        image=image,
        quick=quick,
    )  # fmt: skip


def _split(load: Load, cores: int) -> dict[str, float]:
    """Milliseconds by stage, with what no stage counts (event loop, interpreter, journal) and what is left idle."""
    split = dict(sorted(load.stages.items(), key=lambda item: -item[1]))
    busy = 1e3 * load.cpus / load.streams
    split["everything else"] = max(0.0, busy - sum(load.stages.values()))
    split["idle"] = max(0.0, 1e3 * cores / load.streams - busy)
    return split


def command(
    quick: Quick = False,
    only: Annotated[int, typer.Option("--streams", min=0, help="Only streamcap, only this number; 0: search.")] = 0,
) -> None:
    """Find how many 720p30 cameras this machine watches."""
    if only:
        need_weights()
        times = SHORT if quick else FULL
        clips = [str(path) for path in footage(only, times.clip)]
        typer.echo(json.dumps(asyncio.run(_streamcap(clips, times)).figures(), indent=1))
        return
    conclude(lambda: measure(quick=quick))


if __name__ == "__main__":
    typer.run(command)
