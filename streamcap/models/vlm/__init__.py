"""Vision–language models in this process: SmolVLM2, Qwen2.5-VL, Qwen3-VL (the ``torch`` extra)."""

from streamcap.models.vlm.loading import load

__all__ = ["load"]
