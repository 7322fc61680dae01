"""The stream of an answer as servers of OpenAI's chat API send it, read with care: the client checks little of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from streamcap.errors import AnswerCut, AnswerEmpty, AnswerMalformed, AnswerWithheld
from streamcap.models.language import Usage

if TYPE_CHECKING:
    from openai import AsyncStream
    from openai.types.chat import ChatCompletionChunk

__all__ = ["check_form", "end_stream", "judge", "read_chunk"]


async def check_form(stream: AsyncStream[ChatCompletionChunk]) -> None:
    """Tell a stream from whatever else is answered with status 200.

    Raises:
        AnswerMalformed: it is none; it is closed then.
    """
    kind = stream.response.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "text/event-stream":
        await stream.close()
        raise AnswerMalformed(
            f"what answers is no stream of OpenAI's chat API, but {kind or 'of no type'}",
            hint="does [vision] url point at the model server, with its /v1?",
        )


def read_chunk(chunk: ChatCompletionChunk) -> tuple[str, str, Usage | None]:
    """An event's text, the reason why the answer ends with it, and what it cost; each may be absent.

    The client does not check what it reads: a server may send anything.
    """
    try:
        used = chunk.usage
        counted = Usage(int(used.prompt_tokens), int(used.completion_tokens)) if used else None
        if not chunk.choices:
            return "", "", counted
        choice = chunk.choices[0]
        text, ended = choice.delta.content or "", choice.finish_reason or ""
        return _sound(text), str(ended), counted
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        raise AnswerMalformed(f"the model server streams another form of JSON: {type(error).__name__}") from None


def _sound(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON may hold and UTF-8 may not."""
    return text.encode("utf-8", "replace").decode("utf-8")


def judge(finish: str, *, blank: bool, most: int) -> None:
    """Tell a whole answer from one that is none.

    Raises:
        AnswerUnusable: it is none.
    """
    match finish:
        case "" if blank:
            raise AnswerEmpty(
                "the model server ended its stream before the first word",
                hint="see its own log: the prompt may be too long for the model, or the model may take no pictures",
            )
        case "":
            raise AnswerCut("the answer breaks off: the stream ended before it", hint="see the server's own log")
        case "length":
            raise AnswerCut(
                f"the answer breaks off at its limit of {most} tokens", hint="raise [vision] max_tokens", at_limit=True
            )
        case "content_filter":
            raise AnswerWithheld("the model server's filter held the answer back")
        case "tool_calls" | "function_call":
            raise AnswerMalformed("the model calls a tool where it was asked for words")
    if blank:
        raise AnswerEmpty("the model answered with no word")


async def end_stream(stream: AsyncStream[ChatCompletionChunk]) -> None:
    """Close the connection of a stream, and bring the client's generators that read it to their end."""
    import httpx2
    import openai

    await stream.close()
    with contextlib.suppress(openai.OpenAIError, httpx2.StreamError, ValueError):
        async for _ in stream:
            pass
