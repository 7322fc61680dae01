"""libav pictures made into RGB images of bounded size, upright."""

from __future__ import annotations

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from streamcap.sources.session import DamagedPicture, fit

__all__ = ["Converter"]


class Converter:
    """Converts pictures; keeps its scaler between them, so use one for each source.

    Args:
        max_side: pixels; larger pictures are scaled down with their aspect kept.
    """

    def __init__(self, max_side: int) -> None:
        self._max_side = max_side
        self._scaler = VideoReformatter()

    def image(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The (height, width, 3) uint8 RGB image, turned upright as the file says.

        Raises:
            DamagedPicture: libav cannot convert it.
        """
        width, height = fit(frame.width, frame.height, self._max_side)
        try:
            # AREA is both the better and the quicker way down; without scaling it makes no difference. One thread:
            # streams share the processors among themselves, and libswscale would start a pool for each of them.
            rgb = self._scaler.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA, threads=1)
        except (av.FFmpegError, ValueError) as exc:
            raise DamagedPicture(type(exc).__name__) from exc
        image = np.asarray(rgb.to_ndarray(), dtype=np.uint8)
        quarters = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image
