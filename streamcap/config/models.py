"""Settings of the networks that all streams share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from streamcap.config.strict import Strict

__all__ = [
    "AnswerForm",
    "Decode",
    "DeviceName",
    "MemoryPictures",
    "ModelSettings",
    "Outlines",
    "PrecisionName",
    "VisionBackend",
    "VisionSettings",
]


class AnswerForm(StrEnum):
    """The form in which a vision–language model is asked to answer."""

    JSON = "json"  # an object by a schema
    TEXT = "text"  # plain sentences: for models too small for more


class MemoryPictures(StrEnum):
    """How a vision–language model is shown what was seen long before."""

    KEY = "key"  # one kept frame for each span
    MERGED = "merged"  # the visual tokens of several kept frames of each span, blended (MovieChat, arXiv:2307.16449)


class Outlines(StrEnum):
    """What marks on pictures follow."""

    SILHOUETTE = "silhouette"  # the body, where it can be cut out
    BOX = "box"


class VisionBackend(StrEnum):
    """Where the vision–language model runs."""

    OPENAI = "openai"  # any server with OpenAI's API
    TRANSFORMERS = "transformers"  # in this process


class DeviceName(StrEnum):
    """Where networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class PrecisionName(StrEnum):
    """Which of the graphs of a model is taken."""

    AUTO = "auto"
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT8_DYNAMIC = "int8-dynamic"
    FP8 = "fp8"


class Decode(StrEnum):
    """What decodes video."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class ModelSettings(Strict):
    """Which networks look, and where they run.

    Attributes:
        encoder: ``default``, ``none``, or an exported graph: its folder, ONNX file, or name in the engine cache.
        detector: ``default`` or an exported graph.
        device: of exported graphs; the defaults are quantised for processors and run there. ``auto`` takes a GPU where
            there is one that can; with ``cuda`` it is an error if there is none.
        precision: ``auto`` takes what suits the device best, of the graphs that are there.
        decode: ``cuda`` decodes on NVIDIA's video engine, and on the processor whatever it cannot; ``auto`` does that
            where the encoder or the detector runs on the GPU, too.
    """

    encoder: Annotated[str, Field(min_length=1)] = "default"
    detector: Annotated[str, Field(min_length=1)] = "default"
    device: DeviceName = DeviceName.AUTO
    precision: PrecisionName = PrecisionName.AUTO
    decode: Decode = Decode.AUTO


class VisionSettings(Strict):
    """The vision–language model that streams with ``captioner = "vision"`` share.

    Attributes:
        backend: where it runs.
        model: name that the server knows, hub id or local folder.
        url: of the server, with its ``/v1``.
        api_key_env: environment variable that holds the key; the key itself stands in no file of settings.
        adapter: hub id or folder of a PEFT adapter; in this process alone.
        tower: folder of an exported vision tower that takes the place of the model's own; in this process alone.
        device: ``auto``, ``cpu``, ``cuda``; in this process alone.
        timeout_s: for one answer.
        retries: of one answer, where a fault may be a passing one.
        concurrency: answers at a time, of all streams.
        max_tokens: most tokens of an answer.
        answers: the form in which it is asked to answer.
        picture_tokens: most visual tokens of a picture, which is made smaller to keep to it; in this process alone.
        memory: how it is shown what was seen long before; ``merged`` in this process alone.
        outlines: what the marks on its pictures follow.
        calls_per_minute, tokens_per_minute: of one stream; of all streams, ``..._in_all``.
    """

    backend: VisionBackend = VisionBackend.OPENAI
    model: str = ""
    url: str = "http://127.0.0.1:8000/v1"
    api_key_env: str = "STREAMCAP_VISION_KEY"
    adapter: str = ""
    tower: Path | None = None
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = "auto"
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 20.0
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    concurrency: Annotated[int, Field(ge=1, le=256)] = 2
    max_tokens: Annotated[int, Field(ge=16, le=4096)] = 256
    answers: AnswerForm = AnswerForm.JSON
    picture_tokens: Annotated[int, Field(ge=16, le=4096)] = 256
    memory: MemoryPictures = MemoryPictures.KEY
    outlines: Outlines = Outlines.SILHOUETTE
    calls_per_minute: Annotated[float, Field(gt=0)] = 20.0
    tokens_per_minute: Annotated[float, Field(gt=0)] = 60_000.0
    calls_per_minute_in_all: Annotated[float, Field(gt=0)] = 120.0
    tokens_per_minute_in_all: Annotated[float, Field(gt=0)] = 400_000.0

    @model_validator(mode="after")
    def _has_a_model(self) -> VisionSettings:
        if self.backend is VisionBackend.TRANSFORMERS and not self.model:
            raise ValueError("model is missing: a hub id or a local folder")
        if self.backend is VisionBackend.OPENAI and self.memory is MemoryPictures.MERGED:
            raise ValueError("memory = merged: a server blends no pictures; backend = transformers does")
        return self
