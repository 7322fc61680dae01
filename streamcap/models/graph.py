"""Exported graphs: an ONNX file and the JSON sidecar that says what it is and how pictures are made ready for it.

A graph folder holds ``fp32.onnx``, ``fp16.onnx``, ``int8.onnx`` … of one model, beside each ``NAME.onnx.json``, and the
plans that were built of them (``plans.py``). The names of inputs and outputs are fixed by the role:

* encoder: input ``pixel_values`` (batch, 3, height, width); outputs ``image_embeds`` (batch, dim) and ``patch_tokens``
  (batch, prefix + rows · columns, width of the network), not normalised;
* detector: the same input; outputs ``logits`` (batch, queries, classes), before the sigmoid, and ``pred_boxes`` (batch,
  queries, 4) as centre x, centre y, width, height in 0..1 of the network's input;
* tower, of a vision–language model with its connector: output ``image_features``, as the language model takes them; its
  input is ``pixel_values`` (tiles, 3, side, side) with outputs (tiles, tokens, width), or, for a fixed grid, (patches,
  values) with outputs (tokens, width), and then ``deepstack_0`` … of that shape where its first layers take more.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamcap.errors import UsageError, WeightsCorrupt, WeightsUnavailable, WrongModel
from streamcap.models.pictures import Interpolation, PictureRule, Resize, Triple
from streamcap.models.store import cache_root, sha256_of

__all__ = [
    "GraphInfo",
    "PatchGrid",
    "Precision",
    "Role",
    "Sha256",
    "Sidecar",
    "TensorInfo",
    "engines_command",
    "engines_root",
    "find_graph",
    "make_command",
    "read_graph",
    "sidecar_of",
    "write_graph_info",
    "write_whole",
]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Axis = Annotated[int, Field(gt=0)] | Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
INPUT = "pixel_values"
# What the name of a folder ends with where its graphs were made in small (``--tiny``).
_SMALL = "-tiny"


class Role(StrEnum):
    """What a graph is for; see the module for its inputs and outputs."""

    ENCODER = "encoder"
    DETECTOR = "detector"
    TOWER = "tower"


class Precision(StrEnum):
    """What most of a graph's arithmetic is done in."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT8_DYNAMIC = "int8-dynamic"
    FP8 = "fp8"


_OUTPUTS = {
    Role.ENCODER: ("image_embeds", "patch_tokens"),
    Role.DETECTOR: ("logits", "pred_boxes"),
    Role.TOWER: ("image_features",),
}
# What suits a device best comes first. ONNX Runtime on a processor multiplies int8 fastest with scales that it finds as
# it runs; graphs quantised beforehand, which are made for GPUs, cost it more than fp32 does (docs/benchmarks.md). A GPU
# does fp16 without calibration, and has no kernels for scales found as it runs.
_BY_CPU = (Precision.INT8_DYNAMIC, Precision.FP32, Precision.INT8, Precision.FP16, Precision.BF16, Precision.FP8)
_BY_GPU = (Precision.FP16, Precision.BF16, Precision.FP32, Precision.INT8, Precision.FP8, Precision.INT8_DYNAMIC)


class Sidecar(BaseModel):
    """A JSON file that says what lies beside it: nothing unknown, nothing converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TensorInfo(Sidecar):
    """An input or output of a graph.

    Attributes:
        shape: a number, or the name of an axis that may vary, such as ``batch``, for each axis.
    """

    name: Annotated[str, Field(min_length=1)]
    dtype: Literal["float32", "float16", "bfloat16", "uint8", "int64"]
    shape: tuple[Axis, ...]


class PatchGrid(Sidecar):
    """The fixed grid of a tower that takes patches instead of pictures, in the order of Qwen2-VL (arXiv:2409.12191).

    Attributes:
        frames: patches in time; each spans ``temporal`` pictures.
        rows, columns: patches in space, before they are merged.
        patch: pixels a side.
        temporal: pictures that a patch spans.
        merge: patches a side that become one token; those lie together.
    """

    frames: Annotated[int, Field(gt=0)]
    rows: Annotated[int, Field(gt=0)]
    columns: Annotated[int, Field(gt=0)]
    patch: Annotated[int, Field(gt=0)]
    temporal: Annotated[int, Field(gt=0)]
    merge: Annotated[int, Field(gt=0)]

    @model_validator(mode="after")
    def _merges(self) -> PatchGrid:
        if self.rows % self.merge or self.columns % self.merge:
            raise ValueError(f"{self.rows}×{self.columns} patches cannot be merged {self.merge} by {self.merge}")
        return self

    @property
    def patches(self) -> int:
        """How many there are."""
        return self.frames * self.rows * self.columns

    @property
    def values(self) -> int:
        """Numbers a patch: channels, pictures, rows and columns of pixels."""
        return 3 * self.temporal * self.patch**2

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the pictures that it covers."""
        return self.columns * self.patch, self.rows * self.patch


