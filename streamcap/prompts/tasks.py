"""What a model is asked about: the material of a prompt, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamcap.config import AnswerForm, Mark, Profile
from streamcap.types import Fact, Instance, Look, Setting

__all__ = ["QuestionTask", "RecaptionTask", "Style", "SummaryTask", "Told", "WindowTask"]


@dataclass(frozen=True, slots=True)
class Style:
    """How a stream's prompts are made; the same over many windows.

    Attributes:
        profile: who reads.
        marks: drawn on pictures.
        user_prompt: a user's words, at most 4,000 characters are taken.
        form: in which the model is to answer.
        max_tokens: most tokens of an answer.
        demonstrations: most examples before the question; 0 for none.
        pictures: most pictures of a window in sliding mode, at least 1; the first and the last are always among them.
    """

    profile: Profile = Profile.SURVEILLANCE
    marks: tuple[Mark, ...] = (Mark.SET_OF_MARK, Mark.FRAME_NUMBER)
    user_prompt: str = ""
    form: AnswerForm = AnswerForm.JSON
    max_tokens: int = 256
    demonstrations: int = 2
    pictures: int = 2


@dataclass(frozen=True, slots=True)
class Told:
    """Something that was said.

    Attributes:
        at: media seconds that it speaks about, None where unknown.
    """

    text: str
    at: float | None = None


@dataclass(frozen=True, slots=True)
class WindowTask:
    """A window to be worded.

    Attributes:
        start, end: media seconds.
        looks: pictures of the window, oldest first; the first one from before it where there is one.
        facts: what perception made sure of in the window.
        instances: all that are known at its end, and those of whom its facts speak.
        previous: differential texts before, oldest first.
        summary: what happened until then, in few sentences.
        memory: pictures that stand for what was seen long before, oldest first; without marks.
        draft: what the grounded captioner says of the window.
        full: the scene begins here: all of it is to be told, not only what changed.
    """

    start: float
    end: float
    looks: tuple[Look, ...] = ()
    facts: tuple[Fact, ...] = ()
    instances: tuple[Instance, ...] = ()
    previous: tuple[Told, ...] = ()
    summary: str = ""
    memory: tuple[Look, ...] = ()
    draft: str = ""
    setting: Setting = field(default_factory=Setting)
    full: bool = False


@dataclass(frozen=True, slots=True)
class SummaryTask:
    """Differences to be folded into one text; no pictures (the clip summary of ShareGPT4Video).

    Attributes:
        differences: oldest first.
        before: the summary until then, which the new one goes on from; empty for none.
    """

    start: float
    end: float
    differences: tuple[Told, ...]
    before: str = ""


@dataclass(frozen=True, slots=True)
class RecaptionTask:
    """A short text to be made dense by what pictures show (prompt re-captioning).

    Attributes:
        looks: oldest first.
        instances: as at the end.
    """

    text: str
    looks: tuple[Look, ...]
    facts: tuple[Fact, ...] = ()
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionTask:
    """Somebody's question of a stream.

    Attributes:
        question: their words, at most 1,000 characters are taken.
        at: the moment that it is about, media seconds; None: all that is known.
        looks: pictures that may tell, oldest first.
        told: captions, oldest first.
        summary: what happened until then.
        instances: who is there at that moment.
        left_out: messages of the span that ``told`` does not hold, about.
    """

    question: str
    at: float | None = None
    looks: tuple[Look, ...] = ()
    told: tuple[Told, ...] = ()
    summary: str = ""
    instances: tuple[Instance, ...] = ()
    left_out: int = 0
