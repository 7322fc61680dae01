"""A prompt as a request of OpenAI's chat API, in the words that the server at hand understands. Pure.

Servers that speak this API differ in what they take. What one refuses is left out the next time: see :class:`Dialect`.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcap.frames.jpeg import narrowed, to_jpeg
from streamcap.prompts import Answer, Picture, Prompt, Text

__all__ = ["Constraint", "Dialect", "data_url", "names_the_form", "request_body", "takes_no_pictures", "too_long"]

# Longest side of a picture that is sent, in pixels: more is scaled down by the models' own preprocessing.
LONGEST_SIDE = 1024
# Most bytes of one picture, and the JPEG qualities that are tried until it has no more.
PICTURE_BYTES = 400_000
QUALITIES = (85, 70, 50, 30)

# What servers say where a prompt is longer than the model's context: OpenAI and vLLM, SGLang, llama.cpp, others.
_TOO_LONG = re.compile(
    r"context.{0,12}(length|size|window)|longer than .{0,40}context|prompt (is )?too long|too many (input )?tokens"
    r"|exceed\w* .{0,60}(context|max\w* \w*tokens)|max_(new_)?tokens`? must be",
    re.IGNORECASE | re.DOTALL,
)
_NO_PICTURES = re.compile(
    r"not a multi-?modal|(image|vision|picture)s?\b.{0,40}(not|un-?)\s?support|not support.{0,20}(image|vision)|mmproj"
    r"|unknown (part|content) type|image_url.{0,40}(invalid|unexpected|not permitted)",
    re.IGNORECASE | re.DOTALL,
)
_FORMAT = re.compile(r"response_format|json_schema|json_object|schema|grammar|guided|structured", re.IGNORECASE)
_SYSTEM = re.compile(r"system.{0,20}(role|message|prompt)|role.{0,20}system", re.IGNORECASE)


class Constraint(IntEnum):
    """How a server is told the form of the answer; the next one asks less of it."""

    SCHEMA = 0  # response_format json_schema: what comes is held to it
    OBJECT_SCHEMA = 1  # json_object with the schema beside it: the same for llama-cpp-python and some services
    OBJECT = 2  # json_object: some JSON comes
    WORDS = 3  # nothing but the words, which are there in each case


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server takes of the API.

    Attributes:
        constraint: how it is told the form of the answer.
        most: by which name the most tokens of an answer go, or empty.
        usage: it can be asked to count tokens at the end of a stream.
        temperature: it takes one.
        system: it takes a system message; otherwise that stands at the head of the first question.
        silent: a model that would think aloud before it answers can be asked not to: a caption cannot wait for that.
    """

    constraint: Constraint = Constraint.SCHEMA
    most: str = "max_tokens"
    usage: bool = True
    temperature: bool = True
    system: bool = True
    silent: bool = True

    def after(self, message: str, answer: Answer | None) -> Dialect | None:
        """The dialect to try after a request in this one was refused; None where it is not for the dialect.

        Args:
            message: what the server said.
            answer: of the prompt.
        """
        if self.most == "max_tokens" and "max_tokens" in message:
            return replace(self, most="max_completion_tokens")
        if self.most and self.most in message:
            return replace(self, most="")
        if self.usage and ("stream_options" in message or "include_usage" in message):
            return replace(self, usage=False)
        if self.temperature and "temperature" in message:
            return replace(self, temperature=False)
        if self.silent and ("chat_template" in message or "enable_thinking" in message):
            return replace(self, silent=False)
        if self.system and _SYSTEM.search(message):
            return replace(self, system=False)
        if answer is not None and self.constraint < Constraint.WORDS:  # whether it says so or not
            return replace(self, constraint=Constraint(self.constraint + 1))
        return replace(self, silent=False) if self.silent else None


def names_the_form(message: str) -> bool:
    """True where a server's message is about the form of the answer that it was asked for."""
    return _FORMAT.search(message) is not None


def too_long(message: str) -> bool:
    """True where a server says that a prompt is more than the model can hold."""
    return _TOO_LONG.search(message) is not None


def takes_no_pictures(message: str) -> bool:
    """True where a server says that the model is for text alone."""
    return _NO_PICTURES.search(message) is not None


def data_url(image: NDArray[np.uint8]) -> str:
    """A picture as a ``data:`` URL of a JPEG, within the limits above.

    Args:
        image: (height, width, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    small = narrowed(image, max(1, int(width * min(1.0, LONGEST_SIDE / max(height, width)))))
    for quality in QUALITIES:
        data = to_jpeg(small, quality)
        if len(data) <= PICTURE_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def request_body(prompt: Prompt, model: str, dialect: Dialect) -> dict[str, Any]:
    """The arguments of ``chat.completions.create``; costs about 2 ms a picture.

    Args:
        prompt: what to show and ask.
        model: as the server names it.
        dialect: what the server takes.
    """
    body: dict[str, Any] = {"model": model, "messages": _messages(prompt, dialect), "stream": True}
    if dialect.most:
        body[dialect.most] = prompt.max_tokens
    if dialect.usage:
        body["stream_options"] = {"include_usage": True}
    if dialect.temperature:
        body["temperature"] = 0.0  # the likeliest words: a report is no poem
    if dialect.silent:
        body["extra_body"] = {"chat_template_kwargs": {"enable_thinking": False}}  # vLLM, SGLang, llama.cpp
    if prompt.answer is not None and dialect.constraint is not Constraint.WORDS:
        body["response_format"] = _response_format(prompt.answer, dialect.constraint)
    return body


def _response_format(answer: Answer, constraint: Constraint) -> dict[str, Any]:
    schema = dict(answer.schema)
    match constraint:
        case Constraint.SCHEMA:
            return {"type": "json_schema", "json_schema": {"name": answer.name, "schema": schema, "strict": True}}
        case Constraint.OBJECT_SCHEMA:
            return {"type": "json_object", "schema": schema}
    return {"type": "json_object"}


def _messages(prompt: Prompt, dialect: Dialect) -> list[dict[str, Any]]:
    system = prompt.system
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if dialect.system and system else []
    for turn in prompt.demonstrations:
        messages += [{"role": "user", "content": turn.ask}, {"role": "assistant", "content": turn.answer}]
    messages.append({"role": "user", "content": _content(prompt)})
    if system and not dialect.system:
        first = messages[0]
        rest = first["content"]
        first["content"] = f"{system}\n\n{rest}" if isinstance(rest, str) else [_text(system), *rest]
    return messages


def _content(prompt: Prompt) -> str | list[dict[str, Any]]:
    if not prompt.pictures:  # a string is what every chat template takes
        return "\n".join(part.text for part in prompt.parts if isinstance(part, Text))
    return [_part(part) for part in prompt.parts]


def _part(part: Text | Picture) -> dict[str, Any]:
    if isinstance(part, Text):
        return _text(part.text)
    return {"type": "image_url", "image_url": {"url": data_url(part.image)}}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
