"""A feed server on one processor that publishes as it is told: what ``benchmarks/fanout.py`` measures.

Says its port on the first line of stdout. Each line of stdin is a command, answered by a line of JSON:

    beat SECONDS    five messages a second, each due at its time whatever the others took
    fill            enough on the stream ``fill`` to stop whoever subscribes to it and does not read
    flood           as fast as the acknowledged place allows, until ``stop``
    ack N           all clients have got N messages of the flood; no answer
    stop            end the flood
    state           subscribers, how many were cut, processor seconds
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from streamcap.config import SecuritySettings
from streamcap.hub import Hub
from streamcap.journal import MemoryJournal
from streamcap.server import Guard, Listening, create_app, serve
from streamcap.server.limits import allow_open_files
from streamcap.types import Caption, CaptionKind, CaptionStatus, Event, Instance
from streamcap.wire import CaptionMessage, caption_message, encode, event_message, numbered

RATE = 5.0
AHEAD = 192  # messages of a flood that no client has to have taken: far below what a subscriber is cut at
FILL = 16  # of FILL_BYTES: more than all buffers on the way, less than what an outbox holds
FILL_BYTES = 40_000
_SENTENCE = "A person in a red coat walks in from the left and stops beside a parked car; "


def message(n: int, due: float) -> CaptionMessage:
    """A caption of about 600 bytes whose text carries the moment it was due: two drafts, then their final."""
    person = Instance(7, "person", 0.9, (0.412, 0.331, 0.489, 0.722), (0.01, 0.0), 1.0, 2.0, ("red coat",))
    status = CaptionStatus.FINAL if n % 3 == 2 else CaptionStatus.UPDATE
    return _caption(f"3fa2c1-c{n // 3}", n % 3, status, n, f"@{due:017.6f}@ {_SENTENCE}", person)


def final(n: int, due: float) -> CaptionMessage:
    """A final caption of that size, which nobody may be spared."""
    person = Instance(7, "person", 0.9, (0.412, 0.331, 0.489, 0.722), (0.01, 0.0), 1.0, 2.0, ("red coat",))
    return _caption(f"3fa2c1-c{n}", 2, CaptionStatus.FINAL, n, f"@{due:017.6f}@ {_SENTENCE}", person)


def _caption(id: str, rev: int, status: CaptionStatus, n: int, text: str, person: Instance) -> CaptionMessage:
    made = Caption(
        id, rev, status, CaptionKind.DIFF, float(n), n + 1.5, text, 1.7e9 + n, 0.62, "grounded", instances=(person,)
    )
    return caption_message("cam", made, emitted_at=1.7e9 + n + 0.7)


class Publisher(Protocol):
    """What publishes to all subscribers."""

    async def caption(self, message: CaptionMessage) -> None:
        """One caption to all."""

    async def fill(self) -> None:
        """Stop those that do not read."""

    def state(self) -> dict[str, int]:
        """Subscribers, and those that were cut."""


class Ours:
    """The hub and the server as ``streamcap serve`` runs them, the journal in memory."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def caption(self, message: CaptionMessage) -> None:
        """See ``Publisher``."""
        await self._hub.publish("cam", message)

    async def fill(self) -> None:
        """See ``Publisher``."""
        for n in range(FILL):
            await self._hub.publish("fill", event_message("fill", _long(n), at=1.7e9))
            await asyncio.sleep(0)

    def state(self) -> dict[str, int]:
        """See ``Publisher``."""
        return {"subscribers": self._hub.watchers("cam"), "cut": self._hub.counters.too_slow}


def _long(n: int) -> Event:
    return Event(f"e{n}", "enter", 1.0, 2.0, 0.5, "x" * FILL_BYTES)


class Bare:
    """``websockets.broadcast()`` to all connections: no numbers, no journal, nothing for those that are slow."""

    def __init__(self) -> None:
        from websockets.asyncio.server import ServerConnection

        self.connections: set[ServerConnection] = set()
        self._seq = itertools.count(1)

    async def caption(self, message: CaptionMessage) -> None:
        """See ``Publisher``."""
        from websockets.asyncio.server import broadcast

        broadcast(self.connections, encode(numbered(message, next(self._seq))))

    async def fill(self) -> None:
        """See ``Publisher``."""
        raise NotImplementedError("nothing cuts a subscriber of the bare loop")

    def state(self) -> dict[str, int]:
        """See ``Publisher``."""
        return {"subscribers": len(self.connections), "cut": 0}


@asynccontextmanager
async def ours() -> AsyncIterator[tuple[Publisher, int]]:
    """The real server, with its default limits."""
    security = SecuritySettings()
    hub = Hub(MemoryJournal())
    for stream in ("cam", "fill"):
        await hub.open_stream(stream)
    guard = Guard(create_app(hub, streams_info=list), None, security, hosts=security.allowed_hosts)
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(guard, port=0, ready=ready, shutdown_s=1.0, limits=security.limits))
    try:
        yield Ours(hub), (await asyncio.wait_for(ready, 10)).port
    finally:
        await hub.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def bare() -> AsyncIterator[tuple[Publisher, int]]:
    """The loop that ours is held against, uncompressed as ours is."""
    from websockets.asyncio.server import ServerConnection, serve

    publisher = Bare()

    async def stay(connection: ServerConnection) -> None:
        publisher.connections.add(connection)
        try:
            await connection.wait_closed()
        finally:
            publisher.connections.discard(connection)

    async with serve(stay, "127.0.0.1", 0, compression=None, backlog=2048) as server:
        listener: socket.socket = next(iter(server.sockets))
        yield publisher, listener.getsockname()[1]


class Obedient:
    """Does what stdin says, until it ends."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._numbers = itertools.count()
        self._acked = 0
        self._moved = asyncio.Event()

    async def obey(self) -> None:
        """All commands. Returns when stdin ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        flood: asyncio.Task[int] | None = None
        while line := (await reader.readline()).split():
            match [word.decode() for word in line]:
                case ["beat", seconds]:
                    _say({"published": await self._beat(float(seconds))})
                case ["fill"]:
                    await self._publisher.fill()
                    _say({})
                case ["flood"]:
                    self._acked = 0
                    flood = asyncio.create_task(self._flood())
                case ["ack", place]:
                    self._acked = int(place)
                    self._moved.set()
                case ["stop"] if flood is not None:
                    flood.cancel()
                    await asyncio.gather(flood, return_exceptions=True)
                    _say({})
                case ["state"]:
                    _say(self._publisher.state() | {"cpu": time.process_time()})

    async def _beat(self, seconds: float) -> int:
        count, began = round(seconds * RATE), time.monotonic()
        for n in range(count):
            due = began + n / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._publisher.caption(message(next(self._numbers), due))
        await asyncio.sleep(1 / RATE)
        return count

    async def _flood(self) -> int:
        for n in itertools.count():
            while n - self._acked >= AHEAD:
                self._moved.clear()
                await self._moved.wait()
            await self._publisher.caption(final(next(self._numbers), time.monotonic()))
            await asyncio.sleep(0)
        return 0


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def _run(kind: str) -> None:
    async with {"ours": ours, "bare": bare}[kind]() as (publisher, port):
        _say({"port": port})
        await Obedient(publisher).obey()


def main(
    kind: Annotated[str, typer.Argument(help="ours or bare")],
    processor: Annotated[int, typer.Option(min=0, help="The one that it may use.")],
) -> None:
    """Serve until stdin ends."""
    os.sched_setaffinity(0, {processor})
    allow_open_files(SecuritySettings().limits.connections)
    asyncio.run(_run(kind))


if __name__ == "__main__":
    typer.run(main)
