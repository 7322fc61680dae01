"""Ask a server something about one of its streams.

    answer = await ask("http://127.0.0.1:8750", "door", "What colour was the van?")
    print(answer.text, answer.times)

Needs the base dependencies only.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from streamcap.errors import FeedError, UsageError
from streamcap.flow import aside

__all__ = ["Answer", "Cited", "ask"]

TIMEOUT_S: Final = 60.0  # a model that reads many pictures on a processor takes its time
ANSWER_MAX: Final = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Cited:
    """A moment that an answer points at.

    Attributes:
        t: media seconds.
        image: path of its frame on the server, empty where none was kept.
        text: what was said of it, empty where nothing was.
    """

    t: float
    image: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answers.

    Attributes:
        answered: false where what is known of the stream does not tell.
        evidence: the moments that it cites, in order.
        source: the model.
        held: messages that the server has of the time that it is about; 0 from a server that does not tell.
        read: of these; fewer only where there are very many: then spread over all of that time.
        told: captions that the model was told.
    """

    text: str
    answered: bool
    evidence: tuple[Cited, ...]
    source: str
    held: int = 0
    read: int = 0
    told: int = 0

    @property
    def times(self) -> tuple[float, ...]:
        """Media seconds that it cites, rising."""
        return tuple(cited.t for cited in self.evidence)


async def ask(
    url: str,
    stream: str,
    question: str,
    *,
    at: float | None = None,
    start: float | None = None,
    end: float | None = None,
    token: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Ask a question about a stream.

    A cancelled call leaves a thread that ends with its answer, or after ``timeout_s``; no program waits for it.

    Args:
        url: of the server: ``http://``, ``https://``, or its ``ws://``.
        question: 1 to 1,000 characters.
        at: a moment that it is about, media seconds.
        start, end: a span that it is about, media seconds.
        token: for a server that asks for one.

    Raises:
        UsageError: no such address.
        FeedError: there is no answer; the message is the server's own line.
    """
    body = {"question": question, "at": at, "from": start, "to": end}
    request = urllib.request.Request(  # noqa: S310 - http or https, see _address
        _address(url, stream),
        data=json.dumps({key: value for key, value in body.items() if value is not None}).encode(),
        headers={"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})},
        method="POST",
    )
    found = await aside(lambda: _post(request, timeout_s), name="ask")
    try:
        evidence = (Cited(float(c["t"]), c.get("image", ""), c.get("text", "")) for c in found["evidence"])
        basis = (int(found.get(name, 0)) for name in ("held", "read", "told"))
        return Answer(str(found["answer"]), bool(found["answered"]), tuple(evidence), str(found["source"]), *basis)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FeedError("what answered is no server of captions", hint="check the address") from None


def _address(url: str, stream: str) -> str:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    scheme = {"ws": "http", "wss": "https", "http": "http", "https": "https"}.get(parts.scheme) if sound else None
    if scheme is None:
        raise UsageError(f"{url!r} is not the address of a server", hint="such as http://127.0.0.1:8750")
    return urlunsplit((scheme, parts.netloc, f"/v1/streams/{quote(stream, safe='')}/ask", "", ""))


def _post(request: urllib.request.Request, timeout_s: float) -> Any:
    # No proxy of the environment: as the feed's websocket, it goes where it is sent.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return json.loads(answer.read(ANSWER_MAX))
    except urllib.error.HTTPError as error:
        with error:
            raise FeedError(_detail(error), hint=_hint(error)) from None
    except TimeoutError:
        raise FeedError(f"no answer within {timeout_s:g} s") from None
    except urllib.error.URLError as error:
        raise FeedError(f"the server cannot be reached: {error.reason}", hint="is it running there?") from None
    except (OSError, ValueError) as error:
        raise FeedError(f"the server's answer cannot be read: {error}") from None


def _detail(error: urllib.error.HTTPError) -> str:
    """The server's own line, or its status."""
    try:
        return str(json.loads(error.read(ANSWER_MAX))["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"the server answered {error.code} {error.reason}"


def _hint(error: urllib.error.HTTPError) -> str:
    if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "--token, or STREAMCAP_TOKEN"
    again = error.headers.get("retry-after", "")
    return f"again in {again} s" if again else ""
