"""Load a vision–language model into this process. torch and transformers are imported here, and not before."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamcap.config import VisionSettings
from streamcap.errors import ModelError, ModelLoadError, OutOfDeviceMemory, StreamcapError, WeightsCorrupt, WrongModel
from streamcap.models.vlm import weights
from streamcap.models.vlm.adapters import Adapted, adapt

if TYPE_CHECKING:
    from streamcap.models.vlm.families import Family
    from streamcap.models.vlm.local import LocalModel
    from streamcap.models.vlm.reader import Savings
    from streamcap.models.vlm.runner import Runner
    from streamcap.models.vlm.towers import VisionTower

__all__ = ["load", "load_runner"]

_log = logging.getLogger(__name__)

INSTALL = "pip install 'streamcap[torch]'"
# Room beside the weights for what a prompt needs while it is read: keys, values and activations at 8,192 tokens.
BESIDE_BYTES = 500_000_000


async def load(settings: VisionSettings, *, progress: Callable[[str], None] = _log.info) -> LocalModel:
    """Load the model that the settings name, on a thread of its own: the event loop goes on.

    Args:
        settings: ``model``, ``adapter``, ``tower``, ``device``, ``max_tokens`` and ``picture_tokens`` count here.
        progress: gets a line now and then, from that thread.

    A cancelled call leaves the thread to end what it is at, a download for instance; what it loads is let go. Python
    waits for that thread at the end of the program, the command line for some seconds.

    Raises:
        ModelError: it cannot be loaded; the class says why, the hint what to do.
    """
    worker = ThreadPoolExecutor(1, thread_name_prefix="vlm")
    try:
        runner = await asyncio.get_running_loop().run_in_executor(worker, load_runner, settings, progress)
    except BaseException:  # also cancelled: what runs in the thread runs to its end, and no task waits for it
        worker.shutdown(wait=False, cancel_futures=True)
        raise
    from streamcap.models.vlm.local import LocalModel

    return LocalModel(settings.model.rstrip("/").rsplit("/", 1)[-1], runner, worker)


def load_runner(
    settings: VisionSettings, progress: Callable[[str], None] = _log.info, *, savings: Savings | None = None
) -> Runner:
    """Load a model on the thread that calls.

    Raises:
        ModelError: as :func:`load`.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the hub's client is imported
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ModelLoadError("torch or transformers is not installed", hint=INSTALL) from error
    from streamcap.models.vlm.chat import Chat
    from streamcap.models.vlm.families import FAMILIES
    from streamcap.models.vlm.runner import Runner

    transformers.utils.logging.set_verbosity_error()  # its warnings are about training and other people's settings
    transformers.utils.logging.disable_progress_bar()
    folder = weights.find(settings.model)
    config = weights.read_json(folder / "config.json")
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise WrongModel(
            f"{settings.model} is of architecture {kind}", hint=f"supported in process: {', '.join(FAMILIES)}"
        )
    preprocessor = weights.read_preprocessor(folder)
    device, dtype = _device(settings.device)
    if device.type == "cpu":
        torch.set_num_threads(_threads())
    tokenizer = _tokenizer(folder)
    adapted = _model(folder, settings, device, dtype, progress)
    family = FAMILIES[kind](adapted.model, preprocessor, picture_tokens=settings.picture_tokens)
    chat = Chat(tokenizer, picture=family.picture, template=family.template)
    tower = _tower(settings, family, device)
    runner = Runner(
        family,
        tokenizer,
        chat,
        ends=_ends(folder, tokenizer, config),
        tower=tower,
        learned=adapted.learned,
        most_tokens=settings.max_tokens,
        savings=savings,
    )
    progress(f"{settings.model} is loaded")
    return runner


def _threads() -> int:
    """All processors but one, which perception and the decoders keep."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus - 1)


def _device(wanted: str) -> tuple[Any, Any]:
    """The device, and what numbers are kept in there: bfloat16 on a GPU, as the models were trained."""
    import torch

    there = torch.cuda.is_available()
    if wanted == "auto":
        wanted = "cuda" if there else "cpu"
    if wanted == "cpu":
        return torch.device("cpu"), torch.float32  # half precision is slower on most processors
    if not there:
        raise ModelLoadError(f"device {wanted}: torch sees no GPU", hint="a CUDA build of torch and a driver; or cpu")
    device = torch.device(wanted)
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise ModelLoadError(f"device {wanted}: there are {torch.cuda.device_count()} GPUs", hint="count from 0")
    return device, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises what its parsers raise, of no common class
        raise ModelLoadError(f"cannot read the tokenizer in {folder}: {error}", hint="fetch the model again") from error
    if not getattr(tokenizer, "is_fast", False):
        raise WrongModel(f"{folder} holds no tokenizer.json")
    if tokenizer.chat_template is None and (folder / "chat_template.json").is_file():  # where older processors kept it
        tokenizer.chat_template = weights.read_json(folder / "chat_template.json").get("chat_template")
    return tokenizer


def _model(folder: Path, settings: VisionSettings, device: Any, dtype: Any, progress: Callable[[str], None]) -> Any:
    import torch

    need = weights.parameters(folder) * dtype.itemsize
    progress(f"loading {settings.model}: {need / 1e9:.1f} GB as {str(dtype).removeprefix('torch.')} on {device}")
    on_gpu = device.type == "cuda"
    weights.check_room(need + BESIDE_BYTES, free=weights.free_memory(), what=settings.model, on_gpu=False)
    if on_gpu:
        free, _ = torch.cuda.mem_get_info(device)
        weights.check_room(need + BESIDE_BYTES, free=free, what=settings.model, on_gpu=True)
    try:
        adapted = adapt(_read(folder, dtype), settings.adapter, progress)
        return Adapted(adapted.model.to(device).eval().requires_grad_(False), adapted.learned)
    except torch.OutOfMemoryError as error:
        raise OutOfDeviceMemory(f"the GPU has no room for {settings.model}", hint="a smaller model") from error
    except StreamcapError:
        raise
    except Exception as error:  # the library raises what its parsers raise, of no common class
        raise ModelLoadError(f"cannot load {settings.model}: {error}") from error


def _read(folder: Path, dtype: Any) -> Any:
    from transformers import AutoModelForImageTextToText

    model, report = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):
        raise WeightsCorrupt(
            f"{folder} lacks {len(missing)} of the model's tensors, {missing[0]} among them",
            hint="fetch the model again",
        )
    return model


def _tower(settings: VisionSettings, family: Family, device: Any) -> VisionTower | None:
    """The exported tower that the settings name; the model's own is let go.

    Raises:
        ModelError: it cannot be had, does not load, or is that of another model.
    """
    if settings.tower is None:
        return None
    from streamcap.models.vlm.exported import open_tower

    tower = open_tower(settings.tower, gpu=device.type == "cuda", threads=_threads())
    try:
        family.replace_tower(tower.info)
    except ModelError:
        tower.close()
        raise
    return tower


def _ends(folder: Path, tokenizer: Any, config: Mapping[str, Any]) -> list[int]:
    """Ids of the tokens that end an answer."""
    named: list[Any] = [tokenizer.eos_token_id, config.get("eos_token_id")]
    if (folder / "generation_config.json").is_file():
        named.append(weights.read_json(folder / "generation_config.json").get("eos_token_id"))
    known = tokenizer.get_vocab()
    named.append([known[token] for token in ("<end_of_utterance>", "<|im_end|>") if token in known])
    flat = [one for entry in named for one in (entry if isinstance(entry, list) else [entry])]
    return sorted({int(one) for one in flat if one is not None})
