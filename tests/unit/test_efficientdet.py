"""The detector: its arithmetic, and what the real weights find in real pictures."""

from __future__ import annotations

import concurrent.futures
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcap.errors import ModelLoadError, WeightsUnavailable
from streamcap.geometry import area, contained
from streamcap.models import litert
from streamcap.models.efficientdet import SIZE, EfficientDetLite0, anchors, decode, letterbox, non_maximum
from streamcap.models.resolver import Resolver
from streamcap.types import Box, Detections

# ---- arithmetic


def test_anchors_of_all_levels() -> None:
    found = anchors()
    assert found.shape == (19206, 4)
    assert found.dtype == np.float32
    # Level 3: 40 × 40 places with 9 anchors, strides of 8; the first is at (4, 4), 32 pixels large.
    assert found[0] == pytest.approx(np.array([4, 4, 32, 32]) / SIZE)
    assert found[1, 2:] == pytest.approx(np.array([32 / np.sqrt(2), 32 * np.sqrt(2)]) / SIZE)  # wide: h, w
    assert found[2, 2:] == pytest.approx(np.array([32 * np.sqrt(2), 32 / np.sqrt(2)]) / SIZE)  # high
    assert found[3, 2:] == pytest.approx(np.array([32, 32]) * 2 ** (1 / 3) / SIZE)  # next octave
    assert found[9, :2] == pytest.approx(np.array([4, 12]) / SIZE)  # next place, to the right
    assert found[40 * 9, :2] == pytest.approx(np.array([12, 4]) / SIZE)  # next row
    assert (found[:, :2] > 0).all()
    assert (found[:, :2] < 1.3).all()  # 320 is no multiple of 128


def test_boxes_are_decoded_relative_to_their_anchors() -> None:
    anchor = np.array([[0.5, 0.4, 0.2, 0.1]], np.float32)
    assert decode(np.zeros((1, 4), np.float32), anchor)[0] == pytest.approx([0.35, 0.4, 0.45, 0.6])
    moved = decode(np.array([[0.5, -1.0, np.log(2), 0.0]], np.float32), anchor)[0]
    assert moved == pytest.approx([0.25, 0.4, 0.35, 0.8])
    assert decode(np.array([[0, 0, 5, 5]], np.float32), anchor)[0].tolist() == [0, 0, 1, 1]


@given(st.integers(1, 1500), st.integers(1, 1500))
@settings(deadline=None, max_examples=40)
def test_a_letterbox_keeps_the_aspect(width: int, height: int) -> None:
    square, (across, down) = letterbox(np.full((height, width, 3), 200, np.uint8))
    assert square.shape == (SIZE, SIZE, 3)
    assert max(across, down) == 1
    w, h = round(across * SIZE), round(down * SIZE)
    assert w >= 1
    assert h >= 1
    assert abs(w / max(w, h) - width / max(width, height)) <= 1 / SIZE
    assert (square[:h, :w] == 200).all()
    assert (square[h:] == 0).all()
    assert (square[:, w:] == 0).all()


def test_of_overlapping_boxes_the_best_is_kept() -> None:
    boxes = np.array([[0, 0, 0.5, 0.5], [0.02, 0, 0.52, 0.5], [0.5, 0.5, 1, 1], [0, 0, 0.1, 0.1]], np.float32)
    assert non_maximum(boxes, np.array([0.5, 0.9, 0.3, 0.6], np.float32)).tolist() == [1, 3, 2]
    assert non_maximum(boxes[:0], np.zeros(0, np.float32)).tolist() == []


# ---- files that are none


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    broken = tmp_path / "detector.tflite"
    broken.write_bytes(b"\x00" * 5000)
    for path in (broken, tmp_path / "none.tflite"):
        with pytest.raises(ModelLoadError, match=path.name) as caught:
            EfficientDetLite0(path)
        assert "\n" not in str(caught.value)


def test_labels_without_a_model(tmp_path: Path) -> None:
    path = tmp_path / "labels.tflite"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("labels.txt", "person")
    with pytest.raises(ModelLoadError, match=path.name):
        EfficientDetLite0(path)


@pytest.mark.weights
def test_a_damaged_copy_of_the_model(tmp_path: Path, weights: Callable[[str], Path]) -> None:
    whole = weights("efficientdet-lite0").read_bytes()
    path = tmp_path / "damaged.tflite"
    path.write_bytes(b"\xff" * 64 + whole[64:])  # the labels at the end are still there
    with pytest.raises(ModelLoadError, match=path.name) as caught:
        EfficientDetLite0(path)
    assert "\n" not in str(caught.value)


# ---- the real weights


@pytest.fixture(scope="module")
def detector(weights: Callable[[str], Path]) -> EfficientDetLite0:
    return EfficientDetLite0(weights("efficientdet-lite0"), interpreters=2)


@pytest.fixture(scope="module")
def street() -> NDArray[np.uint8]:
    """A picture of the street clip that the demo falls back to."""
    try:
        path = Resolver().ensure("demo-clip-street")
    except WeightsUnavailable as error:
        pytest.skip(str(error))
    return picture(path, 4.8)


def picture(path: Path, second: float) -> NDArray[np.uint8]:
    with av.open(path) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= second:
                return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    raise AssertionError(f"{path} is shorter than {second} s")


