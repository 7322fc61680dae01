"""A test server that speaks OpenAI's chat API over real HTTP, with the faults that real servers have.

It holds no model: it answers by a rule that tells honestly what it was shown (number and sizes of the pictures, the
last text, the schema's fields), so that a test sees whether a prompt arrived whole. A test may give another rule.
Faults are switched for all requests (``server.fault``) or for the next ones (``server.next``), one each.

By hand, for a stream of one's own: ``python -m tests.llm_server --port 8000 --fault slow``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import socket
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.llm_requests import Fault, Shown, echo, shown_in
from tests.patience import PATIENCE_S

__all__ = ["MODEL", "Fault", "LlmServer", "Shown", "echo", "llm_server"]

MODEL = "test-vlm"
# Longer than any patience of a test; whoever waits is let go when the server stops.
FOR_EVER_S = 600.0


@dataclass
class LlmServer:
    """The server; runs in a thread of its own between ``start`` and ``stop``, again and again on the same port.

    Attributes:
        rule: what is answered.
        fault: of every request that no other fault is meant for.
        next: faults of the next requests, one each.
        pause: seconds between tokens where the fault is SLOW, and before each first token, ``delay``.
        retry_after: as sent with 429.
        key: bearer token that is asked for, or empty.
        shown: of each request for an answer, in order.
        most: greatest number of answers that were in work at a time; ``working``: now.
        left: answers whose client went away.
        listed: times that the list of models was asked for.
    """

    rule: Callable[[Shown], str] = echo
    fault: Fault = Fault.NONE
    next: deque[Fault] = field(default_factory=deque)
    models: tuple[str, ...] = (MODEL,)
    pause: float = 0.02
    delay: float = 0.0
    retry_after: str = "1"
    key: str = ""
    shown: list[Shown] = field(default_factory=list)
    working: int = 0
    most: int = 0
    left: int = 0
    listed: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What a client takes for its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def connections(self) -> int:
        """Open connections of clients."""
        return len(self._server.server_state.connections) if self._server else 0

    def start(self) -> None:
        """Listen, on a free port the first time, and return when it does."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        listener.listen()  # from here on clients wait rather than being refused
        config = uvicorn.Config(
            self._app(), log_config=None, log_level=logging.CRITICAL, timeout_graceful_shutdown=1, lifespan="off"
        )
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, args=(server, listener), name="llm-server")
        self._thread.start()

    def stop(self) -> None:
        """Close all connections and end the thread. Idempotent."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._server.force_exit = True  # whoever still waits is cut off
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive()
        self._server = self._thread = None
        self.working = 0

    @staticmethod
    def _run(server: uvicorn.Server, listener: socket.socket) -> None:
        with listener, contextlib.suppress(asyncio.CancelledError):
            asyncio.run(server.serve(sockets=[listener]))

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self._list),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ]
        )

    async def _list(self, request: Request) -> Response:
        self.listed += 1
        if refused := self._refusal(request):
            return refused
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    async def _chat(self, request: Request) -> Response:
        fault = self.next.popleft() if self.next else self.fault
        shown = shown_in(await request.json(), dict(request.headers))
        self.shown.append(shown)
        if refused := self._refusal(request, fault) or self._fails(fault, shown):
            return refused
        if fault is Fault.STALL:
            await self._wait(request, FOR_EVER_S)
            self.left += 1
            return _error(503, "shutting down", "unavailable")  # nobody reads it
        text = _answer(fault, self.rule(shown))
        if not shown.body.get("stream"):
            return JSONResponse(_whole(shown, text))
        return StreamingResponse(self._stream(request, shown, text, fault), media_type="text/event-stream")

    def _refusal(self, request: Request, fault: Fault = Fault.NONE) -> Response | None:
        given = request.headers.get("authorization", "")
        if fault is Fault.UNAUTHORISED or (self.key and given != f"Bearer {self.key}"):
            return _error(401, f"Incorrect API key provided: {given}", "invalid_api_key")
        return None

    def _fails(self, fault: Fault, shown: Shown) -> Response | None:
        body = shown.body
        form = (body.get("response_format") or {}).get("type", "text")
        extras = [
            name for name in ("max_tokens", "stream_options", "temperature", "chat_template_kwargs") if name in body
        ]
        match fault:
            case Fault.ERROR:
                return _error(500, "CUDA out of memory\n  in attention.py", "internal_error")
            case Fault.BUSY:
                return _error(429, "too many requests", "rate_limit_exceeded", {"Retry-After": self.retry_after})
            case Fault.TOO_LONG:
                words = "This model's maximum context length is 2048 tokens. However, you requested 30000 tokens"
                return _error(400, words, "context_length_exceeded")
            case Fault.NO_PICTURES if shown.pictures:
                return _error(400, f"{MODEL} is not a multimodal model", "BadRequestError")
            case Fault.NO_SCHEMA if form == "json_schema":
                return _error(400, "response_format type json_schema is not supported", "invalid_request_error")
            case Fault.NO_FORMAT if form != "text":
                return _error(422, "Extra inputs are not permitted: response_format", "invalid_request_error")
            case Fault.NO_EXTRAS if extras:
                return _error(400, f"Unsupported parameter: '{extras[0]}' is not supported", "unsupported_parameter")
            case Fault.NO_SYSTEM if any(role == "system" for role, _ in shown.texts):
                return _error(400, "System role not supported", "BadRequestError")
            case Fault.REDIRECT:
                return Response(status_code=307, headers={"Location": "http://example.org/v1"})
            case Fault.HTML:
                return HTMLResponse("<html>Welcome to the hotel's network</html>")
        if fault is Fault.NO_MODEL or body.get("model") not in self.models:
            return _error(404, f"The model `{body.get('model')}` does not exist.", "model_not_found")
        return None

    async def _stream(self, request: Request, shown: Shown, text: str, fault: Fault) -> AsyncIterator[bytes]:
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            async for event in self._events(request, shown, text, fault):
                yield event if isinstance(event, bytes) else f"data: {json.dumps(event)}\n\n".encode()
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise
        finally:
            self.working = max(0, self.working - 1)

    async def _events(
        self, request: Request, shown: Shown, text: str, fault: Fault
    ) -> AsyncIterator[dict[str, Any] | bytes]:
        if fault is Fault.NOTHING:
            return
        yield _chunk(shown, {"role": "assistant", "content": ""})
        await asyncio.sleep(self.delay)
        if fault is Fault.STALL_FIRST:
            await self._wait(request, FOR_EVER_S)
        if fault is Fault.CUT_FIRST:
            raise ConnectionError("cut by the test")
        pieces = list(_pieces(text))
        for n, piece in enumerate(pieces):
            if n == len(pieces) // 2:
                async for event in self._trouble(request, shown, fault):
                    yield event
                if fault in {Fault.BAD_JSON, Fault.BAD_SHAPE, Fault.ERROR_EVENT, Fault.FILTERED, Fault.LENGTH}:
                    break
            yield _chunk(shown, {"content": piece})
            await asyncio.sleep(self.pause if fault is Fault.SLOW else 0)
        async for event in self._end(request, shown, len(pieces), fault):
            yield event

    async def _trouble(self, request: Request, shown: Shown, fault: Fault) -> AsyncIterator[dict[str, Any] | bytes]:
        match fault:
            case Fault.STALL_MID:
                await self._wait(request, FOR_EVER_S)
            case Fault.CUT_MID:
                raise ConnectionError("cut by the test")
            case Fault.BAD_JSON:
                yield b'data: {"id": "x", "choices": [{"del\n\n'
            case Fault.BAD_SHAPE:
                yield {"choices": [{"delta": 5}]}
            case Fault.ERROR_EVENT:
                yield {"error": {"message": "the worker died", "type": "internal", "code": 500}}
            case Fault.ENDLESS:
                yield b"data: "
                while not await request.is_disconnected():
                    yield b"x" * 65536
            case Fault.HUGE:
                while not await request.is_disconnected():
                    yield _chunk(shown, {"content": "and so on " * 100})

    async def _end(
        self, request: Request, shown: Shown, tokens: int, fault: Fault
    ) -> AsyncIterator[dict[str, Any] | bytes]:
        reasons = {Fault.LENGTH: "length", Fault.FILTERED: "content_filter", Fault.NO_END: None}
        if fault is not Fault.NO_END:
            yield _chunk(shown, {}, finish=reasons.get(fault, "stop"))
        if fault is Fault.STALL_END:
            await self._wait(request, FOR_EVER_S)
        if fault is Fault.CUT_END:
            raise ConnectionError("cut by the test")
        if (shown.body.get("stream_options") or {}).get("include_usage") and fault is not Fault.NO_USAGE:
            yield _chunk(shown, None) | {"usage": _usage(shown, tokens)}
        yield b"data: [DONE]\n\n"

    async def _wait(self, request: Request, seconds: float) -> None:
        """Stall, until the client goes away or the server is stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (await request.receive())["type"] != "http.disconnect":
                    pass


