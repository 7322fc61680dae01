"""Prompts: what a vision–language model is shown and asked, and what is made of its answer. Pure.

``build_window`` and its like make a prompt of a task; ``parse_answer`` reads what comes back; ``contradictions`` and
``repeats`` judge it. Pictures are marked on copies.
"""

from streamcap.prompts.answers import (
    InstanceNote,
    QuestionAnswer,
    RecaptionAnswer,
    Structured,
    SummaryAnswer,
    WindowAnswer,
)
from streamcap.prompts.base import Answer, Part, Picture, Prompt, Text, Turn
from streamcap.prompts.build import build_question, build_recaption, build_summary, build_window, pictured
from streamcap.prompts.checking import contradictions, scored
from streamcap.prompts.cleaning import broken_off, garbled
from streamcap.prompts.demonstrations import Examples
from streamcap.prompts.obeying import OwnWords, check_answer, is_a_shout
from streamcap.prompts.parsing import SENTENCE_ENDS, parse_answer
from streamcap.prompts.repetition import repeats
from streamcap.prompts.tasks import QuestionTask, RecaptionTask, Style, SummaryTask, Told, WindowTask

__all__ = [
    "SENTENCE_ENDS",
    "Answer",
    "Examples",
    "InstanceNote",
    "OwnWords",
    "Part",
    "Picture",
    "Prompt",
    "QuestionAnswer",
    "QuestionTask",
    "RecaptionAnswer",
    "RecaptionTask",
    "Structured",
    "Style",
    "SummaryAnswer",
    "SummaryTask",
    "Text",
    "Told",
    "Turn",
    "WindowAnswer",
    "WindowTask",
    "broken_off",
    "build_question",
    "build_recaption",
    "build_summary",
    "build_window",
    "check_answer",
    "contradictions",
    "garbled",
    "is_a_shout",
    "parse_answer",
    "pictured",
    "repeats",
    "scored",
]
