"""Subtitle files that players read: parsed back with pysubs2, and looked at by the rules of WebVTT."""

from __future__ import annotations

import html
import re
from itertools import pairwise
from typing import Literal

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcap.subtitles import LONGEST_S, SHORTEST_S, SubtitleTrack

Form = Literal["vtt", "srt"]
FORMS: list[Form] = ["vtt", "srt"]
STAMP = {"vtt": r"(?:\d\d+:)?[0-5]\d:[0-5]\d\.\d{3}", "srt": r"\d\d:[0-5]\d:[0-5]\d,\d{3}"}


def written(form: Form, captions: list[tuple[float, float, str]]) -> str:
    track = SubtitleTrack(form)
    return track.header() + "".join(track.add(*caption) for caption in captions) + track.finish()


def cues(form: Form, text: str) -> list[tuple[float, float, str]]:
    parsed = pysubs2.SSAFile.from_string(text, format_=form)
    return [(event.start / 1000, event.end / 1000, event.plaintext) for event in parsed]


WALK = [
    (0.0, 1.2, "There is a person on the left."),
    (4.0, 5.5, "The person stops."),
    (9.0, 60.0, "The lights go out."),
]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_can_be_read(form: Form) -> None:
    found = cues(form, written(form, WALK))
    assert [text for _, _, text in found] == [text for _, _, text in WALK]
    assert [start for start, _, _ in found] == [1.2, 5.5, 60.0]  # shown from when it is known


def test_a_webvtt_file_begins_with_its_name() -> None:
    text = written("vtt", WALK)
    assert text.startswith("WEBVTT\n\n")
    assert written("vtt", []) == "WEBVTT\n\n"
    assert written("srt", []) == ""


@pytest.mark.parametrize("form", FORMS)
def test_each_cue_has_its_number_its_times_and_its_text(form: Form) -> None:
    body = written(form, WALK).removeprefix("WEBVTT\n\n")
    blocks = body.strip().split("\n\n")
    assert len(blocks) == 3
    for number, block in enumerate(blocks, 1):
        count, times, *text = block.split("\n")
        assert count == str(number)
        assert re.fullmatch(f"{STAMP[form]} --> {STAMP[form]}", times)
        assert len(text) == 1


@pytest.mark.parametrize("form", FORMS)
def test_long_texts_stay_longer_within_bounds(form: Form) -> None:
    found = cues(form, written(form, [(0, 1, "Hm."), (20, 21, "A" * 60), (60, 61, "A" * 400)]))
    times = [round(end - start, 3) for start, end, _ in found]
    assert times[0] == SHORTEST_S
    assert times[0] < times[1] < times[2] == LONGEST_S


@pytest.mark.parametrize("form", FORMS)
def test_hours_are_written(form: Form) -> None:
    found = cues(form, written(form, [(3600, 4000.5, "Late."), (350_000, 350_000.25, "Later.")]))
    assert [start for start, _, _ in found] == [4000.5, 350_000.25]


def test_a_stream_may_run_for_more_than_a_hundred_hours() -> None:
    """WebVTT has two or more digits for hours; SubRip readers differ, so it is not held to that."""
    text = written("vtt", [(400_000, 400_000.25, "Later."), (400_100, 400_100.5, "Latest.")])
    assert "111:06:40.250 --> 111:06:41.750\nLater." in text
    assert "111:08:20.500 --> 111:08:22.000\nLatest." in text


def test_webvtt_escapes_what_it_would_read_as_tags() -> None:
    text = written("vtt", [(0, 1, "A <b> & a --> b")])
    lines = [line for line in text.splitlines() if "amp" in line]
    assert lines == ["A &lt;b&gt; &amp; a --&gt; b"]
    assert html.unescape(lines[0]) == "A <b> & a --> b"


@pytest.mark.parametrize("form", FORMS)
def test_a_cue_ends_when_the_next_begins(form: Form) -> None:
    first, second = cues(
        form, written(form, [(0, 1.0, "A long text that takes its time to be read."), (1.0, 1.4, "No.")])
    )
    assert first[1] == second[0] == 1.4


spans = st.lists(st.tuples(st.floats(-4, 5), st.floats(0, 3)), min_size=1, max_size=12)


@given(spans, st.sampled_from(FORMS))
@settings(deadline=None, max_examples=50)
def test_cues_are_in_order_and_do_not_overlap(steps: list[tuple[float, float]], form: Form) -> None:
    """A leave is made sure of seconds after it, so a caption may end before the one that was said before it."""
    time, captions = 5.0, []
    for number, (step, length) in enumerate(steps):
        time = max(0.0, time + step)
        captions.append((max(0.0, time - length), time, f"Text number {number}."))
    found = cues(form, written(form, captions))
    assert [text for _, _, text in found] == [text for _, _, text in captions]
    assert all(start < end for start, end, _ in found)
    assert all(a[1] <= b[0] for a, b in pairwise(found))
