"""``streamcap watch``: a live subscriber in the terminal."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from streamcap.cli.output import LineConsole, line_of, reader_may_go
from streamcap.cli.signals import stop_on_signals
from streamcap.client import Feed, Gap, subscribe
from streamcap.wire import HelloMessage, Message, SnapshotMessage, StreamState, encode

__all__ = ["follow", "watch"]


def watch(
    url: Annotated[str, typer.Argument(help="ws://HOST:PORT for all streams of a server, or the address of one feed.")],
    drafts: Annotated[bool, typer.Option("--drafts", help="Show drafts (~) before they become final.")] = False,
    events: Annotated[bool, typer.Option("--events", help="Show events (!) beside captions.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every message of the feed as it came, one a line.")] = False,
    after: Annotated[int | None, typer.Option(min=0, help="Resume after this sequence number (one stream).")] = None,
    epoch: Annotated[str | None, typer.Option(help="Epoch that the number belongs to, from a hello.")] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="STREAMCAP_TOKEN", help="For a server that asks for one. Better in the environment."),
    ] = None,
) -> None:
    """Follow a feed until it ends or Ctrl-C; comes back by itself after a loss, without a hole.

    Signs: = a full caption, + what changed, ~ a draft, ! an event, Σ a summary, # the state of the stream.
    """
    subscription = subscribe(url, after=after, epoch=epoch, interim=drafts or as_json, token=token)
    asyncio.run(_watch(subscription, events=events, as_json=as_json))


async def _watch(subscription: AbstractAsyncContextManager[Feed], *, events: bool, as_json: bool) -> None:
    async with subscription as feed:
        with stop_on_signals(feed.close):
            await follow(feed, events=events, as_json=as_json)


async def follow(feed: Feed, *, events: bool = False, as_json: bool = False) -> None:
    """Print a feed until it ends. A cancelled call has printed whole lines only."""
    console = LineConsole(sys.stdout)
    streams: set[str] = set()
    async for message in feed:
        if isinstance(message, Gap):
            _tell_gap(message)
        elif as_json:
            with reader_may_go():
                sys.stdout.write(encode(message) + "\n")
                sys.stdout.flush()
        else:
            if isinstance(message, HelloMessage) and message.stream in streams:
                console.print(Text("         #  the connection was lost and is back", "magenta"))
            streams.add(message.stream or "")
            for line in _lines(message, events=events):
                prefix = Text(f"{message.stream or '':<12} ", "dim") if len(streams) > 1 else Text()
                console.print(prefix + line)


def _tell_gap(gap: Gap) -> None:
    """On stderr: in a pipe it would pass for a message of the feed."""
    upto = f"to {gap.upto}" if gap.upto is not None else "on: the server began its numbers anew"
    line = f"#  {gap.stream}: messages from {gap.after + 1} {upto} are lost"
    Console(stderr=True, highlight=False).print(line, style="magenta")


def _lines(message: Message, *, events: bool) -> list[Text]:
    """What is printed of one message.

    Of a snapshot it is the newest caption, so that a late joiner knows the scene, and what is wrong with the stream.
    """
    parts: tuple[Message, ...] = (message,)
    if isinstance(message, SnapshotMessage):
        status = message.status
        wrong = (status,) if status is not None and status.state is not StreamState.LIVE else ()
        parts = (*message.recent[-1:], *wrong)
    return [line for part in parts if (line := line_of(part, events=events)) is not None]
