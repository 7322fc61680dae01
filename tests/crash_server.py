"""A feed server under load, to be killed: ``python -m tests.crash_server FOLDER PORT [quiet]``.

Says ``ready PORT EPOCH`` on a line when it listens; publishes until it dies, unless it is to be quiet.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
from pathlib import Path

from streamcap.hub import Hub
from streamcap.journal import Retention
from streamcap.journal.sqlite import SqliteJournal
from streamcap.server import Listening, create_app, serve
from tests.feeding import caption, event, final, status

__all__ = ["STREAMS"]

STREAMS = ("north", "south", "yard")


async def publish(hub: Hub, stream: str) -> None:
    """Drafts and durable messages, about a hundred a second."""
    run = secrets.token_hex(3)
    await hub.publish(stream, status(stream=stream))
    n = 0
    while True:
        n += 1
        name = f"{run}-c{n}"
        await hub.publish(stream, caption(name, stream=stream))
        await hub.publish(stream, event(n, stream, f"{name} began."))
        await hub.publish(stream, final(name, f"Somebody did {n} things. " * random.randint(1, 30), stream))
        await asyncio.sleep(random.expovariate(60))


async def main(folder: str, port: str, *words: str) -> None:
    """Serve until killed."""
    journal = await SqliteJournal.open(
        Path(folder), retention=Retention(messages=10**6, size=10**9, age_s=3600 * 10**6)
    )
    hub = Hub(journal, heartbeat_s=1.0)
    for stream in STREAMS:
        await hub.open_stream(stream)
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(create_app(hub, streams_info=list), port=int(port), ready=ready))
        sys.stdout.write(f"ready {(await ready).port} {journal.epoch}\n")
        sys.stdout.flush()
        if "quiet" not in words:
            for stream in STREAMS:
                tasks.create_task(publish(hub, stream))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
