"""A stream captioned by a vision–language model in this process, from settings to finals: a tiny one with random
weights, whose words are garbage. Whatever it writes, the stream goes on, and garbage is no caption.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from streamcap.captioners import SharedModel
from streamcap.config import AnswerForm, CaptionerName, StreamSettings, VisionBackend, VisionSettings
from streamcap.flow import SystemClock
from streamcap.models.pool import Models
from streamcap.pipeline import Pipeline
from streamcap.sources import SourceOptions, open_source
from streamcap.wire import StreamState
from tests import vlm_models
from tests.integration.test_pipeline import Run

pytestmark = [pytest.mark.weights, pytest.mark.torch]

ENTRY = "test:?seconds=8"


async def watch(models: Models, vision: VisionSettings, run: Run) -> SharedModel:
    clock = SystemClock()
    stream = StreamSettings(id="street", source=ENTRY, captioner=CaptionerName.VISION)
    async with SharedModel(vision, clock) as shared:
        await shared.ready()
        options = SourceOptions(stream="street", fps=stream.fps, clock=clock)
        pipeline = Pipeline(
            stream,
            lambda notify: open_source(ENTRY, replace(options, on_notice=notify)),
            replace(models, vision=shared),
            run,
            clock,
        )
        await pipeline.run()
    return shared


@pytest.mark.parametrize("answers", AnswerForm)
async def test_a_random_model_is_asked_and_what_it_garbles_is_no_caption(
    models: Models, tmp_path: Path, answers: AnswerForm
) -> None:
    folder = vlm_models.make("smolvlm", tmp_path / "tiny")
    vision = VisionSettings(
        backend=VisionBackend.TRANSFORMERS, model=str(folder), device="cpu", answers=answers, max_tokens=64
    )
    run = Run()
    shared = await watch(models, vision, run)
    assert shared.asked.calls["caption"] == 2, "the empty street and who enters"
    finals = [m for m in run.finals if "enters" in m.text]
    assert [m.source for m in finals][:1] == ["grounded"]
    assert (StreamState.DEGRADED, "captioner") in run.states
    assert not any("\ufffd" in m.text for m in run.captions)
