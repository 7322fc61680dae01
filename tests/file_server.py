"""A real HTTP server for downloads, with the faults that real ones have."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.patience import PATIENCE_S


@dataclass
class File:
    """What the server has under a path, and how it misbehaves.

    Attributes:
        etag: as sent, with its quotes; empty to send none.
        ranges: whether byte ranges are served.
        cuts: bytes after which the connection breaks, one for each answer; answers after that are whole.
        statuses: to answer with, one for each request, before the file is served.
        location: answers with a redirect to there.
        silent: answers with nothing until the server is closed.
        gate: the body waits for this after its first half.
    """

    body: bytes = b""
    etag: str = '"1"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    location: str = ""
    silent: bool = False
    content_type: str = "application/octet-stream"
    gate: threading.Event | None = None


@dataclass(frozen=True)
class Request:
    path: str
    range: str
    agent: str
    authorization: str


class FileServer(ThreadingHTTPServer):
    """Serves ``files`` by path and writes down each request."""

    daemon_threads = False  # closing waits for them, so that no test leaves one

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, File] = {}
        self.requests: list[Request] = []
        self.closing = threading.Event()

    def add(self, path: str, body: bytes, **faults: object) -> File:
        self.files[path] = file = File(body)
        for name, value in faults.items():
            assert hasattr(file, name)
            setattr(file, name, value)
        return file

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def ranges(self) -> list[str]:
        """The Range header of each request so far."""
        return [request.range for request in self.requests]


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        agent, authorization = self.headers.get("User-Agent", ""), self.headers.get("Authorization", "")
        self.server.requests.append(Request(self.path, asked, agent, authorization))
        file = self.server.files.get(self.path)
        self.close_connection = True
        if file is None:
            self._empty(404)
        elif file.silent:
            self.server.closing.wait(PATIENCE_S)
        elif file.statuses:
            self._empty(file.statuses.pop(0))
        elif file.location:
            self._empty(302, Location=file.location)
        else:
            self._serve(file, asked)

    def _serve(self, file: File, asked: str) -> None:
        first, last = 0, len(file.body) - 1
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked) if file.ranges else None
        if match and self.headers.get("If-Range", file.etag) == file.etag:
            first, last = int(match[1]), min(last, int(match[2] or last))
            if first >= len(file.body):
                self._empty(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(file.body)}")
        else:
            self.send_response(200)
        body = file.body[first : last + 1]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", file.content_type)
        self.send_header("Connection", "close")
        if file.etag:
            self.send_header("ETag", file.etag)
        self.end_headers()
        cut = file.cuts.pop(0) if file.cuts else len(body)
        with contextlib.suppress(ConnectionError):  # the client may have seen enough
            half = len(body) // 2
            self.wfile.write(body[: min(half, cut)])
            if file.gate:
                file.gate.wait(PATIENCE_S)
            self.wfile.write(body[half:cut])

    def _empty(self, status: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving() -> Iterator[FileServer]:
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="file server")
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port where connecting gets no answer at all: its queue of connections is full, and nobody takes one out."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port
