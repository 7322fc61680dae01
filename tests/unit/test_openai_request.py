"""Prompts as requests, and what servers say where they do not take them."""

from __future__ import annotations

import base64
import datetime
import email.utils

import cv2
import numpy as np
import pytest

from streamcap.errors import ConfigError
from streamcap.models.openai_client import checked_url
from streamcap.models.openai_faults import RETRY_AFTER_MOST_S, Faults, retry_after
from streamcap.models.openai_request import (
    LONGEST_SIDE,
    PICTURE_BYTES,
    Constraint,
    Dialect,
    data_url,
    request_body,
    takes_no_pictures,
    too_long,
)
from streamcap.prompts import Answer, Picture, Prompt, Text, Turn

ANSWER = Answer(
    "window",
    {
        "type": "object",
        "properties": {
            "caption": {"type": "string", "description": "what changed"},
            "side": {"type": "string", "enum": ["left", "right"]},
            "notes": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}}},
        },
        "required": ["caption", "side", "notes"],
        "additionalProperties": False,
    },
)
PICTURE = Picture(np.full((24, 32, 3), 90, np.uint8), 1.0)


def read(url: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    head, _, data = url.partition(",")
    assert head == "data:image/jpeg;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def test_a_picture_keeps_its_aspect_and_colours() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    image[:, 200:] = (250, 10, 10)
    shown = read(data_url(image))
    assert shown.shape == (300, 400, 3)
    assert np.abs(shown[150, 300].astype(int) - (250, 10, 10)).max() < 8


@pytest.mark.parametrize("shape", [(3000, 4000), (4000, 300), (1, 3000), (1, 1), (1024, 768)])
def test_a_picture_is_made_small_by_its_longest_side(shape: tuple[int, int]) -> None:
    shown = read(data_url(np.zeros((*shape, 3), np.uint8)))
    assert max(shown.shape) <= max(LONGEST_SIDE, 3)
    if max(shape) > LONGEST_SIDE and min(shape) > 1:
        assert max(shown.shape) > 0.98 * LONGEST_SIDE


def test_a_picture_of_noise_is_held_to_its_bytes() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1024, 1024, 3), np.uint8)
    url = data_url(noise)
    assert len(url) * 3 / 4 <= PICTURE_BYTES + 100
    assert read(url).shape == (1024, 1024, 3)


def test_a_text_without_pictures_is_a_plain_string() -> None:
    body = request_body(Prompt("Be short.", (Text("One."), Text("Two."))), "m", Dialect())
    assert body["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "One.\nTwo."},
    ]
    assert "response_format" not in body


@pytest.mark.parametrize(
    ("constraint", "kind"),
    [
        (Constraint.SCHEMA, "json_schema"),
        (Constraint.OBJECT_SCHEMA, "json_object"),
        (Constraint.OBJECT, "json_object"),
        (Constraint.WORDS, None),
    ],
)
def test_the_form_of_the_answer_is_held_as_far_as_the_server_can(constraint: Constraint, kind: str | None) -> None:
    prompt = Prompt("Be short.", (Text("What?"), PICTURE), answer=ANSWER)
    body = request_body(prompt, "m", Dialect(constraint=constraint))
    assert body.get("response_format", {}).get("type") == kind
    assert ("schema" in body.get("response_format", {})) == (constraint is Constraint.OBJECT_SCHEMA)
    assert body["messages"][0]["content"] == "Be short."  # whose words tell the form, see prompts.answers.outline


def test_where_there_is_no_system_message_it_heads_the_first_question() -> None:
    dialect = Dialect(system=False)
    shown = request_body(Prompt("Be short.", (PICTURE,), (Turn("A?", "B."),)), "m", dialect)["messages"]
    assert shown[0] == {"role": "user", "content": "Be short.\n\nA?"}
    (only,) = request_body(Prompt("Be short.", (PICTURE,)), "m", dialect)["messages"]
    assert only["content"][0] == {"type": "text", "text": "Be short."}


