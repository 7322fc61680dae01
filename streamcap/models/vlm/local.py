"""A vision–language model in this process: one thread that runs it, shared by all streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from streamcap.errors import AnswerCut, AnswerEmpty, ModelBusy, ModelError, ModelTimeout, ModelUnavailable
from streamcap.flow import Turns
from streamcap.models.language import Piece
from streamcap.models.vlm.reader import Cancelled
from streamcap.models.vlm.runner import Runner
from streamcap.models.vlm.weights import first_line
from streamcap.prompts import Prompt

__all__ = ["LocalModel"]

_log = logging.getLogger(__name__)

# Prompts that wait for the model, at most: what comes later would be answered long after it mattered.
WAITING = 16
# An answer that is cut short ends after the part of a prompt or the token that is being read.
ENDING_S = 60.0

_Inbox: TypeAlias = "asyncio.Queue[Piece | BaseException | None]"


class LocalModel:
    """Implements :class:`~streamcap.models.language.LanguageModel`.

    Answers are made one at a time, of the prompts that wait the one with the earliest deadline first: with one prompt a
    pass the weights are what is read, so that several at a time would each be slower by as much.

    Args:
        name: of the model, as a reader would name it.
        runner: is used by this object's thread alone, and closed with it.
        worker: the thread on which it was loaded; owned from here on.
    """

    def __init__(self, name: str, runner: Runner, worker: ThreadPoolExecutor | None = None) -> None:
        self._name = name
        self._runner = runner
        self._worker = worker or ThreadPoolExecutor(1, thread_name_prefix="vlm")
        self._turns = Turns(1)
        self._stopping = threading.Event()

    @property
    def name(self) -> str:
        """See :class:`~streamcap.models.language.LanguageModel`."""
        return self._name

    @property
    def runner(self) -> Runner:
        """What runs the model; its counts of work may be read at any time."""
        return self._runner

    async def generate(self, prompt: Prompt, *, timeout_s: float) -> AsyncGenerator[Piece, None]:
        """See :class:`~streamcap.models.language.LanguageModel`.

        Closing or cancelling it ends the work after the token, picture or part of the prompt (256 tokens on a CPU) that
        is being read, and waits for that.

        Raises:
            ModelBusy: too many prompts wait already, or it had no turn within the time.
            ModelTimeout: the answer is not whole within the time.
            PromptTooLong, PromptRefused: of this prompt no answer can be made.
            OutOfDeviceMemory: the GPU has no room for it.
            AnswerCut, AnswerEmpty: there is no whole answer, or no word in it; what came of it came.
            ModelUnavailable: the model was closed.
            ModelError: the runtime failed.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        if self._turns.waiting >= WAITING:
            raise ModelBusy(f"{WAITING} prompts wait for {self._name} already", hint="fewer streams, or a server")
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(deadline):
                    await stack.enter_async_context(self._turns.turn(deadline))
            except TimeoutError:
                raise ModelBusy(f"{self._name} was busy for {timeout_s:g} s with other prompts") from None
            stop = threading.Event()
            inbox: _Inbox = asyncio.Queue()  # holds an answer at most
            if self._stopping.is_set():
                raise ModelUnavailable(f"{self._name} is closed")
            work = loop.run_in_executor(self._worker, self._answer, prompt, stop, loop, inbox)
            try:
                while (piece := await self._next(inbox, deadline, timeout_s)) is not None:
                    yield piece
            finally:
                stop.set()
                await asyncio.wait([work], timeout=ENDING_S)

    async def _next(self, inbox: _Inbox, deadline: float, timeout_s: float) -> Piece | None:
        try:
            async with asyncio.timeout_at(deadline):
                item = await inbox.get()
        except TimeoutError:
            raise ModelTimeout(
                f"{self._name} did not answer within {timeout_s:g} s",
                hint="a smaller model, fewer tokens, a GPU, or a higher timeout_s",
            ) from None
        if isinstance(item, BaseException):
            raise item
        return item

    def _answer(self, prompt: Prompt, stop: threading.Event, loop: asyncio.AbstractEventLoop, inbox: _Inbox) -> None:
        """On the worker's thread: put pieces into the inbox, and what ended them: None or an error."""

        def cancelled() -> bool:
            return stop.is_set() or self._stopping.is_set()

        end: BaseException | None = None
        blank = True
        try:
            for piece in self._runner.answer(prompt, cancelled):
                blank = blank and not piece.text.strip()
                loop.call_soon_threadsafe(inbox.put_nowait, piece)
            if self._runner.at_limit:
                line = "the answer breaks off at the most tokens that it may have"
                end = AnswerCut(line, hint="raise [vision] max_tokens", at_limit=True)
            elif blank:
                end = AnswerEmpty("the model answered with no word")
        except Cancelled:
            end = ModelUnavailable(f"{self._name} is closed")  # if it is nobody's wish but ours
        except ModelError as error:
            end = error
        except RuntimeError as error:  # how torch says whatever goes wrong within it
            _log.exception("%s failed", self._name)
            end = ModelError(f"{self._name} failed: {first_line(error)}")
        except Exception as error:  # a defect; it is raised where somebody waits, not lost on this thread
            end = error
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it who waited
                loop.call_soon_threadsafe(inbox.put_nowait, end)

    async def close(self) -> None:
        """End the answer that is being made, let go of the model's memory and end the thread. Idempotent."""
        if not self._stopping.is_set():
            self._stopping.set()
            await asyncio.get_running_loop().run_in_executor(self._worker, self._runner.close)
        self._worker.shutdown(wait=False)
