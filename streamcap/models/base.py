"""What the pipeline asks of a model. Backends implement these; nothing above knows which runtime is below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamcap.types import Detections

__all__ = ["Detector", "Encoder", "Image"]

Image = NDArray[np.uint8]


class Detector(Protocol):
    """Finds objects in pictures. Thread safe; blocking, so it is called from a worker thread."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names; ``Detections.labels`` indexes this."""
        ...

    def detect(self, image: Image, *, threshold: float) -> Detections:
        """Find objects in one picture.

        Args:
            image: (height, width, 3) uint8 RGB of any size.
            threshold: least score to report, 0..1.

        Returns:
            Detections in 0..1 of the given picture, best first, overlapping ones already removed.

        Raises:
            ModelError: the runtime failed.
        """
        ...


class Encoder(Protocol):
    """Turns a picture into a feature. Thread safe; blocking, so it is called from a worker thread."""

    @property
    def dim(self) -> int:
        """Length of a feature."""
        ...

    def encode(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """Encode pictures.

        Args:
            images: n pictures, each (height, width, 3) uint8 RGB of any size.

        Returns:
            (n, dim) float32, each row of unit length.

        Raises:
            ModelError: the runtime failed.
        """
        ...