def test_a_refusal_is_followed_down_to_the_plainest_words_and_no_further() -> None:
    steps, dialect = [], Dialect()
    for _ in range(10):
        other = dialect.after("Bad request", ANSWER)
        if other is None:
            break
        steps.append((other.constraint, other.silent))
        dialect = other
    down = [Constraint.OBJECT_SCHEMA, Constraint.OBJECT, Constraint.WORDS]
    assert steps == [*((each, True) for each in down), (Constraint.WORDS, False)]
    assert Dialect(silent=False).after("Bad request", None) is None
    for word in ("max_tokens", "max_completion_tokens", "stream_options", "temperature", "System role not supported"):
        changed = dialect.after(f"Unsupported: {word}", ANSWER)
        assert changed is not None, word
        dialect = changed
    assert dialect == Dialect(Constraint.WORDS, most="", usage=False, temperature=False, system=False, silent=False)


def test_a_model_is_asked_not_to_think_aloud_where_the_server_knows_how() -> None:
    asked = request_body(Prompt("", (Text("What?"),)), "m", Dialect())
    assert asked["extra_body"] == {"chat_template_kwargs": {"enable_thinking": False}}
    told = Dialect().after("Unrecognized request argument supplied: chat_template_kwargs", None)
    assert told == Dialect(silent=False)
    assert "extra_body" not in request_body(Prompt("", (Text("What?"),)), "m", told)


@pytest.mark.parametrize(
    "message",
    [
        # OpenAI and vLLM, vLLM, SGLang, llama.cpp, llama-cpp-python, Anthropic's, TGI
        "This model's maximum context length is 4096 tokens. However, you requested 30000 tokens",
        "max_tokens must be at least 1, got -20.",
        "The input (30000 tokens) is longer than the model's context length (4096 tokens).",
        "the request exceeds the available context size, try increasing it",
        "Requested tokens (20016) exceed context window of 2048",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 30000 `inputs` tokens and 256 `max_new_tokens`",
    ],
)
def test_servers_say_in_many_ways_that_a_prompt_is_too_long(message: str) -> None:
    assert too_long(message)


@pytest.mark.parametrize(
    "message", ["Unsupported parameter: max_tokens", "response_format is not supported", "image_url is not permitted"]
)
def test_other_refusals_are_not_taken_for_it(message: str) -> None:
    assert not too_long(message)


@pytest.mark.parametrize(
    "message",
    [
        "meta-llama/Llama-3.1-8B is not a multimodal model",  # vLLM
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",  # llama.cpp
        "this model does not support images",  # Ollama
        "unknown content type: image_url",
    ],
)
def test_servers_say_in_many_ways_that_they_take_no_pictures(message: str) -> None:
    assert takes_no_pictures(message)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/v1/", " http://[::1]:11434/v1", "https://models.example.org/openai/v1", "http://gpu/v1"],
)
def test_addresses_of_servers(url: str) -> None:
    assert checked_url(url) == url.strip().rstrip("/")


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("", "address of a server"),
        ("127.0.0.1:8000/v1", "address of a server"),
        ("ftp://host/v1", "address of a server"),
        ("file:///etc/passwd", "address of a server"),
        ("http://", "address of a server"),
        ("http://host:99999/v1", "does not hold"),
        ("http://[::1/v1", "does not hold"),
        ("https://user:secret@host/v1", "name or password"),
        ("https://host/v1?key=secret", "query"),
        ("https://host/v1#x", "query"),
    ],
)
def test_what_is_no_address_of_a_server(url: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line) as caught:
        checked_url(url)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_retry_after_in_seconds_or_as_a_date() -> None:
    assert retry_after({}) is None
    assert retry_after({"retry-after": "3"}) == 3.0
    assert retry_after({"retry-after": " 0.5 "}) == 0.5
    assert retry_after({"retry-after": "99999999"}) == RETRY_AFTER_MOST_S
    for nonsense in ("-3", "soon", "1e9", "nan", "9" * 400, "٣"):
        assert retry_after({"retry-after": nonsense}) is None
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    wait = retry_after({"retry-after": email.utils.format_datetime(soon, usegmt=True)})
    assert wait is not None
    assert 25 < wait <= 30
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


def test_what_a_server_says_is_one_short_line_without_the_key() -> None:
    faults = Faults("http://host/v1", "sk-secret")
    said = faults.quoted("no\n\x1b[31m sk-secret \u202e" + "x" * 1000)
    assert said.startswith("no [31m *** ")
    assert len(said) == 200
    assert said.isprintable()
