"""What benchmarks/gpu.py measures with NVDEC: decoding alone, and with an encoder that all streams share."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.common import CannotRun
from benchmarks.gpu_items import Plan, vision_tower

__all__ = ["decode_and_encode", "nvdec"]

CLIP_SIZE, CLIP_FRAMES, CLIP_FPS = (1920, 1080), 150, 30
# Pictures that are encoded a second of each stream when decoding and encoding are measured together.
LOOKED_AT_FPS = 5


def nvdec(plan: Plan) -> None:
    """Video that NVDEC decodes, side by side: 1080p30 H.264, pictures brought back to memory."""
    _need_nvdec(plan)
    figures = {}
    with _clip() as clip:
        for streams in (1, 4, 16, 32):
            if not plan.over(f"NVDEC, {streams} streams"):
                figures[str(streams)] = round(_decoded(clip, streams, lambda _: None), 1)
    plan.figures["nvdec_frames_s"] = figures
    plan.figures["nvdec_streams_1080p30"] = int(max(figures.values(), default=0) // CLIP_FPS)


def decode_and_encode(plan: Plan) -> None:
    """Streams that are decoded by NVDEC and looked at five times a second by an encoder that they share."""
    _need_nvdec(plan)
    from streamcap.models.batching import MicroBatcher

    try:
        import torch
    except ImportError as error:
        raise CannotRun("torch is not installed") from error
    vit = plan.encoders["ViT-B/16"]
    model = vision_tower(vit).to("cuda", torch.float16)

    def run(pictures: Sequence[Any]) -> list[Any]:
        with torch.inference_mode():
            fed = torch.from_numpy(np.stack(pictures)).pin_memory().to("cuda", non_blocking=True)
            return list(model(fed.permute(0, 3, 1, 2).half() / 255).float().cpu().numpy())

    every = CLIP_FPS // LOOKED_AT_FPS
    figures = {}
    with _clip() as clip, MicroBatcher(run, size=32) as batcher:
        for streams in (4, 16, 32):
            if plan.over(f"decode and encode, {streams} streams"):
                continue

            def look(frame: av.VideoFrame) -> None:
                if frame.pts is not None and round(float(frame.time or 0) * CLIP_FPS) % every == 0:
                    picture = frame.reformat(vit.image, vit.image, "rgb24").to_ndarray()
                    batcher.map([picture])

            figures[str(streams)] = round(_decoded(clip, streams, look), 1)
    plan.figures["decode_and_encode_frames_s"] = figures
    plan.figures["decode_and_encode_streams_1080p30"] = int(max(figures.values(), default=0) // CLIP_FPS)


def _need_nvdec(plan: Plan) -> None:
    if plan.device == "cpu":
        raise CannotRun("NVDEC is part of a GPU")
    from streamcap.sources.nvdec import trouble

    if reason := trouble():
        raise CannotRun(reason)


@contextmanager
def _clip() -> Iterator[Path]:
    """Five seconds of 1080p30 H.264 with something to decode in every picture."""
    noise = np.random.default_rng(0).integers(0, 60, (CLIP_SIZE[1], CLIP_SIZE[0], 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=CLIP_FPS, options={"preset": "veryfast", "g": "60"})
            stream.width, stream.height, stream.pix_fmt = *CLIP_SIZE, "yuv420p"
            for number in range(CLIP_FRAMES):
                picture = np.roll(noise, 8 * number, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        yield path


def _decoded(clip: Path, streams: int, look: Callable[[av.VideoFrame], None]) -> float:
    """Frames a second of all streams together."""
    from streamcap.sources.nvdec import nvdec as hwaccel

    def decode(_: int) -> int:
        count = 0
        with av.open(str(clip), hwaccel=hwaccel()) as container:
            for frame in container.decode(video=0):
                look(frame)
                count += 1
        return count

    began = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        frames = sum(pool.map(decode, range(streams)))
    return frames / (time.perf_counter() - began)
