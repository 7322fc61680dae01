"""What the benchmarks share: results and their tables, where they are written, and how they are shown."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from benchmarks.machine import Machine, describe_machine

__all__ = [
    "DOCS",
    "IMAGES",
    "RESULTS",
    "ROOT",
    "SCRATCH",
    "SHARED",
    "Aim",
    "CannotRun",
    "Quick",
    "Result",
    "Saved",
    "Table",
    "as_json",
    "conclude",
    "median",
    "per_second",
    "percentile",
    "progress",
    "replace_between",
    "save",
    "show",
    "write",
]

ROOT = Path(__file__).resolve().parent.parent
# Real clips, stress files and the scorer lie beside the checkout; who has none of them still gets the other figures.
SHARED = ROOT.parent / "shared"
RESULTS = ROOT / "benchmarks" / "results"
# Where a quick run writes: its figures are for the eye, not for the documentation.
SCRATCH = ROOT / "out" / "bench"
DOCS = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"

Quick = Annotated[bool, typer.Option("--quick", help="A short version; the documentation is left as it is.")]


class CannotRun(Exception):
    """A benchmark lacks what it needs; the message says what."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Something that was set out to be reached.

    Attributes:
        what: the figure.
        wanted, got: with their units.
    """

    what: str
    wanted: str
    got: str
    met: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table of ready-made cells; the first column is left-aligned, the others right-aligned."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""

    def markdown(self) -> str:
        """As a table of GitHub's Markdown, its title above it."""
        lines = [f"**{self.title}**", ""] if self.title else []
        lines += ["| " + " | ".join(self.headers) + " |", "|---" + "|---:" * (len(self.headers) - 1) + "|"]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows]
        return "\n".join(lines)

    def show(self, console: Console) -> None:
        """Print it."""
        table = RichTable(title=self.title or None, title_justify="left")
        for index, header in enumerate(self.headers):
            table.add_column(header, justify="right" if index else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)


@dataclass(slots=True)
class Result:
    """What one benchmark found.

    Attributes:
        name: of its file and of its place in the documentation.
        settings: what was run, enough to run it again.
        figures: plain numbers, lists and dictionaries of them.
        image: file name of a plot in ``docs/images``, or empty.
        quick: from a short run.
        partial: something that belongs to it could not be measured, so the documentation keeps its older figures.
    """

    name: str
    settings: dict[str, Any]
    figures: dict[str, Any]
    tables: list[Table]
    aims: list[Aim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    image: str = ""
    quick: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """A result that was written.

    Attributes:
        where: for a person.
    """

    machine: Machine
    where: str


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0..1) of the values lie, linear between two of them.

    Raises:
        ValueError: there are no values, or ``share`` is out of range.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError(f"no percentile {share} of {len(values)} values")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def median(values: Sequence[float]) -> float:
    """The middle value. Raises ValueError where there is none."""
    return percentile(values, 0.5)


def per_second(work: Callable[[int], int], threads: int) -> float:
    """How much so many threads get done together in a second.

    Args:
        work: given the number of its thread; says how much it has done.
    """
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    return done / (time.perf_counter() - began)


def replace_between(text: str, name: str, body: str) -> str:
    """Put ``body`` between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``; all else stays.

    Raises:
        ValueError: the markers are not there, each once and in this order.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    start, stop = text.find(begin), text.find(end)
    if text.count(begin) != 1 or text.count(end) != 1 or stop < start:
        raise ValueError(f"needs one {begin} and one {end} after it")
    return f"{text[: start + len(begin)]}\n{body.strip()}\n{text[stop:]}"


def as_json(result: Result, machine: Machine) -> dict[str, Any]:
    """A result as it is written: what, where and when it was measured, and the figures."""
    return {
        "benchmark": result.name,
        "quick": result.quick,
        "partial": result.partial,
        "machine": asdict(machine),
        "settings": result.settings,
        "figures": result.figures,
        "aims": [asdict(aim) for aim in result.aims],
        "notes": result.notes,
    }


def section(result: Result, machine: Machine) -> str:
    """A result as its section of the documentation, in Markdown."""
    parts = [table.markdown() for table in result.tables]
    if result.image:
        parts.append(f"![{result.name}](images/{result.image})")
    if result.aims:
        parts.append("\n".join(f"* {_told(aim)}" for aim in result.aims))
    parts += result.notes
    parts.append(f"<sub>{machine.line()}</sub>")
    return "\n\n".join(parts)


def write(result: Result, machine: Machine, folder: Path) -> Path:
    """Write a result's JSON and return where it lies."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    path.write_text(json.dumps(as_json(result, machine), indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def save(result: Result, load_before: float) -> Saved:
    """Write the JSON and, where it is a full result, its section of the documentation.

    Args:
        load_before: load average when the benchmark began.
    """
    machine = describe_machine(load_before)
    lasting = not (result.quick or result.partial)
    path = write(result, machine, RESULTS if lasting else SCRATCH)
    if lasting:
        DOCS.write_text(replace_between(DOCS.read_text("utf-8"), result.name, section(result, machine)), "utf-8")
    where = f"{_shown(path)}, {_shown(DOCS)}" if lasting else f"{_shown(path)} (the documentation is left as it is)"
    return Saved(machine, where)


def show(result: Result, saved: Saved) -> None:
    """Print a result's tables, aims and notes, and where it was written."""
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, soft_wrap=not terminal, width=None if terminal else 180)
    for table in result.tables:
        table.show(console)
    for aim in result.aims:
        console.print(_told(aim), markup=False)
    for note in (*result.notes, saved.machine.line()):
        console.print(note, style="dim", markup=False)
    console.print(f"written: {saved.where}", markup=False)


def conclude(measure: Callable[[], Result]) -> None:
    """Run one benchmark from its own command line: measure and publish, or say why it cannot run (exit code 0)."""
    from streamcap.errors import StreamcapError

    load = describe_machine().load_before
    try:
        result = measure()
    except CannotRun as reason:
        typer.echo(f"not run: {reason}", err=True)
        return
    except StreamcapError as error:
        typer.echo(f"failed: {error}", err=True)
        raise typer.Exit(1) from error
    show(result, save(result, load))


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr, where that is a terminal; call what it yields, with what was done, after each step."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(), TextColumn("[dim]{task.fields[last]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, last="")

        def step(last: str) -> None:
            bar.update(task, advance=1, last=last)

        yield step


def _told(aim: Aim) -> str:
    return f"{'✓' if aim.met else '✗'} {aim.what}: {aim.got} (aim: {aim.wanted})"


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
