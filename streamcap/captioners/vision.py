"""The vision–language captioner: a model words what perception found, from pictures, and is held to the facts.

    window ──> prompt ──> turn and budget ──> model ──pieces──> drafts
                                                └──whole──> parsed ──> repeats? contradicts? ──> final

What is quiet costs nothing: a window of which there is nothing new to say does not come here. What the model says is
held against what perception measured (:func:`streamcap.prompts.contradictions`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from streamcap.captioners.base import Difference
from streamcap.captioners.grounded import GroundedCaptioner
from streamcap.captioners.shared import SharedModel
from streamcap.config import AnswerForm, Contradiction, MemoryPictures, StreamSettings, VisionMode
from streamcap.errors import AnswerCut
from streamcap.language import Description
from streamcap.prompts import (
    SENTENCE_ENDS,
    Examples,
    OwnWords,
    Prompt,
    RecaptionAnswer,
    RecaptionTask,
    Style,
    SummaryAnswer,
    SummaryTask,
    Told,
    WindowAnswer,
    WindowTask,
    build_recaption,
    build_summary,
    build_window,
    check_answer,
    contradictions,
    garbled,
    is_a_shout,
    parse_answer,
    pictured,
    repeats,
    scored,
)
from streamcap.types import Alike, KeyFrame, Look, Skill, Stretch, Window

__all__ = ["VisionCaptioner", "look_of"]

# Seconds between two revisions of a draft while the model writes: a reader follows no more than three a second.
REVISION_S: Final = 0.35
# Fewer words than this are not shown; nor are more as long as they are shorter than the grounded draft that they would
# take the place of: a viewer would see a whole text shrink to half a sentence.
FIRST_WORDS: Final = 4
# A summary of fewer captions than this is those captions.
SUMMARY_LEAST: Final = 2


class VisionCaptioner:
    """See :class:`streamcap.captioners.base.Captioner` and :class:`streamcap.captioners.base.Summariser`.

    Where the model says nothing new, says what was said before, or contradicts perception and may not, the grounded
    text stands, and says so by its source.

    Args:
        settings: of the stream.
        vision: the model, shared with other streams.
    """

    def __init__(self, settings: StreamSettings, vision: SharedModel) -> None:
        self._settings, self._vision = settings, vision
        self._grounded = GroundedCaptioner(settings.profile)
        self._style = Style(
            profile=settings.profile,
            marks=settings.marks,
            user_prompt=settings.prompt,
            form=vision.settings.answers,
            max_tokens=vision.settings.max_tokens,
        )
        self._examples = Examples(self._style.form, self._style.demonstrations)

    @property
    def name(self) -> str:
        """See :class:`streamcap.captioners.base.Captioner`."""
        return self._vision.name

    async def describe(self, window: Window) -> AsyncGenerator[Description, None]:
        """See :class:`streamcap.captioners.base.Captioner`."""
        grounded = replace(self._grounded.whole(window), source=self._grounded.name)
        if not window.looks:
            yield grounded
            return
        outlined = await self._vision.outliner.ready(self._style.marks)
        prompt = await asyncio.to_thread(self._prompt, window, grounded, outlined)
        least = len(self._grounded.draft(window).text)
        recaptions = self._settings.mode is VisionMode.RECAPTION
        writing = _Writing(window, OwnWords(prompt), recaptions, self._style.form, least)
        due = 0.0
        loop = asyncio.get_running_loop()
        pieces = self._vision.answer(
            prompt, of=self._settings.id, sort="caption", patience_s=self._vision.settings.timeout_s
        )
        try:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    writing.text += piece.text
                    if loop.time() >= due and (draft := self._draft(writing)) is not None:
                        due = loop.time() + REVISION_S
                        yield replace(grounded, text=draft, skills={}, source="", growing=True)
        except AnswerCut as cut:
            if not cut.at_limit:
                raise
            writing.cut = True
        answer = writing.answer()
        check_answer(answer, writing.own)
        yield self._judged(window, grounded, answer)

    async def summarise(self, differences: Sequence[Difference], start: float, end: float, before: str = "") -> str:
        """See :class:`streamcap.captioners.base.Summariser`; empty where there is not enough to fold."""
        if len(differences) < SUMMARY_LEAST:
            return ""
        task = SummaryTask(start, end, tuple(Told(d.text, d.end) for d in differences), before)
        prompt = build_summary(task, self._style)
        text = await self._vision.whole_answer(
            prompt, of=self._settings.id, sort="summary", patience_s=self._vision.settings.timeout_s
        )
        answer = parse_answer(text, SummaryAnswer, form=self._style.form)
        check_answer(answer, OwnWords(prompt))
        return answer.text

    async def recovered(self) -> None:
        """See :class:`streamcap.captioners.base.Recovering`."""
        await self._vision.recovered()

    def _prompt(self, window: Window, grounded: Description, outlined: bool) -> Prompt:
        """Draws marks, so for a worker thread: some 10 ms a picture, and as much for each silhouette."""
        looks = self._outlined(window) if outlined else window.looks
        if self._settings.mode is VisionMode.RECAPTION:
            return build_recaption(RecaptionTask(grounded.text, looks, window.facts, window.instances), self._style)
        task = WindowTask(
            window.start,
            window.end,
            looks=looks,
            facts=window.facts,
            instances=window.instances,
            previous=tuple(Told(text) for text in window.said),
            summary=window.so_far,
            memory=self._memory(window.past),
            draft=grounded.text,
            setting=window.setting,
            full=window.scene_start,
        )
        return build_window(task, self._style, mode=self._settings.mode, examples=self._examples)

    def _outlined(self, window: Window) -> tuple[Look, ...]:
        """The looks of a window, with silhouettes in those that become pictures."""
        shown = pictured(window.looks, self._style, self._settings.mode)
        cut = {look.t: look for look in self._vision.outliner.cut(shown, window.facts)}
        return tuple(cut.get(look.t, look) for look in window.looks)

    def _memory(self, past: Sequence[Stretch]) -> tuple[Look, ...]:
        merged = self._vision.settings.memory is MemoryPictures.MERGED
        looks = []
        for span in past:
            look = look_of(span.key)
            if look is not None and merged:
                others = [(look_of(key), count) for key, count in span.others]
                alike = tuple(Alike(other.image, count) for other, count in others if other is not None)
                look = replace(look, alike=alike, count=span.count)
            looks.append(look)
        return tuple(look for look in looks if look is not None)

    def _draft(self, writing: _Writing) -> str | None:
        """What of a growing answer is worth showing now."""
        grown = writing.answer(partial=True).text
        text = grown if grown.endswith(SENTENCE_ENDS) else grown.rpartition(" ")[0]
        if len(text) < writing.least or len(text) <= len(writing.shown) or len(text.split()) < FIRST_WORDS:
            return None
        if garbled(text, growing=True):
            return None
        if is_a_shout(text) or writing.own.within(text):
            return None
        if self._settings.contradictions is Contradiction.VETO and writing.conflicts(text):
            return None
        writing.shown = text
        return text

    def _judged(self, window: Window, grounded: Description, answer: WindowAnswer) -> Description:
        """What stands: the answer, with what contradicts it, or the grounded text."""
        stream, asked = self._settings.id, self._vision.asked
        if not answer.text or (answer.nothing_new and not window.scene_start):
            asked.outcomes[stream, "nothing new"] += 1
            return grounded
        if not window.scene_start and repeats(answer.text, window.said):
            asked.outcomes[stream, "repeated"] += 1
            return grounded
        found = contradictions(answer, window.facts, window.instances, setting=window.setting, full=window.scene_start)
        for each in found:
            asked.conflicts[stream, each.kind.value] += 1
        if found and self._settings.contradictions is Contradiction.VETO:
            asked.outcomes[stream, "vetoed"] += 1
            return replace(grounded, conflicts=found)
        asked.outcomes[stream, "told"] += 1
        who = tuple(dict.fromkeys((*grounded.who, *(note.id for note in answer.instances))))
        return Description(answer.text, _skills(answer), who, scored(grounded.saliency, found), conflicts=found)


@dataclass(slots=True)
class _Writing:
    """An answer while it is being written.

    Attributes:
        own: words of its prompt, which it has no reason to say.
        least: characters of the draft that stands until then.
        text: as it came.
        shown: what of it was shown as a draft.
        cut: it was cut off at its limit of tokens.
    """

    window: Window
    own: OwnWords
    recaptions: bool
    form: AnswerForm
    least: int
    text: str = ""
    shown: str = ""
    cut: bool = False

    def answer(self, *, partial: bool = False) -> WindowAnswer:
        """As far as it can be read. Raises AnswerUnreadable where it is whole and nothing can."""
        if self.recaptions:
            dense = parse_answer(self.text, RecaptionAnswer, form=self.form, partial=partial, cut=self.cut)
            return WindowAnswer(dense.text, complete=dense.complete)
        ids = frozenset(each.id for each in self.window.instances)
        return parse_answer(self.text, WindowAnswer, form=self.form, partial=partial, cut=self.cut, ids=ids)

    def conflicts(self, text: str) -> bool:
        """True where a text contradicts what was perceived."""
        window = self.window
        return bool(contradictions(text, window.facts, window.instances, setting=window.setting))


def look_of(key: KeyFrame) -> Look | None:
    """A kept frame as a look without instances; None where only its time was kept. Decodes: 2 ms."""
    if key.jpeg is None:
        return None
    image = cv2.imdecode(np.frombuffer(key.jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else Look(key.t, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), ())


def _skills(answer: WindowAnswer) -> dict[Skill, str]:
    """An answer by the four differential skills."""
    notes = answer.instances
    found = {
        Skill.ACTION: "; ".join(f"{n.label or 'something'}: {n.actions}" for n in notes if n.actions),
        Skill.ENVIRONMENT: answer.background,
        Skill.APPEARANCE: "; ".join(f"{n.label or 'something'}: {n.appearance}" for n in notes if n.appearance),
        Skill.CAMERA: answer.camera,
    }
    return {skill: text for skill, text in found.items() if text}
