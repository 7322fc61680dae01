"""Answers questions about a stream from what is known of it: captions, events, kept frames, memory, what is seen now.

    question ──> captions of the span, what of them matters ──> their frames ─┐
                 key frames of the memory, the newest picture ───────────────┴──> model ──> answer, times checked

A question without a moment is answered from all that is held (global reading); one about a moment from what was known
at it (breakpoint reading). A stream that is paused or gone has its journal and its kept frames alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from streamcap.captioners import SharedModel
from streamcap.captioners.vision import look_of
from streamcap.config import Profile
from streamcap.errors import AnswerCut, UsageError
from streamcap.frames import FrameStore, View
from streamcap.frames.jpeg import narrowed
from streamcap.journal import Searchable
from streamcap.language import Recap
from streamcap.memory import Memory, consolidate
from streamcap.prompts import (
    OwnWords,
    Prompt,
    QuestionAnswer,
    QuestionTask,
    Style,
    Told,
    broken_off,
    build_question,
    garbled,
    parse_answer,
)
from streamcap.recall import Recall, Said, words
from streamcap.types import CaptionKind, CaptionStatus, Instance, KeyFrame, Look
from streamcap.wire import CaptionMessage, Encoded, EventMessage, decode

__all__ = ["Answered", "Answering", "Basis", "NothingKnown", "Seen", "Span"]

_log = logging.getLogger(__name__)

# Of the journal so many messages are read at a time, and in all: of a span that holds more, pages spread over it, the
# first and the last among them. A message costs 0.03 ms to read.
PAGE: Final = 128
READ_MOST: Final = 4096
# Where not all of a span is read, so many words of the question are looked for in all of it.
SEARCHED: Final = 6
FOUND_MOST: Final = 64
# A question about a moment is told what was said from so long before to so long after it (media seconds).
BEFORE_S: Final = 180.0
AFTER_S: Final = 30.0
# Pictures: frames of captions that share words with the question, key frames of the memory; and the newest one.
FRAMES_MOST: Final = 4
MEMORY_MOST: Final = 3
# A kept frame further away from its moment (seconds) shows something else.
FRAME_NEAR_S: Final = 5.0
WIDTH: Final = 672
# Seconds between two pieces of a growing answer.
REVISION_S: Final = 0.25


class NothingKnown(UsageError):
    """Nothing that a question could be answered from is known of a stream."""


class Seen(Protocol):
    """What is known of streams that are watched; see :class:`streamcap.manager.Manager`."""

    def memory(self, stream: str) -> Memory | None:
        """What it was seen to look like."""
        ...

    def view(self, stream: str) -> View | None:
        """Its newest frame."""
        ...

    def instances(self, stream: str) -> tuple[Instance, ...]:
        """Who is in view now."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """What a question is about.

    Attributes:
        at: a moment, media seconds; None for all of the span.
        bounds: ``start``, ``end``, ``since``, ``until`` as :meth:`streamcap.journal.Searchable.history` takes them.
    """

    at: float | None = None
    bounds: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer rests on.

    Attributes:
        held: messages that the journal holds of the span.
        read: of these; fewer only where it holds more than :data:`READ_MOST`: then spread over all of it.
        told: captions that the model was told.
    """

    held: int = 0
    read: int = 0
    told: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, as far as it has come.

    Attributes:
        answered: what is known was enough to answer it.
        times: media seconds that it cites, rising; each was shown or told of.
        said: what was told of these times, where something was.
        basis: what it rests on.
        growing: more of it comes; then there are no times yet.
    """

    text: str
    source: str
    answered: bool = False
    times: tuple[float, ...] = ()
    said: tuple[str, ...] = ()
    basis: Basis = Basis()
    growing: bool = False


@dataclass(slots=True)
class _Known:
    """What the journal tells of a span; of constant size."""

    recall: Recall
    recap: Recap = field(default_factory=Recap)
    first: float | None = None
    last: float = 0.0
    held: int = 0
    read: int = 0

    def take(self, entry: Encoded) -> None:
        self.read += 1
        message = decode(entry.text) if entry.type in ("caption", "event") else None
        if isinstance(message, EventMessage):
            self.recap.add([message])
        elif isinstance(message, CaptionMessage) and message.status is CaptionStatus.RETRACTED:
            self.recall.retract(message.id)
            return
        elif isinstance(message, CaptionMessage) and message.kind is not CaptionKind.SUMMARY:
            self.recall.take(_said(message))
        if isinstance(message, CaptionMessage | EventMessage):
            self.first = message.start if self.first is None else min(self.first, message.start)
            self.last = max(self.last, message.end)

    @property
    def whole(self) -> bool:
        """All that is held was read."""
        return self.read >= self.held

    def summary(self) -> str:
        """What the events add up to; empty where some were not read: they would add up to too little."""
        return self.recap.text(max(0.0, self.last - (self.first or 0.0))) if self.whole else ""


class Answering:
    """Answers questions with a vision–language model.

    Args:
        vision: the model.
        journal: what was said.
        seen: what streams look like.
        frames: kept frames; None for none.
    """

    def __init__(self, vision: SharedModel, journal: Searchable, seen: Seen, frames: FrameStore | None) -> None:
        self._vision, self._journal, self._seen, self._frames = vision, journal, seen, frames

    async def answer(self, stream: str, question: str, span: Span, newest: int) -> AsyncGenerator[Answered, None]:
        """Yield the answer as it grows; the last one is whole.

        Args:
            newest: number of the newest durable message of the stream.

        Raises:
            NothingKnown: there is nothing to answer it from.
            ModelError: there is no answer; which sort says why.
        """
        known = await self._known(stream, question, span, newest)
        told = known.recall.chosen()
        looks = await self._looks(stream, span, known)
        if not told and not looks:
            raise NothingKnown(f"nothing is known of {stream} yet", hint="ask when something was said of it")
        task = QuestionTask(
            question,
            span.at,
            looks,
            tuple(Told(each.text, each.t) for each in told),
            known.summary(),
            self._seen.instances(stream) if span.at is None else (),
            left_out=max(0, known.held - known.read, known.recall.taken - len(told)),
        )
        times = sorted({look.t for look in looks} | {each.t for each in told})
        prompt = await asyncio.to_thread(build_question, task, self._style())
        basis = Basis(known.held, known.read, len(told))
        async for each in self._asked(prompt, stream, times, {said.t: said.text for said in told}):
            yield replace(each, basis=basis)

    def _style(self) -> Style:
        settings = self._vision.settings
        return Style(profile=Profile.GENERAL, marks=(), form=settings.answers, max_tokens=settings.max_tokens)

    async def _asked(
        self, prompt: Prompt, stream: str, times: Sequence[float], said: dict[float, str]
    ) -> AsyncGenerator[Answered, None]:
        loop = asyncio.get_running_loop()
        text, shown, due, at_limit, own = "", "", 0.0, False, OwnWords(prompt)
        patience_s, form = self._vision.settings.timeout_s, self._vision.settings.answers
        pieces = self._vision.answer(prompt, of=f"?{stream}", sort="question", patience_s=patience_s)
        try:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    text += piece.text
                    if loop.time() < due:
                        continue
                    grown = parse_answer(text, QuestionAnswer, form=form, partial=True).text
                    if len(grown) > len(shown) and not (garbled(grown, growing=True) or own.within(grown)):
                        shown, due = grown, loop.time() + REVISION_S
                        yield Answered(grown, self._vision.name, growing=True)
        except AnswerCut as cut:  # at its limit: what there is of it is better than nothing
            if not cut.at_limit:
                raise
            at_limit = True
        answer = parse_answer(text, QuestionAnswer, form=form, cut=at_limit, times=times)
        own.check(answer.text)
        yield Answered(
            answer.text if answer.complete else broken_off(answer.text),
            self._vision.name,
            answer.answered,
            answer.times,
            tuple(said.get(t, "") for t in answer.times),
        )

    async def _known(self, stream: str, question: str, span: Span, newest: int) -> _Known:
        bounds = dict(span.bounds)
        if span.at is not None:
            bounds = {"start": max(0.0, span.at - BEFORE_S), "end": span.at + AFTER_S}
        known = _Known(Recall(question))
        async for entry in self._entries(stream, bounds, newest, known):
            known.take(entry)
        if not known.whole:
            await self._search(stream, question, bounds, known)
        return known

    async def _entries(self, stream: str, bounds: dict[str, Any], newest: int, known: _Known) -> AsyncIterator[Encoded]:
        """Messages of a span, oldest first: all of them, or pages spread over it; says how many it holds."""
        page = await self._journal.history(stream, after=0, limit=PAGE, **bounds)
        begin = page[0].seq or 0 if page else 0
        held = newest - begin + 1
        if page and held > READ_MOST:
            held = await self._last(stream, bounds, begin, newest) - begin + 1
        spread, pages = held > READ_MOST, READ_MOST // PAGE
        turned = 0
        while page:
            for entry in page:
                yield entry
            after, turned = page[-1].seq or 0, turned + 1
            if spread and turned == pages:
                break
            if spread:
                after = max(after, begin - 1 + round(turned * (held - PAGE) / (pages - 1)))
            page = await self._journal.history(stream, after=after, limit=PAGE, **bounds)
        known.held = held if spread else known.read

    async def _last(self, stream: str, bounds: dict[str, Any], first: int, newest: int) -> int:
        """Number of a span's last message, by halving; ``first`` is in the span."""
        if not {"end", "until"} & {name for name, bound in bounds.items() if bound is not None}:
            return newest
        low, high = first, newest
        while low < high:
            middle = (low + high + 1) // 2
            if await self._journal.history(stream, after=middle - 1, limit=1, **bounds):
                low = middle
            else:
                high = middle - 1
        return low

    async def _search(self, stream: str, question: str, bounds: dict[str, Any], known: _Known) -> None:
        """Captions that share a word with the question, wherever in the span they are."""
        walls = {name: bounds.get(name) for name in ("since", "until")}
        start, end = bounds.get("start"), bounds.get("end")
        for word in sorted(words(question), key=len, reverse=True)[:SEARCHED]:
            try:
                found = await self._journal.search(f"{word}*", streams=[stream], limit=FOUND_MOST, **walls)
            except UsageError as error:  # it would take too long: what was read has to do
                _log.info("%s: %r is not searched for: %s", stream, word, error)
                continue
            for entry in found:
                message = decode(entry.text)
                if not isinstance(message, CaptionMessage) or message.kind is CaptionKind.SUMMARY:
                    continue
                if (start is None or message.end >= start) and (end is None or message.start <= end):
                    known.recall.find(_said(message))

    async def _looks(self, stream: str, span: Span, known: _Known) -> tuple[Look, ...]:
        """Pictures that may tell, oldest first."""
        wanted = [span.at] if span.at is not None else [said.t for said in known.recall.alike()][:FRAMES_MOST]
        looks = {look.t: look for t in wanted if (look := await self._kept(stream, t)) is not None}
        memory = self._seen.memory(stream)
        if memory is not None and not span.bounds:
            keys = await asyncio.to_thread(_remembered, memory, span.at)
            looks |= {key.t: look for key in keys if (look := look_of(key)) is not None}
        view = self._seen.view(stream)
        if span.at is None and not span.bounds and view is not None and (frame := view.frame) is not None:
            visible = tuple(each for each in self._seen.instances(stream) if each.visible)
            looks[frame.pts] = Look(frame.pts, narrowed(frame.image, WIDTH), visible)
        return tuple(looks[t] for t in sorted(looks))

    async def _kept(self, stream: str, t: float) -> Look | None:
        """The frame that was kept of a moment."""
        found = await self._frames.nearest(stream, t) if self._frames is not None else None
        if found is None or abs(found.t - t) > FRAME_NEAR_S:
            return None
        return look_of(KeyFrame(found.t, found.jpeg))


def _remembered(memory: Memory, at: float | None) -> tuple[KeyFrame, ...]:
    """Key frames that stand for all that was seen, or for what was known at a moment; oldest first."""
    slots = memory.reading() if at is None else memory.breakpoint(at)
    pictured = [slot for slot in slots if slot.key.jpeg is not None]
    return tuple(slot.key for slot in consolidate(pictured, MEMORY_MOST)) if pictured else ()


def _said(message: CaptionMessage) -> Said:
    return Said(message.seq or 0, message.id, message.end, message.text, message.saliency)
