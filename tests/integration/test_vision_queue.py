"""Windows of several streams before one model in this process: whose turn it is, and what a stream that goes leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamcap.captioners import SharedModel
from streamcap.config import VisionBackend, VisionSettings
from streamcap.errors import AnswerCut
from streamcap.flow import SystemClock
from streamcap.models.language import LanguageModel
from streamcap.prompts import Picture, Prompt, Text
from tests import vlm_models
from tests.openai_backend import until
from tests.patience import LONG_S

pytestmark = pytest.mark.torch

PROMPT = Prompt(
    "You watch a camera and say what is different.",
    (Picture(vlm_models.picture(64, 64), 1.0), Text("What is different?")),
    max_tokens=12,
)
ENDLESS = replace(PROMPT, max_tokens=3500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vlm_models.make("smolvlm", tmp_path_factory.mktemp("smolvlm"))


@asynccontextmanager
async def shared_model(folder: Path) -> AsyncIterator[tuple[SharedModel, Any]]:
    """A real model with one place, and room in the budget; it ends no answer of itself."""
    settings = VisionSettings(
        backend=VisionBackend.TRANSFORMERS, model=str(folder), device="cpu", max_tokens=4000, timeout_s=LONG_S,
        concurrency=1, calls_per_minute=600, tokens_per_minute=10_000_000,
        calls_per_minute_in_all=600, tokens_per_minute_in_all=10_000_000,
    )  # fmt: skip

    async def load(settings: VisionSettings) -> LanguageModel:
        from streamcap.models.vlm import load as load_local

        model = await load_local(settings)
        model.runner._ends = frozenset()
        return model

    async with SharedModel(settings, SystemClock(), load) as shared:
        await shared.ready()
        yield shared, shared.model


class Streams:
    """Streams that ask; ``begun`` are those that had their first token, in order."""

    def __init__(self, shared: SharedModel) -> None:
        self._shared = shared
        self.begun: list[str] = []
        self.tasks: dict[str, asyncio.Task[str]] = {}

    def ask(self, stream: str, patience_s: float, prompt: Prompt = PROMPT) -> None:
        self.tasks[stream] = asyncio.create_task(self._ask(stream, patience_s, prompt))

    async def _ask(self, stream: str, patience_s: float, prompt: Prompt) -> str:
        text = ""
        pieces = self._shared.answer(prompt, of=stream, sort="caption", patience_s=patience_s)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if stream not in self.begun:
                        self.begun.append(stream)
                    text += piece.text
        except AnswerCut as cut:
            assert cut.at_limit
        return text

    async def remove(self, stream: str) -> None:
        task = self.tasks.pop(stream)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def rest(self) -> list[str]:
        return await asyncio.gather(*self.tasks.values())


async def test_the_earliest_deadline_goes_first(folder: Path) -> None:
    async with shared_model(folder) as (shared, _):
        streams = Streams(shared)
        streams.ask("first", 900, ENDLESS)
        await until(lambda: streams.begun == ["first"])
        for stream, patience_s in (("d", 800), ("b", 600), ("c", 700), ("a", 500)):
            streams.ask(stream, patience_s)
        await until(lambda: shared.spent.waiting == 4)
        await streams.remove("first")
        answers = await streams.rest()
        assert streams.begun == ["first", "a", "b", "c", "d"]
        assert len(set(answers)) == 1 and answers[0], "each has its whole answer"
        assert (shared.spent.working, shared.spent.waiting) == (0, 0)


async def test_a_stream_that_goes_while_its_window_waits_leaves_no_place(folder: Path) -> None:
    async with shared_model(folder) as (shared, model):
        streams = Streams(shared)
        streams.ask("first", 900, ENDLESS)
        await until(lambda: streams.begun == ["first"])
        for stream in ("gone", "next"):
            streams.ask(stream, {"gone": 500, "next": 600}[stream])
        await until(lambda: shared.spent.waiting == 2)
        await streams.remove("gone")
        assert (shared.spent.working, shared.spent.waiting) == (1, 1)
        assert not streams.tasks["first"].done(), "nobody had to end for it"
        await streams.remove("first")
        assert all(await streams.rest())
        assert streams.begun == ["first", "next"]
        assert model.runner.work.answers == 1, "nothing was made for who has gone"


async def test_a_stream_that_goes_while_its_answer_is_made_leaves_the_model_to_the_next(folder: Path) -> None:
    async with shared_model(folder) as (shared, model):
        streams = Streams(shared)
        streams.ask("alone", 900)
        (alone,) = await streams.rest()
        streams.ask("first", 900, ENDLESS)
        await until(lambda: "first" in streams.begun)
        streams.ask("next", 800)
        await until(lambda: shared.spent.waiting == 1)
        await streams.remove("first")
        ended = model.runner.work.passes
        assert (await streams.rest())[-1] == alone
        made = model.runner.work.passes - ended
        assert made <= PROMPT.max_tokens, "after it had gone only the other's tokens were made"


def test_no_token_more_is_made_once_nobody_waits(folder: Path) -> None:
    from streamcap.models.vlm.loading import load_runner
    from streamcap.models.vlm.reader import Cancelled

    settings = VisionSettings(backend=VisionBackend.TRANSFORMERS, model=str(folder), device="cpu", max_tokens=4000)
    running = load_runner(settings)
    running._ends = frozenset()
    pieces: list[str] = []
    passes: list[int] = []

    def gone() -> bool:
        if len(pieces) >= 5:
            passes.append(running.work.passes)
            return True
        return False

    with pytest.raises(Cancelled):
        for piece in running.answer(ENDLESS, gone):
            pieces.append(piece.text)
    assert passes == [running.work.passes], "asked once, and not a pass later"
    running.close()
