"""Trackers of libraries, run by another Python that has them: reads jobs from one JSON file, writes boxes to another.

    python -P libraries.py jobs.json answers.json

Imports nothing of streamcap, whose environment these libraries do not share (norfair needs NumPy 1). ``-P`` keeps the
folder of this script off the path. A job is ``{"library", "settings", "fps", "frames"}``; a frame is a list of
``[x0, y0, x1, y1, score]`` in pixels. An answer is ``{"frames": [[[id, x0, y0, x1, y1], …], …], "seconds": s}``.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

# A list of [x0, y0, x1, y1, score], and of [id, x0, y0, x1, y1].
Boxes = list[list[float]]
CLASSES = {
    "sort": "SORTTracker",
    "bytetrack": "ByteTrackTracker",
    "ocsort": "OCSORTTracker",
    "cbiou": "CBIoUTracker",
}


class Roboflow:
    """SORT, ByteTrack, OC-SORT and C-BIoU of the package ``trackers``.

    It hands out boxes only for what was detected in the frame. Here a track that has an id is also shown, where it is
    predicted to be, for ``coast_s`` seconds after its last detection, as every other tracker of the comparison does.
    """

    def __init__(self, name: str, fps: float, settings: dict[str, Any]) -> None:
        self._np = importlib.import_module("numpy")
        self._sv = importlib.import_module("supervision")
        made = getattr(importlib.import_module("trackers"), CLASSES[name])
        options = dict(settings)
        self._coast = options.pop("coast_s") * fps + 1e-6
        self._tracker = made(frame_rate=fps, **options)

    def prepared(self, boxes: Boxes) -> Any:
        """Detections of one frame as the library takes them."""
        np = self._np
        rows = np.asarray(boxes, dtype=np.float32).reshape(-1, 5)
        return self._sv.Detections(xyxy=rows[:, :4], confidence=rows[:, 4], class_id=np.zeros(len(rows), dtype=int))

    def update(self, detections: Any) -> Boxes:
        """One frame."""
        self._tracker.update(detections)
        return [
            _rounded(track.tracker_id, track.get_state_bbox())
            for track in self._tracker.tracks
            if track.tracker_id >= 0 and track.time_since_update <= self._coast
        ]


class Norfair:
    """norfair's tracker with its own IoU distance and Kalman filter; it shows a track for as long as it keeps it."""

    def __init__(self, fps: float, settings: dict[str, Any]) -> None:
        self._np = importlib.import_module("numpy")
        self._norfair = importlib.import_module("norfair")
        self._lowest = settings["lowest_score"]
        self._tracker = self._norfair.Tracker(
            distance_function="iou",
            distance_threshold=settings["distance_threshold"],
            hit_counter_max=max(3, round(settings["keep_s"] * fps)),
            initialization_delay=settings["initialization_delay"],
        )

    def prepared(self, boxes: Boxes) -> Any:
        """Detections of one frame as the library takes them."""
        np, made = self._np, self._norfair.Detection
        return [made(points=np.asarray(b[:4]).reshape(2, 2)) for b in boxes if b[4] >= self._lowest]

    def update(self, detections: Any) -> Boxes:
        """One frame."""
        tracked = self._tracker.update(detections=detections)
        return [_rounded(o.id, o.estimate.reshape(-1)) for o in tracked]


def _rounded(key: int, box: Any) -> list[float]:
    """A tenth of a pixel is enough, and keeps the file small."""
    return [key, *(round(float(value), 1) for value in box)]


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run one tracker over one scene."""
    if job["library"] == "norfair":
        tracker: Norfair | Roboflow = Norfair(job["fps"], job["settings"])
    else:
        tracker = Roboflow(job["library"], job["fps"], job["settings"])
    frames, seconds = [], 0.0
    for boxes in job["frames"]:
        detections = tracker.prepared(boxes)
        began = time.perf_counter()
        found = tracker.update(detections)
        seconds += time.perf_counter() - began
        frames.append(found)
    return {"frames": frames, "seconds": seconds}


def main() -> None:
    """Read jobs, write answers."""
    jobs = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    scenes = jobs["scenes"]
    answers = [run({**scenes[job["scene"]], **job}) for job in jobs["jobs"]]
    Path(sys.argv[2]).write_text(json.dumps(answers), "utf-8")


if __name__ == "__main__":
    main()
