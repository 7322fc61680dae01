"""What `streamcap caption` writes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.cli.output import FileFeed, Format, clock, line_of, writer_for
from streamcap.types import Caption, CaptionKind, CaptionStatus, Event
from streamcap.wire import (
    CaptionMessage,
    ConflictView,
    DurableMessage,
    Message,
    PublishableMessage,
    StreamState,
    caption_message,
    decode,
    event_message,
    gap_message,
    status_message,
    unchanged_message,
)

AT = 1_700_000_000.0


def caption(
    text: str,
    *,
    status: CaptionStatus = CaptionStatus.FINAL,
    kind: CaptionKind = CaptionKind.DIFF,
    end: float = 65.25,
    id: str = "c1",
) -> CaptionMessage:
    return caption_message("s", Caption(id, 0, status, kind, end - 1, end, text, AT), emitted_at=AT + 1)


EVENT = event_message("s", Event("e1", "enter", 1, 2.5, 0.7, "A person enters."), at=AT)
GAP = gap_message("s", start=10.0, end=75.0, at=AT, reason="the camera was away")


def status(state: StreamState, reason: str = "", detail: str = "") -> PublishableMessage:
    return status_message("s", state, at=AT, reason=reason, detail=detail)


async def written(form: Format, messages: list[PublishableMessage], *, events: bool = False) -> str:
    out = io.StringIO()
    feed = FileFeed(lambda: writer_for(form, out, events=events))
    for message in messages:
        await feed.publish("s", message)
    feed.finish()
    return out.getvalue()


def test_what_a_text_contradicts_stands_beside_it_and_what_was_overruled_does_not() -> None:
    conflict = ConflictView(what="count", said="Four people", perceived="one person")
    message = caption("Four people come.").model_copy(update={"conflicts": (conflict,), "source": "vision:m"})
    line = line_of(message, events=False)
    assert line is not None and line.plain.endswith("+  Four people come.  ≠ “Four people”: one person")
    stands = line_of(message.model_copy(update={"source": "grounded"}), events=False)
    assert stands is not None and "≠" not in stands.plain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00.0"),
        (65.25, "01:05.2"),
        (59.96, "01:00.0"),
        (3599.99, "1:00:00.0"),
        (3725.5, "1:02:05.5"),
        (90061, "25:01:01.0"),
    ],
)
def test_the_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_clock_goes_forward_and_never_shows_sixty(a: float, b: float) -> None:
    def read(text: str) -> float:
        parts = [float(part) for part in text.split(":")]
        assert all(part < 60 for part in parts[-2:])
        return sum(part * 60.0**n for n, part in enumerate(reversed(parts)))

    assert read(clock(a)) == pytest.approx(a, abs=0.051)
    if a <= b:
        assert read(clock(a)) <= read(clock(b))


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (caption("A person enters."), "01:05.2  +  A person enters."),
        (caption("A room.", kind=CaptionKind.FULL, end=1.2), "00:01.2  =  A room."),
        (caption("In one minute: nothing.", kind=CaptionKind.SUMMARY), "01:05.2  Σ  In one minute: nothing."),
        (caption("A pers", status=CaptionStatus.OPEN), "01:05.2  ~  A pers"),
        (caption("A person", status=CaptionStatus.UPDATE), "01:05.2  ~  A person"),
        (caption("A dog.", status=CaptionStatus.RETRACTED), "01:05.2  x  A dog."),
        (EVENT, None),
        (GAP, "01:15.0  #  not watched from 00:10.0: the camera was away"),
        (status(StreamState.CONNECTING), None),
        (status(StreamState.LIVE, "connected", "640×360"), None),
        (status(StreamState.ENDED, "end", "9 frames"), None),
        (unchanged_message("s", since=1, t=9, at=AT), None),
    ],
)
def test_a_message_is_a_line_for_a_person(message: Message, line: str | None) -> None:
    found = line_of(message, events=False)
    assert (found.plain if found else None) == line


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (StreamState.DEGRADED, "damage"), (StreamState.FAILED, "source"), (StreamState.RECONNECTING, "lost"),
        (StreamState.STALLED, ""), (StreamState.LIVE, "resolution"), (StreamState.LIVE, "discontinuity"),
    ],
)  # fmt: skip
def test_trouble_is_shown(state: StreamState, reason: str) -> None:
    line = line_of(status(state, reason, "what it is"), events=False)
    assert line is not None
    assert "#" in line.plain
    assert state.value in line.plain
    assert "what it is" in line.plain


def test_events_are_shown_where_they_are_asked_for() -> None:
    line = line_of(EVENT, events=True)
    assert line is not None
    assert line.plain.startswith("00:02.5  !  A person enters.")


async def test_text_in_a_pipe_has_no_colours_and_is_not_broken_into_lines() -> None:
    long = "A person " + "walks and walks " * 30 + "on."
    text = await written(Format.TEXT, [caption(long), caption("[bold]x[/] [link=y]z", id="c2")])
    lines = text.splitlines()
    assert lines == [f"01:05.2  +  {long}", "01:05.2  +  [bold]x[/] [link=y]z"]


async def test_jsonl_holds_the_durable_messages_numbered() -> None:
    messages: list[PublishableMessage] = [
        status(StreamState.LIVE),
        caption("A", status=CaptionStatus.OPEN),
        caption("A person enters."),
        unchanged_message("s", since=1, t=9, at=AT),
        EVENT,
        GAP,
    ]
    lines = (await written(Format.JSONL, messages)).splitlines()
    read = [decode(line) for line in lines]
    assert [m.type for m in read] == ["status", "caption", "event", "gap"]
    assert [m.seq for m in read if isinstance(m, DurableMessage)] == [1, 2, 3, 4]
    assert [m.prev for m in read if isinstance(m, DurableMessage)] == [0, 1, 2, 3]


@pytest.mark.parametrize("form", [Format.VTT, Format.SRT])
async def test_subtitles_hold_final_captions_without_summaries(form: Format) -> None:
    messages: list[PublishableMessage] = [
        status(StreamState.LIVE),
        caption("A dr", status=CaptionStatus.OPEN, end=1.0),
        caption("A draft no more.", end=2.0),
        EVENT,
        caption("Second.", id="c2", end=4.0),
        caption("In one minute: all this.", id="c3", kind=CaptionKind.SUMMARY, end=9.0),
    ]
    text = await written(form, messages)
    assert text.count("-->") == 2
    assert "A draft no more." in text
    assert "Second." in text
    assert "all this" not in text


@pytest.mark.parametrize("form", list(Format))
async def test_an_empty_file_is_a_file_of_its_format(form: Format) -> None:
    text = await written(form, [status(StreamState.CONNECTING), status(StreamState.LIVE)])
    assert text == ("WEBVTT\n\n" if form is Format.VTT else "") or form is Format.JSONL


@pytest.mark.parametrize("form", list(Format))
async def test_nothing_is_written_before_the_source_is_open(form: Format) -> None:
    assert await written(form, [status(StreamState.CONNECTING)]) == ""


@pytest.mark.parametrize("form", list(Format))
async def test_each_line_is_out_as_soon_as_it_is_written(form: Format) -> None:
    class Counting(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed = len(self.getvalue())

    out = Counting()
    feed = FileFeed(lambda: writer_for(form, out, events=False))
    for number in range(1, 4):
        await feed.publish("s", caption(f"Number {number}.", id=f"c{number}", end=float(number)))
        assert out.flushed == len(out.getvalue())
    assert "Number 2." in out.getvalue()
    assert feed.captions == 3
