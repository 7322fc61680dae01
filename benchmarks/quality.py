"""How good are the captions? Real clips, captioned by the command line, against events that were noted by hand."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import SHARED, CannotRun, Quick, Result, Table, conclude, progress
from benchmarks.process import need_weights, run, streamcap

__all__ = ["caption_clips", "measure", "score"]

CLIPS = SHARED / "clips"
TRUTH = CLIPS / "truth.json"
SCORER = SHARED / "tools" / "score_captions.py"
QUICK_CLIPS = ("store_aisle.mp4", "parking_car_and_bicycle.mp4", "tree_wind_then_hand.avi")
# Figure of the scorer: (header, how it is written).
COLUMNS = {
    "quality": ("quality", ".1f"),
    "salient_recall": ("salient", ".2f"),
    "all_recall": ("recall", ".2f"),
    "precision": ("precision", ".2f"),
    "hallucinations_per_min": ("invented /min", ".1f"),
    "object_recall": ("objects", ".2f"),
    "object_precision": ("objects right", ".2f"),
    "camera_recall": ("camera", ".2f"),
    "redundancy": ("repeats", ".2f"),
    "captions_per_min": ("captions /min", ".1f"),
    "static_extra_per_min": ("idle /min", ".1f"),
    "median_delay_s": ("delay s", ".1f"),
}


def caption_clips(names: Sequence[str], folder: Path, *, jobs: int) -> dict[str, float]:
    """Caption clips side by side into ``folder``, one ``NAME.jsonl`` each.

    Returns:
        Seconds that each took.

    Raises:
        CannotRun: one of them failed.
    """

    def one(name: str) -> tuple[str, float]:
        command = streamcap("caption", str(CLIPS / name), "--format", "jsonl", "-o", str(folder / f"{name}.jsonl"))
        return name, run(command, timeout=1800).seconds

    with ThreadPoolExecutor(jobs) as workers, progress("captioning", len(names)) as step:
        seconds = {}
        for name, spent in workers.map(one, names):
            seconds[name] = round(spent, 2)
            step(name)
    return seconds


def score(names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Let the scorer judge what lies in ``folder``; its whole answer, which also stays there as ``score.json``.

    Raises:
        CannotRun: the scorer failed.
    """
    truth = json.loads(TRUTH.read_text("utf-8"))
    wanted = folder / "truth.json"
    wanted.write_text(json.dumps({name: truth[name] for name in names}), "utf-8")
    answer = folder / "score.json"
    run([sys.executable, str(SCORER), str(wanted), str(folder), "--json", str(answer)], timeout=600)
    found: dict[str, Any] = json.loads(answer.read_text("utf-8"))
    return found


def measure(
    *,
    quick: bool = False,
    only: Sequence[str] = (),
    jobs: int | None = None,
    keep: Path | None = None,
    detail: bool = False,
) -> Result:
    """Caption and score.

    Args:
        only: names of clips, or their beginnings; all, where empty.
        jobs: clips at a time; one for each processor, where left out.
        keep: where captions and the scorer's whole answer are left.
        detail: print what was missed and what was wrong, clip by clip.

    Raises:
        CannotRun: no clips, no scorer, no weights, or one of the programs failed.
    """
    names = _names(only or (QUICK_CLIPS if quick else ()))
    need_weights()
    with _folder(keep) as folder:
        seconds = caption_clips(names, folder, jobs=jobs or os.cpu_count() or 1)
        found = score(names, folder)
    if detail:
        _print_detail(found)
    return _result(found, seconds, quick=quick, partial=bool(only))


def _names(only: Sequence[str]) -> list[str]:
    missing = [path for path in (TRUTH, SCORER) if not path.exists()]
    if missing:
        raise CannotRun(f"{', '.join(path.name for path in missing)} not found beside the checkout, in ../shared")
    known: list[str] = list(json.loads(TRUTH.read_text("utf-8")))
    names = [name for name in known if not only or name.startswith(tuple(only))]
    absent = [name for name in names if not (CLIPS / name).exists()]
    if absent or not names:
        raise CannotRun(f"no such clip: {', '.join(absent or only)}; there are {', '.join(known)}")
    return names


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    keep.mkdir(parents=True, exist_ok=True)
    yield keep


def _result(found: dict[str, Any], seconds: dict[str, float], *, quick: bool, partial: bool) -> Result:
    clips = {name: _figures(clip) for name, clip in found["clips"].items()}
    overall = _figures(found["overall"]) | {"macro": found["overall"]["macro"]}
    rows = [(_short(name), *_cells(clip)) for name, clip in clips.items()]
    if not partial:
        rows.append(("all clips, pooled", *_cells(overall)))
    macro = overall["macro"]
    mean = ", ".join(
        f"{COLUMNS[key][0]} {macro[key]:{COLUMNS[key][1]}}"
        for key in ("quality", "salient_recall", "precision")
        if key in macro
    )
    notes = [
        f"Mean over the clips that have salient events: {mean}." if mean else "No clip has salient events.",
        "Found: salient events, of how many. Quality (0–100): F1 of the recall of salient events and precision, less "
        "for what is invented and for idle repeats. Salient, recall, camera: recall of salient events, of all but the "
        "camera's, of the camera's. Precision: statements that are true. Invented: labels that cannot be there. "
        "Objects, objects right: recall and precision of what is named. Idle: captions where nothing happens. Delay: "
        "median from an event's beginning to the end of the caption's span, in media time.",
    ]
    return Result(
        "quality",
        {"clips": list(clips), "fps": 5, "profile": "surveillance", "captioner": "grounded"},
        {"overall": overall, "clips": clips, "seconds": seconds},
        [Table(("clip", "found", *(header for header, _ in COLUMNS.values())), tuple(rows))],
        notes=notes,
        quick=quick,
        partial=partial,
    )


def _figures(clip: dict[str, Any]) -> dict[str, Any]:
    """The rates and the counts, without any text: what the clips show is not for the repository."""
    rates = {key: None if clip[key] is None else round(clip[key], 4) for key in COLUMNS}
    counts = {key: value for key, value in clip["counts"].items() if _is_count(value) and key != "delays"}
    return {**rates, "counts": counts}


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, list) and all(isinstance(v, int) for v in value))


def _cells(clip: dict[str, Any]) -> tuple[str, ...]:
    found, of = clip["counts"]["salient"]
    figures = ("–" if clip[key] is None else format(clip[key], form) for key, (_, form) in COLUMNS.items())
    return (f"{found}/{of}", *figures)


def _short(name: str) -> str:
    return Path(name).stem.replace("_", " ")


def _print_detail(found: dict[str, Any]) -> None:
    for name, clip in found["clips"].items():
        counts = clip["counts"]
        typer.echo(f"\n{name}")
        for line in counts["missed_salient"]:
            typer.echo(f"  missed   {line}")
        for line in counts["false_statements"]:
            typer.echo(f"  wrong    {line}")
        for item in counts["hallucinated"]:
            typer.echo(f"  invented {item['t']:.1f} {item['label']}: {item['text']}")


def command(
    clips: Annotated[list[str] | None, typer.Argument(help="Clips by name or its beginning; all, if none.")] = None,
    quick: Quick = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Clips at a time.", show_default="one for each processor")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Leave captions and the whole score in this folder.")] = None,
    detail: Annotated[bool, typer.Option("--detail", help="Print what was missed and what was wrong.")] = False,
) -> None:
    """Caption the reference clips and score the captions."""
    conclude(lambda: measure(quick=quick, only=clips or (), jobs=jobs, keep=keep, detail=detail))


if __name__ == "__main__":
    typer.run(command)
