"""What the tests of the backend for model servers share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np

from streamcap.config import VisionSettings
from streamcap.errors import ModelError
from streamcap.flow import Clock, SystemClock
from streamcap.models.language import LanguageModel, Usage
from streamcap.models.openai_server import OpenAiServer, Patience
from streamcap.prompts import Answer, Picture, Prompt, Text, Turn
from tests.llm_server import MODEL, LlmServer
from tests.patience import PATIENCE_S

SCHEMA = Answer(
    "window",
    {
        "type": "object",
        "properties": {"caption": {"type": "string"}, "people": {"type": "integer"}},
        "required": ["caption", "people"],
        "additionalProperties": False,
    },
)


def picture(width: int = 320, height: int = 240, t: float = 1.0) -> Picture:
    """Red on its left half."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = (200, 30, 30)
    return Picture(image, t)


PROMPT = Prompt(
    "You describe what changed.",
    (Text("Before, at 1.0 s:"), picture(), Text("Now, at 2.0 s:"), picture(t=2.0), Text("What changed?")),
    demonstrations=(Turn("What changed?", "Nothing."),),
    max_tokens=64,
)
HELD = Prompt("Describe.", (picture(), Text("What changed?")), answer=SCHEMA, max_tokens=64)
UNHURRIED = Patience(connect_s=PATIENCE_S, between_s=PATIENCE_S)
WORDS = Prompt("Be short.", (Text("Say hello."),), max_tokens=64)


@contextlib.asynccontextmanager
async def backend(
    server: LlmServer | str, *, patience: Patience | None = None, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[OpenAiServer]:
    """A backend for a server, without retries unless asked for; closed at the end of the block.

    Unless the test is about time-outs, no token of a busy machine comes too late.
    """
    url = server if isinstance(server, str) else server.url
    chosen: dict[str, Any] = {"url": url, "model": MODEL, "retries": 0} | settings
    model = OpenAiServer(VisionSettings(**chosen), patience=patience or UNHURRIED, clock=clock)
    try:
        yield model
    finally:
        await model.close()


async def answer(model: LanguageModel, prompt: Prompt = PROMPT, timeout_s: float = PATIENCE_S) -> tuple[str, Usage]:
    """A whole answer, and what it cost."""
    pieces = [piece async for piece in model.generate(prompt, timeout_s=timeout_s)]
    assert all(piece.usage is None for piece in pieces[:-1])
    usage = pieces[-1].usage
    assert usage is not None
    return "".join(piece.text for piece in pieces), usage


async def until_well(model: LanguageModel) -> None:
    """Wait for an answer, whatever fails before it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(ModelError):
                await answer(model, WORDS)
                return
            await asyncio.sleep(0.1)


class HeldClock(SystemClock):
    """Stands still until a test moves it on: for how long a breaker rests is not up to the machine. Nobody sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread brings about."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - a thread sets no event of this loop
            await asyncio.sleep(0.01)
