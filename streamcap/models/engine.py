"""An engine: a loaded graph, tensors in and tensors out. Encoders and detectors are written against it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamcap.errors import ModelError

__all__ = ["Device", "Engine", "EngineInfo", "Tensor", "abandon", "check_batch"]

Tensor = NDArray[np.float32]

_ABANDONED: list[object] = []


class Device(StrEnum):
    """Where a graph is to run."""

    AUTO = "auto"  # the GPU where there is one that can
    CPU = "cpu"
    CUDA = "cuda"  # the GPU, or an error


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What runs a graph, and why this.

    Attributes:
        runtime: library and version.
        provider: what of it does the arithmetic: ``CPU``, ``OpenVINO``, ``CUDA``, ``TensorRT`` …
        device: ``cpu`` or ``cuda``.
        precision: of the graph; empty where nobody said.
        batch: most pictures that it pays to put through together; 1 on a processor, whose cores one picture fills.
        why: why nothing faster was taken, in a sentence; empty where there is nothing faster.
        hint: the one command that would make it faster; empty where there is none.
        lanes: batches that it takes at a time.
        lost: what ended the engine that it stands in for; empty where that one runs.
    """

    runtime: str
    provider: str
    device: str
    precision: str
    batch: int
    why: str = ""
    hint: str = ""
    lanes: int = 1
    lost: str = ""

    def __str__(self) -> str:
        precision = f", {self.precision}" if self.precision else ""
        size = f"batches of up to {self.batch}" if self.batch > 1 else "a picture at a time"
        return f"{self.provider} by {self.runtime}{precision}, {size}"


class Engine(Protocol):
    """A loaded graph. Thread safe; blocking, so it is called from a worker thread."""

    @property
    def info(self) -> EngineInfo:
        """What runs it."""
        ...

    def run(self, batch: Tensor, *wanted: str) -> list[Tensor]:
        """Put a batch through.

        Args:
            batch: (n, 3, height, width) float32, n >= 1, made ready; or the (patches, values) of a tower's grid.
            wanted: names of outputs.

        Returns:
            Each wanted output as float32, first axis n; of a tower of patches the tokens of its grid.

        Raises:
            OutOfDeviceMemory: the batch does not fit.
            EngineLost: the accelerator serves this process no more, or does not come back; nor will the next batch.
            ModelError: the shape is not that of the graph's input, or the runtime failed.
        """
        ...

    def close(self) -> None:
        """Let go of device memory. May be called twice; not while a batch is put through."""
        ...


def abandon(*held: object) -> None:
    """Keep what a lost accelerator holds until the process ends.

    To free it would fail at best; on a GPU that hangs it would wait for ever, or give memory away that is still written
    to.
    """
    _ABANDONED.extend(held)


def check_batch(batch: Tensor, item: tuple[int, ...], most: int | None = None, *, whole: bool = False) -> None:
    """Hold a batch to the shape that a graph takes.

    Args:
        item: shape of one item: (3, height, width) of a picture, (values,) of a patch.
        most: most items, None for any number.
        whole: it must be that many: the patches of a grid.

    Raises:
        ModelError: it has another one.
    """
    if batch.shape[1:] != item or not len(batch) or batch.dtype != np.float32:
        raise ModelError(f"a batch must be (n, {', '.join(map(str, item))}) float32, not {batch.shape} {batch.dtype}")
    if most is not None and len(batch) > most:
        raise ModelError(f"a batch of {len(batch)} is more than the engine was built for ({most})")
    if whole and most is not None and len(batch) != most:
        raise ModelError(f"{len(batch)} patches are not the grid of {most} that the engine was built for")
