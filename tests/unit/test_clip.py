"""The image encoder: its preprocessing, and that features tell scenes apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcap.errors import ModelLoadError
from streamcap.models.clip import RULE, ClipEncoder
from streamcap.models.pictures import prepare
from streamcap.sources.rendered_art import Painter
from tests.scenes import canvas


@given(st.integers(1, 900), st.integers(1, 900))
@settings(deadline=None, max_examples=20)
def test_any_picture_fits_the_network(width: int, height: int) -> None:
    ready = prepare(np.full((height, width, 3), (255, 0, 128), np.uint8), RULE)
    assert ready.shape == (3, 224, 224)
    assert ready.dtype == np.float32
    assert ready.flags.c_contiguous
    expected = (np.array([1, 0, 128 / 255]) - RULE.mean) / RULE.std
    assert ready.mean(axis=(1, 2)) == pytest.approx(expected, abs=1e-3)


def test_the_middle_is_looked_at() -> None:
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 255
    assert prepare(picture, RULE).min() > 0  # the white middle alone


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    broken = tmp_path / "encoder.onnx"
    broken.write_bytes(b"\x00" * 5000)
    for path in (broken, tmp_path / "none.onnx"):
        with pytest.raises(ModelLoadError, match=path.name):
            ClipEncoder(path)


@pytest.fixture(scope="module")
def encoder(weights: Callable[[str], Path]) -> Iterator[ClipEncoder]:
    encoder = ClipEncoder(weights("clip-vit-b16-int8"))
    yield encoder
    encoder.close()


def street(time: float) -> NDArray[np.uint8]:
    return Painter(320, 180, 1).paint(time, round(time * 10))


def encoded(encoder: ClipEncoder, shown: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    return asyncio.run(encoder.encode(shown)).pooled


@pytest.mark.weights
def test_features_are_of_unit_length(encoder: ClipEncoder) -> None:
    features = encoded(encoder, [street(1.0), street(45.0)])
    assert features.shape == (2, encoder.dim) == (2, 512)
    assert features.dtype == np.float32
    assert np.linalg.norm(features, axis=1) == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.weights
def test_the_same_picture_has_the_same_feature_and_another_another(encoder: ClipEncoder) -> None:
    one, again, little, other = (
        encoded(encoder, [p])[0] for p in (street(1.0), street(1.0), street(1.5), street(45.0))
    )
    assert np.array_equal(one, again)
    assert one @ little > 0.95
    assert one @ other < one @ little - 0.03
    noise = encoded(encoder, [np.repeat(canvas(1)[:, :, None], 3, axis=2)])[0]
    assert one @ noise < 0.9


@pytest.mark.weights
def test_a_batch_is_what_its_pictures_are(encoder: ClipEncoder) -> None:
    """The network is quantised as it runs, over the whole batch, so features are near, not equal."""
    pictures = [street(1.0), street(45.0)]
    together = encoded(encoder, pictures)
    for n, picture in enumerate(pictures):
        assert together[n] @ encoded(encoder, [picture])[0] > 0.98


@pytest.mark.weights
def test_no_pictures_no_features(encoder: ClipEncoder) -> None:
    assert encoded(encoder, []).shape == (0, 512)
