"""The caption lane of one stream: closed windows in, one text each out, in order.

    closed window ──> captioner ──growing drafts, then the final──> revise
                          └──fails, or is too late: the grounded text stands──^

One window is at the captioner at a time. What changes meanwhile gathers in the next one, which is held open as long as
the lane is ``busy``; perception does not wait on a live stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from streamcap.captioners import Captioner, Difference, GroundedCaptioner, Recovering, Summariser
from streamcap.errors import (
    AnswerCut,
    ModelError,
    ModelNotFound,
    ModelResting,
    ModelUnavailable,
    OutOfDeviceMemory,
    OverBudget,
    WeightsUnavailable,
)
from streamcap.language import Description
from streamcap.looks import Looks
from streamcap.standing import Standing, Status
from streamcap.types import Window

__all__ = ["Revise", "Wording"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

# Closed windows that wait for the captioner; where one more comes on a live stream, the one at work is given up.
WAITING: Final = 4
# A stream that is asked to stop gives what is at the captioner this long (seconds).
HURRIED_S: Final = 2.0
# A captioner that seemed to be well again and failed the next time is not believed for so long, doubled each time
# (seconds): a server may list its models and answer nobody, and each change of state is a line in the journal.
DOUBT_S: Final = 60.0
DOUBT_MOST_S: Final = 960.0


class Revise(Protocol):
    """Publishes the next revision of a window's caption."""

    def __call__(self, window: Window, what: Description, source: str, *, final: bool) -> Awaitable[None]:
        """Wait until it is published; nothing is where it would say nothing new."""
        ...


@dataclass(frozen=True, slots=True)
class _Told:
    """A window that the captioner is not asked about, and yet told in its turn."""

    window: Window


