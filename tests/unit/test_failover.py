"""A GPU that is lost while it works: what it ran goes on on the processor, at once and for all who ask."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.errors import EngineLost, ModelError, OutOfDeviceMemory
from streamcap.models.engine import Device
from streamcap.models.failover import FailoverEngine
from streamcap.models.graph import Precision, read_graph
from streamcap.models.onnx import OnnxEngine
from streamcap.models.vision import GraphEncoder
from streamcap.sources.rendered_art import Painter
from tests.graphs import make_encoder
from tests.patience import LONG_S
from tests.prerequisites import need
from tests.simulated_gpu import Runtime, Status, encoder_on

SHOWN = [Painter(64, 48, 1).paint(3.0 * n, n) for n in range(6)]


@dataclass
class Placed:
    """An encoder whose plan runs on a simulated GPU, and its folder."""

    folder: Path
    runtime: Runtime
    encoder: GraphEncoder

    def lose(self, call: str = "cudaMemcpyAsync") -> None:
        self.runtime.faults[call] = (Status.ILLEGAL_ADDRESS, 0)


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Placed]:
    need("engines")
    runtime = Runtime()
    encoder = encoder_on(runtime, tmp_path, monkeypatch)
    yield Placed(tmp_path, runtime, encoder)
    encoder.close()


def features(encoder: GraphEncoder, shown: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    return asyncio.run(encoder.encode(shown)).pooled


def test_the_batch_that_meets_the_fault_is_answered_and_so_is_the_next(
    placed: Placed, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = placed.encoder
    expected = features(encoder, SHOWN)
    assert (encoder.info.provider, encoder.info.lost) == ("TensorRT", "")
    placed.lose()
    with ThreadPoolExecutor(6) as threads:  # both lanes meet it
        found = list(threads.map(lambda picture: features(encoder, [picture])[0], SHOWN))
    assert np.allclose(found, expected, atol=1e-3)
    info = encoder.info
    assert (info.provider, info.device, info.batch) == ("CPU", "cpu", 1)
    assert "ILLEGAL_ADDRESS" in info.lost
    assert "restart streamcap" in info.hint
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the encoder goes on on the processor, slower: the GPU is lost" in line.getMessage()
    placed.runtime.faults.clear()
    calls = dict(placed.runtime.calls)
    assert np.allclose(features(encoder, SHOWN), expected, atol=1e-3)
    assert placed.runtime.calls == calls, "the GPU is not touched again"


def test_a_lane_that_finds_the_engine_closed_by_another_goes_on_as_well(tmp_path: Path) -> None:
    need("engines")
    path = make_encoder(tmp_path)
    late, batch = threading.Barrier(2), np.zeros((1, 3, 32, 32), np.float32)
    spare = OnnxEngine.of(path, read_graph(path), device=Device.CPU)

    class Gpu:
        """Lost in one lane, closed meanwhile to the other."""

        info = spare.info

        def __init__(self) -> None:
            self.closed = threading.Event()

        def run(self, given: NDArray[np.float32], *wanted: str) -> list[NDArray[np.float32]]:
            if late.wait(LONG_S) == 0:
                raise EngineLost("an illegal address")
            assert self.closed.wait(LONG_S)
            raise ModelError("the encoder was closed")

        def close(self) -> None:
            self.closed.set()

    engine = FailoverEngine(Gpu(), lambda: spare, what="the encoder")
    with ThreadPoolExecutor(2) as threads:
        found = [threads.submit(engine.run, batch, "image_embeds") for _ in range(2)]
        rows = [future.result(LONG_S)[0] for future in found]
    assert np.array_equal(rows[0], rows[1])
    engine.close()
    with pytest.raises(ModelError, match="closed"):
        engine.run(batch, "image_embeds")


def test_it_takes_the_graph_that_suits_a_processor(placed: Placed) -> None:
    make_encoder(placed.folder, Precision.FP32)
    placed.lose("cudaGraphLaunch")
    assert placed.encoder.info.precision == "fp16"
    assert len(features(placed.encoder, SHOWN)) == len(SHOWN)
    assert placed.encoder.info.precision == "fp32"


def test_where_the_processor_cannot_either_all_are_told_and_the_graph_is_looked_for_once(
    placed: Placed, caplog: pytest.LogCaptureFixture
) -> None:
    for path in placed.folder.glob("*.onnx*"):
        path.unlink()
    placed.lose()
    for _ in range(3):
        with pytest.raises(EngineLost, match="on the processor the encoder does not run either") as caught:
            features(placed.encoder, SHOWN[:1])
        assert "restart streamcap" in caught.value.hint
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1


def test_another_fault_is_no_reason_to_leave_the_gpu(placed: Placed) -> None:
    placed.runtime.faults["cudaMemcpyAsync"] = (Status.INVALID_VALUE, 0)
    with pytest.raises(ModelError, match="INVALID_VALUE"):
        features(placed.encoder, SHOWN[:1])
    placed.runtime.faults.clear()
    assert len(features(placed.encoder, SHOWN[:1])) == 1
    assert placed.encoder.info.provider == "TensorRT"


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_that_is_lost_while_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    need("engines")
    runtime = Runtime()
    runtime.faults["cudaStreamEndCapture"] = (Status.ILLEGAL_ADDRESS, 3)
    if device == "cuda":
        with pytest.raises(EngineLost):
            encoder_on(runtime, tmp_path, monkeypatch, device=device)
        return
    encoder = encoder_on(runtime, tmp_path, monkeypatch, device=device)
    assert encoder.info.provider == "CPU"
    assert "ILLEGAL_ADDRESS" in encoder.info.why
    assert len(features(encoder, SHOWN[:1])) == 1
    encoder.close()


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; expr=cudaMemcpyAsync(…)", EngineLost),
        ("CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc(…)", OutOfDeviceMemory),
        ("CUDA failure 1: invalid argument ; GPU=0 ; expr=cudaMemcpyAsync(…)", ModelError),
    ],
)
def test_what_onnx_runtime_says_of_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, error: type[ModelError]
) -> None:
    need("engines")
    path = make_encoder(tmp_path)
    engine = OnnxEngine.of(path, read_graph(path), device=Device.CPU)

    class Session:
        """Fails as ONNX Runtime does over CUDA."""

        def run(self, names: list[str], fed: dict[str, object]) -> None:
            raise RuntimeError(says)

    monkeypatch.setattr(engine, "_session", Session())
    with pytest.raises(ModelError) as caught:
        engine.run(np.zeros((1, 3, 32, 32), np.float32), "image_embeds")
    assert type(caught.value) is error


def test_settings_that_name_the_processor_never_touch_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("engines")
    runtime = Runtime()
    encoder = encoder_on(runtime, tmp_path, monkeypatch, device="cpu")
    assert encoder.info.provider == "CPU"
    assert not runtime.calls
    encoder.close()
