"""What the test server of ``llm_server.py`` is shown, what it says of that, and what it can get wrong."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cv2
import numpy as np

__all__ = ["Fault", "Shown", "echo", "shown_in"]


class Fault(StrEnum):
    """What goes wrong with a request."""

    NONE = "none"
    ERROR = "error"  # 500
    BUSY = "busy"  # 429 with Retry-After: LlmServer.retry_after
    UNAUTHORISED = "unauthorised"  # 401, which repeats the key as some servers do
    NO_MODEL = "no-model"  # 404
    TOO_LONG = "too-long"  # 400: more tokens than the model's context
    NO_PICTURES = "no-pictures"  # 400: a model for text alone
    NO_SCHEMA = "no-schema"  # 400 where response_format is json_schema
    NO_FORMAT = "no-format"  # 422 where there is any response_format
    NO_EXTRAS = "no-extras"  # 400 where stream_options, temperature or max_tokens are sent
    NO_SYSTEM = "no-system"  # 400 where a message has the role system
    STALL = "stall"  # headers never come
    STALL_FIRST = "stall-first"  # headers come, the first token does not
    STALL_MID = "stall-mid"
    CUT_FIRST = "cut-first"  # the connection breaks before the first token
    CUT_MID = "cut-mid"
    NO_END = "no-end"  # ends in order, but without a finish_reason
    NOTHING = "nothing"  # ends in order, but without a word: what llama-cpp-python does where a prompt is too long
    LENGTH = "length"  # cut off by max_tokens
    CUT_END = "cut-end"  # after the finish_reason
    STALL_END = "stall-end"  # after the finish_reason
    ENDLESS = "endless"  # a line that never ends
    FILTERED = "filtered"  # finish_reason content_filter, half way
    BAD_JSON = "bad-json"  # an event of the stream is no JSON
    BAD_SHAPE = "bad-shape"  # an event of the stream is JSON of another kind
    ERROR_EVENT = "error-event"  # an error as an event of the stream
    REDIRECT = "redirect"  # 307
    HTML = "html"  # 200, and a page
    WRONG_SCHEMA = "wrong-schema"  # JSON, with other fields
    UNCLOSED = "unclosed"  # JSON that does not end
    GARBAGE = "garbage"  # text that is no JSON
    EMPTY = "empty"
    HUGE = "huge"  # does not heed max_tokens, and goes on for ever
    SLOW = "slow"  # LlmServer.pause seconds between tokens
    NO_USAGE = "no-usage"


@dataclass(frozen=True)
class Shown:
    """What one request showed.

    Attributes:
        body: as it came.
        headers: by lower-case name.
        texts: of all messages, in order, with their role.
        pictures: decoded, (height, width, 3) uint8 RGB, in order.
        schema: of the answer, or None.
    """

    body: dict[str, Any]
    headers: dict[str, str]
    texts: tuple[tuple[str, str], ...]
    pictures: tuple[np.ndarray[Any, Any], ...]
    schema: dict[str, Any] | None

    @property
    def question(self) -> str:
        """The texts of the last message."""
        last = [text for role, text in self.texts if role == "user"]
        return last[-1] if last else ""

    @property
    def said(self) -> str:
        """What was shown, in words."""
        sizes = " ".join(f"{picture.shape[1]}x{picture.shape[0]}" for picture in self.pictures)
        line = " ".join(self.question.split())[-120:]
        return f"I was shown {len(self.pictures)} pictures ({sizes}) and asked: {line}"


def echo(shown: Shown) -> str:
    """The rule unless another one is given: says what was shown; by the schema, where there is one."""
    if shown.schema is None:
        return shown.said
    return json.dumps(_fill(shown.schema, shown.said))


def _fill(schema: dict[str, Any], words: str) -> Any:
    """The plainest value that a schema allows, with these words in its texts."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return {name: _fill(of, words) for name, of in schema.get("properties", {}).items()}
        case "array":
            least = int(schema.get("minItems", 0))
            return [_fill(schema.get("items", {"type": "string"}), words) for _ in range(least)]
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "null":
            return None
    return words[: schema.get("maxLength", len(words))]


def shown_in(body: dict[str, Any], headers: dict[str, str]) -> Shown:
    """What a request showed, its pictures decoded."""
    texts: list[tuple[str, str]] = []
    pictures: list[np.ndarray[Any, Any]] = []
    for message in body["messages"]:
        parts = message["content"]
        if isinstance(parts, str):
            parts = [{"type": "text", "text": parts}]
        texts.append((message["role"], "\n".join(part["text"] for part in parts if part["type"] == "text")))
        for part in parts:
            if part["type"] == "image_url":
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                assert image is not None, "a picture that cannot be read"
                pictures.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    form = body.get("response_format") or {}
    schema = form["json_schema"]["schema"] if form.get("type") == "json_schema" else None
    return Shown(body, headers, tuple(texts), tuple(pictures), schema)
