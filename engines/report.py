"""What ``python -m engines`` prints: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from engines.manifest import Manifest, ModelEntry
from engines.progress import Progress as Listener
from engines.progress import quiet

if TYPE_CHECKING:
    from engines.work import Verdict

__all__ = ["bar", "err", "failure", "out", "show_models", "show_verdict", "step"]

# In a pipe there is no width to fit in: nothing is cut off.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False)

# Layers of a report that are shown: what comes after follows from these.
_WORST = 12
# Letters before a bar: compilers have long names for what they do.
_WIDEST = 70


def show_models(manifest: Manifest, root: Path) -> None:
    """What engines can be made of, and then all that lies in the cache, of whatever name."""
    table = _table("model", "weights", "licence", "precisions")
    for entry in manifest.models:
        table.add_row(entry.id, entry.hub, entry.licence, " ".join(entry.precisions))
    out.print(table)
    made = _table("made", "graphs", "plans")
    for folder in sorted(folder for folder in root.glob("*") if folder.is_dir()):
        graphs = [path.stem for path in sorted(folder.glob("*.onnx"))]
        if graphs:
            made.add_row(folder.name, " ".join(graphs), str(len(list(folder.glob("*.plan")))))
    if made.row_count:
        out.print()
        out.print(made)
    else:
        out.print(f"nothing is made yet in {root}", style="dim", soft_wrap=True)


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="bold")


def show_verdict(verdict: Verdict) -> None:
    """A line for each output, and where it failed the layers that differ most."""
    precision = verdict.precision
    state = "[green]agrees[/]" if verdict.passed else "[bold red]differs[/]"
    for found, wanted in zip(verdict.outputs, verdict.wanted, strict=True):
        out.print(
            f"{state} {precision} {found.output}: least {found.least:.5f}, mean {found.mean:.5f} of {found.pictures} "
            f"pictures (at least {wanted:g}; by {verdict.by})",
            soft_wrap=True,
        )
    if verdict.layers:
        table = Table("layer", "operator", "place", "cosine", "largest error", box=None, header_style="bold")
        for layer in verdict.layers[:_WORST]:
            table.add_row(layer.name, layer.operator, str(layer.place), f"{layer.cosine:.5f}", f"{layer.error:.2f} σ")
        out.print(table)


def failure(entry: ModelEntry, verdict: Verdict) -> str:
    """What an error says of a graph that does not agree."""
    pairs = zip(verdict.outputs, verdict.wanted, strict=True)
    worst = min(pairs, key=lambda pair: pair[0].least - pair[1])
    return (
        f"{entry.id} {verdict.precision} does not agree with torch: {worst[0].output} {worst[0].least:.5f}, "
        f"at least {worst[1]:g} is needed"
    )


@contextmanager
def step(what: str) -> Iterator[None]:
    """Something that takes a while: a spinner on a terminal, else a line."""
    if not err.is_terminal:
        err.print(what, style="dim")
        yield
        return
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=err, transient=True
    ) as shown:
        shown.add_task(what, total=None)
        yield


@contextmanager
def bar(what: str) -> Iterator[Listener]:
    """Something of several phases: a bar for the one that it is in on a terminal, else a line for all."""
    if not err.is_terminal:
        err.print(what, style="dim")
        yield quiet
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )  # fmt: skip
    with Progress(*columns, console=err, transient=True) as shown:
        task = shown.add_task(what, total=None)

        def progress(phase: str, done: int, total: int) -> None:
            shown.update(task, description=f"{what}: {phase}"[:_WIDEST], completed=done, total=total)

        yield progress
