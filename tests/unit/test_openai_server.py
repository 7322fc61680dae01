"""The backend for servers of OpenAI's chat API, against a real HTTP server with faults."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from streamcap.config import VisionSettings
from streamcap.errors import (
    AnswerCut,
    AnswerEmpty,
    AnswerMalformed,
    AnswerWithheld,
    ModelBusy,
    ModelError,
    ModelNotFound,
    ModelTimeout,
    ModelUnauthorised,
    ModelUnavailable,
    PromptRefused,
    PromptTooLong,
)
from streamcap.models.language import LanguageModel, Usage, estimate
from streamcap.models.openai_server import OpenAiServer, Patience
from streamcap.prompts import Answer, Picture, Prompt, Text, Turn
from tests.llm_server import MODEL, Fault, LlmServer

pytestmark = pytest.mark.openai

SCHEMA = Answer(
    "window",
    {
        "type": "object",
        "properties": {"caption": {"type": "string"}, "people": {"type": "integer"}},
        "required": ["caption", "people"],
        "additionalProperties": False,
    },
)
KEY = "sk-a-key-that-nobody-may-read"


def picture(width: int = 320, height: int = 240, t: float = 1.0) -> Picture:
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


@contextlib.asynccontextmanager
async def model(server: LlmServer, *, patience: Patience | None = None, **settings: Any) -> AsyncIterator[OpenAiServer]:
    chosen: dict[str, Any] = {"url": server.url, "model": MODEL, "retries": 0} | settings
    backend = OpenAiServer(VisionSettings(**chosen), patience=patience)
    try:
        yield backend
    finally:
        await backend.close()


async def answer(backend: LanguageModel, prompt: Prompt = PROMPT, timeout_s: float = 5.0) -> tuple[str, Usage]:
    pieces = [piece async for piece in backend.generate(prompt, timeout_s=timeout_s)]
    assert all(piece.usage is None for piece in pieces[:-1])
    usage = pieces[-1].usage
    assert usage is not None
    return "".join(piece.text for piece in pieces), usage


async def test_an_answer_comes_piece_by_piece_and_the_prompt_arrives_whole(llm: LlmServer) -> None:
    llm.fault = Fault.SLOW
    async with model(llm) as backend:
        times = [asyncio.get_running_loop().time() async for _ in backend.generate(PROMPT, timeout_s=5)]
        assert times[-1] - times[0] > 5 * llm.pause, "streamed, not in one piece"
    (shown,) = llm.shown
    assert [role for role, _ in shown.texts] == ["system", "user", "assistant", "user"]
    assert shown.texts[0][1] == PROMPT.system
    assert shown.question == "Before, at 1.0 s:\nNow, at 2.0 s:\nWhat changed?"
    assert [p.shape for p in shown.pictures] == [(240, 320, 3)] * 2
    assert np.abs(shown.pictures[0].astype(int) - PROMPT.pictures[0].image).mean() < 3
    kinds = [part["type"] for part in shown.body["messages"][-1]["content"]]
    assert kinds == ["text", "image_url", "text", "image_url", "text"], "in order"
    assert shown.body["max_tokens"] == 64


async def test_usage_is_the_server_s_and_an_estimate_where_it_does_not_say(llm: LlmServer) -> None:
    async with model(llm) as backend:
        text, told = await answer(backend)
        assert told.completion_tokens == -(-len(text) // 4)
        llm.fault = Fault.NO_USAGE
        _, guessed = await answer(backend)
    assert guessed.prompt_tokens == estimate(PROMPT).prompt_tokens
    assert 0.5 < guessed.completion_tokens / told.completion_tokens < 2


@pytest.mark.parametrize(
    ("fault", "error", "line", "hint"),
    [
        (Fault.ERROR, ModelUnavailable, "fails (500): CUDA out of memory in attention.py", "log"),
        (Fault.BUSY, ModelBusy, "come later", "calls_per_minute"),
        (Fault.UNAUTHORISED, ModelUnauthorised, "refuses the key (401)", "api_key_env"),
        (Fault.NO_MODEL, ModelNotFound, f"no model '{MODEL}'", "test-vlm, other-vlm"),
        (Fault.TOO_LONG, PromptTooLong, "too long for the model: This model's maximum context", "longer context"),
        (Fault.NO_PICTURES, PromptRefused, "takes no pictures", "vision–language"),
        (Fault.STALL, ModelTimeout, "did not begin to answer within 0.45 s", "timeout_s"),
        (Fault.STALL_FIRST, ModelTimeout, "gave no first token", "timeout_s"),
        (Fault.STALL_MID, ModelTimeout, "did not go on within 0.2 s", "timeout_s"),
        (Fault.CUT_FIRST, ModelUnavailable, "breaks the connection", "log"),
        (Fault.CUT_MID, AnswerCut, "breaks off", "log"),
        (Fault.NO_END, AnswerCut, "ended before it", "log"),
        (Fault.LENGTH, AnswerCut, "at its limit of 64 tokens", "max_tokens"),
        (Fault.FILTERED, AnswerWithheld, "filter", ""),
        (Fault.BAD_JSON, AnswerMalformed, "no JSON", ""),
        (Fault.BAD_SHAPE, AnswerMalformed, "another form of JSON", ""),
        (Fault.ERROR_EVENT, ModelUnavailable, "the worker died", ""),
        (Fault.HTML, AnswerMalformed, "text/html", "/v1"),
        (Fault.EMPTY, AnswerEmpty, "no word", ""),
        (Fault.HUGE, AnswerMalformed, "far longer than 64 tokens", ""),
    ],
)
async def test_each_fault_has_its_name_one_line_and_a_hint(
    llm: LlmServer, fault: Fault, error: type[ModelError], line: str, hint: str
) -> None:
    llm.models, llm.fault = (MODEL, "other-vlm"), fault
    async with model(llm, patience=Patience(between_s=0.2)) as backend:
        with pytest.raises(ModelError) as caught:
            await answer(backend, timeout_s=0.6)
        assert type(caught.value) is error
        assert line in str(caught.value)
        assert "\n" not in str(caught.value)
        assert hint in caught.value.hint
        llm.fault = Fault.NONE
        if fault is not Fault.BUSY:
            assert (await answer(backend))[0], "one fault does not spoil the next answer"


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        backend = OpenAiServer(VisionSettings(url=url, model=MODEL))
        try:
            with pytest.raises(ModelUnavailable, match="no model server answers"):
                await answer(backend)
        finally:
            await backend.close()
