"""What plans are to be compiled, and compiling them: the part of the command line that ``make`` and ``build`` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from engines.manifest import ModelEntry
from engines.report import bar, err, out
from streamcap.errors import ModelError, UsageError, WeightsUnavailable
from streamcap.models.graph import GraphInfo, Precision, read_graph
from streamcap.models.plans import BatchProfile

if TYPE_CHECKING:
    from streamcap.models.tensorrt import Library

__all__ = ["compilable", "compile_graphs", "graph_info", "numbers", "profile_of"]


def numbers(text: str, option: str) -> list[int]:
    """The numbers that an option gives.

    Raises:
        UsageError: they are none.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UsageError(f"{option} {text}: whole numbers from 1, with commas between")
    return numbers


def profile_of(entry: ModelEntry, batch: str | None) -> BatchProfile:
    """The batches that plans are to serve: those of ``--batch``, or the model's own.

    Raises:
        UsageError: ``--batch`` is not three numbers that grow.
    """
    if batch is None:
        return entry.profile
    sizes = numbers(batch, "--batch")
    if len(sizes) != 3 or sizes != sorted(sizes):
        raise UsageError(f"--batch {batch}: three numbers that grow", hint="such as 1,8,64")
    return BatchProfile(least=sizes[0], best=sizes[1], most=sizes[2])


def graph_info(folder: Path, precision: Precision, entry: ModelEntry) -> GraphInfo:
    """The sidecar of a graph that is there.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    path = folder / f"{precision}.onnx"
    if not path.is_file():
        hint = f"python -m engines make {entry.words} --precision {precision}"
        raise WeightsUnavailable(f"there is no {precision} graph in {folder}", hint=hint)
    return read_graph(path)


def compilable(
    precisions: list[Precision], targets: list[str] | None, *, must: bool
) -> tuple[Library | None, list[Precision]]:
    """The library, and what it can compile here or for the targets.

    What it cannot is told of; where there ``must`` be plans, it is an error.

    Raises:
        ModelError: there must be plans, and no library or GPU that can.
        UsageError: there must be plans, and the library does not compile one for a target.
    """
    from engines.build import targets_of
    from streamcap.models.tensorrt import load_library

    able: list[Precision] = []
    try:
        library = load_library()
    except ModelError as error:
        if must:
            raise
        err.print(f"[yellow]no plan[/]: {escape(str(error))}", soft_wrap=True)
        return None, able
    for precision in precisions:
        if precision is Precision.INT8_DYNAMIC:
            continue  # for processors: TensorRT has no ranges that are found at run time
        try:
            targets_of(library, targets or (), precision)
        except (ModelError, UsageError) as error:
            if must:
                raise
            err.print(f"[yellow]no plan of {precision}[/]: {escape(str(error))}", soft_wrap=True)
        else:
            able.append(precision)
    return library, able


def compile_graphs(
    entry: ModelEntry,
    folder: Path,
    library: Library,
    precisions: list[Precision],
    targets: list[str] | None,
    profile: BatchProfile,
) -> dict[Precision, Path]:
    """Compile graphs; where plans were written.

    Raises:
        ModelError: a graph is missing, damaged or cannot be compiled, or the disk is full.
    """
    from engines.build import build_plan

    written: dict[Precision, Path] = {}
    for precision in precisions:
        info = graph_info(folder, precision, entry)
        with bar(f"{library.builder} {precision}") as progress:
            built = build_plan(
                folder / f"{precision}.onnx",
                info,
                library=library,
                profile=profile,
                targets=tuple(targets or ()),
                progress=progress,
            )
        out.print(
            f"[green]compiled[/] {built.path}  {built.size / 1e6:.1f} MB in {built.seconds:.0f} s for "
            f"{', '.join(built.architectures)}",
            soft_wrap=True,
        )
        written[precision] = built.path
    return written
