"""What benchmarks/gpu.py measures with NVDEC: decoding alone, and with an encoder that all streams share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.hwaccel import HWAccel

from benchmarks.common import CannotRun, per_second
from benchmarks.gpu_items import Plan, vision_tower
from streamcap.models.batching import MicroBatcher
from streamcap.models.cuda import Cuda
from streamcap.models.device_pictures import DevicePictures
from streamcap.models.pictures import PictureRule, prepare
from streamcap.sources.nvdec import nvdec as nvdec_accelerator
from streamcap.sources.nvdec import trouble

__all__ = ["decode_and_encode", "nvdec"]

CLIP_SIZE, CLIP_FRAMES, CLIP_FPS = (1920, 1080), 150, 30
# Pictures that are encoded a second of each stream when decoding and encoding are measured together.
LOOKED_AT_FPS = 5
_BLOCKING_SYNC = 4


def nvdec(plan: Plan) -> None:
    """Video that NVDEC decodes, side by side: 1080p30 H.264, every picture brought back to memory."""
    _need_nvdec(plan)
    figures = {}
    with _clip() as clip:
        for streams in (1, 4, 16, 32):
            if not plan.over(f"NVDEC, {streams} streams"):
                figures[str(streams)] = round(_decoded(clip, streams, lambda frame: frame.reformat(format="nv12")), 1)
    plan.figures["nvdec_frames_s"] = figures
    plan.figures["nvdec_streams_1080p30"] = int(max(figures.values(), default=0) // CLIP_FPS)


def decode_and_encode(plan: Plan) -> None:
    """Streams that NVDEC decodes and that are looked at five times a second by an encoder that they share.

    Once by way of the processor's memory, as the service does it today, and once on the device from end to end.
    """
    _need_nvdec(plan)
    try:
        import torch
    except ImportError as error:
        raise CannotRun("torch is not installed") from error
    vit = plan.encoders["ViT-B/16"]
    # libav shares CUDA's primary context, as handing pictures over wants it, if its waiters sleep.
    Cuda.open().call("cudaSetDeviceFlags", _BLOCKING_SYNC)
    model = vision_tower(vit).to("cuda", torch.float16)
    rule = PictureRule((vit.image, vit.image))
    on_device = DevicePictures(rule, "cuda", half=True)

    def from_memory(frame: av.VideoFrame) -> Any:
        small = frame.reformat(vit.image, vit.image, "rgb24").to_ndarray()
        return torch.from_numpy(prepare(np.asarray(small, np.uint8), rule)).half()

    def encode(pictures: Sequence[Any]) -> list[Any]:
        with torch.inference_mode():
            return list(model(torch.stack(tuple(pictures)).to("cuda", non_blocking=True)).float().cpu().numpy())

    ways = {
        "through memory": (from_memory, nvdec_accelerator),
        "on the device": (on_device.prepare, lambda: HWAccel("cuda", is_hw_owned=True)),
    }
    with _clip() as clip:
        for way, (ready, accelerator) in ways.items():
            figures = {}
            for streams in (4, 16, 32):
                if plan.over(f"decode and encode {way}, {streams} streams"):
                    continue
                with closing(MicroBatcher(encode, size=32)) as batcher:
                    figures[str(streams)] = round(_decoded(clip, streams, _looking(ready, batcher), accelerator), 1)
            plan.figures[f"decode_and_encode_frames_s, {way}"] = figures
            most = int(max(figures.values(), default=0) // CLIP_FPS)
            plan.figures[f"decode_and_encode_streams_1080p30, {way}"] = most


def _looking(ready: Callable[[av.VideoFrame], Any], batcher: MicroBatcher[Any, Any]) -> Callable[[av.VideoFrame], None]:
    every = CLIP_FPS // LOOKED_AT_FPS

    def look(frame: av.VideoFrame) -> None:
        if round(float(frame.time or 0) * CLIP_FPS) % every == 0:
            batcher.map([ready(frame)])

    return look


def _need_nvdec(plan: Plan) -> None:
    if plan.device == "cpu":
        raise CannotRun("NVDEC is part of a GPU")
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


def _decoded(
    clip: Path,
    streams: int,
    look: Callable[[av.VideoFrame], object],
    accelerator: Callable[[], HWAccel | None] = nvdec_accelerator,
) -> float:
    """Frames a second of all streams together."""

    def decode(_: int) -> int:
        count = 0
        with av.open(str(clip), hwaccel=accelerator()) as container:
            for frame in container.decode(video=0):
                look(frame)
                count += 1
        return count

    return per_second(decode, streams)