def _answer(fault: Fault, text: str) -> str:
    match fault:
        case Fault.EMPTY:
            return ""
        case Fault.GARBAGE:
            return "%%% \u0000\u202e lorem <script>alert(1)</script> ``` http://example.org ```"
        case Fault.WRONG_SCHEMA:
            return json.dumps({"weather": "fine", "numbers": [1, 2, 3]})
        case Fault.UNCLOSED:
            return text[: max(1, len(text) * 2 // 3)]
    return text


def _pieces(text: str) -> Iterator[str]:
    for begin in range(0, len(text), 4):
        yield text[begin : begin + 4]


def _usage(shown: Shown, tokens: int) -> dict[str, int]:
    asked = sum(len(text) for _, text in shown.texts) // 4 + 200 * len(shown.pictures)
    return {"prompt_tokens": asked, "completion_tokens": tokens, "total_tokens": asked + tokens}


def _chunk(shown: Shown, delta: dict[str, Any] | None, finish: str | None = None) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    model = shown.body["model"]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices}


def _whole(shown: Shown, text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = _usage(shown, len(text) // 4)
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def _error(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> Response:
    body = {"error": {"message": message, "type": code, "param": None, "code": code}}
    return JSONResponse(body, status, headers)


@contextlib.contextmanager
def llm_server(**settings: Any) -> Iterator[LlmServer]:
    """A running server; stopped at the end of the block."""
    server = LlmServer(**settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fault", type=Fault, default=Fault.NONE, choices=list(Fault))
    options = parser.parse_args()
    with llm_server(port=options.port, fault=options.fault) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    _main()
