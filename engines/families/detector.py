"""Transformer detectors: RT-DETR v2. Outputs ``logits`` and ``pred_boxes``; nothing has to be suppressed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engines.families.base import Exportable, model_of, rules
from engines.manifest import ModelEntry
from streamcap.models.graph import Role

__all__ = ["rtdetr"]

# Score, before the sigmoid, of places that random weights are not to choose.
_SHUNNED = 3.0
COCO = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign "
    "parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie "
    "suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard "
    "tennis_racket bottle wine_glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot "
    "hot_dog pizza donut cake chair couch potted_plant bed dining_table toilet tv laptop mouse remote keyboard "
    "cell_phone microwave oven toaster sink refrigerator book clock vase scissors teddy_bear hair_drier "
    "toothbrush"
)


class _Detector(nn.Module):
    """Scores and boxes of a transformers detection model.

    From the choice of the queries on everything is in single precision, whatever the backbone and the encoder are in:
    half precision places a box in 640 pixels to about a third of one, in each layer of the decoder anew.
    """

    FLOAT32_PARTS = (
        *("model.model.enc_output", "model.model.enc_score_head", "model.model.enc_bbox_head"),
        *("model.model.decoder", "model.class_embed", "model.bbox_embed"),
    )

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        for projection in model.model.decoder_input_proj:
            projection.register_forward_hook(_single)

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with _traceable():
            out = self.model(pixel_values=pixel_values)
        return out.logits, out.pred_boxes


def _single(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
    return output.float()


@contextmanager
def _traceable() -> Iterator[None]:
    """Two names of transformers' code that keep it from being exported with a batch of any size, replaced for a while.

    ``len`` of a tensor is a plain number, and so would become a constant of the graph; and the check that feature maps
    and their sizes agree is an operator that ONNX does not have.
    """
    from transformers.models.rt_detr_v2 import modeling_rt_detr_v2 as code

    check = code.torch_compilable_check
    code.torch_compilable_check = lambda *_: None
    code.len = lambda sized: sized.shape[0] if isinstance(sized, torch.Tensor) else len(sized)
    try:
        yield
    finally:
        code.torch_compilable_check = check
        del code.len


def rtdetr(entry: ModelEntry, folder: Path | None) -> Exportable:
    """RT-DETR v2: a convolutional backbone, a hybrid encoder, and queries chosen by score."""
    from transformers import RTDetrV2Config, RTDetrV2ForObjectDetection

    model = model_of(entry, folder, RTDetrV2Config, RTDetrV2ForObjectDetection)
    if folder is None:
        _settle(model, entry.pictures.size)
        _shun_border(model.model)
    module = _Detector(model).eval()
    named = [str(name) for _, name in sorted(model.config.id2label.items())]
    # A configuration without names calls its classes LABEL_0, LABEL_1 …
    labels = [name.replace("_", " ") for name in COCO.split()[: len(named)]] if named[0] == "LABEL_0" else named
    height, width = entry.pictures.size
    return Exportable(
        module=module,
        reference=module,
        role=Role.DETECTOR,
        input_shape=("batch", 3, height, width),
        outputs=("logits", "pred_boxes"),
        pictures=rules(entry, folder),
        architecture=model.config.model_type,
        labels=tuple(labels),
    )


def _shun_border(model: Any) -> None:
    """Let random weights not choose the places at the border, which are masked: they all score alike, so that rounding
    alone would choose between them. Training teaches the same.
    """
    head = model.enc_score_head
    with torch.no_grad():
        masked = model.enc_output(torch.zeros(1, model.config.d_model))
        head.bias.copy_(-(head.weight @ masked[0]) - _SHUNNED)


def _settle(model: nn.Module, size: tuple[int, int]) -> None:
    """Give the batch normalisations of random weights the statistics that they would have learnt.

    With those of a new model what one picture makes different from another fades from layer to layer.
    """

    def measure(norm: Any, given: tuple[torch.Tensor]) -> None:
        norm.running_mean.copy_(given[0].mean((0, 2, 3)))
        norm.running_var.copy_(given[0].var((0, 2, 3)))

    handles = [part.register_forward_pre_hook(measure) for part in model.modules() if hasattr(part, "running_var")]
    try:
        with torch.no_grad():
            model(pixel_values=torch.rand(2, 3, *size))
    finally:
        for handle in handles:
            handle.remove()
