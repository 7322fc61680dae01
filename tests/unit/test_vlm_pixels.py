"""Pictures made ready for models, to the pixel as transformers' own processors do it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamcap.errors import PromptRefused, WrongModel
from tests import vlm_models

pytestmark = pytest.mark.torch

sides = st.integers(1, 320)


@given(sides, sides, st.booleans(), st.sampled_from([64, 128, 256]))
@example(1, 1, True, 64)
@example(64, 64, True, 64)
@example(65, 64, True, 128)
@example(2, 300, True, 256)
@example(300, 2, True, 256)
@example(270, 480, True, 128)
@example(480, 270, False, 256)
@example(4100, 13, True, 256)
@settings(max_examples=25)
def test_tiles_are_those_of_transformers(height: int, width: int, split: bool, longest: int) -> None:
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    from streamcap.models.vlm.pixels import TileRule

    stated = vlm_models.TILES | {"do_image_splitting": split, "size": {"longest_edge": longest}}
    image = vlm_models.picture(height, width)
    theirs = SmolVLMImageProcessorPil(**stated)(
        image, return_tensors="np", return_row_col_info=True, input_data_format="channels_last"
    )
    ours = TileRule.read(stated).cut(image)
    assert (ours.rows, ours.columns) == (theirs["rows"][0][0], theirs["cols"][0][0])
    np.testing.assert_array_equal(ours.pixels, theirs["pixel_values"][0])
    assert theirs["pixel_attention_mask"].all()  # whence the tower may be told that nothing is padded


@given(sides, sides, st.sampled_from([14, 16]))
@example(1, 1, 14)
@example(28, 28, 14)
@example(3, 500, 16)
@example(2000, 11, 16)
@settings(max_examples=25)
def test_patches_are_those_of_transformers(height: int, width: int, side: int) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from streamcap.models.vlm.pixels import PatchRule

    stated = vlm_models.patches(side)
    image = vlm_models.picture(height, width)
    rule = PatchRule.read(stated)
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(PromptRefused, match="too narrow"):
            rule.cut(image)
        return
    theirs = Qwen2VLImageProcessorPil(**stated)(image, return_tensors="np", input_data_format="channels_last")
    ours = rule.cut(image)
    assert [[1, ours.rows, ours.columns]] == theirs["image_grid_thw"].tolist()
    np.testing.assert_array_equal(ours.pixels, theirs["pixel_values"])


@given(st.integers(16, 500), st.integers(16, 500), st.integers(16, 400))
@settings(max_examples=25)
def test_a_picture_takes_no_more_of_the_prompt_than_it_may(height: int, width: int, tokens: int) -> None:
    from streamcap.models.vlm.pixels import PatchRule, TileRule

    image = vlm_models.picture(height, width)
    patches = PatchRule.read(vlm_models.patches(14)).at_most(tokens).cut(image)
    strip = max(patches.rows, patches.columns) // 2  # a long strip is one token across, however few it may have
    assert len(patches.pixels) // 4 <= max(tokens, strip)
    tiles = TileRule.read(vlm_models.TILES).at_most(tokens // 16).cut(image)
    assert len(tiles.pixels) * 16 <= tokens


def test_a_grid_that_a_tower_asks_for_is_what_it_gets() -> None:
    from streamcap.models.vlm.pixels import PatchRule

    patches = PatchRule.read(vlm_models.patches(16)).cut(vlm_models.picture(90, 300), grid=(6, 10))
    assert (patches.rows, patches.columns, patches.pixels.shape) == (6, 10, (60, 3 * 2 * 16 * 16))


def test_the_older_form_of_settings_is_read() -> None:
    from streamcap.models.vlm.pixels import PatchRule

    older: dict[str, Any] = vlm_models.patches(14)
    size = older.pop("size")
    older |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    image = vlm_models.picture(123, 321)
    newer = PatchRule.read(vlm_models.patches(14)).cut(image)
    np.testing.assert_array_equal(PatchRule.read(older).cut(image).pixels, newer.pixels)


@pytest.mark.parametrize("settings", [{}, {"patch_size": "x"}, {"size": 3, "max_image_size": {"longest_edge": None}}])
def test_settings_of_another_model_are_refused(settings: dict[str, Any]) -> None:
    from streamcap.models.vlm.pixels import PatchRule, TileRule

    with pytest.raises(WrongModel):
        PatchRule.read(settings)
    with pytest.raises(WrongModel):
        TileRule.read(settings)
