"""What ``streamcap doctor`` says of networks: what runs them, why that, and the one command that makes it faster."""

from __future__ import annotations

from collections.abc import Iterator

from streamcap.cli.checks import Check, Level
from streamcap.config import Decode, DeviceName, ModelSettings
from streamcap.errors import StreamcapError

__all__ = ["examine_engines"]

_FASTER = "clip-vit-b16"  # what the default encoder is replaced by where there is a GPU


def examine_engines(models: ModelSettings) -> Iterator[Check]:
    """Look at GPU, TensorRT, encoder, detector, decoder and engine cache. Named graphs are loaded, as they will be."""
    try:
        import numpy  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:  # reported with the packages
        return
    from streamcap.models.cuda import gpu_present

    present = gpu_present()
    yield _gpu(present)
    yield _tensorrt(present)
    on_gpu = False
    for role in ("detector", "encoder"):
        check, cuda = _network(role, models, present)
        on_gpu |= cuda
        yield check
    yield _decoding(models.decode, wanted=models.decode is Decode.CUDA or (models.decode is Decode.AUTO and on_gpu))
    yield from _cache()


def _gpu(present: bool) -> Check:
    from streamcap.errors import ModelError
    from streamcap.models.cuda import Cuda

    if not present:
        return Check("gpu", Level.OK, "no NVIDIA GPU: networks run on the processor")
    try:
        cuda = Cuda.open()
    except ModelError as error:
        return Check("gpu", Level.WARN, f"there is one, and it cannot be used: {error}", error.hint or "nvidia-smi")
    return Check("gpu", Level.OK, f"{cuda.name}, {cuda.architecture}")


def _tensorrt(present: bool) -> Check:
    from streamcap.models.tensorrt import load_library

    try:
        library = load_library()
    except StreamcapError as error:
        level, fix = (Level.WARN, error.hint) if present else (Level.OK, "")
        return Check("tensorrt", level, f"{error}: no compiled engines", fix)
    use = "" if present else "; it builds plans here, and runs them where there is a GPU"
    return Check("tensorrt", Level.OK, f"{library.builder} {library.version}{use}")


def _network(role: str, models: ModelSettings, present: bool) -> tuple[Check, bool]:
    """What runs it, and whether that is the GPU."""
    name: str = getattr(models, role)
    if name == "none" and role == "encoder":
        return Check(role, Level.OK, "none, as the settings say"), False
    if name == "default":
        return _default(role, present and models.device is not DeviceName.CPU), False
    from streamcap.models.choosing import find_exported, open_detector, open_encoder
    from streamcap.models.graph import Precision, Role, make_command

    try:
        graph = find_exported(name, models, Role(role)).info
        opened = open_encoder(models) if role == "encoder" else open_detector(models)
    except StreamcapError as error:
        return Check(role, Level.MISSING, f"{name}: {error}", error.hint or f"streamcap serve without --{role}"), False
    try:
        info = opened.info
    finally:
        opened.close()
    detail = f"{name}: {info}" + (f" ({info.why})" if info.why else "")
    if graph.seed is not None:
        trained = graph.model_copy(update={"seed": None, "model": graph.model.removesuffix("-tiny")})
        quickest = None if info.device == "cuda" else Precision.INT8_DYNAMIC
        detail = f"{detail}; its weights are random, and what it sees means nothing"
        return Check(role, Level.WARN, detail, make_command(trained, quickest)), info.device == "cuda"
    return Check(role, Level.WARN if info.hint else Level.OK, detail, info.hint), info.device == "cuda"


def _default(role: str, gpu: bool) -> Check:
    import importlib.metadata

    import onnxruntime

    if role == "detector":
        try:
            version = importlib.metadata.version("ai-edge-litert")
        except importlib.metadata.PackageNotFoundError:  # reported with the packages
            version = "(not installed)"
        return Check(role, Level.OK, f"efficientdet-lite0: CPU by LiteRT {version}, int8, a picture at a time")
    detail = f"clip-vit-b16-int8: CPU by ONNX Runtime {onnxruntime.__version__}, int8, a picture at a time"
    if gpu:
        from streamcap.models.graph import engines_command

        why = "the default is made for processors; the GPU is idle"
        fix = f"{engines_command(f'make {_FASTER} --precision fp16')}, then streamcap serve --encoder {_FASTER}"
        return Check(role, Level.WARN, f"{detail} ({why})", fix)
    return Check(role, Level.OK, detail)


def _decoding(wish: Decode, *, wanted: bool) -> Check:
    from streamcap.sources.nvdec import trouble

    if not wanted:
        why = "as the settings say" if wish is Decode.CPU else "no network runs on a GPU"
        return Check("decoding", Level.OK, f"on the processor ({why})")
    if reason := trouble():
        fix = "set [models] decode to cpu, or install NVIDIA's driver (nvidia-smi shows it)"
        return Check("decoding", Level.WARN, f"on the processor: {reason}", fix)
    return Check("decoding", Level.OK, "on the GPU (NVDEC), on the processor what it cannot")


def _cache() -> Iterator[Check]:
    from streamcap.models.graph import engines_root

    root = engines_root()
    folders = sorted(folder for folder in root.glob("*") if folder.is_dir()) if root.is_dir() else []
    for folder in folders:
        graphs = ", ".join(sorted(path.stem for path in folder.glob("*.onnx"))) or "no graph"
        plans = len(list(folder.glob("*.plan")))
        yield Check(f"engine {folder.name}", Level.OK, f"{graphs}; {plans} plan{'' if plans == 1 else 's'}")
