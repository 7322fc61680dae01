"""Image encoders: CLIP, SigLIP (and SigLIP 2 of fixed size), DINOv2. Outputs ``image_embeds`` and ``patch_tokens``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from engines.families.base import Exportable, model_of, sized
from engines.manifest import ModelEntry
from streamcap.models.graph import Role

__all__ = ["clip", "dinov2", "siglip"]


class _Encoder(nn.Module):
    """Pooled feature and tokens of a transformers vision model.

    Args:
        pooled: name of the model's output that is the feature.
    """

    def __init__(self, model: nn.Module, pooled: str) -> None:
        super().__init__()
        self.model, self.pooled = model, pooled

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.model(pixel_values=pixel_values)
        return getattr(out, self.pooled), out.last_hidden_state


def clip(entry: ModelEntry, folder: Path | None) -> Exportable:
    """CLIP's image tower with its projection; the tokens are those before the last normalisation."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    model = model_of(entry, folder, CLIPVisionConfig, CLIPVisionModelWithProjection)
    return _exportable(entry, folder, model, "image_embeds", prefix=1)


def siglip(entry: ModelEntry, folder: Path | None) -> Exportable:
    """SigLIP's image tower; its feature is what the attention pooling head gives."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    model = model_of(entry, folder, SiglipVisionConfig, SiglipVisionModel)
    return _exportable(entry, folder, model, "pooler_output", prefix=0)


class _Dinov2(nn.Module):
    """DINOv2 without the mask that transformers makes up where it is traced: nothing is hidden from anything."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.model.encoder(self.model.embeddings(pixel_values), attention_mask=None).last_hidden_state
        tokens = self.model.layernorm(hidden)
        return tokens[:, 0], tokens


def dinov2(entry: ModelEntry, folder: Path | None) -> Exportable:
    """DINOv2; its feature is the normalised class token. Positions are interpolated once, to the size exported."""
    from transformers import Dinov2Config, Dinov2Model

    model = model_of(entry, folder, Dinov2Config, Dinov2Model)
    height, width = entry.pictures.size
    embeddings = model.embeddings
    rows, columns = height // model.config.patch_size, width // model.config.patch_size
    with torch.no_grad():
        tokens = torch.zeros(1, 1 + rows * columns, model.config.hidden_size)
        embeddings.position_embeddings = nn.Parameter(
            embeddings.interpolate_pos_encoding(tokens, height, width).clone(), requires_grad=False
        )
    return _exportable(entry, folder, model, "pooler_output", prefix=1, size=height, module=_Dinov2(model))


def _exportable(
    entry: ModelEntry,
    folder: Path | None,
    model: Any,
    pooled: str,
    *,
    prefix: int,
    size: int | None = None,
    module: nn.Module | None = None,
) -> Exportable:
    patch = int(model.config.patch_size)
    pictures = sized(entry, folder, size or int(model.config.image_size), patch)
    reference = _Encoder(model, pooled).eval()
    height, width = pictures.size
    return Exportable(
        module=(module or reference).eval(),
        reference=reference,
        role=Role.ENCODER,
        input_shape=("batch", 3, height, width),
        outputs=("image_embeds", "patch_tokens"),
        pictures=pictures,
        architecture=model.config.model_type,
        grid=(height // patch, width // patch),
        prefix_tokens=prefix,
    )
