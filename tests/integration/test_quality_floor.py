"""Captions of the reference clips are no worse than the stored floor, and the page that shows them is whole."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.captioning.evaluation import evaluate, recordings
from benchmarks.captioning.goals import below, read_floor
from benchmarks.captioning.recording import Recording, tell
from benchmarks.captioning.report import Evaluation, render
from benchmarks.captioning.scoring import Clips
from tests.prerequisites import need

pytestmark = pytest.mark.quality

# Of a message: when it was sent, which differs from run to run.
FLEETING = ("at", "captured_at", "emitted_at", "age_ms", "waited_ms", "detail")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, list[Recording]]:
    for name in ("clips", "scorer", "weights"):
        need(name)
    clips = Clips.load(None)
    found = recordings(clips, jobs=os.cpu_count() or 1, cache=tmp_path_factory.mktemp("recordings"))
    return evaluate(clips, found, tmp_path_factory.mktemp("told"))[0], found


def test_no_figure_is_below_its_floor(watched: tuple[Evaluation, list[Recording]]) -> None:
    floor = read_floor()
    assert floor, "benchmarks/results/quality_floor.json is not there: make quality ARGS=--raise-floor"
    assert below(watched[0].overall, floor) == []


def test_a_recording_told_again_says_the_same(watched: tuple[Evaluation, list[Recording]]) -> None:
    recording = min(watched[1], key=lambda r: len(r.seen))
    assert _lasting(tell(recording)) == _lasting(recording.told)


def _lasting(told: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in json.loads(line).items() if k not in FLEETING} for line in told.splitlines()]


def test_every_missed_event_and_false_statement_has_a_cause(watched: tuple[Evaluation, list[Recording]]) -> None:
    for clip in watched[0].clips:
        assert len(clip.missed) == sum(e.salient and e.found_by is None for e in clip.judged.events)
        assert len(clip.false) == sum(s.wrong for s in clip.judged.statements)
        told = sum(event.found_by is not None for event in clip.judged.events if event.salient)
        assert told == clip.figures["counts"]["salient"][0]


def test_the_truth_in_place_of_perception_makes_hardly_anything_false(
    watched: tuple[Evaluation, list[Recording]],
) -> None:
    now, _, perfect = (rung.overall for rung in watched[0].ladder)
    assert perfect["salient_recall"] > now["salient_recall"]
    assert perfect["precision"] >= 0.95  # one phrase may name two actions: "eats or drinks"
    assert perfect["hallucinations_per_min"] == 0


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                assert value not in self.ids, f"{value} twice"
                self.ids.add(value or "")
            if name in ("href", "src"):
                self.links.add(value or "")


def test_the_page_asks_nobody_for_anything_and_its_links_lead_somewhere(
    watched: tuple[Evaluation, list[Recording]], tmp_path: Path
) -> None:
    text = render(watched[0])
    page = _Page()
    page.feed(text)
    within = {link[1:] for link in page.links if link.startswith("#")}
    assert within <= page.ids
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in page.links)
    assert not re.search(r"https?://|url\(|@import", text)
    assert "script" not in page.tags
    for clip in watched[0].clips:
        assert f'id="{Path(clip.recording.clip).stem}"' in text