def names(detector: EfficientDetLite0, found: Detections) -> list[str]:
    return [detector.labels[label] for label in found.labels]


def boxes(found: Detections) -> list[Box]:
    return [(a, b, c, d) for a, b, c, d in found.boxes.tolist()]


@pytest.mark.weights
def test_labels_are_those_of_coco(detector: EfficientDetLite0) -> None:
    assert len(detector.labels) == 90
    assert detector.labels[0] == "person"
    assert {"car", "bicycle", "dog", "truck", "bus"} <= set(detector.labels)


@pytest.mark.weights
def test_people_and_vehicles_on_the_street(detector: EfficientDetLite0, street: NDArray[np.uint8]) -> None:
    found = detector.detect(street, threshold=0.3)
    assert len(found) > 0
    assert {"person", "bicycle", "car"} <= set(names(detector, found))
    check(found, 0.3)


def check(found: Detections, threshold: float) -> None:
    """What a detector promises."""
    assert [found.boxes.dtype, found.labels.dtype, found.scores.dtype] == [np.float32, np.int32, np.float32]
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert (found.scores >= threshold).all()
    assert (found.scores <= 1).all()
    assert ((found.boxes >= 0) & (found.boxes <= 1)).all()
    assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()
    assert ((found.labels >= 0) & (found.labels < 90)).all()
    all_boxes = boxes(found)
    for n, one in enumerate(all_boxes):
        for other in all_boxes[n + 1 :]:
            common = contained(one, other) * area(one)
            assert common <= 0.51 * (area(one) + area(other) - common)


@pytest.mark.weights
@pytest.mark.clips
@pytest.mark.parametrize(
    ("clip", "second", "label", "least"),
    [
        ("surv_pets09_s2l1.avi", 10.0, "person", 2),
        ("dashcam_highway.mp4", 4.0, "car", 1),
    ],
)
def test_real_clips(
    detector: EfficientDetLite0, clips_dir: Path, clip: str, second: float, label: str, least: int
) -> None:
    found = detector.detect(picture(clips_dir / clip, second), threshold=0.3)
    assert names(detector, found).count(label) >= least
    check(found, 0.3)


@pytest.mark.weights
def test_a_box_lies_where_the_object_is_whatever_the_shape_of_the_picture(
    detector: EfficientDetLite0, street: NDArray[np.uint8]
) -> None:
    """Boxes are of the picture given, not of the network's square: borders move them by a known amount."""
    height, width = street.shape[:2]
    best = boxes(detector.detect(street, threshold=0.3))[0]
    label = detector.detect(street, threshold=0.3).labels[0]
    bordered = np.zeros((height * 3 // 2, width, 3), np.uint8)
    bordered[:height] = street
    expected = (best[0], best[1] * 2 / 3, best[2], best[3] * 2 / 3)
    again = detector.detect(bordered, threshold=0.2)
    assert any(
        min(contained(expected, box), contained(box, expected)) > 0.6 and label == found
        for box, found in zip(boxes(again), again.labels, strict=True)
    )


@pytest.mark.weights
def test_a_higher_threshold_keeps_the_best(detector: EfficientDetLite0, street: NDArray[np.uint8]) -> None:
    many, few = (detector.detect(street, threshold=t) for t in (0.2, 0.5))
    assert len(few) < len(many)
    assert few.scores.tolist() == [score for score in many.scores.tolist() if score >= 0.5]


@pytest.mark.weights
@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (64, 48)])
def test_nothing_is_found_where_nothing_is(detector: EfficientDetLite0, size: tuple[int, int]) -> None:
    found = detector.detect(np.full((size[1], size[0], 3), 90, np.uint8), threshold=0.5)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


@pytest.mark.weights
def test_a_part_of_a_larger_picture_is_as_good(detector: EfficientDetLite0, street: NDArray[np.uint8]) -> None:
    """Crops are views into the frame, which is read-only."""
    street = street.copy()
    street.flags.writeable = False
    part = street[20:-10, 30:-40]
    assert not part.flags.c_contiguous
    a, b = detector.detect(part, threshold=0.3), detector.detect(np.ascontiguousarray(part), threshold=0.3)
    assert np.array_equal(a.boxes, b.boxes)


@pytest.mark.weights
def test_many_threads_get_what_one_gets(detector: EfficientDetLite0, street: NDArray[np.uint8]) -> None:
    parts = [street[y : y + 200, x : x + 200] for x in (0, 100, 200) for y in (0, 60)]
    alone = [detector.detect(part, threshold=0.3) for part in parts]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda part: detector.detect(part, threshold=0.3), parts * 3))
    for n, found in enumerate(together):
        assert np.array_equal(found.boxes, alone[n % 6].boxes)
        assert np.array_equal(found.scores, alone[n % 6].scores)


def test_while_it_is_loaded_what_others_write_is_not_lost(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    own = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
    with caplog.at_level("DEBUG", "streamcap.models.litert"):
        with litert._stderr_to_log():
            os.write(2, own + b"streamcap: interrupted\nWARNING streamcap.pipeline: late\n")
        with litert._stderr_to_log():
            os.write(2, own)
    assert capfd.readouterr().err == "streamcap: interrupted\nWARNING streamcap.pipeline: late\n"
    assert caplog.text.count("XNNPACK") == 2
