"""ONNX to a plan, by TensorRT or TensorRT-RTX, whichever is installed: their interfaces have one shape.

TensorRT compiles for the GPU of this machine and needs it. TensorRT-RTX compiles ahead of time for kinds of GPUs, and
finishes where the plan is loaded: it needs none.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.files import disk
from engines.progress import Progress, quiet
from streamcap.errors import ModelError, ModelLoadError, UsageError
from streamcap.models.cuda import Cuda
from streamcap.models.graph import INPUT, GraphInfo, Precision, engines_root, write_whole
from streamcap.models.plans import BatchProfile, PlanKey, write_plan
from streamcap.models.tensorrt import Library, load_library

__all__ = ["BuiltPlan", "build_plan", "computes_in", "targets_of"]

_log = logging.getLogger(__name__)

# Seconds between looks at whether a build is over: only so that an interrupt is seen soon.
_LOOK_S = 0.2
# What a build without targets serves, where the builder makes portable plans: Ampere to Blackwell.
PORTABLE = ("sm_80", "sm_86", "sm_89", "sm_120")
# The first GPUs (Ada Lovelace) that multiply in FP8; for older ones there is nothing to build.
FP8_SINCE = 89


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A plan that was written.

    Attributes:
        size: bytes.
        seconds: that it took to build.
        architectures: GPUs that it runs on.
    """

    path: Path
    size: int
    seconds: float
    architectures: tuple[str, ...]


def targets_of(library: Library, wanted: Sequence[str] = (), precision: Precision | None = None) -> tuple[str, ...]:
    """The GPUs that a plan is to be built for.

    Args:
        wanted: such as ``sm_89``; none for the GPU here, or all common ones where there is none.
        precision: of the graph; None for one that all GPUs compute in.

    Raises:
        UsageError: the builder cannot build for one of them, or one does not compute in that precision.
        ModelLoadError: it builds for the GPU of this machine alone, and there is none.
    """
    chosen = _chosen(library, wanted)
    able = tuple(name for name in chosen if computes_in(name, precision))
    if not able or (wanted and able != chosen):
        lacking = next(name for name in chosen if name not in able)
        raise UsageError(f"{lacking} does not compute in {precision}", hint=f"sm_{FP8_SINCE} and newer do")
    return able


def computes_in(architecture: str, precision: Precision | None) -> bool:
    """Whether the GPUs of an architecture, such as ``sm_89``, have products of that precision."""
    return precision is not Precision.FP8 or int(architecture.removeprefix("sm_")) >= FP8_SINCE


def _chosen(library: Library, wanted: Sequence[str]) -> tuple[str, ...]:
    known = _portable(library)
    if not known:
        here = Cuda.open().architecture
        if other := [name for name in wanted if name != here]:
            raise UsageError(f"{library.builder} builds for the GPU of this machine, {here}, not for {other[0]}")
        return (here,)
    if wanted:
        if unknown := [name for name in wanted if name not in known]:
            raise UsageError(f"{library.builder} {library.version} does not build for {unknown[0]}", hint=_names(known))
        return tuple(dict.fromkeys(wanted))
    try:
        here = Cuda.open().architecture
    except ModelLoadError:
        return tuple(name for name in PORTABLE if name in known)
    if here not in known:
        raise UsageError(f"{library.builder} {library.version} does not build for {here}", hint=_names(known))
    return (here,)


def build_plan(
    graph: Path,
    info: GraphInfo,
    *,
    library: Library | None = None,
    profile: BatchProfile,
    targets: Sequence[str] = (),
    folder: Path | None = None,
    progress: Progress = quiet,
) -> BuiltPlan:
    """Compile a graph, and write the plan beside it.

    An interrupt (Ctrl-C) stops the build at its next step and leaves nothing behind.

    Args:
        library: None for the one that is installed.
        profile: batches that the plan serves; of no matter for a graph whose batch is fixed.
        targets: GPUs, see :func:`targets_of`.
        folder: where to; None for the graph's.
        progress: told of the library's steps.

    Raises:
        ModelLoadError: no TensorRT is installed, or there is no GPU where one is needed.
        ModelError: the graph cannot be parsed (each node that cannot is named) or compiled, or the disk is full.
        UsageError: the builder cannot build for a target.
    """
    library = library or load_library()
    architectures = targets_of(library, targets, info.precision)
    build = _Build(library, progress)
    started = time.monotonic()
    plan = build.run(graph, info, profile, architectures if _portable(library) else ())
    seconds = time.monotonic() - started
    key = PlanKey(
        graph=info.digest,
        builder=library.builder,
        builder_version=library.version,
        architectures=architectures,
        precision=info.precision,
        profile=profile,
    )
    with disk(folder or graph.parent):
        path = write_plan(folder or graph.parent, plan, model=info.model, key=key, build_s=seconds)
    return BuiltPlan(path, len(plan), seconds, architectures)


