"""A detector that sees nothing, for what does not depend on what is seen."""

from __future__ import annotations

import numpy as np

from streamcap.models.base import Image
from streamcap.types import Detections

__all__ = ["Blind"]


class Blind:
    """Implements :class:`~streamcap.models.base.Detector`.

    Attributes:
        deadlines: by when it was to say so, look by look.
    """

    labels = ("person",)

    def __init__(self) -> None:
        self.deadlines: list[float | None] = []

    def detect(self, image: Image, *, threshold: float, deadline: float | None = None) -> Detections:
        self.deadlines.append(deadline)
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))
