"""Graphs of ``engines``, compiled by TensorRT-RTX, which needs no GPU for that."""

from __future__ import annotations

import _thread
import itertools
import signal
from pathlib import Path

import pytest

from streamcap.errors import ModelError, PlanRefused, UsageError
from streamcap.models.graph import GraphInfo, Precision, read_graph
from streamcap.models.plans import BatchProfile, Target, choose_plan, read_plan
from tests.prerequisites import missing

if not missing("engines"):
    import onnx

    from engines.build import build_plan
    from streamcap.models.tensorrt import load_library
    from tests.engine_graphs import Made

pytestmark = pytest.mark.requires("engines", "tensorrt-rtx")

PROFILE = BatchProfile(least=1, best=2, most=4)


def target(architecture: str) -> Target:
    library = load_library()
    return Target(library.builder, library.version, architecture)


@pytest.mark.parametrize(
    ("name", "precision", "targets"),
    [
        ("siglip2-b16", Precision.FP16, ()),
        ("clip-vit-b16", Precision.INT8, ("sm_89",)),  # one: each costs as much as the first
        ("qwen2.5-vl-3b-vision", Precision.BF16, ("sm_89",)),
        ("rtdetr-v2-r18", Precision.FP16, ("sm_89",)),
    ],
)
def test_a_graph_becomes_a_plan(
    made: Made, tmp_path: Path, name: str, precision: Precision, targets: tuple[str, ...]
) -> None:
    graph = made.graph(name, precision)
    info = read_graph(graph)
    steps: list[tuple[str, int, int]] = []
    built = build_plan(
        graph, info, profile=PROFILE, targets=targets, folder=tmp_path, progress=lambda *step: steps.append(step)
    )
    assert built.architectures == (targets or ("sm_80", "sm_86", "sm_89", "sm_120")), "none named: the usual ones"
    assert built.size == built.path.stat().st_size > 10_000
    assert steps
    assert all(0 <= done <= total for _, done, total in steps)
    plan, sidecar = read_plan(built.path, target("sm_89"), info)
    assert len(plan) == built.size
    assert (sidecar.model, sidecar.key.profile, sidecar.key.precision) == (info.model, PROFILE, precision)
    assert choose_plan(tmp_path, target(built.architectures[0]), info) == built.path
    with pytest.raises(PlanRefused, match="sm_90"):
        choose_plan(tmp_path, target("sm_90"), info)


def test_one_target_gives_a_smaller_plan(made: Made, tmp_path: Path) -> None:
    graph = made.graph("siglip2-b16", Precision.FP16)
    one, two = (
        build_plan(graph, read_graph(graph), profile=PROFILE, targets=targets, folder=tmp_path)
        for targets in (["sm_89"], ["sm_80", "sm_89"])
    )
    assert one.size < two.size
    assert one.path != two.path


def test_a_gpu_that_the_builder_does_not_know(made: Made) -> None:
    graph = made.graph("siglip2-b16", Precision.FP16)
    with pytest.raises(UsageError, match="does not build for sm_90") as caught:
        build_plan(graph, read_graph(graph), profile=PROFILE, targets=["sm_90"])
    assert "sm_89" in caught.value.hint


def changed(made: Made, folder: Path, *, operator: str) -> tuple[Path, GraphInfo]:
    """A graph in which the first node of an operator became one that nobody knows."""
    graph = made.graph("siglip2-b16", Precision.FP16)
    model = onnx.load(graph)
    node = next(each for each in model.graph.node if each.op_type == operator)
    node.op_type, node.name = "Divination", "oracle"
    path = folder / "fp16.onnx"
    onnx.save(model, path)
    return path, read_graph(graph)


def test_a_node_that_cannot_be_parsed_is_named(made: Made, tmp_path: Path) -> None:
    path, info = changed(made, tmp_path, operator="Softmax")
    with pytest.raises(ModelError, match=r"cannot parse fp16\.onnx: node oracle \(Divination\)"):
        build_plan(path, info, profile=PROFILE)
    assert not list(tmp_path.glob("*.plan*"))


def test_bytes_that_are_no_graph(made: Made, tmp_path: Path) -> None:
    info = read_graph(made.graph("siglip2-b16", Precision.FP16))
    path = tmp_path / "fp16.onnx"
    path.write_bytes(b"not a graph at all")
    with pytest.raises(ModelError, match=r"cannot parse fp16\.onnx"):
        build_plan(path, info, profile=PROFILE)


def test_an_interrupt_stops_the_build(made: Made, tmp_path: Path) -> None:
    graph = made.graph("siglip2-b16", Precision.FP16)
    calls = itertools.count()

    def interrupt(phase: str, done: int, total: int) -> None:
        if next(calls) == 0:  # once, though the builder calls from several threads
            _thread.interrupt_main()  # what Ctrl-C does

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # another test may have left one of its own
    try:
        with pytest.raises(KeyboardInterrupt):
            build_plan(graph, read_graph(graph), profile=PROFILE, folder=tmp_path, progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert next(calls) > 0
    assert not list(tmp_path.glob("*.plan*"))
