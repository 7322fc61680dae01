"""What a GPU does with encoders and video, in under eight minutes, and what of it could not be run.

python benchmarks/gpu.py
python benchmarks/gpu.py --device cpu --quick    tries the program itself on a processor, with tiny networks
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import RESULTS, SCRATCH, CannotRun, Quick, Table, progress
from benchmarks.gpu_graphs import onnxruntime, tensorrt
from benchmarks.gpu_items import Plan, Speed, compiled, eager, peak
from benchmarks.gpu_video import decode_and_encode, nvdec
from benchmarks.machine import describe_machine

__all__ = ["figures", "main"]

# Seconds after which no further figure is begun; what is in hand then takes less than one minute more.
BUDGET_S = 7 * 60
SHARE_AIM, SHARE_BATCH, SHARE_ENCODER = 0.6, 32, "ViT-L/14"

# In the order of their run: what the others are shares of comes first, what takes longest last.
ITEMS: dict[str, Callable[[Plan], None]] = {
    "matmul peak": peak,
    "torch eager": eager,
    "ONNX Runtime": onnxruntime,
    "TensorRT": tensorrt,
    "NVDEC": nvdec,
    "decode and encode": decode_and_encode,
    "torch.compile": compiled,
}


class Where(StrEnum):
    """What is measured."""

    CUDA = "cuda"
    CPU = "cpu"


def figures(plan: Plan) -> dict[str, Any]:
    """All that was found, for the JSON."""
    return {
        "benchmark": "gpu",
        "quick": plan.quick,
        "device": plan.device,
        "gpu": _gpu_name() if plan.device == "cuda" else "",
        "machine": asdict(describe_machine()),
        "speeds": [asdict(speed) for speed in plan.speeds],
        "figures": plan.figures,
        "not_run": plan.not_run,
    }


def run_all(plan: Plan) -> None:
    """Each item in turn; one that fails costs the others nothing."""
    with progress("gpu", len(ITEMS)) as step:
        for name, item in ITEMS.items():
            if not plan.over(name):
                try:
                    item(plan)
                except CannotRun as reason:
                    plan.skip(name, str(reason))
                except Exception as error:  # a defect or a full GPU in one item must not cost the others' figures
                    plan.skip(
                        name, f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
                    )
            step(name)


def main(
    device: Annotated[Where, typer.Option(help="What to measure.")] = Where.CUDA,
    quick: Quick = False,
    output: Annotated[Path | None, typer.Option(help="Where the JSON goes.")] = None,
    budget: Annotated[float, typer.Option(min=1, help="Seconds after which no further figure is begun.")] = BUDGET_S,
) -> None:
    """Measure encoders by torch, torch.compile, ONNX Runtime and TensorRT, and video by NVDEC, on one GPU."""
    console = Console(highlight=False, soft_wrap=True)
    if reason := _lacking(device):
        console.print("not run:", markup=False)
        for name in ITEMS:
            console.print(f"  {name}: {reason}", markup=False)
        return
    # Exporters and compilers talk; what fails is listed at the end.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(device.value, quick, time.monotonic() + budget, Path(folder))
        run_all(plan)
    found = figures(plan)
    path = output or (SCRATCH if quick or device is Where.CPU else RESULTS) / "gpu.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    _show(console, plan)
    picture = _plot(plan.speeds, path.with_suffix(".png"))
    console.print(f"written: {path}{' and ' + picture.name if picture else ''}", markup=False)


def _lacking(device: Where) -> str:
    """Why nothing can be measured at all; empty where something can. Quick, and without torch where there is no GPU."""
    if device is Where.CUDA:
        from streamcap.models.cuda import gpu_present

        if not gpu_present():
            return "there is no NVIDIA GPU"
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed: pip install 'streamcap[torch]'"
    if device is Where.CUDA and not torch.cuda.is_available():
        return "this torch has no CUDA, or the driver does not start"
    return ""


def _gpu_name() -> str:
    import torch

    return str(torch.cuda.get_device_name(0))


def _show(console: Console, plan: Plan) -> None:
    rows = tuple(
        (f"{s.encoder}, {s.how}", s.precision, str(s.batch), f"{s.latency_ms:.2f}", f"{s.p95_ms:.2f}",
         f"{s.images_s:.0f}", "–" if s.share is None else f"{s.share:.0%}")
        for s in plan.speeds
    )  # fmt: skip
    headers = ("encoder", "precision", "batch", "median ms", "p95 ms", "pictures a second", "of the matmul peak")
    Table(headers, rows, "Encoders").show(console)
    for name, value in plan.figures.items():
        console.print(f"{name}: {value}", markup=False)
    at_aim = [s for s in plan.speeds if (s.encoder, s.batch) == (SHARE_ENCODER, SHARE_BATCH) and s.share is not None]
    if at_aim:
        best = max(at_aim, key=lambda speed: speed.share or 0.0)
        sign = "✓" if (best.share or 0.0) >= SHARE_AIM else "✗"
        console.print(
            f"{sign} {SHARE_ENCODER} at batch {SHARE_BATCH}: {best.share:.0%} of the matmul peak by {best.how} in "
            f"{best.precision} (aim: ≥ {SHARE_AIM:.0%})", markup=False,
        )  # fmt: skip
    console.print("not run:", markup=False)
    for name, reason in plan.not_run.items():
        console.print(f"  {name}: {reason}", markup=False)


def _plot(speeds: list[Speed], path: Path) -> Path | None:
    """Pictures a second by batch, a line for each way; None without matplotlib or without figures."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    if not speeds:
        return None
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    lines: dict[str, list[tuple[int, float]]] = {}
    for speed in speeds:
        lines.setdefault(f"{speed.encoder}, {speed.how}, {speed.precision}", []).append((speed.batch, speed.images_s))
    for label, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=label)
    axes.set(xlabel="batch", ylabel="pictures a second", xscale="log", yscale="log")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)
    return path


if __name__ == "__main__":
    typer.run(main)
