"""Runs the benchmarks, one after the other, and writes what they find.

python benchmarks/run.py --quick
python benchmarks/run.py --only speed,static
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import CannotRun, Quick, Result, Saved, save, show

# In the order of their run: what a busy machine would spoil most comes first.
BENCHMARKS = {
    "speed": "a file as fast as possible, beside a naive program (3 min)",
    "static": "30 minutes of an empty room: captions and memory (1 min)",
    "latency": "1, 2 and 4 live streams through the server (8 min)",
    "glass": "from the glass to the caption, by a clock in the pixels: RTSP and a file (10 min)",
    "streams": "how many 720p30 cameras at a time, and the naive program beside it (10 min)",
    "fanout": "a thousand subscribers on one processor, and a bare loop beside them (4 min)",
    "viewers": "viewers by WHEP: H.264 passed on, and a program that encodes for each (6 min)",
    "page": "the monitor in a browser: weight, message to paint, heap, 50 streams (3 min)",
    "journal": "the journal on disk: commits, appends, reading back (2 min)",
    "quality": "real clips against events noted by hand (3 min)",
    "trackers": "our tracker and libraries on simulated detections (12 min)",
    "encoders": "image encoders by several runtimes, the micro-batcher, models under several streams (5 min)",
    "vlm": "a vision–language model in this process, and transformers' own generate beside it (10 min)",
    "micro": "one call of each part (1 min)",
    "soak": "cameras that fail and subscribers that come and go; memory, files, threads, tasks (30 min)",
}


def chosen(only: str) -> list[str]:
    """Names from a list with commas; all, where it is empty.

    Raises:
        typer.BadParameter: one of them is not a benchmark.
    """
    names = [name.strip() for name in only.split(",") if name.strip()] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise typer.BadParameter(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    return [name for name in BENCHMARKS if name in names]


def main(
    only: Annotated[
        str, typer.Option(help="Names with commas between: " + ", ".join(BENCHMARKS) + ".", show_default="all")
    ] = "",
    quick: Quick = False,
    list_them: Annotated[bool, typer.Option("--list", help="Say what there is, and run nothing.")] = False,
) -> None:
    """Measure speed, memory, latency, quality and what the parts cost.

    Full runs write benchmarks/results/*.json and the tables of docs/benchmarks.md; quick ones out/bench/*.json.
    """
    if list_them:
        for name, what in BENCHMARKS.items():
            typer.echo(f"{name:10} {what}")
        return
    console = Console(stderr=True, highlight=False)
    found: list[tuple[Result, Saved]] = []
    not_run: dict[str, str] = {}
    names = chosen(only)
    for number, name in enumerate(names, start=1):
        console.print(
            f"[bold]{number}/{len(names)} {name}[/]: {BENCHMARKS[name]}" + (", short version" if quick else "")
        )
        load, began = os.getloadavg()[0], time.monotonic()
        try:
            result = _measure(name)(quick=quick)
            found.append((result, save(result, load)))
        except CannotRun as reason:
            not_run[name] = str(reason)
        except Exception as error:  # a defect in one must not cost the figures of the others; its trace is shown
            traceback.print_exc()
            not_run[name] = f"{type(error).__name__}: {error}"
        console.print(f"  [dim]{'not run' if name in not_run else 'done'} in {time.monotonic() - began:.0f} s[/]")
    for result, saved in found:
        typer.echo(f"\n=== {result.name}")
        show(result, saved)
    if not_run:
        typer.echo("\nnot run:")
        for name, why in not_run.items():
            typer.echo(f"  {name}: {why}")
    if not_run and not found:
        raise typer.Exit(1)


def _measure(name: str) -> Callable[..., Result]:
    measure: Callable[..., Result] = importlib.import_module(f"benchmarks.{name}").measure
    return measure


if __name__ == "__main__":
    typer.run(main)
