"""Another vision tower in the place of a model's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.config import VisionBackend, VisionSettings
from streamcap.errors import ModelError, WeightsUnavailable, WrongModel
from streamcap.prompts import Picture, Prompt, Text
from tests import vlm_models
from tests.prerequisites import need

pytestmark = pytest.mark.torch

PROMPT = Prompt(
    "You watch a camera and say what is different.",
    (Picture(vlm_models.picture(90, 160), 1.0), Picture(vlm_models.picture(70, 90), 2.0), Text("What is different?")),
    max_tokens=24,
)


@pytest.fixture(scope="module", params=vlm_models.FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vlm_models.make(request.param, tmp_path_factory.mktemp(request.param))


def loaded(folder: Path, **settings: Any) -> Any:
    from streamcap.models.vlm.loading import load_runner

    stated = VisionSettings(backend=VisionBackend.TRANSFORMERS, model=str(folder), device="cpu", **settings)
    running = load_runner(stated)
    running._ends = frozenset()
    return running


def said(running: Any, prompt: Prompt = PROMPT) -> str:
    return "".join(piece.text for piece in running.answer(prompt))


class Elsewhere:
    """The tower of another copy of the model: arrays in, arrays out."""

    def __init__(self, family: Any, grid: tuple[int, int] | None = None) -> None:
        self._family = family
        self.grid = grid
        self.seen = 0
        self.closed = False

    def features(self, sight: Any) -> tuple[NDArray[np.float32], ...]:
        import torch

        self.seen += 1
        with torch.inference_mode():
            found = self._family.encode(sight)
        return tuple(one.numpy() for one in (found.tokens, *found.deep))

    def close(self) -> None:
        self.closed = True


def test_a_tower_elsewhere_gives_the_same_answer(folder: Path) -> None:
    own, other = loaded(folder), loaded(folder)
    tower = Elsewhere(loaded(folder)._family)
    other.reader._tower = tower
    assert said(other) == said(own)
    assert tower.seen == 2
    other.close()
    assert tower.closed


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_pictures_take_the_grid_of_a_tower_that_knows_no_other(family: str, tmp_path: Path) -> None:
    folder = vlm_models.make(family, tmp_path)
    running = loaded(folder)
    tower = Elsewhere(loaded(folder)._family, grid=(4, 6))
    running.reader._tower = tower
    *_, last = running.answer(replace(PROMPT, max_tokens=1))
    *_, alone = running.answer(replace(PROMPT, parts=PROMPT.parts[2:], max_tokens=1))
    assert last.usage.prompt_tokens == alone.usage.prompt_tokens + 2 * (6 + 2) + 1  # a begin and an end each
    sight = running._family.see(PROMPT.pictures[0].image, grid=(4, 6))
    assert (sight.tokens, sight.grid) == (6, (4, 6))


@pytest.fixture(scope="module", params=["smolvlm", "qwen3_vl"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model, and its tower as it is exported for ONNX Runtime and TensorRT."""
    need("engines")
    from engines.manifest import load_manifest
    from engines.work import Work, begin
    from streamcap.models.graph import Precision

    folder = vlm_models.make(request.param, tmp_path_factory.mktemp(request.param))
    name = {"smolvlm": "smolvlm2-500m-vision", "qwen3_vl": "qwen3-vl-2b-vision"}[request.param]
    entry = load_manifest().model(name)
    if entry.grid is not None:
        entry = entry.model_copy(update={"grid": (1, 4, 6)})
    tower = tmp_path_factory.mktemp("tower")
    Work(entry, *begin(entry, source=str(folder)), tower).export(Precision.FP32)
    return folder, tower


def test_an_exported_tower_gives_the_same_answer(exported: tuple[Path, Path]) -> None:
    folder, tower = exported
    own, other = loaded(folder), loaded(folder, tower=tower)
    if (grid := other.reader.grid) is not None:
        own.reader._tower = Elsewhere(loaded(folder)._family, grid=grid)
    assert said(other) == said(own)
    assert not any("vision" in name or "visual" in name for name, _ in other._family.model.named_parameters())
    other.close()


def test_the_tower_of_another_model_is_told(exported: tuple[Path, Path], tmp_path: Path) -> None:
    folder, tower = exported
    with pytest.raises(WrongModel):
        loaded(vlm_models.make("qwen2_5_vl", tmp_path), tower=tower)
    sidecar = tower / "fp32.onnx.json"
    told = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(told | {"std": [0.1, 0.1, 0.1]}))
    with pytest.raises(WrongModel, match="made ready in another way"):
        loaded(folder, tower=tower)
    sidecar.write_text(json.dumps(told))


def test_a_tower_that_is_not_there_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="there is no graph"):
        loaded(folder, tower=tmp_path)


def test_a_tower_of_another_picture_is_told(folder: Path) -> None:
    """It must not shift the pictures of a prompt against their places."""
    running = loaded(folder)
    tower = Elsewhere(loaded(folder)._family)
    running.reader._tower = tower
    whole = tower.features
    tower.features = lambda sight: tuple(one[:-1] for one in whole(sight))  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="places"):
        said(running)
