"""A model in this process as streams use it: one thread, pieces as they come, an end to every wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamcap.config import VisionBackend, VisionSettings
from streamcap.errors import AnswerCut, AnswerEmpty, ModelBusy, ModelError, ModelTimeout, ModelUnavailable
from streamcap.prompts import Picture, Prompt, Text
from tests import vlm_models
from tests.patience import LONG_S, PATIENCE_S

pytestmark = pytest.mark.torch

PROMPT = Prompt(
    "You watch a camera and say what is different. Nothing uncertain, no metaphors.",
    (Picture(vlm_models.picture(90, 160), 1.0), Text("What is different?")),
    max_tokens=30,
)
LONG = replace(PROMPT, max_tokens=3000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vlm_models.make("qwen3_vl", tmp_path_factory.mktemp("qwen3_vl"))


@pytest.fixture
async def model(folder: Path) -> AsyncIterator[Any]:
    from streamcap.models.vlm import load

    lines: list[str] = []
    stated = VisionSettings(
        backend=VisionBackend.TRANSFORMERS, model=str(folder), device="cpu", max_tokens=4000, timeout_s=LONG_S
    )
    loaded = await load(stated, progress=lines.append)
    assert lines[0].startswith("loading ")
    loaded.runner._ends = frozenset()  # a random model ends its answers at random
    yield loaded
    await loaded.close()


async def said(
    model: Any, prompt: Prompt = PROMPT, timeout_s: float = LONG_S, begun: asyncio.Event | None = None
) -> str:
    """The answer, which ends at the most tokens that it may have."""
    pieces = []
    with pytest.raises(AnswerCut) as caught:
        async for piece in model.generate(prompt, timeout_s=timeout_s):
            pieces.append(piece.text)
            if begun is not None:
                begun.set()
    assert caught.value.at_limit
    return "".join(pieces)


async def test_pieces_come_while_the_answer_is_made(model: Any) -> None:
    pieces = []
    with pytest.raises(AnswerCut):
        async for piece in model.generate(PROMPT, timeout_s=LONG_S):
            pieces.append(piece)
    assert len(pieces) > 10
    assert "".join(piece.text for piece in pieces) == await said(model)
    assert pieces[-1].usage.completion_tokens == PROMPT.max_tokens
    assert model.name.startswith("qwen3_vl")


async def test_callers_at_once_get_each_their_answer(model: Any) -> None:
    prompts = [replace(PROMPT, parts=(*PROMPT.parts, Text(f"Number {number}."))) for number in range(4)]
    alone = [await said(model, prompt) for prompt in prompts]
    assert await asyncio.gather(*(said(model, prompt) for prompt in prompts)) == alone
    assert len(set(alone)) > 1


async def test_the_loop_goes_on_while_the_model_works(model: Any) -> None:
    answering = asyncio.create_task(said(model, replace(LONG, max_tokens=400)))
    turns = 0
    while not answering.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 400
    assert answering.result()


@pytest.mark.parametrize("pieces", [0, 1, 20])
async def test_closing_the_iteration_ends_the_work(model: Any, pieces: int) -> None:
    before = await said(model)
    async with aclosing(model.generate(LONG, timeout_s=LONG_S)) as answer:
        for _ in range(pieces):
            await anext(answer)
    made = model.runner.work.passes
    await asyncio.sleep(0.05)
    assert model.runner.work.passes == made
    assert await said(model) == before


async def test_a_cancelled_task_ends_the_work(model: Any) -> None:
    before = await said(model)
    begun = asyncio.Event()
    task = asyncio.create_task(said(model, LONG, begun=begun))
    await asyncio.wait_for(begun.wait(), PATIENCE_S)
    waiting = asyncio.create_task(said(model))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await waiting == before


async def test_an_answer_that_takes_too_long_is_told(model: Any) -> None:
    before = await said(model)
    with pytest.raises(ModelTimeout, match=r"did not answer within 0\.05 s") as caught:
        await said(model, LONG, timeout_s=0.05)
    assert caught.value.hint
    assert await said(model) == before


async def test_who_waits_too_long_is_told(model: Any) -> None:
    async with aclosing(model.generate(LONG, timeout_s=LONG_S)) as answer:
        await anext(answer)
        with pytest.raises(ModelBusy, match="busy"):
            await said(model, timeout_s=0.05)


async def test_no_more_than_so_many_wait(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamcap.models.vlm import local

    monkeypatch.setattr(local, "WAITING", 2)
    async with aclosing(model.generate(LONG, timeout_s=LONG_S)) as answer:
        await anext(answer)
        waiting = [asyncio.create_task(said(model)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(ModelBusy, match="2 prompts wait"):
            await said(model)
    assert len(set(await asyncio.gather(*waiting))) == 1


async def test_closing_ends_the_answer_that_is_made(model: Any) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(said(model, LONG, begun=begun))
    await asyncio.wait_for(begun.wait(), PATIENCE_S)
    await model.close()
    with pytest.raises(ModelUnavailable, match="closed"):
        await task
    with pytest.raises(ModelUnavailable, match="closed"):
        await said(model)
    await model.close()


async def test_an_answer_without_a_word_is_told(model: Any) -> None:
    model.runner._ends = frozenset(range(vlm_models.VOCABULARY))
    with pytest.raises(AnswerEmpty):
        _ = [piece async for piece in model.generate(PROMPT, timeout_s=LONG_S)]


async def test_a_defect_is_not_taken_for_an_answer(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.runner, "_family", None)
    with pytest.raises(AttributeError):
        await said(model)


async def test_what_torch_cannot_do_is_told(model: Any) -> None:
    """An odd shape, a lost device: torch says it as RuntimeError."""
    model.runner._family.model.lm_head.weight.data = model.runner._family.model.lm_head.weight.data[:, :7]
    with pytest.raises(ModelError, match="failed"):
        await said(model)
