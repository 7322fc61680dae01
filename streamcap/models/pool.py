"""The models that all streams share, and the threads they run in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from streamcap.config import Decode, ModelSettings
from streamcap.models.base import Detector, Encoder, PoseEstimator
from streamcap.models.resolver import Progress, ensure

if TYPE_CHECKING:  # captioners bring a grammar library, which is imported beside the loading of models
    from streamcap.captioners.shared import SharedModel
    from streamcap.models.engine import EngineInfo
    from streamcap.models.vision import GraphEncoder

__all__ = ["Models", "load", "load_default"]


@dataclass(slots=True)
class Models:
    """Detector, encoder and pose estimator with their worker threads; a context manager that ends the threads.

    Attributes:
        encoder: None leaves the memory empty.
        workers: where crops are detected and poses computed, side by side.
        pose: None leaves out what is told from how people hold themselves.
        vision: the vision–language model, for streams that ask for it; None where none is set up. Its own context
            manager ends it.
        running: what runs the networks that say so, by role.
        gpu_decode: the GPU is to decode video, too.
        resources: what is closed with the models, after the workers.
    """

    detector: Detector
    encoder: Encoder | None
    workers: Executor
    pose: PoseEstimator | None = None
    running: Mapping[str, Callable[[], EngineInfo]] = field(default_factory=dict)
    gpu_decode: bool = False
    resources: ExitStack = field(default_factory=ExitStack)
    vision: SharedModel | None = None

    @property
    def engines(self) -> dict[str, EngineInfo]:
        """What runs the networks now, by role."""
        return {role: running() for role, running in self.running.items()}

    @property
    def lost(self) -> str:
        """Which networks had to leave their accelerator since the start, and why; empty where all is as it began."""
        return "; ".join(f"{role}: {info.lost}" for role, info in self.engines.items() if info.lost)

    def __enter__(self) -> Models:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.resources:
            self.workers.shutdown(wait=True, cancel_futures=True)


def load_default(progress: Progress | None = None) -> Models:
    """Load the embedded default; its weights are fetched where they are not cached. Blocks for about a second.

    Raises:
        ModelError: the weights cannot be had or do not load.
    """
    return load(ModelSettings(), progress)


def load(settings: ModelSettings, progress: Progress | None = None) -> Models:
    """Load the models that the settings name; weights of defaults are fetched where they are not cached. Blocks.

    Raises:
        ModelError: weights cannot be had or do not load, or the settings name a graph or device that is not there.
    """
    # Backends are imported late: `--help` must not wait for runtimes.
    import cv2

    from streamcap.models.movenet import MoveNetLightning

    # Pictures are worked on side by side; threads inside of one OpenCV call would only wait for each other.
    cv2.setNumThreads(1)
    cores = max(1, min(os.cpu_count() or 1, 8))
    running: dict[str, Callable[[], EngineInfo]] = {}
    with ExitStack() as loaded:
        detector = _detector(settings, cores, loaded, running, progress)
        encoder = _encoder(settings, loaded, running, progress)
        pose = MoveNetLightning(ensure("movenet-lightning", progress=progress), interpreters=cores)
        workers = ThreadPoolExecutor(cores, "streamcap-model")
        on_gpu = any(info().device == "cuda" for info in running.values())
        gpu_decode = settings.decode is Decode.CUDA or (settings.decode is Decode.AUTO and on_gpu)
        return Models(
            detector, encoder, workers, pose, running=running, gpu_decode=gpu_decode, resources=loaded.pop_all()
        )


def _detector(
    settings: ModelSettings,
    interpreters: int,
    loaded: ExitStack,
    running: dict[str, Callable[[], EngineInfo]],
    progress: Progress | None,
) -> Detector:
    if settings.detector == "default":
        from streamcap.models.efficientdet import EfficientDetLite0

        return EfficientDetLite0(ensure("efficientdet-lite0", progress=progress), interpreters=interpreters)
    from streamcap.models.choosing import open_detector

    detector = open_detector(settings)
    loaded.callback(detector.close)
    running["detector"] = lambda: detector.info
    return detector


def _encoder(
    settings: ModelSettings,
    loaded: ExitStack,
    running: dict[str, Callable[[], EngineInfo]],
    progress: Progress | None,
) -> Encoder | None:
    if settings.encoder == "none":
        return None
    if settings.encoder == "default":
        from streamcap.models.clip import ClipEncoder

        encoder: GraphEncoder = ClipEncoder(ensure("clip-vit-b16-int8", progress=progress))
    else:
        from streamcap.models.choosing import open_encoder

        encoder = open_encoder(settings)
    loaded.callback(encoder.close)
    running["encoder"] = lambda: encoder.info
    return encoder
