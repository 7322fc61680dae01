"""The manifest: what engines can be made of. The data is ``manifest.toml`` beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from streamcap.errors import UsageError
from streamcap.models.catalog import by_id, read_toml
from streamcap.models.graph import Precision
from streamcap.models.pictures import Interpolation, Resize, Triple
from streamcap.models.plans import BatchProfile

__all__ = ["Manifest", "ModelEntry", "Pictures", "Tolerances", "load_manifest"]

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pictures(_Checked):
    """How a picture becomes the network's input. The words are those of ``streamcap.models.graph.GraphInfo``.

    Attributes:
        size: (height, width) in pixels.
        mean, std: of the three channels, after rescaling.
        rescale: what a pixel of 0..255 is multiplied by.
    """

    size: tuple[Positive, Positive]
    mean: Triple
    std: Triple
    rescale: Annotated[float, Field(gt=0)] = 1 / 255
    resize: Resize
    interpolation: Interpolation

    @model_validator(mode="after")
    def _usable(self) -> Pictures:
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        return self


class Tolerances(_Checked):
    """The least agreement with torch in single precision (see ``verify.py``), 0..1.

    Attributes:
        fp32, fp16, bf16, fp8, int8, int8_dynamic: cosine of what a graph of that precision gives.
        overlap: of the boxes of a detector in a precision of 16 bits or more.
        overlap_int8: in 8 bits.
        tokens_int8: cosine of an encoder's patch tokens in 8 bits: a few tokens are outliers, and cost the rest.
        tokens_fp8: in floating point of 8 bits, which has three binary digits for every token.
    """

    fp32: Share = 0.9999
    fp16: Share = 0.999
    bf16: Share = 0.99
    fp8: Share = 0.99
    int8: Share = 0.99
    int8_dynamic: Share = 0.99
    overlap: Share = 0.9
    overlap_int8: Share = 0.8
    tokens_int8: Share = 0.98
    tokens_fp8: Share = 0.95

    def of(self, precision: Precision, output: str = "") -> float:
        """That of one precision, for the output of that name."""
        integers = precision in (Precision.INT8, Precision.INT8_DYNAMIC)
        if output == "pred_boxes":
            return self.overlap_int8 if integers else self.overlap
        if output == "patch_tokens" and integers:
            return self.tokens_int8
        if output == "patch_tokens" and precision is Precision.FP8:
            return self.tokens_fp8
        return float(getattr(self, precision.value.replace("-", "_")))


# What the name of a model in small ends with.
_SMALL = "-tiny"


class ModelEntry(_Checked):
    """One model.

    Attributes:
        id: what users call it, and the name of its folder.
        family: which of ``engines.families`` reads and rebuilds it.
        hub: id on the model hub.
        revision: commit there.
        weights_sha256: of its one ``.safetensors`` file, where that is known; a file that differs is refused.
        licence: of the weights.
        upstream: who made it, and the paper.
        pictures: how pictures are made ready.
        precisions: that can be made, the one to begin with first.
        profile: the batch sizes that a plan is built for.
        grid: frames (in pairs, where a patch spans two), rows and columns of patches; for towers with a fixed grid.
        tolerances: least agreement.
        config: the published architecture, for random weights.
        tiny: what to change in it for a graph that is made within seconds.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    family: Annotated[str, Field(min_length=1)]
    hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    licence: Annotated[str, Field(min_length=1)]
    upstream: Annotated[str, Field(min_length=1)]
    pictures: Pictures
    precisions: Annotated[tuple[Precision, ...], Field(min_length=1)]
    profile: BatchProfile
    grid: tuple[Positive, Positive, Positive] | None = None
    tolerances: Tolerances = Tolerances()
    config: dict[str, Any]
    tiny: dict[str, Any]

    def check(self, precision: Precision) -> None:
        """See that the model is made in a precision.

        Raises:
            UsageError: it is not.
        """
        if precision not in self.precisions:
            raise UsageError(f"{self.id} is not made in {precision}", hint=f"possible: {', '.join(self.precisions)}")

    @property
    def words(self) -> str:
        """How ``python -m engines make`` is told of it."""
        return f"{self.id.removesuffix(_SMALL)} --random --tiny" if self.id.endswith(_SMALL) else self.id

    def shrunk(self) -> ModelEntry:
        """The same model in small: for tests, and to see within seconds whether a chain of tools works."""
        change = dict(self.tiny)
        pictures = self.pictures.model_copy(update={"size": tuple(change.pop("pictures_size"))})
        grid = tuple(change.pop("grid")) if "grid" in change else self.grid
        config = {**self.config, **change}
        return self.model_copy(
            update={"id": f"{self.id}{_SMALL}", "pictures": pictures, "grid": grid, "config": config}
        )


class Manifest(_Checked):
    """All models, in the order of the file."""

    models: Annotated[tuple[ModelEntry, ...], Field(alias="model", min_length=1)]

    @model_validator(mode="after")
    def _unique(self) -> Manifest:
        ids = [model.id for model in self.models]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"model {twice[0]!r} stands twice")
        return self

    def model(self, name: str) -> ModelEntry:
        """The model of that name.

        Raises:
            UsageError: there is none.
        """
        return by_id(name, {model.id: model for model in self.models})


def load_manifest(path: Path | None = None) -> Manifest:
    """Read and check a manifest; without a path, the one that lies here.

    Raises:
        ConfigError: it cannot be read, is not TOML, or does not hold; the line names the place.
    """
    return read_toml(Manifest, path, "engines/manifest.toml", "the manifest of engines")
