"""The steps of ``make``, one by one: find the weights, build the model, export it, verify the graph."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines import families, frames, layers, verify
from engines.checkpoint import Checkpoint, obtain
from engines.export import TORCH_PRECISIONS, export_onnx, info_of, typed_outputs, write_sidecar
from engines.families.base import Exportable
from engines.files import SCRATCH, WORKING, disk, replace_all
from engines.fp8 import quantize_fp8
from engines.manifest import ModelEntry
from engines.progress import Progress, quiet
from engines.quantize import quantize_dynamic, quantize_static
from engines.sessions import open_session, run_graph
from engines.smoothing import smooth
from streamcap.errors import WeightsUnavailable
from streamcap.models.engine import Engine
from streamcap.models.graph import GraphInfo, Precision, Role, read_graph, sidecar_of

__all__ = ["CALIBRATION_PICTURES", "VERIFICATION_PICTURES", "Verdict", "Work", "begin", "same_weights"]

Tensor = NDArray[np.float32]
# Products that would be wrong by more than this share are not put into 8 bits; the next limit where the graph as a
# whole is still too far off. See docs/decisions/025-eight-bits.md. In floating point all are wrong by about the same.
_ERROR_LIMITS = (1.0, 0.05, 0.03, 0.02, 0.015)
_ERROR_LIMITS_FP8 = (1.0, 0.035, 0.03)
# Pictures that ranges of activations are measured on, and that outputs are compared on.
CALIBRATION_PICTURES = 64
VERIFICATION_PICTURES = 16
# Of these, what the report by layers looks at: it keeps the tensors of two graphs in memory.
_REPORT_PICTURES = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a graph gives what torch gives.

    Attributes:
        outputs: agreement of each.
        wanted: least agreement of each.
        by: what ran the graph.
        layers: the worst first, where it failed.
    """

    precision: Precision
    outputs: Sequence[verify.Agreement]
    wanted: Sequence[float]
    by: str
    layers: Sequence[layers.Layer] = ()

    @property
    def passed(self) -> bool:
        """Every output agrees."""
        return all(found.least >= least for found, least in zip(self.outputs, self.wanted, strict=True))


def begin(
    entry: ModelEntry, weights: Checkpoint | None = None, *, source: str | None = None, revision: str | None = None
) -> tuple[Checkpoint, Exportable]:
    """Find the weights and build the model.

    Args:
        weights: as they were found; None to look for them by ``source`` and ``revision``, see :func:`obtain`.

    Raises:
        ModelError: they cannot be had or read, or torch is not installed.
    """
    weights = weights or obtain(entry, source=source, revision=revision)
    return weights, families.build(entry, weights.folder, seed=weights.seed or 0)


def same_weights(entry: ModelEntry, info: GraphInfo) -> Checkpoint:
    """The weights that a graph was exported from.

    Raises:
        WeightsUnavailable: they are no longer there.
    """
    if info.seed is not None:
        return Checkpoint(None, info.source, info.revision, info.seed)
    if info.revision == "local" and not Path(info.source).is_dir():
        raise WeightsUnavailable(f"{info.model} was made of {info.source}, which is no longer there")
    return obtain(entry, source=info.source, revision=None if info.revision == "local" else info.revision)


