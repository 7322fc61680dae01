"""Tiny vision–language models with random weights, as folders like those of the model hub, made on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FAMILIES = ("smolvlm", "qwen2_5_vl", "qwen3_vl")

# Whatever the tokenizer is trained on; the answers of random models are made of it.
CORPUS = [
    "A man in a red jacket walks from the left to the right.",
    "Two cars stand at the kerb; the white one drives off.",
    "A dog runs after a ball. The camera pans left, then stops.",
    '{"global": "A street at night.", "instances": [{"id": 1, "class": "person"}]}',
    "What is different between the picture at 3.2 s and the one at 4.0 s? Nothing uncertain, no metaphors.",
] * 4

_SMOL = ["<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>"]
_SMOL += [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
_QWEN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
_QWEN += ["<|video_pad|>"]

VOCABULARY = 512


def make(family: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a model of that family, its tokenizer and its settings into a folder."""
    import torch
    import transformers
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # else the first bar, even one that is not shown, starts a thread for good
    transformers.utils.logging.disable_progress_bar()
    tokens = _tokenizer(folder, _SMOL if family == "smolvlm" else _QWEN)
    torch.manual_seed(seed)
    model = (_smolvlm if family == "smolvlm" else _qwen2_5 if family == "qwen2_5_vl" else _qwen3)(tokens)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim > 1:  # wide enough that the model's choices differ from token to token
                tensor.normal_(std=0.25 if "embed" not in name else 1.0)
    model.generation_config.eos_token_id = tokens["<end_of_utterance>" if family == "smolvlm" else "<|im_end|>"]
    model.save_pretrained(folder)
    settings = TILES if family == "smolvlm" else patches(14 if family == "qwen2_5_vl" else 16)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def picture(height: int, width: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """A picture with edges, slopes and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    shades = np.stack([(x * 3 + y) % 256, (y * 5) % 256, ((x // 16 + y // 16) % 2) * 200], axis=-1)
    return np.clip(shades + rng.integers(-20, 20, shades.shape), 0, 255).astype(np.uint8)


TILES = {
    "do_image_splitting": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "max_image_size": {"longest_edge": 64},
    "size": {"longest_edge": 256},
    "resample": 1,
    "rescale_factor": 1 / 255,
}


def patches(side: int) -> dict[str, Any]:
    return {
        "patch_size": side,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 4 * (2 * side) ** 2, "longest_edge": 64 * (2 * side) ** 2},
        "image_mean": [0.48145466, 0.4578275, 0.40821073] if side == 14 else [0.5, 0.5, 0.5],
        "image_std": [0.26862954, 0.26130258, 0.27577711] if side == 14 else [0.5, 0.5, 0.5],
        "resample": 3,
        "rescale_factor": 1 / 255,
    }


def _tokenizer(folder: Path, special: list[str]) -> dict[str, int]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator(CORPUS, trainer)
    end = "<end_of_utterance>" if "<end_of_utterance>" in special else "<|im_end|>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=end, additional_special_tokens=special)
    tokenizer.save_pretrained(folder)
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    assert max(vocabulary.values()) < VOCABULARY
    return vocabulary


_TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}


def _smolvlm(tokens: dict[str, int]) -> Any:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    config = SmolVLMConfig(
        text_config={**_TEXT, "model_type": "llama", "head_dim": 16},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
        },
        scale_factor=2,
        image_token_id=tokens["<image>"],
    )
    return SmolVLMForConditionalGeneration(config)


def _qwen2_5(tokens: dict[str, int]) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        text_config={**_TEXT, "rope_parameters": _rope(2, 3, 3)},
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [2],
        },
        **_places(tokens),
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _qwen3(tokens: dict[str, int]) -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    config = Qwen3VLConfig(
        text_config={**_TEXT, "head_dim": 16, "rope_parameters": {**_rope(4, 2, 2), "mrope_interleaved": True}},
        vision_config={
            "depth": 4,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": 16,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [1, 2],
        },
        **_places(tokens),
    )
    return Qwen3VLForConditionalGeneration(config)


def _rope(*section: int) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": list(section)}


def _places(tokens: dict[str, int]) -> dict[str, int]:
    names = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
    names |= {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>"}
    return {f"{name}_token_id": tokens[token] for name, token in names.items()}
