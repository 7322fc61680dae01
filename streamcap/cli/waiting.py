"""Says on stderr that a source waits for its sender, and for how long: nothing else shows that it works."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from rich.console import Console

__all__ = ["remind", "until_sent"]

# Seconds from one line to the next where it is no such terminal: told at first, and not so often that it fills a log.
REMIND_FIRST_S: Final = 60.0


@asynccontextmanager
async def until_sent(source: str) -> AsyncIterator[Callable[[], None] | None]:
    """Tell where somebody has to send to, until what this gives is called or the block is left.

    On a terminal that can take a line back, one line counts the seconds, and is gone in the end. Gives None, and tells
    nothing, where the source is one that is called.
    """
    from streamcap.sources import parse

    address = parse(source)
    if not address.waits:
        yield None
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    line = f"listening for a sender to {address.shown}"
    if console.is_interactive:
        from rich.progress import Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(
            *columns, console=console, transient=True, refresh_per_second=1, redirect_stdout=sys.stdout.isatty()
        ) as progress:
            progress.add_task(line, total=None)
            yield progress.stop
        return

    def say(text: str) -> None:
        console.print(text, markup=False)

    say(line)
    reminding = asyncio.create_task(remind(address.shown, say, asyncio.sleep), name="remind")

    def stop() -> None:
        reminding.cancel()

    try:
        yield stop
    finally:
        reminding.cancel()
        await asyncio.gather(reminding, return_exceptions=True)


async def remind(shown: str, say: Callable[[str], None], sleep: Callable[[float], Awaitable[object]]) -> None:
    """Say again and again that nobody has sent anything, at pauses that double; until cancelled."""
    waited, pause = 0.0, REMIND_FIRST_S
    while True:
        await sleep(pause)
        waited, pause = waited + pause, 2 * pause
        say(f"nobody has sent anything to {shown} for {waited / 60:.0f} min")