@dataclass(slots=True)
class Work:
    """One model on its way to graphs.

    Attributes:
        folder: where graphs are written.
        clips: sources of real frames; none for the rendered scene.
        left: what of a graph in 8 bits is not, in words.
    """

    entry: ModelEntry
    weights: Checkpoint
    model: Exportable
    folder: Path
    clips: Sequence[str] = ()
    left: dict[Precision, str] = field(default_factory=dict)
    _exported: set[Precision] = field(default_factory=set)
    _fed: dict[int, list[Tensor]] = field(default_factory=dict)
    _reference: list[list[Tensor]] = field(default_factory=list)

    def path(self, precision: Precision) -> Path:
        """Where the graph of that precision lies, or would."""
        return self.folder / f"{precision}.onnx"

    def export(self, precision: Precision, progress: Progress = quiet) -> Path:
        """Write the graph of a precision and its sidecar; the sidecar last, so that no unfinished graph is loaded.

        Args:
            progress: told of the steps to 8 bits.

        Raises:
            UsageError: the model is not made in that precision.
            ModelError: it cannot be exported or quantised, a clip cannot be read, or the disk is full.
        """
        self.entry.check(precision)
        path = self.path(precision)
        with disk(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with disk(self.folder), tempfile.TemporaryDirectory(dir=self.folder, prefix=WORKING) as scratch:
            fresh = Path(scratch) / path.name
            if precision in TORCH_PRECISIONS:
                export_onnx(self.model, fresh, precision)
            else:
                self._quantise(precision, fresh, progress)
            # Until here an interrupt leaves the graph that was there before.
            sidecar_of(path).unlink(missing_ok=True)
            external = replace_all(fresh, path)
        write_sidecar(path, info_of(self.model, path, precision, self.entry, self.weights, external))
        self._exported.add(precision)
        return path

    def _quantise(self, precision: Precision, path: Path, progress: Progress) -> None:
        """Put as many products into 8 bits as the tolerance allows: those that lose most are left out, in steps."""
        base = Precision.FP32 if precision is Precision.INT8_DYNAMIC else Precision.FP16
        calibration = self.calibration()
        with self._graph(base) as whole, tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
            if self.model.role is Role.DETECTOR:
                if precision is Precision.INT8:
                    quantize_static(whole, path, calibration, self.model.role)
                else:
                    quantize_dynamic(whole, path)
                return
            smoothed = Path(scratch) / "smoothed.onnx"
            found = smooth(whole, smoothed, calibration, precision, progress)
            limits = _ERROR_LIMITS_FP8 if precision is Precision.FP8 else _ERROR_LIMITS
            tried = None
            for trial, limit in enumerate(limits):
                progress("trials", trial, len(limits))
                keep = {name for name, error in found.errors.items() if error > limit}
                if keep == tried:
                    continue
                tried = keep
                if precision is Precision.FP8:
                    quantize_fp8(smoothed, path, found.ranges, keep=keep)
                elif precision is Precision.INT8:
                    quantize_static(smoothed, path, (), self.model.role, keep=keep, ranges=found.ranges)
                else:
                    quantize_dynamic(smoothed, path, keep=keep)
                self.left[precision] = f"{len(keep)} of {len(found.errors)} products left in {base}"
                if self._compared(precision, path).passed:
                    return

    @contextmanager
    def _graph(self, precision: Precision) -> Iterator[Path]:
        """A graph to work on: the one that was exported before, or one for a while."""
        if precision in self._exported and self.path(precision).is_file():
            yield self.path(precision)
            return
        with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
            path = Path(scratch) / f"{precision}.onnx"
            export_onnx(self.model, path, precision)
            yield path

    def verify(self, precision: Precision) -> Verdict:
        """Compare the graph of a precision with torch.

        ONNX Runtime has no bfloat16 on processors: there the module itself, in that type, stands in for the graph.

        Raises:
            ModelError: the graph is not there, is damaged, or does not run.
        """
        path = self.path(precision)
        read_graph(path)
        verdict = self._compared(precision, path)
        if verdict.passed or precision is Precision.BF16:
            return verdict
        report = self._layers(path, self.compared()[:_REPORT_PICTURES])
        return replace(verdict, layers=report)

    def _compared(self, precision: Precision, path: Path) -> Verdict:
        fed = self.compared()
        if precision is Precision.BF16:
            return self._judged(precision, "torch", typed_outputs(self.model, precision, fed))
        session = open_session(path, fused=precision is not Precision.FP8)
        return self._judged(precision, "ONNX Runtime", run_graph(session, fed))

    def verify_engine(self, precision: Precision, engine: Engine) -> Verdict:
        """Compare what an engine of that graph gives, such as a plan on the GPU, with torch.

        Raises:
            ModelError: it does not run.
        """
        fed = self.compared()
        return self._judged(precision, engine.info.provider, [engine.run(one, *self.model.outputs) for one in fed])

    def _judged(self, precision: Precision, by: str, got: Sequence[Sequence[Tensor]]) -> Verdict:
        if not self._reference:
            self._reference = verify.reference_outputs(self.model, self.compared())
        outputs = verify.agreement(self.model, self._reference, got)
        wanted = [self.entry.tolerances.of(precision, output.output) for output in outputs]
        return Verdict(precision, outputs, wanted, by)

    def _layers(self, path: Path, fed: Sequence[Tensor]) -> list[layers.Layer]:
        with self._graph(Precision.FP32) as whole:
            return layers.layer_report(whole, path, fed)

    def fed(self, count: int) -> list[Tensor]:
        """That many real pictures (or runs of pictures) of all clips, made ready for the model."""
        if count not in self._fed:
            self._fed[count] = self._ready(self.clips, count)
        return self._fed[count]

    def compared(self) -> list[Tensor]:
        """Pictures that outputs are compared on."""
        return self.fed(VERIFICATION_PICTURES)

    def calibration(self) -> list[Tensor]:
        """Pictures that ranges are measured on: of several clips none of the last, which only tells whether what was
        measured holds elsewhere.
        """
        return self._ready(self.clips[:-1] or self.clips, CALIBRATION_PICTURES)

    def _ready(self, clips: Sequence[str], count: int) -> list[Tensor]:
        span = 1 if self.model.patches is None else self.model.patches.frames * self.model.patches.temporal
        return frames.inputs(self.model, frames.pictures(clips, count * span))
