"""What a vision–language model is shown of what was seen long before."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from streamcap.captioners import SharedModel
from streamcap.captioners.vision import VisionCaptioner
from streamcap.config import CaptionerName, MemoryPictures, Outlines, StreamSettings, VisionBackend, VisionSettings
from streamcap.flow import SystemClock
from streamcap.models.language import LanguageModel
from streamcap.prompts import Prompt
from streamcap.types import KeyFrame, Look, Stretch, Window
from tests.scenes import fact, instance
from tests.shown_model import Shown

ANSWER = json.dumps(
    {
        "nothing_new": False,
        "caption": "A person walks on.",
        "global": "",
        "instances": [],
        "background": "",
        "camera": "",
    }
)


def kept(t: float, grey: int) -> KeyFrame:
    _, jpeg = cv2.imencode(".jpg", np.full((18, 32, 3), grey, np.uint8))
    return KeyFrame(t, jpeg.tobytes())


PAST = (
    Stretch(kept(1.0, 10), 3, ((kept(2.0, 20), 2), (KeyFrame(3.0), 9))),
    Stretch(kept(5.0, 50), 7),
)


async def shown(memory: MemoryPictures) -> Prompt:
    model = Shown(ANSWER)

    async def load(_: VisionSettings) -> LanguageModel:
        return model

    settings = VisionSettings(backend=VisionBackend.TRANSFORMERS, model="a/b", memory=memory, outlines=Outlines.BOX)
    looks = tuple(Look(t, np.zeros((36, 64, 3), np.uint8), (instance(1),)) for t in (20.0, 21.0))
    window = Window("c1", "s", 20.0, 21.0, 1021.0, (fact("enter"),), (instance(1),), looks=looks, past=PAST)
    async with SharedModel(settings, SystemClock(), load) as shared:
        await shared.ready()
        stream = StreamSettings(id="s", source="test:", captioner=CaptionerName.VISION)
        _ = [_ async for _ in VisionCaptioner(stream, shared).describe(window)]
    return model.prompts[0]


async def test_a_span_is_one_kept_frame() -> None:
    earlier = (await shown(MemoryPictures.KEY)).pictures[:2]
    assert [(picture.t, picture.alike) for picture in earlier] == [(1.0, ()), (5.0, ())]


async def test_a_span_is_all_its_frames_where_they_are_to_be_merged() -> None:
    first, second = (await shown(MemoryPictures.MERGED)).pictures[:2]
    assert (first.count, second.count) == (3, 7)
    assert second.alike == ()
    (other,) = first.alike  # of the third only the time was kept
    assert (other.count, round(float(other.image.mean()))) == (2, 20)


def test_a_server_blends_no_pictures() -> None:
    with pytest.raises(ValidationError, match="a server blends no pictures"):
        VisionSettings(backend=VisionBackend.OPENAI, memory=MemoryPictures.MERGED)
