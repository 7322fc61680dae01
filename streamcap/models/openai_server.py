"""A vision–language model behind OpenAI's chat API: vLLM, SGLang, Ollama, llama.cpp, or a service.

The official client speaks HTTP. Its own retries are switched off: which faults are worth another try, and how many
tries there may be over all streams, is known here. Every wait has an end. See docs/decisions/031-model-server.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from streamcap.breaker import Breaker, Resting, RetryBudget, Trial
from streamcap.config import VisionSettings
from streamcap.errors import (
    AnswerCut,
    AnswerMalformed,
    ModelBusy,
    ModelError,
    ModelNotFound,
    ModelResting,
    ModelTimeout,
    ModelUnauthorised,
    ModelUnavailable,
    PromptRefused,
)
from streamcap.flow import Clock, SystemClock
from streamcap.models.language import Piece, Usage, estimate, text_tokens
from streamcap.models.openai_answer import check_form, end_stream, judge, read_chunk
from streamcap.models.openai_client import checked_url, is_in_the_clear, open_client
from streamcap.models.openai_faults import Faults, spoken
from streamcap.models.openai_request import Constraint, Dialect, names_the_form, request_body
from streamcap.prompts import Prompt

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncStream
    from openai.types.chat import ChatCompletionChunk

__all__ = ["OpenAiServer", "Patience"]

_log = logging.getLogger(__name__)
T = TypeVar("T")

# An answer of more characters than this for each token that it may have does not heed the limit.
CHARACTERS_A_TOKEN_MOST = 24
# Waits between tries (seconds): the first, doubled for each one after it, shortened by chance by up to half.
RETRY_FIRST_S = 0.25
# A wait for the server to be less busy is worth it up to this share of the time that is left.
WAIT_SHARE = 0.5
# For the list of the server's models (seconds).
LIST_S = 3.0
# After the last token, for what it did cost (seconds).
COST_S = 1.0
# Faults of these statuses may be for the dialect; those above, only where the server says so.
REFUSALS = frozenset({400, 415, 422})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the steps of an answer may take; never longer than the whole may.

    Attributes:
        connect_s: to connect.
        first_share: share of the whole that may pass before the first token; later there is no time for the rest.
        between_s: from one token to the next.
    """

    connect_s: float = 3.0
    first_share: float = 0.75
    between_s: float = 5.0


@dataclass(frozen=True, slots=True)
class _Due:
    """When an answer has to be there, in the loop's seconds."""

    begun: float
    first: float
    whole: float


