"""``streamcap models``: what weights there are, which are here, and how to get them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from streamcap.errors import StreamcapError, UsageError, WeightsCorrupt, WeightsUnavailable

if TYPE_CHECKING:
    from streamcap.models.resolver import Progress, Resolver, Status

__all__ = ["models_app", "weights_progress"]

models_app = typer.Typer(
    name="models", help="The weights that streamcap runs on: list, fetch and check them.", no_args_is_help=True
)

# A plain log shows how far a fetch has come only where it takes a while.
_WORTH_QUARTERS = 10_000_000

_STATE_STYLE = {"cached": "green", "absent": "yellow", "damaged": "red"}


@models_app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, one JSON document.")] = False,
) -> None:
    """What there is: role, size, licence, upstream, and whether it is cached."""
    statuses = _resolver().status()
    if as_json:
        typer.echo(json.dumps([_as_dict(status) for status in statuses], indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "role", "size", "licence", "needed by", "state"):
        table.add_column(column, no_wrap=True)
    for status in statuses:
        entry = status.entry
        state = f"[{_STATE_STYLE[status.state]}]{status.state}"
        table.add_row(
            entry.id, entry.role, megabytes(entry.size), entry.licence, ", ".join(entry.required_by) or "-", state
        )
    out = Console(highlight=False)
    # In a pipe there is no width to fit in: nothing is cut off.
    out.print(table, width=None if out.is_terminal else 400)
    out.print("\nupstream", style="bold")
    for status in statuses:
        out.print(f"{status.entry.id}: {status.entry.upstream}", soft_wrap=True)


@models_app.command("pull")
def pull_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IDS", help="Ids of models, or what needs them: default (if nothing is said), demo, outlines."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that the catalog holds.")] = False,
) -> None:
    """Fetch weights into the cache; what is there already costs nothing."""
    resolver = _resolver()
    if everything and names:
        raise UsageError("--all and names of models exclude each other")
    names = [entry.id for entry in resolver.catalog.entries] if everything else (names or ["default"])
    out = Console(stderr=True, highlight=False)
    failed: list[StreamcapError] = []
    for wanted, fallbacks in resolver.plan(names):
        try:
            with weights_progress(out) as progress:
                entry, path = resolver.obtain(wanted, fallbacks, progress=progress)
        except (WeightsUnavailable, WeightsCorrupt) as error:
            failed.append(error)
            continue
        out.print(f"[green]ok[/] {entry.id}  {megabytes(entry.size)}  {escape(str(path))}", soft_wrap=True)
    # The last one speaks through the program's own error line.
    for failure in failed[:-1]:
        out.print(f"[red]failed[/] {escape(str(failure))}\n  {escape(failure.hint)}", soft_wrap=True)
    if failed:
        raise failed[-1]


@models_app.command("verify")
def verify_models() -> None:
    """Read all cached files again and compare them with their hashes."""
    resolver = _resolver()
    out = Console(highlight=False)
    damaged = []
    for entry in resolver.catalog.entries:
        status = resolver.status_of(entry, rehash=True)
        place = escape(str(status.path))
        out.print(f"[{_STATE_STYLE[status.state]}]{status.state:8}[/] {entry.id}  {place}", soft_wrap=True)
        if status.state == "damaged":
            damaged.append(entry.id)
    if damaged:
        raise WeightsCorrupt(
            f"{', '.join(damaged)}: the cached file does not match its hash",
            hint=f"streamcap models pull {' '.join(damaged)}",
        )


@contextlib.contextmanager
def weights_progress(console: Console | None = None) -> Iterator[Progress]:
    """Show fetches: bars on a terminal, else a line when one begins and at each further quarter.

    Args:
        console: where to; None for stderr.
    """
    console = console or Console(stderr=True, highlight=False)
    if not console.is_interactive:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        yield _BarPerFetch(bars)


class _BarPerFetch:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, done: int, total: int, what: str, /) -> None:
        if what not in self._tasks:
            for earlier in self._tasks.values():  # one fetch at a time: what came before is over
                self._bars.update(earlier, visible=False)
            self._tasks[what] = self._bars.add_task(what, total=None)
        self._bars.update(self._tasks[what], completed=done, total=total or None)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, int] = {}

    def __call__(self, done: int, total: int, what: str, /) -> None:
        quarter = 4 * done // total if total >= _WORTH_QUARTERS else 0
        if quarter <= self._shown.get(what, -1):
            return
        self._shown[what] = quarter
        share = f": {25 * quarter} % of {megabytes(total)}" if quarter else ""
        self._console.print(f"fetching {what}{share}", soft_wrap=True)


def megabytes(size: int) -> str:
    """A size in bytes as a person reads it."""
    return f"{size / 1e6:.1f} MB"


def _as_dict(status: Status) -> dict[str, object]:
    entry = status.entry
    return {
        **entry.model_dump(include={"id", "role", "runtime", "size", "sha256", "licence", "upstream", "required_by"}),
        "fallback": entry.fallback,
        "sources": [str(source) for source in entry.sources],
        "state": str(status.state),
        "cached": status.cached,
        "path": str(status.path),
    }


def _resolver() -> Resolver:
    """Imported late: a subscriber installs without what it needs."""
    try:
        from streamcap.models.resolver import Resolver

        return Resolver()
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed", hint="pip install 'streamcap[cpu]'") from error
