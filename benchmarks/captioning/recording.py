"""What perception saw of a clip, kept so that everything after it can run again in a second.

A recording holds the observations, what the detector reported, and each frame as a small picture. ``record`` runs the
whole pipeline; ``tell`` runs the same pipeline with the recording in perception's place.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import pickle
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.cli.output import FileFeed, JsonlWriter
from streamcap.config import DEFAULT_FPS, StreamSettings
from streamcap.flow import SystemClock
from streamcap.memory import Memory
from streamcap.models.pool import Models, load_default
from streamcap.pipeline import Pipeline, Watcher
from streamcap.sources import SourceOptions, open_source
from streamcap.sources.base import Source
from streamcap.sources.session import Picture, Session
from streamcap.types import Detections, Fact, Frame, Notice, Observation, SourceInfo

__all__ = ["Recording", "captions_of", "code_key", "record_to", "tell"]

PACKAGE = Path(__file__).resolve().parents[2] / "streamcap"
# What comes after perception, or is no part of it: a change here leaves a recording good.
AFTER_PERCEPTION = (
    *("language", "captioners", "cli", "server", "hub", "journal", "wire", "sources"),
    *("calibration.py", "captions.py", "pipeline.py", "manager.py", "client.py", "runs.py", "scan.py", "tokens.py"),
    *(
        "saliency.py",
        "shedding.py",
        "standing.py",
        "frames",
        "subtitles.py",
        "subtitles_live.py",
        "config.py",
        "memory.py",
        "metrics.py",
        "flow.py",
    ),
)
PICTURE_WIDTH = 400  # pixels; enough to see by whom a caption is meant
PICTURE_QUALITY = 62

Told = str  # protocol messages, one line of JSON each
Refit = Callable[[Observation], Observation]


@dataclass(frozen=True, slots=True)
class Recording:
    """One clip as perception saw it.

    Attributes:
        clip: file name.
        seconds: that watching took.
        aspect: width of the picture by its height.
        seen: one observation for each frame, in order of time.
        pictures: each frame as a JPEG, ``PICTURE_WIDTH`` pixels wide.
        detected: for each frame, label and score of everything that the detector reported, crop by crop.
        told: what the pipeline said of it, as JSON lines.
    """

    clip: str
    seconds: float
    aspect: float
    seen: tuple[Observation, ...]
    pictures: tuple[bytes, ...]
    detected: tuple[tuple[tuple[str, float], ...], ...]
    told: Told

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All facts, with the confidence that their rules gave."""
        return tuple(fact for seen in self.seen for fact in seen.facts)

    def at(self, t: float) -> int:
        """Number of the frame nearest to ``t`` (media seconds)."""
        times = [seen.pts for seen in self.seen]
        return int(np.argmin(np.abs(np.asarray(times) - t)))


class _Ears:
    """A detector that also writes down what it reports; thread safe."""

    def __init__(self, inner: Models) -> None:
        self._inner = inner.detector
        self._lock = threading.Lock()
        self._heard: list[tuple[str, float]] = []

    @property
    def labels(self) -> tuple[str, ...]:
        return self._inner.labels

    def detect(self, image: NDArray[np.uint8], *, threshold: float, deadline: float | None = None) -> Detections:
        found = self._inner.detect(image, threshold=threshold, deadline=deadline)
        pairs = zip(found.labels.tolist(), found.scores.tolist(), strict=True)
        with self._lock:
            self._heard += [(self.labels[label], round(score, 3)) for label, score in pairs]
        return found

    def take(self) -> tuple[tuple[str, float], ...]:
        """What was reported since the last call."""
        with self._lock:
            heard, self._heard = tuple(self._heard), []
        return heard


class _Recorder:
    """Perception that keeps what it told, and the picture it told it of."""

    def __init__(self, inner: Watcher, ears: _Ears) -> None:
        self._inner, self._ears = inner, ears
        self.seen: list[Observation] = []
        self.pictures: list[bytes] = []
        self.detected: list[tuple[tuple[str, float], ...]] = []

    @property
    def memory(self) -> Memory:
        return self._inner.memory

    @property
    def frugal(self) -> bool:
        return self._inner.frugal

    @frugal.setter
    def frugal(self, frugal: bool) -> None:
        self._inner.frugal = frugal

    def observe(self, frame: Frame, /) -> Observation:
        seen = self._inner.observe(frame)
        self.seen.append(replace(seen, key_frame=None))
        self.pictures.append(_small(frame.image))
        self.detected.append(self._ears.take())
        return seen

    def remember(self, feature: NDArray[np.float32], /) -> None:
        self._inner.remember(feature)

    def forget(self) -> None:
        self._inner.forget()


