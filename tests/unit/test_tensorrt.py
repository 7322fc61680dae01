"""The TensorRT backend, without a GPU: what it does around one, over a simulated device; and that every lack is told.

Nothing here says how fast a GPU is or what a real library does with a plan: benchmarks/gpu.py checks that on one.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.errors import EngineLost, ModelError, ModelLoadError, OutOfDeviceMemory, PlanRefused, WrongModel
from streamcap.models.cuda import LOST, Cuda
from streamcap.models.engine import Device
from streamcap.models.graph import GraphInfo, Precision, TensorInfo, read_graph
from streamcap.models.kernels import kernels_path
from streamcap.models.onnx import OnnxEngine
from streamcap.models.plans import BatchProfile, PlanInfo, PlanKey, Target, read_plan, write_plan
from streamcap.models.tensorrt import Library, TensorRtEngine, buckets, deserialise, load_library
from streamcap.models.vision import GraphEncoder
from streamcap.models.vlm.exported import ExportedTower
from streamcap.models.vlm.towers import Sight
from streamcap.sources.rendered_art import Painter
from tests.graphs import GRID, make_encoder, make_tower
from tests.prerequisites import need
from tests.simulated_gpu import MAGIC, Context, Runtime, Status, trt_module

PROFILE = BatchProfile(least=1, best=2, most=5)


def simulated(runtime: Runtime) -> Library:
    module = trt_module(runtime)
    return Library(module, "tensorrt-rtx" if runtime.rtx else "tensorrt", module.__version__)


class Made:
    """A tiny graph with its simulated plan on disk, and what loads it."""

    def __init__(
        self, folder: Path, precision: Precision = Precision.FP32, *, rtx: bool = False, tower: bool = False
    ) -> None:
        self.path = make_tower(folder) if tower else make_encoder(folder, precision)
        self.graph: GraphInfo = read_graph(self.path)
        self.runtime = Runtime()
        self.runtime.rtx = rtx
        self.library = simulated(self.runtime)
        key = PlanKey(
            graph=self.graph.digest, builder=self.library.builder, builder_version=self.library.version,
            architectures=("sm_89",), precision=precision, profile=PROFILE,
        )  # fmt: skip
        self.plan = write_plan(folder, MAGIC + self.path.read_bytes(), model="tiny", key=key)

    def load(self, *, kernels: Path | None = None) -> TensorRtEngine:
        cuda = Cuda(self.runtime)
        target = Target(self.library.builder, self.library.version, cuda.architecture)
        plan, info = read_plan(self.plan, target, self.graph)
        return self.make(plan, info, kernels=kernels)

    def make(self, plan: bytes, info: PlanInfo, *, kernels: Path | None = None) -> TensorRtEngine:
        cuda = Cuda(self.runtime)
        return TensorRtEngine(plan, info, self.graph, library=self.library, cuda=cuda, kernels=kernels)


@pytest.fixture(params=[Precision.FP32, Precision.FP16])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    need("engines")
    return Made(tmp_path, request.param)


@pytest.fixture
def engine(made: Made) -> Iterator[TensorRtEngine]:
    engine = made.load()
    yield engine
    engine.close()
    assert not made.runtime.live, "not all was freed"


def batch(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(count).uniform(-1, 1, (count, 3, 32, 32)).astype(np.float32)


def test_it_gives_what_the_graph_gives_at_every_size(made: Made, engine: TensorRtEngine) -> None:
    reference = OnnxEngine.of(made.path, made.graph, device=Device.CPU)
    for count in (1, 2, 3, 4, 5, 1):
        ready = batch(count)
        for wanted in (("image_embeds",), ("patch_tokens", "image_embeds")):
            found, expected = engine.run(ready, *wanted), reference.run(ready, *wanted)
            assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
            assert all(one.dtype == np.float32 for one in found)
    reference.close()


def test_batches_are_launched_as_graphs(made: Made, engine: TensorRtEngine) -> None:
    engine.run(batch(3), "image_embeds")
    assert made.runtime.calls["cudaGraphLaunch"] == 1
    assert made.runtime.calls["cudaGraphInstantiate"] == 2 * len(buckets(1, 5))  # two lanes


def test_results_stay_what_they_were(engine: TensorRtEngine) -> None:
    (first,) = engine.run(batch(2), "image_embeds")
    kept = first.copy()
    for count in (1, 5, 2, 3):
        engine.run(-batch(count), "image_embeds")
    assert np.array_equal(first, kept)


def test_a_graph_that_cannot_be_captured_costs_launches_not_results(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    made.runtime.faults["cudaStreamEndCapture"] = (Status.CAPTURE_INVALIDATED, 0)
    engine = made.load()
    assert "without a CUDA graph" in caplog.text
    (found,) = engine.run(batch(2), "image_embeds")
    engine.close()
    made.runtime.faults.clear()
    again = made.load()
    assert np.array_equal(found, again.run(batch(2), "image_embeds")[0])
    again.close()
    assert not made.runtime.live


def test_a_capture_that_breaks_off_leaves_no_graph_and_runs_all_the_same(
    made: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    enqueue = Context.execute_async_v3
    monkeypatch.setattr(
        Context, "execute_async_v3", lambda self, stream: not made.runtime.capturing and enqueue(self, stream)
    )
    engine = made.load()
    assert "without a CUDA graph: the encoder failed" in caplog.text
    assert len(engine.run(batch(2), "image_embeds")[0]) == 2
    engine.close()
    assert not made.runtime.live


def test_what_is_run_to_warm_up_is_no_leftover_of_memory(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    compute = Context.compute

    def watched(context: Context) -> None:
        seen.append(bool((context.fed() == 0).all()))
        compute(context)

    monkeypatch.setattr(Context, "compute", watched)
    made.runtime.junk = 0x7F  # as floats these bytes are enormous
    engine = made.load()
    engine.close()
    assert seen
    assert all(seen)


@pytest.mark.parametrize("capturable", [True, False])
def test_rtx_compiles_before_it_is_captured_and_may_refuse_to_be(tmp_path: Path, capturable: bool) -> None:
    need("engines")
    made = Made(tmp_path, rtx=True)
    made.runtime.capturable = capturable
    engine = made.load()
    reference = OnnxEngine.of(made.path, made.graph, device=Device.CPU)
    (found,), (expected,) = engine.run(batch(3), "image_embeds"), reference.run(batch(3), "image_embeds")
    assert np.array_equal(found, expected)
    assert (made.runtime.calls.get("cudaGraphLaunch", 0) == 1) == capturable
    assert engine.info.provider == "TensorRT-RTX"
    engine.close()
    reference.close()
    assert not made.runtime.live


@pytest.mark.parametrize("shape", [(6, 3, 32, 32), (0, 3, 32, 32), (1, 3, 32, 16), (3, 32, 32)])
def test_another_shape_than_it_was_built_for(engine: TensorRtEngine, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="a batch"):
        engine.run(np.zeros(shape, np.float32), "image_embeds")
    engine.run(batch(1), "image_embeds")


@pytest.mark.parametrize("rtx", [False, True])
def test_a_tower_of_patches_takes_its_grid_and_gives_its_tokens(tmp_path: Path, rtx: bool) -> None:
    need("engines")
    made = Made(tmp_path, rtx=rtx, tower=True)
    engine = made.load()
    assert engine.info.batch == 1, "one grid at a time"
    reference = OnnxEngine.of(made.path, made.graph, device=Device.CPU)
    tower = ExportedTower(engine, made.graph)
    assert tower.grid == (4, 6)
    rng = np.random.default_rng(1)
    for _ in range(3):
        pixels = rng.uniform(-1, 1, (GRID.patches, GRID.values)).astype(np.float32)
        found = tower.features(Sight(pixels, (4, 6), 6, ""))
        expected = reference.run(pixels, "image_features", "deepstack_0")
        assert [one.shape for one in found] == [(6, 16), (6, 16)]
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert made.runtime.calls["cudaGraphInstantiate"] == 2, "one size, two lanes"
    assert made.runtime.calls["cudaGraphLaunch"] == 3
    for count in (GRID.patches - 1, GRID.patches + 1):
        with pytest.raises(ModelError, match="24"):
            engine.run(np.zeros((count, GRID.values), np.float32), "image_features")
    with pytest.raises(ModelError, match="6 tokens of a picture of 5"):
        tower.features(Sight(pixels, (4, 6), 5, ""))
    tower.close()
    reference.close()
    assert not made.runtime.live


def test_a_plan_of_another_grid_than_the_graph_says(tmp_path: Path) -> None:
    need("engines")
    made = Made(tmp_path, tower=True)
    other = GRID.model_copy(update={"rows": 2})
    source = made.graph.input.model_copy(update={"shape": (other.patches, other.values)})
    made.graph = made.graph.model_copy(update={"patches": other, "input": source})
    with pytest.raises(WrongModel, match="does not take"):
        made.load()
    assert not made.runtime.live


def test_streams_share_it_through_an_encoder(made: Made) -> None:
    encoder = GraphEncoder(made.load(), made.graph.pictures, dim=16)
    assert encoder.batcher is not None
    shown = [Painter(64, 48, 1).paint(3.0 * n, n) for n in range(7)]
    expected = asyncio.run(encoder.encode(shown)).pooled
    with ThreadPoolExecutor(7) as threads:
        found = list(threads.map(lambda n: asyncio.run(encoder.encode([shown[n % 7]])).pooled[0], range(28)))
    assert all(np.allclose(found[n], expected[n % 7], atol=1e-3) for n in range(28))
    assert encoder.info.provider == "TensorRT"
    encoder.close()
    with pytest.raises(ModelError, match="closed"):
        asyncio.run(encoder.encode(shown[:1]))
    assert not made.runtime.live


def test_a_fault_in_one_batch_is_told_and_the_next_one_runs(made: Made, engine: TensorRtEngine) -> None:
    for _ in range(5):  # more than there are lanes: none of them is lost
        made.runtime.faults["cudaMemcpyAsync"] = (Status.INVALID_VALUE, 0)
        with pytest.raises(ModelError, match="INVALID_VALUE"):
            engine.run(batch(1), "image_embeds")
        made.runtime.faults.clear()
        engine.run(batch(1), "image_embeds")


@given(after=st.integers(0, 200_000))
def test_memory_that_runs_out_while_loading_is_given_back(after: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    need("engines")
    tight = Made(tmp_path_factory.mktemp("tight"))
    tight.runtime.memory = after
    try:
        tight.load().close()
    except OutOfDeviceMemory as error:
        assert "memory is full" in str(error)
    assert not tight.runtime.live


def test_a_plan_of_other_tensors_than_the_graph_says(made: Made) -> None:
    cuda = Cuda(made.runtime)
    plan, info = read_plan(made.plan, Target("tensorrt", made.library.version, cuda.architecture), made.graph)
    more = (*made.graph.outputs, TensorInfo(name="more", dtype="float32", shape=("batch", 2)))
    made.graph = made.graph.model_copy(update={"outputs": more})
    with pytest.raises(WrongModel, match="not what the graph's sidecar says"):
        made.make(plan, info)
    assert not made.runtime.live


def test_a_plan_that_the_library_refuses(made: Made) -> None:
    with pytest.raises(PlanRefused, match="refuses the plan: the header") as caught:
        deserialise(made.library, b"nothing", "the encoder", "the command")
    assert caught.value.hint == "the command"


def test_a_plan_for_another_gpu_is_never_loaded(made: Made) -> None:
    with pytest.raises(PlanRefused, match="the GPU here is sm_90"):
        read_plan(made.plan, Target("tensorrt", made.library.version, "sm_90"), made.graph)


def test_a_machine_without_a_gpu() -> None:
    with pytest.raises(ModelLoadError, match="no usable NVIDIA driver or GPU"):
        Cuda(Runtime(devices=0))


def test_a_machine_without_a_driver() -> None:
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    try:
        cuda = Cuda.open()
    except ModelLoadError as error:
        assert "driver" in str(error)
        assert error.hint == "nvidia-smi"
    else:  # there is one here
        assert cuda.architecture.startswith("sm_")


def test_no_library_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModelLoadError, match="TensorRT is not installed") as caught:
        load_library()
    assert "pip install" in caught.value.hint


@pytest.mark.requires("tensorrt-rtx")
def test_the_real_library_refuses_what_is_no_plan() -> None:
    library = load_library()
    assert library.version
    for junk in (b"nothing", b"\x00" * 4096):
        with pytest.raises(ModelLoadError, match=library.builder):
            deserialise(library, junk, "the encoder", "the command")


@pytest.mark.requires("tensorrt-rtx")
def test_the_real_library_has_every_name_that_is_used() -> None:
    trt = load_library().module
    names: dict[object, tuple[str, ...]] = {
        trt.ICudaEngine: (
            *("get_tensor_name", "get_tensor_dtype", "num_io_tensors", "create_execution_context"),
            "device_memory_size_v2",
        ),
        trt.IExecutionContext: (
            *("set_device_memory", "set_input_shape", "set_tensor_address", "get_tensor_shape"),
            "execute_async_v3",
        ),
        trt.ILogger: ("ERROR", "INTERNAL_ERROR"),
        trt.DataType: ("FLOAT", "HALF"),
        trt.ExecutionContextAllocationStrategy: ("USER_MANAGED",),
    }
    rtx = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
    if rtx is not None:
        names[rtx] = ("EAGER",)
        names[trt.IRuntimeConfig] = (
            *("set_execution_context_allocation_strategy", "dynamic_shapes_kernel_specialization_strategy"),
            *("create_runtime_cache", "set_runtime_cache"),
        )
        names[trt.IRuntimeCache] = ("serialize", "deserialize")
    assert [f"{owner}.{name}" for owner, used in names.items() for name in used if not hasattr(owner, name)] == []


@pytest.mark.requires("tensorrt-rtx", "engines")
def test_a_real_plan_loads_or_says_that_the_driver_is_missing(tmp_path: Path) -> None:
    library = load_library()
    trt = library.module
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    assert parser.parse(make_encoder(tmp_path).read_bytes())
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("pixel_values", (1, 3, 32, 32), (2, 3, 32, 32), (5, 3, 32, 32))
    config.add_optimization_profile(profile)
    plan = bytes(builder.build_serialized_network(network, config))
    try:
        _, engine = deserialise(library, plan, "the encoder", "the command")
    except ModelLoadError as error:
        assert "CUDA" in str(error)
    else:  # there is a GPU here
        assert engine.num_io_tensors == 3
    with pytest.raises(ModelLoadError):
        deserialise(library, plan[: len(plan) // 2], "the encoder", "the command")


def test_a_slow_gpu_is_waited_for(made: Made) -> None:
    made.runtime.busy = 7
    engine = made.load()
    asked = made.runtime.calls["cudaEventQuery"]
    assert len(engine.run(batch(3), "image_embeds")[0]) == 3
    assert made.runtime.calls["cudaEventQuery"] == asked + 8
    engine.close()
    assert not made.runtime.live


def test_a_gpu_that_hangs_is_told_of_and_never_used_again(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = made.load()
    monkeypatch.setattr("streamcap.models.cuda.Cuda.wait", partialmethod(Cuda.wait, timeout_s=0.05))
    made.runtime.busy = None
    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(engine.run, batch(1), "image_embeds") for _ in range(3)]
        for future in running:  # those in the two lanes, and the one that waits for a lane
            with pytest.raises(EngineLost, match=r"the GPU hangs: a batch did not come back within 0\.05 s"):
                future.result(30)
    made.runtime.busy = 0
    held, copied = len(made.runtime.live), made.runtime.calls["cudaMemcpyAsync"]
    with pytest.raises(EngineLost, match="hangs"):
        engine.run(batch(1), "image_embeds")
    engine.close()
    engine.close()
    assert len(made.runtime.live) == held, "what it may still write to is not given back"
    assert made.runtime.calls["cudaMemcpyAsync"] == copied


@pytest.mark.parametrize("call", ["cudaMemcpyAsync", "cudaGraphLaunch", "cudaEventRecord", "cudaEventQuery"])
def test_an_error_that_sticks_ends_the_engine_and_frees_nothing(made: Made, call: str) -> None:
    engine = made.load()
    made.runtime.faults[call] = (Status.ILLEGAL_ADDRESS, made.runtime.calls.get(call, 0))
    held = len(made.runtime.live)
    for _ in range(3):
        with pytest.raises(EngineLost, match=r"lost to this process: .*ILLEGAL_ADDRESS") as caught:
            engine.run(batch(1), "image_embeds")
        assert "restart streamcap" in caught.value.hint
    engine.close()
    assert len(made.runtime.live) == held
    with pytest.raises(EngineLost):  # a lane that comes late is told of the loss, not of the end
        engine.run(batch(1), "image_embeds")


def test_an_error_that_sticks_while_loading_is_no_reason_to_go_on_without_graphs(made: Made) -> None:
    made.runtime.faults["cudaStreamEndCapture"] = (Status.ILLEGAL_ADDRESS, 2)
    with pytest.raises(EngineLost, match="cudaStreamEndCapture"):
        made.load()


def test_rtx_compiles_once_for_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    need("engines")
    monkeypatch.setenv("STREAMCAP_CACHE", str(tmp_path / "cache"))
    kernels = kernels_path(tmp_path / "x.plan", "1.0 13000 a GPU sm_89")
    assert kernels != kernels_path(tmp_path / "x.plan", "1.0 13010 a GPU sm_89")
    assert kernels != kernels_path(tmp_path / "other" / "x.plan", "1.0 13000 a GPU sm_89")
    assert kernels.parent == tmp_path / "cache" / "kernels", (
        "the folder of plans may be one that the service only reads"
    )

    def compiled(*, caches: bool = True) -> int:
        made = Made(tmp_path, rtx=True)
        made.runtime.caches = caches
        engine = made.load(kernels=kernels)
        assert len(engine.run(batch(2), "image_embeds")[0]) == 2
        engine.close()
        assert not made.runtime.live
        return made.runtime.compiled

    assert compiled() == 1
    assert compiled() == 0
    content = kernels.read_bytes()
    for damaged in (content[:-3], b"", content[:40], bytes([content[0] ^ 1]) + content[1:]):
        kernels.write_bytes(damaged)
        caplog.clear()
        assert compiled() == 1
        assert "is damaged" in caplog.text
        assert kernels.read_bytes() == content
    other = b"kernels of another version"
    kernels.write_bytes(hashlib.sha256(other).digest() + other)
    assert compiled() == 1, "the library says that it does not fit"
    assert kernels.read_bytes() == content
    assert compiled(caches=False) == 2 * len(buckets(1, 5)), "an older library has no cache"
    kernels.unlink()
    kernels.mkdir()
    assert compiled() == 1, "a file that can be neither read nor written costs the start nothing else"
    assert "cannot be kept" in caplog.text


@given(st.integers(1, 100), st.integers(0, 100))
def test_buckets_cover_the_profile(least: int, more: int) -> None:
    most = least + more
    sizes = buckets(least, most)
    assert sizes[0] == least
    assert sizes[-1] == most
    assert list(sizes) == sorted(set(sizes))
    assert all(later <= 2 * earlier or earlier == least for earlier, later in itertools.pairwise(sizes))


def test_the_real_bindings_take_every_call_that_is_made() -> None:
    """Without a driver each call fails; with wrong names or arguments it would not even be made."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    if int(runtime.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("there is a GPU here: the calls are made with nonsense")
    stream, event, graph = runtime.cudaStream_t(), runtime.cudaEvent_t(), runtime.cudaGraph_t()
    launched = runtime.cudaGraphExec_t()
    assert int(stream) == 0
    kinds = runtime.cudaMemcpyKind(1), runtime.cudaMemcpyKind(2)
    calls: list[tuple[str, tuple[object, ...]]] = [
        ("cudaDriverGetVersion", ()), ("cudaSetDevice", (0,)),
        ("cudaDeviceGetAttribute", (runtime.cudaDeviceAttr(75), 0)),
        ("cudaDeviceGetAttribute", (runtime.cudaDeviceAttr(76), 0)), ("cudaGetDeviceProperties", (0,)),
        ("cudaStreamCreateWithFlags", (1,)), ("cudaEventCreateWithFlags", (2,)), ("cudaMalloc", (64,)),
        ("cudaHostAlloc", (64, 0)), ("cudaFree", (4096,)), ("cudaFreeHost", (4096,)),
        ("cudaMemcpyAsync", (4096, 8192, 0, kinds[0], stream)), ("cudaMemcpyAsync", (4096, 8192, 0, kinds[1], stream)),
        ("cudaEventRecord", (event, stream)), ("cudaEventQuery", (event,)),
        ("cudaStreamBeginCapture", (stream, runtime.cudaStreamCaptureMode(1))), ("cudaStreamEndCapture", (stream,)),
        ("cudaGraphInstantiate", (graph, 0)), ("cudaGraphDestroy", (graph,)), ("cudaGraphLaunch", (launched, stream)),
        ("cudaGraphExecDestroy", (launched,)), ("cudaEventDestroy", (event,)), ("cudaStreamDestroy", (stream,)),
    ]  # fmt: skip
    for name, arguments in calls:
        status, *_ = getattr(runtime, name)(*arguments)
        assert isinstance(status, runtime.cudaError_t), name
    attributes = {runtime.cudaDeviceAttr(75).name, runtime.cudaDeviceAttr(76).name}
    assert attributes == {"cudaDevAttrComputeCapabilityMajor", "cudaDevAttrComputeCapabilityMinor"}
    assert [kind.name for kind in kinds] == ["cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost"]
    assert runtime.cudaStreamCaptureMode(1).name == "cudaStreamCaptureModeThreadLocal"
    assert runtime.cudaError_t(2).name == "cudaErrorMemoryAllocation"
    assert runtime.cudaError_t(600).name == "cudaErrorNotReady"
    sticky = {int(each) for each in runtime.cudaError_t if "terminated and relaunched" in (each.__doc__ or "")}
    assert sticky, "NVIDIA's documentation says which errors end a process"
    assert sticky <= LOST
