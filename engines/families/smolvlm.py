"""SmolVLM's vision tower with its connector: tiles in, the language model's image tokens out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from engines.checkpoint import check_architecture, load_tower, read_config
from engines.families.base import Exportable, liven, sized
from engines.manifest import ModelEntry
from streamcap.models.graph import Role

__all__ = ["smolvlm"]


class _Tower(nn.Module):
    """The tower for whole square tiles: no mask, and positions looked up once.

    transformers finds the position of each patch at run time, by comparing fractions, as tiles there may be partly
    padding. Which positions that gives for a whole tile is taken from its own code.
    """

    def __init__(self, vision: Any, connector: nn.Module) -> None:
        super().__init__()
        self.vision, self.connector = vision, connector
        self.position_ids = nn.Buffer(_positions(vision), persistent=False)

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor]:
        embeddings = self.vision.embeddings
        hidden = embeddings.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        hidden = hidden + embeddings.position_embedding(self.position_ids)
        hidden = self.vision.encoder(inputs_embeds=hidden, attention_mask=None).last_hidden_state
        return (self.connector(self.vision.post_layernorm(hidden)),)


def _positions(vision: Any) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    embeddings = vision.embeddings
    handle = embeddings.position_embedding.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    side, rows = int(embeddings.image_size), int(embeddings.num_patches_per_side)
    try:
        embeddings(torch.zeros(1, 3, side, side), torch.ones(1, rows, rows, dtype=torch.bool))
    finally:
        handle.remove()
    return seen[0]


def smolvlm(entry: ModelEntry, folder: Path | None) -> Exportable:
    """SmolVLM and SmolVLM2: a SigLIP tower, pixel shuffle and one projection."""
    from transformers import SmolVLMConfig
    from transformers.models.smolvlm.modeling_smolvlm import SmolVLMConnector, SmolVLMVisionTransformer

    if folder is None:
        made = dict(entry.config)
        # Of the language model nothing counts here but its width.
        text = {"model_type": "llama", "hidden_size": made.pop("text_hidden_size"), "num_attention_heads": 1}
        config = SmolVLMConfig(**made, text_config=text)
    else:
        check_architecture(folder, ("smolvlm", "idefics3"))
        config = SmolVLMConfig.from_dict({**read_config(folder).raw, "model_type": "smolvlm"})
    vision, connector = SmolVLMVisionTransformer(config.vision_config), SmolVLMConnector(config)
    if folder is None:
        liven(vision)
        liven(connector)
    else:
        load_tower(folder, {"vision_model": vision, "connector": connector})
    for part in (vision, connector):
        part.eval().requires_grad_(False)

    def reference(pixel_values: torch.Tensor) -> tuple[torch.Tensor]:
        return (connector(vision(pixel_values).last_hidden_state),)

    side = int(config.vision_config.image_size)
    pictures = sized(entry, folder, side, int(config.vision_config.patch_size))
    return Exportable(
        module=_Tower(vision, connector).eval(),
        reference=reference,
        role=Role.TOWER,
        input_shape=("tiles", 3, side, side),
        outputs=("image_features",),
        pictures=pictures,
        architecture="smolvlm",
    )
