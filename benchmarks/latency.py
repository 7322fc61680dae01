"""How old is a caption when a subscriber reads it? A looped clip through `streamcap serve` to a real websocket."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import CannotRun, Quick, Result, Table, conclude, percentile, progress
from benchmarks.process import Clip, busy_clip, cpu_seconds, need_weights, peak_mb
from benchmarks.serving import serving
from streamcap.client import Feed, subscribe
from streamcap.types import CaptionKind, CaptionStatus
from streamcap.wire import CaptionMessage

__all__ = ["Gathered", "measure"]

# (streams, seconds)
RUNS = ((1, 60), (1, 180), (2, 120), (4, 120))
QUICK_RUNS = ((1, 20), (2, 20))
FIGURES = {
    "draft_age_ms": "draft age",
    "final_age_ms": "final age",
    "draft_read_ms": "draft read",
    "final_read_ms": "final read",
    "first_word_ms": "fact to draft",
    "last_word_ms": "fact to final",
}


@dataclass(slots=True)
class Gathered:
    """Milliseconds, by figure, of one run.

    ``age`` is the feed's own ``age_ms``: from the capture of the last frame that the text speaks about to its emission.
    A fact's beginning is the caption's ``start`` in wall time: so many seconds before that frame was captured.
    """

    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FIGURES})
    seen: set[tuple[str, str]] = field(default_factory=set)

    def take(self, message: CaptionMessage, now: float) -> None:
        """Count one caption message that was read at wall time ``now`` (Unix seconds)."""
        if message.kind is CaptionKind.SUMMARY or not message.text:
            return
        final = message.status is CaptionStatus.FINAL
        which = "final" if final else "draft"
        captured, emitted = message.captured_at.timestamp(), message.emitted_at.timestamp()
        self.values[f"{which}_age_ms"].append(float(message.age_ms))
        self.values[f"{which}_read_ms"].append(1e3 * (now - captured))
        if message.kind is CaptionKind.FULL:
            return  # a full caption speaks of a scene, which has no moment
        since_start = 1e3 * (emitted - captured + message.end - message.start)
        key = (message.stream, message.id)
        if not final and key not in self.seen:
            self.values["first_word_ms"].append(since_start)
        elif final:
            self.values["last_word_ms"].append(since_start)
        self.seen.add(key)


def measure(*, quick: bool = False, clip: Clip | None = None) -> Result:
    """Serve one, two and four streams and read all of them through one subscriber.

    Raises:
        CannotRun: no weights, the server did not start, or nothing was said.
    """
    need_weights()
    clip = clip or busy_clip()
    runs = QUICK_RUNS if quick else RUNS
    found: list[dict[str, Any]] = []
    with progress("latency", len(runs)) as step:
        for streams, seconds in runs:
            found.append(asyncio.run(_run(clip, streams, seconds)))
            step(f"{streams} streams, {seconds} s")
    rows = [
        (
            f"{run['streams']} × {run['seconds']} s",
            *(_cell(run[name]) for name in FIGURES),
            f"{run['final_age_ms']['count']:.0f}",
            f"{run['cpu_share']:.2f}",
            f"{run['peak_mb']:.0f}",
        )
        for run in found
    ]
    headers = ("streams × time", *FIGURES.values(), "finals", "CPUs", "peak MB")
    return Result(
        "latency",
        {"clip": clip.name, "runs": [list(run) for run in runs], "analysed_fps": 5},
        {"runs": found},
        [Table(headers, tuple(rows), "Milliseconds: median / 95th percentile / most")],
        notes=[
            "The clip is played in a loop at its own speed. Age runs from the capture of the last frame that the text "
            "speaks about until the text is emitted; read: until the subscriber has it. A final waits until its window "
            "closes (0.6 s after its last fact, at most 1.8 s after its first): that wait is part of the figures. Fact "
            "to draft and to final: from the beginning of the first fact of a caption, so that the time which "
            "perception takes to be sure of it counts. Full captions, which speak of a scene, have no such moment.",
        ],
        quick=quick,
    )


async def _run(clip: Clip, streams: int, seconds: int) -> dict[str, Any]:
    names = [f"stream{n + 1}" for n in range(streams)]
    async with serving(dict.fromkeys(names, clip.live)) as server:
        pid, url = server.pid, server.url
        began, cpu = time.monotonic(), cpu_seconds(pid)
        gathered = Gathered()
        async with subscribe(url, kinds=["caption"]) as feed:
            await _read(feed, gathered, seconds)
        spent = time.monotonic() - began
        share, peak = (cpu_seconds(pid) - cpu) / spent, peak_mb(pid)
    if not gathered.values["final_age_ms"]:
        raise CannotRun(f"nothing was said of {clip.name} in {seconds} s")
    figures = {name: _figures(values) for name, values in gathered.values.items()}
    return {
        "streams": streams,
        "seconds": seconds,
        **figures,
        "cpu_share": round(share, 3),
        "peak_mb": round(peak, 1),
    }


async def _read(feed: Feed, gathered: Gathered, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for message in feed:
                if isinstance(message, CaptionMessage):
                    gathered.take(message, time.time())


def _figures(values: list[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    return {
        "count": len(values),
        "p50": round(percentile(values, 0.5), 1),
        "p95": round(percentile(values, 0.95), 1),
        "most": round(max(values), 1),
    }


def _cell(figures: dict[str, float]) -> str:
    return f"{figures['p50']:.0f} / {figures['p95']:.0f} / {figures['most']:.0f}" if figures["count"] else "–"


def command(
    quick: Quick = False,
    clip: Annotated[Path | None, typer.Option(exists=True, help="Another video file.")] = None,
) -> None:
    """Measure how old captions are when they reach a subscriber, with 1, 2 and 4 streams."""
    conclude(lambda: measure(quick=quick, clip=Clip(clip.name, clip) if clip else None))


if __name__ == "__main__":
    typer.run(command)
