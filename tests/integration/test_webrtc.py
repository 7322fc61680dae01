"""Publishing by WHIP and watching by WHEP, with aiortc peers against a running service."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import re
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiortc import RTCSessionDescription
from cryptography.x509 import InvalidVersion, load_der_x509_certificate

from streamcap.config import Settings
from streamcap.models.pool import Models
from streamcap.server.service import Service, running
from streamcap.webrtc.connection import close_peer
from streamcap.wire import GapMessage, StatusMessage, decode
from tests.feeding import http_to
from tests.patience import PATIENCE_S
from tests.webrtc_peers import SDP, Camera, LossyRelay, OddCertificate, RsaCertificate, offer_of, publishing, watching

pytestmark = [pytest.mark.weights, pytest.mark.webrtc]

# For how long the machine may stand still in between.
STALL_S = 10.0


@contextlib.asynccontextmanager
async def service(models: Models, **webrtc: Any) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    raw: dict[str, Any] = {
        "server": {"port": 0},
        "webrtc": webrtc,
        "streams": [{"id": "cam", "source": "whip:"}, {"id": "yard", "source": "test:?realtime=1"}],
    }
    async with (
        running(Settings.model_validate(raw), models) as run,
        http_to(run.listening) as http,
    ):
        yield run, http


async def until(http: httpx.AsyncClient, path: str, patience: float = PATIENCE_S, **wanted: Any) -> dict[str, Any]:
    """The stream once it is as wanted."""
    async with asyncio.timeout(patience):
        while True:
            found: dict[str, Any] = (await http.get(path)).json()
            if all(found[key] == value for key, value in wanted.items()):
                return found
            await asyncio.sleep(0.05)


async def first_frame(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await http.get("/v1/streams/yard/preview.jpg")).status_code == 404:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def told(http: httpx.AsyncClient, kinds: str = "status,gap") -> list[Any]:
    text = (await http.get("/v1/streams/cam/captions", params={"kinds": kinds, "format": "jsonl"})).text
    return [decode(line) for line in text.splitlines()]


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_what_is_published_is_captioned_and_can_be_watched(models: Models, codec: str) -> None:
    async with service(models) as (_, http):
        assert (await http.get("/v1/streams/cam")).json()["state"] in ("connecting", None)
        camera = Camera()
        async with publishing(http, "cam", camera, codec) as session:
            assert session.answer.headers["content-type"] == "application/sdp"
            assert session.location.startswith("/v1/streams/cam/whip/") and session.answer.headers["etag"]
            await until(http, "/v1/streams/cam", state="live")
            async with watching(http, "cam", codec) as track:
                async with asyncio.timeout(PATIENCE_S):
                    shown = [await track.recv() for _ in range(5)]
                assert (shown[0].width, shown[0].height) == (320, 240)
                assert all(a.pts < b.pts for a, b in itertools.pairwise(shown))
            camera.size = (480, 270)
            async with asyncio.timeout(PATIENCE_S):
                while "480×270" not in (await http.get("/v1/streams/cam")).json()["detail"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert (await http.delete(session.location)).status_code == 200
            assert (await http.delete(session.location)).status_code == 404
            await until(http, "/v1/streams/cam", state="reconnecting")


async def test_a_publisher_that_vanishes_is_noticed_and_the_next_one_goes_on(models: Models) -> None:
    async with service(models) as (_, http):
        async with publishing(http, "cam", Camera()) as first:
            await until(http, "/v1/streams/cam", state="live")
            await asyncio.sleep(1.0)
            # The socket goes without a word, as with kill -9.
            for transceiver in first.peer.getTransceivers():
                for protocol in transceiver.sender.transport.transport._connection._protocols:
                    protocol.transport.abort()
            begun = asyncio.get_running_loop().time()
            await until(http, "/v1/streams/cam", state="reconnecting")
            # Within 5 s; consent alone would take half a minute to expire (RFC 7675).
            assert asyncio.get_running_loop().time() - begun < 5.0 + STALL_S
            async with publishing(http, "cam", Camera()):  # though the first session is still there
                await until(http, "/v1/streams/cam", state="live")
                messages = await told(http)
        gaps = [each for each in messages if isinstance(each, GapMessage)]
        assert len(gaps) == 1 and 2.5 < gaps[0].end - gaps[0].start < PATIENCE_S
        said = [each.state.value for each in messages if isinstance(each, StatusMessage)]
        states = [state for state, _ in itertools.groupby(said)]
        assert states == ["connecting", "live", "reconnecting", "live"]


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_lost_packets_are_made_good(models: Models, codec: str) -> None:
    relay = LossyRelay(0.08)
    async with service(models) as (_, http):
        try:
            async with publishing(http, "cam", Camera(), codec, relay) as session:
                await until(http, "/v1/streams/cam", state="live")
                before = after = (await http.get("/v1/streams/cam")).json()
                async with asyncio.timeout(2 * PATIENCE_S):  # it takes 4 s where nobody else is at work
                    while relay.lost <= 5 or after["frames"] - before["frames"] < 12:
                        await asyncio.sleep(0.2)
                        after = (await http.get("/v1/streams/cam")).json()
                assert after["state"] in ("live", "degraded")
                await http.delete(session.location)
        finally:
            relay.close()
        assert not any(isinstance(each, GapMessage) for each in await told(http))


async def test_a_browser_that_hides_all_its_addresses_is_found(models: Models) -> None:
    async with service(models) as (_, http):
        await first_frame(http)
        peer = await offer_of(None)
        offer = re.sub(r"(?m)^(a=candidate:\S+ \d \S+ \d+) \S+", r"\1 5f2a.local", peer.localDescription.sdp)
        assert ".local" in offer and "a=end-of-candidates" in offer, "as Firefox says it"
        try:
            answer = await http.post("/v1/streams/yard/whep", content=offer, headers=SDP)
            await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
            async with asyncio.timeout(PATIENCE_S):
                await peer.getReceivers()[0].track.recv()
        finally:
            await close_peer(peer)


@pytest.mark.parametrize("sort", [OddCertificate, RsaCertificate])
async def test_certificates_of_other_sorts_are_as_good_as_their_fingerprints(
    models: Models, sort: Callable[[], OddCertificate | RsaCertificate]
) -> None:
    certificate = sort()
    if isinstance(certificate, OddCertificate):
        with pytest.raises(InvalidVersion):
            load_der_x509_certificate(certificate.encoded)  # why aiortc would not have it
    async with service(models) as (_, http), publishing(http, "cam", Camera(), certificate=certificate) as session:
        await until(http, "/v1/streams/cam", PATIENCE_S, state="live")
        async with watching(http, "cam", certificate=sort()) as track, asyncio.timeout(PATIENCE_S):
            await track.recv()
        await session.peer.close()  # OBS does it in this order
        await until(http, "/v1/streams/cam", PATIENCE_S, state="reconnecting")
        assert [(await http.delete(session.location)).status_code for _ in range(2)] == [200, 404]


@pytest.mark.parametrize("version", [2, 3])
async def test_who_has_another_certificate_than_was_said_is_not_let_in(
    models: Models, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = OddCertificate(b"another", version)
    async with service(models) as (_, http), publishing(http, "cam", Camera(), certificate=certificate) as session:
        other = {"content-type": "application/trickle-ice-sdpfrag", "if-match": '"another"'}
        status = 0
        async with asyncio.timeout(PATIENCE_S):
            while status != 404:
                answer = await http.patch(session.location, content="a=end-of-candidates", headers=other)
                status = answer.status_code
                await asyncio.sleep(0.05)
        assert (await http.get("/v1/streams/cam")).json()["state"] == "connecting"
    assert "a peer's certificate is not the one that its description names" in caplog.text


async def test_any_source_can_be_watched_and_is_encoded_once_while_it_is(models: Models) -> None:
    async with service(models, viewers=2) as (_, http):
        await first_frame(http)
        async with watching(http, "yard") as one, watching(http, "yard") as two:
            async with asyncio.timeout(PATIENCE_S):
                frames = [await track.recv() for track in (one, two) for _ in range(3)]
            assert {(frame.width, frame.height) for frame in frames} == {(640, 360)}
            assert sum(task.get_name() == "broadcast-yard" for task in asyncio.all_tasks()) == 1
            peer = await offer_of(None)
            full = await http.post("/v1/streams/yard/whep", content=peer.localDescription.sdp, headers=SDP)
            assert (full.status_code, full.headers["retry-after"]) == (503, "5")
            assert 'refused_total{reason="most",what="viewer"} 1.0' in (await http.get("/metrics")).text
            await peer.close()
        peer = await offer_of(None, "H264")
        other = await http.post("/v1/streams/yard/whep", content=peer.localDescription.sdp, headers=SDP)
        assert other.status_code == 422 and "VP8" in other.json()["detail"]
        await peer.close()
        peer = await offer_of(None)
        nothing = await http.post("/v1/streams/cam/whep", content=peer.localDescription.sdp, headers=SDP)
        assert nothing.status_code == 503, "nobody publishes"
        await peer.close()
        await asyncio.sleep(0)
        assert not any(task.get_name() == "broadcast-yard" for task in asyncio.all_tasks())


async def test_every_status_of_rfc_9725(models: Models) -> None:
    servers = [
        {"url": "stun:127.0.0.1:9"},
        {"url": "turn:127.0.0.1:9?transport=udp", "username": "u", "credential": "c"},
    ]
    async with service(models) as (_, http):
        await first_frame(http)
        peer = await offer_of(Camera())
        offer = peer.localDescription.sdp
        sound = await offer_of(None, kind="audio")
        listens = await offer_of(None)
        frag = {"content-type": "application/trickle-ice-sdpfrag"}
        whip = "/v1/streams/cam/whip"
        odd = offer.replace("VP8/90000", "AV1/90000")
        for path, body, headers, status in (
            (whip, offer, {}, 415),
            (whip, offer, {"content-type": "application/json"}, 415),
            (whip, "", SDP, 400),
            (whip, "v=0\r\n", SDP, 400),
            (whip, "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", SDP, 400),
            (whip, offer.replace("a=fingerprint", "a=x"), SDP, 400),
            (whip, offer.replace("a=ice-ufrag", "a=x"), SDP, 400),
            (whip, sound.localDescription.sdp, SDP, 422),
            (whip, listens.localDescription.sdp, SDP, 422),
            (whip, odd, SDP, 422),
            (whip, "v=0\r\n" + "a=x\r\n" * 20_000, SDP, 413),
            ("/v1/streams/nobody/whip", offer, SDP, 404),
            ("/v1/streams/yard/whip", offer, SDP, 409),
            ("/v1/streams/yard/whep", offer, SDP, 422),
        ):
            answer = await http.post(path, content=body, headers=headers)
            assert answer.status_code == status, (path, body[:40], answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
        for gone in (peer, sound, listens):
            await gone.close()

        async with publishing(http, "cam", Camera()) as session:
            second = await http.post(whip, content=offer, headers=SDP)
            assert second.status_code == 409
            etag = session.answer.headers["etag"]
            ours = next(line for line in offer_lines(session.peer) if line.startswith("a=ice-ufrag:"))
            body = f"{ours}\r\na=ice-pwd:x\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
            more = body + "a=candidate:1 1 udp 2122260223 192.0.2.77 55555 typ host\r\n"
            for content, headers, status in (
                (more, frag, 428),
                (more, frag | {"if-match": '"other"'}, 412),
                (more, frag | {"if-match": "*"}, 422),
                (more.replace(ours, "a=ice-ufrag:another"), frag | {"if-match": etag}, 422),
                (more, SDP | {"if-match": etag}, 415),
                ("nonsense", frag | {"if-match": etag}, 400),
                (body + "a=candidate:x\r\n", frag | {"if-match": etag}, 400),
                (more, frag | {"if-match": etag}, 204),
                (body + "a=end-of-candidates\r\n", frag | {"if-match": etag}, 204),
            ):
                answer = await http.patch(session.location, content=content, headers=headers)
                assert answer.status_code == status, (content, answer.text)
            assert (
                await http.patch(f"{whip}/none", content=more, headers=frag | {"if-match": etag})
            ).status_code == 404
            for method, path in (("GET", whip), ("PUT", whip), ("GET", session.location), ("POST", session.location)):
                answer = await http.request(method, path)
                assert answer.status_code == 405 and answer.headers["allow"]
            wrong = session.location.replace("/whip/", "/whep/")
            assert (await http.delete(wrong)).status_code == 404, "a viewer's address ends no publisher"
            assert (await http.delete(session.location)).status_code == 200
        paused = await http.patch("/v1/streams/cam", json={"paused": True})
        assert paused.json()["state"] == "stalled"
        assert (await http.post(whip, content=offer, headers=SDP)).status_code == 409
    async with service(models, ice_servers=servers) as (_, http):
        asked = await http.options(whip)
        assert (asked.status_code, asked.headers["accept-post"]) == (204, "application/sdp")
        assert asked.headers.get_list("link") == [
            '<stun:127.0.0.1:9>; rel="ice-server"',
            '<turn:127.0.0.1:9?transport=udp>; rel="ice-server"; username="u"; credential="c"; '
            'credential-type="password"',
        ]


def offer_lines(peer: Any) -> list[str]:
    return str(peer.localDescription.sdp).splitlines()


async def test_twenty_publishers_leave_nothing_behind(models: Models) -> None:
    async with service(models) as (_, http):
        async with publishing(http, "cam", Camera(width=160, height=120)) as session:
            await until(http, "/v1/streams/cam", state="live")
            await http.delete(session.location)
        await until(http, "/v1/streams/cam", state="reconnecting")
        before = counted()
        for _ in range(20):
            async with publishing(http, "cam", Camera(width=160, height=120)) as session:
                await until(http, "/v1/streams/cam", state="live")
                await http.delete(session.location)
            await until(http, "/v1/streams/cam", state="reconnecting")
        gc.collect()
        after = counted()
        # A leak would show twenty times; pools of threads and what is under way account for a few.
        assert all(b - a < 5 for a, b in zip(before, after, strict=True)), (before, after)


def counted() -> tuple[int, int, int]:
    """Tasks, threads, open files."""
    return len(asyncio.all_tasks()), threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
