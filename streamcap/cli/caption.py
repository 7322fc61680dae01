"""``streamcap caption``: one source in, captions out."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from pydantic import ValidationError
from rich.console import Console

from streamcap.cli.loading import DetectorOption, DeviceOption, EncoderOption, load_models, models_wanted
from streamcap.cli.output import FileFeed, Format, writer_for
from streamcap.cli.signals import stop_on_signals
from streamcap.cli.vision import PANEL, marks_of, refuse_idle, shared_model, vision_settings
from streamcap.cli.waiting import until_sent
from streamcap.config import (
    DEFAULT_FPS,
    AnswerForm,
    CaptionerName,
    Contradiction,
    Profile,
    StreamSettings,
    VisionBackend,
    VisionMode,
    VisionSettings,
)
from streamcap.errors import UsageError
from streamcap.flow import SystemClock

if TYPE_CHECKING:
    from streamcap.captioners import SharedModel
    from streamcap.pipeline import Pipeline

__all__ = ["caption", "check_output", "progress_bar"]

# A file shorter than this (seconds) is done before a progress bar says anything.
WORTH_A_BAR_S = 20.0


def caption(
    source: Annotated[
        str,
        typer.Argument(
            help="File, folder, FILE?loop=1 (played live for ever), rtsp(s)://, http(s)://, rtmp://, srt://, udp://, "
            "device:/dev/video0 or test:"
        ),
    ],
    form: Annotated[Format, typer.Option("--format", "-f", help="How captions are written.")] = Format.TEXT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write here instead of to stdout.")] = None,
    captioner: Annotated[CaptionerName, typer.Option(help="Who makes the final text.")] = CaptionerName.GROUNDED,
    profile: Annotated[
        Profile,
        typer.Option(
            help="surveillance: every salient fact; commentary: what happens just now, smoothly; general: fewer."
        ),
    ] = Profile.SURVEILLANCE,
    fps: Annotated[
        float, typer.Option(min=0.1, max=60, help="Pictures analysed a second of video, at most.")
    ] = DEFAULT_FPS,
    start: Annotated[float | None, typer.Option("--from", min=0, help="Begin here, seconds.")] = None,
    end: Annotated[float | None, typer.Option("--to", min=0, help="End here, seconds.")] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play a file at its own speed, as if it were live.")
    ] = False,
    events: Annotated[bool, typer.Option("--events", help="Text format: show events beside captions.")] = False,
    timings: Annotated[bool, typer.Option("--timings", help="Print milliseconds per stage at the end.")] = False,
    prompt: Annotated[str, typer.Option(help="What the model is to heed, in your words.", rich_help_panel=PANEL)] = "",
    model: Annotated[
        str, typer.Option(help="Name that the server knows, hub id or folder.", rich_help_panel=PANEL)
    ] = "",
    backend: Annotated[
        VisionBackend, typer.Option(help="openai: a server; transformers: in this process.", rich_help_panel=PANEL)
    ] = VisionBackend.OPENAI,
    url: Annotated[
        str | None,
        typer.Option(help="Of the server.", show_default="http://127.0.0.1:8000/v1", rich_help_panel=PANEL),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(
            help="Environment variable that holds the server's key.",
            show_default="STREAMCAP_VISION_KEY",
            rich_help_panel=PANEL,
        ),
    ] = None,
    mode: Annotated[
        VisionMode,
        typer.Option(
            help="sliding: the picture before and now; grid: all pictures as one; recaption: the grounded text made "
            "dense.",
            rich_help_panel=PANEL,
        ),
    ] = VisionMode.SLIDING,
    marks: Annotated[
        str,
        typer.Option(
            help="Drawn on pictures: som, blur, frame-number, heat, with commas; or none.", rich_help_panel=PANEL
        ),
    ] = "som,frame-number",
    contradictions: Annotated[
        Contradiction,
        typer.Option(
            help="A text that contradicts what was perceived is told with a note, or the grounded text stands.",
            rich_help_panel=PANEL,
        ),
    ] = Contradiction.NOTE,
    answers: Annotated[
        AnswerForm,
        typer.Option(
            help="json: by a schema; text: plain sentences, for models too small for it.", rich_help_panel=PANEL
        ),
    ] = AnswerForm.JSON,
    encoder: EncoderOption = None,
    detector: DetectorOption = None,
    device: DeviceOption = None,
) -> None:
    """Say what happens in one video or live stream.

    Signs in the text format: = a full caption, + what changed, ! an event, Σ a summary, # the state of the stream.
    """
    if start is not None and end is not None and end <= start:
        raise UsageError(f"--to {end:g} is not after --from {start:g}")
    from streamcap.sources import SourceOptions, check, open_source

    settings = _stream_settings(
        source=source, fps=fps, profile=profile, captioner=captioner, prompt=prompt, mode=mode, marks=marks_of(marks),
        contradictions=contradictions,
    )  # fmt: skip
    wants_model = captioner is CaptionerName.VISION
    if not wants_model:
        refuse_idle({"--prompt": prompt, "--model": model, "--url": url, "--key-env": key_env})
    vision = vision_settings(backend, model, url, key_env, device, answers) if wants_model else None
    wanted = models_wanted(encoder=encoder, detector=detector, device=device)
    clock = SystemClock()
    options = SourceOptions(stream=settings.id, fps=fps, start=start, end=end, realtime=realtime, clock=clock)
    check_output(output, source)
    check(source)  # a wrong name must not cost the wait for models, or the download of their weights

    models = load_models(wanted)
    from streamcap.pipeline import Pipeline  # read meanwhile

    with models, ExitStack() as files:
        feed = FileFeed(lambda: writer_for(form, files.enter_context(_opened(output)), events=events))

        def make(on_progress: Callable[[float], None], shared: SharedModel | None) -> Pipeline:
            return Pipeline(
                settings,
                lambda notify: open_source(source, replace(options, gpu_decode=models.gpu_decode, on_notice=notify)),
                replace(models, vision=shared),
                feed,
                clock,
                on_progress=on_progress,
            )

        try:
            pipeline, seconds = asyncio.run(_run(source, make, vision, clock))
        finally:
            feed.finish()
    _conclude(pipeline, feed, seconds, timings=timings)


def _stream_settings(**given: Any) -> StreamSettings:
    try:
        return StreamSettings(id="caption", **given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{first['loc'][0]}: {first['msg']}") from error


async def _run(
    source: str,
    make: Callable[[Callable[[float], None], SharedModel | None], Pipeline],
    vision: VisionSettings | None,
    clock: SystemClock,
) -> tuple[Pipeline, float]:
    async with shared_model(vision, clock) as shared:
        began = clock.monotonic()
        async with until_sent(source) as sent:
            with progress_bar("captioning", shown=sent is None) as bar:

                def seen(pts: float) -> None:
                    if sent is not None:
                        sent()
                    bar(pts, pipeline.duration)

                pipeline = make(seen, shared)
                with stop_on_signals(pipeline.stop):
                    await pipeline.run()
    return pipeline, clock.monotonic() - began


def check_output(path: Path | None, source: str) -> None:
    """See that the output can be written, and is not the source, before anything long begins."""
    if path is None:
        return
    from streamcap.sources import Kind, parse

    origin = parse(source)
    if origin.kind is Kind.FILE and path.exists() and Path(origin.target).exists() and path.samefile(origin.target):
        raise UsageError(f"{path} is the source itself", hint="choose another --output")
    folder = path.resolve().parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"cannot write {path}", hint="is the folder there, and yours to write?")


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def progress_bar(doing: str, *, shown: bool = True) -> Iterator[Callable[[float, float | None], None]]:
    """A progress bar on stderr, where that is a terminal and the video is long."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not (shown and console.is_interactive),
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        task = progress.add_task(doing, visible=False, total=None)

        def tell(done: float, total: float | None) -> None:
            if total is not None and total >= WORTH_A_BAR_S:
                progress.update(task, completed=done, total=total, visible=True)

        yield tell


def _conclude(pipeline: Pipeline, feed: FileFeed, seconds: float, *, timings: bool) -> None:
    """The last line, on stderr: a person wants it, a pipe does not."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    media = pipeline.watched
    speed = f", {media / seconds:.1f}× real time" if seconds > 0 and media > 0 else ""
    dropped = f", {pipeline.source.drops} frames dropped" if pipeline.source.drops else ""
    console.print(f"[dim]{media:.1f} s of video in {seconds:.1f} s{speed}, {feed.captions} captions{dropped}[/]")
    if timings:
        for name, time in sorted(pipeline.stages.times.items(), key=lambda item: -item[1].seconds):
            cpu = f", {1e3 * time.cpu / time.count:.2f} ms of processor time" if time.cpu else ""
            console.print(f"[dim]{name:>12}  {time.mean_ms:7.2f} ms × {time.count}{cpu}[/]")
