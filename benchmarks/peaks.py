"""What this machine multiplies at most, and what a vision transformer needs: shares of the peak come of the two."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["VIT_B16", "Vit", "matmul_peaks"]

# Square matrices of this side fill the caches of a core and are large enough that starting costs nothing.
SIDE = 1024


@dataclass(frozen=True, slots=True)
class Vit:
    """The shape of a vision transformer.

    Attributes:
        width, depth, ratio: of the network, its blocks, and its inner layers to its width.
        image, patch: pixels on a side.
        prefix: tokens beside the patches.
    """

    width: int
    depth: int
    ratio: float = 4.0
    image: int = 224
    patch: int = 16
    prefix: int = 1

    @property
    def flops(self) -> float:
        """Of one picture; a multiplication and an addition count as two."""
        patches = (self.image // self.patch) ** 2
        tokens = patches + self.prefix
        block = tokens * self.width**2 * (4 + 2 * self.ratio) + 2 * tokens**2 * self.width
        return 2.0 * (self.depth * block + patches * self.width * 3 * self.patch**2)


VIT_B16 = Vit(768, 12)


def matmul_peaks(threads: int, seconds: float = 1.0) -> dict[str, float]:
    """Most operations a second by ONNX Runtime's own kernels, which are what encoders are made of: fp32 and int8.

    Empty where the package ``onnx`` is missing: a graph cannot be made then.
    """
    try:
        from onnx import TensorProto, helper
    except ImportError:
        return {}
    import onnxruntime as ort

    rng = np.random.default_rng(1)
    kinds = {
        "fp32": ("MatMul", TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.FLOAT),
        "int8": ("MatMulInteger", TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32),
    }
    found = {}
    for name, (operator, left, right, out) in kinds.items():
        weights = rng.integers(-9, 9, (SIDE, SIDE))
        graph = helper.make_graph(
            [helper.make_node(operator, ["x", "w"], ["y"])],
            "peak",
            [helper.make_tensor_value_info("x", left, [SIDE, SIDE])],
            [helper.make_tensor_value_info("y", out, [SIDE, SIDE])],
            [helper.make_tensor("w", right, [SIDE, SIDE], weights.flatten().tolist())],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        fed = np.abs(rng.integers(0, 9, (SIDE, SIDE))).astype(helper.tensor_dtype_to_np_dtype(left))
        found[name] = 2.0 * SIDE**3 / _least(lambda session=session, fed=fed: session.run(None, {"x": fed}), seconds)  # type: ignore[misc]
    return found


def _least(call: Callable[[], object], seconds: float) -> float:
    """The quickest of many calls, after a warm-up."""
    call()
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return best
