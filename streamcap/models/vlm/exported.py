"""An exported vision tower in the place of a model's own: ONNX Runtime or a TensorRT plan, quantised if need be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamcap.errors import ModelError
from streamcap.models.choosing import Exported, open_engine
from streamcap.models.engine import Device, Engine
from streamcap.models.graph import GraphInfo, Role, find_graph, read_graph
from streamcap.models.onnx import OnnxEngine
from streamcap.models.vlm.towers import Sight

__all__ = ["ExportedTower", "open_tower"]

FEATURES = "image_features"


class ExportedTower:
    """Implements :class:`~streamcap.models.vlm.towers.VisionTower`.

    Args:
        engine: owned: closed with the tower.
        info: sidecar of its graph.
    """

    def __init__(self, engine: Engine, info: GraphInfo) -> None:
        self._engine = engine
        self._names = [FEATURES, *sorted(one.name for one in info.outputs if one.name.startswith("deepstack_"))]
        self.info = info

    @property
    def grid(self) -> tuple[int, int] | None:
        """See :class:`~streamcap.models.vlm.towers.VisionTower`."""
        patches = self.info.patches
        return (patches.rows, patches.columns) if patches is not None else None

    def features(self, sight: Sight) -> tuple[NDArray[np.float32], ...]:
        """See :class:`~streamcap.models.vlm.towers.VisionTower`."""
        if self.grid is not None:
            outputs = self._engine.run(sight.pixels, *self._names)
        else:
            step = max(1, self._engine.info.batch)
            parts = [
                self._engine.run(sight.pixels[first : first + step], *self._names)
                for first in range(0, len(sight.pixels), step)
            ]
            outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
        made = tuple(output.reshape(-1, output.shape[-1]) for output in outputs)
        if any(len(one) != sight.tokens for one in made):
            raise ModelError(f"the vision tower made {len(made[0])} tokens of a picture of {sight.tokens}")
        return made

    def close(self) -> None:
        """See :class:`~streamcap.models.vlm.towers.VisionTower`."""
        self._engine.close()


def open_tower(name: Path, *, gpu: bool, threads: int) -> ExportedTower:
    """Open a tower.

    Args:
        name: folder of graphs, one ONNX file, or the name of a folder in the engine cache.
        gpu: run it there.
        threads: of a processor.

    Raises:
        ModelError: it is not there, is not whole, is no tower, or does not load.
    """
    path = find_graph(str(name), gpu=gpu)
    info = read_graph(path, role=Role.TOWER)
    device, what = Device.CUDA if gpu else Device.CPU, "the vision tower"
    if gpu:
        return ExportedTower(open_engine(Exported(path, info), device, what=what), info)
    return ExportedTower(OnnxEngine.of(path, info, device=device, threads=threads, what=what), info)
