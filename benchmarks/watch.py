"""Captions one source in this process and tells how the process does meanwhile, one line of JSON a sample."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.process import memory_mb


def watch(
    source: Annotated[str, typer.Argument(help="As `streamcap caption` takes it.")],
    captions: Annotated[Path, typer.Option(help="Where the feed's durable messages go, as JSON lines.")],
    end: Annotated[float | None, typer.Option("--to", min=0, help="End here, seconds.")] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Media seconds between two samples.")] = 5.0,
) -> None:
    """Caption SOURCE and print samples of memory, memory slots, threads and open files."""
    from streamcap.cli.output import FileFeed, Format, writer_for
    from streamcap.config import StreamSettings
    from streamcap.flow import SystemClock
    from streamcap.models.pool import load_default
    from streamcap.pipeline import Pipeline
    from streamcap.sources import SourceOptions, open_source

    clock = SystemClock()
    settings = StreamSettings(id="watch", source=source)
    began, due = time.perf_counter(), 0.0

    def sample(pts: float) -> None:
        nonlocal due
        if pts < due:
            return
        due = pts + every
        print(json.dumps(_sample(pts, time.perf_counter() - began, len(pipeline.memory))), flush=True)

    with load_default() as models, captions.open("w", encoding="utf-8") as out:
        pipeline = Pipeline(
            settings,
            lambda notify: open_source(
                source, SourceOptions(stream=settings.id, fps=settings.fps, end=end, clock=clock, on_notice=notify)
            ),
            models,
            FileFeed(lambda: writer_for(Format.JSONL, out, events=False)),
            clock,
            on_progress=sample,
        )
        asyncio.run(pipeline.run())


def _sample(pts: float, seconds: float, slots: int) -> dict[str, float]:
    files = -1
    with contextlib.suppress(OSError):
        files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not opened
    return {
        "t": round(pts, 3),
        "seconds": round(seconds, 3),
        "rss_mb": round(memory_mb(os.getpid()), 2),
        "slots": slots,
        "threads": threading.active_count(),
        "files": files,
    }


if __name__ == "__main__":
    typer.run(watch)
