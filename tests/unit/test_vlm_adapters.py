"""Adapters against peft's own way to run them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from streamcap.config import VisionBackend, VisionSettings
from streamcap.errors import WeightsUnavailable, WrongModel
from streamcap.prompts import Picture, Prompt, Text
from tests import vlm_models

pytestmark = pytest.mark.torch

PROMPT = Prompt(
    "You watch a camera and say what is different. Nothing uncertain.",
    (Picture(vlm_models.picture(90, 160), 1.0), Text("What is different?")),
    max_tokens=24,
)


@pytest.fixture(scope="module", params=["smolvlm", "qwen3_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vlm_models.make(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def smolvlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vlm_models.make("smolvlm", tmp_path_factory.mktemp("smolvlm"))


def loaded(folder: Path, adapter: Path | str = "") -> Any:
    from streamcap.models.vlm.loading import load_runner

    stated = VisionSettings(backend=VisionBackend.TRANSFORMERS, model=str(folder), adapter=str(adapter), device="cpu")
    running = load_runner(stated)
    running._ends = frozenset()
    return running


def said(running: Any) -> str:
    return "".join(piece.text for piece in running.answer(PROMPT))


def tune(folder: Path, to: Path, config: Any) -> Any:
    """Write an adapter of random weights, and give the model with it beside its own weights, as peft runs it."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForImageTextToText

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of peft to transformers
        tuned = get_peft_model(AutoModelForImageTextToText.from_pretrained(folder), config)
    torch.manual_seed(5)
    with torch.no_grad():
        for name, tensor in tuned.named_parameters():
            if tensor.requires_grad:
                tensor.normal_(std=1.0 if "prompt" in name else 0.1)
    tuned.save_pretrained(to)
    return tuned.eval()


def greedy(tuned: Any, running: Any) -> str:
    """Token by token through peft's own ``forward``, everything anew each time."""
    import torch

    sights = [running._family.see(picture.image) for picture in PROMPT.pictures]
    ids = list(running._chat.tokens(PROMPT, sights).ids)
    made: list[int] = []
    pixels: dict[str, Any] = {"pixel_values": torch.from_numpy(sights[0].pixels)}
    if sights[0].grid is None:
        pixels["pixel_values"] = pixels["pixel_values"][None]
    else:
        pixels["image_grid_thw"] = torch.tensor([[1, *sights[0].grid]])
    for _ in range(PROMPT.max_tokens):
        tokens = torch.tensor([ids + made])
        if sights[0].grid is not None:
            pixels["mm_token_type_ids"] = (tokens == running._family.placeholder).int()
        with torch.inference_mode():
            made.append(int(tuned(input_ids=tokens, use_cache=False, **pixels).logits[0, -1].argmax()))
    return str(running._tokenizer.decode(made, skip_special_tokens=True))


def lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=4, target_modules=["q_proj", "v_proj", "gate_proj"], task_type="CAUSAL_LM")


def test_a_lora_adapter_is_folded_into_the_weights(folder: Path, tmp_path: Path) -> None:
    tuned = tune(folder, tmp_path, lora())
    running = loaded(folder, tmp_path)
    assert said(running) == greedy(tuned, running)
    assert said(running) != said(loaded(folder))
    assert not any("lora" in name for name, _ in running._family.model.named_modules())


def test_a_learned_prompt_stands_before_every_prompt(smolvlm: Path, tmp_path: Path) -> None:
    from peft import PromptTuningConfig

    text = {"num_attention_heads": 4, "num_layers": 3, "token_dim": 64}
    tuned = tune(smolvlm, tmp_path, PromptTuningConfig(num_virtual_tokens=6, task_type="CAUSAL_LM", **text))
    running = loaded(smolvlm, tmp_path)
    first = said(running)
    assert first == greedy(tuned, running)
    assert first != said(loaded(smolvlm))
    reused = running.work.reused
    assert said(running) == first
    assert running.work.reused - reused > 6


def test_an_adapter_that_is_not_there_is_told(smolvlm: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="there is no folder"):
        loaded(smolvlm, "/no/such/adapter")


def test_a_folder_without_an_adapter_is_told(smolvlm: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongModel, match=r"holds no adapter_config\.json"):
        loaded(smolvlm, tmp_path)


def test_an_adapter_that_is_a_pickle_is_not_loaded(smolvlm: Path, tmp_path: Path) -> None:
    tune(smolvlm, tmp_path, lora())
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(WrongModel, match="safetensors"):
        loaded(smolvlm, tmp_path)


def test_an_adapter_of_another_model_is_told(smolvlm: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tune(smolvlm, tmp_path, lora())
    weights = tmp_path / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor[:, :3].contiguous() for name, tensor in tensors.items()}, weights)
    with pytest.raises(WrongModel, match="does not fit"):
        loaded(smolvlm, tmp_path)


def test_an_adapter_of_a_type_that_is_not_supported_is_told(smolvlm: Path, tmp_path: Path) -> None:
    from peft import PrefixTuningConfig

    text = {"num_attention_heads": 4, "num_layers": 3, "token_dim": 64}
    tune(smolvlm, tmp_path, PrefixTuningConfig(num_virtual_tokens=6, task_type="CAUSAL_LM", **text))
    with pytest.raises(WrongModel, match="PREFIX_TUNING") as caught:
        loaded(smolvlm, tmp_path)
    assert "LoRA" in caught.value.hint
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "PREFIX_TUNING"
