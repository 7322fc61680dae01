"""The libraries that our tracker is compared with: where they live, what they may be set to, and running them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import CannotRun
from benchmarks.process import run
from benchmarks.tracking.scenes import Scene
from benchmarks.tracking.scores import Tracked

__all__ = ["LIBRARIES", "VENVS", "Library", "Settings", "follow_all", "install", "python_of", "versions"]

SCRIPT = Path(__file__).with_name("libraries.py")
# Beside the project's environment, not in it: norfair needs NumPy 1, the project NumPy 2.
VENVS = Path(tempfile.gettempdir()) / "streamcap-bench-venvs"
# Pixels of the frame that their filters are told: they expect pixels.
WIDTH, HEIGHT = 1280.0, 720.0
INSTALL_S = 900

Settings = dict[str, float]


@dataclass(frozen=True, slots=True)
class Library:
    """One tracker of a library.

    Attributes:
        key: as ``libraries.py`` calls it.
        venv: folder of its environment. requires: what is installed there. package: whose version counts.
        default: as its authors set it; norfair, which sets no distance, with a common one and a short start.
        choices: what may be better for these scenes; all combinations are tried.
    """

    key: str
    title: str
    venv: str
    requires: tuple[str, ...]
    package: str
    default: Settings
    choices: dict[str, tuple[float, ...]]

    def settings(self) -> list[Settings]:
        """The default and all combinations of the choices."""
        combined = itertools.product(*self.choices.values())
        return [self.default, *(dict(zip(self.choices, values, strict=True)) for values in combined)]


_ROBOFLOW = ("roboflow", ("trackers>=2.6,<3",), "trackers")
# Lost tracks are kept for n/30 s: 30 is the default, 120 the 4 s that ours has. 0.4 is what ours asks of a new track.
LIBRARIES = (
    Library(
        "sort", "SORT (Roboflow trackers)", *_ROBOFLOW,
        default={"coast_s": 0.0},
        choices={
            "lost_track_buffer": (30, 120), "minimum_iou_threshold": (0.05, 0.1, 0.3),
            "minimum_consecutive_frames": (2, 3), "track_activation_threshold": (0.25, 0.4), "coast_s": (0.0, 0.6),
        },
    ),
    Library(
        "bytetrack", "ByteTrack (Roboflow trackers)", *_ROBOFLOW,
        default={"coast_s": 0.0},
        choices={
            "lost_track_buffer": (30, 120), "minimum_iou_threshold": (0.05, 0.1, 0.3),
            "track_activation_threshold": (0.4, 0.6), "high_conf_det_threshold": (0.4, 0.6), "coast_s": (0.0, 0.6),
        },
    ),
    Library(
        "ocsort", "OC-SORT (Roboflow trackers)", *_ROBOFLOW,
        default={"coast_s": 0.0},
        choices={
            "lost_track_buffer": (30, 120), "minimum_iou_threshold": (0.05, 0.1, 0.3),
            "minimum_consecutive_frames": (2, 3), "high_conf_det_threshold": (0.25, 0.4), "coast_s": (0.0, 0.6),
        },
    ),
    Library(
        "cbiou", "C-BIoU (Roboflow trackers)", *_ROBOFLOW,
        default={"coast_s": 0.0},
        choices={
            "lost_track_buffer": (30, 120), "minimum_iou_threshold_first_assoc": (0.05, 0.2),
            "track_activation_threshold": (0.4, 0.6), "high_conf_det_threshold": (0.4, 0.6),
            "buffer_ratio_first": (0.3, 0.5), "coast_s": (0.0, 0.6),
        },
    ),
    Library(
        "norfair", "norfair", "norfair", ("norfair>=2.3,<3",), "norfair",
        default={"distance_threshold": 0.7, "keep_s": 3.0, "initialization_delay": 2, "lowest_score": 0.22},
        choices={
            "distance_threshold": (0.7, 0.9), "keep_s": (0.6, 1.2, 3.0, 6.0), "initialization_delay": (1, 2),
            "lowest_score": (0.22, 0.4),
        },
    ),
)  # fmt: skip


def python_of(library: Library, venvs: Path) -> Path:
    """The Python that has the library.

    Raises:
        CannotRun: it is not installed there.
    """
    python = venvs / library.venv / "bin" / "python"
    if not python.exists():
        raise CannotRun(f"{library.title} is not installed: benchmarks/trackers.py --install")
    return python


def install(venvs: Path) -> None:
    """Make the environments that are missing, with pip.

    Raises:
        CannotRun: pip failed.
    """
    for venv, requires in {(each.venv, each.requires) for each in LIBRARIES}:
        home = venvs / venv
        if (home / "bin" / "python").exists():
            continue
        run([sys.executable, "-m", "venv", str(home)], timeout=INSTALL_S)
        run([str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", *requires], timeout=INSTALL_S)


def versions(library: Library, venvs: Path) -> str:
    """Version of the library, and of its NumPy."""
    code = f"from importlib.metadata import version as v; print(v('{library.package}'), 'with NumPy', v('numpy'))"
    command = [str(python_of(library, venvs)), "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return f"{library.package} {done.stdout.strip()}"


def follow_all(
    library: Library, jobs: Sequence[tuple[int, Settings]], scenes: Sequence[Scene], venvs: Path
) -> list[tuple[list[Tracked], float]]:
    """Run a library over scenes.

    Args:
        jobs: index of the scene, and settings.

    Returns:
        For each job the boxes by id of each frame (0..1), and the seconds that the tracker took.

    Raises:
        CannotRun: the library is not installed, or failed.
    """
    python = python_of(library, venvs)
    wanted = {
        "scenes": [{"fps": scene.fps, "frames": _frames(scene)} for scene in scenes],
        "jobs": [{"library": library.key, "scene": at, "settings": settings} for at, settings in jobs],
    }
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "jobs.json", Path(folder) / "answers.json"
        question.write_text(json.dumps(wanted), "utf-8")
        run([str(python), "-P", str(SCRIPT), str(question), str(answer)], timeout=3600)
        answers: list[dict[str, Any]] = json.loads(answer.read_text("utf-8"))
    return [([_tracked(frame) for frame in each["frames"]], float(each["seconds"])) for each in answers]


def _frames(scene: Scene) -> list[list[list[float]]]:
    return [
        [[b[0] * WIDTH, b[1] * HEIGHT, b[2] * WIDTH, b[3] * HEIGHT, s.score] for s in m.seen for b in [s.box]]
        for m in scene.moments
    ]


def _tracked(frame: list[list[float]]) -> Tracked:
    return {
        int(key): (
            min(1.0, max(0.0, x0 / WIDTH)),
            min(1.0, max(0.0, y0 / HEIGHT)),
            min(1.0, max(0.0, x1 / WIDTH)),
            min(1.0, max(0.0, y1 / HEIGHT)),
        )
        for key, x0, y0, x1, y1 in frame
    }
