"""CLIP ViT-B/16 image encoder (int8, 224×224) through ONNX Runtime: the embedded default.

The graph is the vision tower of "Learning Transferable Visual Models From Natural Language Supervision"
(Radford et al., arXiv:2103.00020); preprocessing follows its published constants. The file is not one of ours and has
no sidecar: what one would say stands here.
"""

from __future__ import annotations

from pathlib import Path

from streamcap.models.engine import Device
from streamcap.models.onnx import OnnxEngine
from streamcap.models.pictures import PictureRule
from streamcap.models.vision import EncoderNames, GraphEncoder

__all__ = ["DIM", "NAMES", "RULE", "ClipEncoder"]

DIM = 512
RULE = PictureRule(
    size=(224, 224),
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    resize="crop",
    interpolation="area",
)
NAMES = EncoderNames("image_embeds", "onnx::Gather_1524")


class ClipEncoder(GraphEncoder):
    """512 numbers a picture, about 50 ms on one core.

    Its quantised arithmetic is the processor's, so that it runs there whatever else the machine has.

    Args:
        path: the ``.onnx`` file.
        threads: threads inside one call. One is the robust choice on a shared machine.

    Raises:
        ModelLoadError: the file or the runtime does not load.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        engine = OnnxEngine(
            path, (3, *reversed(RULE.size)), device=Device.CPU, threads=threads, precision="int8-dynamic"
        )
        super().__init__(engine, RULE, dim=DIM, names=NAMES)
