"""The backend for model servers under load and in bad weather: nothing leaks, limits hold, it recovers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

import pytest

from streamcap.breaker import BreakerState
from streamcap.captioners.shared import SharedModel
from streamcap.config import VisionSettings
from streamcap.errors import ModelBusy, ModelError, ModelUnavailable
from streamcap.flow import SystemClock
from streamcap.models.openai_server import OpenAiServer, Patience
from tests.conftest import open_files
from tests.llm_server import MODEL, Fault, LlmServer
from tests.openai_backend import PROMPT, WORDS, answer, backend, until

pytestmark = pytest.mark.openai


def sockets() -> int:
    return sum(what.startswith("socket:") for what in open_files().values())


async def read_some(model: OpenAiServer, pieces: int) -> None:
    """Take a few pieces and go away without a word, as a caller that was cancelled does."""
    async with contextlib.aclosing(model.generate(PROMPT, timeout_s=30)) as answering:
        async for _ in answering:
            pieces -= 1
            if not pieces:
                return


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.STALL_FIRST, Fault.STALL_MID, Fault.SLOW])
async def test_a_cancelled_answer_leaves_no_connection_and_no_task(llm: LlmServer, fault: Fault) -> None:
    llm.fault, llm.pause = fault, 0.2
    async with backend(llm, concurrency=1) as model:
        tasks = asyncio.all_tasks()
        answering = asyncio.create_task(answer(model, timeout_s=30))
        await until(lambda: len(llm.shown) == 1)
        await asyncio.sleep(0.1)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        await until(lambda: llm.left == 1)
        await until(lambda: llm.connections == 0)
        assert asyncio.all_tasks() == tasks
        assert model.breaker.state(time.monotonic()) is BreakerState.CLOSED
        llm.fault = Fault.NONE
        assert (await answer(model))[0], "the place at the server is free again"


async def test_who_goes_away_in_the_middle_ends_the_answer(llm: LlmServer) -> None:
    llm.fault, llm.pause = Fault.SLOW, 0.05
    async with backend(llm, concurrency=1) as model:
        tasks = asyncio.all_tasks()
        for n in range(1, 4):
            await read_some(model, n)
            await until(lambda n=n: llm.left == n)  # type: ignore[misc]
        await until(lambda: llm.connections == 0)
        assert asyncio.all_tasks() == tasks


async def test_closing_ends_what_is_under_way(llm: LlmServer) -> None:
    llm.fault = Fault.STALL_MID
    async with backend(llm) as model:
        answering = asyncio.create_task(answer(model, timeout_s=30))
        await until(lambda: llm.working == 1)
        await asyncio.sleep(0.1)
        await model.close()
        with pytest.raises(ModelError):
            await asyncio.wait_for(answering, 6)
        with pytest.raises(ModelUnavailable, match="closed"):
            await answer(model)
        await model.close()
    await until(lambda: llm.connections == 0)


async def test_never_more_answers_at_a_time_than_allowed(llm: LlmServer) -> None:
    llm.delay = 0.05
    async with backend(llm, concurrency=3) as model:
        answers = await asyncio.gather(*(answer(model, WORDS, 30) for _ in range(20)))
        assert len(answers) == 20
        assert llm.most == 3
        assert llm.connections <= 4
    await until(lambda: llm.connections == 0)


async def test_who_finds_no_place_in_time_is_told(llm: LlmServer) -> None:
    llm.fault = Fault.STALL_MID
    async with backend(llm, concurrency=1, patience=Patience(between_s=30)) as model:
        first = asyncio.create_task(answer(model, timeout_s=30))
        await until(lambda: llm.working == 1)
        with pytest.raises(ModelBusy, match=r"all 1 places at the model server were taken for 0\.2 s") as caught:
            await answer(model, timeout_s=0.2)
        assert "concurrency" in caught.value.hint
        first.cancel()
        await asyncio.wait([first])


async def test_a_hundred_requests_to_a_server_that_comes_and_goes(llm: LlmServer) -> None:
    """Faults of all sorts, the server gone and back twice: the breaker opens and closes, and nothing is left open."""
    before = sockets()
    bad = (Fault.ERROR, Fault.CUT_FIRST, Fault.CUT_MID, Fault.BAD_JSON, Fault.STALL_FIRST, Fault.HTML)
    outcomes: Counter[str] = Counter()
    async with backend(llm, concurrency=4, retries=1, patience=Patience(between_s=0.2)) as model:
        model.breaker = type(model.breaker)(rest_s=0.1)

        async def ask(n: int) -> None:
            try:
                await answer(model, WORDS, timeout_s=0.4)
                outcomes["answered"] += 1
            except ModelError as error:
                outcomes[type(error).__name__] += 1
                assert "\n" not in str(error)
            if n % 25 == 10:
                await asyncio.to_thread(llm.stop)
            if n % 25 == 20:
                llm.fault = bad[n // 20]
                await asyncio.to_thread(llm.start)
            if n % 25 == 24:
                llm.fault = Fault.NONE
                await asyncio.sleep(0.3)

        for begin in range(0, 100, 5):
            await asyncio.gather(*(ask(n) for n in range(begin, begin + 5)))
        assert outcomes.total() == 100
        assert outcomes["answered"] >= 30, outcomes
        assert outcomes["ModelUnavailable"] >= 10, outcomes
        assert model.breaker.opened >= 2
        llm.fault = Fault.NONE
        await until_well(model)
        assert (await answer(model))[0]
        assert model.breaker.state(time.monotonic()) is BreakerState.CLOSED
        assert sockets() - before <= 2 * 4 + 8, "pooled connections of both sides, no more"
    await until(lambda: llm.connections == 0)


@pytest.mark.parametrize(
    ("fault", "costs"),
    [
        (Fault.ERROR, False),
        (Fault.NO_MODEL, False),
        (Fault.TOO_LONG, False),
        (Fault.STALL, True),
        (Fault.CUT_MID, True),
    ],
)
async def test_a_prompt_that_nobody_read_costs_nothing(llm: LlmServer, fault: Fault, costs: bool) -> None:
    """A server that is down must not eat the budget that is needed when it is back."""
    llm.fault = fault
    settings = VisionSettings(url=llm.url, model=MODEL, retries=0, timeout_s=0.5)
    async with SharedModel(settings, SystemClock()) as shared:
        for _ in range(8):  # the last ones are refused by the breaker
            with pytest.raises(ModelError):
                await shared.whole_answer(PROMPT, of="cam", sort="caption", patience_s=5)
        assert (shared.spent.calls > 0) is costs
        assert (shared.spent.tokens > 0) is costs
        assert shared.spent.working == shared.spent.waiting == 0


async def until_well(model: OpenAiServer) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(ModelError):
                await answer(model, WORDS)
                return
            await asyncio.sleep(0.1)


async def test_while_it_is_left_alone_nobody_waits_for_it(llm: LlmServer) -> None:
    llm.fault = Fault.STALL
    async with backend(llm, concurrency=8) as model:
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(5):
                    tasks.create_task(answer(model, WORDS, timeout_s=0.3))
        for _ in range(5):
            with contextlib.suppress(ModelError):
                await answer(model, WORDS, timeout_s=0.3)
        asked, begin = len(llm.shown), time.monotonic()
        for _ in range(20):
            with pytest.raises(ModelUnavailable, match=r"left alone after failing, tried again in \d s: the model"):
                await answer(model, WORDS, timeout_s=20)
        assert time.monotonic() - begin < 1.0
        assert len(llm.shown) == asked
