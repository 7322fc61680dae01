"""The models that all streams share, and the threads they run in."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from streamcap.models.base import Detector, Encoder, PoseEstimator
from streamcap.models.resolver import Progress, ensure

if TYPE_CHECKING:  # captioners bring a grammar library, which is imported beside the loading of models
    from streamcap.captioners.shared import SharedModel

__all__ = ["Models", "load_default"]


@dataclass(slots=True)
class Models:
    """Detector, encoder and pose estimator with their worker threads; a context manager that ends the threads.

    Attributes:
        encoder: None leaves the memory empty.
        workers: where crops are detected side by side and features and poses computed.
        pose: None leaves out what is told from how people hold themselves.
        vision: the vision–language model, for streams that ask for it; None where none is set up. Its own context
            manager ends it.
    """

    detector: Detector
    encoder: Encoder | None
    workers: Executor
    pose: PoseEstimator | None = None
    vision: SharedModel | None = None

    def __enter__(self) -> Models:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.workers.shutdown(wait=True, cancel_futures=True)


def load_default(progress: Progress | None = None) -> Models:
    """Load the embedded default; its weights are fetched where they are not cached. Blocks for about a second.

    Raises:
        ModelError: the weights cannot be had or do not load.
    """
    # Backends are imported late: `--help` must not wait for runtimes.
    import cv2

    from streamcap.models.clip import ClipEncoder
    from streamcap.models.efficientdet import EfficientDetLite0
    from streamcap.models.movenet import MoveNetLightning

    detector_file = ensure("efficientdet-lite0", progress=progress)
    encoder_file = ensure("clip-vit-b16-int8", progress=progress)
    pose_file = ensure("movenet-lightning", progress=progress)
    # Pictures are worked on side by side; threads inside of one OpenCV call would only wait for each other.
    cv2.setNumThreads(1)
    cores = max(1, min(os.cpu_count() or 1, 8))
    detector = EfficientDetLite0(detector_file, interpreters=cores)
    pose = MoveNetLightning(pose_file, interpreters=cores)
    return Models(detector, ClipEncoder(encoder_file), ThreadPoolExecutor(cores, "streamcap-model"), pose)
