"""Does the service last? Cameras over RTSP that fail at random, subscribers that come and go, and what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Aim, CannotRun, Quick, Result, Table, conclude
from benchmarks.plots import lines
from benchmarks.process import memory_mb, need_weights
from streamcap.client import subscribe
from streamcap.config import Settings, StreamSettings
from streamcap.errors import StreamcapError
from streamcap.models.pool import load_default
from streamcap.server.service import Service, running

__all__ = ["Sample", "measure", "slopes", "soak"]

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).resolve().parent.parent / "tests" / "integration" / "rtsp_server.py"
CAMERAS = 3
MINUTES, QUICK_MINUTES = 30.0, 1.0
LOOK_S = 1.0
# Seconds between two faults, and for which one lasts.
CALM_S, FAULT_S = (1.0, 6.0), (0.5, 8.0)
# The first share of the run fills pools and caches: slopes are those of the rest.
WARM_UP = 0.34
SIZES = ((320, 240), (480, 270), (640, 360))
# Slopes that are held to be none: MB, and files, threads and tasks, an hour.
MEMORY_AIM, COUNT_AIM = 30.0, 6.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment."""

    t: float
    rss_mb: float
    files: int
    threads: int
    tasks: int


@dataclass(slots=True)
class Soaked:
    """What a run has seen.

    Attributes:
        faults: how often each was done.
        messages: durable ones that subscribers read.
        away: seconds from the end of each fault until all streams were watched again.
    """

    samples: list[Sample] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    away: list[float] = field(default_factory=list)


