"""The private names of aiortc that are used are there, and do what they are taken for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("aiortc")

from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtcrtpreceiver import decoder_worker

from streamcap.sources.ports import Publication
from streamcap.webrtc import taking
from tests.patience import PATIENCE_S


async def test_frames_go_into_the_publication_and_the_decoder_gets_the_end_alone() -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = peer.addTransceiver("video").receiver
    publication = Publication("p", ask_key=lambda: taking.ask_key(receiver), on_close=lambda: None)
    taking.take_frames(receiver, publication)
    diverted = getattr(receiver, taking._QUEUE)
    for name, data in (("VP8", b"\x10"), ("opus", b"x"), ("VP8", b"\x11")):
        diverted.put((SimpleNamespace(name=name), SimpleNamespace(data=data, timestamp=1)))
    taken = [publication.take(0), publication.take(0), publication.take(0)]
    assert [each and (each.codec, each.key) for each in taken] == [("vp8", True), ("vp8", False), None]
    publication.ask_key()
    assert getattr(receiver, taking._ERROR).is_set()
    diverted.put(None)
    output: asyncio.Queue[object] = asyncio.Queue()
    await asyncio.to_thread(
        decoder_worker, asyncio.get_running_loop(), diverted, output, getattr(receiver, taking._ERROR)
    )
    assert await asyncio.wait_for(output.get(), PATIENCE_S) is None and publication.closed
    await peer.close()


async def test_a_wish_for_a_key_frame_is_seen_once() -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    sender = peer.addTransceiver("video").sender
    assert not taking.key_was_asked(sender)
    sender._send_keyframe()
    assert taking.key_was_asked(sender) and not taking.key_was_asked(sender)
    await peer.close()
