"""The command line: ``python -m engines --help``. Exit codes are those of ``streamcap``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from engines.checkpoint import Checkpoint, need_torch
from engines.compiling import compilable, compile_graphs, graph_info, numbers, profile_of
from engines.files import folder_of, remove_graph, remove_plan
from engines.manifest import ModelEntry, load_manifest
from engines.report import bar, err, failure, out, show_models, show_verdict, step
from streamcap.errors import ModelError, ModelLoadError, StreamcapError, UsageError
from streamcap.models.graph import GraphInfo, Precision, engines_root, read_graph

if TYPE_CHECKING:
    from engines.work import Verdict, Work

__all__ = ["app", "main"]

app = typer.Typer(
    name="engines",
    help="Exports models to ONNX, compiles them for GPUs, and holds both to what torch gives.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# Seconds until an interrupt that was lost comes again: the destructor is over by then.
_AGAIN_S = 0.05
EIGHT_BITS = (Precision.INT8, Precision.INT8_DYNAMIC, Precision.FP8)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="See: python -m engines list")]
Source = Annotated[str | None, typer.Option(help="Local folder or hub id, where not the manifest's.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of the hub id.")]
Random = Annotated[bool, typer.Option("--random", help="Seeded random weights: the same graph without any download.")]
Tiny = Annotated[bool, typer.Option("--tiny", help="With --random: the same operators in small, within seconds.")]
Seed = Annotated[int, typer.Option(help="Of random weights.")]
Precisions = Annotated[
    list[Precision] | None, typer.Option("--precision", help="May be given several times. [default: the model's first]")
]
Grid = Annotated[str | None, typer.Option(metavar="FRAMES,ROWS,COLUMNS", help="Patches, for towers of a fixed grid.")]
Calibrate = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLIP",
        help="Frames to calibrate and compare on; of several the last only to compare. [default: a rendered scene]",
    ),
]
Output = Annotated[Path | None, typer.Option(help="Folder of the graphs. [default: engines/MODEL in the cache]")]
Targets = Annotated[
    list[str] | None, typer.Option("--target", help="GPU to build for, such as sm_89. [default: the one here]")
]
Batch = Annotated[str | None, typer.Option(metavar="LEAST,BEST,MOST", help="Batches that the plan serves.")]


@app.callback()
def _options(
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="More log on stderr; twice for all.")] = 0,
) -> None:
    level = (logging.ERROR, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


@app.command("list")
def list_models() -> None:
    """What engines can be made of, and which graphs and plans are there."""
    show_models(load_manifest(), engines_root())


@app.command()
def make(
    model: Model,
    source: Source = None,
    revision: Revision = None,
    random: Random = False,
    tiny: Tiny = False,
    seed: Seed = 0,
    precision: Precisions = None,
    grid: Grid = None,
    calibrate: Calibrate = None,
    output: Output = None,
    target: Targets = None,
    batch: Batch = None,
    plan: Annotated[bool, typer.Option("--plan/--no-plan", help="Also compile for GPUs, where TensorRT is.")] = True,
) -> None:
    """Export, verify and compile: all that the service needs of a model, in one command.

    A graph that does not agree with torch is not left behind.
    """
    entry = _entry(model, tiny=tiny, random=random, grid=grid)
    wanted, profile = _precisions(entry, precision), profile_of(entry, batch)
    library, compiled = compilable(wanted, target, must=bool(target)) if plan else (None, [])
    work = _begin(entry, source, revision, random=random, seed=seed, clips=calibrate, output=output)
    with step("frames to compare on"):  # a clip that cannot be read is told of before graphs are touched
        work.compared()
    for each in wanted:
        _export(work, each)
        try:
            _agree(work, each, kept=random and each in EIGHT_BITS)
        except BaseException:  # a graph that nothing was held to is not left behind either: an interrupt, a lost clip
            remove_graph(work.path(each))
            raise
    if library is not None:
        for each, path in compile_graphs(entry, work.folder, library, compiled, target, profile).items():
            verdict = _verified_plan(work, each)
            if verdict is not None and not verdict.passed and not (random and each in EIGHT_BITS):
                remove_plan(path)
                raise ModelError(failure(entry, verdict))


@app.command()
def export(
    model: Model,
    source: Source = None,
    revision: Revision = None,
    random: Random = False,
    tiny: Tiny = False,
    seed: Seed = 0,
    precision: Precisions = None,
    grid: Grid = None,
    calibrate: Calibrate = None,
    output: Output = None,
) -> None:
    """Write ONNX files and their sidecars, without comparing them."""
    entry = _entry(model, tiny=tiny, random=random, grid=grid)
    wanted = _precisions(entry, precision)
    work = _begin(entry, source, revision, random=random, seed=seed, clips=calibrate, output=output)
    for each in wanted:
        _export(work, each)


@app.command()
def build(
    model: Model,
    tiny: Tiny = False,
    precision: Precisions = None,
    output: Output = None,
    target: Targets = None,
    batch: Batch = None,
) -> None:
    """Compile graphs that are there into plans."""
    entry = _entry(model, tiny=tiny, random=True)
    wanted, profile, folder = _precisions(entry, precision), profile_of(entry, batch), folder_of(entry.id, output)
    library, compiled = compilable(wanted, target, must=True)
    if library is not None:
        compile_graphs(entry, folder, library, compiled, target, profile)


@app.command()
def verify(
    model: Model, tiny: Tiny = False, precision: Precisions = None, calibrate: Calibrate = None, output: Output = None
) -> None:
    """Compare graphs that are there, and on a GPU their plans, with torch, on the weights that they were made of."""
    need_torch()
    from engines.work import same_weights

    entry = _entry(model, tiny=tiny, random=True)
    folder = folder_of(entry.id, output)
    infos = {each: graph_info(folder, each, entry) for each in _precisions(entry, precision)}
    first = next(iter(infos.values()))
    entry = _as_exported(entry, first)
    work = _begin(entry, weights=same_weights(entry, first), clips=calibrate, output=folder)
    verdicts = [verdict for each in infos for verdict in (_verified(work, each), _verified_plan(work, each))]
    failed = [verdict for verdict in verdicts if verdict is not None and not verdict.passed]
    if failed:
        raise ModelError(failure(entry, failed[0]))


@app.command()
def bench(
    model: Model,
    tiny: Tiny = False,
    output: Output = None,
    batch: Annotated[str, typer.Option(metavar="SIZES", help="Batch sizes, with commas between.")] = "1,4,16",
    seconds: Annotated[float, typer.Option(min=0.1, help="Of measuring, for each figure.")] = 3.0,
    threads: Annotated[int, typer.Option(min=0, help="Of the processor; 0 for all.")] = 0,
    save: Annotated[
        Path | None, typer.Option(help="Where the JSON goes. [default: bench.json beside the graphs]")
    ] = None,
) -> None:
    """Pictures a second and milliseconds a batch of all that is there: ONNX Runtime, plans, torch."""
    from engines.bench import measure, present

    entry = _entry(model, tiny=tiny, random=True)
    folder = folder_of(entry.id, output)
    sizes = numbers(batch, "--batch")
    with step(f"measuring {entry.id}"):
        result = measure(entry, folder, sizes=sizes, seconds=seconds, threads=threads)
    present(result, save or folder / "bench.json", out)


def main() -> None:
    """Run the command line; never shows a traceback unless STREAMCAP_DEBUG is set."""
    sys.unraisablehook = _interrupt_again
    try:
        app(prog_name="python -m engines")
    except StreamcapError as error:
        err.print(f"[bold red]engines:[/] {escape(' '.join(str(error).split()))}", soft_wrap=True)
        if error.hint:
            err.print(f"[dim]hint:[/] {escape(error.hint)}", soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("[bold red]engines:[/] interrupted")
        sys.exit(130)
    except Exception as error:
        if os.environ.get("STREAMCAP_DEBUG"):
            raise
        if _is_memory(error):
            err.print("[bold red]engines:[/] there is not enough memory")
            err.print(
                "[dim]hint:[/] close other programs, or take a machine with more; --calibrate on fewer clips needs less"
            )
            sys.exit(1)
        err.print(f"[bold red]engines:[/] a defect: {type(error).__name__}: {escape(str(error))}", soft_wrap=True)
        err.print("[dim]hint:[/] set STREAMCAP_DEBUG=1 to see where")
        sys.exit(1)


def _is_memory(error: Exception) -> bool:
    """True where memory ran out: torch and ONNX Runtime say so in words of their own."""
    from streamcap.models.onnx import ran_full

    return isinstance(error, MemoryError) or ran_full(error) or "can't allocate memory" in str(error)


def _interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """An interrupt that meets a destructor is lost there, and imports run thousands: it comes again a moment later."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
        return
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    again = threading.Timer(_AGAIN_S, signal.pthread_kill, (main_thread, signal.SIGINT))
    again.daemon = True
    again.start()


