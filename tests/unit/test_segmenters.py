"""The embedded segmenters, with their real weights: bodies of real people, cars and bottles."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.errors import ModelLoadError
from streamcap.models.base import Segmenter
from streamcap.models.blazepose import BlazePose
from streamcap.models.deeplab import DeepLab
from streamcap.models.segmenting import FirstThatKnows
from streamcap.prompts.silhouettes import Mask, silhouette
from streamcap.types import Box

Picture = NDArray[np.uint8]
Clip = Callable[[str, float], Picture]


@pytest.mark.parametrize("kind", [BlazePose, DeepLab])
def test_a_file_that_is_no_model(kind: type[BlazePose] | type[DeepLab], tmp_path: Path) -> None:
    broken = tmp_path / "segmenter.tflite"
    broken.write_bytes(b"\x00" * 5000)
    for path in (broken, tmp_path / "none.tflite"):
        with pytest.raises(ModelLoadError, match=path.name) as caught:
            kind(path)
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def segmenter(weights: Callable[[str], Path]) -> Segmenter:
    return FirstThatKnows((BlazePose(weights("pose-landmarker-full")), DeepLab(weights("deeplab-v3"))))


@pytest.fixture(scope="module")
def clip(clips_dir: Path) -> Clip:
    def at(name: str, second: float) -> Picture:
        with av.open(clips_dir / name) as container:
            for frame in container.decode(video=0):
                if frame.time is not None and frame.time >= second:
                    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        raise AssertionError(f"{name} ends before {second} s")

    return at


def cut(segmenter: Segmenter, picture: Picture, box: Box, label: str) -> Mask | None:
    likelihood = segmenter.segment(picture, box, label)
    if likelihood is None:
        return None
    assert likelihood.shape == picture.shape[:2]
    assert likelihood.dtype == np.float32
    assert likelihood.min() >= 0.0
    assert likelihood.max() <= 1.0
    return silhouette(likelihood, box)


# Of each: points on the body and points of its box beside it, in 0..1 of the picture.
BODIES = {
    "standing": (
        ("indoor_six_visitors.mp4", 15.0, (0.48, 0.0, 0.7, 1.0), "person"),
        [(0.597, 0.12), (0.59, 0.45), (0.585, 0.78)],
        [(0.51, 0.1), (0.69, 0.5), (0.51, 0.9)],
    ),
    "lying": (
        ("fall_from_chair.mp4", 5.0, (0.02, 0.69, 0.44, 0.98), "person"),
        [(0.08, 0.84), (0.2, 0.8), (0.35, 0.86)],
        [(0.05, 0.72), (0.42, 0.72), (0.2, 0.96)],
    ),
    "a car": (
        ("parking_car_and_bicycle.mp4", 3.0, (0.0, 0.06, 0.28, 0.44), "car"),
        [(0.1, 0.24), (0.18, 0.28)],
        [(0.26, 0.1), (0.02, 0.42)],
    ),
    "a bottle": (
        ("tabletop_bottles.mp4", 3.0, (0.44, 0.22, 0.57, 0.95), "bottle"),
        [(0.494, 0.34), (0.495, 0.6), (0.495, 0.8)],
        [(0.45, 0.3), (0.56, 0.35)],
    ),
}


@pytest.mark.weights
@pytest.mark.clips
@pytest.mark.parametrize("body", BODIES)
def test_a_real_body_is_cut_out_of_its_box(segmenter: Segmenter, clip: Clip, body: str) -> None:
    (name, second, box, label), on, beside = BODIES[body]
    picture = clip(name, second)
    found = cut(segmenter, picture, box, label)
    assert found is not None
    height, width = found.shape
    assert [found[int(y * height), int(x * width)] for x, y in on] == [True] * len(on)
    assert [found[int(y * height), int(x * width)] for x, y in beside] == [False] * len(beside)


@pytest.mark.weights
@pytest.mark.clips
def test_of_two_people_side_by_side_the_one_in_the_box_is_cut_out(segmenter: Segmenter, clip: Clip) -> None:
    picture = clip("surv_pets09_s2l1.avi", 3.0)
    left = cut(segmenter, picture, (0.81, 0.41, 0.88, 0.65), "person")
    right = cut(segmenter, picture, (0.86, 0.41, 0.92, 0.63), "person")
    assert left is not None
    assert right is not None
    assert np.count_nonzero(left & right) < 0.05 * np.count_nonzero(left | right)


@pytest.mark.weights
@pytest.mark.clips
@pytest.mark.parametrize(
    ("name", "second", "box", "label"),
    [
        ("surv_pets09_s2l1.avi", 25.0, (0.03, 0.18, 0.07, 0.26), "person"),  # an information board
        ("pick_up_pen_put_on_bed.mp4", 3.0, (0.05, 0.36, 0.87, 0.8), "bed"),
        ("store_aisle.mp4", 3.0, (0.9, 0.23, 0.98, 0.36), "bowl"),
    ],
)
def test_what_no_network_knows_or_is_sure_of_is_left_alone(
    segmenter: Segmenter, clip: Clip, name: str, second: float, box: Box, label: str
) -> None:
    assert cut(segmenter, clip(name, second), box, label) is None


@pytest.mark.weights
@pytest.mark.parametrize("label", ["person", "car", "object"])
@pytest.mark.parametrize("box", [(0, 0, 0, 0), (0.9, 0.9, 1.5, 1.5), (2, 2, 3, 3)])
@pytest.mark.parametrize("size", [(1, 1), (64, 48), (1920, 1080)])
def test_nothing_is_found_where_nothing_is(segmenter: Segmenter, box: Box, size: tuple[int, int], label: str) -> None:
    grey = np.full((size[1], size[0], 3), 90, np.uint8)
    grey.flags.writeable = False
    assert cut(segmenter, grey, box, label) is None


@pytest.mark.weights
@pytest.mark.clips
def test_many_threads_get_what_one_gets(segmenter: Segmenter, clip: Clip) -> None:
    views = [(clip(name, second), box, label) for (name, second, box, label), _, _ in BODIES.values()] * 2
    alone = [cut(segmenter, *view) for view in views]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda view: cut(segmenter, *view), views))
    for one, other in zip(alone, together, strict=True):
        assert one is not None
        assert other is not None
        # GrabCut begins with a random choice: an edge may differ by a few pixels.
        assert np.count_nonzero(one ^ other) <= 0.05 * np.count_nonzero(one)
