"""The official client for servers of OpenAI's API, kept from taking anything from the environment or sending more than
it must: what it carries are pictures of people, and a key."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import certifi

from streamcap import __version__
from streamcap.config import is_loopback
from streamcap.errors import ConfigError, ModelLoadError

if TYPE_CHECKING:
    import httpx2
    import openai

__all__ = ["checked_url", "is_in_the_clear", "open_client"]

# Headers of the client that leave. It would add a dozen that describe this machine, and all that the environment's
# OPENAI_CUSTOM_HEADERS, OPENAI_ORG_ID and OPENAI_PROJECT_ID say.
HEADERS_SENT = frozenset({"host", "content-type", "content-length", "accept", "connection"})
# Most bytes of one answer: the most tokens that can be asked for (4,096), each in an event of its own, four times over.
MOST_BYTES = 8 << 20
# A connection that rests is closed after so many seconds: before most servers close it, which would cost a failed call.
REST_S = 4.0


def checked_url(url: str) -> str:
    """The base URL without a slash at its end.

    Raises:
        ConfigError: it is none, or holds what belongs elsewhere: a name and password, a query.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"[vision] url does not hold: {error}") from None
    example = "as in http://127.0.0.1:8000/v1"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ConfigError("[vision] url must be the http or https address of a server", hint=example)
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "[vision] url must not hold a name or password",
            hint="put the key into the environment variable that [vision] api_key_env names",
        )
    if parts.query or parts.fragment:
        raise ConfigError("[vision] url must not have a query or fragment", hint=example)
    return url.strip().rstrip("/")


def is_in_the_clear(url: str) -> bool:
    """True where others on the way can read along."""
    return url.startswith("http:") and not is_loopback(urlsplit(url).hostname or "")


def open_client(url: str, key: str, *, connect_s: float, connections: int) -> openai.AsyncOpenAI:
    """A client for this server alone: no proxy and no netrc of the environment, no redirects, no retries of its own.

    Args:
        url: from :func:`checked_url`.
        key: bearer token, or empty.
        connect_s: to connect; other waits have no limit here, the caller has to see to them.
        connections: most at a time.

    Raises:
        ModelLoadError: the client is not installed.
    """
    try:
        import httpx2
        import openai
    except ImportError as error:
        raise ModelLoadError(
            f"the backend 'openai' needs a package that is not installed: {error.name}",
            hint="pip install 'streamcap[openai]'",
        ) from error

    async def send_ours_alone(request: httpx2.Request) -> None:
        for name in set(request.headers) - HEADERS_SENT:
            del request.headers[name]
        request.headers["User-Agent"] = f"streamcap/{__version__}"
        request.headers["Accept-Encoding"] = "identity"  # tokens must not wait in a compressor
        if key:
            request.headers["Authorization"] = f"Bearer {key}"

    async def bound(response: httpx2.Response) -> None:
        response.stream = _bounded(response.stream)

    http = httpx2.AsyncClient(
        trust_env=False,
        follow_redirects=False,
        verify=_trust() if url.startswith("https:") else False,
        timeout=httpx2.Timeout(None, connect=connect_s),
        limits=httpx2.Limits(max_connections=connections + 1, keepalive_expiry=REST_S),
        event_hooks={"request": [send_ours_alone], "response": [bound]},
    )
    return openai.AsyncOpenAI(api_key=key or "none", base_url=url, max_retries=0, http_client=http)


def _bounded(stream: httpx2.AsyncByteStream) -> httpx2.AsyncByteStream:
    """What a server sends, up to :data:`MOST_BYTES`: the client would collect a line that never ends."""
    import httpx2

    class Bounded(httpx2.AsyncByteStream):  # type: ignore[misc]  # the package is optional: no types are read
        async def __aiter__(self) -> AsyncIterator[bytes]:
            taken = 0
            async for data in stream:
                taken += len(data)
                if taken > MOST_BYTES:
                    raise httpx2.ReadError(f"more than {MOST_BYTES >> 20} MiB")
                yield data

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()


def _trust() -> ssl.SSLContext:
    """The system's authorities (``SSL_CERT_FILE`` counts, for one's own), or certifi's where it has none."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):
        context.load_verify_locations(certifi.where())
    return context
