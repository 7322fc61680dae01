"""Image encoders on the processor: one network through several runtimes, what batching costs, and many streams.

python benchmarks/encoders.py --quick
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import (
    ROOT,
    SCRATCH,
    Aim,
    Quick,
    Result,
    Table,
    conclude,
    median,
    per_second,
    percentile,
    progress,
)
from benchmarks.peaks import VIT_B16, matmul_peaks
from benchmarks.process import need_weights
from streamcap.models.batching import MicroBatcher
from streamcap.sources.rendered_art import Painter

__all__ = ["measure"]

Tensor = NDArray[np.float32]

MODEL = "clip-vit-b16"
GRAPHS = ("fp32", "int8", "int8-dynamic")
THREADS = (1, 2)
BATCHES = (1, 8)
INPUT = (3, 224, 224)
STREAMS = (1, 2, 4)
# Requests a second of a full machine would be some hundreds; the overhead is to be nothing beside a frame.
OVERHEAD_AIM_MS = 0.3
EXPORT_TIMEOUT_S = 900
MEMORY_BATCH = 8


@dataclass(frozen=True, slots=True)
class Speed:
    """One runtime with one graph, threads and batch.

    Attributes:
        ms: of one picture, the least and the median of the repeats.
        cpu_ms: processor milliseconds of one picture, of all threads.
    """

    runtime: str
    graph: str
    threads: int
    batch: int
    least_ms: float
    median_ms: float
    cpu_ms: float


def measure(*, quick: bool = False) -> Result:
    """Time encoders and the micro-batcher in this process.

    Raises:
        CannotRun: no weights.
    """
    need_weights()
    not_run: list[str] = []
    graphs = find_graphs(not_run, export=not quick)
    repeats = 3 if quick else 10
    batches, threads = (BATCHES[:1], THREADS[:1]) if quick else (BATCHES, THREADS)
    jobs = [(name, path, count) for name, path in graphs.items() for count in threads]
    speeds: list[Speed] = []
    with progress("encoders", 3 * len(jobs) + 3) as step:
        peaks = {count: matmul_peaks(count, 0.3 if quick else 2.0) for count in threads}
        if not all(peaks.values()):
            not_run.append("share of the peak: the package onnx is not installed")
        step("peaks")
        for name, path, count in jobs:
            speeds += time_runtime("ONNX Runtime", open_onnxruntime, name, path, count, batches, repeats, not_run)
            step(f"ONNX Runtime {name}")
            speeds += time_runtime("OpenVINO", open_openvino, name, path, count, batches, repeats, not_run)
            step(f"OpenVINO {name}")
            converted = path.with_suffix(".tflite")
            if converted.is_file():
                speeds += time_runtime("LiteRT", open_litert, name, converted, count, batches[:1], repeats, not_run)
            step(f"LiteRT {name}")
        overhead = batcher_overhead(200 if quick else 3000)
        step("micro-batcher")
        streams = throughput(2.0 if quick else 10.0)
        step("streams")
    if not any(speed.runtime == "LiteRT" for speed in speeds):
        not_run.append("LiteRT: there is no converted graph (benchmarks/convert_litert.py says how to make one)")
    worst = max(figures["wall_ms"] for figures in overhead.values())
    return Result(
        "encoders",
        {"model": MODEL, "graphs": {name: path.name for name, path in graphs.items()}, "gflops": VIT_B16.flops / 1e9},
        {
            "runtimes": [
                {name: getattr(speed, name) for name in Speed.__slots__} | {"share_of_peak": _share(speed, peaks)}
                for speed in speeds
            ],
            "matmul_gflops": {
                str(count): {kind: round(peak / 1e9, 1) for kind, peak in found.items()}
                for count, found in peaks.items()
            },
            "batcher": overhead,
            "streams": streams,
            "not_run": sorted(set(not_run)),
        },
        [_runtimes_table(speeds, peaks), _overhead_table(overhead), _streams_table(streams)],
        [Aim("what the micro-batcher adds to a request", f"< {OVERHEAD_AIM_MS} ms", f"{worst:.3f} ms",
             worst < OVERHEAD_AIM_MS)],
        [
            f"CLIP's ViT-B/16 at 224 pixels needs {VIT_B16.flops / 1e9:.1f} GFLOP a picture; the weights of exported "
            "graphs are random, which changes no time. Milliseconds are of one picture, also in batches. Share: of "
            "what ONNX Runtime's own matrix multiplication reaches with as many threads, in fp32 or int8. The "
            "micro-batcher is timed over an engine that does nothing, a request at a time in each thread; several "
            "threads wait for each other's turns. OpenVINO computes in bf16 where the processor has it, which is more "
            "than the fp32 peak that its share is of. Streams ask for picture after picture; the detector sees crops "
            "of 320 pixels.",
            *(f"Not run: {reason}." for reason in sorted(set(not_run))),
        ],
        quick=quick,
        partial="fp32" not in graphs,
    )  # fmt: skip


# ---- graphs


def find_graphs(not_run: list[str], *, export: bool) -> dict[str, Path]:
    """The embedded default's file, and the exported graphs of the same network, with random weights where need be."""
    from streamcap.models.graph import engines_root
    from streamcap.models.resolver import ensure

    found = {"int8-dynamic (default)": ensure("clip-vit-b16-int8")}
    for kind in GRAPHS:
        places = [engines_root() / MODEL / f"{kind}.onnx", SCRATCH / "engines" / MODEL / f"{kind}.onnx"]
        path = next((place for place in places if place.is_file()), None)
        if path is None and export:
            path = _export(kind, places[-1], not_run)
        if path is not None:
            found[kind] = path
        elif not export:
            not_run.append(f"{kind}: no exported graph is there, and a short run makes none")
    return found


