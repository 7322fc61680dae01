"""What a viewer sees of a model's answer while it is being written."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import numpy as np
import pytest

from streamcap.captioners import GroundedCaptioner, SharedModel, vision
from streamcap.captioners.vision import VisionCaptioner
from streamcap.config import CaptionerName, Outlines, StreamSettings, VisionBackend, VisionSettings
from streamcap.flow import SystemClock
from streamcap.language import Description
from streamcap.models.language import LanguageModel, Piece, Usage
from streamcap.prompts import Prompt
from streamcap.types import Look, Window
from tests.scenes import fact, instance
from tests.vision import answered

PICTURE = np.zeros((36, 64, 3), np.uint8)
LOOKS = (Look(9.0, PICTURE, (instance(1),)), Look(10.0, PICTURE, (instance(1),)))
ENTERS = Window("c", "s", 10.0, 10.0, 1010.0, (fact("enter", 1, where="left", at=10.0),), (instance(1),), looks=LOOKS)
EMPTY = Window("c", "s", 10.0, 10.0, 1010.0, (), (), scene_start=True, looks=LOOKS)


class Writer:
    """A language model that writes word by word."""

    name = "writer"

    def __init__(self, caption: str) -> None:
        self._words = answered(caption).split(" ")

    async def generate(self, prompt: Prompt, *, timeout_s: float) -> AsyncGenerator[Piece, None]:
        for word in self._words:
            yield Piece(f"{word} ")
        yield Piece("", Usage(10, len(self._words)))

    async def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def each_word_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "REVISION_S", 0.0)


async def described(window: Window, caption: str) -> tuple[list[str], Description]:
    """The texts of the revisions, and what stands in the end."""

    async def load(_: VisionSettings) -> LanguageModel:
        return Writer(caption)

    settings = VisionSettings(backend=VisionBackend.TRANSFORMERS, model="a/b", outlines=Outlines.BOX)
    stream = StreamSettings(id="s", source="test:", captioner=CaptionerName.VISION)
    async with SharedModel(settings, SystemClock(), load) as shared:
        await shared.ready()
        *growing, last = [each async for each in VisionCaptioner(stream, shared).describe(window)]
    assert all(each.growing for each in growing) and not last.growing
    return [each.text for each in growing], last


async def test_a_whole_draft_does_not_shrink_to_half_a_sentence() -> None:
    caption = "A person with a red scarf enters from the left, slowly, and looks around."
    growing, last = await described(ENTERS, caption)
    draft = GroundedCaptioner().draft(ENTERS).text
    assert growing[0] == "A person with a red scarf enters" and len(draft) <= len(growing[0]) < len(draft) + 8
    assert [len(text) for text in growing] == sorted({len(text) for text in growing})
    assert last.text == caption


async def test_an_answer_that_says_less_is_seen_whole() -> None:
    growing, last = await described(ENTERS, "A person walks into view.")
    assert (growing, last.text) == ([], "A person walks into view.")


async def test_where_no_draft_stands_the_first_words_are_seen() -> None:
    growing, last = await described(EMPTY, "This is a quiet street by day.")
    assert growing[0] == "This is a quiet"
    assert last.text == "This is a quiet street by day."
