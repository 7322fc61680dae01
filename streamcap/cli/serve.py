"""``streamcap serve``: many streams in, one feed out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from streamcap.cli.loading import DetectorOption, DeviceOption, EncoderOption, load_models
from streamcap.cli.signals import stop_on_signals
from streamcap.config import DEFAULT_PORT, Settings, is_loopback, load_settings, parse_settings
from streamcap.errors import UsageError
from streamcap.tokens import guard_for

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
        Path | None,
        typer.Option(
            help="Folder of the journal: captions, events and numbers outlive a restart.", show_default="in memory"
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(help="File of bearer tokens (streamcap token).", show_default="tokens.json in --data"),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine although nobody needs a token.")
    ] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM) for https and wss.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    encoder: EncoderOption = None,
    detector: DetectorOption = None,
    device: DeviceOption = None,
) -> None:
    """Watch streams and serve their captions over websockets until stopped.

    Settings come from the file; what is given here is added or wins. A file as SOURCE is played once at its own speed,
    with ?loop=1 for ever.
    """
    security: dict[str, object] = {
        "tokens": tokens,
        "insecure": insecure or None,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
    }
    server = {"host": host, "port": port, "data": data}
    models_wanted = {"encoder": encoder, "detector": detector, "device": device}
    settings = _settings(config, stream or [], {"server": server, "security": security, "models": models_wanted})
    guard_for(settings)  # before anything is loaded or fetched
    with load_models(settings.models) as models:
        asyncio.run(_serve(settings, models))


async def _serve(settings: Settings, models: Models) -> None:
    from streamcap.server.limits import allow_open_files
    from streamcap.server.service import running

    # Who runs a service wants to read on its terminal that a camera failed; other commands say such things themselves.
    service_log = logging.getLogger("streamcap")
    if service_log.getEffectiveLevel() > logging.WARNING:
        service_log.setLevel(logging.WARNING)
    allow_open_files(settings.security.limits.connections)

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    async with running(settings, models) as service:
        with stop_on_signals(service.stop):
            url = service.listening.url
            console.print(f"[bold]streamcap[/] serves {len(service.hub.streams)} stream(s) on {url}")
            for stream in service.hub.streams:  # also those that were added over the API at an earlier run
                console.print(f"  {url}/v1/streams/{stream}/captions")
            for line in _warnings(settings):
                console.print(f"[yellow]warning:[/] {line}")
            if settings.server.data is None:
                console.print("[dim]captions are kept in memory; --data FOLDER keeps them over a restart[/]")
            else:
                console.print(f"[dim]journal: {escape(str(settings.server.data))}[/]")
            console.print(f"look at it: {url.replace('ws', 'http', 1)}/")
            console.print(f"[dim]read it with: streamcap watch {url}    Ctrl-C stops[/]")
            await service.wait()
            console.print("[dim]stopping[/]")


def _warnings(settings: Settings) -> list[str]:
    lines: list[str] = []
    if is_loopback(settings.server.host):
        return lines
    if not guard_for(settings).required:
        lines.append("anybody who can reach this address can read the feed")
    if settings.security.tls_cert is None:
        lines.append("without TLS, captions and tokens can be read on their way: --tls-cert, or a proxy that has it")
    return lines


def _settings(config: Path | None, streams: list[str], options: Mapping[str, Mapping[str, object]]) -> Settings:
    base = load_settings(config) if config is not None else Settings()
    added = []
    for item in streams:
        name, separator, source = item.partition("=")
        if not separator or not name or not source:
            raise UsageError(f"--stream {item}: not ID=SOURCE", hint="for example --stream door=rtsp://camera/stream")
        added.append({"id": name, "source": source})
    merged = base.model_dump()
    for section, given in options.items():
        merged[section] |= _given(given)
    merged["streams"] = [*merged["streams"], *added]
    return parse_settings(merged, "options")


def _given(options: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in options.items() if value is not None}
