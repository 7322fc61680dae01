"""Answers of models, read: tolerant of how they are written, strict about what may become of them.

JSON may stand in fences, in prose, after thoughts, or break off; whatever can be read of it up to a fault is taken.
Only fields of the schema are taken, of their type, within their length, as plain text. The reader of unfinished JSON
is pydantic's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from streamcap.config import AnswerForm
from streamcap.errors import AnswerUnreadable
from streamcap.prompts.answers import (
    MOST_NOTES,
    MOST_TIMES,
    POSITIONS,
    A,
    InstanceNote,
    QuestionAnswer,
    RecaptionAnswer,
    Structured,
    SummaryAnswer,
    WindowAnswer,
)
from streamcap.prompts.cleaning import garbled, plain, settled, without_marks, without_steering
from streamcap.prompts.repetition import unlooped

__all__ = ["SENTENCE_ENDS", "check_end", "parse_answer"]

# Most characters: of an answer that is looked at, of a caption, of a longer text, of a field of an instance.
MOST_ANSWER = 20_000
MOST_CAPTION = 400
MOST_TEXT = 1_200
MOST_FIELD = 160
MOST_OVERVIEW_WORDS = 20
# So many beginnings of an object are tried, and so many faults are skipped.
MOST_STARTS = 8
# A text that breaks off has come to the end of a sentence where it ends with one of these.
SENTENCE_ENDS = (".", "!", "?", "…")
# A time that is cited is one that was shown where it is this near to it (seconds).
TIME_NEAR_S = 0.6

_THOUGHTS = re.compile(r"\A\s*<(think|thinking)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
# A beginning that may yet turn out to be one.
_LEADING = re.compile(
    r"\s*(?:sure[,!.]?\s*)?(?:(?:the\s+)?(?:caption|answer|summary|description|assistant)?|here(?:'s| "
    r"is)[^:.]{0,60})\s*",
    re.IGNORECASE,
)
# What a model that writes plain text says where nothing changed, as the examples have it.
_NOTHING = re.compile(
    r"(?:nothing (?:new|changed|has changed|changes|happens|else)|no (?:\w+ )?changes?|(?:the )?scene (?:is|remains) "
    r"unchanged)"
    r"\b[^.]{0,40}\.?",
    re.IGNORECASE,
)
_FAULT = re.compile(r"line (\d+) column (\d+)")
_RAW_CONTROL = re.compile(r"[\x00-\x1f]")
_LEAD = re.compile(
    r"\A\s*(?:sure[,!.]?\s*|here(?:'s| is)[^:.]{0,60}:\s*|(?:the\s+)?(?:caption|answer|summary|description|"
    r"assistant)\s*:\s*)+",
    re.IGNORECASE,
)


def parse_answer(
    text: str,
    kind: type[A],
    *,
    form: AnswerForm = AnswerForm.JSON,
    partial: bool = False,
    cut: bool = False,
    ids: Collection[int] | None = None,
    times: Sequence[float] | None = None,
) -> A:
    """Read an answer.

    Args:
        text: all that the model wrote so far.
        partial: it is still writing: nothing that can be read yet is no fault, and the text grows from call to call.
        cut: it was cut off at its limit of tokens, which plain text does not show.
        ids: of the instances that exist; notes about others are left out. None: all are taken.
        times: media seconds that may be cited, others are left out. None: all are taken.

    Raises:
        AnswerUnreadable: nothing in it can be used. Never where it is partial.
    """
    # Half of a surrogate pair, which no encoder takes, can stand in a text that was cut.
    body = _THOUGHTS.sub("", without_steering(text[:MOST_ANSWER]).encode(errors="replace").decode())
    fields, complete = ({"": body}, not cut) if form is AnswerForm.TEXT else _object(body, _KEYS[kind])
    if fields is None:
        if partial:
            return kind(complete=False)
        raise AnswerUnreadable(_why(body), hint='for a model that cannot write JSON: [vision] answers = "text"')
    answer = _READERS[kind](_Fields(fields, ids, times, partial=partial), complete and not partial)
    assert isinstance(answer, kind)
    if not partial and not answer.text and not (isinstance(answer, WindowAnswer) and answer.nothing_new):
        nothing = form is AnswerForm.JSON or body.strip()
        raise AnswerUnreadable("the answer says nothing" if nothing else "the answer is empty")
    if not partial and garbled(answer.text):
        raise AnswerUnreadable("the answer is garbled", hint="do the model's weights and its chat template fit?")
    return answer


def check_end(answer: Structured) -> None:
    """Tell an answer whose text is whole from one that breaks off within it.

    Raises:
        AnswerUnreadable: it breaks off.
    """
    if not (answer.complete or answer.text.endswith(SENTENCE_ENDS)):
        raise AnswerUnreadable("the answer breaks off within its text", hint="raise [vision] max_tokens")


def _why(body: str) -> str:
    if not body.strip():
        return "the answer is empty"
    objects = (_read(body[start:])[0] for start in _starts(body))
    if any(isinstance(each, dict) and each for each in objects):
        return "the answer is JSON without any field that was asked for"
    return "the answer holds no JSON object"


class _Fields:
    """The fields of an answer, each of its type or left out."""

    def __init__(
        self,
        fields: Mapping[str, Any],
        ids: Collection[int] | None,
        times: Sequence[float] | None,
        *,
        partial: bool,
    ) -> None:
        self._fields, self._ids, self._times, self._partial = fields, ids, times, partial

    def text(self, key: str, limit: int) -> str:
        raw = self._fields.get("", self._fields.get(key))
        if not isinstance(raw, str):
            return ""
        if self._partial:
            raw = settled(raw)
        if "" in self._fields:
            if self._partial and _LEADING.fullmatch(raw):
                return ""
            raw = _LEAD.sub("", raw).strip().strip('"“”').strip()
        return unlooped(without_marks(plain(raw, limit), self._ids))

    def word(self, key: str, limit: int = MOST_FIELD) -> str:
        raw = self._fields.get(key)
        return plain(raw, limit) if isinstance(raw, str) else ""

    def yes(self, key: str) -> bool:
        raw = self._fields.get(key)
        return raw is True or (isinstance(raw, str) and raw.strip().lower() == "true")

    def notes(self) -> tuple[InstanceNote, ...]:
        raw = self._fields.get("instances")
        items = raw if isinstance(raw, list) else [raw]
        notes = dict.fromkeys(_note(item) for item in items[: 4 * MOST_NOTES] if isinstance(item, dict))
        named = {note.id: note for note in reversed(notes) if note is not None}
        kept = [note for key, note in reversed(named.items()) if self._ids is None or key in self._ids]
        return tuple(kept[:MOST_NOTES])

    def cited(self) -> tuple[float, ...]:
        raw = self._fields.get("times")
        found = [t for item in (raw if isinstance(raw, list) else []) if (t := _number(item)) is not None and t >= 0]
        if self._times is not None:
            shown = self._times
            near = [min(shown, key=lambda s: abs(s - t)) for t in found if shown]
            found = [s for s, t in zip(near, found, strict=False) if abs(s - t) <= TIME_NEAR_S]
        return tuple(sorted(dict.fromkeys(found)))[:MOST_TIMES]

    @property
    def is_text(self) -> bool:
        return "" in self._fields


def _note(item: Mapping[str, Any]) -> InstanceNote | None:
    number = _number(item.get("id"))
    if number is None or number != int(number) or number < 1:
        return None

    def field(key: str) -> str:
        raw = item.get(key)
        return plain(raw, MOST_FIELD) if isinstance(raw, str) else ""

    where = field("position").lower().replace("center", "centre").replace("-", " ")
    return InstanceNote(
        int(number),
        field("class"),
        field("appearance"),
        field("actions_and_motion"),
        where if where in POSITIONS else "",
    )


def _number(raw: Any) -> float | None:
    if isinstance(raw, bool):
        return None
    if isinstance(raw, str):
        raw = raw.strip().lstrip("#").rstrip("s").strip()
        try:
            raw = float(raw)
        except ValueError:
            return None
    return float(raw) if isinstance(raw, int | float) and abs(raw) < 1e9 else None


def _window(fields: _Fields, complete: bool) -> WindowAnswer:
    text = fields.text("caption", MOST_CAPTION)
    if fields.is_text and _NOTHING.fullmatch(text):
        return WindowAnswer(nothing_new=True, complete=complete)
    overview = fields.word("global").split()
    return WindowAnswer(
        text,
        fields.yes("nothing_new"),
        " ".join(overview[:MOST_OVERVIEW_WORDS]),
        fields.notes(),
        fields.word("background"),
        fields.word("camera"),
        complete,
    )


def _question(fields: _Fields, complete: bool) -> QuestionAnswer:
    return QuestionAnswer(
        fields.text("answer", MOST_TEXT), fields.is_text or fields.yes("answered"), fields.cited(), complete
    )


_READERS: Mapping[type[Structured], Callable[[_Fields, bool], Structured]] = {
    WindowAnswer: _window,
    SummaryAnswer: lambda fields, complete: SummaryAnswer(fields.text("summary", MOST_TEXT), complete),
    RecaptionAnswer: lambda fields, complete: RecaptionAnswer(fields.text("caption", MOST_TEXT), complete),
    QuestionAnswer: _question,
}
_KEYS: Mapping[type[Structured], frozenset[str]] = {
    WindowAnswer: frozenset({"caption", "nothing_new", "global", "instances", "background", "camera"}),
    SummaryAnswer: frozenset({"summary"}),
    RecaptionAnswer: frozenset({"caption"}),
    QuestionAnswer: frozenset({"answered", "answer", "times"}),
}


def _object(body: str, keys: Collection[str]) -> tuple[dict[str, Any] | None, bool]:
    """The first object that has a key of the schema, and whether it was whole."""
    for start in _starts(body):
        found, whole = _read(body[start:])
        if isinstance(found, dict) and keys & found.keys():
            return found, whole
    return None, False


def _starts(body: str) -> Iterator[int]:
    at = -1
    for _ in range(MOST_STARTS):
        at = body.find("{", at + 1)
        if at < 0:
            return
        yield at


def _read(text: str) -> tuple[Any, bool]:
    """JSON at the beginning of a text, as far as it can be read, and whether it was whole."""
    end = _end(text)
    text = _RAW_CONTROL.sub(" ", text[:end])  # a line break inside of a string is a fault in JSON, and common
    try:
        return from_json(text), True
    except ValueError:
        pass
    try:
        return from_json(text, allow_partial="trailing-strings"), False
    except ValueError as error:
        at = _FAULT.search(str(error))
    if at is None:
        return None, False
    try:
        return from_json(text[: int(at[2]) - 1], allow_partial="trailing-strings"), False
    except ValueError:
        return None, False


def _end(text: str) -> int:
    """Where the object that begins the text ends; the text's length where it does not."""
    depth, quoted, escaped = 0, False, False
    for i, c in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = c == "\\", c != '"'
        elif c == '"':
            quoted = True
        elif c in "{[":
            depth += 1
        elif c in "}]":
            depth -= 1
            if depth == 0:
                return i + 1
    return len(text)
