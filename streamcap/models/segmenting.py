"""The embedded segmenter: people by one network, what else has a class by another. Loaded when it is first wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamcap.models.base import Image, Segmenter
from streamcap.models.resolver import Progress, ensure
from streamcap.types import Box

__all__ = ["FirstThatKnows", "load_segmenter"]


class FirstThatKnows:
    """Asks segmenters in turn until one finds something.

    Args:
        segmenters: most particular first.
    """

    def __init__(self, segmenters: Sequence[Segmenter]) -> None:
        self._segmenters = tuple(segmenters)

    def segment(self, image: Image, box: Box, label: str) -> NDArray[np.float32] | None:
        """See :class:`streamcap.models.base.Segmenter`."""
        found = (segmenter.segment(image, box, label) for segmenter in self._segmenters)
        return next((each for each in found if each is not None), None)


def load_segmenter(progress: Progress | None = None) -> Segmenter:
    """Load the embedded segmenter; its weights (12 MB) are fetched where they are not cached. Blocks.

    Raises:
        ModelError: the weights cannot be had or do not load.
    """
    # Runtimes are imported late.
    from streamcap.models.blazepose import BlazePose
    from streamcap.models.deeplab import DeepLab

    people = ensure("pose-landmarker-full", progress=progress)
    classes = ensure("deeplab-v3", progress=progress)
    return FirstThatKnows((BlazePose(people), DeepLab(classes)))
