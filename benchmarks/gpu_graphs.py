"""What benchmarks/gpu.py measures of exported graphs: ONNX Runtime, and TensorRT through the service's own backend."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.common import ROOT, CannotRun
from benchmarks.gpu_items import Plan, keep, note, times, vision_tower
from benchmarks.peaks import Vit

__all__ = ["onnxruntime", "tensorrt"]

# Batches of each lane in one go, where two lanes are timed together.
LANE_ROUNDS = 8
EXPORT_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class _Graph:
    name: str
    vit: Vit
    path: Path
    info: Any

    @property
    def precision(self) -> str:
        return str(self.info.precision)

    def batch(self, size: int) -> Any:
        pixels = np.random.default_rng(0).normal(size=(size, 3, self.vit.image, self.vit.image))
        return pixels.astype(self.info.input.dtype)


def onnxruntime(plan: Plan) -> None:
    """Exported graphs through ONNX Runtime, with inputs and outputs on the device."""
    import onnxruntime as ort

    provider = "CUDAExecutionProvider" if plan.device == "cuda" else "CPUExecutionProvider"
    if provider not in ort.get_available_providers():
        raise CannotRun("the installed ONNX Runtime has no CUDA provider: pip install 'streamcap[gpu]'")
    how = f"ONNX Runtime {provider.removesuffix('ExecutionProvider')}"
    for graph in _exported(plan):
        options = ort.SessionOptions()
        if graph.precision == "fp8":  # as the service does: models/onnx.py
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        session = ort.InferenceSession(str(graph.path), options, providers=[provider])
        if session.get_providers()[0] != provider:
            raise CannotRun("ONNX Runtime's CUDA provider does not start: its libraries do not load")
        for batch in plan.batches:
            if plan.over(f"{how}, {graph.name}, {graph.precision}, batch {batch}"):
                continue
            binding = session.io_binding()
            fed = ort.OrtValue.ortvalue_from_numpy(graph.batch(batch), plan.device, 0)
            binding.bind_ortvalue_input("pixel_values", fed)
            binding.bind_output("image_embeds", plan.device)
            call = partial(session.run_with_iobinding, binding)
            note(plan, how, graph.name, graph.vit, graph.precision, batch, call)


def tensorrt(plan: Plan) -> None:
    """Exported graphs compiled by TensorRT or TensorRT-RTX, through the service's own backend, held to ONNX Runtime."""
    from streamcap.models.cuda import Cuda
    from streamcap.models.tensorrt import load_library

    if plan.device == "cpu":
        raise CannotRun("plans run on a GPU only")
    library, cuda = load_library(), Cuda.open()
    for graph in _exported(plan):
        if plan.over(f"{library.builder}, {graph.name}, {graph.precision}"):
            continue
        engine = _built(library, cuda, graph, max(plan.batches))
        try:
            plan.figures[f"likeness of {library.builder} to ONNX Runtime, {graph.name} {graph.precision}"] = _likeness(
                engine, graph
            )
            for batch in plan.batches:
                _time_plan(plan, library.builder, engine, graph, batch)
        finally:
            engine.close()


def _time_plan(plan: Plan, builder: str, engine: Any, graph: _Graph, batch: int) -> None:
    """Alone, with its copies; and as the service runs it, one batch copied while another is computed."""
    run = partial(engine.run, graph.batch(batch).astype(np.float32), "image_embeds")
    note(plan, builder, graph.name, graph.vit, graph.precision, batch, run, wait=False)
    count = LANE_ROUNDS * engine.info.lanes
    with ThreadPoolExecutor(engine.info.lanes) as pool:

        def side_by_side() -> None:
            for future in [pool.submit(run) for _ in range(count)]:
                future.result()

        spent = [each / count for each in times(plan, side_by_side, wait=False)]
    how = f"{builder}, {engine.info.lanes} lanes"
    keep(plan, how, graph.name, graph.vit, graph.precision, batch, spent)


def _likeness(engine: Any, graph: _Graph) -> float:
    """Least cosine of the plan's features with those of the graph on the processor: the self-check of the backend."""
    from streamcap.models.engine import Device
    from streamcap.models.onnx import OnnxEngine

    reference = OnnxEngine.of(graph.path, graph.info, device=Device.CPU, threads=8)
    batch = graph.batch(3).astype(np.float32)
    (one,), (other,) = engine.run(batch, "image_embeds"), reference.run(batch, "image_embeds")
    reference.close()
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return round(float(((one * other).sum(axis=1) / norms).min()), 5)


