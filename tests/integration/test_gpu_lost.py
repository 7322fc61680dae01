"""A GPU that fails for good under a running service: the camera is watched on, and its state says what happened."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streamcap.config import Settings
from streamcap.models.pool import Models
from streamcap.server.service import running
from streamcap.wire import StatusMessage, StreamState, decode
from tests.blind import Blind
from tests.patience import PATIENCE_S
from tests.prerequisites import need
from tests.simulated_gpu import Runtime, Status, encoder_on


async def test_a_camera_outlives_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("engines")
    runtime = Runtime()
    encoder = encoder_on(runtime, tmp_path, monkeypatch)
    runtime.faults["cudaMemcpyAsync"] = (Status.ILLEGAL_ADDRESS, runtime.calls["cudaMemcpyAsync"] + 2)
    raw = {"server": {"port": 0}, "streams": [{"id": "a", "source": "test:?realtime=1"}]}
    told: list[tuple[StreamState, str, str]] = []
    with ThreadPoolExecutor(2) as workers:
        models = Models(Blind(), encoder, workers, running={"encoder": lambda: encoder.info})
        models.resources.callback(encoder.close)
        assert not models.lost
        with models:
            async with (
                running(Settings.model_validate(raw), models) as service,
                service.hub.subscribe("a") as feed,
                asyncio.timeout(2 * PATIENCE_S),
            ):
                async for item in feed:
                    message = decode(item.text)
                    if isinstance(message, StatusMessage):
                        told.append((message.state, message.reason, message.detail))
                    # Features go on, of the processor.
                    if told and told[-1][1] == "engine" and len(service.manager.memory("a") or ()) >= 2:
                        break
            assert "encoder: the GPU is lost to this process" in models.lost
    state, _, detail = told[-1]
    assert state is StreamState.DEGRADED
    assert "on the processor, slower: encoder: the GPU is lost" in detail
    assert all(state is not StreamState.RECONNECTING for state, _, _ in told)
