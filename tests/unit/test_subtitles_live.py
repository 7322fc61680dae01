"""Live WebVTT in HLS: the rules of RFC 8216, for any captions and any moments of asking."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import pysubs2
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcap.subtitles_live import COMMIT_S, KEPT, LATE_S, SEGMENT_S, WINDOW, LiveTrack
from streamcap.types import Caption, CaptionKind, CaptionStatus
from streamcap.wire import CaptionMessage, DurableMessage, StreamState, caption_message, status_message

T0 = 1_700_000_000.0  # a multiple of SEGMENT_S
_STAMP = re.compile(r"(\d{2,}):(\d\d):(\d\d)\.(\d{3})")


def said(
    key: str,
    captured_at: float,
    *,
    age: float = 0.2,
    text: str = "A person walks.",
    status: CaptionStatus = CaptionStatus.FINAL,
    kind: CaptionKind = CaptionKind.DIFF,
) -> CaptionMessage:
    made = Caption(key, 1, status, kind, 1.0, 2.0, text, captured_at)
    return caption_message("cam", made, emitted_at=captured_at + age)


def ended(at: float, state: StreamState = StreamState.ENDED) -> DurableMessage:
    return status_message("cam", state, at=at)


@dataclass
class Playlist:
    target: int
    first: int
    began: float
    lengths: list[float]
    uris: list[str]
    over: bool

    @property
    def numbers(self) -> list[int]:
        return [int(uri.removeprefix("live/").removesuffix(".vtt")) for uri in self.uris]


def read(text: str) -> Playlist:
    lines = text.splitlines()
    assert lines[0] == "#EXTM3U" and text.endswith("\n")
    tags = dict(line[1:].split(":", 1) for line in lines if line.startswith("#EXT-X-") and ":" in line)
    began = datetime.fromisoformat(tags["EXT-X-PROGRAM-DATE-TIME"]).timestamp()
    lengths = [float(line.removeprefix("#EXTINF:").rstrip(",")) for line in lines if line.startswith("#EXTINF:")]
    uris = [line for line in lines if not line.startswith("#")]
    assert len(lengths) == len(uris)
    return Playlist(
        int(tags["EXT-X-TARGETDURATION"]),
        int(tags["EXT-X-MEDIA-SEQUENCE"]),
        began,
        lengths,
        uris,
        lines[-1] == "#EXT-X-ENDLIST",
    )


def cues(segment: str | None) -> dict[str, tuple[float, float, str]]:
    """Cues of a segment by name, at Unix seconds as its own X-TIMESTAMP-MAP tells a player."""
    assert segment is not None
    head = re.match(r"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:(\d+),LOCAL:00:00:00\.000\n(\n|$)", segment)
    assert head, segment[:100]
    found = {}
    for block in segment[head.end() :].split("\n\n"):
        if block.strip():
            name, times, text = block.strip().split("\n")
            start, end = (_seconds(part) for part in times.split(" --> "))
            found[name] = (_unix(int(head[1]), start), _unix(int(head[1]), end), text)
    return found


def _seconds(stamp: str) -> float:
    match = _STAMP.fullmatch(stamp)
    assert match, stamp
    hours, minutes, seconds, ms = (int(part) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + ms / 1000


def _unix(ticks: int, local: float) -> float:
    """MPEG time has 33 bits: the moment nearest to T0 that it may stand for."""
    wrap = 2**33 / 90_000
    at = ticks / 90_000 + local
    return round(at + round((T0 - at) / wrap) * wrap, 3)


def test_an_hour_of_quiet_is_a_whole_playlist_of_empty_segments() -> None:
    track = LiveTrack(T0)
    shown = read(track.playlist(T0))
    assert shown.target == SEGMENT_S and len(shown.uris) == WINDOW and not shown.over
    assert shown.numbers == list(range(shown.first, shown.first + WINDOW))
    assert shown.began == shown.first * SEGMENT_S
    assert all(length == SEGMENT_S for length in shown.lengths)
    assert all(cues(track.segment(n, T0)) == {} for n in shown.numbers)


def test_a_cue_is_whole_in_each_segment_that_it_touches() -> None:
    track = LiveTrack(T0)
    text = "x" * 110  # read in 6.5 s: three segments
    track.take(said("c", T0 + 3, text=text))
    now = T0 + 60
    expected = (T0 + 3, round(T0 + 3 + 110 / 17, 3), text)
    first = int(T0) // SEGMENT_S
    for n in (first, first + 1, first + 2):
        assert cues(track.segment(n, now)) == {"c": expected}
    assert cues(track.segment(first - 1, now)) == cues(track.segment(first + 3, now)) == {}


def test_text_is_made_safe() -> None:
    track = LiveTrack(T0)
    track.take(said("a --> b\nc", T0 + 1, text="A <b>dog</b> & a cat --> left\n\nand right\n"))
    segment = track.segment(int(T0) // SEGMENT_S, T0 + 20)
    assert segment is not None and segment.count("-->") == 1
    assert len(pysubs2.SSAFile.from_string(segment, format_="vtt")) == 1
    assert cues(segment)["a b c"][2] == "A &lt;b&gt;dog&lt;/b&gt; &amp; a cat --&gt; left and right"


def test_what_comes_too_late_is_shown_later() -> None:
    track = LiveTrack(T0)
    track.take(said("slow", T0 + 1, age=30.0))
    found = cues(track.segment(int(T0 + 31 - LATE_S) // SEGMENT_S, T0 + 60))
    assert found["slow"][0] == T0 + 31 - LATE_S


def test_summaries_are_no_subtitles_and_what_is_taken_back_goes() -> None:
    track = LiveTrack(T0)
    track.take(said("sum", T0 + 1, kind=CaptionKind.SUMMARY))
    track.take(said("wrong", T0 + 1, text="x" * 100))
    track.take(said("wrong", T0 + 5, status=CaptionStatus.RETRACTED))
    first = int(T0) // SEGMENT_S
    assert set(cues(track.segment(first, T0 + 60))) == {"wrong"}, "published before it was taken back"
    assert cues(track.segment(first + 1, T0 + 60)) == {}


def test_a_stream_that_ends_ends_its_playlist_after_its_last_cue() -> None:
    track = LiveTrack(T0)
    track.take(said("last", T0 + 9, text="x" * 110))
    track.take(ended(T0 + 10))
    assert not read(track.playlist(T0 + 12)).over
    done = read(track.playlist(T0 + 60))
    assert done.over and done.numbers[-1] == int(T0 + 15.4) // SEGMENT_S
    assert track.playlist(T0 + 9000) == track.playlist(T0 + 60)
    track.forget(T0 + 9000)
    assert set(cues(track.segment(done.numbers[-1], T0 + 9000))) == {"last"}
    track.take(ended(T0 + 9001, StreamState.CONNECTING))
    again = read(track.playlist(T0 + 9060))
    assert not again.over and again.first > done.first


def test_a_restarted_server_cuts_the_same_segments() -> None:
    before, after = LiveTrack(T0), LiveTrack(T0 + 5000)
    for track in (before, after):
        track.take(said("c", T0 + 5001))
    now = T0 + 5030
    assert before.playlist(now) == after.playlist(now)
    for n in read(before.playlist(now)).numbers:
        assert cues(before.segment(n, now)) == cues(after.segment(n, now)), "at the same MPEG time"


captions = st.lists(
    st.tuples(
        st.floats(0, 100),  # captured
        st.floats(0, 20),  # age
        st.integers(1, 200),  # length
        st.floats(0, COMMIT_S * 0.99),  # commit
        st.one_of(st.none(), st.floats(0, 20)),  # taken back after
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(captions, st.lists(st.floats(0, 200), min_size=1, max_size=12), st.one_of(st.none(), st.floats(100, 130)))
def test_what_was_published_never_changes_and_nothing_is_left_out(
    spoken: list[tuple[float, float, int, float, float | None]], looks: list[float], end: float | None
) -> None:
    arriving: list[tuple[float, DurableMessage]] = []
    for n, (captured, age, length, commit, gone) in enumerate(spoken):
        message = said(f"c{n}", T0 + captured, age=age, text="x" * length)
        at = T0 + captured + age + commit
        arriving.append((at, message))
        if gone is not None:
            back = said(f"c{n}", at + gone, age=0.0, status=CaptionStatus.RETRACTED)
            arriving.append((at + gone + commit, back))
    if end is not None:
        arriving = [(at, m) for at, m in arriving if at < T0 + end] + [(T0 + end, ended(T0 + end))]
    arriving.sort(key=lambda each: each[0])

    track = LiveTrack(T0)
    published: dict[int, str] = {}
    newest = previous = 0
    for now in sorted([*(T0 + look for look in looks), T0 + 400]):
        while arriving and arriving[0][0] <= now:
            track.take(arriving.pop(0)[1])
        track.forget(now)
        shown = read(track.playlist(now))
        assert len(shown.uris) == WINDOW and max(shown.lengths) <= shown.target
        assert shown.first >= previous and shown.began == shown.first * SEGMENT_S
        assert now - (shown.numbers[-1] + 1) * SEGMENT_S >= LATE_S + COMMIT_S - 1e-6, "no segment of the future"
        previous, newest = shown.first, shown.numbers[-1]
        for n in shown.numbers:
            segment = track.segment(n, now)
            assert segment is not None
            assert published.setdefault(n, segment) == segment, "a published segment has changed"
        assert track.segment(newest + 1, now) is track.segment(newest - KEPT, now) is None
        assert track.segment(newest - KEPT + 1, now) is not None
    seen: dict[str, tuple[float, float, str]] = {}
    for n, segment in published.items():
        for name, cue in cues(segment).items():
            assert seen.setdefault(name, cue) == cue, "a cue is the same wherever it is shown"
            assert cue[0] < (n + 1) * SEGMENT_S and cue[1] > n * SEGMENT_S
    for name, (start, stop, _) in seen.items():
        for n in range(int(start // SEGMENT_S), int((stop - 0.001) // SEGMENT_S) + 1):
            was_back = any(gone is not None for i, (*_, gone) in enumerate(spoken) if name == f"c{i}")
            assert n not in published or name in cues(published[n]) or was_back, "whole, in each segment it touches"