class Camera:
    """An RTSP server that can be killed, stopped and restarted with another size; keeps its port."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self._process: subprocess.Popen[str] | None = None

    async def on(self, size: tuple[int, int] = SIZES[0], *options: str) -> None:
        """Switch on.

        Raises:
            CannotRun: it does not start.
        """
        command = [
            SYSTEM_PYTHON, str(SERVER), "--port", str(self.port), "--width", str(size[0]), "--height", str(size[1]),
            *options,
        ]  # fmt: skip
        process = self._process = await asyncio.to_thread(
            partial(subprocess.Popen, command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        )
        assert process.stdout is not None
        word = await asyncio.to_thread(process.stdout.readline)
        if not word.startswith("ready"):
            raise CannotRun("the RTSP server did not start: it needs gir1.2-gst-rtsp-server-1.0 and python3-gi")

    def signal(self, number: signal.Signals) -> None:
        """Stop it, or let it go on."""
        if self._process is not None:
            self._process.send_signal(number)

    def off(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class Faults:
    """Everything that may go wrong, done at random."""

    def __init__(self, service: Service, cameras: dict[str, Camera], soaked: Soaked, seed: int) -> None:
        self._service, self._cameras, self._soaked = service, cameras, soaked
        self._random = random.Random(seed)

    async def run(self) -> None:
        """One fault after the other until cancelled."""
        kinds: dict[str, Callable[[str], Awaitable[None]]] = {
            "killed": self._kill, "stopped": self._stop, "other size": self._resize, "loss": self._lose,
            "removed and added": self._remove, "paused": self._pause,
        }  # fmt: skip
        while True:
            await asyncio.sleep(self._random.uniform(*CALM_S))
            name = self._random.choice(sorted(kinds))
            await kinds[name](self._random.choice(sorted(self._cameras)))
            self._soaked.faults[name] += 1
            ended = time.monotonic()
            await self._watched()
            self._soaked.away.append(time.monotonic() - ended)

    async def _watched(self) -> None:
        """Return when a new frame of each stream was looked at."""
        before = {info.id: info.frames for info in self._service.manager.infos()}
        while True:
            infos = self._service.manager.infos()
            if all(info.frames != before.get(info.id, 0) for info in infos):
                return
            await asyncio.sleep(0.1)

    async def _last(self) -> None:
        await asyncio.sleep(self._random.uniform(*FAULT_S))

    async def _kill(self, name: str) -> None:
        self._cameras[name].off()
        await self._last()
        await self._cameras[name].on()

    async def _stop(self, name: str) -> None:
        self._cameras[name].signal(signal.SIGSTOP)
        await self._last()
        self._cameras[name].signal(signal.SIGCONT)

    async def _resize(self, name: str) -> None:
        self._cameras[name].off()
        await self._cameras[name].on(self._random.choice(SIZES))

    async def _lose(self, name: str) -> None:
        self._cameras[name].off()
        await self._cameras[name].on(SIZES[0], "--loss", "0.1")
        await self._last()
        self._cameras[name].off()
        await self._cameras[name].on()

    async def _remove(self, name: str) -> None:
        settings = self._service.manager.settings(name)
        await self._service.manager.remove(name)
        await self._last()
        await self._service.manager.start(settings)

    async def _pause(self, name: str) -> None:
        settings = self._service.manager.settings(name)
        await self._service.manager.change(name, settings, paused=True)
        await self._last()
        await self._service.manager.change(name, settings, paused=False)


async def soak(seconds: float, *, cameras: int = CAMERAS, seed: int = 1) -> Soaked:
    """Run the service with failing cameras and fickle subscribers for so long.

    Raises:
        CannotRun: no RTSP server.
        StreamcapError: the service failed.
    """
    soaked = Soaked()
    named = {f"camera{n + 1}": Camera() for n in range(cameras)}
    try:
        await asyncio.gather(*(camera.on() for camera in named.values()))
        streams = tuple(StreamSettings(id=name, source=camera.url) for name, camera in named.items())
        with load_default() as models, tempfile.TemporaryDirectory(prefix="streamcap-soak-") as data:
            # On disk, as a service that lasts has it: in memory, journal and pictures grow until they are full.
            settings = Settings.model_validate({
                "server": {"port": 0, "data": data}, "streams": [s.model_dump() for s in streams]
            })  # fmt: skip
            async with running(settings, models) as service, asyncio.TaskGroup() as tasks:
                faults = Faults(service, named, soaked, seed)
                lasting = [
                    tasks.create_task(faults.run(), name="faults"),
                    *(tasks.create_task(_subscriber(service, soaked, seed + n), name=f"reader{n}") for n in range(3)),
                ]
                began = time.monotonic()
                while (t := time.monotonic() - began) < seconds:
                    soaked.samples.append(_look(t))
                    await asyncio.sleep(LOOK_S)
                for task in lasting:
                    task.cancel()
    finally:
        for camera in named.values():
            camera.off()
    return soaked


async def _subscriber(service: Service, soaked: Soaked, seed: int) -> None:
    """Read the feed for a while, go, and come again."""
    choose = random.Random(seed)
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(choose.uniform(0.2, 10.0)), subscribe(service.listening.url) as feed:
                async for message in feed:
                    soaked.messages += getattr(message, "seq", None) is not None
        await asyncio.sleep(choose.uniform(0.0, 2.0))


def _look(t: float) -> Sample:
    files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return Sample(t, memory_mb(os.getpid()), files, threading.active_count(), len(asyncio.all_tasks()))


def slopes(samples: list[Sample]) -> dict[str, float]:
    """Change an hour of each figure after the warm-up, by least squares.

    Raises:
        ValueError: fewer than three samples are left.
    """
    rest = samples[int(len(samples) * WARM_UP) :]
    if len(rest) < 3:
        raise ValueError("too short a run")
    mean = sum(s.t for s in rest) / len(rest)
    spread = sum((s.t - mean) ** 2 for s in rest)
    return {
        name: 3600 * sum((s.t - mean) * getattr(s, name) for s in rest) / spread
        for name in ("rss_mb", "files", "threads", "tasks")
    }


def measure(*, quick: bool = False, minutes: float | None = None) -> Result:
    """Run it and take the slopes.

    Raises:
        CannotRun: no weights, or no RTSP server.
    """
    need_weights()
    minutes = minutes or (QUICK_MINUTES if quick else MINUTES)
    try:
        soaked = asyncio.run(soak(60 * minutes))
    except* StreamcapError as group:
        raise CannotRun(str(group.exceptions[0])) from group
    found, samples = slopes(soaked.samples), soaked.samples
    image = "" if minutes < 10 else _plot(samples)
    names = {"rss_mb": "resident memory, MB", "files": "open files", "threads": "threads", "tasks": "tasks"}
    rows = tuple(
        (label, f"{getattr(samples[int(len(samples) * WARM_UP)], name):.0f}", f"{getattr(samples[-1], name):.0f}",
         f"{max(getattr(s, name) for s in samples):.0f}", f"{found[name]:+.1f}")
        for name, label in names.items()
    )  # fmt: skip
    aims = [] if minutes < 10 else [
        Aim(f"slope of {label}", f"|…| < {aim:g} an hour", f"{found[name]:+.1f}", abs(found[name]) < aim)
        for name, label in names.items()
        for aim in (MEMORY_AIM if name == "rss_mb" else COUNT_AIM,)
    ]  # fmt: skip
    faults = ", ".join(f"{name} {count}" for name, count in sorted(soaked.faults.items()))
    figures: dict[str, Any] = {
        "slopes_an_hour": {name: round(value, 2) for name, value in found.items()},
        "faults": dict(soaked.faults), "messages": soaked.messages, "away_s": [round(s, 2) for s in soaked.away],
        "samples": [
            [round(s.t), round(s.rss_mb, 1), s.files, s.threads, s.tasks]
            for s in samples[:: max(1, len(samples) // 400)]
        ],
    }  # fmt: skip
    return Result(
        "soak", {"minutes": minutes, "cameras": CAMERAS}, figures,
        [Table(("", "after warm-up", "at the end", "most", "slope an hour"), rows, f"{minutes:g} minutes")], aims,
        [f"Faults: {faults}. Three subscribers came and went and read {soaked.messages} durable messages."
         + (f" After a fault all streams were watched again within {max(soaked.away):.1f} s." if soaked.away else "")],
        image=image, quick=quick, partial=minutes < 10,
    )  # fmt: skip


def _plot(samples: list[Sample]) -> str:
    series = {name: [float(getattr(s, name)) for s in samples] for name in ("rss_mb", "files", "threads", "tasks")}
    return lines("soak", "The service over time", [s.t / 60 for s in samples], series, "minutes")


def command(
    quick: Quick = False,
    minutes: Annotated[float | None, typer.Option(min=0.2, help="Length; 0.2 at least.", show_default="30")] = None,
) -> None:
    """Let cameras fail at random and watch memory, files, threads and tasks."""
    conclude(lambda: measure(quick=quick, minutes=minutes))


if __name__ == "__main__":
    typer.run(command)
