"""Which frames of a stream are kept, and the memory of what they looked like."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.memory import Memory
from streamcap.types import Frame, KeyFrame

__all__ = ["KEEP_BUSY_S", "KEEP_NEWS_S", "KeyFrames"]

# Media seconds between two: when the tracker or the camera has news, while something moves, and when nothing happens.
# Two seconds are ShareGPT4Video's step (arXiv:2406.04325); each costs 60 ms of one core.
KEEP_NEWS_S = 2.0
KEEP_BUSY_S = 4.0
KEEP_QUIET_S = 60.0
# On a machine that cannot keep up, so many times longer.
FRUGAL = 4.0
WIDTH = 320
JPEG_QUALITY = 80
# Third gate: a frame this like the last key frame is no new key frame (ShareGPT4Video's limit on CLIP features).
SIMILARITY = 0.93


class KeyFrames:
    """Keeps frames of one stream now and then. Used from one thread.

    Args:
        features: somebody computes the features of what is kept and hands them to ``remember``, or says ``forget``;
            else the memory stays empty.

    Attributes:
        memory: what was seen so far, bounded.
        frugal: keep fewer; may be set from another thread.
    """

    def __init__(self, *, features: bool) -> None:
        self.memory = Memory()
        self.frugal = False
        self._features = features
        self._awaited: KeyFrame | None = None  # is kept, and its feature not known yet
        self._kept_at = -KEEP_QUIET_S

    def take(self, frame: Frame, *, news: bool, busy: bool) -> KeyFrame | None:
        """Keep a small copy of the frame if one is due; none is while the feature of the one before is awaited.

        Args:
            news: the tracker, the camera or a rule has something to tell.
            busy: something moves.
        """
        pause = (KEEP_NEWS_S if news else KEEP_BUSY_S if busy else KEEP_QUIET_S) * (FRUGAL if self.frugal else 1.0)
        if self._awaited is not None or frame.pts - self._kept_at < pause:
            return None
        self._kept_at = frame.pts
        key = KeyFrame(frame.pts, _small_jpeg(frame.image))
        if self._features:
            self._awaited = key
        return key

    def remember(self, feature: NDArray[np.float32]) -> None:
        """Take the feature of the frame that was kept last.

        Raises:
            ValueError: none is awaited.
        """
        key, self._awaited = self._awaited, None
        if key is None:
            raise ValueError("no feature is awaited")
        alike = self.memory.similarity(feature) >= SIMILARITY
        self.memory.add(feature, key.t, KeyFrame(key.t) if alike else key)

    def forget(self) -> None:
        """The feature of the frame that was kept last does not come: the memory goes without it."""
        self._awaited = None


def _small_jpeg(image: NDArray[np.uint8]) -> bytes:
    """A tenth of the raw picture: a full memory then holds 3 MB of them and not 45."""
    h, w = image.shape[:2]
    small = cv2.resize(image, (WIDTH, max(1, h * WIDTH // w)), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    return jpeg.tobytes()
