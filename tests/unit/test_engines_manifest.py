"""The manifest of engines: what it must say."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.families import FAMILIES
from engines.manifest import ModelEntry, Tolerances, load_manifest
from streamcap.errors import ConfigError, UsageError
from streamcap.models.graph import Precision

ENTRY = """
[[model]]
id = "one"
family = "clip"
hub = "who/what"
revision = "0123456789012345678901234567890123456789"
licence = "MIT"
upstream = "somebody"
precisions = ["fp16"]
profile = { least = 1, best = 2, most = 4 }
config = {}
tiny = { pictures_size = [8, 8] }
[model.pictures]
size = [16, 16]
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
resize = "squash"
interpolation = "bilinear"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "manifest.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("entry", load_manifest().models, ids=lambda entry: entry.id)
def test_what_the_manifest_names_can_be_made(entry: ModelEntry) -> None:
    assert entry.family in FAMILIES
    assert Precision.FP32 in entry.precisions
    assert all(0.9 <= entry.tolerances.of(each) <= 1 for each in entry.precisions)
    small = entry.shrunk()
    assert small.id == f"{entry.id}-tiny"
    assert max(small.pictures.size) <= 64
    assert small.config.keys() >= entry.config.keys()


def test_a_name_that_is_nearly_right() -> None:
    with pytest.raises(UsageError, match="clip-vit-b61") as caught:
        load_manifest().model("clip-vit-b61")
    assert caught.value.hint == "did you mean clip-vit-b16?"


def test_boxes_have_a_measure_of_their_own() -> None:
    tolerances = Tolerances()
    assert tolerances.of(Precision.FP16, "logits") == tolerances.fp16
    assert tolerances.of(Precision.FP16, "pred_boxes") == tolerances.overlap
    assert tolerances.of(Precision.INT8, "pred_boxes") == tolerances.overlap_int8


def test_patch_tokens_have_a_measure_of_their_own_in_eight_bits() -> None:
    tolerances = Tolerances()
    assert tolerances.of(Precision.FP16, "patch_tokens") == tolerances.fp16
    assert tolerances.of(Precision.INT8_DYNAMIC, "patch_tokens") == tolerances.tokens_int8
    assert tolerances.of(Precision.FP8, "patch_tokens") == tolerances.tokens_fp8 < tolerances.of(Precision.FP8)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("family", "famly"), r"model\.0\.family"),
        (('"MIT"', '""'), r"model\.0\.licence"),
        (("0123456789012345678901234567890123456789", "main"), r"model\.0\.revision"),
        (('"fp16"', '"fp15"'), r"model\.0\.precisions\.0"),
        (("best = 2", "best = 8"), "least <= best <= most"),
        (("std = [0.5", "std = [0.0"), "std must be above 0"),
        (('"squash"', '"stretch"'), r"pictures\.resize"),
        (("[[model]]", "[[model"), "is not TOML"),
        ((ENTRY, ENTRY + ENTRY), "'one' stands twice"),
    ],
)
def test_a_manifest_that_does_not_hold(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    assert load_manifest(written(tmp_path, ENTRY)).model("one").profile.most == 4
    with pytest.raises(ConfigError, match=complaint):
        load_manifest(written(tmp_path, ENTRY.replace(*change)))


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_manifest(tmp_path / "none.toml")
