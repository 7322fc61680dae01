"""``streamcap prompt``: what a vision–language captioner would show and ask its model; needs no model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from streamcap.cli.caption import check_output, progress_bar
from streamcap.cli.loading import load_models
from streamcap.cli.output import reader_may_go
from streamcap.cli.signals import stop_on_signals
from streamcap.cli.vision import marks_of
from streamcap.config import (
    DEFAULT_FPS,
    AnswerForm,
    CaptionerName,
    Outlines,
    Profile,
    StreamSettings,
    VisionMode,
    VisionSettings,
)
from streamcap.errors import UsageError
from streamcap.flow import SystemClock

if TYPE_CHECKING:
    from streamcap.language import Description
    from streamcap.models.language import LanguageModel, Piece
    from streamcap.models.pool import Models
    from streamcap.prompts import Prompt
    from streamcap.types import Instance, Window
    from streamcap.wire import PublishableMessage

__all__ = ["prompt_command"]

# A window is closed within this time (media seconds) after its last fact, see captions.py.
CLOSED_S = 12.0
# Weights for outlines that are not cached are fetched first, for at most so long (seconds).
FETCH_S = 120.0
# Of the picture file, most pixels a side.
SHEET_SIDE = 2048


def prompt_command(
    source: Annotated[str, typer.Argument(help="File or test:, as of streamcap caption.")],
    at: Annotated[float, typer.Option("--at", min=0, help="The moment, seconds from the first picture.")],
    marks: Annotated[
        str, typer.Option(help="Drawn on pictures: som, blur, frame-number, heat, with commas; or none.")
    ] = "som,frame-number",
    outlines: Annotated[
        Outlines, typer.Option(help="silhouette: marks follow the body, where it can be cut out; box: never.")
    ] = Outlines.SILHOUETTE,
    mode: Annotated[VisionMode, typer.Option(help="How the model is shown what happened.")] = VisionMode.SLIDING,
    profile: Annotated[Profile, typer.Option(help="Who reads.")] = Profile.SURVEILLANCE,
    prompt: Annotated[str, typer.Option(help="What the model is to heed, in your words.")] = "",
    answers: Annotated[
        AnswerForm, typer.Option(help="json: by a schema; text: plain sentences, for models too small for it.")
    ] = AnswerForm.JSON,
    fps: Annotated[float, typer.Option(min=0.1, max=60, help="Pictures analysed a second of video.")] = DEFAULT_FPS,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the pictures here, a .png.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the prompt as JSON.")] = False,
) -> None:
    """Show what a model would be shown of one moment, and asked about it. No model is needed, nothing is sent.

    The window that ends at that moment or later is taken, and where nothing happened any more the last one before it.
    """
    settings = _settings(source=source, fps=fps, profile=profile, prompt=prompt, mode=mode, marks=marks_of(marks))
    _check_picture(output, source)
    from streamcap.language.words import noun
    from streamcap.sources import check

    check(source)
    models = load_models()
    with models:
        vision = VisionSettings(model="nobody", answers=answers, outlines=outlines)
        found, end = asyncio.run(_asked(settings, vision, at, models))
    if at > end + 1.0 / fps + 0.5:
        raise UsageError(f"--at {at:g}: {source} ends at {end:.1f} s")
    if found is None:
        raise UsageError(
            f"until {at:g} s nothing happened in {source} of which a model would be asked",
            hint="try a later --at; streamcap caption shows what happens when",
        )
    window, question = found
    if output is not None:
        _write(output, question)
    with reader_may_go():
        typer.echo(json.dumps(_as_dict(window, question), ensure_ascii=False) if as_json else _as_text(question))
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    seen = {i.id for look in window.looks for i in look.instances}
    told = (
        f"window {window.start:.1f}–{window.end:.1f} s, {noun('picture', len(question.pictures))}, "
        f"{noun('instance', len(seen)) if seen else 'no instances'}"
    )
    note = "" if seen else " (nothing to number)"
    console.print(f"[dim]{told}{note}{f', written to {output}' if output else ''}[/]")


def _settings(**given: Any) -> StreamSettings:
    from pydantic import ValidationError

    try:
        return StreamSettings(id="prompt", captioner=CaptionerName.VISION, **given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{first['loc'][0]}: {first['msg']}") from error


def _check_picture(path: Path | None, source: str) -> None:
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path} is no picture file", hint="give --output a name that ends in .png")
    check_output(path, source)


# ---- what the captioner asks, with a model that only listens


@dataclass(slots=True)
class _Listener:
    """A :class:`streamcap.models.language.LanguageModel` that keeps what it is asked, and has nothing to say."""

    asked: Prompt | None = None
    name: str = "nobody"

    async def generate(self, prompt: Prompt, *, timeout_s: float) -> AsyncGenerator[Piece, None]:
        """See :class:`streamcap.models.language.LanguageModel`."""
        from streamcap.models.language import Piece, Usage

        self.asked = prompt
        yield Piece("", Usage(0, 0))  # an answer that nobody can read: the grounded text stands

    def take(self) -> Prompt | None:
        """What was asked since the last call."""
        asked, self.asked = self.asked, None
        return asked

    async def close(self) -> None:
        """Nothing is held."""


class _Captioner:
    """The vision–language captioner; remembers the last window up to a moment, and what was asked about it."""

    def __init__(self, settings: StreamSettings, at: float, listener: _Listener, inner: Any) -> None:
        self._at, self._listener, self._inner = at, listener, inner
        self.name = str(inner.name)
        self.found: tuple[Window, Prompt] | None = None
        self.past = asyncio.Event()

    async def describe(self, window: Window) -> AsyncGenerator[Description, None]:
        """See :class:`streamcap.captioners.Captioner`."""
        self._listener.take()
        try:
            async for each in self._inner.describe(window):
                yield each
        finally:
            asked = self._listener.take()
            if asked is not None and window.start <= self._at:
                self.found = window, asked
            if window.end >= self._at:
                self.past.set()


class _Nobody:
    """A feed without readers."""

    async def publish(self, stream: str, message: PublishableMessage, /) -> None:
        """Nobody reads it."""

    def set_scene(self, stream: str, /, *, summary: str, instances: tuple[Instance, ...], camera: str) -> None:
        """Nobody joins."""

    def show_instances(self, stream: str, /, *, t: float, instances: tuple[Instance, ...]) -> None:
        """Nobody draws."""


async def _asked(
    settings: StreamSettings, vision: VisionSettings, at: float, models: Models
) -> tuple[tuple[Window, Prompt] | None, float]:
    """The window of a moment with its prompt, and how far the source was watched (media seconds)."""
    from streamcap.captioners import SharedModel
    from streamcap.captioners.vision import VisionCaptioner
    from streamcap.pipeline import Pipeline
    from streamcap.sources import SourceOptions, open_source

    clock, listener = SystemClock(), _Listener()
    options = SourceOptions(stream=settings.id, fps=settings.fps, end=at + CLOSED_S, clock=clock)

    async def load(_: VisionSettings) -> LanguageModel:
        return listener

    async with SharedModel(vision, clock, load) as shared:
        with Console(stderr=True, highlight=False).status("loading what cuts out silhouettes"):
            await shared.outliner.ready(settings.marks, patience_s=FETCH_S)
        captioner = _Captioner(settings, at, listener, VisionCaptioner(settings, shared))
        with progress_bar("watching") as bar:
            pipeline = Pipeline(
                settings,
                lambda notify: open_source(settings.source, replace(options, on_notice=notify)),
                replace(models, vision=shared),
                _Nobody(),
                clock,
                captioner=captioner,
                on_progress=lambda pts: bar(min(pts, at), at),
            )
            stopping = asyncio.create_task(_stop_after(captioner.past, pipeline), name="prompt-found")
            try:
                with stop_on_signals(pipeline.stop):
                    await pipeline.run()
            finally:
                stopping.cancel()
    return captioner.found, pipeline.pts


async def _stop_after(past: asyncio.Event, pipeline: Any) -> None:
    await past.wait()
    await pipeline.stop()


# ---- showing it


def _write(path: Path, prompt: Prompt) -> None:
    from PIL import Image

    from streamcap.prompts import Picture, Text
    from streamcap.prompts.marks import tiled

    images, labels, before = [], [], ""
    for part in prompt.parts:
        if isinstance(part, Text):
            before = part.text.splitlines()[-1].rstrip(":")
        elif isinstance(part, Picture):
            images.append(part.image)
            labels.append(before)
    sheet = images[0] if len(images) == 1 else tiled(images, labels, side=SHEET_SIDE)
    try:
        Image.fromarray(sheet).save(path, "PNG", optimize=True)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _as_text(prompt: Prompt) -> str:
    lines = ["── system", prompt.system]
    for number, turn in enumerate(prompt.demonstrations, 1):
        lines += [f"── example {number}", turn.ask, "── its answer", turn.answer]
    lines.append("── question")
    lines += [_part_text(part) for part in prompt.parts]
    if prompt.answer is not None:
        lines += [f"── the answer's schema, {prompt.answer.name}", json.dumps(prompt.answer.schema, indent=1)]
    return "\n".join(lines)


def _part_text(part: Any) -> str:
    from streamcap.prompts import Text

    return part.text if isinstance(part, Text) else f"[picture {part.image.shape[1]}×{part.image.shape[0]}]"


def _as_dict(window: Window, prompt: Prompt) -> dict[str, Any]:
    return {
        "window": {"start": window.start, "end": window.end},
        "system": prompt.system,
        "demonstrations": [{"ask": turn.ask, "answer": turn.answer} for turn in prompt.demonstrations],
        "parts": [_part_dict(part) for part in prompt.parts],
        "answer": None if prompt.answer is None else {"name": prompt.answer.name, "schema": prompt.answer.schema},
        "max_tokens": prompt.max_tokens,
        "echo": list(prompt.echo),
    }


def _part_dict(part: Any) -> dict[str, Any]:
    from streamcap.prompts import Text

    if isinstance(part, Text):
        return {"text": part.text}
    return {"picture": {"t": part.t, "width": part.image.shape[1], "height": part.image.shape[0]}}
