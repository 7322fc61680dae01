"""A tiny vision–language model with random weights, as a folder like those of the model hub, for model servers.

LLaVA, because its processor needs no package for video; its words are whole words, so that any answer can be read.
"""

from __future__ import annotations

from pathlib import Path

_TEXT = (
    "a the person car dog red blue left right centre from to in on walks stops enters leaves turns stands runs what"
    " changed between pictures one two three nothing new camera moves day night street door hand and then while near"
    " . , : ; ( ) 0 1 2 3 4 5 6 7 8 9 you see say describe before now user assistant system"
)
WORDS = tuple(_TEXT.split())
_SPECIAL = ("<s>", "</s>", "<pad>", "<image>", "<unk>")
_SIDE, _PATCH = 32, 8
_CHAT = (
    "{% for m in messages %}<s> {{ m['role'] }} : "
    "{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for c in m['content'] %}"
    "{{ '<image>' if c['type'] == 'image' else c['text'] }} {% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<s> assistant : {% endif %}"
)


def make(folder: Path) -> Path:
    """Write the model, its processor and its settings into a folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    ids = {word: n for n, word in enumerate(dict.fromkeys((*_SPECIAL, *WORDS)))}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": _SIDE}, crop_size={"height": _SIDE, "width": _SIDE}),
        tokenizer=tokenizer,
        patch_size=_PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_CHAT,
    )
    torch.manual_seed(7)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=_SIDE,
                patch_size=_PATCH,
            ),
            text_config=LlamaConfig(
                vocab_size=len(ids),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=2048,
            ),
            image_token_index=ids["<image>"],
            vision_feature_layer=-1,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # wide enough that its choices differ from token to token
                parameter.normal_(std=0.3)
    model.generation_config.pad_token_id = ids["<pad>"]
    model.generation_config.eos_token_id = ids["</s>"]
    # So answers end at their limit alone.
    model.generation_config.suppress_tokens = [ids[special] for special in _SPECIAL]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
