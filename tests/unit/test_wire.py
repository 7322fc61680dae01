"""Protocol v1: shared vectors, round trips, nothing but WireError, the folding rule, and building from value types."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.errors import WireError
from streamcap.types import Caption, CaptionKind, CaptionStatus, Event, Instance, Skill
from streamcap.wire import (
    FRAME_MAX_BYTES,
    MESSAGE_MAX_BYTES,
    OPEN_MAX,
    CaptionMessage,
    CaughtUpMessage,
    ErrorMessage,
    EventMessage,
    Evidence,
    FeedState,
    GapMessage,
    HeartbeatMessage,
    HelloMessage,
    InstanceView,
    Message,
    Scene,
    Skills,
    SnapshotMessage,
    StatusMessage,
    StreamState,
    UnchangedMessage,
    caption_message,
    decode,
    encode,
    event_message,
    gap_message,
    instance_view,
    is_durable,
    numbered,
    seal,
    status_message,
    unchanged_message,
    wall_time,
)

VECTORS = Path(__file__).parent.parent / "vectors"


def vectors(name: str) -> list[Any]:
    loaded = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))["vectors"]
    return [pytest.param(vector, id=vector["name"]) for vector in loaded]


# The shared vectors


@pytest.mark.parametrize("vector", vectors("messages"))
def test_vectors_are_read_and_written_the_same(vector: dict[str, Any]) -> None:
    message = decode(json.dumps(vector["message"]))
    text = encode(message)
    assert json.loads(text) == vector["message"]
    assert "\n" not in text
    assert next(iter(json.loads(text))) == "type"
    assert decode(text.encode()) == message


def test_the_vectors_hold_every_type() -> None:
    types = {vector.values[0]["message"]["type"] for vector in vectors("messages")}
    assert types == {model.model_fields["type"].default for model in Message.__args__}


@pytest.mark.parametrize("vector", vectors("invalid"))
def test_invalid_vectors_are_refused(vector: dict[str, Any]) -> None:
    data = vector["text"] if "text" in vector else json.dumps(vector["message"])
    with pytest.raises(WireError) as refusal:
        decode(data)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("vector", vectors("fold"))
def test_fold_vectors(vector: dict[str, Any]) -> None:
    state = FeedState("cam", complete=vector["complete"])
    for message in vector["messages"]:
        state.apply(decode(json.dumps(message)))
    assert state.summary() == vector["state"]


# Properties

times = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
seconds = st.floats(0, 1e6)
shares = st.floats(0, 1)
streams = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
numbers = st.integers(1, 2**53 - 1)
texts = st.text(max_size=60)
common = {"stream": streams, "at": times}
views = st.builds(
    InstanceView,
    id=st.integers(0, 10**6),
    label=texts,
    box=st.tuples(shares, shares, shares, shares),
    attributes=st.lists(texts, max_size=3).map(tuple),
    state=texts,
)
some_views = st.lists(views, max_size=2).map(tuple)
maybe = st.none() | texts
captions = st.builds(
    CaptionMessage,
    **common,
    id=texts,
    rev=st.integers(0, 1000),
    status=st.sampled_from(CaptionStatus),
    kind=st.sampled_from(CaptionKind),
    start=seconds,
    end=seconds,
    text=texts,
    skills=st.builds(Skills, action=maybe, environment=maybe, appearance=maybe, camera=maybe),
    instances=some_views,
    saliency=shares,
    source=texts,
    evidence=st.lists(st.builds(Evidence, t=seconds, image=maybe), max_size=2).map(tuple),
    captured_at=times,
    emitted_at=times,
    age_ms=st.integers(0, 10**9),
    waited_ms=st.none() | st.integers(0, 10**9),
)
events = st.builds(
    EventMessage, **common, id=texts, label=texts, start=seconds, end=seconds, saliency=shares, instances=some_views
)
statuses = st.builds(StatusMessage, **common, state=st.sampled_from(StreamState), reason=texts, detail=texts)
gaps = st.builds(GapMessage, **common, start=seconds, end=seconds, reason=texts)


def commit(message: Any, seq: int) -> Any:
    return numbered(message, seq) if is_durable(message) else message


durables = st.builds(commit, captions | events | statuses | gaps, numbers)
finals = st.builds(commit, captions.map(lambda c: c.model_copy(update={"status": CaptionStatus.FINAL})), numbers)
drafts = captions.map(lambda c: c.model_copy(update={"status": CaptionStatus.UPDATE}))
messages = st.one_of(
    durables,
    st.builds(UnchangedMessage, **common, since=seconds, t=seconds),
    st.builds(HelloMessage, **common, epoch=texts, seq=numbers, earliest=numbers, heartbeat_s=st.floats(0.1, 100)),
    st.builds(HeartbeatMessage, **common, seq=numbers),
    st.builds(CaughtUpMessage, **common, seq=numbers),
    st.builds(ErrorMessage, stream=st.none() | streams, at=times, code=texts, message=texts),
    st.builds(
        SnapshotMessage,
        **common,
        seq=numbers,
        status=st.none() | st.builds(commit, statuses, numbers),
        scene=st.builds(Scene, summary=texts, instances=some_views, camera=texts),
        recent=st.lists(finals, max_size=2).map(tuple),
        open=st.lists(drafts, max_size=2).map(tuple),
    ),
)


@given(messages)
def test_what_is_encoded_comes_back(message: Message) -> None:
    text = encode(message)
    assert "\n" not in text and "null" not in json.dumps([v for v in json.loads(text).values() if v is None])
    assert decode(text) == message
    assert decode(text.encode()) == message


@given(st.binary(max_size=200) | st.text(st.characters(), max_size=200))
def test_anything_else_raises_wire_error_only(data: bytes | str) -> None:
    with pytest.raises(WireError):
        decode(data)


@given(messages, st.data())
def test_damaged_messages_raise_wire_error_only(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode(message).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        decode(bytes(raw))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(messages, st.data())
def test_wrong_values_raise_wire_error_only(message: Message, data: st.DataObject) -> None:
    fields = json.loads(encode(message))
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(json_values)
    with contextlib.suppress(WireError):
        decode(json.dumps(fields))


@pytest.mark.parametrize("data", ["\ud800", b"\xff", "[" * 100_000, '{"type":"heartbeat","seq":' + "1" * 5000 + "}"])
def test_odd_frames_are_refused(data: str | bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


def test_a_frame_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(WireError, match="larger"):
        decode(" " * (FRAME_MAX_BYTES + 1))


# Encoding


def draft(**changes: Any) -> Caption:
    given = {"id": "c1", "rev": 0, "status": CaptionStatus.OPEN, "kind": CaptionKind.DIFF, "start": 1.0, "end": 2.0}
    return Caption(**{**given, "text": "A man comes in.", "captured_at": 1000.0, **changes})


def test_numbers_are_checked_before_anything_is_sent() -> None:
    final = caption_message("cam", draft(status=CaptionStatus.FINAL), emitted_at=1000.1)
    with pytest.raises(WireError, match="no sequence number"):
        encode(final)
    assert decode(encode(numbered(final, 7))) == numbered(final, 7)
    assert (numbered(final, 7).seq, numbered(final, 7).prev) == (7, 6)
    opened = caption_message("cam", draft(), emitted_at=1000.1)
    with pytest.raises(WireError, match="draft"):
        numbered(opened, 7)
    with pytest.raises(WireError, match="draft"):
        encode(opened.model_copy(update={"seq": 7, "prev": 6}))


def test_text_that_utf8_cannot_carry_never_becomes_a_message() -> None:
    with pytest.raises(WireError, match="cannot be encoded"):
        encode(caption_message("cam", draft(text="\ud800"), emitted_at=1000.1))


def test_a_message_is_sealed_once_with_what_the_feed_needs_to_know() -> None:
    sealed = seal(status_message("cam", StreamState.LIVE, at=0.0, detail="ä", seq=3))
    assert (sealed.type, sealed.stream, sealed.seq) == ("status", "cam", 3)
    assert sealed.size == len(sealed.text.encode()) > len(sealed.text)
    assert seal(HeartbeatMessage(stream="cam", at=wall_time(0), seq=3)).seq is None


def test_a_message_that_is_too_large_is_not_sealed() -> None:
    with pytest.raises(WireError, match="larger"):
        seal(caption_message("cam", draft(text="x" * MESSAGE_MAX_BYTES), emitted_at=1000.1))


def test_the_largest_snapshot_fits_a_frame() -> None:
    room = MESSAGE_MAX_BYTES - 1_000
    final = caption_message("cam", draft(text="x" * room, status=CaptionStatus.FINAL), emitted_at=1001.0, seq=2**53 - 1)
    opened = caption_message("cam", draft(text="x" * room), emitted_at=1001.0)
    snapshot = SnapshotMessage(
        stream="cam", at=wall_time(1), seq=1, recent=(final,) * 20, open=(opened,) * OPEN_MAX, scene=Scene(summary="x")
    )
    assert len(encode(snapshot)) < FRAME_MAX_BYTES - MESSAGE_MAX_BYTES


# Building


def test_what_a_person_carries_is_told_where_it_is_known() -> None:
    man = Instance(3, "person", 0.9, (0, 0, 1, 1), (0, 0), 0.0, 2.0, carries=("backpack",))
    assert instance_view(man).carries == ("backpack",)
    assert instance_view(replace(man, carries=())).carries is None


def test_a_caption_becomes_a_message() -> None:
    man = Instance(3, "person", 0.9, (-0.1, 0.123456, 0.5, 1.2), (0, 0), 0.0, 2.0, ("red",), "standing")
    hidden = Instance(4, "dog", 0.9, (0, 0, 1, 1), (0, 0), 0.0, 2.0, posture="lying", visible=False)
    caption = draft(
        start=1.00049,
        end=2.0006,
        captured_at=1700000000.1234,
        skills={Skill.ACTION: "comes in"},
        instances=(man, hidden),
        evidence=(1.5,),
        saliency=0.77777,
    )
    message = caption_message("cam", caption, emitted_at=1700000000.4567)
    assert json.loads(encode(message)) == {
        "type": "caption",
        "stream": "cam",
        "at": "2023-11-14T22:13:20.457Z",
        "id": "c1",
        "rev": 0,
        "status": "open",
        "kind": "diff",
        "start": 1.0,
        "end": 2.001,
        "text": "A man comes in.",
        "skills": {"action": "comes in"},
        "instances": [
            {
                "id": 3,
                "label": "person",
                "box": [0, 0.1235, 0.5, 1],
                "attributes": ["red"],
                "state": "standing",
            },
            {"id": 4, "label": "dog", "box": [0, 0, 1, 1], "attributes": [], "state": "hidden"},
        ],
        "saliency": 0.7778,
        "source": "grounded",
        "evidence": [{"t": 1.5}],
        "captured_at": "2023-11-14T22:13:20.123Z",
        "emitted_at": "2023-11-14T22:13:20.457Z",
        "age_ms": 334,
        "waited_ms": 0,
    }


def test_an_age_is_never_negative() -> None:
    assert caption_message("cam", draft(captured_at=1000.5), emitted_at=1000.0).age_ms == 0


@given(st.floats(0, 4e9), st.floats(0, 1e5))
def test_an_age_is_the_difference_of_the_two_times_in_the_message(captured: float, age: float) -> None:
    message = caption_message("cam", draft(captured_at=captured), emitted_at=captured + age)
    assert message.emitted_at - message.captured_at == timedelta(milliseconds=message.age_ms)


@given(st.floats(0, 1e3), st.floats(0, 1e3))
def test_what_was_waited_is_a_part_of_the_age(age: float, waited: float) -> None:
    message = caption_message("cam", draft(captured_at=1000.0, waited=waited), emitted_at=1000.0 + age)
    assert message.waited_ms is not None
    assert 0 <= message.waited_ms <= message.age_ms
    assert message.waited_ms == min(message.age_ms, round(1e3 * waited))


def test_numbers_of_numpy_are_taken() -> None:
    box = tuple(np.asarray([0.1, 0.2, 0.3, 0.4], np.float32))
    view = instance_view(Instance(np.int32(5), "cat", 0.5, box, (0, 0), 0, 0))  # type: ignore[arg-type]
    assert view.box == (0.1, 0.2, 0.3, 0.4)
    late = caption_message("cam", draft(end=np.float32(2.5), saliency=np.float32(0.25)), emitted_at=1001.0)
    assert (late.end, late.saliency) == (2.5, 0.25)


def test_the_other_messages_are_built() -> None:
    event = event_message("cam", Event("e1", "enter", 1, 2, 0.5, "A man enters."), at=0.0015, seq=1)
    assert (event.seq, event.prev, event.rule, encode(event).count("1970-01-01T00:00:00.002Z")) == (1, 0, "builtin", 1)
    gap = gap_message("cam", start=3, end=4.5, at=1.0, reason="overload")
    assert (gap.start, gap.end, gap.reason, gap.seq) == (3.0, 4.5, "overload", None)
    still = unchanged_message("cam", since=1, t=2, at=1.0)
    assert (still.since, still.t, is_durable(still)) == (1.0, 2.0, False)
    assert [is_durable(caption_message("cam", draft(status=s), emitted_at=1001.0)) for s in CaptionStatus] == [
        *(False, False, True, True)
    ]


# The state of a stream


def test_drafts_that_nobody_finishes_cost_no_more_than_their_bound() -> None:
    state = FeedState("cam")
    for n in range(OPEN_MAX + 5):
        state.apply(caption_message("cam", draft(id=f"c{n:03}", start=float(n), end=float(n)), emitted_at=2000.0))
    assert sorted(state.open) == [f"c{n:03}" for n in range(5, OPEN_MAX + 5)]


def test_messages_of_another_stream_are_refused() -> None:
    with pytest.raises(ValueError, match="yard"):
        FeedState("cam").apply(HeartbeatMessage(stream="yard", at=wall_time(0), seq=1))


def test_what_changed_is_told() -> None:
    state = FeedState("cam", epoch="e", seq=4)
    late = status_message("cam", StreamState.LIVE, at=0.0, seq=4)
    following = status_message("cam", StreamState.LIVE, at=0.0, seq=5)
    beyond = status_message("cam", StreamState.LIVE, at=0.0, seq=8)
    assert not state.apply(late)
    assert state.missing_before(following) is None and state.apply(following)
    assert state.missing_before(beyond) == (6, 7)
    assert FeedState("cam", seq=5, complete=False).missing_before(beyond) is None
