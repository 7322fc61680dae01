"""``streamcap ask``: a question about a stream of a running server."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer
from rich.text import Text

from streamcap.cli.output import LineConsole, clock, reader_may_go
from streamcap.questions import TIMEOUT_S, ask

__all__ = ["ask_command"]


def ask_command(
    url: Annotated[str, typer.Argument(help="The server, such as http://127.0.0.1:8750.")],
    stream: Annotated[str, typer.Argument(help="Id of the stream.")],
    question: Annotated[str, typer.Argument(help="In your words.")],
    at: Annotated[float | None, typer.Option(min=0, help="About this moment, media seconds.")] = None,
    start: Annotated[float | None, typer.Option("--from", min=0, help="About what came after, media seconds.")] = None,
    end: Annotated[float | None, typer.Option("--to", min=0, help="About what came before, media seconds.")] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="STREAMCAP_TOKEN", help="For a server that asks for one. Better in the environment."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Longest wait, seconds.")] = TIMEOUT_S,
) -> None:
    """Ask something about a stream; the answer cites moments. For a server with a vision–language model."""
    answer = asyncio.run(ask(url, stream, question, at=at, start=start, end=end, token=token, timeout_s=timeout))
    console = LineConsole(sys.stdout)
    with reader_may_go():
        console.print(Text(answer.text, "" if answer.answered else "dim"))
        if answer.read < answer.held:
            console.print(Text(f"# {answer.read:,} of {answer.held:,} messages were read, all over that time", "dim"))
        for cited in answer.evidence:
            console.print(Text.assemble((f"{clock(cited.t):>7}", "dim"), "  ", (cited.text or cited.image, "dim")))
