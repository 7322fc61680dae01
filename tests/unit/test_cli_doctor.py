from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from streamcap.cli.checks import Check, Level
from streamcap.cli.doctor import doctor_command, examine
from streamcap.sources.nvdec import trouble
from tests.graphs import make_encoder
from tests.patience import LONG_S
from tests.prerequisites import need

app = typer.Typer()
app.command()(doctor_command)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMCAP_CACHE", str(tmp_path))
    return tmp_path / "models"


def checks(port: int = 0) -> dict[str, Check]:
    return {check.name: check for check in examine(port)}


def test_without_weights_the_default_cannot_run_and_one_command_mends_it() -> None:
    result = CliRunner().invoke(app, ["--json", "--port", "0"])
    assert result.exit_code == 4
    report = json.loads(result.stdout)
    assert report["ok"] is False
    missing = [check for check in report["checks"] if check["level"] == "missing"]
    assert [check["name"] for check in missing] == [
        "weights efficientdet-lite0",
        "weights clip-vit-b16-int8",
        "weights movenet-lightning",
    ]
    assert {check["fix"] for check in missing} == {"streamcap models pull"}


def test_the_text_says_the_same() -> None:
    result = CliRunner().invoke(app, ["--port", "0"])
    assert result.exit_code == 4
    assert "→ streamcap models pull" in result.stdout
    assert "cannot run yet" in result.stdout
    for name in ("python", "numpy", "onnxruntime", "providers", "video input", "processors", "memory", "cache", "port"):
        assert any(line.split()[1:2] == name.split()[:1] for line in result.stdout.splitlines()), name


def test_nothing_reports_to_anybody(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry keeps a device id and a queue of reports in the home directory, once it is loaded."""
    environment = {k: v for k, v in os.environ.items() if k not in {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "CI"}}
    environment["HOME"] = str(tmp_path / "home")
    code = "import streamcap, onnxruntime; assert onnxruntime.get_available_providers()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=LONG_S)
    assert not (tmp_path / "home").exists()
    assert checks()["telemetry"].detail == "off"


@pytest.mark.weights
def test_with_weights_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMCAP_CACHE")
    result = CliRunner().invoke(app, ["--port", "0"])
    assert result.exit_code == 0, result.stdout
    assert "the embedded default can run" in result.stdout


def test_every_trouble_has_a_fix() -> None:
    for check in checks().values():
        assert (check.fix != "") == (check.level is not Level.OK), check


def test_this_machine_speaks_what_cameras_speak() -> None:
    found = checks()["video input"]
    assert found.level is Level.OK
    assert "rtsp" in found.detail


def test_a_package_that_is_missing_or_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "inflect", None)
    (tmp_path / "platformdirs.py").write_text("raise OSError('libGL.so.1: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "platformdirs", raising=False)
    found = checks()
    assert found["inflect"].level is Level.MISSING
    assert found["inflect"].fix == "pip install 'streamcap[cpu]'"
    assert found["platformdirs"].level is Level.MISSING
    assert "libGL" in found["platformdirs"].detail


def test_two_runtimes_in_one_folder_are_warned_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    metadata = tmp_path / "onnxruntime_gpu-1.99.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.99\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = checks()
    assert found["onnxruntime twins"].level is Level.WARN
    assert "1.99" in found["onnxruntime twins"].detail
    assert found["providers"].level is Level.WARN  # this one has no CUDA


def test_damaged_weights_are_told_apart(cache: Path) -> None:
    cache.mkdir()
    (cache / "efficientdet_lite0.int8.tflite").write_bytes(b"x")
    (cache / "bikes.mp4").write_bytes(b"x")
    found = checks()
    assert found["weights efficientdet-lite0"].level is Level.MISSING
    assert found["weights efficientdet-lite0"].fix == "streamcap models pull efficientdet-lite0"
    assert found["weights demo-clip-street"].level is Level.WARN


def test_a_port_that_is_taken_is_warned_of() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert checks(port)["port"].level is Level.WARN
    assert checks(port)["port"].level is Level.OK


def test_a_cache_that_cannot_be_made_is_warned_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STREAMCAP_CACHE", str(tmp_path / "file"))
    assert checks()["cache"].level is Level.WARN


def test_it_names_what_runs_the_networks_and_why() -> None:
    found = checks()
    assert found["encoder"].detail.startswith("clip-vit-b16-int8: CPU by ONNX Runtime")
    assert "int8" in found["detector"].detail
    assert "on the processor" in found["decoding"].detail
    assert found["gpu"].detail
    assert found["tensorrt"].detail


def test_a_graph_that_is_named_is_loaded_and_one_that_is_not_there_is_missing(tmp_path: Path, cache: Path) -> None:
    need("engines")
    make_encoder(cache.parent / "engines" / "tiny")
    named = ["--json", "--port", "0", "--encoder", "tiny", "--device", "cpu", "--detector", "nothing"]
    report = json.loads(CliRunner().invoke(app, named).stdout)
    found = {check["name"]: check for check in report["checks"]}
    assert found["encoder"]["detail"].startswith("tiny: CPU by ONNX Runtime")
    assert "device = cpu" in found["encoder"]["detail"]
    assert "its weights are random" in found["encoder"]["detail"]
    assert found["encoder"]["fix"] == "python -m engines make tiny --precision int8-dynamic"
    assert found["detector"]["level"] == "missing"
    assert found["detector"]["fix"] == "python -m engines make nothing"
    assert found["engine tiny"]["detail"] == "fp32; 0 plans"


def test_there_is_no_doing_without_a_detector() -> None:
    report = json.loads(CliRunner().invoke(app, ["--json", "--port", "0", "--detector", "none"]).stdout)
    assert {check["name"]: check for check in report["checks"]}["detector"]["level"] == "missing"


def test_the_models_of_a_settings_file_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "streamcap.toml"
    path.write_text('[models]\nencoder = "none"\ndecode = "cuda"\n')
    report = json.loads(CliRunner().invoke(app, ["--json", "--port", "0", "--config", str(path)]).stdout)
    found = {check["name"]: check for check in report["checks"]}
    assert found["encoder"]["detail"] == "none, as the settings say"
    assert found["decoding"]["level"] == ("warn" if trouble() else "ok")