class _Replay:
    """A recording in perception's place."""

    def __init__(self, seen: Sequence[Observation], refit: Refit) -> None:
        self._seen = iter(seen)
        self._refit = refit
        self.frugal = False

    @property
    def memory(self) -> Memory:
        return Memory()

    def observe(self, frame: Frame, /) -> Observation:
        return replace(self._refit(next(self._seen)), captured_at=frame.captured_at)

    def remember(self, feature: NDArray[np.float32], /) -> None:
        """Nothing is encoded."""

    def forget(self) -> None:
        """Nothing is encoded."""


class _Blank(Session):
    """Pictures without content at the times of a recording."""

    def __init__(self, recording: Recording) -> None:
        self._times = [seen.pts for seen in recording.seen]
        width = 16
        self._image = np.zeros((max(1, round(width / recording.aspect)), width, 3), np.uint8)
        self.info = SourceInfo(recording.clip, False, width, self._image.shape[0], 0.0, None)

    def pictures(self) -> Generator[Picture, None, None]:
        size = (self._image.shape[1], self._image.shape[0])
        for t in self._times:
            yield Picture(t, size, lambda: self._image)


class _BlankSource(Source):
    def __init__(self, recording: Recording, on_notice: Callable[[Notice], None]) -> None:
        # Every one of its frames was wanted before: none is left out for coming too soon.
        super().__init__(recording.clip, SourceOptions(stream="quality", fps=1000.0, on_notice=on_notice))
        self._recording = recording

    def _connect(self, *, first: bool) -> Session:
        return _Blank(self._recording)


class _Blind:
    """A detector that finds nothing; a pipeline wants one, and a replay has no pictures."""

    labels: tuple[str, ...] = ()

    def detect(self, image: NDArray[np.uint8], *, threshold: float, deadline: float | None = None) -> Detections:
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))


def record_to(clip: Path, folder: Path) -> Path:
    """Watch a clip as ``streamcap caption`` does and write its recording; returns where it lies.

    For a process of its own: loads the models.

    Raises:
        StreamcapError: the clip or the weights cannot be read.
    """
    began = time.perf_counter()
    with load_default() as models:
        ears = _Ears(models)
        listening = replace(models, detector=ears)
        recorders: list[_Recorder] = []

        def keep(inner: Watcher) -> Watcher:
            recorders.append(_Recorder(inner, ears))
            return recorders[0]

        settings = StreamSettings(id="quality", source=str(clip))
        out = io.StringIO()
        pipeline = Pipeline(
            settings,
            lambda notify: open_source(str(clip), SourceOptions(stream=settings.id, fps=DEFAULT_FPS, on_notice=notify)),
            listening,
            FileFeed(lambda: JsonlWriter(out)),
            SystemClock(),
            perception=keep,
        )
        asyncio.run(pipeline.run())
        info = pipeline.source.info
    made = recorders[0]
    recording = Recording(
        clip.name,
        round(time.perf_counter() - began, 2),
        info.width / info.height,
        tuple(made.seen),
        tuple(made.pictures),
        tuple(made.detected),
        out.getvalue(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{clip.name}.pickle"
    half = path.with_suffix(".part")
    half.write_bytes(pickle.dumps(recording))
    half.replace(path)
    return path


def tell(recording: Recording, refit: Refit = lambda seen: seen) -> Told:
    """Run everything after perception over a recording.

    Args:
        refit: changes each observation before it is told; called once for each, in order.

    Returns:
        JSON lines of the protocol.
    """
    out = io.StringIO()
    with ThreadPoolExecutor(1, "streamcap-replay") as workers:
        pipeline = Pipeline(
            StreamSettings(id="quality", source=recording.clip),
            lambda notify: _BlankSource(recording, notify),
            Models(_Blind(), None, workers),
            FileFeed(lambda: JsonlWriter(out)),
            SystemClock(),
            perception=lambda _: _Replay(recording.seen, refit),
        )
        asyncio.run(pipeline.run())
    return out.getvalue()


def captions_of(
    recordings: Sequence[Recording], folder: Path, refit: Callable[[Recording], Refit] | None = None
) -> None:
    """Write what is told of each recording as ``CLIP.jsonl``: as it was told before, where nothing is changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for recording in recordings:
        told = recording.told if refit is None else tell(recording, refit(recording))
        (folder / f"{recording.clip}.jsonl").write_text(told, "utf-8")


def code_key() -> str:
    """Short hash of the code that makes observations; a recording made by other code is of no use."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        if inside.parts[0] not in AFTER_PERCEPTION:
            digest.update(str(inside).encode() + path.read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:16]


def _small(image: NDArray[np.uint8]) -> bytes:
    height, width = image.shape[:2]
    size = (PICTURE_WIDTH, max(1, round(height * PICTURE_WIDTH / width)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY))
    return jpeg.tobytes()
