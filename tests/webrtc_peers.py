"""Clients of WHIP and WHEP made of aiortc: real peers, over a real network interface of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import hashlib
import random
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import av
import httpx
import numpy as np
from aiortc import RTCCertificate, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, generate_certificate
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from streamcap.sources.ports import EncodedFrame, Publication
from streamcap.webrtc.connection import close_peer
from streamcap.webrtc.taking import take_frames

__all__ = [
    "SDP",
    "Camera",
    "LossyRelay",
    "OddCertificate",
    "Published",
    "RsaCertificate",
    "offer_of",
    "publishing",
    "receiving",
    "watching",
]

SDP = {"content-type": "application/sdp"}
CLOCK = 90_000


class Camera(MediaStreamTrack):
    """A square that wanders over a grey picture; its size may change at any time."""

    kind = "video"

    def __init__(self, width: int = 320, height: int = 240, fps: float = 15.0) -> None:
        super().__init__()
        self.size = (width, height)
        self._fps, self._count, self._begun = fps, 0, 0.0

    async def recv(self) -> av.VideoFrame:
        loop = asyncio.get_running_loop()
        self._begun = self._begun or loop.time()
        await asyncio.sleep(self._begun + self._count / self._fps - loop.time())
        width, height = self.size
        image = np.full((height, width, 3), 90, np.uint8)
        x = (self._count * 6) % (width - 60)
        image[height // 3 : height // 3 + 60, x : x + 60] = (200, 60, 30)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = round(self._count / self._fps * CLOCK)
        frame.time_base = fractions.Fraction(1, CLOCK)
        self._count += 1
        return frame


class OddCertificate(RTCCertificate):
    """One of X.509 version 2, as libdatachannel has before 0.23. Its signature is not right, which nobody looks at.

    Args:
        said: what its fingerprint is made from, if not from it itself.
    """

    def __init__(self, said: bytes = b"", version: int = 2) -> None:
        made = RTCCertificate.generateCertificate()
        super().__init__(made._key, made._cert)
        whole = made._cert.public_bytes(Encoding.DER)
        field = b"\xa0\x03\x02\x01"  # of the version, which counts from 0
        assert whole.count(field + b"\x02") == 1
        self.encoded = whole.replace(field + b"\x02", field + bytes([version - 1]))
        self._said = said or self.encoded

    def getFingerprints(self) -> list[RTCDtlsFingerprint]:
        return [RTCDtlsFingerprint("sha-256", hashlib.sha256(self._said).digest().hex(":").upper())]

    def _create_ssl_context(self, srtp_profiles: list[Any]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.encoded)
            file.flush()
            context.use_certificate_file(file.name, crypto.FILETYPE_ASN1)
        return context


class RsaCertificate(RTCCertificate):
    """One with an RSA key, as GStreamer has."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        super().__init__(key, generate_certificate(key))  # type: ignore[arg-type]

    def _create_ssl_context(self, srtp_profiles: list[Any]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384")
        return context


class Published:
    """A session that was begun."""

    def __init__(self, peer: RTCPeerConnection, answer: httpx.Response) -> None:
        self.peer, self.answer = peer, answer

    @property
    def location(self) -> str:
        return self.answer.headers["location"]


async def offer_of(
    track: MediaStreamTrack | None,
    codec: str = "VP8",
    kind: str = "video",
    certificate: RTCCertificate | None = None,
) -> RTCPeerConnection:
    """A peer that offers to send a track, or to receive one of that kind."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    if certificate is not None:
        peer._RTCPeerConnection__certificates = [certificate]  # type: ignore[attr-defined]
    if track is not None:
        transceiver = peer.addTransceiver(track, direction="sendonly")
    else:
        transceiver = peer.addTransceiver(kind, direction="recvonly")
    if (track.kind if track is not None else kind) == "video":
        known = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([each for each in known if each.mimeType in (f"video/{codec}", "video/rtx")])
    await peer.setLocalDescription(await peer.createOffer())
    return peer


@contextlib.asynccontextmanager
async def publishing(
    http: httpx.AsyncClient,
    stream: str,
    camera: MediaStreamTrack,
    codec: str = "VP8",
    relay: LossyRelay | None = None,
    certificate: RTCCertificate | None = None,
) -> AsyncIterator[Published]:
    """Publish for the length of the block; the session is left as it is at its end, unless it was ended."""
    peer = await offer_of(camera, codec, certificate=certificate)
    try:
        path = f"/v1/streams/{stream}/whip"
        answer = await http.post(path, content=peer.localDescription.sdp, headers=SDP)
        assert answer.status_code == 201, answer.text
        told = answer.text if relay is None else await relay.between(answer.text)
        await peer.setRemoteDescription(RTCSessionDescription(told, "answer"))
        yield Published(peer, answer)
    finally:
        await close_peer(peer)


@contextlib.asynccontextmanager
async def watching(
    http: httpx.AsyncClient, stream: str, codec: str = "VP8", certificate: RTCCertificate | None = None
) -> AsyncIterator[Any]:
    """Watch for the length of the block; gives the track."""
    peer = await offer_of(None, codec, certificate=certificate)
    try:
        answer = await http.post(f"/v1/streams/{stream}/whep", content=peer.localDescription.sdp, headers=SDP)
        assert answer.status_code == 201, answer.text
        await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        yield peer.getReceivers()[0].track
        await http.delete(answer.headers["location"])
    finally:
        await close_peer(peer)


@contextlib.asynccontextmanager
async def receiving(http: httpx.AsyncClient, stream: str, codec: str = "H264") -> AsyncIterator[list[EncodedFrame]]:
    """Watch for the length of the block; gives the encoded frames as they came, in a list that grows."""
    frames: list[EncodedFrame] = []
    kept = Publication("test", ask_key=lambda: None, on_close=lambda: None)
    kept.listen(lambda frame: None if frame is None else frames.append(frame))
    peer = await offer_of(None, codec)
    try:
        take_frames(peer.getReceivers()[0], kept)
        answer = await http.post(f"/v1/streams/{stream}/whep", content=peer.localDescription.sdp, headers=SDP)
        assert answer.status_code == 201, answer.text
        await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        yield frames
        await http.delete(answer.headers["location"])
    finally:
        kept.close()
        await close_peer(peer)


class LossyRelay(asyncio.DatagramProtocol):
    """Stands between a client and the server's only candidate, and loses media packets in both directions.

    Args:
        loss: share of the packets, 0..1. What sets the connection up (STUN, DTLS) is passed on.
    """

    def __init__(self, loss: float, seed: int = 1) -> None:
        self._loss, self._random = loss, random.Random(seed)
        self._transport: asyncio.DatagramTransport | None = None
        self._server: tuple[str, int] = ("", 0)
        self._client: tuple[str, int] | None = None
        self.passed = self.lost = 0

    async def between(self, answer: str) -> str:
        """The answer, with the relay's address in place of the server's."""
        lines = answer.split("\r\n")
        first = next(line for line in lines if line.startswith("a=candidate:") and "typ host" in line)
        words = first.split(" ")
        self._server = (words[4], int(words[5]))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(words[4], 0))
        words[5] = str(self._transport.get_extra_info("sockname")[1])
        kept = [" ".join(words) if line == first else line for line in lines]
        return "\r\n".join(line for line in kept if not line.startswith("a=candidate:") or line == " ".join(words))

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        sender = (str(addr[0]), addr[1])
        if sender != self._server:
            self._client = sender
        to = self._client if sender == self._server else self._server
        if 128 <= data[0] <= 191 and self._random.random() < self._loss:
            self.lost += 1
        elif to is not None and self._transport is not None:
            self.passed += 1
            self._transport.sendto(data, to)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
