"""The packets of a source on their way to viewers: taken apart, kept to the next key frame, judged, paced."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from streamcap.sources import h264
from streamcap.sources.ports import CLOCK, EncodedFrame
from streamcap.sources.relay import GROUP_FRAMES, Relay
from streamcap.webrtc.offers import offered_codecs
from tests.clips_made import clip
from tests.patience import PATIENCE_S

SPS, PPS, IDR, SLICE = b"\x67\x42\xe0\x1f", b"\x68\xce\x38\x80", b"\x65\x88\x84\x21", b"\x41\x9a\x01\x02"


def configuration(*sets: bytes) -> bytes:
    (sps, pps) = sets
    return b"\x01\x42\xe0\x1f\xff\xe1\x00\x04" + sps + b"\x01\x00\x04" + pps


def test_units_are_found_behind_start_codes_and_lengths() -> None:
    assert list(h264.units(b"\0\0\0\1" + SPS + b"\0\0\1" + PPS + b"\0\0\0\1" + IDR, 0)) == [SPS, PPS, IDR]
    lengths = b"".join(len(unit).to_bytes(4, "big") + unit for unit in (SPS, IDR))
    assert list(h264.units(lengths, 4)) == [SPS, IDR]
    assert h264.to_annex_b([SPS, PPS]) == b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS
    extradata = configuration(SPS, PPS)
    assert h264.length_size(extradata) == 4 and h264.parameter_sets(extradata) == (SPS, PPS)
    assert h264.parameter_sets(b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS) == (SPS, PPS)


def test_nothing_that_would_break_a_packetiser_comes_out_of_damaged_data() -> None:
    chance = random.Random(5)
    for _ in range(3000):
        data = bytes(chance.choice((0, 0, 1, 1, 3, 255, chance.randrange(256))) for _ in range(chance.randrange(60)))
        for length in (0, 1, 2, 4):
            for unit in h264.units(data, length):
                assert unit and 1 <= h264.kind(unit) <= 23 and not unit[0] & 0x80
        assert all(h264.kind(unit) in (h264.SPS, h264.PPS) for unit in h264.parameter_sets(data))
        assert 0 <= h264.length_size(data) <= 4


def played(relay: Relay, path: Path, *, judged: bool = True) -> Iterator[Any]:
    """Show a file's packets to a relay, and give them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        relay.connect(stream, bursts=True)
        for packet in container.demux(stream):
            relay.see(packet)
            frames = packet.decode()
            if judged and frames:
                relay.judge(frames[0])
                judged = False
            yield packet
    relay.disconnect()


def test_who_comes_gets_what_was_kept_since_the_key_frame_and_all_that_follows(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", frames=60)
    relay = Relay()
    taken: list[EncodedFrame | None] = []
    packets = played(relay, path)
    for _ in range(35):
        next(packets)
    assert relay.unfit == ""
    past, stop = relay.listen(taken.append)
    assert len(past) == 10 and [frame.key for frame in past] == [True] + 9 * [False], "25 and 10"
    for _ in range(20):
        next(packets)
    stop()
    list(packets)
    frames = [*past, *(frame for frame in taken if frame is not None)]
    assert len(frames) == 30
    assert {b.timestamp - a.timestamp for a, b in itertools.pairwise(frames)} == {3600}
    for frame in frames:
        kinds = {h264.kind(unit) for unit in h264.units(frame.data, 0)}
        assert frame.key == (h264.IDR in kinds) == (h264.SPS in kinds), "the file has them outside of its packets"
    relay.close()
    past, _ = relay.listen(taken.append)
    assert past == [] and taken[-1] is None


def test_time_runs_on_over_connections(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", frames=30)
    relay = Relay()
    taken: list[EncodedFrame | None] = []
    first = played(relay, path)
    next(first)
    relay.listen(taken.append)
    list(first)
    list(played(relay, path))
    stamps = [frame.timestamp for frame in taken if frame is not None]
    assert len(stamps) == 59 and all(a < b < a + CLOCK for a, b in itertools.pairwise(stamps))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tune": "film", "bf": "2", "b_strategy": "0"}, "it has B-frames"),
        ({"codec": "mpeg4", "tune": ""}, "mpeg4 is not"),
        ({"g": "900"}, "its key frames are too far apart"),
    ],
)
def test_what_cannot_be_passed_on_says_why(tmp_path: Path, options: dict[str, Any], why: str) -> None:
    relay = Relay()
    codec = options.pop("codec", "libx264")
    path = clip(tmp_path / "clip.mp4", frames=GROUP_FRAMES + 5, codec=codec, **options)
    taken: list[EncodedFrame | None] = []
    packets = played(relay, path)
    next(packets)
    relay.listen(taken.append)
    list(packets)
    assert relay.unfit.startswith(why) and taken[-1] is None


