"""What holds of every image encoder, whatever runs it: shapes, unit length, batches, errors, likeness to the original.

The tiny graphs are compared with the fp32 one in ONNX Runtime. TensorRT needs a GPU and skips without one; what of its
backend needs none is in test_tensorrt.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.config import ModelSettings
from streamcap.errors import ModelError, ModelLoadError
from streamcap.models.choosing import open_encoder
from streamcap.models.clip import ClipEncoder
from streamcap.models.engine import Device
from streamcap.models.graph import Precision, read_graph
from streamcap.models.onnx import OnnxEngine
from streamcap.models.vision import GraphEncoder
from streamcap.sources.rendered_art import Painter
from tests.graphs import make_encoder
from tests.prerequisites import need

Weights = Callable[[str], Path]

# Least cosine of a feature with that of the fp32 graph, by what runs it.
LIKENESS = {"fp32": 0.99999, "fp16": 0.999, "int8": 0.99, "batched": 0.99999, "clip": 0.98}


def graph(folder: Path, precision: Precision = Precision.FP32) -> tuple[Path, GraphEncoder]:
    path = make_encoder(folder, precision)
    info = read_graph(path)
    return path, GraphEncoder(OnnxEngine.of(path, info, device=Device.CPU), info.pictures, dim=16)


def batched(folder: Path) -> GraphEncoder:
    path = make_encoder(folder)
    info = read_graph(path)
    return GraphEncoder(OnnxEngine.of(path, info, device=Device.CPU), info.pictures, dim=16, batch=4)


def tensorrt(folder: Path) -> GraphEncoder:
    settings = ModelSettings.model_validate({"encoder": str(folder), "device": "cuda"})
    try:
        encoder = open_encoder(settings)
    except ModelLoadError as error:
        pytest.skip(f"no GPU runs it here: {error}")
    if not encoder.info.provider.startswith("TensorRT"):
        encoder.close()
        pytest.skip(f"no plan runs it here: {encoder.info.why}")
    return encoder


@pytest.fixture(params=["fp32", "fp16", "int8", "batched", "tensorrt", "clip"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, GraphEncoder, GraphEncoder]]:
    """The name of a backend, its encoder, and the encoder that it is compared with."""
    name: str = request.param
    if name == "clip":
        weights: Weights = request.getfixturevalue("weights")
        encoder: GraphEncoder = ClipEncoder(weights("clip-vit-b16-int8"))
        reference = encoder
    else:
        need("engines")
        if name == "batched":
            encoder = batched(tmp_path / name)
        elif name == "tensorrt":
            encoder = tensorrt(make_encoder(tmp_path / name, Precision.FP16).parent)
        else:
            encoder = graph(tmp_path / name, Precision(name))[1]
        reference = graph(tmp_path / "reference")[1]
    yield name, encoder, reference
    encoder.close()
    reference.close()


def pictures(count: int) -> list[NDArray[np.uint8]]:
    return [Painter(160, 90, 1).paint(3.0 * n, n) for n in range(count)]


def encoded(encoder: GraphEncoder, shown: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Features, in a thread without an event loop."""
    return asyncio.run(encoder.encode(shown)).pooled


def test_a_row_of_unit_length_for_each_picture(made: tuple[str, GraphEncoder, GraphEncoder]) -> None:
    _, encoder, _ = made
    features = encoded(encoder, pictures(5))
    assert features.shape == (5, encoder.dim)
    assert features.dtype == np.float32
    assert np.linalg.norm(features, axis=1) == pytest.approx(np.ones(5), abs=1e-4)
    assert encoded(encoder, []).shape == (0, encoder.dim)


def test_features_are_those_of_the_reference(made: tuple[str, GraphEncoder, GraphEncoder]) -> None:
    name, encoder, reference = made
    likeness = (encoded(encoder, pictures(4)) * encoded(reference, pictures(4))).sum(axis=1)
    assert likeness.min() >= LIKENESS.get(name, 0.999)


def test_a_picture_has_the_same_feature_in_any_company(made: tuple[str, GraphEncoder, GraphEncoder]) -> None:
    name, encoder, _ = made
    together = encoded(encoder, pictures(3))
    alone = np.concatenate([encoded(encoder, [picture]) for picture in pictures(3)])
    assert (together * alone).sum(axis=1).min() > LIKENESS.get(name, 0.999)


def test_tokens_come_with_features(made: tuple[str, GraphEncoder, GraphEncoder]) -> None:
    name, encoder, reference = made
    found = asyncio.run(encoder.encode(pictures(2), tokens=True))
    assert found.tokens is not None
    assert found.tokens.shape == ((2, 197, 768) if name == "clip" else (2, 4, 8))
    assert found.tokens.dtype == np.float32
    assert (found.pooled * encoded(encoder, pictures(2))).sum(axis=1).min() > LIKENESS.get(name, 0.999)
    expected = asyncio.run(reference.encode(pictures(2), tokens=True)).tokens
    assert expected is not None
    assert np.abs(found.tokens - expected).mean() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((32, 32, 3), np.float32),
        np.zeros((0, 32, 3), np.uint8),
    ],
    ids=["grey", "alpha", "float", "empty"],
)
def test_what_is_no_picture_is_refused_and_the_next_one_is_not(
    made: tuple[str, GraphEncoder, GraphEncoder], wrong: NDArray[np.uint8]
) -> None:
    _, encoder, _ = made
    with pytest.raises(ModelError, match="a picture must be"):
        encoded(encoder, [*pictures(1), wrong])
    assert len(encoded(encoder, pictures(1))) == 1


def test_many_threads_at_once(made: tuple[str, GraphEncoder, GraphEncoder]) -> None:
    name, encoder, _ = made
    shown = pictures(4)
    expected = [encoded(encoder, [picture])[0] for picture in shown]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: encoded(encoder, [shown[n % 4]])[0], range(12)))
    assert all(found[n] @ expected[n % 4] > LIKENESS.get(name, 0.999) for n in range(12))


def test_it_says_what_runs_it_and_after_closing_it_does_not_run(
    made: tuple[str, GraphEncoder, GraphEncoder],
) -> None:
    name, encoder, _ = made
    info = encoder.info
    assert info.runtime
    assert info.device in {"cpu", "cuda"}
    assert ("a picture at a time" in str(info)) == (info.batch == 1)
    assert name in {"batched", "tensorrt"} or (info.provider, info.batch) == ("CPU", 1)
    encoder.close()
    with pytest.raises(ModelError, match="closed"):
        encoded(encoder, pictures(1))
    encoder.close()