# ---- steps


def _entry(model: str, *, tiny: bool, random: bool, grid: str | None = None) -> ModelEntry:
    entry = load_manifest().model(model)
    if tiny and not random:
        raise UsageError("--tiny has no weights but random ones", hint="add --random")
    entry = entry.shrunk() if tiny else entry
    if grid is not None:
        sides = numbers(grid, "--grid")
        if entry.grid is None or len(sides) != 3:
            raise UsageError(f"--grid {grid}: three numbers, for a tower of a fixed grid", hint="such as 1,24,40")
        entry = entry.model_copy(update={"grid": tuple(sides)})
    return entry


def _precisions(entry: ModelEntry, wanted: list[Precision] | None) -> list[Precision]:
    chosen = list(dict.fromkeys(wanted or entry.precisions[:1]))
    for each in chosen:
        entry.check(each)
    return chosen


def _begin(
    entry: ModelEntry,
    source: str | None = None,
    revision: str | None = None,
    *,
    random: bool = False,
    seed: int = 0,
    weights: Checkpoint | None = None,
    clips: list[str] | None,
    output: Path | None,
) -> Work:
    if random and source:
        raise UsageError("--random and --source exclude each other")
    if random:
        weights = Checkpoint(None, "random", "random", seed)
    need_torch()
    from engines.work import Work, begin

    with step(f"weights of {entry.id}"):
        weights, model = begin(entry, weights, source=source, revision=revision)
    return Work(entry, weights, model, folder_of(entry.id, output), tuple(clips or ()))


