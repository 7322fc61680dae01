"""Detectors of the DETR family: queries become detections in the picture."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcap.config import ModelSettings
from streamcap.errors import ModelError, WrongModel
from streamcap.models.choosing import open_detector, open_encoder
from streamcap.models.detr import DetrDetector, decode
from streamcap.models.engine import Device
from streamcap.models.graph import read_graph
from streamcap.models.onnx import OnnxEngine
from tests.graphs import COLOURS, make_detector, make_encoder
from tests.prerequisites import need


def quarters() -> NDArray[np.uint8]:
    """Red at the top left, blue at the bottom right, the rest black."""
    image = np.zeros((90, 160, 3), np.uint8)
    image[:45, :80] = (255, 0, 0)
    image[45:, 80:] = (0, 0, 255)
    return image


def test_what_is_seen_is_where_it_is(tmp_path: Path) -> None:
    need("engines")
    detector = open_detector(ModelSettings(detector=str(make_detector(tmp_path).parent)))
    assert detector.labels == COLOURS
    found = detector.detect(quarters(), threshold=0.5)
    seen = {COLOURS[label]: box for label, box in zip(found.labels, found.boxes.tolist(), strict=True)}
    assert seen == {"red": pytest.approx([0, 0, 0.5, 0.5]), "blue": pytest.approx([0.5, 0.5, 1, 1])}
    assert found.scores == pytest.approx([1, 1], abs=1e-4)
    assert not len(detector.detect(np.zeros((9, 9, 3), np.uint8), threshold=0.5))
    with pytest.raises(ModelError, match="a picture must be"):
        detector.detect(np.zeros((9, 9), np.uint8), threshold=0.5)
    detector.close()


def test_batched_each_gets_its_own(tmp_path: Path) -> None:
    need("engines")
    path = make_detector(tmp_path)
    info = read_graph(path)
    engine = OnnxEngine.of(path, info, device=Device.CPU)
    detector = DetrDetector(engine, info.pictures, info.labels, batch=4)
    red, nothing = quarters(), np.zeros((9, 9, 3), np.uint8)
    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(lambda n: len(detector.detect(nothing if n % 2 else red, threshold=0.5)), range(16)))
    assert counts == [2, 0] * 8
    assert detector.batcher is not None
    assert detector.batcher.stats.requests == 16
    detector.close()


def test_an_encoder_is_no_detector(tmp_path: Path) -> None:
    need("engines")
    with pytest.raises(WrongModel, match="detector is needed"):
        open_detector(ModelSettings(detector=str(make_encoder(tmp_path / "e").parent)))
    with pytest.raises(WrongModel, match="encoder is needed"):
        open_encoder(ModelSettings(encoder=str(make_detector(tmp_path / "d").parent)))


def test_classes_are_named_as_coco_names_them(tmp_path: Path) -> None:
    need("engines")
    path = make_detector(tmp_path)
    info = read_graph(path)
    detector = DetrDetector(
        OnnxEngine.of(path, info, device=Device.CPU), info.pictures, ("person", "sofa", "tvmonitor")
    )
    assert detector.labels == ("person", "couch", "tv")
    detector.close()


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.floats(0.01, 0.99))
def test_decoded_boxes_are_best_first_above_the_threshold_and_apart(seed: int, queries: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (queries, 5)).astype(np.float32)
    boxes = rng.uniform(0, 1, (queries, 4)).astype(np.float32)
    found = decode(logits, boxes, threshold)
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores >= np.float32(threshold)).all()
    best = (1 / (1 + np.exp(-logits))).max(axis=1, initial=0)
    assert len(found) <= (best >= threshold).sum()
    assert not (best >= threshold).any() or found.scores[0] == pytest.approx(best.max(), abs=1e-5)


def test_two_queries_on_one_thing_are_one_and_neighbours_are_two() -> None:
    logits = np.array([[4, -9], [3, -9], [2, -9]], np.float32)
    boxes = np.array([[0.5, 0.5, 0.2, 0.4], [0.505, 0.5, 0.2, 0.4], [0.6, 0.5, 0.2, 0.4]], np.float32)
    found = decode(logits, boxes, 0.5)
    assert found.boxes[:, 0] == pytest.approx([0.4, 0.5])
    assert found.labels.tolist() == [0, 0]


def test_extreme_logits_are_scores_all_the_same() -> None:
    found = decode(np.array([[1e9, -1e9], [-1e9, -1e9]], np.float32), np.full((2, 4), 0.5, np.float32), 0.5)
    assert found.scores == pytest.approx([1])
