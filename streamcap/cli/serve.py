"""``streamcap serve``: many streams in, one feed out."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from streamcap.cli.signals import stop_on_signals
from streamcap.config import DEFAULT_PORT, Settings, load_settings, parse_settings
from streamcap.errors import UsageError

if TYPE_CHECKING:
    from streamcap.models.pool import Models

__all__ = ["serve"]


def serve(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (TOML).")] = None,
    stream: Annotated[
        list[str] | None, typer.Option("--stream", metavar="ID=SOURCE", help="A stream to watch; may be repeated.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.", show_default=str(DEFAULT_PORT))
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder for a durable journal; this version keeps its journal in memory.")
    ] = None,
) -> None:
    """Watch streams and serve their captions over websockets until stopped.

    Settings come from the file; what is given here is added or wins. A file as SOURCE is played once at its own speed,
    with ?loop=1 for ever.
    """
    settings = _settings(config, stream or [], {"host": host, "port": port, "data": data})
    if not settings.streams:
        raise UsageError("no stream to watch", hint="name one: streamcap serve --stream door=rtsp://camera/stream")
    from streamcap.cli.loading import load_models

    with load_models() as models:
        asyncio.run(_serve(settings, models))


async def _serve(settings: Settings, models: Models) -> None:
    from streamcap.server.service import running

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    async with running(settings, models) as service:
        with stop_on_signals(service.stop):
            url = service.listening.url
            console.print(f"[bold]streamcap[/] serves {len(settings.streams)} stream(s) on {url}")
            for stream in settings.streams:
                console.print(f"  {url}/v1/streams/{stream.id}/captions")
            if not _is_loopback(settings.server.host):
                console.print("[yellow]warning:[/] anybody who can reach this address can read the feed")
            if settings.server.data is not None:
                console.print("[yellow]warning:[/] --data is not used yet: the journal lives in memory")
            console.print(f"[dim]read it with: streamcap watch {url}    Ctrl-C stops[/]")
            await service.wait()
            console.print("[dim]stopping[/]")


def _settings(config: Path | None, streams: list[str], server: dict[str, object]) -> Settings:
    base = load_settings(config) if config is not None else Settings()
    added = []
    for item in streams:
        name, separator, source = item.partition("=")
        if not separator or not name or not source:
            raise UsageError(f"--stream {item}: not ID=SOURCE", hint="for example --stream door=rtsp://camera/stream")
        added.append({"id": name, "source": source})
    given = {key: value for key, value in server.items() if value is not None}
    merged = {
        "server": {**base.server.model_dump(), **given},
        "streams": [*(stream.model_dump() for stream in base.streams), *added],
    }
    return parse_settings(merged, "options")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
