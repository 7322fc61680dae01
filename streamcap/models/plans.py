"""Plans: engines that TensorRT compiled of a graph, for one sort of GPU, one version of the builder and one profile.

A plan is a blob that the runtime takes on trust: one of another version, GPU or graph is refused here, before it is
loaded, with the reason and the command that builds a right one.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from streamcap.errors import PlanRefused
from streamcap.models.graph import (
    GraphInfo,
    Precision,
    Sha256,
    Sidecar,
    engines_command,
    engines_root,
    sidecar_of,
    write_whole,
)

__all__ = ["BatchProfile", "PlanInfo", "PlanKey", "Target", "build_command", "choose_plan", "read_plan", "write_plan"]

Builder = Literal["tensorrt", "tensorrt-rtx"]
Architecture = Annotated[str, Field(pattern=r"^sm_[0-9]{2,3}$")]


class BatchProfile(Sidecar):
    """The batch sizes that a plan serves.

    Attributes:
        least, best, most: pictures a batch; the builder tunes for ``best``.
    """

    least: Annotated[int, Field(ge=1)] = 1
    best: Annotated[int, Field(ge=1)] = 8
    most: Annotated[int, Field(ge=1)] = 64

    @model_validator(mode="after")
    def _ordered(self) -> BatchProfile:
        if not self.least <= self.best <= self.most:
            raise ValueError("must be least <= best <= most")
        return self

    def __str__(self) -> str:
        return f"b{self.least}-{self.best}-{self.most}"


class PlanKey(Sidecar):
    """What a plan was built of, by what and for what. Two plans of one key do the same.

    Attributes:
        graph: ``GraphInfo.digest`` of the graph.
        builder: the library, as its distribution is called.
        builder_version: the library's own, in full.
        architectures: GPUs that it runs on, such as ``sm_90``; several where the builder makes portable plans.
    """

    graph: Sha256
    builder: Builder
    builder_version: Annotated[str, Field(min_length=1)]
    architectures: Annotated[tuple[Architecture, ...], Field(min_length=1)]
    precision: Precision
    profile: BatchProfile

    @property
    def file_name(self) -> str:
        """Readable, and different for each key."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
        version = re.sub(r"[^\w.]", "_", self.builder_version)
        where = "+".join(self.architectures)
        return f"{self.precision}-{self.builder}-{version}-{where}-{self.profile}-{digest}.plan"


class PlanInfo(Sidecar):
    """What the sidecar of a plan says.

    Attributes:
        format: of the sidecar.
        model: short name of the model.
        key: what it was built of and for.
        size: bytes of the plan.
        sha256: of the plan.
        build_s: seconds that it took to build.
    """

    format: Literal[1] = 1
    model: Annotated[str, Field(min_length=1)]
    key: PlanKey
    size: Annotated[int, Field(gt=0)]
    sha256: Sha256
    build_s: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """What plans have to fit: the library that would run them, and the GPU.

    Attributes:
        architecture: such as ``sm_90``.
    """

    builder: Builder
    builder_version: str
    architecture: str

    def refusal(self, key: PlanKey, graph: str) -> str:
        """Why a plan of that key cannot run here for the graph of that digest; empty where it can."""
        if key.graph != graph:
            return f"it was built of another graph ({key.graph[:12]}, not {graph[:12]})"
        if key.builder != self.builder:
            return f"it was built by {key.builder}; here is {self.builder}"
        if key.builder_version != self.builder_version:
            return f"it was built by {key.builder} {key.builder_version}; here is {self.builder_version}"
        if self.architecture not in key.architectures:
            return f"it was built for {', '.join(key.architectures)}; the GPU here is {self.architecture}"
        return ""


def build_command(model: str, precision: Precision, folder: Path | None = None) -> str:
    """The command that builds a plan for the machine on which it is run.

    Args:
        folder: of the graph; None for that of the engine cache.
    """
    small = " --tiny" if model.endswith("-tiny") else ""
    where = f" --output {shlex.quote(str(folder))}" if folder not in (None, engines_root() / model) else ""
    return engines_command(f"build {model.removesuffix('-tiny')}{small} --precision {precision}{where}")


def write_plan(folder: Path, plan: bytes, *, model: str, key: PlanKey, build_s: float = 0.0) -> Path:
    """Write a plan and its sidecar, each in one step; a plan is only ever read by its sidecar. Returns the plan's path.

    Raises:
        OSError: they cannot be written.
        ValueError: the plan is empty.
    """
    if not plan:
        raise ValueError("an empty plan cannot be written")
    digest = hashlib.sha256(plan).hexdigest()
    info = PlanInfo(model=model, key=key, size=len(plan), sha256=digest, build_s=round(build_s, 3))
    path = folder / key.file_name
    write_whole(path, plan)
    # Last: a crash before this leaves a plan that no sidecar speaks of, or a sidecar whose hash no longer matches.
    write_whole(sidecar_of(path), info.model_dump_json(indent=1).encode() + b"\n")
    return path


def read_plan(path: Path, target: Target, graph: GraphInfo) -> tuple[bytes, PlanInfo]:
    """Read a plan that fits.

    Args:
        graph: what the plan must have been built of.

    Raises:
        PlanRefused: it is missing, damaged, or was built for another machine, library or graph.
    """
    info = _read_sidecar(path, graph)
    if reason := target.refusal(info.key, graph.digest):
        raise _refused(path, reason, graph)
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}", graph) from error
    if len(plan) != info.size or hashlib.sha256(plan).hexdigest() != info.sha256:
        raise _refused(path, "it is damaged: it does not match the hash in its sidecar", graph)
    return plan, info


def choose_plan(folder: Path, target: Target, graph: GraphInfo) -> Path:
    """The plan in the folder that fits; of several the one whose profile takes the largest batches.

    Raises:
        PlanRefused: there is none; the message says why each of those that are there does not fit.
    """
    fits: list[tuple[int, Path]] = []
    reasons: list[str] = []
    for path in sorted(folder.glob("*.plan")):
        try:
            info = _read_sidecar(path, graph)
        except PlanRefused as error:
            reasons.append(str(error))
            continue
        if info.key.precision is not graph.precision:
            continue  # of another graph of this model: nobody expects it to fit
        if reason := target.refusal(info.key, graph.digest):
            reasons.append(f"{path.name}: {reason}")
        else:
            fits.append((info.key.profile.most, path))
    if fits:
        return max(fits)[1]
    why = "; ".join(reasons) or "none was built"
    raise PlanRefused(
        f"no plan of {graph.model} {graph.precision} for {target.builder} {target.builder_version} on "
        f"{target.architecture}: {why}",
        hint=build_command(graph.model, graph.precision, folder),
    )


def _read_sidecar(path: Path, graph: GraphInfo) -> PlanInfo:
    try:
        return PlanInfo.model_validate_json(sidecar_of(path).read_bytes())
    except FileNotFoundError:
        raise _refused(path, "it has no sidecar, so what it was built for is not known", graph) from None
    except OSError as error:
        raise _refused(path, f"its sidecar cannot be read: {error.strerror}", graph) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _refused(path, f"its sidecar does not hold: {place}: {first['msg']}", graph) from error


def _refused(path: Path, reason: str, graph: GraphInfo) -> PlanRefused:
    return PlanRefused(f"{path.name}: {reason}", hint=build_command(graph.model, graph.precision, path.parent))
