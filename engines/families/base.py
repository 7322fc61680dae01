"""What a family gives: a module to export, and transformers' own forward pass that it must agree with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from engines.checkpoint import load_pretrained, read_config
from engines.manifest import ModelEntry, Pictures
from streamcap.errors import WrongModel
from streamcap.models.graph import PatchGrid, Role

if TYPE_CHECKING:
    import transformers

__all__ = ["Exportable", "liven", "model_of", "rules", "sized"]

# How far parameters that begin as all zeros or all ones are moved, so that parity says something about them too.
_NUDGE = 0.1


@dataclass(frozen=True, slots=True)
class Exportable:
    """A model that can be exported.

    Attributes:
        module: its ``forward(pixel_values)`` gives the outputs in order, as a tuple.
        reference: the same by transformers' own code path, in single precision: what parity is measured against.
        input_shape: with ``batch`` or ``tiles`` for an axis that varies.
        outputs: their names.
        pictures: how a picture becomes input.
        labels: class names of a detector.
        grid: rows and columns of the patch tokens of an encoder.
        prefix_tokens: tokens before them.
        patches: of a tower with a fixed grid.
        architecture: transformers' name of it.
    """

    module: nn.Module
    reference: Callable[[torch.Tensor], tuple[torch.Tensor, ...]]
    role: Role
    input_shape: tuple[int | str, ...]
    outputs: tuple[str, ...]
    pictures: Pictures
    architecture: str
    labels: tuple[str, ...] = ()
    grid: tuple[int, int] | None = None
    prefix_tokens: int = 0
    patches: PatchGrid | None = None

    @property
    def varies(self) -> bool:
        """The first axis may have any length."""
        return isinstance(self.input_shape[0], str)

    def sample(self, batch: int = 2) -> torch.Tensor:
        """Seeded noise of the input's shape, for tracing."""
        shape = [batch if isinstance(side, str) else side for side in self.input_shape]
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def model_of(
    entry: ModelEntry,
    folder: Path | None,
    config_class: type[transformers.PretrainedConfig],
    model_class: type[transformers.PreTrainedModel],
) -> transformers.PreTrainedModel:
    """A transformers model in single precision, for inference: from a checkpoint, or with random weights.

    Raises:
        WrongModel: the checkpoint is of another architecture, or lacks weights.
        ModelLoadError: transformers cannot read it.
    """
    if folder is not None:
        return load_pretrained(folder, config_class, model_class)
    return liven(model_class(config_class(**entry.config)))


def liven(model: nn.Module) -> Any:
    """Give random weights under which every part of a graph matters; returns the model, for inference.

    As models are initialised for training, deep layers barely differ from their input and many parameters are all zero
    or all one: parity would say nothing about them. Here products keep the size of what they are given, and parameters
    that are constant are moved off their constant.
    """
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Linear | nn.Conv2d | nn.Conv3d):
                # Convolutions are followed by rectifiers, which halve the square.
                gain = 1.0 if isinstance(part, nn.Linear) else 2.0
                nn.init.normal_(part.weight, std=(gain / part.weight[0].numel()) ** 0.5)
        for parameter in model.parameters():
            if parameter.numel() > 1 and parameter.min() == parameter.max():
                parameter += _NUDGE * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def rules(entry: ModelEntry, folder: Path | None) -> Pictures:
    """The manifest's picture rules, with what a checkpoint's own image processor does otherwise."""
    return entry.pictures.model_copy(update=dict(read_config(folder).pictures) if folder is not None else {})


def sized(entry: ModelEntry, folder: Path | None, side: int, patch: int) -> Pictures:
    """The manifest's picture rules at the network's own input size.

    Raises:
        WrongModel: the size is no multiple of the patch.
    """
    pictures = rules(entry, folder)
    if folder is not None:
        pictures = pictures.model_copy(update={"size": (side, side)})
    if any(length % patch for length in pictures.size):
        raise WrongModel(f"pictures of {pictures.size[1]}×{pictures.size[0]} are no multiple of patches of {patch}")
    return pictures