def test_b_frames_that_the_decoder_does_not_know_of_are_seen_by_their_stamps(tmp_path: Path) -> None:
    relay = Relay()
    path = clip(tmp_path / "clip.mp4", frames=40, tune="film", bf="2", b_strategy="0")
    packets = played(relay, path, judged=False)
    next(packets)
    relay.unfit = ""
    list(packets)
    assert relay.unfit == "it has B-frames"


def test_what_an_offer_can_play() -> None:
    offer = "v=0\nm=audio 9 X 0\na=rtpmap:0 PCMU/8000\nm=video 9 X 96 97 98\na=rtpmap:96 VP8/90000\n"
    single = "a=rtpmap:97 H264/90000\na=fmtp:97 packetization-mode=0;profile-level-id=42e01f\n"
    split = "a=rtpmap:98 H264/90000\na=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1\n"
    assert offered_codecs(offer) == {"vp8"} == offered_codecs(offer + single)
    assert offered_codecs(offer + single + split) == {"vp8", "h264"}


def frame(number: int, *, key: bool = False) -> EncodedFrame:
    return EncodedFrame("h264", b"x" * 100, number * 3000, key, 0.0)


def test_frames_wait_for_their_time_and_no_longer() -> None:
    pytest.importorskip("aiortc")
    from streamcap.webrtc.relaying import _Pacer

    pacer, now, shown = _Pacer(), 100.0, []
    for number in range(250):  # five at once, every 200 ms; after 20 s a burst is a second late
        arrives = 100.0 + number // 5 * 0.2 + (1.0 if number == 100 else 0.0)
        now = max(now, arrives)
        now += pacer.wait(number * 0.04, now)
        shown.append(now)
    steps = [b - a for a, b in itertools.pairwise(shown)]
    assert [at for at, step in enumerate(steps) if not 0.038 < step < 0.043] == [99]
    assert shown[-1] - (100.0 + 249 * 0.04) < 1.0, "a delay that is not needed is worked off"


async def test_who_is_slow_goes_on_at_a_key_frame() -> None:
    pytest.importorskip("aiortc")
    from streamcap.webrtc.broadcast import WAITING_FRAMES, Broadcast

    class Silent(Broadcast):
        def ask_key(self) -> None:
            pass

        async def _serve(self) -> None:
            pass

    broadcast = Silent("h264")
    broadcast.past = [frame(number, key=number == 0) for number in range(50)]
    seat = broadcast.sit()
    seat.put(frame(49))  # not connected yet: not kept
    first = [await seat.get() for _ in range(50)]
    assert [each.timestamp for each in first if each] == [49 * 3000 - 360 * back for back in reversed(range(50))]
    for number in range(50, 50 + WAITING_FRAMES + 10):
        seat.put(frame(number))
    seat.put(frame(200, key=True))
    seat.put(frame(201))
    after = [await asyncio.wait_for(seat.get(), PATIENCE_S) for _ in range(2)]
    assert [each.timestamp // 3000 for each in after if each] == [200, 201]
