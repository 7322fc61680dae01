"""What the pipeline asks of a model. Backends implement these; nothing above knows which runtime is below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamcap.types import Box, Detections

__all__ = ["Detector", "Encoder", "Features", "Image", "PoseEstimator", "Segmenter"]

Image = NDArray[np.uint8]


class Detector(Protocol):
    """Finds objects in pictures. Thread safe; blocking, so it is called from a worker thread."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names; ``Detections.labels`` indexes this."""
        ...

    def detect(self, image: Image, *, threshold: float, deadline: float | None = None) -> Detections:
        """Find objects in one picture.

        Args:
            image: (height, width, 3) uint8 RGB of any size.
            threshold: least score to report, 0..1.
            deadline: ``time.monotonic()`` seconds by which the result is wanted. Where many streams share a device it
                decides whose turn it is; nothing is thrown away that is late. None: in the order of arrival.

        Returns:
            Detections in 0..1 of the given picture, best first, overlapping ones already removed.

        Raises:
            ModelError: the runtime failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Features:
    """What an encoder makes of n pictures.

    Attributes:
        pooled: (n, dim) float32, each row of unit length.
        tokens: (n, tokens, width) float32 as the network gives them, those before the grid first; None where they were
            not asked for.
        cpu_s: processor seconds that it took, of a batch shared with others this part.
    """

    pooled: NDArray[np.float32]
    tokens: NDArray[np.float32] | None = None
    cpu_s: float = 0.0


class Encoder(Protocol):
    """Turns a picture into a feature. For tasks of any event loop; never keeps one waiting."""

    @property
    def dim(self) -> int:
        """Length of a feature."""
        ...

    async def encode(self, images: Sequence[Image], *, deadline: float | None = None) -> Features:
        """Encode pictures. Cancelled, what has not begun is not computed, and what has is thrown away.

        Args:
            images: n pictures, each (height, width, 3) uint8 RGB of any size.
            deadline: as of :meth:`Detector.detect`.

        Raises:
            ModelError: the runtime failed, or was closed.
            Overloaded: too many pictures of all streams wait.
        """
        ...


class PoseEstimator(Protocol):
    """Finds the joints of a person. Thread safe; blocking, so it is called from a worker thread."""

    def estimate(self, image: Image, box: Box) -> NDArray[np.float32]:
        """Find the joints of the person at ``box``.

        Args:
            image: (height, width, 3) uint8 RGB of any size.
            box: the person, in 0..1 of the picture; it may reach beyond the border.

        Returns:
            (17, 3) float32 in COCO's order (see ``streamcap.pose.Joint``): x and y in 0..1 of the picture (outside of
            that for a joint held to lie beyond the border), score 0..1. A joint that is hidden is guessed, with a low
            score.

        Raises:
            ModelError: the runtime failed.
        """
        ...


class Segmenter(Protocol):
    """Finds the pixels of something whose box is known. Thread safe; blocking, so it is called from a worker thread."""

    def segment(self, image: Image, box: Box, label: str) -> NDArray[np.float32] | None:
        """Find which pixels show the instance at ``box``.

        Args:
            image: (height, width, 3) uint8 RGB of any size.
            box: the instance, in 0..1 of the picture; it may reach beyond the border.
            label: its class, of COCO's names or those of :mod:`streamcap.labels`.

        Returns:
            (height, width) float32, how likely each pixel of the picture shows it, 0..1; None where this model knows
            nothing of the kind, or is not sure to see it there.

        Raises:
            ModelError: the runtime failed.
        """
        ...
