"""Damaged and odd files through the whole program: what can be seen is captioned, what is wrong is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from streamcap.wire import CaptionMessage, DurableMessage, EventMessage, GapMessage, StatusMessage, StreamState, decode
from tests.programs import Done, inside, side_by_side, streamcap

pytestmark = [pytest.mark.stress, pytest.mark.weights]

# File: what the one line has to say.
CANNOT = {
    "truncated_no_moov.mp4": "index (moov) is missing",
    "audio_only.m4a": "audio only",
    "audio_only.wav": "audio only",
    "empty.mp4": "is empty",
    "random_bytes.mp4": "not a media file",
}


@dataclass(frozen=True)
class Can:
    """A file that can be read, at least in part.

    Attributes:
        seconds: least and most media time that it should come to.
        reasons: of statuses that must be told, how often at least.
        arguments: beside the file and the format.
    """

    seconds: tuple[float, float]
    reasons: dict[str, int]
    arguments: tuple[str, ...] = ("--fps", "2")


CAN = {
    "truncated_faststart.mp4": Can((16.5, 17.5), {"truncated": 1}),
    "corrupt_bitflips.ts": Can((22.0, 25.0), {"damage": 1}),
    "resolution_change.ts": Can((23.0, 24.1), {"resolution": 2}),
    "vfr.mp4": Can((38.0, 40.0), {}),
    "pts_rollover.ts": Can((14.0, 15.1), {}),
    "timestamp_jumps.ts": Can((28.5, 31.0), {"discontinuity": 2}),
    "static_30min.mp4": Can((38.5, 40.0), {}, ("--to", "40")),
}


def test_every_file_of_the_manifest_is_tried(stress_dir: Path) -> None:
    manifest = json.loads((stress_dir / "manifest.json").read_text("utf-8"))
    assert {entry["file"] for entry in manifest} == {*CANNOT, *CAN}


@pytest.mark.parametrize("name", CANNOT)
def test_what_cannot_be_opened_is_one_clear_line(stress_dir: Path, name: str) -> None:
    done = inside("caption", str(stress_dir / name), "--format", "jsonl")
    assert done.code == 3, done.err
    assert done.clean
    assert name in done.complaint
    assert CANNOT[name] in done.complaint
    assert done.hint
    assert [decode(line).type for line in done.lines] in ([], ["status"])


@pytest.fixture(scope="module")
def readable(stress_dir: Path, weights: Callable[[str], Path]) -> dict[str, Done]:
    assert weights("efficientdet-lite0").exists()
    runs: dict[str, Callable[[], Done]] = {}
    for name, can in CAN.items():
        arguments = ["caption", str(stress_dir / name), "--format", "jsonl", *can.arguments]
        runs[name] = lambda arguments=arguments: streamcap(*arguments)  # type: ignore[misc]
    return side_by_side(runs)


def messages(done: Done) -> list[DurableMessage]:
    read = [decode(line) for line in done.lines]
    durable = [m for m in read if isinstance(m, DurableMessage)]
    assert len(durable) == len(read)
    return durable


def captions(done: Done) -> list[CaptionMessage]:
    return [m for m in messages(done) if isinstance(m, CaptionMessage)]


def statuses(done: Done) -> list[StatusMessage]:
    return [m for m in messages(done) if isinstance(m, StatusMessage)]


@pytest.mark.parametrize("name", CAN)
def test_what_decodes_is_captioned_to_its_end(readable: dict[str, Done], name: str) -> None:
    done = readable[name]
    assert done.code == 0, done.err
    assert done.clean
    told = messages(done)
    assert [m.seq for m in told] == list(range(1, len(told) + 1))
    states = [m.state for m in statuses(done)]
    assert states[:2] == [StreamState.CONNECTING, StreamState.LIVE]
    assert isinstance(told[-1], StatusMessage)
    assert told[-1].state is StreamState.ENDED
    assert captions(done)


@pytest.mark.parametrize("name", CAN)
def test_media_time_is_what_was_seen_and_never_goes_back(readable: dict[str, Done], name: str) -> None:
    done, (least, most) = readable[name], CAN[name].seconds
    seconds = float(statuses(done)[-1].detail.split(", ")[1].split()[0])
    assert least <= seconds <= most
    spans = [(m.start, m.end) for m in messages(done) if isinstance(m, CaptionMessage | EventMessage)]
    assert all(0 <= start <= end <= most for start, end in spans)
    ends = [m.end for m in captions(done)]
    # A leave is made sure of some seconds after it; a jump of the time stamps would be far more.
    assert all(later >= before - 6 for before, later in pairwise(ends))
    assert [m for m in messages(done) if isinstance(m, GapMessage)] == []


@pytest.mark.parametrize("name", CAN)
def test_what_is_wrong_is_said_in_a_status(readable: dict[str, Done], name: str) -> None:
    told = statuses(readable[name])
    for reason, times in CAN[name].reasons.items():
        found = [m for m in told if m.reason == reason]
        assert len(found) >= times
        assert all(m.detail for m in found)
        if reason in ("damage", "truncated"):
            assert {m.state for m in found} == {StreamState.DEGRADED}
    assert len(told) < 20  # damage is summed up, not told packet by packet


def test_how_much_is_missing_is_said(readable: dict[str, Done]) -> None:
    (truncated,) = [m for m in statuses(readable["truncated_faststart.mp4"]) if m.reason == "truncated"]
    assert "17.4 s" in truncated.detail
    assert "30.2 s" in truncated.detail


def test_sizes_are_followed(readable: dict[str, Done]) -> None:
    details = [m.detail for m in statuses(readable["resolution_change.ts"]) if m.reason == "resolution"]
    assert "384×288" in details[0]
    assert "1280×720" in details[1]


def test_a_whole_file_is_not_called_damaged(readable: dict[str, Done]) -> None:
    for name in ("vfr.mp4", "pts_rollover.ts", "static_30min.mp4"):
        assert [m.detail for m in statuses(readable[name]) if m.state is StreamState.DEGRADED] == []


def test_of_an_empty_room_there_is_one_caption_and_nothing_else(readable: dict[str, Done]) -> None:
    told = [m for m in messages(readable["static_30min.mp4"]) if not isinstance(m, StatusMessage)]
    assert [m.type for m in told] == ["caption"]
    assert isinstance(told[0], CaptionMessage)
    assert told[0].kind == "full"