class OpenAiServer:
    """One model of one server; see :class:`streamcap.models.language.LanguageModel`. For one event loop.

    Args:
        settings: where it is. The key is read from the environment now.
        patience: how long the steps of an answer may take.
        clock: for the breaker and for waits between tries.

    Raises:
        ConfigError: the address is none.
        ModelLoadError: the client is not installed.
    """

    def __init__(
        self, settings: VisionSettings, *, patience: Patience | None = None, clock: Clock | None = None
    ) -> None:
        url = checked_url(settings.url)
        key = os.environ.get(settings.api_key_env, "").strip()
        self._patience = patience or Patience()
        self._client = open_client(url, key, connect_s=self._patience.connect_s, connections=settings.concurrency)
        self._faults = Faults(url, key)
        if key and is_in_the_clear(url):
            _log.warning("the key of the model server crosses the network in the clear: [vision] url has no https")
        self._clock = clock or SystemClock()
        self._named = self._model = settings.model
        self._retries = settings.retries
        self._concurrency = settings.concurrency
        self._places = asyncio.Semaphore(settings.concurrency)
        self._retry_budget = RetryBudget()
        self._dialect = Dialect()
        self._not_before = 0.0  # monotonic seconds; the server asked to come later
        self._closed = False
        self.breaker = Breaker()

    @property
    def name(self) -> str:
        """Of the model; empty until the first answer where settings name none."""
        return self._model

    async def models(self) -> tuple[str, ...]:
        """Names of the models that the server has.

        Raises:
            ModelError: it cannot be reached, or does not tell.
        """
        import openai

        try:
            page = await self._within(LIST_S, self._client.models.list(), "did not list its models", LIST_S)
            return tuple(str(model.id) for model in page.data)
        except openai.APIStatusError as error:
            if error.status_code == 404:
                raise self._faults.no_api() from None
            raise self._faults.refused(error, pictures=0) from None
        except (AttributeError, TypeError, ValueError) as error:
            raise AnswerMalformed(
                f"the model server lists its models in another form: {type(error).__name__}"
            ) from None

    async def probe(self) -> bool:
        """See :class:`streamcap.models.language.Probed`: whether the model stands in the server's list of models.

        The breaker learns nothing of it: that a server lists its models is no proof that one answers.
        """
        if self._closed:
            return False
        try:
            names = await self.models()
        except (AnswerMalformed, ModelNotFound):  # there is no such list; answers are asked for without it
            return False
        named = self._named
        # Ollama lists what is asked for as `name` by `name:latest`.
        return any(not named or name == named or name.startswith(f"{named}:") for name in names)

    async def close(self) -> None:
        """Close all connections; answers that are under way end as unavailable. Idempotent."""
        self._closed = True
        await self._client.close()

    async def generate(self, prompt: Prompt, *, timeout_s: float) -> AsyncGenerator[Piece, None]:
        """Yield an answer piece by piece. See :class:`streamcap.models.language.LanguageModel`.

        A fault that may pass is tried again as long as no text was given out, at most ``retries`` times.
        """
        now = _now()
        due = _Due(now, now + self._patience.first_share * timeout_s, now + timeout_s)
        self._retry_budget.called()
        async with self._place(timeout_s):
            for tried in range(self._retries + 1):
                await self._until_less_busy(due)
                trial, given = self._ask_breaker(), False
                try:
                    async with contextlib.aclosing(self._attempt(trial, prompt, due)) as pieces:
                        async for piece in pieces:
                            given = True
                            yield piece
                except ModelUnavailable as error:
                    pause = self._pause(error, tried)
                    if given or tried == self._retries or not self._worth_a_retry(error, pause, due):
                        raise
                    _log.info("%s; tried again in %.1f s", error, pause)
                else:
                    return
                await self._clock.sleep(pause)

    @contextlib.asynccontextmanager
    async def _place(self, timeout_s: float) -> AsyncIterator[None]:
        """One of the places at the server."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._places.acquire()
        except TimeoutError:
            raise ModelBusy(
                f"all {self._concurrency} places at the model server were taken for {timeout_s:.3g} s",
                hint="more [vision] concurrency, if the server can bear it",
            ) from None
        try:
            yield
        finally:
            self._places.release()

    async def _until_less_busy(self, due: _Due) -> None:
        wait = self._not_before - self._clock.monotonic()
        if wait <= 0:
            return
        if wait > WAIT_SHARE * _left(due.whole):
            raise ModelBusy(f"the model server asked to come later, in {wait:.3g} s", retry_after_s=wait)
        await self._clock.sleep(wait)

    def _ask_breaker(self) -> Trial:
        if self._closed:
            raise ModelUnavailable("the connection to the model server is closed")
        asked = self.breaker.ask(self._clock.monotonic())
        if isinstance(asked, Resting):
            when = f"tried again in {asked.seconds:.0f} s" if asked.seconds else "being tried just now"
            raise ModelResting(
                f"the model server is left alone after failing, {when}: {asked.why}",
                retry_after_s=asked.seconds or 1.0,
            )
        return asked

    def _pause(self, error: ModelUnavailable, tried: int) -> float:
        chance = random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret
        return max(error.retry_after_s or 0.0, RETRY_FIRST_S * float(2**tried) * chance)

    def _worth_a_retry(self, error: ModelUnavailable, pause: float, due: _Due) -> bool:
        """After a stall it is not: the time that another try would need has been spent."""
        if isinstance(error, ModelTimeout) or self._closed or pause > WAIT_SHARE * _left(due.whole):
            return False
        return self._retry_budget.retry()

    async def _attempt(self, trial: Trial, prompt: Prompt, due: _Due) -> AsyncGenerator[Piece, None]:
        """One try. The breaker learns how it went; a fault of the prompt's own says nothing of the server."""
        try:
            async with contextlib.aclosing(self._answer(prompt, due)) as pieces:
                async for piece in pieces:
                    yield piece
            trial.succeeded()
        except ModelError as error:
            now = self._clock.monotonic()
            if isinstance(error, ModelBusy):
                self._not_before = now + (error.retry_after_s or 0.0)
            elif _of_the_server(error):
                trial.failed(str(error), now)
            raise
        finally:
            trial.dropped()

    async def _answer(self, prompt: Prompt, due: _Due) -> AsyncGenerator[Piece, None]:
        stream = await self._open(prompt, due)
        said, blank, usage, finish = 0, True, None, ""
        try:
            while (chunk := await self._next(stream, due, begun=said > 0, ended=bool(finish))) is not None:
                text, ended, counted = read_chunk(chunk)
                finish, usage = ended or finish, counted or usage
                if text:
                    said += len(text)
                    blank = blank and not text.strip()
                    if said > CHARACTERS_A_TOKEN_MOST * prompt.max_tokens:
                        raise AnswerMalformed(f"the answer is far longer than {prompt.max_tokens} tokens")
                    yield Piece(text)
        finally:
            await end_stream(stream)
        judge(finish, blank=blank, most=prompt.max_tokens)
        yield Piece("", usage or Usage(estimate(prompt).prompt_tokens, text_tokens(said)))

    async def _open(self, prompt: Prompt, due: _Due) -> AsyncStream[ChatCompletionChunk]:
        """Ask, in the words that the server understands; they are found out at the first call."""
        import openai

        model = self._model or await self._only_model()
        dialect = self._dialect
        while True:
            body = await asyncio.to_thread(request_body, prompt, model, dialect)
            try:
                asking: Awaitable[AsyncStream[ChatCompletionChunk]] = self._client.chat.completions.create(**body)
                stream = await self._within(_left(due.first), asking, "did not begin to answer", due.first - due.begun)
            except openai.APIStatusError as error:
                if error.status_code == 404:
                    self._model = self._named  # whichever it has now, where settings name none
                    raise self._faults.not_found(model, await self._models_or_none()) from None
                fault = self._faults.refused(error, pictures=len(prompt.pictures))
                other = _other(dialect, error, fault, prompt)
                if other is None:
                    raise fault from None
                dialect = other
                continue
            await check_form(stream)
            self._learn(dialect)
            return stream

    def _learn(self, dialect: Dialect) -> None:
        if dialect != self._dialect:
            self._dialect = dialect
            _log.info("the model server understands: %s", dialect)

    async def _only_model(self) -> str:
        """Its one model, where settings name none."""
        names = await self.models()
        if len(names) != 1:
            raise self._faults.not_found("", names)
        self._model = names[0]
        return self._model

    async def _models_or_none(self) -> tuple[str, ...] | None:
        try:
            return await self.models()
        except ModelError:  # what failed before this is what is told
            return None

    async def _within(self, seconds: float, what: Awaitable[T], failing: str, limit: float) -> T:
        """The result, or the fault by its name; a status that is no answer is left to the caller.

        Args:
            seconds: that are left, of ``limit``.
            failing: what it is told not to have done.
        """
        import openai

        try:
            async with asyncio.timeout(seconds):
                return await what
        except TimeoutError:
            raise self._faults.late(failing, limit) from None
        except openai.APITimeoutError:
            raise self._faults.unreachable(f"no connection within {self._patience.connect_s:.3g} s") from None
        except openai.APIConnectionError as error:
            raise self._faults.broken(error) from None

    async def _next(
        self, stream: AsyncStream[ChatCompletionChunk], due: _Due, *, begun: bool, ended: bool
    ) -> ChatCompletionChunk | None:
        """The next event of the stream, None at its end.

        Args:
            begun: there was text; from now on tokens are waited for, and no longer the first one.
            ended: the answer is there whole, and only its cost may follow: no fault matters any more.
        """
        if ended:
            with contextlib.suppress(ModelError):
                return await self._event(stream, replace(due, whole=min(due.whole, _now() + COST_S)), begun=True)
            return None
        return await self._event(stream, due, begun=begun)

    async def _event(
        self, stream: AsyncStream[ChatCompletionChunk], due: _Due, *, begun: bool
    ) -> ChatCompletionChunk | None:
        import openai

        whole, step = _left(due.whole), self._patience.between_s if begun else _left(due.first)
        try:
            async with asyncio.timeout(min(whole, step)):
                return await anext(stream, None)
        except TimeoutError:
            if whole <= step:
                raise self._faults.late("did not end its answer", due.whole - due.begun) from None
            if begun:
                raise self._faults.late("did not go on", step) from None
            raise self._faults.late("gave no first token", due.first - due.begun) from None
        except openai.APIConnectionError as error:
            raise self._faults.broken(error, begun=begun) from None
        except openai.APIError as error:  # as an event of the stream
            raise ModelUnavailable(f"the model server fails: {self._faults.quoted(spoken(error))}") from None
        except ValueError as error:  # no JSON, or no UTF-8
            raise AnswerMalformed(f"the model server streams what is no JSON: {type(error).__name__}") from None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _left(until: float) -> float:
    return until - _now()


def _of_the_server(error: ModelError) -> bool:
    """True where a fault would meet other prompts as well."""
    if isinstance(error, AnswerCut):
        return not error.at_limit
    return isinstance(error, (ModelUnavailable, ModelNotFound, ModelUnauthorised, AnswerMalformed))


def _other(dialect: Dialect, error: APIStatusError, fault: ModelError, prompt: Prompt) -> Dialect | None:
    """The dialect to try next, where a refusal may be for the one that was tried."""
    message = spoken(error)
    if error.status_code in REFUSALS and type(fault) is PromptRefused:
        return dialect.after(message, prompt.answer)
    if error.status_code >= 500 and dialect.constraint < Constraint.WORDS and names_the_form(message):
        return dialect.after(message, prompt.answer)
    return None