class GraphInfo(Sidecar):
    """What the sidecar of an exported graph says.

    Attributes:
        format: of the sidecar.
        role: what the graph is for; fixes the names of its inputs and outputs.
        model: short name, which is the name of its folder in the engine cache.
        source: hub id or folder that the weights came from.
        revision: of the source; ``local`` for a folder.
        seed: of random weights, which only speed and parity can be measured with; None for real ones.
        licence: of the weights, as upstream states it.
        sha256: of the ONNX file.
        external: further files beside it that hold its weights, and their hashes.
        input: ``pixel_values``.
        mean, std: of the three channels, after rescaling.
        rescale: what a pixel of 0..255 is multiplied by.
        resize: how a picture becomes the network's size: ``squash`` changes its aspect, ``crop`` takes the middle,
            ``letterbox`` puts it on black at the top left.
        interpolation: how pixels are made up where a picture grows; one that shrinks is always averaged by area.
        outputs: in the graph's order.
        labels: class names of a detector.
        grid: rows and columns of the patch tokens; None for a detector.
        prefix_tokens: tokens before those of the grid: class token, registers.
        patches: of a tower that takes patches.
        opset: of the ONNX file.
        versions: of what it was exported with.
    """

    format: Literal[1] = 1
    role: Role
    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    source: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)]
    seed: int | None = None
    licence: Annotated[str, Field(min_length=1)]
    precision: Precision
    sha256: Sha256
    external: dict[Annotated[str, Field(pattern=r"^[^/\\]+$")], Sha256] = {}
    input: TensorInfo
    mean: Triple
    std: Triple
    rescale: Annotated[float, Field(gt=0)] = 1 / 255
    resize: Resize
    interpolation: Interpolation = "bicubic"
    outputs: tuple[TensorInfo, ...]
    labels: tuple[str, ...] = ()
    grid: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    prefix_tokens: Annotated[int, Field(ge=0)] = 0
    patches: PatchGrid | None = None
    opset: Annotated[int, Field(gt=0)]
    versions: dict[str, str] = {}

    @model_validator(mode="after")
    def _holds(self) -> GraphInfo:
        names = {output.name for output in self.outputs}
        if lacking := [name for name in _OUTPUTS[self.role] if name not in names]:
            raise ValueError(f"outputs: {', '.join(lacking)} is missing")
        shape = self.input.shape
        if self.patches is not None:
            if self.role is not Role.TOWER or shape != (self.patches.patches, self.patches.values):
                raise ValueError("patches: only of a tower whose input is (patches, values) of that grid")
        elif len(shape) != 4 or shape[1] != 3 or not (isinstance(shape[2], int) and isinstance(shape[3], int)):
            raise ValueError(f"input: must be {INPUT} of (batch, 3, height, width) with height and width fixed")
        if self.input.name != INPUT:
            raise ValueError(f"input: must be called {INPUT}")
        if min(self.std) <= 0:
            raise ValueError("std: must be above 0")
        if self.role is Role.DETECTOR and not self.labels:
            raise ValueError("labels: a detector needs them")
        return self

    @property
    def digest(self) -> str:
        """One hash over the graph and its weights: what plans are keyed by."""
        if not self.external:
            return self.sha256
        parts = [self.sha256, *(f"{name}:{digest}" for name, digest in sorted(self.external.items()))]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the pictures that it takes."""
        if self.patches is not None:
            return self.patches.size
        _, _, height, width = self.input.shape
        assert isinstance(height, int)
        assert isinstance(width, int)
        return width, height

    @property
    def pictures(self) -> PictureRule:
        """How a picture is made ready for the graph."""
        return PictureRule(self.size, self.mean, self.std, self.rescale, self.resize, self.interpolation)

    @property
    def item(self) -> tuple[int, ...]:
        """Shape of one item of its input: (3, height, width) of a picture, (values,) of a patch."""
        return tuple(axis for axis in self.input.shape[1:] if isinstance(axis, int))

    def output(self, name: str) -> TensorInfo:
        """The output of that name.

        Raises:
            WrongModel: there is none.
        """
        for output in self.outputs:
            if output.name == name:
                return output
        raise WrongModel(f"{self.model} has no output {name}")


def engines_command(words: str) -> str:
    """A command of the offline tools, and where it can be run: the package does not carry them."""
    command = f"python -m engines {words}"
    found = importlib.util.find_spec("engines")
    if found is not None and found.origin and Path(found.origin).with_name("manifest.toml").is_file():
        return command
    return f"in a checkout of streamcap, or in its engines image: {command}"


def engines_root() -> Path:
    """The directory of exported graphs and plans: ``engines`` beside the cached weights."""
    return cache_root().parent / "engines"


def sidecar_of(path: Path) -> Path:
    """Where the sidecar of a graph or plan lies."""
    return path.with_name(path.name + ".json")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new one, a crash leaves one of them.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def write_graph_info(graph: Path, info: GraphInfo) -> Path:
    """Write the sidecar of an ONNX file that is complete; returns where.

    Raises:
        OSError: it cannot be written.
    """
    path = sidecar_of(graph)
    write_whole(path, info.model_dump_json(indent=1).encode() + b"\n")
    return path


def read_graph(graph: Path, *, role: Role | None = None, check_hash: bool = True) -> GraphInfo:
    """Read the sidecar of an ONNX file and hold the file to it.

    Args:
        role: what is asked for; None for anything.
        check_hash: read the whole file and its external weights, about a second for each gigabyte.

    Raises:
        WeightsUnavailable: the graph, its sidecar or a file of weights is missing.
        WeightsCorrupt: the sidecar cannot be read, or a hash differs.
        WrongModel: the sidecar says something that cannot be, or is of another role.
    """
    if not graph.is_file():
        raise WeightsUnavailable(f"there is no graph {graph}", hint=engines_command("make MODEL"))
    info = _read_sidecar(graph)
    if role is not None and info.role is not role:
        hint = f"name it as the {info.role}, and another one as the {role}"
        raise WrongModel(f"{graph} is a graph of role {info.role}; {role} is needed", hint=hint)
    for name, wanted in {graph.name: info.sha256, **info.external}.items():
        path = graph.with_name(name)
        if not path.is_file():
            raise WeightsUnavailable(
                f"{path}, which holds weights of {graph.name}, is missing", hint=make_command(info)
            )
        if check_hash and sha256_of(path) != wanted:
            raise WeightsCorrupt(f"{path} does not match the hash in its sidecar", hint=make_command(info))
    return info


def _read_sidecar(graph: Path) -> GraphInfo:
    path = sidecar_of(graph)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise WeightsUnavailable(
            f"{graph} has no sidecar {path.name}: how pictures are made ready for it is not known",
            hint=engines_command("make MODEL"),
        ) from None
    except OSError as error:
        raise WeightsCorrupt(f"cannot read {path}: {error.strerror}") from error
    try:
        return GraphInfo.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise WeightsCorrupt(f"{path} is not JSON: {first['msg']}", hint=engines_command("make MODEL")) from error
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise WrongModel(
            f"{path} does not hold: {place + ': ' if place else ''}{reason}", hint=engines_command("make MODEL")
        ) from error


def find_graph(name: str, *, precision: Precision | None = None, gpu: bool = False) -> Path:
    """The ONNX file that a setting names.

    Args:
        name: an ONNX file, a graph folder, or the name of one in the engine cache.
        precision: which of a folder's; None for the one that suits the device best, of those that are there.
        gpu: it is to run on a GPU.

    Raises:
        WeightsUnavailable: there is no such graph.
        UsageError: a file and a precision were both named, and do not agree.
    """
    path = Path(name).expanduser()
    if path.suffix == ".onnx":
        if precision is not None and path.is_file() and _read_sidecar(path).precision is not precision:
            raise UsageError(f"{path} is not of precision {precision}", hint="name its folder, or leave precision auto")
        if not path.is_file():
            raise WeightsUnavailable(f"there is no graph {path}", hint=engines_command("make MODEL"))
        return path
    folder = path if path.is_dir() else engines_root() / name
    wanted = (precision,) if precision is not None else _BY_GPU if gpu else _BY_CPU
    for kind in wanted:
        if (found := folder / f"{kind}.onnx").is_file():
            return found
    option = f" --precision {precision}" if precision is not None else ""
    what = f"{precision} graph" if precision is not None else "graph"
    if path.exists() or path.name != name:  # a path, and no name that something could be made under
        hint = "name a folder that `python -m engines make` wrote, or an ONNX file in it"
    else:
        hint = engines_command(f"make {_words(name)}{option}")
    raise WeightsUnavailable(f"there is no {what} in {folder}", hint=hint)


def make_command(info: GraphInfo, precision: Precision | None = None) -> str:
    """The command that makes a graph again.

    Args:
        precision: of the graph; None for its own.
    """
    random = " --random" if info.seed is not None and not info.model.endswith(_SMALL) else ""
    return engines_command(f"make {_words(info.model)}{random} --precision {precision or info.precision}")


def _words(model: str) -> str:
    """How the name of a graph folder is said to ``python -m engines make``."""
    return f"{model.removesuffix(_SMALL)} --random --tiny" if model.endswith(_SMALL) else model
