"""Clips in, everything that is known of the quality of their captions out."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.captioning import reliability
from benchmarks.captioning.causes import false_statements, missed_events
from benchmarks.captioning.goals import read_floor
from benchmarks.captioning.recording import Recording, captions_of, code_key, record_to, tell
from benchmarks.captioning.report import ClipResult, Evaluation
from benchmarks.captioning.scoring import Clips, judge
from benchmarks.captioning.spread import ablations, ladder, leave_one_out
from benchmarks.common import RESULTS, CannotRun, progress
from benchmarks.machine import Machine, describe_machine
from streamcap.calibration import Table
from streamcap.errors import StreamcapError

__all__ = ["CACHE", "STORED", "evaluate", "recordings", "refit"]

ROOT = Path(__file__).resolve().parents[2]
# Under build/, which git ignores.
CACHE = ROOT / "build" / "quality" / "recordings"
STORED = RESULTS / "quality.json"


def recordings(clips: Clips, *, jobs: int, reuse: bool = False, cache: Path = CACHE) -> list[Recording]:
    """Watch every clip, each in a process that loads the models once for it.

    Args:
        jobs: clips at a time.
        reuse: take what the same perception code saw before; all that comes after perception runs anew.
        cache: where recordings are kept; those of other code are removed.

    Raises:
        CannotRun: a clip could not be watched.
    """
    folder = cache / code_key()
    for other in cache.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    made: dict[str, Recording] = {}
    if reuse:
        made = {name: _retold(folder / f"{name}.pickle") for name in clips.truth if _kept(folder, name)}
    left = [name for name in clips.truth if name not in made]
    # Longest first, so that no processor is left with a long one at the end.
    left.sort(key=lambda name: -clips.truth[name]["duration"])
    spawn = multiprocessing.get_context("spawn")
    with progress("captioning", len(left)) as step, ProcessPoolExecutor(jobs, mp_context=spawn) as workers:
        running = {workers.submit(record_to, clips.folder / name, folder): name for name in left}
        for done in as_completed(running):
            try:
                made[running[done]] = _read(done.result())
            except StreamcapError as error:
                workers.shutdown(wait=False, cancel_futures=True)
                raise CannotRun(f"{running[done]}: {error}") from error
            step(running[done])
    return [made[name] for name in clips.truth]


def _kept(folder: Path, name: str) -> bool:
    return (folder / f"{name}.pickle").is_file()


def _read(path: Path) -> Recording:
    recording: Recording = pickle.loads(path.read_bytes())
    return recording


def _retold(path: Path) -> Recording:
    recording = _read(path)
    return replace(recording, told=tell(recording))


def evaluate(
    clips: Clips, found: Sequence[Recording], folder: Path, *, before: Path = STORED
) -> tuple[Evaluation, dict[str, Any]]:
    """Score and take apart what was recorded.

    Args:
        folder: for what is told; ``CLIP.jsonl`` of each clip stays there, and ``score.json``.
        before: result of an earlier run, to compare with; none, where it is not there.

    Returns:
        Everything for the page, and the scorer's whole answer.
    """
    captions_of(found, folder)
    scored = clips.score(folder)
    (folder / "score.json").write_text(json.dumps(scored, indent=1), "utf-8")
    results = []
    for recording in found:
        judged = judge(recording.clip, clips.truth[recording.clip], recording.told)
        missed, false = missed_events(recording, judged), false_statements(recording, judged)
        results.append(ClipResult(recording, judged, scored["clips"][recording.clip], missed, false))
    judged_facts = [s for recording in found for s in reliability.samples(recording, clips.truth[recording.clip])]
    table = reliability.fit(judged_facts)
    held_out = zip(reliability.held_out(judged_facts), (s.true for s in judged_facts), strict=True)
    evaluation = Evaluation(
        results,
        scored["overall"],
        _stored(before),
        read_floor(),
        reliability.reliability([(s.confidence, s.true) for s in judged_facts]),
        reliability.reliability(list(held_out)),
        [(what, offset, table.counts[what]) for what, offset in sorted(table.offsets.items())],
        ladder(clips, found, scored, folder / "truth"),
        ablations(clips, found, scored, folder / "without"),
        leave_one_out(clips, folder),
        _heading(describe_machine()),
    )
    return evaluation, scored


def _heading(machine: Machine) -> str:
    """Without the processor: no figure on the page is a time that it took."""
    return f"{machine.date[:16].replace('T', ' ')} UTC" + (f", commit {machine.commit}" if machine.commit else "")


def _stored(path: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(path.read_text("utf-8"))["figures"] if path.is_file() else {}
    return figures


def refit(clips: Clips, found: Sequence[Recording]) -> Table:
    """The calibration that these clips warrant."""
    return reliability.fit(
        [s for recording in found for s in reliability.samples(recording, clips.truth[recording.clip])]
    )
