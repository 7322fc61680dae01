"""Options of a vision–language captioner, for the commands that have one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError
from rich.console import Console

from streamcap.config import AnswerForm, DeviceName, Mark, VisionBackend, VisionSettings
from streamcap.errors import ConfigError, UsageError
from streamcap.flow import Clock

if TYPE_CHECKING:
    from streamcap.captioners import SharedModel

__all__ = ["PANEL", "marks_of", "refuse_idle", "shared_model", "vision_settings"]

PANEL = "Vision–language captioner"
NONE = "none"
# A file is captioned as fast as it goes, once: no budget but what its user pays for.
UNBOUNDED = 1e9


def vision_settings(
    backend: VisionBackend,
    model: str,
    url: str | None,
    api_key_env: str | None,
    device: DeviceName | None,
    answers: AnswerForm = AnswerForm.JSON,
) -> VisionSettings:
    """Settings of the model for one command.

    Raises:
        ConfigError: they do not hold.
    """
    budget = ("calls_per_minute", "tokens_per_minute", "calls_per_minute_in_all", "tokens_per_minute_in_all")
    given = {"model": model, "url": url, "api_key_env": api_key_env, "device": device, "answers": answers}
    raw = {"backend": backend, **dict.fromkeys(budget, UNBOUNDED), **{k: v for k, v in given.items() if v is not None}}
    try:
        return VisionSettings.model_validate(raw)
    except ValidationError as error:
        words = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"the vision–language model: {words}", hint="give --model") from error


def refuse_idle(given: Mapping[str, str | None]) -> None:
    """Refuse options that a captioner without a model would pass over in silence.

    Raises:
        UsageError: one of them is given.
    """
    if idle := [name for name, value in given.items() if value]:
        raise UsageError(f"{', '.join(idle)}: there is no model", hint="add --captioner vision")


def marks_of(words: str) -> tuple[Mark, ...]:
    """Marks from the command line: names with commas between, or ``none``.

    Raises:
        UsageError: one of them is none.
    """
    if words.strip() in {"", NONE}:
        return ()
    known = {mark.value: mark for mark in Mark}
    names = [name.strip() for name in words.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--marks: no such mark: {', '.join(unknown)}", hint=f"{', '.join(known)}, or {NONE}")
    return tuple(dict.fromkeys(known[name] for name in names))


@asynccontextmanager
async def shared_model(settings: VisionSettings | None, clock: Clock) -> AsyncIterator[SharedModel | None]:
    """The model for the length of the block, loaded; says on stderr that it is being loaded where that takes a while.

    Raises:
        ModelError: it cannot be had.
    """
    if settings is None:
        yield None
        return
    from streamcap.captioners import SharedModel

    async with SharedModel(settings, clock) as shared:
        with Console(stderr=True, highlight=False).status(f"loading {settings.model or 'the model'}"):
            await shared.ready()
        yield shared
