"""The models that the settings name, loaded and let go."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from streamcap.config import Decode, ModelSettings
from streamcap.errors import ModelError
from streamcap.models.pool import load
from tests.graphs import COLOURS, make_detector, make_encoder
from tests.prerequisites import need


@pytest.mark.weights
def test_exported_graphs_take_the_place_of_the_defaults(tmp_path: Path) -> None:
    need("engines")
    settings = ModelSettings(
        encoder=str(make_encoder(tmp_path / "e").parent), detector=str(make_detector(tmp_path / "d").parent)
    )
    with load(settings) as models:
        assert models.detector.labels == COLOURS
        assert models.encoder is not None
        assert models.encoder.dim == 16
        assert set(models.engines) == {"encoder", "detector"}
        assert models.gpu_decode == any(engine.device == "cuda" for engine in models.engines.values())
        encoder = models.encoder
    with pytest.raises(ModelError, match="closed"):
        asyncio.run(encoder.encode([np.zeros((8, 8, 3), np.uint8)]))


@pytest.mark.weights
def test_no_encoder_at_all() -> None:
    with load(ModelSettings(encoder="none", decode=Decode.CUDA)) as models:
        assert models.gpu_decode
        assert models.encoder is None
        assert "encoder" not in models.engines


@pytest.mark.weights
def test_what_cannot_be_loaded_leaves_nothing_behind(tmp_path: Path) -> None:
    need("engines")
    detector = str(make_detector(tmp_path / "d").parent)
    before = set(threading.enumerate())
    with pytest.raises(ModelError, match="no graph"):
        load(ModelSettings(detector=detector, encoder=str(tmp_path / "nothing")))
    assert set(threading.enumerate()) <= before
