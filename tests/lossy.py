"""A network that loses packets, between a sender and a receiver of this machine."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

__all__ = ["lossy_rtsp", "lossy_udp"]


class _Relay(asyncio.DatagramProtocol):
    def __init__(self, target: tuple[str, int], loss: float, rng: random.Random) -> None:
        self._target, self._loss, self._rng = target, loss, rng
        self.lost = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._rng.random() < self._loss:
            self.lost += 1
        else:
            self._transport.sendto(data, self._target)


@asynccontextmanager
async def lossy_udp(port: int, loss: float) -> AsyncIterator[int]:
    """A port whose datagrams arrive at ``port``, but for a share ``loss`` of them."""
    loop = asyncio.get_running_loop()
    relay = _Relay(("127.0.0.1", port), loss, random.Random(port))
    transport, _ = await loop.create_datagram_endpoint(lambda: relay, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@asynccontextmanager
async def lossy_rtsp(port: int, loss: float) -> AsyncIterator[int]:
    """A port of an RTSP server whose pictures come by UDP with losses; only the ports in SETUP are rewritten."""
    async with AsyncExitStack() as relays:

        async def relayed(match: re.Match[bytes]) -> bytes:
            ports = [await relays.enter_async_context(lossy_udp(int(p), loss)) for p in (match[1], match[2])]
            return b"client_port=%d-%d" % tuple(ports)

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, ask: bool) -> None:
            try:
                while data := await reader.read(65536):
                    if ask and (match := re.search(rb"client_port=(\d+)-(\d+)", data)):
                        data = data[: match.start()] + await relayed(match) + data[match.end() :]
                    writer.write(data)
                    await writer.drain()
            except ConnectionError:
                pass
            finally:
                writer.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(forward(reader, back, ask=True), forward(there, writer, ask=False))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await server.wait_closed()
