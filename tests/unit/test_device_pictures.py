"""Pictures made ready on a device of torch are those that the processor's own way gives. Run on the processor here."""

from __future__ import annotations

from typing import get_args

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation as Scaling
from av.video.reformatter import VideoReformatter
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcap.errors import ModelError
from streamcap.models.device_pictures import DevicePictures, area_weights, yuv_to_rgb
from streamcap.models.pictures import PictureRule, Resize, prepare
from streamcap.sources.rendered_art import Painter
from tests.prerequisites import need

CLIP = PictureRule((224, 224), (0.48, 0.46, 0.41), (0.27, 0.26, 0.28), resize="crop", interpolation="area")


def nv12(width: int, height: int, *, colorspace: int = 2) -> av.VideoFrame:
    image = Painter(width, height, 1).paint(12.0, 60)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="nv12")
    frame.colorspace = colorspace
    return frame


def by_processor(frame: av.VideoFrame, rule: PictureRule) -> NDArray[np.float32]:
    rgb = VideoReformatter().reformat(frame, frame.width, frame.height, "rgb24", interpolation=Scaling.AREA)
    return prepare(np.asarray(rgb.to_ndarray(), np.uint8), rule)


@pytest.mark.parametrize("size", [(1280, 720), (322, 242)])
@pytest.mark.parametrize("resize", get_args(Resize))
@pytest.mark.parametrize("colorspace", [2, 1], ids=["unspecified", "bt709"])
def test_it_is_what_the_processor_makes(size: tuple[int, int], resize: Resize, colorspace: int) -> None:
    need("torch")
    rule = PictureRule(CLIP.size, resize=resize, interpolation="area")
    frame = nv12(*size, colorspace=colorspace)
    found = DevicePictures(rule, "cpu").prepare(frame).numpy()
    expected = by_processor(frame, rule)
    assert found.shape == expected.shape
    difference = 255 * np.abs(found - expected)  # grey levels
    assert difference.mean() < 2.5  # libswscale cuts off where it should round: it is darker by one or two
    assert np.percentile(difference, 99) < 8


def test_colours_are_those_that_were_filmed() -> None:
    need("torch")
    for colour in ((128, 128, 128), (200, 30, 60), (60, 130, 220)):
        flat = av.VideoFrame.from_ndarray(np.full((64, 64, 3), colour, np.uint8), format="rgb24")
        found = 255 * DevicePictures(PictureRule((8, 8)), "cpu").prepare(flat.reformat(format="nv12")).numpy()
        assert found.mean(axis=(1, 2)) == pytest.approx(colour, abs=1.5)


def test_it_is_normalised_and_of_the_type_that_is_wanted() -> None:
    need("torch")
    found = DevicePictures(CLIP, "cpu", half=True).prepare(nv12(640, 360))
    assert str(found.dtype) == "torch.float16"
    assert np.abs(found.float().numpy() - by_processor(nv12(640, 360), CLIP)).mean() < 0.03


def test_another_format_is_refused() -> None:
    need("torch")
    ready = DevicePictures(CLIP, "cpu")
    for form in ("yuv420p", "rgb24"):
        with pytest.raises(ModelError, match=form):
            ready.prepare(nv12(64, 48).reformat(format=form))


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 0.4), st.floats(0.1, 0.6))
def test_weights_average_and_leave_nothing_out(source: int, target: int, start: float, share: float) -> None:
    weights = area_weights(source, target, start * source, max(share * source, 1e-3))
    assert weights.shape == (target, source)
    assert weights.min() >= 0
    assert weights.sum(axis=1) == pytest.approx(np.ones(target), abs=1e-5)
    whole = area_weights(source, target, 0, source)
    if target <= source:  # every source pixel counts as much as every other
        assert whole.sum(axis=0) == pytest.approx(np.full(source, target / source), abs=1e-4)


@given(st.booleans(), st.booleans(), st.integers(0, 255))
@settings(max_examples=30)
def test_grey_stays_grey_and_the_ends_meet(bt709: bool, full_range: bool, level: int) -> None:
    matrix, added = yuv_to_rgb(bt709=bt709, full_range=full_range)
    rgb = matrix @ np.array([level, 128, 128]) + added
    assert rgb == pytest.approx(np.full(3, rgb[0]), abs=1e-3)
    black, white = (0, 255) if full_range else (16, 235)
    assert matrix @ np.array([black, 128, 128]) + added == pytest.approx(np.zeros(3), abs=1e-3)
    assert matrix @ np.array([white, 128, 128]) + added == pytest.approx(np.full(3, 255), abs=1e-3)
