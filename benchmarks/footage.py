"""720p30 H.264 clips as a camera would send them: rendered scenes of several seeds, and real clips where they lie."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import count, cycle
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from benchmarks.common import SCRATCH, SHARED

__all__ = ["FPS", "SIZE", "encode", "footage"]

SIZE = (1280, 720)
FPS = 30
# What cameras send: no B-frames, a key frame every two seconds.
_ENCODER = {"preset": "veryfast", "tune": "zerolatency", "g": str(2 * FPS), "bf": "0", "crf": "23", "threads": "1"}
# Streets, shops, homes, a car's view, an animal: static and moving cameras, many and few objects.
REAL = (
    "surv_pets09_s2l1.avi", "store_aisle.mp4", "indoor_six_visitors.mp4", "dashcam_highway.mp4",
    "parking_car_and_bicycle.mp4", "traffic_overhead_four_cars.mp4",
)  # fmt: skip


def footage(number: int, seconds: float, *, kinds: int = 12) -> list[Path]:
    """Clips of this length for ``number`` streams, as many real as rendered where there are real ones.

    They are made once and kept in ``out/bench``; beyond ``kinds`` they repeat under other names, as streams of one
    address share a decoder.
    """
    folder = SCRATCH / "footage"
    folder.mkdir(parents=True, exist_ok=True)
    real = [SHARED / "clips" / name for name in REAL]
    kept: list[Path] = []
    for index in range(min(number, kinds)):
        source = real[index // 2] if index % 2 else None
        if source is not None and source.exists():
            path, pictures = folder / f"{source.stem}_{seconds:g}.mp4", _real(source, seconds)
        else:
            path, pictures = folder / f"rendered_{index + 1}_{seconds:g}.mp4", _rendered(index + 1, seconds)
        if not path.exists():
            encode(path, pictures)
        kept.append(path)
    return [
        path if n < len(kept) else _again(path, n // len(kept))
        for n, path in zip(range(number), cycle(kept), strict=False)
    ]


def _again(path: Path, turn: int) -> Path:
    other = path.with_name(f"{path.stem}_again{turn}.mp4")
    if not other.exists():
        other.symlink_to(path.name)
    return other


def encode(path: Path, pictures: Iterator[NDArray[np.uint8]], *, fps: int = FPS) -> None:
    """Write RGB pictures of one size as H.264 in MP4; the file is there whole or not at all."""
    unfinished = path.with_suffix(".part.mp4")
    with av.open(str(unfinished), "w") as container:
        stream = None
        for index, picture in enumerate(pictures):
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options=_ENCODER)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))
    unfinished.replace(path)


def _rendered(seed: int, seconds: float) -> Iterator[NDArray[np.uint8]]:
    from streamcap.sources.rendered_art import Painter

    painter = Painter(*SIZE, seed)
    for index in range(round(seconds * FPS)):
        yield painter.paint(index / FPS, index)


def _real(path: Path, seconds: float) -> Iterator[NDArray[np.uint8]]:
    """The clip at 720p30, from its beginning again where it is shorter."""
    wanted = iter(range(round(seconds * FPS)))
    due = next(wanted)
    offset = 0.0
    for _ in count():
        last = 0.0
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                time = frame.time or 0.0
                last = max(last, time)
                while due / FPS <= offset + time:
                    yield np.asarray(frame.to_ndarray(format="rgb24", width=SIZE[0], height=SIZE[1]), np.uint8)
                    due = next(wanted, -1)
                    if due < 0:
                        return
        offset += last + 1 / FPS
