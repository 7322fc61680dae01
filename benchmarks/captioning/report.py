"""One page that shows how good the captions are: opened in a browser, it asks nobody for anything."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.captioning.causes import MEANING, Case, Cause
from benchmarks.captioning.goals import GOALS
from benchmarks.captioning.recording import Recording
from benchmarks.captioning.reliability import Reliability
from benchmarks.captioning.scoring import Judged, Statement
from benchmarks.captioning.spread import Ablation, Rung
from benchmarks.captioning.timeline import Timeline, timeline
from streamcap.types import Box

__all__ = ["ClipResult", "Evaluation", "reliability_svg", "render"]

WORST = 10
# Frames that a caption is shown with, and the least seconds between two.
FRAMES_EACH, FRAMES_APART_S = 2, 0.5


@dataclass(frozen=True, slots=True)
class ClipResult:
    """Everything that is known of one clip."""

    recording: Recording
    judged: Judged
    figures: dict[str, Any]
    missed: list[Case]
    false: list[Case]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that the page shows.

    Attributes:
        overall: pooled figures of the scorer.
        before: stored result of an earlier run (its ``figures``), empty where there is none.
        stated, fitted: reliability of the rules' own confidence, and of the calibration that was fitted without the
            clip it is asked about.
        table: rows of the calibration: kind, offset, facts.
        spread: pooled figures without each clip.
        heading: machine, date and commit.
    """

    clips: list[ClipResult]
    overall: dict[str, Any]
    before: dict[str, Any]
    floor: dict[str, float]
    stated: Reliability
    fitted: Reliability
    table: list[tuple[str, float, int]]
    ladder: list[Rung]
    ablations: list[Ablation]
    spread: dict[str, dict[str, Any]]
    heading: str


@dataclass(frozen=True, slots=True)
class _BoxView:
    """A box in pixels of the picture, and whose it is."""

    x: float
    y: float
    width: float
    height: float
    name: str
    meant: bool


@dataclass(frozen=True, slots=True)
class _FrameView:
    key: str
    t: float
    width: int
    height: int
    boxes: list[_BoxView]


@dataclass(slots=True)
class _Pictures:
    """Each picture is in the page once, however often it is shown."""

    data: dict[str, str] = field(default_factory=dict)

    def view(self, recording: Recording, t: float, meant: frozenset[int]) -> _FrameView:
        index = recording.at(t)
        key = f"p{recording.clip}-{index}".replace(".", "-")
        self.data.setdefault(key, base64.b64encode(recording.pictures[index]).decode("ascii"))
        width, height = 400, round(400 / recording.aspect)
        boxes = [
            _BoxView(*_pixels(i.box, width, height), f"{i.label} {i.id}", i.id in meant)
            for i in recording.seen[index].instances
            if i.visible or i.id in meant
        ]
        return _FrameView(key, recording.seen[index].pts, width, height, sorted(boxes, key=lambda b: b.meant))


def _pixels(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (min(1.0, max(0.0, v)) for v in box)
    return round(x0 * width, 1), round(y0 * height, 1), round((x1 - x0) * width, 1), round((y1 - y0) * height, 1)


@dataclass(frozen=True, slots=True)
class _Card:
    """A caption or a missed event with its pictures."""

    key: str
    t: float
    state: str  # good, bad, plain, missed
    head: str
    text: str
    notes: list[str]
    frames: list[_FrameView]


@dataclass(frozen=True, slots=True)
class _ClipView:
    name: str
    key: str
    figures: dict[str, Any]
    before: dict[str, Any] | None
    line: Timeline
    cards: list[_Card]


@dataclass(frozen=True, slots=True)
class _Worst:
    clip: str
    sort: str
    confidence: float
    said: Statement
    why: str
    frames: list[_FrameView]


def render(found: Evaluation) -> str:
    """The page, complete in itself."""
    pictures = _Pictures()
    stored = found.before.get("clips", {})
    views = [_clip_view(clip, stored.get(clip.recording.clip), pictures) for clip in found.clips]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            found=found,
            goals=GOALS,
            stored=found.before.get("overall", {}),
            clips=views,
            worst=_worst(found.clips, pictures),
            causes=_causes(found.clips),
            cases=[case for clip in found.clips for case in (*clip.missed, *clip.false)],
            plot=_plot(found.stated, found.fitted),
            pictures=pictures.data,
        )
    )


def reliability_svg(stated: Reliability, fitted: Reliability) -> str:
    """The reliability plot as a file of its own, for the documentation."""
    return _environment().get_template("reliability.svg.j2").render(plot=_plot(stated, fitted), alone=True)


def _environment() -> Environment:
    folder = FileSystemLoader(Path(__file__).parent / "page")
    made = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["figure"] = lambda value, form=".2f": "–" if value is None else format(value, form)
    made.filters["short"] = lambda name: Path(name).stem.replace("_", " ")
    return made


