"""Where the bars of a clip's time line lie: truth above, captions below, in units of an SVG of fixed width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.captioning.scoring import Judged, Statement, TruthEvent

__all__ = ["Bar", "Timeline", "timeline"]

WIDTH = 1160.0
LANE = 19.0  # height of a row with its gap
LETTER = 6.1  # width of a letter of the labels
LEAST = 5.0  # narrowest bar
LABEL = 26  # letters of a caption that its bar shows
AXIS = 18.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A span of time with its label.

    Attributes:
        state: found, missed, quiet (not salient, told), unsaid (not salient, not told), good, bad, plain.
        title: shown when the pointer rests on it.
        link: id of the card that it leads to.
        label_x: where its label begins.
    """

    x: float
    y: float
    width: float
    label: str
    state: str
    title: str
    link: str
    label_x: float = 0.0


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of a clip's bars.

    Attributes:
        ticks: place and text of each.
        still: place and width of spans in which nothing happens.
        axis: height at which the ticks are written.
    """

    width: float
    height: float
    axis: float
    ticks: list[tuple[float, str]]
    still: list[tuple[float, float]]
    bars: list[Bar]


def timeline(judged: Judged, key: str) -> Timeline:
    """Lay out a clip.

    Args:
        key: what the ids of its cards begin with: ``KEY-3`` for the third caption, ``KEY-e3`` for a missed event.
    """
    duration = max(judged.truth["duration"], *(s.end for s in judged.statements), 0.1)
    scale = WIDTH / duration
    truth, depth = _packed([_event_bar(e, n, judged, key, scale) for n, e in enumerate(judged.events)])
    axis = depth * LANE + 4
    told, more = _packed([_caption_bar(s, n, key, scale) for n, s in enumerate(judged.captions) if not s.summary])
    told = [replace(bar, y=bar.y + axis + AXIS) for bar in told]
    still = [(a * scale, (b - a) * scale) for a, b in judged.truth["static_spans"]]
    return Timeline(WIDTH, axis + AXIS + more * LANE + 2, axis, _ticks(duration, scale), still, [*truth, *told])


def _event_bar(event: TruthEvent, number: int, judged: Judged, key: str, scale: float) -> Bar:
    found = event.found_by is not None
    state = ("found" if found else "missed") if event.salient else ("quiet" if found else "unsaid")
    by = f"\ntold by: {judged.statements[event.found_by].text}" if event.found_by is not None else "\nnot told"
    title = f"{event.start:.1f}–{event.end:.1f} s  {event.text}{'' if event.salient else ' (need not be told)'}{by}"
    if event.salient and not found:
        link = f"{key}-e{number}"
    else:
        told = [(abs(s.end - event.start), n) for n, s in enumerate(judged.captions) if not s.summary]
        nearest = min(told, default=(0.0, 0))[1]
        link = f"{key}-{nearest}"
    width = max(LEAST, (event.end - event.start) * scale)
    label = f"{'✗ ' if state == 'missed' else ''}{event.who} {event.what.replace('_', ' ')}"
    return Bar(event.start * scale, 0.0, width, label, state, title, link)


def _caption_bar(said: Statement, number: int, key: str, scale: float) -> Bar:
    state = "bad" if said.wrong else "good" if said.judged else "plain"
    wrong = f"\nfalse: {said.fault}" if said.wrong else ""
    text = said.text if len(said.text) <= LABEL else said.text[: LABEL - 1].rstrip() + "…"
    label = f"{'✗ ' if said.wrong else ''}{text}"
    width = max(LEAST, (said.end - said.start) * scale)
    title = f"{said.start:.1f}–{said.end:.1f} s  {said.text}{wrong}"
    return Bar(said.start * scale, 0.0, width, label, state, title, f"{key}-{number}")


def _packed(bars: Sequence[Bar]) -> tuple[list[Bar], int]:
    """Bars in rows so that none runs into another's label; returns them with the number of rows."""
    ends: list[float] = []
    placed = []
    for bar in sorted(bars, key=lambda b: b.x):
        letters = LETTER * len(bar.label) + 6
        inside = letters <= bar.width
        room = bar.width if inside else bar.width + letters
        x = min(bar.x, WIDTH - bar.width)
        before = not inside and x + room > WIDTH  # no room behind it: its label stands before it
        start = x - letters if before else x
        row = next((n for n, end in enumerate(ends) if end <= start), len(ends))
        ends[row : row + 1] = [start + room + 4]
        placed.append(replace(bar, x=x, y=row * LANE, label_x=start + 4 if inside or before else x + bar.width + 3))
    return placed, max(1, len(ends))


def _ticks(duration: float, scale: float) -> list[tuple[float, str]]:
    step = next(s for s in (0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 3600, math.inf) if duration / s <= 16)
    return [(n * step * scale, f"{n * step:g}") for n in range(int(duration / step) + 1)] if step < math.inf else []
