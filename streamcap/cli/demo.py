"""``streamcap demo``: the main job on a real clip, in one command."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from streamcap.cli.signals import stop_on_signals
from streamcap.cli.watch import follow
from streamcap.config import DEFAULT_PORT, ServerSettings, Settings, StreamSettings

if TYPE_CHECKING:
    from streamcap.models.catalog import Entry
    from streamcap.models.pool import Models

__all__ = ["demo"]


def demo(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="End after this many seconds.", show_default="at Ctrl-C")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the feed; 0 takes a free one.")] = DEFAULT_PORT,
) -> None:
    """Play a real clip as a live stream, caption it, serve the feed, and read that feed here."""
    from streamcap.cli.loading import load_models
    from streamcap.cli.models import weights_progress
    from streamcap.models.resolver import Resolver

    models = load_models()
    with weights_progress() as progress:
        entry, clip = Resolver().ensure_first("demo-clip", progress=progress)
    settings = Settings(server=ServerSettings(port=port), streams=(StreamSettings(id="demo", source=f"{clip}?loop=1"),))
    with models:
        asyncio.run(_demo(settings, models, entry, clip, seconds))


async def _demo(settings: Settings, models: Models, entry: Entry, clip: Path, seconds: float | None) -> None:
    from streamcap.client import subscribe
    from streamcap.server.service import running

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    async with running(settings, models) as service:
        url = service.listening.url
        console.print(f"[bold]streamcap demo[/]: {clip.name} ({entry.licence}) played as a live stream, over and over")
        console.print(f"[dim]the feed is open: streamcap watch {url}    Ctrl-C stops[/]")
        console.print("[dim]= full caption   + what changed   Σ summary[/]\n")
        async with subscribe(url, interim=False) as feed:
            reading = asyncio.create_task(follow(feed), name="demo-reader")
            with stop_on_signals(service.stop):
                await service.wait(seconds)
            await service.manager.stop()  # its last captions still reach the reader
            await asyncio.wait({reading}, timeout=2)
            await feed.close()
            await reading
