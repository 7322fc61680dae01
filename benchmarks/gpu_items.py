"""What benchmarks/gpu.py measures with torch, and how it times. An item that cannot run raises CannotRun."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import median, percentile
from benchmarks.peaks import Vit

__all__ = ["Plan", "Speed", "compiled", "eager", "keep", "note", "peak", "times", "vision_tower"]

# Seconds of measuring for one figure; each is also repeated at least so often.
STEADY_S, LEAST_REPEATS = 0.6, 5
PEAK_SIDE, QUICK_PEAK_SIDE = 8192, 256


@dataclass(frozen=True, slots=True)
class Speed:
    """One way to run one encoder at one batch.

    Attributes:
        latency_ms, p95_ms: of a batch.
        images_s: pictures a second.
        share: of the measured matmul peak in this precision, None where that is not known.
    """

    how: str
    encoder: str
    precision: str
    batch: int
    latency_ms: float
    p95_ms: float
    images_s: float
    share: float | None


@dataclass(slots=True)
class Plan:
    """What is to be measured, and what was found so far.

    Attributes:
        device: ``cuda`` or ``cpu``; on the processor only to try the program.
        until: ``time.monotonic()`` at which no further figure is begun.
        peaks: operations a second by precision.
        not_run: reasons by item.
    """

    device: str
    quick: bool
    until: float
    folder: Path
    peaks: dict[str, float] = field(default_factory=dict)
    speeds: list[Speed] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)

    @property
    def encoders(self) -> dict[str, Vit]:
        """What is measured, by name."""
        if self.quick:
            return {"tiny": Vit(64, 2, image=32, patch=8)}
        return {"ViT-L/14": Vit(1024, 24, patch=14), "ViT-B/16": Vit(768, 12)}

    @property
    def batches(self) -> tuple[int, ...]:
        """Pictures a batch."""
        return (1, 2) if self.quick else (1, 2, 4, 8, 16, 32, 64)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Of torch."""
        return ("fp32",) if self.device == "cpu" else ("fp16", "bf16", "fp32")

    def skip(self, what: str, why: str) -> None:
        """Note what was not run."""
        self.not_run[what] = why

    def over(self, what: str) -> bool:
        """Whether the time is up; notes that this was not run then."""
        if time.monotonic() < self.until:
            return False
        self.skip(what, "the eight minutes were over")
        return True


# ---- torch


def peak(plan: Plan) -> None:
    """The measured matmul peak of each precision: what all shares are of."""
    import torch

    side = QUICK_PEAK_SIDE if plan.quick else PEAK_SIDE
    torch.backends.cuda.matmul.allow_tf32 = True
    for name, dtype in {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}.items():
        left = torch.randn(side, side, device=plan.device).to(dtype)
        plan.peaks[name] = 2.0 * side**3 / _quickest(plan, lambda left=left: left @ left)  # type: ignore[misc]
    for name, make in {"int8": _int8_matmul, "fp8": _fp8_matmul}.items():
        try:
            plan.peaks[name] = 2.0 * side**3 / _quickest(plan, make(torch, side, plan.device))
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            plan.skip(f"matmul peak in {name}", str(error).splitlines()[0])
    plan.figures["matmul_tflops"] = {name: round(value / 1e12, 3) for name, value in plan.peaks.items()}


def _int8_matmul(torch: Any, side: int, device: str) -> Callable[[], object]:
    left = torch.randint(-9, 9, (side, side), device=device, dtype=torch.int8)
    return lambda: torch._int_mm(left, left)


def _fp8_matmul(torch: Any, side: int, device: str) -> Callable[[], object]:
    left = torch.randn(side, side, device=device).to(torch.float8_e4m3fn)
    one = torch.ones((), device=device)
    right = left.t().contiguous().t()
    return lambda: torch._scaled_mm(left, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)


def vision_tower(vit: Vit) -> Any:
    """CLIP's image tower of that shape with random weights, which gives the embedding."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=vit.width, intermediate_size=int(vit.width * vit.ratio), num_hidden_layers=vit.depth,
        num_attention_heads=max(1, vit.width // 64), image_size=vit.image, patch_size=vit.patch, projection_dim=512,
        attn_implementation="sdpa",
    )  # fmt: skip
    inner = CLIPVisionModelWithProjection(config).eval()

    class Tower(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, pixel_values: Any) -> Any:
            return self.inner(pixel_values=pixel_values, return_dict=False)[0]

    return Tower().eval()


def eager(plan: Plan) -> None:
    """torch as it comes."""
    _torch(plan, "torch eager", lambda model: model, plan.precisions, plan.batches)


def compiled(plan: Plan) -> None:
    """torch.compile; each batch is compiled anew, so there are fewer of them."""
    import torch

    if plan.device == "cpu":  # a trial of the program: no compiler is needed for it
        _torch(plan, "torch.compile (backend eager)", lambda m: torch.compile(m, backend="eager"), ("fp32",), (2,))
    else:
        batches = (1, 8, 32)
        _torch(plan, "torch.compile", lambda m: torch.compile(m, mode="reduce-overhead"), ("bf16",), batches)


def _torch(plan: Plan, how: str, wrap: Callable[[Any], Any], precisions: Sequence[str], batches: Sequence[int]) -> None:
    import torch

    dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    for name, vit in plan.encoders.items():
        for precision in precisions:
            model = wrap(vision_tower(vit).to(plan.device, dtypes[precision]))
            for batch in batches:
                if plan.over(f"{how}, {name}, {precision}, batch {batch}"):
                    continue
                fed = torch.randn(batch, 3, vit.image, vit.image, device=plan.device).to(dtypes[precision])
                with torch.inference_mode():
                    note(plan, how, name, vit, precision, batch, lambda model=model, fed=fed: model(fed))  # type: ignore[misc]


# ---- timing


def note(
    plan: Plan,
    how: str,
    name: str,
    vit: Vit,
    precision: str,
    batch: int,
    call: Callable[[], object],
    *,
    wait: bool = True,
) -> None:
    keep(plan, how, name, vit, precision, batch, times(plan, call, wait=wait))


def keep(plan: Plan, how: str, name: str, vit: Vit, precision: str, batch: int, spent: Sequence[float]) -> None:
    """Keep the seconds of batches."""
    middle = median(spent)
    images = batch / middle
    top = plan.peaks.get(precision)
    share = None if top is None else round(images * vit.flops / top, 4)
    plan.speeds.append(
        Speed(how, name, precision, batch, round(1e3 * middle, 3), round(1e3 * percentile(spent, 0.95), 3),
              round(images, 1), share)
    )  # fmt: skip


def times(plan: Plan, call: Callable[[], object], *, wait: bool = True) -> list[float]:
    """Seconds of each of many calls, waited for on the device, after a warm-up."""
    for _ in range(1 if plan.quick else 3):
        call()
        _synchronise(plan, wait)
    spent: list[float] = []
    until = time.perf_counter() + (0.05 if plan.quick else STEADY_S)
    while time.perf_counter() < until or len(spent) < LEAST_REPEATS:
        began = time.perf_counter()
        call()
        _synchronise(plan, wait)
        spent.append(time.perf_counter() - began)
    return spent


def _quickest(plan: Plan, call: Callable[[], object]) -> float:
    return min(times(plan, call))


def _synchronise(plan: Plan, wait: bool) -> None:
    if wait and plan.device == "cuda":
        import torch

        torch.cuda.synchronize()
