"""Credentials of a source show nowhere: a real service whose camera refuses them, with everything that it says kept."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Callable

import httpx
import pytest

from streamcap.client import Feed, subscribe
from streamcap.wire import StreamState, encode
from tests.cameras import Camera
from tests.feeding import whole
from tests.prerequisites import ROOT

PATIENCE_S = 90.0  # for what ought to take a few seconds: the machine may be busy
PATHS = ("/", "/v1/streams", "/readyz", "/v1/streams/cam", "/v1/streams/cam/captions", "/metrics")
SECRETS = ("hunter2", "t0psecret", "us3rname")


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A camera that knows nobody."""
    try:
        async with asyncio.timeout(10):
            while line := await reader.readline():
                if line.lower().startswith(b"cseq:"):
                    number = line.split(b":")[1].strip()
                    answer = (
                        b"RTSP/1.0 401 Unauthorized\r\nCSeq: "
                        + number
                        + b'\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'
                    )
                    writer.write(answer)
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()


def is_(feed: Feed, state: StreamState) -> bool:
    known = feed.states.get("cam")
    return known is not None and known.status is not None and known.status.state is state


async def said_until(source: str, state: StreamState, then: Callable[[], None] | None, at_last: StreamState) -> str:
    """All that a service lets out while it watches a source.

    Args:
        state: that is waited for first; ``then`` is called, and ``at_last`` waited for.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamcap", "-vv", "serve", "--port", "0", "--stream", f"cam={source}"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None and process.stdout is not None
    said: list[str] = []
    draining: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            url = ""
            while not url:
                line = (await process.stderr.readline()).decode()
                assert line, "".join(said)
                said.append(line)
                if found := re.search(r"on (ws://[0-9.:]+)$", line.strip()):
                    url = found.group(1)
            draining = asyncio.create_task(process.stderr.read())  # a full pipe would hold the service up
            async with (
                subscribe(url) as feed,
                httpx.AsyncClient(base_url=url.replace("ws", "http", 1), timeout=PATIENCE_S) as http,
            ):
                for wanted, after in (state, then), (at_last, None):
                    while not is_(feed, wanted):
                        said.append(encode(whole(await anext(feed))))
                    for path in PATHS:
                        said.append((await http.get(path)).text)
                    if after is not None:
                        after()
    finally:
        process.send_signal(signal.SIGINT)
        if draining is not None:
            said.append((await asyncio.wait_for(draining, PATIENCE_S)).decode())
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    return "\n".join([*said, out.decode(), err.decode()])


@pytest.mark.weights
@pytest.mark.parametrize("refused", [True, False], ids=["refused", "not there"])
async def test_a_failing_stream_tells_no_credentials(refused: bool) -> None:
    camera = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = camera.sockets[0].getsockname()[1] if refused else 1
    source = f"rtsp://us3rname:hunter2@127.0.0.1:{port}/live?token=t0psecret"
    try:
        again = StreamState.RECONNECTING
        everything = await said_until(source, again, None, again)
    finally:
        camera.close()
        await camera.wait_closed()
    assert "127.0.0.1" in everything and "reconnecting" in everything, "it failed, and said so"
    for secret in SECRETS:
        assert secret not in everything


@pytest.mark.weights
@pytest.mark.rtsp
async def test_a_refused_digest_login_is_named_and_tried_again(rtsp_python: str) -> None:
    camera = Camera(rtsp_python, "--user", "us3rname", "--login", "digest")
    camera.on("--password", "changed")

    def change_back() -> None:
        camera.off()
        camera.on("--password", "hunter2")

    source = camera.url.replace("//", "//us3rname:hunter2@")
    try:
        everything = await said_until(source, StreamState.RECONNECTING, change_back, StreamState.LIVE)
    finally:
        camera.off()
    assert f"{camera.url} refuses the user name or password; check both" in everything
    assert "rtsp://127.0.0.1" in everything
    for secret in SECRETS:
        assert secret not in everything
