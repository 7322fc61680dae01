"""The embedded pose estimator, with its real weights."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcap.errors import ModelLoadError
from streamcap.models.crops import crop_to_picture
from streamcap.models.movenet import ROOM, SIZE, MoveNetLightning
from streamcap.pose import Pose, Posture
from streamcap.types import Box

# Where the man of the clip is, seconds into it.
SITS: tuple[float, Box] = (1.2, (0.38, 0.18, 0.73, 1.0))
LIES: tuple[float, Box] = (4.0, (0.0, 0.63, 0.6, 1.0))


@given(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(1, 2000))
def test_a_crop_has_the_person_in_its_middle_and_room_around(
    x: float, y: float, w: float, h: float, width: int
) -> None:
    size = (width, 700)
    matrix = crop_to_picture((x, y, x + w, y + h), size, side=SIZE, room=ROOM)
    centre = matrix @ [SIZE / 2, SIZE / 2, 1]
    assert centre == pytest.approx([(x + w / 2) * width, (y + h / 2) * 700])
    assert matrix[0, 0] == matrix[1, 1]  # nobody is squeezed
    assert matrix[0, 0] * SIZE >= max(w * width, h * 700)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    broken = tmp_path / "pose.tflite"
    broken.write_bytes(b"\x00" * 5000)
    for path in (broken, tmp_path / "none.tflite"):
        with pytest.raises(ModelLoadError, match=path.name) as caught:
            MoveNetLightning(path)
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def estimator(weights: Callable[[str], Path]) -> MoveNetLightning:
    return MoveNetLightning(weights("movenet-lightning"), interpreters=2)


@pytest.fixture(scope="module")
def pictures(clips_dir: Path) -> dict[float, NDArray[np.uint8]]:
    found: dict[float, NDArray[np.uint8]] = {}
    with av.open(clips_dir / "fall_from_chair.mp4") as container:
        for frame in container.decode(video=0):
            for second, _ in (SITS, LIES):
                if second not in found and frame.time is not None and frame.time >= second:
                    found[second] = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    return found


def looked(estimator: MoveNetLightning, picture: NDArray[np.uint8], box: Box) -> Pose:
    return Pose(0.0, estimator.estimate(picture, box), picture.shape[1] / picture.shape[0])


@pytest.mark.weights
@pytest.mark.clips
@pytest.mark.parametrize(("view", "posture"), [(SITS, Posture.SITTING), (LIES, Posture.LYING)])
def test_real_people(
    estimator: MoveNetLightning,
    pictures: dict[float, NDArray[np.uint8]],
    view: tuple[float, Box],
    posture: Posture,
) -> None:
    second, box = view
    pose = looked(estimator, pictures[second], box)
    fits = pose.likelihoods()
    assert pose.joints.shape == (17, 3)
    assert pose.joints.dtype == np.float32
    assert pose.readable
    assert max(fits, key=lambda word: fits[word]) is posture


@pytest.mark.weights
@pytest.mark.clips
def test_joints_lie_in_the_picture_whatever_its_size(
    estimator: MoveNetLightning, pictures: dict[float, NDArray[np.uint8]]
) -> None:
    second, box = SITS
    large = looked(estimator, pictures[second], box)
    small = looked(estimator, np.asarray(cv2.resize(pictures[second], (480, 360)), np.uint8), box)
    sure = (large.joints[:, 2] > 0.5) & (small.joints[:, 2] > 0.5)
    assert sure.sum() >= 6
    assert np.abs(large.joints[sure, :2] - small.joints[sure, :2]).max() < 0.05


@pytest.mark.weights
@pytest.mark.parametrize("box", [(0, 0, 0, 0), (0.9, 0.9, 1.5, 1.5), (2, 2, 3, 3), (-1, -1, 2, 2)])
@pytest.mark.parametrize("size", [(1, 1), (64, 48), (1920, 1080)])
def test_nobody_is_read_where_nobody_is(estimator: MoveNetLightning, box: Box, size: tuple[int, int]) -> None:
    grey = np.full((size[1], size[0], 3), 90, np.uint8)
    grey.flags.writeable = False
    assert not looked(estimator, grey, box).readable


@pytest.mark.weights
@pytest.mark.clips
def test_many_threads_get_what_one_gets(estimator: MoveNetLightning, pictures: dict[float, NDArray[np.uint8]]) -> None:
    views = [(pictures[t], box) for t, box in (SITS, LIES)] * 4
    alone = [estimator.estimate(*view) for view in views]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda view: estimator.estimate(*view), views))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
