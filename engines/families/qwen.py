"""Qwen2.5-VL's and Qwen3-VL's vision towers, for one grid that is fixed at export.

transformers works out windows, positions and sequence lengths from the grid at run time, and takes pictures of all
sizes in one sequence. Video of one camera has one size: with the grid fixed all of that becomes constants, and
attention becomes one batched product over windows of one size. Patches are in the order of transformers' processors:
those that are merged into one token lie together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from engines.checkpoint import check_architecture, load_tower, read_config
from engines.families.base import Exportable, liven, rules
from engines.manifest import ModelEntry, Pictures
from streamcap.errors import UsageError
from streamcap.models.graph import PatchGrid, Role

__all__ = ["qwen2_5_vl", "qwen3_vl"]

# Added to the scores of patches of other windows: exp() of it is 0, and half precision can hold it.
_MASKED = -30000.0


class _Spans(nn.Module):
    """Which patches attend to each other: runs of one length, or runs of several lengths by a mask.

    Args:
        bounds: (runs + 1,) where the runs begin and end.
    """

    def __init__(self, bounds: torch.Tensor) -> None:
        super().__init__()
        lengths = (bounds[1:] - bounds[:-1]).tolist()
        self.length = lengths[0] if len(set(lengths)) == 1 else None
        if self.length is None:
            run = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
            self.mask = nn.Buffer(torch.where(run[:, None] == run, 0.0, _MASKED)[None, None], persistent=False)

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Attention of (heads, patches, width) each; (patches, heads · width)."""
        heads, patches, width = q.shape
        runs, length = (1, patches) if self.length is None else (patches // self.length, self.length)
        q, k, v = (each.reshape(heads, runs, length, width).transpose(0, 1) for each in (q, k, v))
        mask = self.mask if self.length is None else None
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return attended.transpose(1, 2).reshape(patches, heads * width)


class _GridTower(nn.Module):
    """A tower for one grid.

    Args:
        tower: transformers' tower.
        order: (tokens,) in which merged tokens are attended to, or None for their own order.
        spans, full: of the layers that see a window, and of those that see a whole frame.
        positions: (patches, width) added to the patches, or None.
        cos, sin: (patches, width of a head) of the rotary positions, in that order.
    """

    # Angles keep single precision in a graph of half precision, as transformers computes them.
    FLOAT32 = ("cos", "sin")

    def __init__(
        self,
        tower: Any,
        order: torch.Tensor | None,
        spans: _Spans,
        full: _Spans,
        positions: torch.Tensor | None,
        cos: torch.Tensor,
        sin: torch.Tensor,
    ) -> None:
        super().__init__()
        self.blocks, self.merger = tower.blocks, tower.merger
        self.unit = int(tower.config.spatial_merge_size) ** 2
        # A convolution whose kernel is the whole patch is a product of matrices.
        kernel = tower.patch_embed.proj
        self.weight, self.bias = nn.Parameter(kernel.weight.flatten(1), requires_grad=False), kernel.bias
        self.order = None if order is None else nn.Buffer(order, persistent=False)
        self.back = None if order is None else nn.Buffer(torch.argsort(order), persistent=False)
        self.spans, self.full = spans, full
        self.whole = frozenset(getattr(tower, "fullatt_block_indexes", range(len(tower.blocks))))
        self.positions = None if positions is None else nn.Buffer(positions, persistent=False)
        self.cos, self.sin = nn.Buffer(cos, persistent=False), nn.Buffer(sin, persistent=False)
        self.deep = getattr(tower, "deepstack_merger_list", nn.ModuleList())
        self.deep_at = tuple(getattr(tower, "deepstack_visual_indexes", ()))

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = functional.linear(pixel_values, self.weight, self.bias)
        if self.positions is not None:
            hidden = hidden + self.positions
        if self.order is not None:
            hidden = hidden.reshape(-1, self.unit, hidden.shape[-1])[self.order].flatten(0, 1)
        deep = []
        for index, block in enumerate(self.blocks):
            spans = self.full if index in self.whole else self.spans
            hidden = hidden + self._attend(block.attn, block.norm1(hidden), spans)
            hidden = hidden + block.mlp(block.norm2(hidden))
            if index in self.deep_at:
                deep.append(self.deep[self.deep_at.index(index)](hidden))
        merged = self.merger(hidden)
        return (merged if self.back is None else merged[self.back], *deep)

    def _attend(self, attention: Any, hidden: torch.Tensor, spans: _Spans) -> torch.Tensor:
        heads = attention.num_heads
        qkv = attention.qkv(hidden).reshape(hidden.shape[0], 3, heads, -1).permute(1, 2, 0, 3)
        q, k = self._turned(qkv[0]), self._turned(qkv[1])
        attended: torch.Tensor = attention.proj(spans(q, k, qkv[2]))
        return attended

    def _turned(self, x: torch.Tensor) -> torch.Tensor:
        """Rotary position embedding (Su et al., arXiv:2104.09864) of (heads, patches, width)."""
        wide = x.float()
        first, second = wide.chunk(2, dim=-1)
        turned = wide * self.cos + torch.cat((-second, first), dim=-1) * self.sin
        return turned.to(x.dtype)


def qwen2_5_vl(entry: ModelEntry, folder: Path | None) -> Exportable:
    """Qwen2.5-VL: most layers attend within windows."""
    from transformers import vision_utils
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

    tower = _tower(entry, folder, "qwen2_5_vl", Qwen2_5_VLVisionConfig, Qwen2_5_VisionTransformerPretrainedModel)
    grid, thw = _grid(entry, tower)
    order, windows = vision_utils.get_vision_window_index(
        thw, spatial_merge_size=grid.merge, window_size=tower.window_size, patch_size=grid.patch
    )
    cos, sin = (
        tower.permute_input_for_window_attn(angle, order, seq_len=grid.patches) for angle in _angles(tower, thw, grid)
    )
    frames = _Spans(vision_utils.get_vision_cu_seqlens(thw))
    return _exportable(
        rules(entry, folder), tower, grid, thw, _GridTower(tower, order, _Spans(windows), frames, None, cos, sin)
    )


def qwen3_vl(entry: ModelEntry, folder: Path | None) -> Exportable:
    """Qwen3-VL: whole frames attend, positions are added, and features of some layers go to the language model too."""
    from transformers import vision_utils
    from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

    tower = _tower(entry, folder, "qwen3_vl", Qwen3VLVisionConfig, Qwen3VLVisionModel)
    grid, thw = _grid(entry, tower)
    taps, weights = vision_utils.get_vision_interpolation_indices_and_weights(
        thw,
        num_grid_per_side=tower.num_grid_per_side,
        mode=tower.interpolation_mode,
        align_corners=tower.interpolation_align_corners,
        spatial_merge_size=grid.merge,
    )
    positions = (tower.pos_embed(taps) * weights[:, :, None]).sum(1)
    frames = _Spans(vision_utils.get_vision_cu_seqlens(thw))
    module = _GridTower(tower, None, frames, frames, positions, *_angles(tower, thw, grid))
    return _exportable(rules(entry, folder), tower, grid, thw, module)


def _tower(entry: ModelEntry, folder: Path | None, kind: str, config_class: Any, tower_class: Any) -> Any:
    if folder is None:
        return liven(tower_class(config_class(**entry.config)))
    check_architecture(folder, (kind,))
    tower = tower_class(config_class.from_dict(dict(read_config(folder).raw["vision_config"])))
    load_tower(folder, {"visual": tower})
    return tower.eval().requires_grad_(False)


def _grid(entry: ModelEntry, tower: Any) -> tuple[PatchGrid, torch.Tensor]:
    if entry.grid is None:
        raise UsageError(f"{entry.id} needs a grid", hint="--grid FRAMES,ROWS,COLUMNS")
    config, (frames, rows, columns) = tower.config, entry.grid
    try:
        grid = PatchGrid(
            frames=frames,
            rows=rows,
            columns=columns,
            patch=int(config.patch_size),
            temporal=int(config.temporal_patch_size),
            merge=int(config.spatial_merge_size),
        )
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"the grid does not hold: {reason}", hint="--grid FRAMES,ROWS,COLUMNS") from error
    return grid, torch.tensor([entry.grid])


def _angles(tower: Any, thw: torch.Tensor, grid: PatchGrid) -> tuple[torch.Tensor, torch.Tensor]:
    from transformers import vision_utils

    cos, sin = tower.rotary_pos_emb(torch.zeros(1), vision_utils.get_vision_position_ids(thw, grid.merge))
    return cos, sin


def _exportable(pictures: Pictures, tower: Any, grid: PatchGrid, thw: torch.Tensor, module: _GridTower) -> Exportable:
    def reference(patches: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = tower(patches, grid_thw=thw)
        return (out.pooler_output, *getattr(out, "deepstack_features", ()))

    width, height = grid.size
    return Exportable(
        module=module.eval(),
        reference=reference,
        role=Role.TOWER,
        input_shape=(grid.patches, grid.values),
        outputs=("image_features", *(f"deepstack_{index}" for index in range(len(module.deep_at)))),
        pictures=pictures.model_copy(update={"size": (height, width)}),
        architecture=tower.config.model_type,
        patches=grid,
    )
