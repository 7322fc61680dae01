"""The families of vision–language models that run in this process: what differs between them, and nothing else.

A family makes pictures ready, says what stands for them in the prompt, where tokens stand (positions), and runs the two
halves of the model: the vision tower and the language model. All of it goes through the model's own modules; that the
parts put together give what ``generate`` gives is what the tests hold it to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from streamcap.errors import WrongModel
from streamcap.models.graph import GraphInfo, engines_command
from streamcap.models.vlm.pixels import Levels, PatchRule, TileRule
from streamcap.models.vlm.towers import Sight

__all__ = ["FAMILIES", "Family", "Features", "QwenVL", "SmolVLM"]

Tensor: TypeAlias = Any  # torch ships types, but they are not read: its installation is optional

# What Qwen's own function of positions calls a token of a picture; one of text is 0.
_IMAGE_KIND = 1


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A picture as visual tokens.

    Attributes:
        tokens: (tokens, width) in place of the placeholders' embeddings.
        deep: for each of the first layers of the language model what is added to them after it; of the same shape.
    """

    tokens: Tensor
    deep: tuple[Tensor, ...] = ()


class Family(ABC):
    """One loaded model of a family.

    Args:
        model: transformers' model with its language head.
        preprocessor: content of ``preprocessor_config.json``.
        picture_tokens: most visual tokens of a picture.

    Attributes:
        model_types: what ``config.json`` may call them.
        picture: the token that stands for a picture in the chat template.
        template: Jinja template of the chat, for a model that comes without one.
        settings: a part of ``preprocessor_config.json`` for a model that comes without one.
    """

    model_types: ClassVar[tuple[str, ...]]
    picture: ClassVar[str]
    template: ClassVar[str]

    def __init__(self, model: Any, preprocessor: Mapping[str, Any], *, picture_tokens: int) -> None:
        self.model = model

    @property
    def layers(self) -> int:
        """Layers of the language model."""
        return int(self.model.config.text_config.num_hidden_layers)

    @property
    def longest(self) -> int:
        """Tokens that the language model can read, prompt and answer together."""
        return int(self.model.config.text_config.max_position_embeddings)

    @property
    def vocabulary(self) -> int:
        """Scores that :meth:`score` gives for a token."""
        return int(self.model.lm_head.out_features)

    @property
    def placeholder(self) -> int:
        """Id of the token that stands for one visual token."""
        return int(self.model.config.image_token_id)

    def embed(self, tokens: Tensor) -> Tensor:
        """(1, n) token ids → (1, n, width)."""
        return self.model.get_input_embeddings()(tokens)

    def score(self, hidden: Tensor) -> Tensor:
        """(1, n, width) of the language model → (n, vocabulary) float32 logits."""
        return self.model.lm_head(hidden)[0].float()

    def _check(self, info: GraphInfo, levels: Levels, same_pictures: bool, *, deep: int) -> None:
        """See that an exported tower is that of this model.

        Args:
            levels: what the model makes of the levels of a picture.
            same_pictures: it takes pictures of the model's size.
            deep: how many depths of it go to the language model.
        """
        width = self.model.config.text_config.hidden_size
        outputs = {one.name: one.shape[-1] for one in info.outputs}
        if set(outputs) != {"image_features", *(f"deepstack_{depth}" for depth in range(deep))}:
            raise WrongModel(f"the tower {info.model} gives {', '.join(outputs)}, which is not what the model takes")
        if any(found not in (width, None) and isinstance(found, int) for found in outputs.values()):
            raise WrongModel(f"the tower {info.model} is of a model of another width than {width}")
        theirs = Levels.of(info.mean, info.std, info.rescale).table
        if not same_pictures or not np.allclose(theirs, levels.table, atol=1e-4):
            raise WrongModel(
                f"the tower {info.model} takes pictures that are made ready in another way",
                hint=f"export it from the same model: {engines_command('make MODEL')}",
            )

    @abstractmethod
    def see(self, image: NDArray[np.uint8], *, grid: tuple[int, int] | None = None) -> Sight:
        """Make a picture ready.

        Args:
            image: (height, width, 3) uint8 RGB.
            grid: of patches, where a tower takes no other.

        Raises:
            PromptRefused: the picture is of a form that the family cannot see.
        """

    @abstractmethod
    def replace_tower(self, info: GraphInfo) -> None:
        """Let go of the model's own vision tower, for an exported one.

        Raises:
            WrongModel: that is the tower of another model, or takes pictures that are made ready in another way.
        """

    @abstractmethod
    def encode(self, sight: Sight) -> Features:
        """The model's own vision tower."""

    @abstractmethod
    def positions(self, tokens: Tensor, sights: Sequence[Sight]) -> tuple[Tensor, int]:
        """Where the (1, n) tokens of a whole prompt stand, as :meth:`read` takes it, and what is to be added to a
        token's number to get its position from there on."""

    @abstractmethod
    def read(self, embeds: Tensor, positions: Tensor, cache: Any, seen: Tensor, deep: Sequence[Tensor]) -> Tensor:
        """Run the language model over the next tokens.

        Args:
            embeds: (1, n, width), visual tokens in their places.
            positions: of these n.
            cache: holds all before them, and these afterwards.
            seen: (1, n) bool, true where a visual token stands.
            deep: as in :class:`Features`, of those of the n that are visual.

        Returns:
            (1, n, width), of the last layer.
        """


