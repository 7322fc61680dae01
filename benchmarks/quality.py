"""How good are the captions? Real clips against events that were noted by hand: figures, and a page to look at."""

from __future__ import annotations

import os
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.captioning.causes import Cause
from benchmarks.captioning.evaluation import ROOT, STORED, evaluate, recordings, refit
from benchmarks.captioning.goals import GOALS, raised, read_floor, write_floor
from benchmarks.captioning.report import Evaluation, reliability_svg, render
from benchmarks.captioning.scoring import Clips
from benchmarks.common import IMAGES, Aim, CannotRun, Quick, Result, Table, conclude
from benchmarks.machine import describe_machine
from benchmarks.process import need_weights
from streamcap import calibration

__all__ = ["Options", "measure"]

REPORT = ROOT / "build" / "quality" / "report.html"
CALIBRATION = Path(calibration.__file__)
FITTED = ("# begin fitted", "# end fitted")
QUICK_CLIPS = ("store_aisle.mp4", "parking_car_and_bicycle.mp4", "tree_wind_then_hand.avi")


@dataclass(frozen=True, slots=True)
class Options:
    """How the captions are judged and shown.

    Attributes:
        clips: folder of clips with their truth; ``../shared/clips``, where left out.
        output: where the page is written.
        before: result of an earlier run, which the page compares with.
        reuse: take what the same perception code saw before.
        fit: fit the calibration anew.
        raise_floor: bring the stored floor up.
        jobs: clips at a time; one for each processor, where left out.
        keep: where captions and the scorer's whole answer are left.
        detail: print what was missed and what was wrong, clip by clip.
    """

    clips: Path | None = None
    output: Path = REPORT
    before: Path = STORED
    reuse: bool = False
    fit: bool = False
    raise_floor: bool = False
    jobs: int | None = None
    keep: Path | None = None
    detail: bool = False


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


def measure(
    *,
    quick: bool = False,
    only: Sequence[str] = (),
    options: Options | None = None,
) -> Result:
    """Caption, score, and write the page.

    Args:
        only: names of clips, or their beginnings; all, where empty.

    Raises:
        CannotRun: no clips, no scorer, no weights, or a clip cannot be captioned.
    """
    options = options or Options()
    clips = Clips.load(options.clips, tuple(only) or (QUICK_CLIPS if quick and options.clips is None else ()))
    need_weights()
    found = recordings(clips, jobs=options.jobs or os.cpu_count() or 1, reuse=options.reuse)
    with _folder(options.keep) as folder:
        evaluation, scored = evaluate(clips, found, folder, before=options.before)
    whole = not only and options.clips is None
    if options.raise_floor:
        _raise_floor(evaluation.overall, list(clips.truth), whole=whole and not quick)
        evaluation = replace(evaluation, floor=read_floor())
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(render(evaluation), "utf-8")
    if whole and not quick:
        plot = reliability_svg(evaluation.stated, evaluation.fitted)
        (IMAGES / "reliability.svg").write_text(plot, "utf-8")
    if options.detail:
        _print_detail(scored)
    if options.fit:
        _write_table(refit(clips, found), evaluation)
    seconds = {recording.clip: recording.seconds for recording in found}
    return _result(scored, seconds, evaluation, quick=quick, partial=not whole)


def _write_table(table: calibration.Table, evaluation: Evaluation) -> None:
    """Write a fitted calibration into the code, where it says more of clips it has not seen than the rules do."""
    stated, held_out = evaluation.stated.brier, evaluation.fitted.brier
    if held_out > stated:
        typer.echo(f"not fitted: Brier score of clips held out {held_out:.4f}, of the rules' own word {stated:.4f}")
        return
    text = CALIBRATION.read_text("utf-8")
    head, rest = text.split(FITTED[0])
    body = "\n".join(
        [
            "TABLE: Final = Table(",
            f"    slope={table.slope},",
            f"    other={table.other},",
            f"    offsets={_dict(table.offsets)},",
            f"    counts={_dict(table.counts)},",
            ")  # fmt: skip",
        ]
    )
    CALIBRATION.write_text(f"{head}{FITTED[0]}\n{body}\n{FITTED[1]}{rest.split(FITTED[1])[1]}", "utf-8")
    typer.echo(
        f"fitted: Brier score of clips held out {held_out:.4f}, before {stated:.4f}; written to {CALIBRATION.name}"
    )


