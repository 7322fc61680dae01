"""Dates in HLS playlists: which segment they tell of, and where they cannot be used."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamcap.sources.hls_clock import dated_segment

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DATE = "#EXT-X-PROGRAM-DATE-TIME:"


def playlist(*lines: str) -> str:
    return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:2", *lines, ""])


@pytest.mark.parametrize("noon", ["2026-11-20T12:00:00Z", "2026-11-20T12:00:00.000+00:00", "2026-11-20T14:00:00+0200"])
def test_a_date_goes_on_over_the_segments_that_follow(noon: str) -> None:
    text = playlist("#EXTINF:2,", "a.ts", DATE + noon, "#EXTINF:2.000,", "b.ts", "#EXTINF:1.5,", "c.ts")
    assert dated_segment(text) == ("c.ts", NOON + 2)
    assert dated_segment(text + DATE + "2026-11-20T12:00:10Z\n#EXTINF:2,\nd.ts\n") == ("d.ts", NOON + 10)


@pytest.mark.parametrize(
    "lines",
    [
        ("#EXTINF:2,", "a.ts"),
        (DATE + "2026-11-20T12:00:00Z", '#EXT-X-KEY:METHOD=AES-128,URI="k"', "#EXTINF:2,", "a.ts"),
        (DATE + "2026-11-20T12:00:00Z", '#EXT-X-MAP:URI="init.mp4"', "#EXTINF:2,", "a.m4s"),
        (DATE + "2026-11-20T12:00:00Z", "#EXTINF:2,", "a.ts", "#EXT-X-DISCONTINUITY", "#EXTINF:2,", "b.ts"),
    ],
)
def test_where_dates_do_not_tell(lines: tuple[str, ...]) -> None:
    assert dated_segment(playlist(*lines)) is None


def test_what_is_no_date_is_an_error_that_the_caller_expects() -> None:
    with pytest.raises(ValueError, match="Invalid isoformat"):
        dated_segment(playlist(DATE + "yesterday", "#EXTINF:2,", "a.ts"))