def _export(work: Work, precision: Precision) -> None:
    started = time.monotonic()
    with bar(f"export {precision}") as progress:
        path = work.export(precision, progress)
    size = sum(each.stat().st_size for each in (path, *path.parent.glob(f"{path.name}.data")))
    seconds = time.monotonic() - started
    left = f", {work.left[precision]}" if precision in work.left else ""
    out.print(f"[green]exported[/] {path}  {size / 1e6:.1f} MB in {seconds:.0f} s{left}", soft_wrap=True)


def _verified(work: Work, precision: Precision) -> Verdict:
    with step(f"verify {precision}"):
        verdict = work.verify(precision)
    show_verdict(verdict)
    return verdict


def _agree(work: Work, precision: Precision, *, kept: bool) -> None:
    """Hold a graph to torch; ``kept``: one that does not agree is only told of."""
    verdict = _verified(work, precision)
    if verdict.passed:
        return
    if not kept:
        raise ModelError(
            failure(work.entry, verdict), hint="the layers above say where; other frames: --calibrate CLIP"
        )
    out.print(f"{precision} is kept: what eight bits cost is a matter of real weights", style="yellow")


def _verified_plan(work: Work, precision: Precision) -> Verdict | None:
    """Hold the plan that the service would take to torch; None where there is none, or none that runs here."""
    from streamcap.models.tensorrt import TensorRtEngine

    if not any(work.folder.glob(f"{precision}-tensorrt*.plan")):
        return None
    try:
        engine = TensorRtEngine.open(work.folder, read_graph(work.path(precision)), what="the plan")
    except ModelLoadError as error:
        err.print(f"[yellow]plan not compared[/]: {escape(str(error))}", soft_wrap=True)
        return None
    with closing(engine), step(f"verify the plan of {precision}"):
        verdict = work.verify_engine(precision, engine)
    show_verdict(verdict)
    return verdict


def _as_exported(entry: ModelEntry, info: GraphInfo) -> ModelEntry:
    """The entry with the grid that a graph was exported with."""
    if info.patches is None:
        return entry
    return entry.model_copy(update={"grid": (info.patches.frames, info.patches.rows, info.patches.columns)})
