"""``python -m engines``: one command from a name to graphs and plans, and what it says where it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamcap.errors import ModelError, StreamcapError, UsageError, WeightsUnavailable
from streamcap.models.graph import Precision, engines_root, read_graph, sidecar_of, write_graph_info
from streamcap.models.plans import BatchProfile, PlanInfo, PlanKey
from tests.patience import LONG_S
from tests.prerequisites import ROOT, missing

if not missing("engines"):
    import onnx

    from engines.cli import app
    from engines.files import remove_graph
    from streamcap.models.cuda import Cuda
    from streamcap.models.tensorrt import Library, TensorRtEngine
    from tests.engine_graphs import Made
    from tests.simulated_gpu import MAGIC, Runtime, trt_module

pytestmark = pytest.mark.requires("engines")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STREAMCAP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


def run(*words: str) -> str:
    """Run a command in this process; raises what it raises."""
    return CliRunner().invoke(app, list(words), catch_exceptions=False).output


def placed(made: Made, cache: Path, name: str, precision: Precision) -> Path:
    """A graph that was made once for all tests, where ``export`` would have left it."""
    made_of = made.graph(name, precision)
    folder = cache / made_of.parent.name
    folder.mkdir(parents=True)
    shutil.copy(sidecar_of(made_of), folder)
    return Path(shutil.copy(made_of, folder))


TINY = ("--random", "--tiny")
CLIP = ("--calibrate", "test:?seconds=8&width=160&height=90")


@pytest.mark.requires("tensorrt-rtx")
def test_one_command_makes_all_that_the_service_needs(cache: Path) -> None:
    said = run(
        "make", "siglip2-b16", *TINY, *CLIP, "--precision", "fp16", "--precision", "int8-dynamic", "--batch", "1,2,4",
        "--target", "sm_120",
    )  # fmt: skip
    assert said.count("exported") == 2
    assert said.count("agrees") == 4
    assert said.count("compiled") == 1  # a graph whose ranges are found at run time is for processors
    folder = cache / "siglip2-b16-tiny"
    assert folder == engines_root() / "siglip2-b16-tiny"
    assert sorted(path.name for path in folder.glob("*.onnx")) == ["fp16.onnx", "int8-dynamic.onnx"]
    assert len(list(folder.glob("*.plan"))) == len(list(folder.glob("*.plan.json"))) == 1
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert read_graph(folder / "fp16.onnx").precision is Precision.FP16
    assert "b1-2-4" in next(folder.glob("*.plan")).name

    assert "agrees fp16 image_embeds" in run("verify", "siglip2-b16", "--tiny", *CLIP)
    assert "sm_89 " in run("build", "siglip2-b16", "--tiny", "--target", "sm_89").replace("\n", " ")
    table = run("bench", "siglip2-b16", "--tiny", "--batch", "1,2", "--seconds", "0.1", "--threads", "1")
    assert "pictures/s" in table
    figures = json.loads((folder / "bench.json").read_text("utf-8"))["figures"]
    assert {key.rpartition(", ")[2] for key in figures} == {"1", "2"}
    assert any(key.startswith("ONNX Runtime") for key in figures)
    assert any(key.startswith("torch") for key in figures)
    assert all(figure["runs"] >= 1 and figure["per_second"] > 0 for figure in figures.values())


def test_a_graph_of_other_weights_is_told_with_the_layers_that_differ(cache: Path, made: Made) -> None:
    graph = placed(made, cache, "clip-vit-b16", Precision.FP32)
    write_graph_info(graph, read_graph(graph).model_copy(update={"seed": 2}))
    result = CliRunner().invoke(app, ["verify", "clip-vit-b16", "--tiny", *CLIP, "--precision", "fp32"])
    assert isinstance(result.exception, ModelError)
    assert "fp32 does not agree with torch" in str(result.exception)
    assert "least 0.9999 is needed" in str(result.exception)
    assert "differs fp32 image_embeds" in result.output
    assert "largest error" in result.output
    assert graph.is_file(), "verify takes nothing away"
    remove_graph(graph)
    assert not list(graph.parent.iterdir())


def test_what_there_is_is_listed(cache: Path, made: Made) -> None:
    said = run("list")
    assert "rtdetr-v2-r18" in said
    assert "PekingU/rtdetr_v2_r18vd" in said
    assert "nothing is made yet" in said
    placed(made, cache, "clip-vit-b16", Precision.FP32)
    assert "clip-vit-b16-tiny  fp32    0" in run("list")


@pytest.mark.requires("tensorrt-rtx")
@pytest.mark.parametrize(
    "words",
    [("--calibrate", "/nowhere/clip.mp4"), ("--batch", "1,2"), ("--target", "sm_1")],
    ids=lambda words: words[0],
)
def test_what_cannot_be_made_is_told_before_a_graph_is_touched(cache: Path, made: Made, words: tuple[str, ...]) -> None:
    graph = placed(made, cache, "clip-vit-b16", Precision.FP32)
    before = graph.stat().st_mtime_ns
    with pytest.raises(StreamcapError, match=r"no such file|three numbers|does not build for sm_1"):
        run("make", "clip-vit-b16", *TINY, "--precision", "fp32", *words)
    assert graph.stat().st_mtime_ns == before
    assert read_graph(graph).precision is Precision.FP32


def test_a_graph_that_could_not_be_compared_is_not_left_behind(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(session: object, fed: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engines.work.run_graph", interrupted)
    result = CliRunner().invoke(app, ["make", "clip-vit-b16", *TINY, *CLIP, "--precision", "fp32", "--no-plan"])
    assert "exported" in result.output
    assert not list((cache / "clip-vit-b16-tiny").iterdir())


def with_other_weights(path: Path, other: Path) -> Path:
    """The graph with the weights of each product turned about."""
    model = onnx.load(path)
    for each in model.graph.initializer:
        if len(each.dims) == 2:
            each.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(each)[::-1].copy(), each.name))
    onnx.save(model, other)
    return other


@pytest.mark.parametrize("same", [True, False])
def test_a_plan_is_held_to_torch_as_a_graph_is(made: Made, tmp_path: Path, same: bool) -> None:
    """Over a simulated device, whose plan is the graph of these or of other weights."""
    work = made.work("siglip2-b16")
    path = made.graph("siglip2-b16", Precision.FP16)
    graph = read_graph(path)
    built_of = path if same else with_other_weights(path, tmp_path / "other.onnx")
    runtime = Runtime()
    module = trt_module(runtime)
    profile = BatchProfile(least=1, best=2, most=4)
    key = PlanKey(
        graph=graph.digest, builder="tensorrt", builder_version=module.__version__, architectures=("sm_89",),
        precision=Precision.FP16, profile=profile,
    )  # fmt: skip
    plan = MAGIC + built_of.read_bytes()
    info = PlanInfo(model=graph.model, key=key, size=len(plan), sha256="0" * 64)
    library = Library(module, "tensorrt", module.__version__)
    with closing(TensorRtEngine(plan, info, graph, library=library, cuda=Cuda(runtime))) as engine:
        verdict = work.verify_engine(Precision.FP16, engine)
    assert (verdict.by, verdict.passed) == ("TensorRT", same)


def test_an_export_that_breaks_off_leaves_what_was_there(cache: Path, made: Made) -> None:
    placed(made, cache, "clip-vit-b16", Precision.FP32)
    folder = cache / "clip-vit-b16-tiny"
    graph = (folder / "fp32.onnx").rename(folder / "int8-dynamic.onnx")  # whatever lies under that name
    (folder / "fp32.onnx.json").rename(sidecar_of(graph))
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(StreamcapError, match="no such file"):
        run("export", "clip-vit-b16", *TINY, "--precision", "int8-dynamic", "--calibrate", "/nowhere/clip.mp4")
    assert sorted(path.name for path in folder.iterdir()) == before
    assert read_graph(graph).seed == 1


@pytest.mark.parametrize(
    ("words", "error", "complaint"),
    [
        (("make", "clip-vit-b61"), UsageError, "no model is called"),
        (("make", "clip-vit-b16", "--tiny"), UsageError, "--tiny has no weights but random ones"),
        (("make", "clip-vit-b16", "--random", "--source", "x"), UsageError, "exclude each other"),
        (("make", "rtdetr-v2-r18", *TINY, "--precision", "fp8"), UsageError, "is not made in fp8"),
        (("make", "clip-vit-b16", *TINY, "--grid", "1,2,2"), UsageError, "--grid"),
        (("make", "qwen3-vl-2b-vision", *TINY, "--grid", "1,2"), UsageError, "--grid"),
        (("build", "clip-vit-b16", "--batch", "4,2,1"), UsageError, "--batch"),
        (("build", "clip-vit-b16"), WeightsUnavailable, "there is no fp16 graph"),
        (("verify", "clip-vit-b16"), WeightsUnavailable, "there is no fp16 graph"),
        (("verify", "clip-vit-b16", "--tiny"), WeightsUnavailable, "there is no fp16 graph in .*-tiny"),
        (("bench", "clip-vit-b16"), WeightsUnavailable, "there is no graph"),
        (("bench", "clip-vit-b16", "--batch", "0"), UsageError, "--batch"),
    ],
)
def test_what_cannot_be(words: tuple[str, ...], error: type[StreamcapError], complaint: str) -> None:
    if words[:2] == ("build", "clip-vit-b16") and missing("tensorrt-rtx"):
        pytest.skip("no TensorRT-RTX")
    with pytest.raises(error, match=complaint):
        run(*words)


def test_an_interrupt_that_meets_a_destructor_is_not_lost() -> None:
    """As one may while transformers are imported."""
    program = f"""
