"""Graphs through ONNX Runtime as they are, to compare and time them; the service has ``models/onnx.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.checkpoint import need
from streamcap.errors import ModelError, ModelLoadError
from streamcap.models.graph import INPUT

__all__ = ["open_session", "run_graph"]

Tensor = NDArray[np.float32]


def open_session(
    graph: Path | bytes, *, threads: int = 0, provider: str = "CPUExecutionProvider", fused: bool = True
) -> Any:
    """A session of a graph.

    Args:
        threads: of the processor, 0 for all.
        fused: whether products between pairs of quantise and dequantise nodes may be computed in 8 bits. Those of FP8
            may not: ONNX Runtime takes them for integers, and then has no kernel for what it made.

    Raises:
        ModelLoadError: ONNX Runtime is not installed, or refuses the graph.
    """
    ort = need("onnxruntime", install="pip install 'streamcap[cpu]'")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if not fused:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        source = graph if isinstance(graph, bytes) else str(graph)
        return ort.InferenceSession(source, options, providers=[provider])
    except Exception as error:  # ONNX Runtime raises a dozen unrelated classes without a common base
        name = "the graph" if isinstance(graph, bytes) else graph.name
        raise ModelLoadError(f"ONNX Runtime does not load {name}: {str(error).partition(chr(10))[0]}") from error


def run_graph(session: Any, fed: Sequence[Tensor]) -> list[list[Tensor]]:
    """What a graph gives for each input.

    Raises:
        ModelError: the runtime fails.
    """
    try:
        return [[np.asarray(each, np.float32) for each in session.run(None, {INPUT: one})] for one in fed]
    except Exception as error:  # as above
        raise ModelError(f"ONNX Runtime failed: {str(error).partition(chr(10))[0]}") from error
