"""Publishing through a TURN server (coturn): nothing but what it relays gets through."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiortc import RTCSessionDescription

from streamcap.config import Settings
from streamcap.models.pool import Models
from streamcap.server.service import running
from tests.feeding import http_to
from tests.patience import PATIENCE_S
from tests.webrtc_peers import SDP, Camera, offer_of

pytestmark = [pytest.mark.weights, pytest.mark.requires("webrtc", "turn")]

BINDING = bytes.fromhex("000100002112a442") + bytes(12)  # a STUN request (RFC 8489)


class Wall(asyncio.DatagramProtocol):
    """Stands for each side before the other, and passes only what goes between a client and the TURN server's relay.

    Attributes:
        passed: packets in both directions.
    """

    def __init__(self) -> None:
        self.passed = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._ports: set[int] = set()
        self._client: tuple[str, int] | None = None
        self._relay: tuple[str, int] | None = None

    async def before_client(self, offer: str) -> str:
        """The offer, with this as its only candidate."""
        found = [line.split(" ") for line in offer.split("\r\n") if line.startswith("a=candidate:")]
        self._ports = {int(words[5]) for words in found}
        ours = next(words for words in found if ":" not in words[4])
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(ours[4], 0))
        return self._instead(offer, ours)

    def before_relay(self, answer: str) -> str:
        """The answer, with this in the place of the server's relayed candidate and without the others."""
        found = [line.split(" ") for line in answer.split("\r\n") if line.startswith("a=candidate:")]
        relayed = next(words for words in found if "relay" in words)
        self._relay = (relayed[4], int(relayed[5]))
        return self._instead(answer, relayed)

    def _instead(self, sdp: str, words: list[str]) -> str:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")
        theirs, ours = " ".join(words), " ".join([*words[:4], host, str(port), *words[6:]])
        lines = [ours if line == theirs else line for line in sdp.split("\r\n")]
        return "\r\n".join(line for line in lines if not line.startswith("a=candidate:") or line == ours)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if addr == self._relay:
            to = self._client
        elif addr[1] in self._ports:
            self._client, to = addr, self._relay
        else:
            return
        if to is not None and self._transport is not None:
            self.passed += 1
            self._transport.sendto(data, to)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def our_address() -> str:
    from aioice.ice import get_host_addresses

    return str(get_host_addresses(use_ipv4=True, use_ipv6=False)[0])


@contextlib.contextmanager
def turn_server(host: str, folder: Path) -> Iterator[int]:
    """A TURN server for the length of the block; gives its port. Its user is camera, with the word hush."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port = int(probe.getsockname()[1])
    command = [
        "turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "-L", host, "-E", host, "-p", str(port),
        "-a", "-u", "camera:hush", "-r", "here", "--userdb", str(folder / "turndb"),
        "--pidfile", str(folder / "pid"), "--log-file", "stdout",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _answers(host, port)
            yield port
        finally:
            process.kill()


def _answers(host: str, port: int) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.3)
        for _ in range(200):
            asking.sendto(BINDING, (host, port))
            with contextlib.suppress(OSError):
                asking.recv(1500)
                return
    raise AssertionError("the TURN server does not answer")


async def test_a_camera_is_published_through_a_turn_server(models: Models, tmp_path: Path) -> None:
    host = our_address()
    with turn_server(host, tmp_path) as port:
        turn = {"url": f"turn:{host}:{port}?transport=udp", "username": "camera", "credential": "hush"}
        settings = {
            "server": {"port": 0},
            "streams": [{"id": "cam", "source": "whip:"}],
            "webrtc": {"ice_servers": [turn]},
        }
        async with (
            running(Settings.model_validate(settings), models) as service,
            http_to(service.listening) as http,
        ):
            peer, wall = await offer_of(Camera()), Wall()
            try:
                offer = await wall.before_client(peer.localDescription.sdp)
                answer = await http.post("/v1/streams/cam/whip", content=offer, headers=SDP, timeout=PATIENCE_S)
                assert answer.status_code == 201, answer.text
                told = wall.before_relay(answer.text)
                await peer.setRemoteDescription(RTCSessionDescription(told, "answer"))
                async with asyncio.timeout(PATIENCE_S):
                    while (seen := (await http.get("/v1/streams/cam")).json())["frames"] < 10:  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
                assert (seen["state"], seen["detail"]) == ("live", "320×240")
                assert wall.passed > 20
                assert (await http.delete(answer.headers["location"])).status_code == 200
            finally:
                wall.close()
                await peer.close()
