"""The backend for model servers under load and in bad weather: nothing leaks, limits hold, it recovers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

import pytest

from streamcap.breaker import REST_MOST_S, BreakerState
from streamcap.captioners.shared import SharedModel
from streamcap.config import VisionSettings
from streamcap.errors import ModelBusy, ModelError, ModelResting, ModelUnavailable
from streamcap.flow import SystemClock
from streamcap.models.openai_server import OpenAiServer, Patience
from tests.conftest import open_files
from tests.llm_server import MODEL, Fault, LlmServer
from tests.openai_backend import PROMPT, WORDS, HeldClock, answer, backend, until
from tests.patience import LONG_S, PATIENCE_S, SOON_S

pytestmark = pytest.mark.openai


def sockets() -> int:
    return sum(what.startswith("socket:") for what in open_files().values())


async def read_some(model: OpenAiServer, pieces: int) -> None:
    """Take a few pieces and go away without a word, as a caller that was cancelled does."""
    async with contextlib.aclosing(model.generate(PROMPT, timeout_s=LONG_S)) as answering:
        async for _ in answering:
            pieces -= 1
            if not pieces:
                return


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.STALL_FIRST, Fault.STALL_MID, Fault.SLOW])
async def test_a_cancelled_answer_leaves_no_connection_and_no_task(llm: LlmServer, fault: Fault) -> None:
    llm.fault, llm.pause = fault, 0.2
    async with backend(llm, concurrency=1) as model:
        tasks = asyncio.all_tasks()
        answering = asyncio.create_task(answer(model, timeout_s=LONG_S))
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
        answering = asyncio.create_task(answer(model, timeout_s=LONG_S))
        await until(lambda: llm.working == 1)
        await asyncio.sleep(0.1)
        await model.close()
        with pytest.raises(ModelError):
            await asyncio.wait_for(answering, PATIENCE_S)
        with pytest.raises(ModelUnavailable, match="closed"):
            await answer(model)
        await model.close()
    await until(lambda: llm.connections == 0)


async def test_never_more_answers_at_a_time_than_allowed(llm: LlmServer) -> None:
    llm.delay = 0.05
    async with backend(llm, concurrency=3) as model:
        answers = await asyncio.gather(*(answer(model, WORDS) for _ in range(20)))
        assert len(answers) == 20
        assert llm.most == 3
        assert llm.connections <= 4
    await until(lambda: llm.connections == 0)


async def test_who_finds_no_place_in_time_is_told(llm: LlmServer) -> None:
    llm.fault = Fault.STALL_MID
    async with backend(llm, concurrency=1, patience=Patience(between_s=LONG_S)) as model:
        first = asyncio.create_task(answer(model, timeout_s=LONG_S))
        await until(lambda: llm.working == 1)
        with pytest.raises(ModelBusy, match=r"all 1 places at the model server were taken for 0\.2 s") as caught:
            await answer(model, timeout_s=0.2)
        assert "concurrency" in caught.value.hint
        first.cancel()
        await asyncio.wait([first])


# What a request comes to that the server fails in this way; the first one after it was well finds out by itself.
FAILS = {
    Fault.ERROR: "ModelUnavailable",
    Fault.CUT_FIRST: "ModelUnavailable",
    Fault.BAD_JSON: "AnswerMalformed",
    Fault.CUT_MID: "AnswerCut",
    Fault.STALL_FIRST: "ModelTimeout",
    Fault.HTML: "AnswerMalformed",
}


async def outcomes(model: OpenAiServer, count: int, timeout_s: float = PATIENCE_S) -> Counter[str]:
    """What so many requests at a time come to: an answer, or a fault by its name."""

    async def one() -> str:
        try:
            await answer(model, WORDS, timeout_s)
        except ModelError as error:
            assert "\n" not in str(error)
            return type(error).__name__
        return "answered"

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


async def test_a_hundred_requests_to_a_server_that_comes_and_goes(llm: LlmServer) -> None:
    """Faults of all sorts, the server gone and back twice: the breaker opens and closes, and nothing is left open.

    The breaker's clock is moved by hand, so that what each request comes to is known on a machine of any speed.
    """
    before, clock = sockets(), HeldClock()
    async with backend(llm, concurrency=4, retries=1, clock=clock) as model:

        async def failing(expected: str, timeout_s: float = PATIENCE_S) -> None:
            """Eight requests: the breaker opens, and from then on nobody asks."""
            assert model.breaker.state(clock.now) is BreakerState.CLOSED
            found = await outcomes(model, 4, timeout_s) + await outcomes(model, 4, timeout_s)
            assert found[expected] >= 1 and found.total() == 8, found
            assert found.keys() <= {expected, "ModelUnavailable", "ModelResting"}, found
            assert model.breaker.state(clock.now) is BreakerState.OPEN
            asked = len(llm.shown)
            with pytest.raises(ModelResting):
                await answer(model, WORDS)
            assert len(llm.shown) == asked

        async def tried_again() -> Counter[str]:
            """One request after the rest, which is the one that looks whether the server is well."""
            clock.now += REST_MOST_S
            assert model.breaker.state(clock.now) is BreakerState.HALF_OPEN
            return await outcomes(model, 1)

        for some in (tuple(FAILS)[:3], tuple(FAILS)[3:]):
            assert await outcomes(model, 10) == {"answered": 10}
            for fault in some:
                llm.fault = fault
                await failing(FAILS[fault], 2.0 if fault is Fault.STALL_FIRST else PATIENCE_S)
                llm.fault = Fault.NONE
                assert await tried_again() == {"answered": 1}, fault
            await asyncio.to_thread(llm.stop)
            await failing("ModelUnavailable")
            assert (await tried_again()).keys() <= {
                "ModelUnavailable",
                "ModelResting",
            }  # the latter where it tried twice
            assert model.breaker.state(clock.now) is BreakerState.OPEN
            await asyncio.to_thread(llm.start)
            assert await tried_again() == {"answered": 1}
            assert model.breaker.state(clock.now) is BreakerState.CLOSED
        assert model.breaker.opened == 2 * (3 + 2)
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
    timeout_s = 0.5 if fault is Fault.STALL else PATIENCE_S
    settings = VisionSettings(url=llm.url, model=MODEL, retries=0, timeout_s=timeout_s)
    async with SharedModel(settings, SystemClock()) as shared:
        for _ in range(8):  # the last ones are refused by the breaker
            with pytest.raises(ModelError):
                await shared.whole_answer(PROMPT, of="cam", sort="caption", patience_s=PATIENCE_S)
        assert (shared.spent.calls > 0) is costs
        assert (shared.spent.tokens > 0) is costs
        assert shared.spent.working == shared.spent.waiting == 0


async def test_while_it_is_left_alone_nobody_waits_for_it(llm: LlmServer) -> None:
    llm.fault = Fault.STALL
    async with backend(llm, concurrency=8, clock=HeldClock()) as model:
        for _ in range(2):  # a request that never reached the server would tell nothing of it: twice
            await outcomes(model, 5, timeout_s=0.3)
        asked, begin = len(llm.shown), time.monotonic()
        for _ in range(20):
            with pytest.raises(ModelUnavailable, match=r"left alone after failing, tried again in \d s: the model"):
                await answer(model, WORDS, timeout_s=LONG_S)
        assert time.monotonic() - begin < SOON_S
        assert len(llm.shown) == asked
