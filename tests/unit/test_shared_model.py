"""The model that streams share: loaded in the background, counted, and asked within its budget."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from streamcap.breaker import REST_S, Breaker, Trial
from streamcap.captioners import SharedModel
from streamcap.captioners.shared import AGAIN_S, PROBE_S, Asked
from streamcap.config import VisionBackend, VisionSettings
from streamcap.errors import ModelError, ModelLoadError, ModelUnavailable, OverBudget, WeightsUnavailable
from streamcap.models.language import LanguageModel, Piece, Usage
from streamcap.prompts import Prompt, Text
from tests.virtual_time import VirtualClock, virtual_time

PROMPT = Prompt("", (Text("What is it?"),))
LOCAL = VisionSettings(backend=VisionBackend.TRANSFORMERS, model="/models/tiny/")


class Parrot:
    """A model that answers in three pieces, one a second; or fails."""

    name = "parrot"

    def __init__(self, error: ModelError | None = None) -> None:
        self.error, self.closed, self.left = error, False, 0

    async def generate(self, prompt: Prompt, *, timeout_s: float) -> AsyncGenerator[Piece, None]:
        try:
            for word in ("It ", "is ", "it."):
                await asyncio.sleep(1)
                yield Piece(word)
            if self.error is not None:
                raise self.error
            yield Piece("", Usage(100, 3))
        finally:
            self.left += 1

    async def close(self) -> None:
        self.closed = True


@virtual_time
async def test_it_is_loaded_in_the_background_and_says_so_until_then() -> None:
    async def load(_: VisionSettings) -> LanguageModel:
        await asyncio.sleep(30)
        return Parrot()

    async with SharedModel(LOCAL, VirtualClock(), load) as shared:
        assert asyncio.get_running_loop().time() == 0
        with pytest.raises(ModelUnavailable, match="the model is being loaded") as loading:
            await shared.whole_answer(PROMPT, of="s", sort="caption", patience_s=1)
        assert loading.value.retry_after_s
        assert (shared.well, shared.name) == (False, "vision:tiny")
        await shared.ready()
        assert (shared.well, shared.name) == (True, "vision:parrot")
        assert await shared.whole_answer(PROMPT, of="s", sort="caption", patience_s=1) == "It is it."
    assert asyncio.get_running_loop().time() < 40


@virtual_time
async def test_weights_that_cannot_be_had_are_tried_again_and_nothing_else_is() -> None:
    tries = []

    async def load(_: VisionSettings) -> LanguageModel:
        tries.append(asyncio.get_running_loop().time())
        if len(tries) < 3:
            raise WeightsUnavailable("no hub")
        return Parrot()

    async with SharedModel(LOCAL, VirtualClock(), load) as shared:
        with pytest.raises(WeightsUnavailable, match="no hub"):
            await shared.ready()
        await asyncio.sleep(10 * AGAIN_S)
        assert tries == [0, AGAIN_S, 3 * AGAIN_S]
        assert shared.well

    async def refuse(_: VisionSettings) -> LanguageModel:
        tries.append(0)
        raise ModelLoadError("wrong architecture")

    tries.clear()
    async with SharedModel(LOCAL, VirtualClock(), refuse) as shared:
        await asyncio.sleep(100 * AGAIN_S)
        assert len(tries) == 1
        with pytest.raises(ModelLoadError, match="wrong architecture"):
            await shared.whole_answer(PROMPT, of="s", sort="caption", patience_s=1)

    async def fall_over(_: VisionSettings) -> LanguageModel:
        raise KeyError("a defect")

    async with SharedModel(LOCAL, VirtualClock(), fall_over) as shared:
        with pytest.raises(ModelLoadError, match="a defect"):
            await shared.ready()


@virtual_time
async def test_who_waits_for_it_is_told_and_else_the_log_is(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(_: VisionSettings) -> LanguageModel:
        raise ModelLoadError("wrong architecture", hint="take another")

    async with SharedModel(LOCAL, VirtualClock(), refuse) as shared:
        with pytest.raises(ModelLoadError):
            await shared.ready()
    assert caplog.messages == []
    async with SharedModel(LOCAL, VirtualClock(), refuse):
        await asyncio.sleep(1)
    assert [message.partition(": ")[2] for message in caplog.messages] == ["wrong architecture; take another"]


@virtual_time
async def test_what_is_asked_is_counted_and_ended_with_who_asked() -> None:
    parrot = Parrot()

    async def load(_: VisionSettings) -> LanguageModel:
        return parrot

    async with SharedModel(LOCAL, VirtualClock(), load) as shared:
        await shared.ready()
        await shared.whole_answer(PROMPT, of="s", sort="caption", patience_s=1)
        answer = shared.answer(PROMPT, of="s", sort="question", patience_s=1)
        assert (await anext(answer)).text == "It "
        assert (shared.spent.working, shared.spent.calls) == (1, 2)
        await answer.aclose()
        assert (shared.spent.working, parrot.left) == (0, 2)
        parrot.error = ModelError("it broke")
        with pytest.raises(ModelError, match="it broke"):
            await shared.whole_answer(PROMPT, of="s", sort="caption", patience_s=1)
        asked = shared.asked
        assert dict(asked.calls) == {"caption": 2, "question": 1}
        assert dict(asked.failures) == {"ModelError": 1}
        assert (asked.prompt_tokens, asked.completion_tokens) == (100, 3)
        assert sum(asked.first.counts) == 3 and sum(asked.whole.counts) == 1
    assert parrot.closed


@virtual_time
async def test_who_has_spent_the_budget_is_refused_at_once() -> None:
    async def load(_: VisionSettings) -> LanguageModel:
        return Parrot()

    settings = LOCAL.model_copy(update={"calls_per_minute": 1.0})
    async with SharedModel(settings, VirtualClock(), load) as shared:
        await shared.ready()
        await shared.whole_answer(PROMPT, of="s", sort="caption", patience_s=1)
        with pytest.raises(OverBudget):
            await shared.whole_answer(PROMPT, of="s", sort="caption", patience_s=1)
        await shared.whole_answer(PROMPT, of="another", sort="caption", patience_s=1)


class Served(Parrot):
    """A model elsewhere, which is there from a moment on; counts how often it was looked for."""

    def __init__(self, there_s: float, error: ModelError | None = None) -> None:
        super().__init__(error)
        self.there_s, self.probes = there_s, 0
        self.breaker = Breaker()

    async def probe(self) -> bool:
        self.probes += 1
        if asyncio.get_running_loop().time() < self.there_s:
            raise ModelUnavailable("nobody answers")
        return True


@contextlib.asynccontextmanager
async def shared_of(model: LanguageModel) -> AsyncIterator[SharedModel]:
    async def load(_: VisionSettings) -> LanguageModel:
        return model

    async with SharedModel(LOCAL, VirtualClock(), load) as shared:
        await shared.ready()
        yield shared


@virtual_time
async def test_whether_it_is_there_again_is_looked_for_by_one_for_all_and_costs_no_call() -> None:
    served = Served(there_s=22)
    async with shared_of(served) as shared:
        await asyncio.gather(*(shared.recovered() for _ in range(20)))
        assert asyncio.get_running_loop().time() == 5 * PROBE_S
        assert served.probes == 5
        assert (shared.asked.calls, shared.spent.calls) == ({}, 0)


@virtual_time
async def test_a_server_that_is_left_alone_is_not_looked_for_either() -> None:
    served = Served(there_s=0)
    async with shared_of(served) as shared:
        for _ in range(5):
            trial = served.breaker.ask(0.0)
            assert isinstance(trial, Trial)
            trial.failed("down", 0.0)
        trial = served.breaker.ask(REST_S)
        assert isinstance(trial, Trial)
        trial.failed("still down", REST_S)  # for 10 s
        await shared.recovered()
        assert (served.probes, asyncio.get_running_loop().time()) == (1, 3 * REST_S)


@virtual_time
async def test_an_answer_to_somebody_else_shows_that_it_is_well() -> None:
    async with shared_of(Parrot()) as shared:
        waiting = asyncio.create_task(shared.recovered())
        await asyncio.sleep(1000)
        assert not waiting.done(), "of a model in this process nothing else tells"
        await shared.whole_answer(PROMPT, of="other", sort="caption", patience_s=1)
        await asyncio.sleep(0.1)
        assert waiting.done()


@virtual_time
async def test_who_asked_too_early_is_told_when_it_is_loaded() -> None:
    async def load(_: VisionSettings) -> LanguageModel:
        await asyncio.sleep(90)
        return Parrot()

    async with SharedModel(LOCAL, VirtualClock(), load) as shared:
        await shared.recovered()
        assert shared.well and asyncio.get_running_loop().time() == 90


@virtual_time
async def test_who_no_longer_waits_leaves_the_looking_to_another() -> None:
    served = Served(there_s=12)
    async with shared_of(served) as shared:
        first, second = (asyncio.create_task(shared.recovered()) for _ in range(2))
        await asyncio.sleep(1)
        first.cancel()
        await second
        assert served.probes == 3


def test_what_is_counted_of_streams_that_are_gone_is_forgotten() -> None:
    asked = Asked()
    for stream in ("door", "gone"):
        asked.outcomes[stream, "told"] += 1
        asked.conflicts[stream, "count"] += 2
    asked.keep({"door", "yard"})
    assert (asked.outcomes, asked.conflicts) == ({("door", "told"): 1}, {("door", "count"): 2})