import time
from engines import cli

class Met:
    def __del__(self):
        raise KeyboardInterrupt

def work(prog_name):
    Met()
    time.sleep({LONG_S})

cli.app = work
cli.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert (done.returncode, done.stderr) == (130, "engines: interrupted\n")


def test_a_changed_graph_is_refused(cache: Path, made: Made) -> None:
    graph = placed(made, cache, "clip-vit-b16", Precision.FP32)
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(ModelError, match="does not match the hash"):
        run("verify", "clip-vit-b16", "--tiny", "--precision", "fp32")
    sidecar_of(graph).unlink()
    with pytest.raises(WeightsUnavailable, match="has no sidecar"):
        run("verify", "clip-vit-b16", "--tiny", "--precision", "fp32")


def test_without_a_hub_it_says_so_in_a_line_and_how_to_go_on(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "engines", "make", "clip-vit-b16"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert "engines: the model hub cannot be reached for openai/clip-vit-base-patch16" in done.stderr
    assert "--random" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 3, "what it does, the error and the hint, and none of the hub's own words"


def test_without_torch_it_says_what_to_install(tmp_path: Path) -> None:
    """A machine that only builds plans needs none."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "engines", "make", "clip-vit-b16", "--random"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert "torch is not installed" in done.stderr
    assert "pip install 'streamcap[engines]'" in done.stderr


@pytest.mark.requires("tensorrt-rtx")
def test_plans_are_built_and_graphs_are_timed_without_torch(cache: Path, tmp_path: Path, made: Made) -> None:
    placed(made, cache, "siglip2-b16", Precision.FP16)
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    for words, said in (
        ("build --target sm_89", "compiled"),
        ("bench --seconds 0.1 --batch 1", "not run: torch: torch is not installed"),
    ):
        command, *options = words.split()
        done = subprocess.run(
            [sys.executable, "-m", "engines", command, "siglip2-b16", "--tiny", *options],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONG_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
