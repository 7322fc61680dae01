"""Credentials of a source show nowhere: a real service whose camera refuses them, with everything that it says kept."""

from __future__ import annotations

import asyncio
import re
import signal
import sys

import httpx
import pytest

from streamcap.client import subscribe
from streamcap.wire import StreamState, encode
from tests.feeding import whole
from tests.prerequisites import ROOT

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


@pytest.mark.weights
@pytest.mark.parametrize("refused", [True, False], ids=["refused", "not there"])
async def test_a_failing_stream_tells_no_credentials(refused: bool) -> None:
    camera = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = camera.sockets[0].getsockname()[1] if refused else 1
    source = f"rtsp://us3rname:hunter2@127.0.0.1:{port}/live?token=t0psecret"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamcap", "-vv", "serve", "--port", "0", "--stream", f"cam={source}"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None and process.stdout is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(60):
            url = ""
            while not url:
                line = (await process.stderr.readline()).decode()
                assert line, "".join(said)
                said.append(line)
                if found := re.search(r"on (ws://[0-9.:]+)$", line.strip()):
                    url = found.group(1)
            async with subscribe(url) as feed:
                async for message in feed:
                    said.append(encode(whole(message)))
                    status = feed.states["cam"].status
                    if status is not None and status.state is StreamState.RECONNECTING:
                        break
            async with httpx.AsyncClient(base_url=url.replace("ws", "http", 1), trust_env=False) as http:
                for path in ("/", "/v1/streams", "/readyz", "/v1/streams/cam"):
                    said.append((await http.get(path)).text)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 30)
        camera.close()
        await camera.wait_closed()
    said += [out.decode(), err.decode()]
    everything = "\n".join(said)
    assert "127.0.0.1" in everything and "reconnecting" in everything, "it failed, and said so"
    for secret in SECRETS:
        assert secret not in everything
