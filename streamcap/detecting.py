"""What is in the crops of a frame: the detector, its second opinion on what fills the frame, and colours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.carrying import SOUGHT
from streamcap.closeups import Found, agreed, fills, from_afar, step_back
from streamcap.colours import balance, shares
from streamcap.crew import Crew
from streamcap.foreground import Foreground
from streamcap.models.base import Detector
from streamcap.sightings import distinct, placed
from streamcap.tracks import Observed, Track
from streamcap.turned import turn, turn_back, turned
from streamcap.types import Box, Detections

__all__ = ["DetectStage"]

# Least score that is looked at; the tracker has its own two limits above it.
THRESHOLD = 0.22
STAGE = "detect"
# Share of a new white balance that is taken over at each look.
BALANCE_STEP = 0.05


class DetectStage:
    """Looks at crops of one stream's frames. State: the white balance.

    Args:
        detector: shared by all streams.
        crew: where crops are looked at side by side.
    """

    def __init__(self, detector: Detector, crew: Crew) -> None:
        self._detector, self._crew = detector, crew
        self._gains: NDArray[np.float32] | None = None

    def begin(
        self,
        image: NDArray[np.uint8],
        looks: Sequence[Box],
        tracks: Sequence[Track],
        foreground: Foreground,
        pts: float,
        near: Box | None = None,
        due: float | None = None,
    ) -> Callable[[], list[Observed]]:
        """Start to look at crops.

        Args:
            image: (h, w, 3) uint8 RGB.
            looks: crops in 0..1 of the frame; with ``near`` at least one.
            tracks: all that are followed: one that fills the frame calls for a second opinion, a quick one without a
                name for a turned look.
            foreground: where something moves in this frame.
            pts: media seconds of the frame.
            near: a crop in which only small things are looked for (SOUGHT), as those who have them are cut off by it.
            due: by when the look is wanted, as of :class:`~streamcap.types.Frame`.

        Returns:
            Waits, and returns what is seen, each thing once. It raises ModelError where the detector failed.
        """
        with self._crew.stages.part(STAGE):
            crops = [*looks, *([near] if near is not None else [])]
            turns = turned(looks, tracks, pts, image.shape[1] / image.shape[0]) + [False] * (len(crops) - len(looks))
            parts = [_part(image, crop) for crop in crops]
            parts = [turn(part) if across else part for part, across in zip(parts, turns, strict=True)]
            detections = self._crew.begin(STAGE, partial(self._look, due=due), parts)
            self._balance(image)  # while the workers look

        def finish() -> list[Observed]:
            with self._crew.stages(STAGE):
                seen = zip(detections(), turns, strict=True)
                upright = [turn_back(one, self._detector.labels) if across else one for one, across in seen]
                return self._seen(image, crops, len(looks), upright, tracks, foreground, due)

        return finish

    def _look(self, part: NDArray[np.uint8], *, due: float | None) -> Detections:
        return self._detector.detect(part, threshold=THRESHOLD, deadline=due)

    def _seen(
        self,
        image: NDArray[np.uint8],
        crops: Sequence[Box],
        usual: int,
        detections: Sequence[Detections],
        tracks: Iterable[Track],
        foreground: Foreground,
        due: float | None,
    ) -> list[Observed]:
        names = self._detector.labels
        parts = [placed(seen, names, crop) for crop, seen in zip(crops, detections, strict=True)]
        found = [one for i, part in enumerate(parts) for one in part if i < usual or one[1] in SOUGHT]
        if any(fills(box) for _, _, box in found) or any(fills(t.box) for t in tracks):
            found = agreed(found, self._from_afar(image, due))
        assert self._gains is not None
        gains, mask = self._gains, foreground.mask
        return [
            Observed(box, score, label, shares(image, box, gains, mask), foreground.cover(box))
            for score, label, box in distinct([f for f in found if f[0] >= THRESHOLD])
        ]

    def _from_afar(self, image: NDArray[np.uint8], due: float | None) -> list[Found]:
        """A second opinion on what fills the frame."""
        seen = self._look(step_back(image), due=due)
        names = [self._detector.labels[label] for label in seen.labels.tolist()]
        boxes = [from_afar(box) for box in seen.boxes.tolist()]
        return list(zip(seen.scores.tolist(), names, boxes, strict=True))

    def _balance(self, image: NDArray[np.uint8]) -> None:
        """White balance of the stream, followed slowly: a red lorry that fills the picture is no colour cast."""
        now = balance(cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA))
        self._gains = now if self._gains is None else self._gains + BALANCE_STEP * (now - self._gains)


def _part(image: NDArray[np.uint8], crop: Box) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = crop
    return image[int(y0 * height) : int(y1 * height), int(x0 * width) : int(x1 * width)]
