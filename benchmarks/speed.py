"""How fast is a file captioned, on what memory, and where does the time go? Beside it, the naive program."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Aim, CannotRun, Quick, Result, Table, conclude, median, progress
from benchmarks.process import Clip, Finished, busy_clip, need_weights, run, streamcap

__all__ = ["Timing", "measure", "read_timings"]

NAIVE = Path(__file__).with_name("naive.py")
SPEED_AIM = 8.0
MEMORY_AIM_MB = 600.0
QUICK_S = 20
PROGRAMS = {"streamcap": "streamcap", "naive": "naive, every frame", "naive_5fps": "naive, 5 frames a second"}
_TOTAL = re.compile(r"([\d.]+) s of video in ([\d.]+) s")
_STAGE = re.compile(r"^\s*(\w+)\s+([\d.]+) ms × (\d+)(?:, ([\d.]+) ms of processor time)?\s*$", re.MULTILINE)


class Spent(NamedTuple):
    """What a stage took.

    Attributes:
        ms: a run.
        runs: how many.
        cpu_ms: processor milliseconds a run in all threads, from a sample; 0 where it ran too seldom for one.
    """

    ms: float
    runs: int
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Timing:
    """One run of one program.

    Attributes:
        media: seconds of video.
        working: seconds from the first frame to the last, without start-up and loading of models.
        stages: by name.
        people: found in a frame on average, for a program that counts them.
    """

    cost: Finished
    media: float
    working: float
    stages: dict[str, Spent]
    people: float | None = None


def read_timings(stderr: str) -> tuple[float, float, dict[str, Spent]]:
    """Media seconds, seconds of work, and stages from what ``streamcap caption --timings`` says last.

    Raises:
        CannotRun: it does not say so.
    """
    total = _TOTAL.search(stderr)
    stages = {name: Spent(float(ms), int(runs), float(cpu or 0)) for name, ms, runs, cpu in _STAGE.findall(stderr)}
    if total is None or not stages:
        raise CannotRun("streamcap caption --timings does not print what this benchmark reads")
    return float(total[1]), float(total[2]), stages


def measure(*, quick: bool = False, repeats: int | None = None, clip: Clip | None = None) -> Result:
    """Run the programs in turn, ``repeats`` times each.

    Raises:
        CannotRun: no weights, or a program failed.
    """
    need_weights()
    clip = clip or busy_clip()
    times = repeats or (1 if quick else 5)
    end = QUICK_S if quick else None
    names = [name for name in PROGRAMS if name == "streamcap" or clip.path]
    runs: dict[str, list[Timing]] = {name: [] for name in names}
    with progress("speed", times * len(names)) as step:
        for _ in range(times):  # in turn, so that a slow minute of the machine meets all of them
            for name in names:
                runs[name].append(_streamcap(clip, end) if name == "streamcap" else _naive(clip, name, end))
                step(name)
    return _result(clip, runs, quick)


def _streamcap(clip: Clip, end: float | None) -> Timing:
    with tempfile.TemporaryDirectory() as folder:
        command = streamcap("caption", clip.source, "--format", "jsonl", "--timings", "-o", f"{folder}/captions.jsonl")
        done = run([*command, *_until(end)])
    return Timing(done, *read_timings(done.stderr))


def _naive(clip: Clip, name: str, end: float | None) -> Timing:
    rate = ["--fps", "5"] if name == "naive_5fps" else []
    done = run([sys.executable, str(NAIVE), str(clip.path), *rate, *_until(end)])
    said = json.loads(done.stdout)
    return Timing(done, said["media_s"], said["seconds"], {}, said["people"])


def _until(end: float | None) -> list[str]:
    return [] if end is None else ["--to", f"{end:g}"]


def _result(clip: Clip, runs: dict[str, list[Timing]], quick: bool) -> Result:
    figures = {name: _figures(of) for name, of in runs.items()}
    main = figures["streamcap"]
    ratios = {
        name: {key: round(other[key] / main[key], 2) for key in ("seconds", "working_s", "cpu_s")}
        for name, other in figures.items()
        if name != "streamcap"
    }
    stages = _stages(runs["streamcap"])
    speed, peak = main["media_s"] / main["seconds"], main["peak_mb"]
    aims = [
        Aim("speed of the whole command", f"≥ {SPEED_AIM:g}× real time", f"{speed:.1f}×", speed >= SPEED_AIM),
        Aim("peak memory", f"< {MEMORY_AIM_MB:g} MB", f"{peak:.0f} MB", peak < MEMORY_AIM_MB),
    ]
    notes = [
        "The whole command counts the start of Python and the loading of the models, which take the same few seconds "
        "however long the video is; “watching” does not. Medians of "
        f"{len(runs['streamcap'])} runs of each program, taken in turn."
    ]
    notes.append(
        "The naive program finds what the detector sees in a whole frame of 320 pixels; it follows, dates and says "
        "nothing. Its time is what streamcap's is to be held against, not what it replaces."
        if "naive" in figures
        else "The naive program was not run: it needs a file, and there is none."
    )
    return Result(
        "speed",
        {"clip": clip.name, "repeats": len(runs["streamcap"]), "seconds": QUICK_S if quick else None},
        {**figures, "ratio": ratios, "stages": {n: s._asdict() for n, s in stages.items()}},
        [_programs(figures), _stage_table(stages, main["media_s"])],
        aims,
        notes,
        quick=quick,
        partial="naive" not in figures,
    )


def _figures(runs: Sequence[Timing]) -> dict[str, float]:
    seconds = [r.cost.seconds for r in runs]
    found = {
        "media_s": runs[0].media,
        "seconds": median(seconds),
        "seconds_least": min(seconds),
        "seconds_most": max(seconds),
        "working_s": median([r.working for r in runs]),
        "cpu_s": median([r.cost.cpu for r in runs]),
        "peak_mb": max(r.cost.peak_mb for r in runs),
    }
    if runs[0].people is not None:
        found["people_a_frame"] = runs[0].people
    return {key: round(value, 3) for key, value in found.items()}


def _stages(runs: Sequence[Timing]) -> dict[str, Spent]:
    names = {name for timing in runs for name in timing.stages}
    found = {
        n: Spent(
            median([t.stages[n].ms for t in runs if n in t.stages]),
            max(t.stages[n].runs for t in runs if n in t.stages),
            median([t.stages[n].cpu_ms for t in runs if n in t.stages]),
        )
        for n in names
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].cpu_ms * item[1].runs))


def _programs(figures: dict[str, dict[str, float]]) -> Table:
    main = figures["streamcap"]
    rows = [
        (
            PROGRAMS[name],
            f"{f['media_s'] / f['seconds']:.1f}",
            f"{f['media_s'] / f['working_s']:.1f}",
            f"{f['seconds']:.1f} ({f['seconds_least']:.1f}–{f['seconds_most']:.1f})",
            f"{f['seconds'] / main['seconds']:.2f}",
            f"{f['cpu_s']:.1f}",
            f"{f['peak_mb']:.0f}",
            f"{f['people_a_frame']:.1f}" if "people_a_frame" in f else "–",
        )
        for name, f in figures.items()
    ]
    headers = (
        "program", "× real time, whole command", "× real time, watching", "seconds (least–most)", "of streamcap's time",
        "CPU s", "peak MB", "people found a frame",
    )  # fmt: skip
    return Table(headers, tuple(rows))


def _stage_table(stages: dict[str, Spent], media: float) -> Table:
    rows = [
        (
            name, f"{s.ms:.2f}", str(s.runs), f"{s.ms * s.runs / media:.1f}",
            f"{s.cpu_ms:.2f}" if s.cpu_ms else "–", f"{s.cpu_ms * s.runs / media:.1f}" if s.cpu_ms else "–",
        )
        for name, s in stages.items()
    ]  # fmt: skip
    headers = (
        "stage", "ms a run", "runs", "ms a second of video", "processor ms a run", "processor ms a second of video",
    )  # fmt: skip
    return Table(headers, tuple(rows))


def command(
    quick: Quick = False,
    repeats: Annotated[int | None, typer.Option(min=1, help="Runs of each program.", show_default="5")] = None,
    clip: Annotated[Path | None, typer.Option(exists=True, help="Another video file.")] = None,
) -> None:
    """Measure the speed and memory of `streamcap caption` and of a naive baseline, in turn."""
    conclude(lambda: measure(quick=quick, repeats=repeats, clip=Clip(clip.name, clip) if clip else None))


if __name__ == "__main__":
    typer.run(command)
