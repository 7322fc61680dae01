"""Clips of a moving picture, made as a test needs them."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

__all__ = ["clip", "still"]


def clip(path: Path, *, frames: int = 75, fps: int = 25, codec: str = "libx264", **options: str) -> Path:
    """A square that wanders over a textured picture of 320×240, without B-frames unless they are asked for."""
    texture = np.random.default_rng(1).integers(60, 120, (240, 320, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options={"tune": "zerolatency", "g": "25", **options})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(frames):
            image = texture.copy()
            image[80:140, number * 3 % 260 :][:, :60] = (220, 60, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def still(path: Path, *, seconds: int, fps: int = 5, words: str = "") -> Path:
    """A textured picture of 320×240 in which nothing happens, with words on it."""
    texture = np.random.default_rng(1).integers(60, 120, (240, 320, 3), np.uint8)
    cv2.putText(texture, words, (5, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"tune": "zerolatency"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(seconds * fps):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(texture, format="rgb24")))
        container.mux(stream.encode())
    return path
