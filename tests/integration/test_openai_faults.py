"""The backend for servers of OpenAI's chat API, against a real HTTP server with faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket

import numpy as np
import pytest

from streamcap.errors import (
    AnswerCut,
    AnswerEmpty,
    AnswerMalformed,
    AnswerWithheld,
    ConfigError,
    ModelBusy,
    ModelError,
    ModelNotFound,
    ModelTimeout,
    ModelUnauthorised,
    ModelUnavailable,
    PromptRefused,
    PromptTooLong,
)
from streamcap.models.language import estimate
from streamcap.models.openai_server import Patience
from streamcap.prompts import Prompt, Text
from tests.llm_server import MODEL, Fault, LlmServer
from tests.openai_backend import HELD, PROMPT, WORDS, answer, backend, until, until_well
from tests.patience import LONG_S, PATIENCE_S, SOON_S

pytestmark = pytest.mark.openai


async def test_an_answer_comes_piece_by_piece_and_the_prompt_arrives_whole(llm: LlmServer) -> None:
    llm.fault = Fault.STALL_MID
    async with backend(llm) as model, contextlib.aclosing(model.generate(PROMPT, timeout_s=LONG_S)) as pieces:
        assert (await anext(pieces)).text and (await anext(pieces)).text, "streamed: the answer never ends"
    (shown,) = llm.shown
    assert [role for role, _ in shown.texts] == ["system", "user", "assistant", "user"]
    assert shown.texts[0][1] == PROMPT.system
    assert shown.question == "Before, at 1.0 s:\nNow, at 2.0 s:\nWhat changed?"
    assert [p.shape for p in shown.pictures] == [(240, 320, 3)] * 2
    assert shown.schema is None
    assert np.abs(shown.pictures[0].astype(int) - PROMPT.pictures[0].image).mean() < 3
    kinds = [part["type"] for part in shown.body["messages"][-1]["content"]]
    assert kinds == ["text", "image_url", "text", "image_url", "text"], "in order"
    assert shown.body["max_tokens"] == 64


async def test_an_address_without_its_end_is_named(llm: LlmServer) -> None:
    for model in ("", MODEL):
        async with backend(llm, url=llm.url.removesuffix("/v1"), model=model) as asked:
            with pytest.raises(ModelNotFound) as refused:
                await answer(asked)
            assert "usually ends in /v1" in refused.value.hint


async def test_where_no_model_is_named_another_one_is_taken_up(llm: LlmServer) -> None:
    async with backend(llm, model="") as asked:
        await answer(asked)
        assert asked.name == MODEL
        llm.models = ("another",)
        llm.next.append(Fault.NO_MODEL)
        with pytest.raises(ModelNotFound):
            await answer(asked)
        await answer(asked)
        assert asked.name == "another"


async def test_usage_is_the_server_s_and_an_estimate_where_it_does_not_say(llm: LlmServer) -> None:
    async with backend(llm) as model:
        text, told = await answer(model)
        assert told.completion_tokens == -(-len(text) // 4)
        llm.fault = Fault.NO_USAGE
        _, guessed = await answer(model)
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
        (Fault.STALL, ModelTimeout, "did not begin to answer within 0.4", "timeout_s"),
        (Fault.STALL_FIRST, ModelTimeout, "gave no first token", "timeout_s"),
        (Fault.STALL_MID, ModelTimeout, "did not go on within 0.2 s", "timeout_s"),
        (Fault.CUT_FIRST, ModelUnavailable, "breaks the connection", "log"),
        (Fault.CUT_MID, AnswerCut, "breaks off", "log"),
        (Fault.NO_END, AnswerCut, "ended before it", "log"),
        (Fault.NOTHING, AnswerEmpty, "before the first word", "too long"),
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
    patience = Patience(PATIENCE_S, between_s=0.2 if fault is Fault.STALL_MID else PATIENCE_S)
    async with backend(llm, patience=patience) as model:
        with pytest.raises(ModelError) as caught:
            await answer(model, timeout_s={Fault.STALL: 0.6, Fault.STALL_FIRST: 4.0}.get(fault, PATIENCE_S))
        assert type(caught.value) is error
        assert line in str(caught.value)
        assert "\n" not in str(caught.value)
        assert hint in caught.value.hint
        llm.fault = Fault.NONE
        if fault is not Fault.BUSY:
            await until_well(model)
            assert model.breaker.opened == 0, "one fault does not spoil the next answer"


@pytest.mark.parametrize("fault", [Fault.CUT_END, Fault.STALL_END])
async def test_what_fails_after_the_last_token_does_not_matter(llm: LlmServer, fault: Fault) -> None:
    llm.fault = fault
    async with backend(llm) as model:
        text, usage = await answer(model)
        assert text == llm.shown[0].said
        assert usage.prompt_tokens == estimate(PROMPT).prompt_tokens
        assert model.breaker.opened == 0
    await until(lambda: llm.connections == 0)


async def test_a_line_that_never_ends_is_cut_off(llm: LlmServer) -> None:
    llm.fault = Fault.ENDLESS
    async with backend(llm) as model:
        with pytest.raises(AnswerCut, match="more than 8 MiB"):
            await answer(model)
    await until(lambda: llm.left == 1)


async def test_a_key_in_the_clear_is_warned_of(
    llm: LlmServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STREAMCAP_VISION_KEY", "sk-1")
    for url, warned in ((llm.url, False), ("https://models.example.org/v1", False), ("http://gpu.lan/v1", True)):
        caplog.clear()
        async with backend(url):
            assert ("in the clear" in caplog.text) is warned


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with backend(f"http://127.0.0.1:{taken.getsockname()[1]}/v1") as model:
            with pytest.raises(ModelUnavailable, match="no model server answers") as caught:
                await answer(model)
            assert "http://127.0.0.1:" in caught.value.hint


async def test_nobody_takes_the_call() -> None:
    """A full queue of connections: the machine is there, and nothing answers."""
    with socket.socket() as full, contextlib.ExitStack() as callers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        async with backend(url, patience=Patience(connect_s=0.2)) as model:
            with pytest.raises(ModelUnavailable, match=r"no connection within 0\.2 s"):
                await answer(model)


async def test_the_whole_answer_has_its_time_however_steadily_it_comes(llm: LlmServer) -> None:
    llm.fault, llm.pause = Fault.SLOW, 0.2
    llm.rule = lambda _: "and so on " * 1000
    async with backend(llm, patience=Patience(PATIENCE_S, first_share=1.0, between_s=PATIENCE_S)) as model:
        begin = asyncio.get_running_loop().time()
        with pytest.raises(ModelTimeout, match=r"did not end its answer within 2 s"):
            await answer(model, timeout_s=2.0)
        assert asyncio.get_running_loop().time() - begin < SOON_S, "it would have taken minutes"


@pytest.mark.parametrize("fault", [Fault.NO_SCHEMA, Fault.NO_FORMAT, Fault.NO_EXTRAS, Fault.NO_SYSTEM])
async def test_what_a_server_does_not_understand_is_left_out_and_remembered(llm: LlmServer, fault: Fault) -> None:
    llm.fault = fault
    async with backend(llm) as model:
        assert (await answer(model, HELD))[0]
        tries = len(llm.shown)
        assert tries > 1
        assert (await answer(model, HELD))[0]
        assert len(llm.shown) == tries + 1, "the second time it is known"
        first, last = llm.shown[0].body, llm.shown[-1].body
    dropped = first.keys() - last.keys()
    match fault:
        case Fault.NO_SCHEMA:
            assert last["response_format"]["type"] == "json_object"
        case Fault.NO_FORMAT:
            assert dropped == {"response_format"}
        case Fault.NO_EXTRAS:
            assert dropped == {"max_tokens", "stream_options", "temperature", "chat_template_kwargs"}
        case Fault.NO_SYSTEM:
            assert [message["role"] for message in last["messages"]] == ["user"]
    assert "What changed?" in llm.shown[-1].question


async def test_an_answer_by_the_schema(llm: LlmServer) -> None:
    async with backend(llm) as model:
        text, _ = await answer(model, HELD)
    assert json.loads(text).keys() == {"caption", "people"}
    assert "1 pictures (320x240)" in text


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.CUT_FIRST, Fault.BUSY, Fault.ERROR_EVENT])
async def test_a_passing_fault_is_tried_again(llm: LlmServer, fault: Fault) -> None:
    llm.next.extend([fault, fault])
    llm.retry_after = "0.2"
    begin = asyncio.get_running_loop().time()
    async with backend(llm, retries=2) as model:
        if fault is Fault.ERROR_EVENT:  # comes when there is text already
            with pytest.raises(ModelUnavailable):
                await answer(model)
            assert len(llm.shown) == 1, "what was given out cannot be taken back"
            return
        assert (await answer(model))[0]
    assert len(llm.shown) == 3
    if fault is Fault.BUSY:
        assert asyncio.get_running_loop().time() - begin >= 0.4, "as the server asks"


@pytest.mark.parametrize("fault", [Fault.UNAUTHORISED, Fault.NO_MODEL, Fault.TOO_LONG, Fault.STALL_FIRST, Fault.HTML])
async def test_what_does_not_pass_is_not_tried_again(llm: LlmServer, fault: Fault) -> None:
    llm.fault = fault
    async with backend(llm, retries=3) as model:
        with pytest.raises(ModelError):
            await answer(model, timeout_s=4.0 if fault is Fault.STALL_FIRST else PATIENCE_S)
    assert len(llm.shown) == 1


async def test_a_long_wait_is_refused_at_once_for_all_streams(llm: LlmServer) -> None:
    llm.retry_after = "300"
    llm.next.append(Fault.BUSY)
    async with backend(llm, retries=3) as model:
        with pytest.raises(ModelBusy, match="come later: too many requests"):
            await answer(model)
        with pytest.raises(ModelBusy, match="asked to come later, in") as caught:
            await answer(model)
        assert caught.value.retry_after_s is not None
        assert 300 - PATIENCE_S < caught.value.retry_after_s <= 300
    assert len(llm.shown) == 1, "it was left alone"


async def test_retries_do_not_multiply_the_load_of_a_server_that_fails(llm: LlmServer) -> None:
    llm.fault = Fault.ERROR
    async with backend(llm, retries=5, concurrency=20) as model:
        for _ in range(10):
            with pytest.raises(ModelError):
                await answer(model, WORDS)
        assert len(llm.shown) <= 10, "the breaker opened after five failures, tries counted"


async def test_the_key_is_sent_and_stands_in_no_line(
    llm: LlmServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = "sk-that-nobody-may-read"
    monkeypatch.setenv("STREAMCAP_VISION_KEY", f" {key}\n")
    llm.key = key
    async with backend(llm) as model:
        await answer(model)
        assert llm.shown[0].headers["authorization"] == f"Bearer {key}"
        for fault in (Fault.UNAUTHORISED, Fault.ERROR, Fault.NO_MODEL, Fault.STALL_MID):
            llm.fault = fault
            with pytest.raises(ModelError) as caught:
                await answer(model, timeout_s=0.5)
            assert key not in f"{caught.value!r} {caught.value.hint}"
            assert caught.value.__suppress_context__, "a traceback shows what the client said"
        assert key not in repr(vars(model))
    assert key not in caplog.text
    assert key[:10] not in caplog.text


async def test_a_wrong_key(llm: LlmServer) -> None:
    llm.key = "another"
    async with backend(llm) as model:
        with pytest.raises(ModelUnauthorised, match="refuses the key"):
            await model.models()
        with pytest.raises(ModelUnauthorised, match="Incorrect API key"):
            await answer(model)


async def test_nothing_is_taken_from_the_environment(llm: LlmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = "http://127.0.0.1:9"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Spy: 1\nAuthorization: Bearer other")
    async with backend(llm) as model:
        await answer(model)
    sent = llm.shown[0].headers
    assert sent.keys() == {
        *("host", "connection", "accept", "accept-encoding", "content-type", "content-length", "user-agent"),
    }
    assert sent["user-agent"].startswith("streamcap/")


async def test_where_settings_name_no_model_the_only_one_is_taken(llm: LlmServer) -> None:
    async with backend(llm, model="") as model:
        await answer(model)
        assert model.name == MODEL
    llm.models = ("a", "b")
    async with backend(llm, model="") as model:
        with pytest.raises(ModelNotFound, match="several models or none") as caught:
            await answer(model)
        assert "one that it has: a, b" in caught.value.hint
    llm.models = ()
    async with backend(llm) as model:
        with pytest.raises(ModelNotFound) as caught:
            await answer(model)
        assert "no model at all" in caught.value.hint


async def test_another_kind_of_server(llm: LlmServer) -> None:
    async with backend(llm.url.removesuffix("/v1")) as model:
        with pytest.raises(ModelNotFound) as caught:
            await answer(model)
        assert "usually ends in /v1" in caught.value.hint


async def test_a_redirect_is_not_followed(llm: LlmServer) -> None:
    async with backend(llm) as model:
        llm.fault = Fault.REDIRECT
        with pytest.raises(PromptRefused, match=r"redirects to http://example\.org/v1") as caught:
            await answer(model)
        assert "final address" in caught.value.hint


async def test_a_prompt_of_100_kilobytes_reaches_the_server_which_judges_it(llm: LlmServer) -> None:
    long = Prompt("Be short.", (Text("word " * 20_000),), max_tokens=64)
    async with backend(llm) as model:
        await answer(model, long)
        assert len(llm.shown[0].question) == 100_000
        llm.fault = Fault.TOO_LONG
        with pytest.raises(PromptTooLong, match="2048 tokens"):
            await answer(model, long)


async def test_half_characters_become_whole_ones(llm: LlmServer) -> None:
    llm.rule = lambda _: "ab\ud83d" + "cd\ude00"
    async with backend(llm) as model:
        text, _ = await answer(model)
    assert text == "ab?cd?"


async def test_the_address_is_checked_when_the_model_is_made() -> None:
    with pytest.raises(ConfigError):
        async with backend("ftp://host"):
            raise AssertionError("it was taken")


async def test_a_probe_says_whether_the_model_is_there_and_asks_it_nothing(llm: LlmServer) -> None:
    async with backend(llm) as model:
        assert await model.probe()
        llm.models = (f"{MODEL}:latest",)
        assert await model.probe()
        llm.models = (f"{MODEL}-2", "other-vlm")
        assert not await model.probe()
        llm.key = "another"
        with pytest.raises(ModelUnauthorised):
            await model.probe()
        llm.stop()
        for _ in range(20):
            with pytest.raises(ModelUnavailable):
                await model.probe()
        assert model.breaker.opened == 0 and llm.shown == []
    assert not await model.probe(), "closed"
    async with backend(f"{llm.url}/elsewhere") as model:
        llm.start()
        assert not await model.probe(), "it lists no models there"
