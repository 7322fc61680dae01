"""Every damaged and odd file served as if a camera sent it: what can be seen is seen, and nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamcap.errors import SourceError
from streamcap.sources import SourceOptions, open_source
from streamcap.types import NoticeKind
from tests.cameras import Watch
from tests.integration.test_stress import CAN, CANNOT
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stress

LOOKED_AT_S = 2.0


async def test_each_played_for_ever(stress_dir: Path) -> None:
    async def played(name: str) -> None:
        watch = Watch(f"{stress_dir / name}?loop=1", fps=5, open_timeout=PATIENCE_S)
        async with watch.source as source:
            assert source.info.live
            clock = asyncio.get_running_loop().time
            begun = clock()
            async with asyncio.timeout(2 * PATIENCE_S):
                async for frame in source.frames():
                    watch.frames.append(frame)
                    if len(watch.frames) >= 2 and clock() - begun > LOOKED_AT_S:
                        break
        watch.assert_sound()
        assert len(watch.frames) >= 2
        assert not watch.of(NoticeKind.LOST)

    async def refused(name: str) -> None:
        with pytest.raises(SourceError) as caught:
            await open_source(f"{stress_dir / name}?loop=1", SourceOptions(stream="s", open_timeout=PATIENCE_S)).open()
        assert caught.value.hint

    await asyncio.gather(*(played(name) for name in CAN), *(refused(name) for name in CANNOT))


@contextlib.asynccontextmanager
async def served(path: Path) -> AsyncIterator[int]:
    """A port where each who connects gets the bytes of a file, as fast as they are taken, and then the end."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        writer.close()

    data = await asyncio.to_thread(path.read_bytes)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_each_transport_stream_from_a_socket(stress_dir: Path) -> None:
    async def one(name: str) -> None:
        async with served(stress_dir / name) as port:
            watch = Watch(f"tcp://127.0.0.1:{port}", fps=5, open_timeout=PATIENCE_S, read_timeout=PATIENCE_S)
            async with watch.source as source:
                assert source.info.live
                # To the end of the file, whose end is a fault, and on from its beginning.
                async with asyncio.timeout(2 * PATIENCE_S):
                    async for frame in source.frames():
                        watch.frames.append(frame)
                        if watch.kinds.count(NoticeKind.CONNECTED) == 2:
                            break
        watch.assert_sound()
        assert watch.of(NoticeKind.LOST)
        reasons = {kind.value for kind in watch.kinds}
        assert CAN[name].reasons.keys() <= reasons

    await asyncio.gather(*(one(name) for name in CAN if name.endswith(".ts")))