class SmolVLM(Family):
    """SmolVLM2 (arXiv:2504.05299): a fixed number of tokens for each tile of a picture."""

    model_types = ("smolvlm",)
    picture = "<image>"
    template = (
        "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
        "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
        "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
        "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
        "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
    )

    def __init__(self, model: Any, preprocessor: Mapping[str, Any], *, picture_tokens: int) -> None:
        super().__init__(model, preprocessor, picture_tokens=picture_tokens)
        rule = TileRule.read(preprocessor)
        side = rule.side // model.config.vision_config.patch_size // model.config.scale_factor
        self._tile_tokens = int(side * side)
        self._rule = rule.at_most(picture_tokens // self._tile_tokens)

    def see(self, image: NDArray[np.uint8], *, grid: tuple[int, int] | None = None) -> Sight:
        """See :class:`Family`; a grid of patches is not asked for."""
        tiles = self._rule.cut(image)
        place = "<image>" * self._tile_tokens
        around = "<fake_token_around_image>"
        rows = [
            "".join(f"{around}<row_{row + 1}_col_{column + 1}>{place}" for column in range(tiles.columns)) + "\n"
            for row in range(tiles.rows)
        ]
        whole = f"{around}<global-img>{place}{around}"
        text = "".join(rows) + ("\n" if rows else "") + whole
        return Sight(tiles.pixels, None, len(tiles.pixels) * self._tile_tokens, text)

    def replace_tower(self, info: GraphInfo) -> None:
        """See :class:`Family`."""
        rule = self._rule
        self._check(info, rule.levels, info.patches is None and info.size == (rule.side, rule.side), deep=0)
        self.model.model.vision_model = self.model.model.connector = None

    def encode(self, sight: Sight) -> Features:
        """See :class:`Family`."""
        pixels = torch.from_numpy(sight.pixels).to(self.model.device)
        found = self.model.get_image_features(pixel_values=pixels[None], return_dict=True).pooler_output
        return Features(torch.cat(list(found)))

    def positions(self, tokens: Tensor, sights: Sequence[Sight]) -> tuple[Tensor, int]:
        """See :class:`Family`: one after the other."""
        return torch.arange(tokens.shape[1], device=tokens.device)[None], 0

    def read(self, embeds: Tensor, positions: Tensor, cache: Any, seen: Tensor, deep: Sequence[Tensor]) -> Tensor:
        """See :class:`Family`."""
        return self.model.model.text_model(
            inputs_embeds=embeds, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state


class QwenVL(Family):
    """Qwen2.5-VL (arXiv:2502.13923) and Qwen3-VL (arXiv:2511.21631): as many tokens as a picture is large, positions
    in time, row and column; the third generation also feeds three depths of the tower to the first layers."""

    model_types = ("qwen2_5_vl", "qwen3_vl")
    picture = "<|image_pad|>"
    template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
        "{% elif line['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )

    def __init__(self, model: Any, preprocessor: Mapping[str, Any], *, picture_tokens: int) -> None:
        super().__init__(model, preprocessor, picture_tokens=picture_tokens)
        rule = PatchRule.read(preprocessor)
        vision = model.config.vision_config
        stated = (vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)
        if (rule.patch, rule.merge, rule.temporal) != stated:
            raise WrongModel("preprocessor_config.json and config.json differ in the size of a patch")
        self._rule = rule.at_most(picture_tokens)
        self._merged = rule.merge**2

    def see(self, image: NDArray[np.uint8], *, grid: tuple[int, int] | None = None) -> Sight:
        """See :class:`Family`."""
        patches = self._rule.cut(image, grid=grid)
        tokens = len(patches.pixels) // self._merged
        return Sight(patches.pixels, (patches.rows, patches.columns), tokens, self.picture * tokens)

    def replace_tower(self, info: GraphInfo) -> None:
        """See :class:`Family`."""
        grid, rule = info.patches, self._rule
        same = grid is not None and (1, rule.patch, rule.merge, rule.temporal) == (
            grid.frames,
            grid.patch,
            grid.merge,
            grid.temporal,
        )
        depths = getattr(self.model.config.vision_config, "deepstack_visual_indexes", ())
        self._check(info, rule.levels, same, deep=len(depths))
        self.model.model.visual = None

    def encode(self, sight: Sight) -> Features:
        """See :class:`Family`."""
        pixels = torch.from_numpy(sight.pixels).to(self.model.device)
        found = self.model.get_image_features(
            pixel_values=pixels, image_grid_thw=self._grids([sight]), return_dict=True
        )
        deep = getattr(found, "deepstack_features", None) or []
        return Features(torch.cat(list(found.pooler_output)), tuple(torch.cat(list(layer)) for layer in deep))

    def positions(self, tokens: Tensor, sights: Sequence[Sight]) -> tuple[Tensor, int]:
        """See :class:`Family`; by the model's own function."""
        kinds = (tokens == self.placeholder).int() * _IMAGE_KIND
        grids = self._grids(sights) if sights else None
        places, delta = self.model.model.get_rope_index(tokens, mm_token_type_ids=kinds, image_grid_thw=grids)
        return places, int(delta)

    def read(self, embeds: Tensor, positions: Tensor, cache: Any, seen: Tensor, deep: Sequence[Tensor]) -> Tensor:
        """See :class:`Family`."""
        deeper = {"visual_pos_masks": seen, "deepstack_visual_embeds": list(deep)} if deep else {}
        return self.model.model.language_model(
            inputs_embeds=embeds, position_ids=positions, past_key_values=cache, use_cache=True, **deeper
        ).last_hidden_state

    def _grids(self, sights: Sequence[Sight]) -> Tensor:
        return torch.tensor([(1, *(sight.grid or ())) for sight in sights], device=self.model.device)


FAMILIES: dict[str, type[Family]] = {name: family for family in (SmolVLM, QwenVL) for name in family.model_types}
