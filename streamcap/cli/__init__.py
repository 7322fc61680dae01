"""The command line: ``streamcap --help``.

Exit codes: 0 done, 1 a defect of streamcap, 2 usage, 3 source, 4 model, 130 interrupted before anything ran.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from streamcap import __version__
from streamcap.cli.ask import ask_command
from streamcap.cli.caption import caption
from streamcap.cli.demo import demo
from streamcap.cli.doctor import doctor_command
from streamcap.cli.models import models_app
from streamcap.cli.output import ReaderGone
from streamcap.cli.prompt import prompt_command
from streamcap.cli.serve import serve
from streamcap.cli.token import token_app
from streamcap.cli.watch import watch
from streamcap.errors import StreamcapError

__all__ = ["app", "main"]

app = typer.Typer(
    name="streamcap",
    help="Watches live video and says what happens, as it happens.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(caption)
app.command()(serve)
app.command()(watch)
app.command("ask")(ask_command)
app.command("prompt")(prompt_command)
app.add_typer(models_app)
app.add_typer(token_app)
app.command("doctor")(doctor_command)
app.command()(demo)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamcap {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="More log on stderr; twice for all.")] = 0,
) -> None:
    level = (logging.ERROR, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def main() -> None:
    """Run the command line; never shows a traceback unless STREAMCAP_DEBUG is set."""
    try:
        app(prog_name="streamcap")
    except StreamcapError as error:
        _complain(str(error), error.hint)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        _complain("interrupted")
        sys.exit(130)
    except ReaderGone:
        # The reader has gone (`streamcap … | head`). What Python would still flush has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("STREAMCAP_DEBUG"):
            raise
        _complain(f"a defect of streamcap: {type(error).__name__}: {error}", "set STREAMCAP_DEBUG=1 to see where")
        sys.exit(1)


def _complain(line: str, hint: str = "") -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]streamcap:[/] {_plain(line)}")
    if hint:
        console.print(f"[dim]hint:[/] {_plain(hint)}")


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("[", r"\[")