def _portable(library: Library) -> tuple[str, ...]:
    """GPUs that the library builds for without having them; none for one that builds for the GPU here."""
    if library.builder != "tensorrt-rtx":
        return ()
    names = (re.fullmatch(r"SM(\d+)", name) for name in library.module.ComputeCapability.__members__)
    return tuple(f"sm_{match[1]}" for match in names if match)


def _names(known: Sequence[str]) -> str:
    return f"known: {', '.join(known)}"


class _Build:
    """One build: what the library says goes to the log, its errors into the message."""

    def __init__(self, library: Library, progress: Progress) -> None:
        self._library, self._trt = library, library.module
        self._progress = progress
        self._stop = threading.Event()
        self._errors: list[str] = []
        self._logger = self._make_logger()

    def run(self, graph: Path, info: GraphInfo, profile: BatchProfile, targets: Sequence[str]) -> bytes:
        """The plan's bytes."""
        trt = self._trt
        builder = trt.Builder(self._logger)
        if builder is None:
            raise ModelLoadError(self._said(f"{self._library.builder} does not start"))
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        self._parse(network, graph)
        config = builder.create_builder_config()
        if targets:
            config.num_compute_capabilities = len(targets)
            for place, name in enumerate(targets):
                config.set_compute_capability(trt.ComputeCapability.__members__[name.replace("sm_", "SM")], place)
        if isinstance(info.input.shape[0], str):
            config.add_optimization_profile(self._profile(builder, info, profile))
        config.progress_monitor = self._make_monitor()
        cache = self._timing_cache(config)
        plan = self._interruptible(lambda: builder.build_serialized_network(network, config))
        if plan is None:
            raise ModelError(self._said(f"{self._library.builder} cannot compile {graph.name}"))
        if cache is not None:
            self._keep(config, cache)
        return bytes(plan)

    def _parse(self, network: Any, graph: Path) -> None:
        parser = self._trt.OnnxParser(network, self._logger)
        if parser.parse_from_file(str(graph)):
            return
        troubles = [_trouble(parser.get_error(index)) for index in range(parser.num_errors)]
        raise ModelError(f"{self._library.builder} cannot parse {graph.name}: {'; '.join(troubles) or self._said('')}")

    def _profile(self, builder: Any, info: GraphInfo, profile: BatchProfile) -> Any:
        made = builder.create_optimization_profile()
        rest = tuple(info.input.shape[1:])
        made.set_shape(INPUT, *((size, *rest) for size in (profile.least, profile.best, profile.most)))
        return made

    def _timing_cache(self, config: Any) -> Path | None:
        """Hand over what earlier builds measured; TensorRT-RTX measures nothing."""
        if self._library.builder != "tensorrt":
            return None
        path = engines_root() / f"timing-{self._library.version}.cache"
        known = path.read_bytes() if path.is_file() else b""
        if not config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False):
            _log.warning("%s is of another GPU or version, and is measured anew", path)
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
        return path

    @staticmethod
    def _keep(config: Any, path: Path) -> None:
        try:
            write_whole(path, bytes(config.get_timing_cache().serialize()))
        except OSError as error:  # the plan is there all the same
            _log.warning("cannot keep %s: %s", path, error.strerror)

    def _interruptible(self, work: Callable[[], Any]) -> Any:
        """Do it in a thread, so that an interrupt is seen meanwhile: the library stops at its next step."""
        with ThreadPoolExecutor(1, thread_name_prefix="build") as pool:
            future = pool.submit(work)
            try:
                while True:
                    try:
                        return future.result(_LOOK_S)
                    except NotYet:
                        continue
            except BaseException:  # Ctrl-C above all: the builder is told to stop, and is waited for
                self._stop.set()
                raise

    def _said(self, what: str) -> str:
        reason = self._errors[0] if self._errors else "it gives no reason"
        return f"{what}: {reason}" if what else reason

    def _make_logger(self) -> Any:
        base: Any = self._trt.ILogger
        errors = self._errors

        class Log(base):
            def __init__(self) -> None:
                base.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (base.ERROR, base.INTERNAL_ERROR) and "cudaError" not in message:
                    errors.append(message)
                _log.debug("%s", message)

        return Log()

    def _make_monitor(self) -> Any:
        base: Any = self._trt.IProgressMonitor
        progress, stop = self._progress, self._stop
        steps: dict[str, int] = {}

        class Monitor(base):
            def __init__(self) -> None:
                base.__init__(self)

            def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
                steps[phase_name] = num_steps
                progress(phase_name, 0, num_steps)

            def step_complete(self, phase_name: str, step: int) -> bool:
                progress(phase_name, step + 1, steps[phase_name])
                return not stop.is_set()

            def phase_finish(self, phase_name: str) -> None:
                progress(phase_name, steps[phase_name], steps[phase_name])

        return Monitor()


def _trouble(error: Any) -> str:
    """One of the parser's errors: which node, and why."""
    node = error.node_name() or f"number {error.node()}"
    lines = [line.strip() for line in error.desc().splitlines() if "cudaError" not in line]
    return f"node {node} ({error.node_operator()}): {' '.join(lines)}"
