"""What a model answers, and the schema that it is held to: JSON schema 2020-12, every property required, no others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from streamcap.prompts.base import Answer

__all__ = [
    "POSITIONS",
    "InstanceNote",
    "QuestionAnswer",
    "RecaptionAnswer",
    "Structured",
    "SummaryAnswer",
    "WindowAnswer",
    "answer_for",
    "outline",
]

# Most instances that an answer speaks of by themselves, and times that it cites; InstanceCap takes three.
MOST_NOTES = 6
MOST_TIMES = 8
# The words of :func:`streamcap.geometry.place`, and for who is not in the last picture any more.
POSITIONS = (
    "top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right", "gone",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InstanceNote:
    """What a model says of one instance (InstanceCap, arXiv:2412.09283).

    Attributes:
        id: of the instance, as drawn on the picture.
        label: what sort of thing it is, in the model's words.
        position: one of :data:`POSITIONS`, or empty.
    """

    id: int
    label: str = ""
    appearance: str = ""
    actions: str = ""
    position: str = ""


@dataclass(frozen=True, slots=True)
class WindowAnswer:
    """What is different in a window.

    Attributes:
        text: the caption; empty where there is nothing to say.
        nothing_new: the model sees no difference worth a word.
        overview: the scene in at most 20 words.
        complete: the answer was whole: it did not break off.
    """

    text: str = ""
    nothing_new: bool = False
    overview: str = ""
    instances: tuple[InstanceNote, ...] = ()
    background: str = ""
    camera: str = ""
    complete: bool = True


@dataclass(frozen=True, slots=True)
class SummaryAnswer:
    """Differences folded into one text."""

    text: str = ""
    complete: bool = True


@dataclass(frozen=True, slots=True)
class RecaptionAnswer:
    """A short text made dense."""

    text: str = ""
    complete: bool = True


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """An answer to somebody's question.

    Attributes:
        answered: what was shown and known was enough to answer it.
        times: media seconds that the answer cites, rising, each one that was shown.
    """

    text: str = ""
    answered: bool = False
    times: tuple[float, ...] = ()
    complete: bool = True


Structured: TypeAlias = WindowAnswer | SummaryAnswer | RecaptionAnswer | QuestionAnswer
A = TypeVar("A", WindowAnswer, SummaryAnswer, RecaptionAnswer, QuestionAnswer)


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _string(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


# Lengths are not in the schemas, as several servers refuse ``maxLength``; the parser holds them. The caption stands
# first: it is streamed while the rest is written, and whole where the answer is cut off.
_NOTE = _object(
    {
        "id": {"type": "integer", "description": "the instance's number"},
        "class": _string("what it is: person, car, dog"),
        "appearance": _string("colours, clothes, size; empty if unclear"),
        "actions_and_motion": _string("what it does and how it moves"),
        "position": {"type": "string", "enum": list(POSITIONS), "description": "where it is in the last picture"},
    }
)
_SCHEMAS: Mapping[type[Structured], tuple[str, dict[str, Any]]] = {
    WindowAnswer: (
        "window",
        _object(
            {
                "nothing_new": {"type": "boolean", "description": "true if nothing worth telling changed"},
                "caption": _string("what changed, one or two sentences; empty if nothing did"),
                "global": _string("the whole scene in at most 20 words"),
                "instances": {"type": "array", "items": _NOTE, "maxItems": MOST_NOTES},
                "background": _string("the place behind them; empty if as before"),
                "camera": _string("how the camera moves; empty if it stands still"),
            }
        ),
    ),
    SummaryAnswer: ("summary", _object({"summary": _string("what happened, in order of time")})),
    RecaptionAnswer: ("recaption", _object({"caption": _string("the text made dense")})),
    QuestionAnswer: (
        "question",
        _object(
            {
                "answered": {"type": "boolean", "description": "false if what is shown and known does not tell"},
                "answer": _string("one to three sentences"),
                "times": {
                    "type": "array",
                    "items": {"type": "number"},
                    "maxItems": MOST_TIMES,
                    "description": "seconds of the moments that show it",
                },
            }
        ),
    ),
}


def answer_for(kind: type[Structured]) -> Answer:
    """The form that an answer of a kind is held to."""
    name, schema = _SCHEMAS[kind]
    return Answer(name, schema)


def outline(schema: Mapping[str, Any]) -> str:
    """A schema in words, for the model to read: held to it or not, it should know what the fields are for.

    Shaped like an answer, as small models repeat a schema that they are shown.
    """
    if "enum" in schema:
        return "|".join(json.dumps(value) for value in schema["enum"])
    about = schema.get("description", "")
    match schema["type"]:
        case "object":
            fields = ", ".join(f"{json.dumps(name)}: {outline(of)}" for name, of in schema["properties"].items())
            return "{" + fields + "}"
        case "array":
            return f"[{outline(schema['items'])}, ...]"
        case "string":
            return f'"<{about}>"'
        case kind:
            return f"<{kind}{': ' if about else ''}{about}>"
