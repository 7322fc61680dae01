"""``kill -9`` and a restart on the same data: every subscriber ends with exactly the journal, in order.

A handful of kills in the ordinary suite; ``STREAMCAP_CRASHES=30`` for the nightly one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from streamcap.client import subscribe
from streamcap.errors import FeedError
from streamcap.journal.files import FILE_NAME
from streamcap.wire import (
    CaptionMessage,
    EventMessage,
    GapMessage,
    HelloMessage,
    Message,
    NumberedMessage,
    StatusMessage,
    encode,
    is_durable,
)
from tests.crash_server import STREAMS
from tests.feeding import until, whole
from tests.patience import PATIENCE_S
from tests.prerequisites import ROOT

logger = logging.getLogger(__name__)

CRASHES = int(os.environ.get("STREAMCAP_CRASHES", "4"))
SUBSCRIBERS = 20
BY_CLIENT = 4  # of them with streamcap's own client, the others with a bare websocket


@contextlib.asynccontextmanager
async def process(*words: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is killed at the end of the block, if not before."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *map(str, words), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.communicate()


async def ready(server: asyncio.subprocess.Process) -> tuple[int, str]:
    """Port and epoch of a server that listens now."""
    assert server.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        word, port, epoch = (await server.stdout.readline()).decode().split()
    assert word == "ready"
    return int(port), epoch


def journal_of(folder: Path) -> dict[str, list[str]]:
    """What the file itself holds, by stream."""
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        keys = dict(connection.execute("SELECT key, name FROM streams"))
        held: dict[str, list[str]] = {name: [] for name in keys.values()}
        for key, text in connection.execute("SELECT id >> 40, text FROM messages ORDER BY id"):
            held[keys[key]].append(text)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        return held


@dataclass
class Subscriber:
    """One reader and everything durable that it was ever told, by stream."""

    port: int
    epoch: str
    chance: random.Random
    got: dict[str, list[str]] = field(default_factory=lambda: {stream: [] for stream in STREAMS})
    connections: int = 0

    @property
    def places(self) -> dict[str, int]:
        return {stream: len(texts) for stream, texts in self.got.items()}

    def take(self, stream: str, seq: int, text: str) -> None:
        assert seq == len(self.got[stream]) + 1, f"{stream}: {seq} after {len(self.got[stream])}"
        self.got[stream].append(text)

    async def read_for_ever(self) -> None:
        """Connect, read a while, leave without a word or with one, come back."""
        while True:
            with contextlib.suppress(OSError, InvalidHandshake, ConnectionClosed, EOFError, TimeoutError):
                await self._visit(self.chance.randint(1, 400))
            await asyncio.sleep(self.chance.uniform(0.02, 0.3))

    async def _visit(self, count: int) -> None:
        after = ",".join(f"{stream}:{seq}" for stream, seq in self.places.items())
        url = f"ws://127.0.0.1:{self.port}/v1/captions?streams=*&after={after}&epoch={self.epoch}"
        async with connect(url, open_timeout=PATIENCE_S, close_timeout=1, compression=None) as socket:
            self.connections += 1
            for _ in range(count):
                text = str(await socket.recv())
                message = json.loads(text)
                assert message["type"] not in {"error", "snapshot"}, text
                assert message.get("epoch", self.epoch) == self.epoch
                if "prev" in message:
                    self.take(message["stream"], message["seq"], text)
            if self.chance.random() < 0.5:
                socket.transport.abort()

    async def read_with_the_client(self) -> None:
        """One long subscription; the client does the coming back."""
        while True:
            try:
                url = f"ws://127.0.0.1:{self.port}"
                async with subscribe(url, after=self.places, epoch=self.epoch) as feed:
                    async for message in feed:
                        self._take_message(whole(message))
            except FeedError as error:
                assert "cannot reach" in str(error), error
                await asyncio.sleep(0.1)

    def _take_message(self, message: Message) -> None:
        if isinstance(message, HelloMessage):
            self.connections += 1
        elif isinstance(message, NumberedMessage) and is_durable(message):
            assert message.seq is not None
            self.take(message.stream, message.seq, encode(message))


async def test_every_subscriber_ends_with_exactly_the_journal(tmp_path: Path) -> None:
    chance = random.Random(CRASHES)
    async with process("tests.crash_server", tmp_path, 0) as first:
        port, epoch = await ready(first)
        subscribers = [Subscriber(port, epoch, random.Random(n)) for n in range(SUBSCRIBERS)]
        reading = [
            asyncio.create_task(s.read_with_the_client() if n < BY_CLIENT else s.read_for_ever())
            for n, s in enumerate(subscribers)
        ]
        await until(lambda: all(s.connections and min(s.places.values()) > CRASHES for s in subscribers))
    for crash in range(1, CRASHES):
        async with process("tests.crash_server", tmp_path, port) as server:
            if crash % 5 == 4:  # while it starts
                await asyncio.sleep(chance.uniform(0.0, 0.6))
                continue
            assert await ready(server) == (port, epoch)
            if crash == 1:  # all come back to it
                known = [s.connections for s in subscribers]
                await until(lambda known=known: all(map(int.__lt__, known, (s.connections for s in subscribers))))  # type: ignore[misc]
            await asyncio.sleep(chance.uniform(0.0, 1.0))
    async with process("tests.crash_server", tmp_path, port, "quiet") as last:
        assert await ready(last) == (port, epoch)
        truth = journal_of(tmp_path)
        async with asyncio.timeout(PATIENCE_S):
            while any(s.places != {stream: len(texts) for stream, texts in truth.items()} for s in subscribers):
                _, pending = await asyncio.wait(reading, timeout=0.1)
                assert len(pending) == len(reading), [task.exception() for task in reading if task.done()]
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    assert set(truth) == set(STREAMS) and all(len(texts) > CRASHES for texts in truth.values())
    for subscriber in subscribers:
        assert subscriber.got == truth
    total, visits = sum(map(len, truth.values())), sum(s.connections for s in subscribers)
    logger.info("%d kills, %d messages, %d subscribers, %d connections", CRASHES, total, SUBSCRIBERS, visits)
    assert visits > SUBSCRIBERS * 2
    for texts in truth.values():
        finals = [m["id"] for m in map(json.loads, texts) if m["type"] == "caption"]
        assert len(finals) == len(set(finals))


async def messages_until_a_caption(url: str, places: dict[str, int] | None, epoch: str | None) -> list[Message]:
    got: list[Message] = []
    async with asyncio.timeout(PATIENCE_S), subscribe(url, after=places, epoch=epoch, interim=False) as feed:
        async for message in feed:
            got.append(whole(message))
            if isinstance(message, CaptionMessage):
                return got
    raise AssertionError(f"ended: {got}")


@contextlib.asynccontextmanager
async def serving(data: Path, port: int) -> AsyncIterator[str]:
    """The real thing, on the rendered scene; killed at the end of the block."""
    words = ("serve", "--stream", "cam=test:", "--data", data, "--port", port)
    async with process("streamcap", *words):
        url = f"ws://127.0.0.1:{port}"
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(OSError, InvalidHandshake):
                    async with connect(url + "/v1/captions"):
                        break
                await asyncio.sleep(0.1)  # nothing tells when another process listens
        yield url


@pytest.mark.weights
async def test_serve_takes_up_where_it_was_killed(tmp_path: Path, unused_tcp_port: int) -> None:
    async with serving(tmp_path, unused_tcp_port) as url:
        before = await messages_until_a_caption(url, None, None)
    hello = before[0]
    assert isinstance(hello, HelloMessage)
    held = [m for m in before if isinstance(m, NumberedMessage)]
    place = held[-1].seq
    assert place is not None
    async with serving(tmp_path, unused_tcp_port) as url:
        after = await messages_until_a_caption(url, {"cam": place}, hello.epoch)
    again = after[0]
    assert isinstance(again, HelloMessage) and again.epoch == hello.epoch and again.earliest == 1
    resumed = [m for m in after if isinstance(m, NumberedMessage)]
    assert [m.seq for m in resumed] == list(range(place + 1, place + 1 + len(resumed)))
    told = [m.state.value if isinstance(m, StatusMessage) else m.type for m in resumed]
    begin = told.index("connecting")
    assert told[begin : begin + 3] == ["connecting", "gap", "live"] and told[-1] == "caption"
    gap, last = resumed[begin + 1], resumed[-1]
    assert isinstance(gap, GapMessage) and isinstance(last, CaptionMessage)
    earlier = [m for m in held + resumed[:begin] if isinstance(m, CaptionMessage | EventMessage)]
    assert max(m.end for m in earlier) <= gap.start + 0.001 and gap.end <= last.start
    assert last.id not in {m.id for m in earlier}
