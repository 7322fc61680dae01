"""PEFT adapters: what was learned for one camera or one task, beside a model that stays as it is.

LoRA and its kin (arXiv:2106.09685) are folded into the weights at load, and cost nothing after that. Learned prompts
(prompt tuning, arXiv:2104.08691; the same idea as VPT and MVLPT) are embeddings that stand before every prompt, in the
constant prefix.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from streamcap.errors import ModelLoadError, WrongModel
from streamcap.models.vlm import weights

__all__ = ["Adapted", "adapt"]

Tensor: TypeAlias = Any  # torch ships types, but they are not read: its installation is optional

# Learned prompts that are embeddings; those of other kinds are keys and values of every layer.
PROMPTS = ("PROMPT_TUNING", "P_TUNING")


@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """A model with its adapter.

    Attributes:
        learned: (n, width) embeddings that stand before every prompt; None where there are none.
    """

    model: Any
    learned: Tensor | None = None


def adapt(model: Any, adapter: str, progress: Callable[[str], None]) -> Adapted:
    """Put an adapter to a model that lies in the machine's memory.

    Args:
        adapter: folder or hub id; empty for none.

    Raises:
        WeightsUnavailable, WeightsCorrupt: it cannot be had or read.
        WrongModel: it is of another model, of a format that is not loaded, or of a type that is not supported.
        ModelLoadError: peft is not installed.
    """
    if not adapter:
        return Adapted(model)
    try:
        import torch
        from peft import PeftConfig, PeftModel
    except ImportError as error:
        raise ModelLoadError("peft is not installed", hint="pip install 'streamcap[torch]'") from error
    folder = weights.find(adapter, "adapter")
    weights.read_json(folder / "adapter_config.json")
    if not (folder / "adapter_model.safetensors").is_file():
        raise WrongModel(f"{folder} holds no adapter_model.safetensors", hint="only safetensors are loaded")
    progress(f"putting the adapter {adapter} to it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what peft and transformers have to tell each other
            config = PeftConfig.from_pretrained(str(folder))
            tuned = PeftModel.from_pretrained(model, str(folder), config=config)
    except Exception as error:  # the library raises what its parsers raise, of no common class
        raise WrongModel(
            f"the adapter {adapter} does not fit the model: {weights.first_line(error)}",
            hint=f"it says that it is for {_base(folder)}",
        ) from error
    kind = str(config.peft_type.value)
    if kind in PROMPTS:
        with torch.inference_mode():
            return Adapted(tuned.get_base_model(), tuned.get_prompt(1)[0])
    if config.is_prompt_learning or not hasattr(tuned.base_model, "merge_and_unload"):
        raise WrongModel(
            f"the adapter {adapter} is of type {kind}", hint=f"supported: LoRA and its kin, {', '.join(PROMPTS)}"
        )
    return Adapted(tuned.merge_and_unload(safe_merge=True))


def _base(folder: Path) -> str:
    return str(weights.read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "no model")
