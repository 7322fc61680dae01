"""How quick the graphs of a model are here: ONNX Runtime, plans where there is a GPU, torch for comparison."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common import Result, Table, as_json, median
from benchmarks.machine import describe_machine
from engines.checkpoint import need_torch
from engines.manifest import ModelEntry
from engines.sessions import open_session
from streamcap.errors import ModelError, WeightsUnavailable
from streamcap.models.engine import Device
from streamcap.models.graph import INPUT, GraphInfo, Precision, read_graph
from streamcap.models.onnx import choose_provider

__all__ = ["Figure", "measure", "present"]

Tensor = NDArray[np.float32]
_WARM_RUNS = 2


@dataclass(frozen=True, slots=True)
class Figure:
    """One way to run a model, at one batch size.

    Attributes:
        by: what ran it.
        batch: pictures (tiles; 1 for a tower of a fixed grid).
        least_ms, median_ms: of a whole batch.
        runs: how often it was timed.
    """

    by: str
    precision: str
    batch: int
    least_ms: float
    median_ms: float
    runs: int

    @property
    def per_second(self) -> float:
        """Pictures a second."""
        return 1000 * self.batch / self.median_ms


def measure(entry: ModelEntry, folder: Path, *, sizes: Sequence[int], seconds: float, threads: int = 0) -> Result:
    """Time every graph of a model that is there.

    Args:
        sizes: of batches.
        seconds: for each figure.
        threads: of the processor, 0 for all.

    Raises:
        WeightsUnavailable: there is no graph.
        ModelError: a graph does not run.
    """
    load = describe_machine().load_before
    graphs = [folder / f"{each}.onnx" for each in Precision if (folder / f"{each}.onnx").is_file()]
    if not graphs:
        hint = f"python -m engines make {entry.words}"
        raise WeightsUnavailable(f"there is no graph in {folder}", hint=hint)
    infos = {path: read_graph(path) for path in graphs}
    first = next(iter(infos.values()))
    sizes = tuple(sizes) if isinstance(first.input.shape[0], str) else (1,)
    figures: list[Figure] = []
    notes: list[str] = []
    for path, info in infos.items():
        for name, ways in ((f"{info.precision} by ONNX Runtime", _onnx), (f"{info.precision} by TensorRT", _plan)):
            try:
                by, run = ways(path, info, threads)
            except ModelError as error:
                notes.append(f"not run: {name}: {error}")
                continue
            figures += [_timed(by, info.precision, run, _batch(info, size), seconds) for size in sizes]
    try:
        by, eager = _torch(entry, first, threads)
    except ModelError as error:  # a machine that only runs graphs needs neither torch nor weights
        notes.append(f"not run: torch: {error}")
    else:
        figures += [_timed(by, "fp32", eager, _batch(first, size), seconds) for size in sizes]
    rows = tuple(
        (f"{each.by}, {each.precision}", str(each.batch), *(f"{ms:.1f}" for ms in (each.least_ms, each.median_ms)),
         f"{each.per_second:.1f}") for each in figures
    )  # fmt: skip
    settings = {"model": entry.id, "weights": first.source, "seconds": seconds, "threads": threads, "load": load}
    found = {
        f"{each.by}, {each.precision}, {each.batch}": {
            "least_ms": round(each.least_ms, 3),
            "median_ms": round(each.median_ms, 3),
            "per_second": round(each.per_second, 2),
            "runs": each.runs,
        }
        for each in figures
    }
    table = Table((entry.id, "batch", "least ms", "median ms", "pictures/s"), rows)
    return Result(f"engines-{entry.id}", settings, found, [table], notes=notes)


def present(result: Result, path: Path, console: Console) -> None:
    """Print the table, and write the JSON.

    Raises:
        ModelError: it cannot be written.
    """
    machine = describe_machine(float(result.settings["load"]))
    for table in result.tables:
        table.show(console)
    for note in (*result.notes, machine.line()):
        console.print(note, style="dim", markup=False, soft_wrap=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(as_json(result, machine), indent=1, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror}") from error
    console.print(f"written: {path}", markup=False, soft_wrap=True)


Run = Callable[[Tensor], object]


def _onnx(path: Path, info: GraphInfo, threads: int) -> tuple[str, Run]:
    import onnxruntime as ort

    provider = choose_provider(ort.get_available_providers(), Device.AUTO).providers[0]
    fused = info.precision is not Precision.FP8
    session = open_session(path, threads=threads, provider=provider, fused=fused)
    name = session.get_providers()[0].removesuffix("ExecutionProvider")
    return f"ONNX Runtime {name}", lambda batch: session.run(None, {INPUT: batch})


def _plan(path: Path, info: GraphInfo, threads: int) -> tuple[str, Run]:
    from streamcap.models.tensorrt import TensorRtEngine

    engine = TensorRtEngine.open(path.parent, info)
    names = [output.name for output in info.outputs]
    return engine.info.runtime, lambda batch: engine.run(batch, *names)


def _torch(entry: ModelEntry, info: GraphInfo, threads: int) -> tuple[str, Run]:
    torch = need_torch()
    from engines.work import begin, same_weights

    _, model = begin(entry, same_weights(entry, info))
    if threads:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = model.module.to(device)

    def run(batch: Tensor) -> object:
        with torch.inference_mode():
            return [each.cpu() for each in module(torch.from_numpy(batch).to(device))]

    return f"torch {torch.__version__.partition('+')[0]} {device}", run


def _batch(info: GraphInfo, size: int) -> Tensor:
    shape = [size if isinstance(side, str) else side for side in info.input.shape]
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _timed(by: str, precision: str, run: Run, batch: Tensor, seconds: float) -> Figure:
    for _ in range(_WARM_RUNS):
        run(batch)
    times: list[float] = []
    until = time.perf_counter() + seconds
    while not times or time.perf_counter() < until:
        started = time.perf_counter()
        run(batch)
        times.append(1000 * (time.perf_counter() - started))
    size = len(batch) if batch.ndim == 4 else 1
    return Figure(by, precision, size, min(times), median(times), len(times))