def _export(kind: str, path: Path, not_run: list[str]) -> Path | None:
    command = [
        *(sys.executable, "-m", "engines", "export", MODEL, "--random"),
        *("--precision", kind, "--output", str(path.parent)),
    ]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=EXPORT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        not_run.append(f"{kind}: its export took longer than {EXPORT_TIMEOUT_S} s")
        return None
    if done.returncode or not path.is_file():
        last = (done.stderr.strip().splitlines() or ["it gives no reason"])[-1]
        not_run.append(f"{kind}: python -m engines export failed: {last}")
        return None
    return path


# ---- runtimes


def open_onnxruntime(path: Path, threads: int) -> Callable[[Tensor], object]:
    """As the service opens it."""
    from streamcap.models.engine import Device
    from streamcap.models.onnx import OnnxEngine

    engine = OnnxEngine(path, INPUT, device=Device.CPU, threads=threads)
    return lambda batch: engine.run(batch, "image_embeds")


def open_openvino(path: Path, threads: int) -> Callable[[Tensor], object]:
    """OpenVINO's own runtime: its provider for ONNX Runtime would take the place of the one that is installed."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda batch: request.infer({0: batch})


def open_litert(path: Path, threads: int) -> Callable[[Tensor], object]:
    """A graph that was converted for LiteRT, which takes one picture at a time."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]

    def call(batch: Tensor) -> None:
        interpreter.set_tensor(place, batch)
        interpreter.invoke()

    return call


def time_runtime(
    runtime: str,
    opener: Callable[[Path, int], Callable[[Tensor], object]],
    name: str,
    path: Path,
    threads: int,
    batches: Sequence[int],
    repeats: int,
    not_run: list[str],
) -> list[Speed]:
    """Times of one runtime with one graph; what cannot be opened is noted."""
    try:
        call = opener(path, threads)
    except ImportError as error:
        not_run.append(f"{runtime}: {error.name} is not installed")
        return []
    except Exception as error:  # a runtime that does not take a graph must not cost the others' figures
        not_run.append(f"{runtime} with {name}: {str(error).strip().splitlines()[0]}")
        return []
    rng = np.random.default_rng(1)
    found = []
    for size in batches:
        batch = rng.normal(size=(size, *INPUT)).astype(np.float32)
        call(batch)
        spent, cpu = [], time.process_time()
        for _ in range(repeats):
            began = time.perf_counter()
            call(batch)
            spent.append(1e3 * (time.perf_counter() - began) / size)
        cpu_ms = 1e3 * (time.process_time() - cpu) / repeats / size
        found.append(Speed(runtime, name, threads, size, min(spent), median(spent), cpu_ms))
    return found


# ---- micro-batcher


