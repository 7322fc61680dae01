"""``streamcap token``: who may use a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streamcap.errors import UsageError
from streamcap.tokens import TOKENS_FILE, Scope, TokenFile

__all__ = ["token_app"]

token_app = typer.Typer(
    name="token", help="Bearer tokens: who may read, publish and manage which streams.", no_args_is_help=True
)

_Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="STREAMCAP_DATA", help=f"Data folder of the server; {TOKENS_FILE} lies in it."),
]
_Tokens = Annotated[Path | None, typer.Option("--tokens", envvar="STREAMCAP_TOKENS", help="File of tokens.")]


@token_app.command()
def create(
    scope: Annotated[
        list[Scope], typer.Option("--scope", help="What it allows; may be repeated. admin includes the others.")
    ],
    stream: Annotated[
        list[str] | None,
        typer.Option("--stream", metavar="PATTERN", help="Streams it is for, with * and ?; may be repeated. All."),
    ] = None,
    name: Annotated[str, typer.Option(help="For people, such as whose it is.")] = "",
    data: _Data = None,
    tokens: _Tokens = None,
) -> None:
    """Make a token and print it, once: only its hash is kept. A running server takes it within seconds."""
    file = _file(data, tokens)
    made, secret = file.create(scope, stream or ("*",), name)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(
        f"token {made.id}: {', '.join(made.scopes)} on {', '.join(made.streams)}, kept as a hash in {file.path}",
        markup=False,
    )
    sys.stdout.write(secret + "\n")


@token_app.command("list")
def list_tokens(data: _Data = None, tokens: _Tokens = None) -> None:
    """Show the tokens, without their secrets."""
    table = Table("id", "name", "scopes", "streams", "created", box=None, pad_edge=False)
    for token in _file(data, tokens).read():
        created = token.created.strftime("%Y-%m-%d")
        table.add_row(token.id, token.name, " ".join(token.scopes), " ".join(token.streams), created)
    Console(markup=False, highlight=False).print(table)


@token_app.command()
def revoke(
    which: Annotated[str, typer.Argument(metavar="ID|NAME", help="Id of a token, or the name of one or several.")],
    data: _Data = None,
    tokens: _Tokens = None,
) -> None:
    """Take a token away. A running server refuses it within seconds, and closes what is open with it."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for token in _file(data, tokens).revoke(which):
        console.print(f"revoked {token.id} {token.name}".rstrip(), markup=False)


def _file(data: Path | None, tokens: Path | None) -> TokenFile:
    if tokens is not None:
        return TokenFile(tokens)
    if data is not None:
        return TokenFile(data / TOKENS_FILE)
    raise UsageError("where are the tokens?", hint="give --data FOLDER as to `streamcap serve`, or --tokens FILE")
