"""Answers questions about a stream from what is known of it: captions, events, kept frames, memory, what is seen now.

    question ──> captions of the span, those that share its words ──> their frames ─┐
                 key frames of the memory, the newest picture ─────────────────────┴──> model ──> answer, times checked

A question without a moment is answered from all that is held (global reading); one about a moment from what was known
at it (breakpoint reading). A stream that is paused or gone has its journal and its kept frames alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
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
from streamcap.types import CaptionKind, CaptionStatus, Instance, KeyFrame, Look
from streamcap.wire import CaptionMessage, EventMessage, decode

__all__ = ["Answered", "Answering", "NothingKnown", "Seen", "Span"]

# Of the journal so many messages are read at a time, and in all: the newest of a stream, or the first of a span.
CHUNK: Final = 256
READ_MOST: Final = 4096
# Captions that the model is told: the newest ones, and of those before them the ones that matter most to the question.
TOLD_NEWEST: Final = 24
TOLD_BEFORE: Final = 24
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

_WORD: Final = re.compile(r"[a-z]{3,}")
# Words of questions, which say nothing about what is asked for.
_ASKING: Final = frozenset(
    {
        *("what", "when", "where", "who", "whom", "whose", "which", "how", "many", "much", "did", "does", "was"),
        *("were", "are", "the", "and", "has", "have", "had", "been", "there", "any", "can", "could", "you", "tell"),
        *("show", "see", "seen", "for", "with", "that", "this", "then", "than", "from", "into", "about", "happen"),
        "happened",
    }
)


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
class Answered:
    """An answer, as far as it has come.

    Attributes:
        answered: what is known was enough to answer it.
        times: media seconds that it cites, rising; each was shown or told of.
        said: what was told of these times, where something was.
        growing: more of it comes; then there are no times yet.
    """

    text: str
    source: str
    answered: bool = False
    times: tuple[float, ...] = ()
    said: tuple[str, ...] = ()
    growing: bool = False


@dataclass(slots=True)
class _Known:
    """What the journal tells of a span."""

    told: list[tuple[float, str, float]] = field(default_factory=list)  # media seconds, text, saliency
    recap: Recap = field(default_factory=Recap)
    first: float = 0.0
    last: float = 0.0

    def take(self, message: CaptionMessage | EventMessage) -> None:
        self.first = min(self.first, message.start) if self.told or self.last else message.start
        self.last = max(self.last, message.end)
        if isinstance(message, EventMessage):
            self.recap.add([message])
        elif message.kind is not CaptionKind.SUMMARY:
            self.told.append((message.end, message.text, message.saliency))


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
        known = await self._known(stream, span, newest)
        told = _chosen(known.told, question)
        looks = await self._looks(stream, question, span, known)
        if not told and not looks:
            raise NothingKnown(f"nothing is known of {stream} yet", hint="ask when something was said of it")
        task = QuestionTask(
            question,
            span.at,
            looks,
            tuple(Told(text, t) for t, text, _ in told),
            known.recap.text(max(0.0, known.last - known.first)),
            self._seen.instances(stream) if span.at is None else (),
        )
        times = sorted({look.t for look in looks} | {t for t, _, _ in told})
        prompt = await asyncio.to_thread(build_question, task, self._style())
        async for each in self._asked(prompt, stream, times, {t: text for t, text, _ in told}):
            yield each

    def _style(self) -> Style:
        settings = self._vision.settings
        return Style(profile=Profile.GENERAL, marks=(), form=settings.answers, max_tokens=settings.max_tokens)

    async def _asked(
        self, prompt: Prompt, stream: str, times: Sequence[float], said: dict[float, str]
    ) -> AsyncGenerator[Answered, None]:
        loop = asyncio.get_running_loop()
        text, shown, due, at_limit = "", "", 0.0, False
        patience_s, form = self._vision.settings.timeout_s, self._vision.settings.answers
        pieces = self._vision.answer(prompt, of=f"?{stream}", sort="question", patience_s=patience_s)
        try:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    text += piece.text
                    if loop.time() < due:
                        continue
                    grown = parse_answer(text, QuestionAnswer, form=form, partial=True).text
                    if len(grown) > len(shown) and not garbled(grown, growing=True):
                        shown, due = grown, loop.time() + REVISION_S
                        yield Answered(grown, self._vision.name, growing=True)
        except AnswerCut as cut:  # at its limit: what there is of it is better than nothing
            if not cut.at_limit:
                raise
            at_limit = True
        answer = parse_answer(text, QuestionAnswer, form=form, cut=at_limit, times=times)
        yield Answered(
            answer.text if answer.complete else broken_off(answer.text),
            self._vision.name,
            answer.answered,
            answer.times,
            tuple(said.get(t, "") for t in answer.times),
        )

    async def _known(self, stream: str, span: Span, newest: int) -> _Known:
        bounds = dict(span.bounds)
        if span.at is not None:
            bounds = {"start": max(0.0, span.at - BEFORE_S), "end": span.at + AFTER_S}
        known, retracted = _Known(), set()
        after = 0 if bounds else max(0, newest - READ_MOST)
        for _ in range(0, READ_MOST, CHUNK):
            found = await self._journal.history(stream, after=after, limit=CHUNK, **bounds)
            for entry in found:
                after = entry.seq or after
                if entry.type not in ("caption", "event"):
                    continue
                message = decode(entry.text)
                if isinstance(message, CaptionMessage) and message.status is CaptionStatus.RETRACTED:
                    retracted.add((message.end, message.text))
                elif isinstance(message, CaptionMessage | EventMessage):
                    known.take(message)
            if len(found) < CHUNK:
                break
        known.told = [each for each in known.told if each[:2] not in retracted]
        return known

    async def _looks(self, stream: str, question: str, span: Span, known: _Known) -> tuple[Look, ...]:
        """Pictures that may tell, oldest first."""
        wanted = [span.at] if span.at is not None else [t for t, _, _ in _alike(known.told, question)][:FRAMES_MOST]
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


def _words(text: str) -> frozenset[str]:
    """Content words, without the ends that number and time give them."""
    found = (re.sub(r"(ing|ed|es|s)$", "", word) for word in _WORD.findall(text.lower()) if word not in _ASKING)
    return frozenset(found)


def _alike(told: Iterable[tuple[float, str, float]], question: str) -> list[tuple[float, str, float]]:
    """What shares words with a question, the most first; of equals the newest."""
    asked = _words(question)
    scored = [(len(asked & _words(text)), t, text, saliency) for t, text, saliency in told]
    return [(t, text, saliency) for share, t, text, saliency in sorted(scored, reverse=True) if share]


def _chosen(told: Sequence[tuple[float, str, float]], question: str) -> list[tuple[float, str, float]]:
    """What of all that was said the model is told, oldest first."""
    before, newest = list(told[:-TOLD_NEWEST]), list(told[-TOLD_NEWEST:])
    best = list(dict.fromkeys(_alike(before, question) + sorted(before, key=lambda each: -each[2])))[:TOLD_BEFORE]
    return sorted(best) + newest
