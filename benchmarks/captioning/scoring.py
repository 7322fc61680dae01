"""Clips, truth and the scorer, which lie beside the checkout, and what the scorer makes of each statement."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.common import SHARED, CannotRun
from streamcap.types import Fact, Instance

__all__ = ["AFTER_S", "BEFORE_S", "Clips", "Judged", "Statement", "TruthEvent", "fact_line", "judge", "scorer"]

CLIPS = SHARED / "clips"
SCORER = SHARED / "tools" / "score_captions.py"
# The scorer's own tolerance before and after an event, seconds.
BEFORE_S, AFTER_S = 2.0, 3.0

Truth = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Clips:
    """A folder of clips with their truth.

    Attributes:
        folder: holds the clips and ``truth.json``.
        truth: by file name.
    """

    folder: Path
    truth: dict[str, Truth]

    @classmethod
    def load(cls, folder: Path | None, only: tuple[str, ...] = ()) -> Clips:
        """Read a folder's truth.

        Args:
            folder: ``../shared/clips`` where left out.
            only: names of clips, or their beginnings; all, where empty.

        Raises:
            CannotRun: no truth, no scorer, or a clip is not there.
        """
        folder = folder or CLIPS
        missing = [path for path in (folder / "truth.json", SCORER) if not path.is_file()]
        if missing:
            raise CannotRun(
                f"{', '.join(str(path) for path in missing)} not found; clips with their truth are looked for in "
                "../shared/clips beside the checkout (or --clips FOLDER), the scorer in ../shared/tools"
            )
        truth: dict[str, Truth] = json.loads((folder / "truth.json").read_text("utf-8"))
        names = [name for name in truth if not only or name.startswith(only)]
        absent = [name for name in names if not (folder / name).is_file()]
        if absent or not names:
            raise CannotRun(f"no such clip: {', '.join(absent or only)}; there are {', '.join(truth)}")
        return cls(folder, {name: truth[name] for name in names})

    def score(self, told: Path) -> dict[str, Any]:
        """What the scorer makes of the ``CLIP.jsonl`` in a folder."""
        found: dict[str, Any] = scorer().score(self.truth, told, BEFORE_S, AFTER_S)
        return found


@cache
def scorer() -> ModuleType:
    """The scorer as a module, from where it lies.

    Raises:
        CannotRun: it is not there.
    """
    spec = importlib.util.spec_from_file_location("score_captions", SCORER)
    if spec is None or spec.loader is None or not SCORER.is_file():
        raise CannotRun(f"{SCORER} not found")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class TruthEvent:
    """An event that was noted by hand, and whether it was told.

    Attributes:
        found_by: index of the line that told it, in its clip; None where it was missed.
        raw: as the truth has it.
    """

    start: float
    end: float
    what: str
    who: str
    salient: bool
    found_by: int | None
    raw: Truth

    @property
    def text(self) -> str:
        """For a person."""
        words = ", ".join(self.raw.get("attrs", ()))
        note = self.raw.get("note", "")
        return (
            f"{self.who} {self.what.replace('_', ' ')}"
            + (f" ({words})" if words else "")
            + (f": {note}" if note else "")
        )


@dataclass(slots=True)
class Statement:
    """One caption or event message, judged.

    Attributes:
        claims: (actors, action, true?) of each thing that it says.
        invented: labels it names that cannot be there.
        finds: indices of the truth events that it tells.
        message: the message as it was sent.
    """

    kind: str
    start: float
    end: float
    text: str
    claims: list[tuple[frozenset[str], str, bool]]
    invented: list[str]
    message: dict[str, Any]
    finds: list[int] = field(default_factory=list)

    @property
    def summary(self) -> bool:
        """It tells again what was told."""
        return bool(self.message.get("kind") == "summary")

    @property
    def judged(self) -> bool:
        """The scorer found something in it that can be true or false."""
        return bool(self.claims or self.invented)

    @property
    def fault(self) -> str:
        """What is wrong in it; all that it says, where nothing is."""
        false = [f"{'/'.join(sorted(who)) or 'anything'} {action}" for who, action, true in self.claims if not true]
        return ", ".join(sorted({*false, *self.invented})) or self.text

    @property
    def wrong(self) -> bool:
        """Something in it is false."""
        return bool(self.invented) or any(not true for _, _, true in self.claims)


@dataclass(slots=True)
class Judged:
    """A clip's messages against its truth."""

    clip: str
    truth: Truth
    events: list[TruthEvent]
    statements: list[Statement]

    @property
    def captions(self) -> list[Statement]:
        """Final captions."""
        return [s for s in self.statements if s.kind == "caption"]


def judge(clip: str, truth: Truth, told: str) -> Judged:
    """Judge every message, by the scorer's own functions.

    Args:
        told: JSON lines of the protocol.
    """
    rules = scorer()
    lines, messages = [], []
    labels: dict[str, str] = {}
    for raw in told.splitlines():
        message = json.loads(raw)
        if message["type"] == "event" or (message["type"] == "caption" and message["status"] == "final"):
            lines.append(rules.parse_line(message, labels))
            messages.append(message)
    number = {id(line): index for index, line in enumerate(lines)}
    found = {k: number[id(v)] for k, v in rules.match_events(truth["events"], lines, BEFORE_S, AFTER_S).items()}
    statements = [_statement(line, message, truth) for line, message in zip(lines, messages, strict=True)]
    for event, line in found.items():
        statements[line].finds.append(event)
    events = [
        TruthEvent(e["t0"], e["t1"], e["what"], e["who"], e["salient"], found.get(i), e)
        for i, e in enumerate(truth["events"])
    ]
    return Judged(clip, truth, events, statements)


def _statement(line: Any, message: dict[str, Any], truth: Truth) -> Statement:
    rules = scorer()
    claims = [(claim[0], claim[1], bool(rules.is_true(line, claim, truth, BEFORE_S, AFTER_S))) for claim in line.claims]
    return Statement(line.type, line.start, line.end, line.text, claims, _invented(line, truth), message)


def _invented(line: Any, truth: Truth) -> list[str]:
    """Labels and actions of the clip's ``never`` list that a line states, as the scorer counts them."""
    concepts, never = scorer().ALL_CONCEPTS, set(truth.get("never", ()))
    said = set(line.nouns)
    for _, name, _ in line.claims:
        said |= {action for action in concepts[name][1] if action == name or concepts[name][1] <= never}
    return sorted(never & said)


def fact_line(fact: Fact, instances: tuple[Instance, ...], text: str) -> Any:
    """A fact alone, as the scorer would read an event message about it."""
    known = {instance.id: instance for instance in instances}
    message = {
        "type": "event",
        "label": fact.what,
        "start": fact.start,
        "end": fact.end,
        "text": text,
        "instances": [{"id": key, "label": known[key].label} for key in fact.who if key in known],
    }
    return scorer().parse_line(message, {})