_Tell = Callable[[str | None, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Summary:
    """A summary that is made in its turn."""

    differences: Sequence[Difference]
    start: float
    end: float
    tell: _Tell


class Wording:
    """Puts windows into words, one after the other.

    Args:
        stream: its id, for the log.
        captioner: makes the text; may be replaced, windows that wait are worded by the new one.
        grounded: makes the text that stands where the captioner fails; may be replaced.
        standing: where it is noted that the captioner fails.
        recalled: gives a window with what was said before it, when its turn comes.
        is_news: whether what is said of a window would be new; what would not costs no captioner.
        revise: publishes revisions.
        say: publishes changes of the stream's state.

    Attributes:
        looks: pictures of windows; None for a captioner that looks at none.
    """

    def __init__(
        self,
        stream: str,
        captioner: Captioner,
        grounded: GroundedCaptioner,
        standing: Standing,
        *,
        recalled: Callable[[Window], Window],
        is_news: Callable[[Window, Description], bool],
        revise: Revise,
        say: Callable[[Iterable[Status]], Awaitable[None]],
    ) -> None:
        self.captioner, self.grounded = captioner, grounded
        self.looks: Looks | None = None
        self._stream, self._standing = stream, standing
        self._recalled, self._is_news, self._revise, self._say = recalled, is_news, revise, say
        self._waiting: asyncio.Queue[Window | _Told | _Summary | None] = asyncio.Queue(WAITING)
        self._at: Window | _Summary | None = None
        self._limit: asyncio.Timeout | None = None
        self._hurried = False
        self._summary = ""  # the last one; whoever makes the next one goes on from it
        self._faults: set[type[ModelError]] = set()  # that were told since it last answered: each once
        self._passing: ModelError | None = None  # the last fault, where all of them may pass by themselves
        self._failed_now = asyncio.Event()
        self._doubt_s = 0.0

    @property
    def busy(self) -> bool:
        """Something is at the captioner, or waits for it."""
        return self._at is not None or not self._waiting.empty()

    @property
    def takes_time(self) -> bool:
        """The captioner is another than the grounded one, which has its text in milliseconds."""
        return self.captioner.name != self.grounded.name

    async def put(self, window: Window, *, live: bool, overdue: bool = False) -> None:
        """Have a closed window told in its turn.

        Waits while four wait; on a live stream the one at the captioner is then given up, so that is soon over.

        Args:
            live: time does not wait for language.
            overdue: it was held open for so long that the grounded text stands.
        """
        if self.looks is not None:
            window = replace(window, looks=self.looks.of(window))
        await self._put(_Told(window) if overdue else window, live=live)

    async def summarise(self, differences: Sequence[Difference], start: float, end: float, tell: _Tell) -> None:
        """Have a live stream's differences folded into one text, in its turn.

        Args:
            differences: oldest first.
            start, end: media seconds.
            tell: called with the text and who made it; with None where the captioner makes none.
        """
        if isinstance(self.captioner, Summariser):
            await self._put(_Summary(differences, start, end, tell), live=True)
        else:
            await tell(None, "")

    async def retold(self, differences: Sequence[Difference], start: float, end: float) -> tuple[str | None, str]:
        """Differences as one text and who made it, None where the captioner makes none; not while :meth:`run` does."""
        captioner = self.captioner
        if not isinstance(captioner, Summariser):
            return None, ""
        text = await self._asked(lambda: captioner.summarise(differences, start, end, self._summary))
        self._summary = text or self._summary
        return text, captioner.name

    async def end(self) -> None:
        """Have :meth:`run` return once all that waits is told."""
        await self._waiting.put(None)

    def hurry(self) -> None:
        """The stream is to stop: what is at the captioner has two seconds left, and nothing more is asked of it."""
        self._hurried = True
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + HURRIED_S)

    async def run(self) -> None:
        """Word windows until :meth:`end`. Cancelled, :meth:`leave_nothing_open` tells what is left."""
        watching = asyncio.create_task(self._watch(), name=f"recovery {self._stream}")
        try:
            await self._word_all()
        finally:
            watching.cancel()
            (ended,) = await asyncio.gather(watching, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended

    async def _word_all(self) -> None:
        while (item := await self._waiting.get()) is not None:
            if isinstance(item, _Told):
                await self.finalise_grounded(item.window)
                continue
            self._at = item
            if isinstance(item, Window):
                await self._word(self._recalled(item))
            else:
                await item.tell(*await self.retold(item.differences, item.start, item.end))
            self._at = None

    async def leave_nothing_open(self) -> None:
        """After a fault: what was drafted becomes final as it stands."""
        self.hurry()
        left = [self._at, *(self._waiting.get_nowait() for _ in range(self._waiting.qsize()))]
        self._at = None
        for item in left:
            if isinstance(item, _Summary):
                await item.tell(None, "")
            elif item is not None:
                await self.finalise_grounded(item if isinstance(item, Window) else item.window)

    async def finalise_grounded(self, window: Window) -> None:
        """The grounded text of a window as its final."""
        window = self._recalled(window)
        await self._revise(window, self.grounded.whole(window), self.grounded.name, final=True)

    async def _put(self, item: Window | _Told | _Summary, *, live: bool) -> None:
        if live and self._waiting.full() and self._limit is not None:
            _log.info("%s: %d captions wait, the one at work is given up", self._stream, WAITING)
            self._limit.reschedule(asyncio.get_running_loop().time())
        await self._waiting.put(item)

    async def _word(self, window: Window) -> None:
        captioner, last = self.captioner, None
        if not self.takes_time or self._is_news(window, self.grounded.whole(window)):
            last = await self._asked(lambda: self._described(captioner, window), window=True)
        if last is None:
            await self.finalise_grounded(window)
        else:
            await self._revise(window, last, last.source or captioner.name, final=True)

    async def _described(self, captioner: Captioner, window: Window) -> Description | None:
        """Publish what grows; returns what stands."""
        if self.looks is not None:
            window = replace(window, past=await asyncio.to_thread(self.looks.past, window.start))
        last: Description | None = None
        async with aclosing(captioner.describe(window)) as growing:  # given up while a draft is published, too
            async for description in growing:
                if last is not None and not last.growing:
                    await self._revise(window, last, last.source or captioner.name, final=False)
                if description.growing:
                    await self._revise(window, description, description.source or captioner.name, final=False)
                last = description
        return last

    async def _asked(self, ask: Callable[[], Awaitable[_T]], *, window: bool = False) -> _T | None:
        """What the captioner answers; None where it fails or is given up, which the stream's state then says.

        Args:
            window: it is asked about a window. A good summary, which has no pictures, proves no more than that the
                model can be reached.
        """
        if self._hurried and self.takes_time:
            return None
        try:
            async with asyncio.timeout(None) as self._limit:
                answer = await ask()
        except TimeoutError:
            _log.info("%s: the caption at work was given up", self._stream)
            return None
        except OverBudget as error:  # as its owner wished: nothing is wrong, and the caption's source says it
            _log.info("%s: %s", self._stream, error)
            return None
        except ModelError as error:
            await self._say(self._failed(error))
            return None
        finally:
            self._limit = None
        if window or self._passing is not None:
            self._doubt_s = 0.0
            await self._well_again(f"{self.captioner.name} answers again")
        return answer

    async def _well_again(self, detail: str) -> None:
        self._faults.clear()
        self._passing = None
        await self._say(self._standing.end("captioner", detail))

    async def _watch(self) -> None:
        """End the state of a captioner that is well again though there is nothing to ask it."""
        while True:
            await self._failed_now.wait()
            self._failed_now.clear()
            fault, captioner = self._passing, self.captioner
            if fault is None or not isinstance(captioner, Recovering):
                continue
            await asyncio.sleep(self._doubt_s)
            await captioner.recovered()
            if self._passing is fault:
                self._doubt_s = min(DOUBT_MOST_S, max(DOUBT_S, 2 * self._doubt_s))
                await self._well_again(f"{captioner.name} is there again")

    def _failed(self, error: ModelError) -> Iterable[Status]:
        """What there is to say of a fault. That a server is left alone is no other fault than the one before."""
        rests = isinstance(error, ModelResting)
        news = not rests and type(error) not in self._faults
        lasts = self._passing is None and bool(self._faults)  # one of those before
        self._passing = error if not lasts and _may_pass(error) else None
        self._failed_now.set()
        self._faults |= {type(error)}
        return self._standing.begin("captioner", f"{self.captioner.name}: {error.in_full}", news=news)


def _may_pass(error: ModelError) -> bool:
    """True for a fault of the model's, or of who serves it; False for one of what was asked or answered."""
    if isinstance(error, AnswerCut):
        return not error.at_limit
    return isinstance(error, (ModelUnavailable, ModelNotFound, OutOfDeviceMemory, WeightsUnavailable))