def batcher_overhead(requests: int) -> dict[str, dict[str, float]]:
    """Milliseconds that a request takes through the micro-batcher beyond the engine's own, which here is nothing."""
    found = {}
    for threads in (1, 4, 16):
        with closing(MicroBatcher[int, int](list, size=32, delay_s=0.0)) as batcher:
            _ask(batcher, 20)
            began, cpu = time.perf_counter(), time.process_time()
            with ThreadPoolExecutor(threads) as pool:
                each = pool.map(lambda count, batcher=batcher: _ask(batcher, count), [requests // threads] * threads)
                spent = [ms for own in each for ms in own]
            wall, used = time.perf_counter() - began, time.process_time() - cpu
            found[str(threads)] = {
                "p50_ms": round(median(spent), 4),
                "p95_ms": round(percentile(spent, 0.95), 4),
                "wall_ms": round(1e3 * wall / len(spent), 4),
                "cpu_ms": round(1e3 * used / len(spent), 4),
                "mean_batch": round(batcher.stats.mean_size, 2),
            }
    return found


def _ask(batcher: MicroBatcher[int, int], count: int) -> list[float]:
    """Milliseconds until each answer."""
    spent = []
    for number in range(count):
        began = time.perf_counter()
        batcher.map([number])
        spent.append(1e3 * (time.perf_counter() - began))
    return spent


# ---- streams


def throughput(seconds: float) -> dict[str, dict[str, float]]:
    """Pictures a second of detector and encoder, asked by so many threads, each for picture after picture."""
    from streamcap.models.clip import DIM, NAMES, RULE, ClipEncoder
    from streamcap.models.efficientdet import EfficientDetLite0
    from streamcap.models.engine import Device
    from streamcap.models.onnx import OnnxEngine
    from streamcap.models.resolver import ensure
    from streamcap.models.vision import GraphEncoder

    pictures = [Painter(640, 360, 1).paint(2.0 * n, n) for n in range(8)]
    crops = [picture[:320, :320] for picture in pictures]
    detector = EfficientDetLite0(ensure("efficientdet-lite0"), interpreters=max(STREAMS))
    path = ensure("clip-vit-b16-int8")
    direct = ClipEncoder(path)
    batched = GraphEncoder(OnnxEngine(path, INPUT, device=Device.CPU), RULE, dim=DIM, names=NAMES, batch=MEMORY_BATCH)
    calls: dict[str, Callable[[int], object]] = {
        "detector": lambda n: detector.detect(crops[n % 8], threshold=0.3),
        "encoder, each by itself": lambda n: asyncio.run(direct.encode([pictures[n % 8]])),
        f"encoder, batches of up to {MEMORY_BATCH}": lambda n: asyncio.run(batched.encode([pictures[n % 8]])),
    }
    found = {
        name: {str(streams): _asked(call, streams, seconds) for streams in STREAMS} for name, call in calls.items()
    }
    direct.close()
    batched.close()
    return found


def _asked(call: Callable[[int], Any], streams: int, seconds: float) -> float:
    call(0)
    until = time.perf_counter() + seconds

    def ask(_: int) -> int:
        count = 0
        while time.perf_counter() < until:
            call(count)
            count += 1
        return count

    return round(per_second(ask, streams), 2)


# ---- tables


def _share(speed: Speed, peaks: dict[int, dict[str, float]]) -> float | None:
    peak = peaks.get(speed.threads, {}).get("int8" if speed.graph.startswith("int8") else "fp32")
    return None if not peak else round(VIT_B16.flops / (speed.least_ms / 1e3) / peak, 3)


def _runtimes_table(speeds: Sequence[Speed], peaks: dict[int, dict[str, float]]) -> Table:
    rows = []
    for speed in speeds:
        share = _share(speed, peaks)
        rows.append((
            f"{speed.graph}, {speed.runtime}", str(speed.threads), str(speed.batch), f"{speed.least_ms:.1f}",
            f"{speed.median_ms:.1f}", f"{speed.cpu_ms:.1f}", "–" if share is None else f"{share:.0%}",
        ))  # fmt: skip
    versions = ", ".join(f"{name} {v}" for name in ("onnxruntime", "openvino") if (v := _version(name)))
    headers = ("encoder", "threads", "batch", "least ms", "median ms", "processor ms", "of the matmul peak")
    return Table(headers, tuple(rows), f"One network, several runtimes ({versions})")


def _overhead_table(overhead: dict[str, dict[str, float]]) -> Table:
    rows = tuple(
        (f"{threads} thread(s)", *(f"{figures[name]:.3f}" for name in ("p50_ms", "p95_ms", "wall_ms", "cpu_ms")),
         f"{figures['mean_batch']:.1f}")
        for threads, figures in overhead.items()
    )  # fmt: skip
    headers = (
        "asking", "median ms until the answer", "p95 ms until the answer", "wall ms a request",
        "processor ms a request", "requests a batch",
    )  # fmt: skip
    return Table(headers, rows, "What the micro-batcher adds")


def _streams_table(streams: dict[str, dict[str, float]]) -> Table:
    rows = tuple((name, *(f"{figures[str(count)]:.1f}" for count in STREAMS)) for name, figures in streams.items())
    headers = (f"pictures a second on {os.cpu_count()} cores", *(f"{count} stream(s)" for count in STREAMS))
    return Table(headers, rows, "Detector and encoder, asked by several streams")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def command(quick: Quick = False) -> None:
    """Time encoders on the processor, the micro-batcher, and both models under several streams."""
    conclude(lambda: measure(quick=quick))


if __name__ == "__main__":
    typer.run(command)
