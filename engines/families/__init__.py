"""Families of models: how each is read from a checkpoint, or made up, and rebuilt as a module that exports cleanly."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from engines.checkpoint import need_torch

if TYPE_CHECKING:
    from engines.families.base import Exportable
    from engines.manifest import ModelEntry

__all__ = ["FAMILIES", "build"]

# Imported when one is built: they need torch and transformers, which take seconds to import.
FAMILIES = {
    "clip": "engines.families.encoders:clip",
    "siglip": "engines.families.encoders:siglip",
    "dinov2": "engines.families.encoders:dinov2",
    "rtdetr": "engines.families.detector:rtdetr",
    "smolvlm": "engines.families.smolvlm:smolvlm",
    "qwen2_5_vl": "engines.families.qwen:qwen2_5_vl",
    "qwen3_vl": "engines.families.qwen:qwen3_vl",
}


def build(entry: ModelEntry, folder: Path | None, *, seed: int = 0) -> Exportable:
    """The model, ready to export, in single precision.

    Args:
        folder: a checkpoint (``config.json`` and weights); None for random weights of the manifest's architecture.
        seed: of random weights.

    Raises:
        ModelLoadError: torch or transformers is not installed, or they cannot read the checkpoint.
        WrongModel: the checkpoint is of another architecture, or lacks weights.
    """
    torch = need_torch()
    module, _, name = FAMILIES[entry.family].partition(":")
    make = getattr(importlib.import_module(module), name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made: Exportable = make(entry, folder)
    return made
