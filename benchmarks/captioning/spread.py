"""What rests on one clip: figures with each clip left out, and with each kind of fact left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.captioning.recording import Recording, captions_of
from benchmarks.captioning.scoring import Clips
from benchmarks.captioning.substitution import with_true_facts, with_true_labels, without

__all__ = ["Ablation", "Rung", "ablations", "ladder", "leave_one_out"]


def leave_one_out(clips: Clips, told: Path) -> dict[str, dict[str, Any]]:
    """Pooled figures without each clip in turn, by the clip left out; none where there is only one."""
    names = list(clips.truth)
    return {
        left: Clips(clips.folder, {k: v for k, v in clips.truth.items() if k != left}).score(told)["overall"]
        for left in (names if len(names) > 1 else ())
    }


@dataclass(frozen=True, slots=True)
class Ablation:
    """What happens without one kind of fact.

    Attributes:
        clips: that have such facts.
        needed_by: clips that find fewer salient events without it.
        gained: salient events that it finds, over all clips.
        false: false statements that go when it goes (negative: that come).
    """

    what: str
    clips: tuple[str, ...]
    needed_by: tuple[str, ...]
    gained: int
    false: int


def ablations(clips: Clips, recordings: Sequence[Recording], scored: Mapping[str, Any], folder: Path) -> list[Ablation]:
    """Tell and score the clips again without each kind of fact in turn; perception is not run again.

    Args:
        scored: the scorer's answer with all facts.
        folder: for what is told.
    """
    kinds = sorted({fact.what for recording in recordings for fact in recording.facts})
    made = []
    for what in kinds:
        having = [r for r in recordings if any(fact.what == what for fact in r.facts)]
        captions_of(having, folder / what, lambda _, what=what: without(what))  # type: ignore[misc]
        part = Clips(clips.folder, {r.clip: clips.truth[r.clip] for r in having}).score(folder / what)["clips"]
        lost = {r.clip: _hits(scored, r.clip, "salient") - part[r.clip]["counts"]["salient"][0] for r in having}
        gone = sum(_false(scored["clips"][r.clip]) - _false(part[r.clip]) for r in having)
        needed = tuple(clip for clip, count in lost.items() if count > 0)
        made.append(Ablation(what, tuple(r.clip for r in having), needed, sum(lost.values()), gone))
    return made


def _hits(scored: Mapping[str, Any], clip: str, pair: str) -> int:
    return int(scored["clips"][clip]["counts"][pair][0])


def _false(clip: Mapping[str, Any]) -> int:
    right, of = clip["counts"]["true"]
    return int(of - right)


@dataclass(frozen=True, slots=True)
class Rung:
    """Pooled figures with the truth in some sense's place."""

    what: str
    overall: dict[str, Any]
    clips: dict[str, Any]


def ladder(clips: Clips, recordings: Sequence[Recording], scored: Mapping[str, Any], folder: Path) -> list[Rung]:
    """As it is; with true labels; with true facts, where all that is missed is missed by language alone."""
    captions_of(recordings, folder / "labels", lambda r: with_true_labels(clips.truth[r.clip]))
    captions_of(recordings, folder / "facts", lambda r: with_true_facts(clips.truth[r.clip], r))
    rungs = [Rung("as it is", scored["overall"], scored["clips"])]
    for name, what in (("labels", "with true labels"), ("facts", "with true facts")):
        found = clips.score(folder / name)
        rungs.append(Rung(what, found["overall"], found["clips"]))
    return rungs