def _dict(values: Mapping[str, float]) -> str:
    lines = textwrap.wrap(", ".join(f'"{key}": {value}' for key, value in values.items()), 110)
    return "{\n" + "".join(f"        {line}\n" for line in lines) + "    }" if lines else "{}"


def _raise_floor(overall: Mapping[str, Any], names: list[str], *, whole: bool) -> None:
    if not whole:
        raise CannotRun("a floor is raised by the whole set of clips alone")
    before = read_floor()
    floor = raised(overall, before)
    write_floor(floor, names, describe_machine().commit)
    for key, value in floor.items():
        typer.echo(f"floor of {key}: {before.get(key, '–')} → {value}")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    keep.mkdir(parents=True, exist_ok=True)
    yield keep


def _result(
    found: dict[str, Any], seconds: dict[str, float], evaluation: Evaluation, *, quick: bool, partial: bool
) -> Result:
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
        {"overall": overall, "clips": clips, "seconds": seconds} | _deeper(evaluation),
        [Table(("clip", "found", *(header for header, _ in COLUMNS.values())), tuple(rows)), *_tables(evaluation)],
        _aims(overall),
        notes=notes,
        image="reliability.svg",
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


def _aims(overall: Mapping[str, Any]) -> list[Aim]:
    """What was set out to be reached, less what these clips have nothing to measure it by."""
    figures = [(goal, overall[goal.key]) for goal in GOALS if overall[goal.key] is not None]
    return [Aim(goal.what, goal.wanted, goal.written(figure), goal.met(figure)) for goal, figure in figures]


def _tables(found: Evaluation) -> list[Table]:
    """What is missing, and what the truth in its place would change."""
    missed = Counter(str(case.cause) for clip in found.clips for case in clip.missed)
    false = Counter(str(case.cause) for clip in found.clips for case in clip.false)
    rows = [
        (str(cause), str(missed[cause]), f"{_share(missed, cause)} %", str(false[cause]), f"{_share(false, cause)} %")
        for cause in Cause
        if missed[cause] or false[cause]
    ]
    rungs = [
        (r.what, *(f"{r.overall[key]:.2f}" for key in ("salient_recall", "all_recall", "precision")))
        for r in found.ladder
        if r.overall["salient_recall"] is not None and r.overall["precision"] is not None
    ]
    return [
        Table(("sense", "events missed", "share", "false statements", "share"), tuple(rows), "What is missing"),
        Table(("the truth in its place", "salient", "recall", "precision"), tuple(rungs), "What it costs"),
    ]


def _share(counts: Counter[str], key: str) -> int:
    return round(100 * counts[key] / max(1, counts.total()))


def _deeper(found: Evaluation) -> dict[str, Any]:
    keys = ("salient_recall", "precision", "hallucinations_per_min", "quality")
    return {
        "reliability": {"stated": asdict(found.stated), "held_out": asdict(found.fitted)},
        "leave_one_out": {clip: {key: pooled[key] for key in keys} for clip, pooled in found.spread.items()},
        "ladder": {rung.what: {key: rung.overall[key] for key in keys} for rung in found.ladder},
    }


def command(
    clips: Annotated[list[str] | None, typer.Argument(help="Clips by name or its beginning; all, if none.")] = None,
    quick: Quick = False,
    folder: Annotated[
        Path | None,
        typer.Option("--clips", help="Another folder of clips, with truth.json.", show_default="../shared/clips"),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the page is written.")] = REPORT,
    before: Annotated[
        Path, typer.Option(help="An older quality.json to compare with.", exists=True, dir_okay=False)
    ] = STORED,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Take what the same perception code saw before; the rest runs anew.")
    ] = False,
    fit: Annotated[bool, typer.Option("--fit", help="Fit the calibration anew and write it into the code.")] = False,
    raise_floor: Annotated[
        bool, typer.Option("--raise-floor", help="Bring the stored floor up to these figures; never down.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Clips at a time.", show_default="one for each processor")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Leave captions and the whole score in this folder.")] = None,
    detail: Annotated[bool, typer.Option("--detail", help="Print what was missed and what was wrong.")] = False,
) -> None:
    """Caption the reference clips, score the captions and show them on a page."""
    options = Options(folder, output, before, reuse, fit, raise_floor, jobs, keep, detail)
    conclude(lambda: measure(quick=quick, only=clips or (), options=options))
    if output.is_file():
        typer.echo(f"page: {output.resolve()}")


if __name__ == "__main__":
    typer.run(command)
