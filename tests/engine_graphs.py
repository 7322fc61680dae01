"""Tiny models of every family and their graphs, made once a session for the tests of ``engines``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engines.checkpoint import Checkpoint
from engines.manifest import load_manifest
from engines.work import Work, begin
from streamcap.models.graph import Precision

__all__ = ["MODELS", "Made", "tiny_work"]

MODELS = [model.id for model in load_manifest().models]


def tiny_work(name: str, folder: Path, *, seed: int = 1) -> Work:
    """A tiny model of random weights."""
    entry = load_manifest().model(name).shrunk()
    weights, model = begin(entry, Checkpoint(None, "random", "random", seed))
    return Work(entry, weights, model, folder / entry.id, clips=("test:?seconds=16&width=320&height=180",))


@dataclass(slots=True)
class Made:
    """Graphs that were made so far, in one folder a model."""

    folder: Path
    _works: dict[str, Work] = field(default_factory=dict)

    def work(self, name: str) -> Work:
        """The tiny model of that name."""
        if name not in self._works:
            self._works[name] = tiny_work(name, self.folder)
        return self._works[name]

    def graph(self, name: str, precision: Precision) -> Path:
        """Its graph in a precision."""
        work = self.work(name)
        path = work.path(precision)
        return path if path.is_file() else work.export(precision)
