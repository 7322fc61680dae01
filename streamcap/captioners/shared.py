"""The vision–language model that all streams share: loaded once, asked in turn, within its budget, and counted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from streamcap.breaker import REST_S, Breaker
from streamcap.captioners.budget import Budget, Spent, Turn
from streamcap.captioners.outlining import Outliner
from streamcap.config import VisionBackend, VisionSettings
from streamcap.errors import (
    ModelError,
    ModelLoadError,
    ModelNotFound,
    ModelTimeout,
    ModelUnauthorised,
    ModelUnavailable,
    PromptRefused,
    WeightsUnavailable,
)
from streamcap.flow import Clock
from streamcap.metrics import Histogram
from streamcap.models.language import CHARACTERS_A_TOKEN, LanguageModel, Piece, Probed, Usage, estimate
from streamcap.prompts import Prompt

__all__ = ["Asked", "SharedModel", "load_model"]

_log = logging.getLogger(__name__)

# Weights that cannot be had are tried again after this time, doubled each time up to the longest (seconds).
AGAIN_S: Final = 60.0
AGAIN_MOST_S: Final = 900.0
# Whoever asks while it is being loaded may ask again after this time (seconds).
LOADING_AGAIN_S: Final = 10.0
# A model that failed is looked after so often (seconds), but not while its server is left alone.
PROBE_S: Final = REST_S
# Seconds of an answer. From a small model on a GPU to a large one on a processor.
ANSWER_BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)


@dataclass(slots=True)
class Asked:
    """What was asked of the model, for the metrics.

    Attributes:
        calls: answers that were begun, by what they were for: ``caption``, ``summary``, ``question`` …
        failures: of these, by the sort of the fault.
        prompt_tokens, completion_tokens: of answers that were whole.
        first: seconds to the first token; whole: to the last.
        outcomes: of windows, by stream and what became of them: ``told``, ``vetoed``, ``nothing new``, ``repeated``.
        conflicts: contradictions, by stream and sort.
    """

    calls: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first: Histogram = field(default_factory=lambda: Histogram(ANSWER_BOUNDS))
    whole: Histogram = field(default_factory=lambda: Histogram(ANSWER_BOUNDS))
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    conflicts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def keep(self, streams: Collection[str]) -> None:
        """Forget what was counted of all other streams."""
        for counts in (self.outcomes, self.conflicts):
            for key in [key for key in counts if key[0] not in streams]:
                del counts[key]


class SharedModel:
    """Asks one model for all streams; an async context manager that loads it in the background and lets go of it.

    Args:
        settings: which model, where, and how much of it.
        load: makes the model; may take minutes.

    Attributes:
        settings: as given.
        asked: what was asked so far.
        outliner: cuts out whom its pictures show.
    """

    def __init__(
        self,
        settings: VisionSettings,
        clock: Clock,
        load: Callable[[VisionSettings], Awaitable[LanguageModel]] | None = None,
    ) -> None:
        self.settings = settings
        self.asked = Asked()
        self.outliner = Outliner(settings.outlines, clock)
        self._clock, self._load = clock, load or load_model
        self._budget = Budget(settings, clock)
        self._model: LanguageModel | None = None
        self._trouble: ModelError = ModelUnavailable("the model is being loaded", retry_after_s=LOADING_AGAIN_S)
        self._loading: asyncio.Task[None] | None = None
        self._awaited = False
        self._tried = asyncio.Event()  # it is there, or was tried in vain
        self._proof = asyncio.Event()  # set, and replaced, when it shows that it is well
        self._probing = asyncio.Lock()

    async def __aenter__(self) -> SharedModel:
        """Raises ConfigError or ModelLoadError where a server's client cannot be made; what is loaded comes later."""
        if self.settings.backend is VisionBackend.OPENAI:
            self._model = await self._load(self.settings)
            self._tried.set()
            return self
        self._loading = asyncio.create_task(self._keep_loading(), name="load-vision")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loading is not None:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loading
        await self.outliner.close()
        if self._model is not None:
            await self._model.close()
            self._model = None

    @property
    def name(self) -> str:
        """What ``source`` of its captions says."""
        # While it is loaded not where on this machine it lies; none before the first answer where settings name none.
        there = self._model
        name = there.name if there is not None else self.settings.model.rstrip("/").rpartition("/")[2]
        return f"vision:{name}" if name else "vision"

    @property
    def model(self) -> LanguageModel | None:
        """The model itself, None while it is not there."""
        return self._model

    @property
    def well(self) -> bool:
        """The model can be asked: it is loaded, and its server is not being left alone after failing."""
        return self._model is not None and not self._rest_s()

    @property
    def spent(self) -> Spent:
        """What all streams spent in the last minute."""
        return self._budget.spent()

    async def ready(self) -> None:
        """Return when the model is there.

        Raises:
            ModelError: it cannot be had. It may be later: where its weights could not be fetched, that is tried on.
        """
        self._awaited = True
        await self._tried.wait()
        if self._model is None:
            raise self._trouble

    async def recovered(self) -> None:
        """Return when the model shows that it is well: it is loaded now, it answered somebody, its server lists it.

        A server is looked at every 5 s, when it is not being left alone, by one for all who wait; that costs no tokens
        and is no call. A model in this process has nothing to look at: it shows by being loaded, or by an answer.
        Cancelling leaves nothing behind.
        """
        proof = self._proof
        while not proof.is_set():
            async with self._probing:
                if not proof.is_set():
                    await self._look(proof)

    async def _look(self, proof: asyncio.Event) -> None:
        """Wait for a proof for a while, then look."""
        try:
            async with asyncio.timeout(max(PROBE_S, self._rest_s())):
                await proof.wait()
        except TimeoutError:
            await self._probe()

    async def _probe(self) -> None:
        model: object = self._model
        if not isinstance(model, Probed):
            return
        try:
            well = await model.probe()
        except ModelError as error:
            _log.debug("%s is not well yet: %s", self.name, error)
        else:
            if well:
                self._is_well()

    def _is_well(self) -> None:
        self._proof.set()
        self._proof = asyncio.Event()

    def _rest_s(self) -> float:
        """For how long the model's server is left alone yet."""
        breaker = getattr(self._model, "breaker", None)
        return breaker.rest(self._clock.monotonic()) if isinstance(breaker, Breaker) else 0.0

    async def answer(self, prompt: Prompt, *, of: str, sort: str, patience_s: float) -> AsyncGenerator[Piece, None]:
        """Yield an answer piece by piece; closing the generator ends the work on it.

        Args:
            of: whose budget it is: id of a stream.
            sort: what it is for, for the metrics.
            patience_s: to wait for a turn and for budget, at most.

        Raises:
            ModelError: there is no (whole) answer; the model may also not be loaded yet, or there is no budget in time.
        """
        model = self._model
        if model is None:
            raise self._trouble
        self.asked.calls[sort] += 1
        deadline, expected = self._clock.monotonic() + patience_s, estimate(prompt)
        try:
            async with self._budget.turn(of, deadline, expected) as turn:
                pieces = model.generate(prompt, timeout_s=self.settings.timeout_s)
                async with contextlib.aclosing(self._counted(pieces, turn, expected)) as counted:
                    async for piece in counted:
                        yield piece
        except ModelError as error:
            self.asked.failures[type(error).__name__] += 1
            raise

    async def _counted(
        self, pieces: AsyncGenerator[Piece, None], turn: Turn, expected: Usage
    ) -> AsyncGenerator[Piece, None]:
        """The pieces of an answer, whose time and cost are noted."""
        began, said = self._clock.monotonic(), 0
        try:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    if piece.text and not said:
                        self.asked.first.add(self._clock.monotonic() - began)
                    said += len(piece.text)
                    used = piece.usage or Usage(expected.prompt_tokens, math.ceil(said / CHARACTERS_A_TOKEN))
                    turn.used(used)
                    if piece.usage is not None:
                        self.asked.prompt_tokens += used.prompt_tokens
                        self.asked.completion_tokens += used.completion_tokens
                    yield piece
        except BaseException as error:  # also a caller that goes away
            if not said and not _was_not_read(error):
                turn.used(Usage(expected.prompt_tokens, 0))
            raise
        self.asked.whole.add(self._clock.monotonic() - began)
        self._is_well()

    async def whole_answer(self, prompt: Prompt, *, of: str, sort: str, patience_s: float) -> str:
        """An answer in one piece; as :meth:`answer`."""
        async with contextlib.aclosing(self.answer(prompt, of=of, sort=sort, patience_s=patience_s)) as pieces:
            return "".join([piece.text async for piece in pieces])

    async def _keep_loading(self) -> None:
        pause = AGAIN_S
        while True:
            try:
                self._model = await self._load(self.settings)
            except WeightsUnavailable as error:
                _log.warning("%s cannot be loaded yet: %s", self.settings.model, error.in_full)
                self._trouble = error
            except ModelError as error:
                if not self._awaited:  # else it is raised to whoever waits
                    _log.error("%s cannot be loaded: %s", self.settings.model, error.in_full)
                self._trouble = error
                return
            except Exception as error:  # a defect; streams go on with grounded text and say so
                _log.exception("%s cannot be loaded", self.settings.model)
                self._trouble = ModelLoadError(f"{self.settings.model} cannot be loaded: {error!r}")
                return
            else:
                self._is_well()
                return
            finally:
                self._tried.set()
            await self._clock.sleep(pause)
            pause = min(2 * pause, AGAIN_MOST_S)


def _was_not_read(error: BaseException) -> bool:
    """True where a model refused a prompt unread: that costs nothing, or a server that is down would eat the budget."""
    refused = (ModelUnavailable, ModelNotFound, ModelUnauthorised, PromptRefused)
    return isinstance(error, refused) and not isinstance(error, ModelTimeout)


async def load_model(settings: VisionSettings) -> LanguageModel:
    """The model that settings name; one that runs in this process is fetched and loaded, which takes a while.

    Raises:
        ModelError: it cannot be had, or its runtime is not installed.
        ConfigError: the settings do not hold.
    """
    match settings.backend:
        case VisionBackend.OPENAI:
            from streamcap.models.openai_server import OpenAiServer

            return OpenAiServer(settings)
        case VisionBackend.TRANSFORMERS:
            from streamcap.models.vlm import load

            return await load(settings)
