"""Thirty minutes of an empty room: one caption, and memory that does not grow."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import IMAGES, SHARED, Aim, CannotRun, Quick, Result, Table, conclude, median, progress
from benchmarks.process import Finished, need_weights, run

__all__ = ["measure", "slope"]

CLIP = SHARED / "stress" / "static_30min.mp4"
WATCH = Path(__file__).with_name("watch.py")
# Caches of libraries fill in the first minutes; what grows later grows for ever.
SETTLED_S = 120.0
QUICK_S = 240.0
# A tenth of a megabyte a minute would be 140 MB a day.
SLOPE_AIM_MB_MIN = 0.05


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least-squares slope of y over x.

    Raises:
        ValueError: fewer than two different x.
    """
    n = len(points)
    mx, my = (sum(p[i] for p in points) / n if n else 0.0 for i in (0, 1))
    spread = sum((x - mx) ** 2 for x, _ in points)
    if not spread:
        raise ValueError("a slope needs two different places")
    return sum((x - mx) * (y - my) for x, y in points) / spread


def measure(*, quick: bool = False, clip: Path = CLIP) -> Result:
    """Caption the clip once in a process of its own and look at its memory over media time.

    Raises:
        CannotRun: no clip, no weights, or the run failed.
    """
    if not clip.exists():
        raise CannotRun(f"{clip.name} is not there (looked in ../shared/stress)")
    need_weights()
    end = ["--to", f"{QUICK_S:g}"] if quick else []
    with tempfile.TemporaryDirectory() as folder, progress("static", 1) as step:
        captions = Path(folder) / "captions.jsonl"
        command = [sys.executable, str(WATCH), str(clip), "--captions", str(captions), *end]
        done = run(command, timeout=3600)
        messages = [json.loads(line) for line in captions.read_text("utf-8").splitlines()]
        step("watched")
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    return _result(clip.name, done, samples, messages, quick)


def _result(
    clip: str, done: Finished, samples: list[dict[str, float]], messages: list[dict[str, Any]], quick: bool
) -> Result:
    captions = [m for m in messages if m["type"] == "caption"]
    settled = [s for s in samples if s["t"] >= SETTLED_S]
    if len(settled) < 10:
        raise CannotRun(f"{clip} gave {len(settled)} samples after {SETTLED_S:.0f} s; too few")
    growth = slope([(s["t"] / 60, s["rss_mb"]) for s in settled])
    fifth = max(1, len(settled) // 5)
    first, last = (median([s["rss_mb"] for s in part]) for part in (settled[:fifth], settled[-fifth:]))
    media = samples[-1]["t"]
    figures = {
        "media_s": media,
        "seconds": round(done.seconds, 2),
        "cpu_s": round(done.cpu, 2),
        "peak_mb": round(done.peak_mb, 1),
        "captions": len(captions),
        "caption_times": [c["end"] for c in captions],
        "events": sum(m["type"] == "event" for m in messages),
        "slope_mb_per_minute": round(growth, 4),
        "early_mb": round(first, 2),
        "late_mb": round(last, 2),
        "memory_slots": samples[-1]["slots"],
        "threads": [settled[0]["threads"], settled[-1]["threads"]],
        "open_files": [settled[0]["files"], settled[-1]["files"]],
        "samples": {key: [s[key] for s in samples] for key in ("t", "rss_mb", "slots")},
    }
    rows = (
        ("video", f"{media / 60:.1f} minutes"),
        ("time taken", f"{done.seconds:.1f} s ({media / done.seconds:.0f}× real time), {done.cpu:.1f} CPU s"),
        ("captions", _caption_cell(captions)),
        ("memory early and late", f"{first:.1f} MB, {last:.1f} MB (peak {done.peak_mb:.0f} MB)"),
        ("growth after minute 2", f"{growth * 1000:+.0f} kB a minute"),
        ("memory slots at the end", f"{samples[-1]['slots']:.0f}"),
        ("threads, open files", f"{settled[-1]['threads']:.0f}, {settled[-1]['files']:.0f}"),
    )
    aims = [
        Aim("captions of a room where nothing happens", "1", str(len(captions)), len(captions) == 1),
        Aim(
            "growth of memory after minute 2",
            f"< {SLOPE_AIM_MB_MIN * 1000:g} kB a minute",
            f"{growth * 1000:+.0f} kB a minute",
            growth < SLOPE_AIM_MB_MIN,
        ),
    ]
    notes = ["Early and late are the medians of the first and the last fifth of the samples after minute 2."]
    image = "" if quick else _plot(samples)
    if not image and not quick:
        notes.append("No plot: Matplotlib is not installed.")
    return Result(
        "static", {"clip": clip}, figures, [Table(("", ""), rows)], aims, notes, image=image, quick=quick
    )  # fmt: skip


def _caption_cell(captions: list[dict[str, Any]]) -> str:
    said = [f"{c['end']:.1f} s {c['kind']}: “{c['text']}”" for c in captions[:4]]
    more = f" and {len(captions) - 4} more" if len(captions) > 4 else ""
    return f"{len(captions)}: {'; '.join(said)}{more}" if captions else "0"


def _plot(samples: list[dict[str, float]]) -> str:
    """Memory over media time; the file's name, or empty where there is nothing to draw it with."""
    try:
        # By name: it is an extra, and types must hold without it.
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        return ""
    figure, axes = pyplot.subplots(figsize=(7, 2.6), dpi=110)
    axes.plot([s["t"] / 60 for s in samples], [s["rss_mb"] for s in samples], linewidth=1.2, color="#2563eb")
    axes.axvline(SETTLED_S / 60, color="#9ca3af", linewidth=0.8, linestyle="--")
    axes.set_ylim(0, max(s["rss_mb"] for s in samples) * 1.15)
    axes.set_xlim(0, samples[-1]["t"] / 60)
    axes.set_xlabel("minutes of video")
    axes.set_ylabel("resident memory, MB")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / "static_memory.png")
    pyplot.close(figure)
    return "static_memory.png"


def command(
    quick: Quick = False,
    clip: Annotated[Path, typer.Option(help="Another file in which nothing happens.", show_default=False)] = CLIP,
) -> None:
    """Watch an empty room for 30 minutes: captions said, and memory over media time."""
    conclude(lambda: measure(quick=quick, clip=clip))


if __name__ == "__main__":
    typer.run(command)
