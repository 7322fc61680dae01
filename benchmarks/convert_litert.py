"""Makes the LiteRT graph that benchmarks/encoders.py compares: the same network, random weights, fp32 and int8.

The converter brings jax and holds pydantic back, so that it gets an environment of its own:

python -m venv out/litert && out/litert/bin/pip install litert-torch transformers
out/litert/bin/python benchmarks/convert_litert.py
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "out" / "bench" / "engines" / "clip-vit-b16"


def tower() -> Any:
    """CLIP's ViT-B/16 image tower with its projection; gives the embedding."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(patch_size=16, projection_dim=512, attn_implementation="eager")
    model = CLIPVisionModelWithProjection(config).eval()

    class Tower(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            return self.model(pixel_values=pixel_values, return_dict=False)[0]

    return Tower().eval()


def main() -> None:
    """Convert, and quantise the weights of one copy."""
    import torch

    converter = importlib.import_module("litert_torch")
    quantizer = importlib.import_module("ai_edge_quantizer.quantizer")
    recipe = importlib.import_module("ai_edge_quantizer.recipe")
    FOLDER.mkdir(parents=True, exist_ok=True)
    plain = FOLDER / "fp32.tflite"
    converter.convert(tower(), (torch.zeros(1, 3, 224, 224),)).export(str(plain))
    quantised = quantizer.Quantizer(str(plain), recipe.dynamic_wi8_afp32())
    quantised.quantize().export_model(str(FOLDER / "int8-dynamic.tflite"), overwrite=True)
    print("\n".join(f"{path}  {path.stat().st_size / 1e6:.0f} MB" for path in sorted(FOLDER.glob("*.tflite"))))


if __name__ == "__main__":
    main()