def _clip_view(clip: ClipResult, before: dict[str, Any] | None, pictures: _Pictures) -> _ClipView:
    name = clip.recording.clip
    key = Path(name).stem
    why_missed = {(case.t, case.text): case for case in clip.missed}
    cards = [_caption_card(f"{key}-{n}", said, clip, pictures) for n, said in enumerate(clip.judged.captions)]
    for n, event in enumerate(clip.judged.events):
        if event.found_by is None and event.salient:
            case = why_missed.get((event.start, f"{event.who} {event.what}"))
            notes = [f"{case.cause}: {case.why}"] if case else []
            frame = pictures.view(clip.recording, (event.start + event.end) / 2, frozenset())
            cards.append(_Card(f"{key}-e{n}", event.start, "missed", "missed", event.text, notes, [frame]))
    cards.sort(key=lambda card: card.t)
    return _ClipView(name, key, clip.figures, before, timeline(clip.judged, key), cards)


def _caption_card(key: str, said: Statement, clip: ClipResult, pictures: _Pictures) -> _Card:
    notes = [
        f"{'✓' if true else '✗'} {'/'.join(sorted(who)) or 'anything'} {action}" for who, action, true in said.claims
    ]
    notes += [f"✗ invented: {label}" for label in said.invented]
    notes += [f"tells: {clip.judged.events[i].who} {clip.judged.events[i].what}" for i in said.finds]
    state = "bad" if said.wrong else "good" if said.judged else "plain"
    head = f"{said.message['kind']}, {said.start:.1f}–{said.end:.1f} s"
    return _Card(key, said.end, state, head, said.text, notes, _frames(said, clip.recording, pictures))


def _frames(said: Statement, recording: Recording, pictures: _Pictures) -> list[_FrameView]:
    """The frames that a message gives as evidence, the newest first chosen, in order of time."""
    times = sorted({e["t"] for e in said.message.get("evidence", ())} or {said.end}, reverse=True)
    chosen: list[float] = []
    for t in times:
        if len(chosen) < FRAMES_EACH and all(abs(t - other) >= FRAMES_APART_S for other in chosen):
            chosen.append(t)
    meant = frozenset(i["id"] for i in said.message.get("instances", ()))
    return [pictures.view(recording, t, meant) for t in sorted(chosen)]


def _worst(clips: Sequence[ClipResult], pictures: _Pictures) -> list[_Worst]:
    """Inventions, then what is false, then what tells no event; of each the most confident first, each fault once."""
    rows: dict[tuple[str, str, int], tuple[int, float, ClipResult, Statement]] = {}
    for clip in clips:
        for said in clip.judged.statements:
            rank = 0 if said.invented else 1 if said.wrong else 2 if _tells_nothing(said, clip.judged) else 3
            key = (clip.recording.clip, said.fault, round(said.end))  # an event's message and its caption are one fault
            if rank < 3 and (key not in rows or rank < rows[key][0]):
                rows[key] = (rank, _confidence(said, clip.recording), clip, said)
    chosen = sorted(rows.values(), key=lambda row: (row[0], -row[1]))[:WORST]
    sorts = ("invented", "false", "tells no event")
    made = []
    for rank, confidence, clip, said in chosen:
        why = next((c.why for c in clip.false if c.text == said.text), "true, and nothing that was noted")
        frames = _frames(said, clip.recording, pictures)
        made.append(_Worst(clip.recording.clip, sorts[rank], confidence, said, why, frames))
    return made


def _tells_nothing(said: Statement, judged: Judged) -> bool:
    """It is true, and neither it nor another message of its time and actions tells an event."""
    if not said.judged or said.summary:
        return False
    actions = {action for _, action, _ in said.claims}
    return not any(
        other.finds and actions & {action for _, action, _ in other.claims}
        for other in judged.statements
        if other.end >= said.start and other.start <= said.end
    )


def _confidence(said: Statement, recording: Recording) -> float:
    """Of the surest fact that a message speaks of."""
    meant = {i["id"] for i in said.message.get("instances", ())}
    near = [f for f in recording.facts if f.start >= said.start - 0.5 and f.end <= said.end + 0.5]
    return max((f.confidence for f in near if not meant or meant & set(f.who) or not f.who), default=0.0)


def _causes(clips: Sequence[ClipResult]) -> list[dict[str, Any]]:
    missed = Counter(case.cause for clip in clips for case in clip.missed)
    false = Counter(case.cause for clip in clips for case in clip.false)
    return [
        {
            "cause": cause,
            "meaning": MEANING[cause],
            "missed": missed[cause],
            "missed_share": missed[cause] / max(1, missed.total()),
            "false": false[cause],
            "false_share": false[cause] / max(1, false.total()),
        }
        for cause in Cause
        if missed[cause] or false[cause]
    ]


def _plot(stated: Reliability, fitted: Reliability) -> dict[str, Any]:
    """Places in a square of 300 units, (0, 0) at the top left."""
    series = []
    for name, found in (("stated", stated), ("fitted", fitted)):
        points = [
            {
                "x": round(300 * b.confidence, 1),
                "y": round(300 * (1 - b.true), 1),
                "r": round(3 + 1.1 * math.sqrt(b.count), 1),
                "bin": b,
            }
            for b in found.bins
        ]
        series.append({"name": name, "found": found, "points": points})
    return {"series": series}
