"""What goes wrong with a server of OpenAI's API, each by its name, in one clear line that does not hold the key."""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from streamcap.errors import (
    AnswerCut,
    ModelBusy,
    ModelError,
    ModelNotFound,
    ModelTimeout,
    ModelUnauthorised,
    ModelUnavailable,
    PromptRefused,
    PromptTooLong,
)
from streamcap.models.openai_request import takes_no_pictures, too_long

if TYPE_CHECKING:
    import openai

__all__ = ["Faults", "retry_after", "spoken"]

# What a server says is quoted up to so many characters.
QUOTED = 200
# Longest that a server may ask to wait (seconds), and how long where it asks to come later without saying when.
RETRY_AFTER_MOST_S = 600.0
RETRY_AFTER_S = 1.0
# So many of a server's models are named.
NAMED = 8


class Faults:
    """Names the faults of one server.

    Args:
        url: of the server, as settings have it.
        key: that no line may hold; or empty.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key

    def quoted(self, message: str) -> str:
        """What a server said: one line, not too long, without control characters and the key."""
        if self._key:
            message = message.replace(self._key, "***")
        line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
        return line if len(line) <= QUOTED else line[: QUOTED - 1] + "…"

    def unreachable(self, why: str) -> ModelUnavailable:
        """Nobody answers at the address."""
        return ModelUnavailable(
            f"no model server answers: {why}", hint=f"start it, or set [vision] url to where it is; now {self._url}"
        )

    def broken(self, error: openai.APIConnectionError, *, begun: bool = False) -> ModelError:
        """There is no connection, or no longer.

        Args:
            error: as the client has it.
            begun: part of the answer is there already.
        """
        import httpx2

        why = _cause(error)
        if isinstance(error.__cause__, httpx2.ConnectError):
            return self.unreachable(why)
        if begun:
            return AnswerCut(f"the answer breaks off: {why}", hint="see the server's own log")
        return ModelUnavailable(f"the model server breaks the connection: {why}", hint="see the server's own log")

    def late(self, what: str, seconds: float) -> ModelTimeout:
        """The server is too slow.

        Args:
            what: it did not do.
            seconds: that it had for it.
        """
        return ModelTimeout(
            f"the model server {what} within {seconds:{'.2g' if seconds < 10 else '.0f'}} s",
            hint="a smaller model, fewer streams, or a longer [vision] timeout_s",
        )

    def not_found(self, model: str, there: Sequence[str] | None) -> ModelNotFound:
        """There is no such model.

        Args:
            model: as settings have it; empty where they name none.
            there: models that the server has; None where it does not tell.
        """
        if there is None:
            hint = self._no_api()
        elif not there:
            hint = "the server has no model at all: load one into it"
        else:
            more = f" and {len(there) - NAMED} more" if len(there) > NAMED else ""
            hint = f"set [vision] model to one that it has: {', '.join(there[:NAMED])}{more}"
        what = f"no model {model!r}" if model else "several models or none, and settings name none"
        return ModelNotFound(f"the model server has {what}", hint=hint)

    def no_api(self) -> ModelNotFound:
        """There is a server, but nothing at the address."""
        return ModelNotFound("the model server lists no models (404)", hint=self._no_api())

    def _no_api(self) -> str:
        return f"does {self._url} speak OpenAI's chat API? The address usually ends in /v1"

    def refused(self, error: openai.APIStatusError, *, pictures: int) -> ModelError:
        """The server answered with a status that is no answer; 404 is for :meth:`not_found`."""
        status = error.status_code
        message = spoken(error)
        said = self.quoted(message)
        wait = retry_after(error.response.headers)
        if status in {401, 403}:
            return ModelUnauthorised(
                f"the model server refuses the key ({status}): {said}",
                hint="put the key into the environment variable that [vision] api_key_env names",
            )
        if status == 429:
            if error.code == "insufficient_quota":
                return ModelUnauthorised(f"the account has no quota left: {said}", hint="see the account at the server")
            return ModelBusy(
                f"the model server asks to come later: {said}",
                hint="lower [vision] calls_per_minute_in_all and concurrency",
                retry_after_s=RETRY_AFTER_S if wait is None else wait,
            )
        if 300 <= status < 400:
            there = self.quoted(error.response.headers.get("location", "elsewhere"))
            return PromptRefused(
                f"the model server redirects to {there}, where pictures and key are not sent",
                hint="set [vision] url to the final address",
            )
        if status == 413 or (status < 500 and too_long(message)):
            return PromptTooLong(
                f"the prompt is too long for the model: {said}",
                hint="a shorter prompt, fewer pictures, or a server started with a longer context",
            )
        if status in {400, 415, 422} and pictures and takes_no_pictures(message):
            return PromptRefused(f"the model takes no pictures: {said}", hint="serve a vision–language model")
        if status in {400, 415, 422}:
            return PromptRefused(f"the model server refuses the request ({status}): {said}")
        return ModelUnavailable(
            f"the model server fails ({status}): {said}", hint="see the server's own log", retry_after_s=wait
        )


def spoken(error: openai.APIError) -> str:
    """What the server said, wherever in its answer: servers differ, and the client finds OpenAI's own form alone."""
    body: object = error.body
    for name in ("error", "message", "detail", "msg"):  # {"error": {"message": …}}, FastAPI's {"detail": [{"msg": …}]}
        if isinstance(body, list) and body:
            body = body[0] if isinstance(body[0], dict) else str(body)
        if isinstance(body, dict) and name in body:
            body = body[name]
    if isinstance(body, str) and body.strip():
        return body
    return str(body) if body else error.message


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, 0 to :data:`RETRY_AFTER_MOST_S`; None where it does not, or not clearly."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value):
        return min(RETRY_AFTER_MOST_S, float(value))
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    wait = (at - datetime.datetime.now(datetime.UTC)).total_seconds()
    return min(RETRY_AFTER_MOST_S, max(0.0, wait))


def _cause(error: BaseException) -> str:
    """The innermost reason, in a few words."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