def _built(library: Any, cuda: Any, graph: _Graph, most: int) -> Any:
    """Its plan, built as ``engines`` builds it, in the service's backend."""
    from engines.build import build_plan
    from streamcap.models.plans import BatchProfile, Target, read_plan
    from streamcap.models.tensorrt import TensorRtEngine

    profile = BatchProfile(least=1, best=min(32, most), most=most)
    built = build_plan(graph.path, graph.info, library=library, profile=profile, targets=(cuda.architecture,))
    target = Target(library.builder, library.version, cuda.architecture)
    plan, info = read_plan(built.path, target, graph.info)
    return TensorRtEngine(plan, info, graph.info, library=library, cuda=cuda)


# ---- export


def _exported(plan: Plan) -> Iterator[_Graph]:
    """Graphs of the encoders, exported once: fp16 by torch, and on a GPU 8 bits by ``engines`` for one of them."""
    if importlib.util.find_spec("onnxscript") is None:
        raise CannotRun("the package onnxscript, which torch exports with, is not installed")
    precision = "fp16" if plan.device == "cuda" else "fp32"
    for name, vit in plan.encoders.items():
        path = plan.folder / f"{name.replace('/', '-')}-{precision}.onnx"
        if not path.exists():
            _export(path, vit, precision)
        yield _Graph(name, vit, path, _info(path, vit, precision))
    for kind in ("int8", "fp8"):
        if plan.device == "cpu" or plan.quick:
            plan.skip(f"encoders in {kind.upper()}", "measured on a GPU only, and not with --quick")
        elif kind == "fp8" and not _computes_in_fp8():
            plan.skip("encoders in FP8", "the GPU does not compute in it: sm_89 and newer do")
        elif not plan.over(f"encoders in {kind.upper()}"):
            yield from _eight_bits(plan, kind)


def _eight_bits(plan: Plan, precision: str) -> Iterator[_Graph]:
    from streamcap.models.graph import read_graph

    path, item = plan.folder / f"{precision}.onnx", f"encoders in {precision.upper()}"
    if not path.exists():
        command = [
            *(sys.executable, "-m", "engines", "export", "clip-vit-b16", "--random"),
            *("--precision", precision, "--output", str(plan.folder)),
        ]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=EXPORT_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            plan.skip(item, f"the export took longer than {EXPORT_TIMEOUT_S} s")
            return
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("hint:")]
            plan.skip(item, said[-1] if said else "the export failed")
            return
    yield _Graph("ViT-B/16", plan.encoders["ViT-B/16"], path, read_graph(path))


def _computes_in_fp8() -> bool:
    """Whether the GPU does."""
    from engines.build import computes_in
    from streamcap.models.cuda import Cuda
    from streamcap.models.graph import Precision

    return computes_in(Cuda.open().architecture, Precision.FP8)


def _export(path: Path, vit: Vit, precision: str) -> None:
    import torch

    tower = vision_tower(vit)

    class WithTokens(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = tower.inner

        def forward(self, pixel_values: Any) -> Any:
            found = self.inner(pixel_values=pixel_values)
            return found.image_embeds, found.last_hidden_state

    model = WithTokens().eval()
    model = model.half() if precision == "fp16" else model
    fed = torch.zeros(2, 3, vit.image, vit.image, dtype=next(model.parameters()).dtype)
    torch.onnx.export(
        model, (fed,), str(path), dynamo=True, input_names=["pixel_values"], verbose=False,
        output_names=["image_embeds", "patch_tokens"], external_data=False,
        dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}},
    )  # fmt: skip


def _info(path: Path, vit: Vit, precision: str) -> Any:
    """The sidecar that ``engines`` would write."""
    from streamcap.models.graph import GraphInfo, Precision, Role, TensorInfo
    from streamcap.models.store import sha256_of

    kind: Literal["float16", "float32"] = "float16" if precision == "fp16" else "float32"
    shapes = {"image_embeds": (512,), "patch_tokens": ((vit.image // vit.patch) ** 2 + vit.prefix, vit.width)}
    return GraphInfo.model_validate({
        "role": Role.ENCODER, "model": "bench", "source": "random", "revision": "local", "seed": 0, "licence": "none",
        "precision": Precision(precision), "sha256": sha256_of(path), "mean": (0.0,) * 3, "std": (1.0,) * 3,
        "input": TensorInfo(name="pixel_values", dtype=kind, shape=("batch", 3, vit.image, vit.image)), "opset": 20,
        "outputs": tuple(TensorInfo(name=name, dtype=kind, shape=("batch", *shape)) for name, shape in shapes.items()),
        "resize": "squash", "prefix_tokens": vit.prefix,
    })  # fmt: skip
