"""The backend against a server that others wrote: ``transformers serve``, as a process, with a tiny model."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from streamcap.errors import AnswerCut, ModelError, ModelTimeout
from streamcap.models.openai_request import Dialect, request_body
from streamcap.models.openai_server import OpenAiServer
from streamcap.prompts import Picture, Prompt, Text
from tests.openai_backend import SCHEMA, backend
from tests.patience import LONG_S, PATIENCE_S
from tests.tiny_llava import WORDS, make

pytestmark = [pytest.mark.openai, pytest.mark.torch]

NOISE = np.random.default_rng(3).integers(0, 256, (2, 48, 64, 3), np.uint8)
TWO = Prompt(
    "you see pictures",
    (Text("before"), Picture(NOISE[0], 0.0), Text("now"), Picture(NOISE[1], 1.0), Text("what changed")),
    max_tokens=24,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tiny-llava"))


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cache = tmp_path_factory.mktemp("hub")
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    log = cache / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([*command, *options], env=environment, stdout=out, stderr=out)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + LONG_S
    while time.monotonic() < until:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=PATIENCE_S).status_code == 200:
                return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    pytest.fail(f"transformers serve does not start: {log.read_text(errors='replace')[-2000:]}")


async def said(model: OpenAiServer, prompt: Prompt) -> tuple[str, list[str], ModelError | None]:
    """The answer, in pieces, and how it ended."""
    pieces: list[str] = []
    try:
        async for piece in model.generate(prompt, timeout_s=LONG_S):
            pieces.append(piece.text)
    except AnswerCut as cut:
        assert cut.at_limit
        return "".join(pieces), pieces, cut
    return "".join(pieces), pieces, None


def unstreamed(url: str, folder: Path, prompt: Prompt) -> str:
    """The same answer asked for in one piece, without our backend."""
    body: dict[str, Any] = request_body(prompt, str(folder), Dialect()) | {"stream": False}
    del body["stream_options"], body["extra_body"]
    answered = httpx.post(f"{url}/chat/completions", json=body, timeout=LONG_S)
    assert answered.status_code == 200, answered.text
    text = answered.json()["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


async def test_what_is_streamed_is_what_is_answered_and_depends_on_the_pictures(served: str, folder: Path) -> None:
    swapped = Prompt(TWO.system, (TWO.parts[0], TWO.parts[3], TWO.parts[2], TWO.parts[1], TWO.parts[4]), max_tokens=24)
    async with backend(served, model=str(folder)) as model:
        text, pieces, _ = await said(model, TWO)
        assert text == unstreamed(served, folder, TWO)
        assert set(text.split()) <= set(WORDS), text
        assert len(pieces) > 2, "it came in pieces"
        other, _, _ = await said(model, swapped)
        assert other != text, "the model saw the pictures, in their order"


async def test_a_server_that_passes_over_the_schema_is_told_it_in_words(served: str, folder: Path) -> None:
    held = Prompt("you see pictures", (Text("what changed"),), answer=SCHEMA, max_tokens=8)
    async with backend(served, model=str(folder)) as model:
        text, _, _ = await said(model, held)
    assert text
    assert text == unstreamed(served, folder, held)


async def test_who_does_not_answer_in_time_is_left_and_the_next_is_answered(served: str, folder: Path) -> None:
    async with backend(served, model=str(folder)) as model:
        with pytest.raises(ModelTimeout):
            async for _ in model.generate(Prompt("", (Text("say a " * 400),), max_tokens=1500), timeout_s=0.2):
                pass
        text, _, _ = await said(model, Prompt("", (Text("say one"),), max_tokens=4))
        assert text


async def test_a_model_that_it_cannot_load(served: str) -> None:
    async with backend(served, model="nobody/nothing") as model:
        with pytest.raises(ModelError) as caught:
            await said(model, TWO)
        assert "\n" not in str(caught.value)
