"""Where weights come from: the model hub or a local folder. Everything after this works on a folder."""

from __future__ import annotations

import errno
import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from streamcap.errors import ModelLoadError, UsageError, WeightsCorrupt, WeightsUnavailable, WrongModel
from streamcap.models.store import sha256_of

if TYPE_CHECKING:
    from types import ModuleType

    import torch
    import transformers

    from engines.manifest import ModelEntry

__all__ = [
    "Checkpoint",
    "CheckpointConfig",
    "load_pretrained",
    "load_tower",
    "need",
    "need_torch",
    "obtain",
    "read_config",
]

# What is fetched: never the same weights twice (other formats), and no code.
_WANTED = ["config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json"]
_OLDER = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
_ETAG_TIMEOUT = 10.0  # seconds for the hub to say what it has
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# The numbers by which image processors name ways to interpolate (those of PIL).
_RESAMPLE = {1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "area"}
_INSTALL = "pip install 'streamcap[engines]'"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights that were found.

    Attributes:
        folder: where they lie; None for random ones.
        source: hub id, folder or ``random``.
        revision: commit of the hub, ``local`` or ``random``.
        seed: of random weights.
    """

    folder: Path | None
    source: str
    revision: str
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """What a checkpoint says of itself.

    Attributes:
        model_type: transformers' name of the architecture.
        raw: ``config.json``.
        pictures: what its image processor does otherwise than the manifest, by the manifest's words.
    """

    model_type: str
    raw: Mapping[str, Any]
    pictures: Mapping[str, Any]


def need(name: str, *, install: str = _INSTALL) -> ModuleType:
    """Import a library that is not part of every install.

    Raises:
        ModelLoadError: it is not installed, or does not load.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = (
            isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == name.partition(".")[0]
        )
        what = f"{name} is not installed" if missing else f"{name} does not load: {error}"
        raise ModelLoadError(what, hint=install) from error


def need_torch() -> ModuleType:
    """Torch and transformers, with transformers' own progress bars and advice turned off.

    Raises:
        ModelLoadError: one of them is not installed.
    """
    transformers = need("transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # Its bars are watched by a thread that never ends.
    need("tqdm").tqdm.monitor_interval = 0
    return need("torch")


def obtain(entry: ModelEntry, *, source: str | None = None, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint: a folder as it is, a hub id by fetching it into the hub's cache.

    Args:
        source: a local folder or a hub id; None for the manifest's.
        revision: of a hub id; None for the manifest's commit, or ``main`` of another id.

    Raises:
        UsageError: the source is neither a folder nor a hub id.
        WeightsUnavailable: there is no such model or revision, no access to it, no hub, or no room on the disk.
        WeightsCorrupt: the weights are not those that the manifest names.
    """
    source = source or entry.hub
    path = Path(source).expanduser()
    if path.is_dir():
        _check_folder(path)
        return Checkpoint(path, str(path), "local")
    if not _HUB_ID.fullmatch(source):
        raise UsageError(f"{source} is neither a folder nor a hub id", hint=f"such as {entry.hub}")
    ours = source == entry.hub and revision in (None, entry.revision)
    folder = _fetch(source, revision or (entry.revision if source == entry.hub else "main"))
    _check_folder(folder)
    if ours and entry.weights_sha256 and sha256_of(folder / "model.safetensors") != entry.weights_sha256:
        raise WeightsCorrupt(f"the weights of {source} are not those that the manifest names", hint=f"remove {folder}")
    return Checkpoint(folder, source, folder.name)


def _fetch(repo: str, revision: str) -> Path:
    huggingface_hub = need("huggingface_hub")
    from huggingface_hub import errors, snapshot_download

    huggingface_hub.utils.logging.set_verbosity_error()  # else each of its retries is a line, twice
    away = not _reachable(huggingface_hub.constants.ENDPOINT)

    def fetch(patterns: list[str]) -> Path:
        return Path(
            snapshot_download(
                repo, revision=revision, allow_patterns=patterns, etag_timeout=_ETAG_TIMEOUT, local_files_only=away
            )
        )

    try:
        folder = fetch(_WANTED)
        return folder if any(folder.glob("*.safetensors")) else fetch(_WANTED + _OLDER)
    except errors.GatedRepoError as error:
        raise WeightsUnavailable(
            f"{repo} is gated: its licence has to be accepted first",
            hint=f"accept it at https://huggingface.co/{repo}, then: hf auth login",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise WeightsUnavailable(f"the hub has no model {repo}, or none for you", hint="hf auth login") from error
    except errors.RevisionNotFoundError as error:
        raise WeightsUnavailable(f"{repo} has no revision {revision}") from error
    except OSError as error:  # hub and network errors among them
        if error.errno == errno.ENOSPC:
            raise WeightsUnavailable(f"no room on the disk for {repo}", hint="HF_HOME moves the hub's cache") from error
        raise WeightsUnavailable(
            f"the model hub cannot be reached for {repo}, and it is not cached",
            hint="give a folder with --source DIR, or try the tools on the same graph with --random",
        ) from error


def _reachable(hub: str) -> bool:
    """Whether the hub answers at all. Its library asks six times before it looks at what is cached."""
    try:
        httpx.head(hub, timeout=_ETAG_TIMEOUT)
    except httpx.HTTPError:
        return False
    return True


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise WeightsUnavailable(f"{folder} has no config.json: it is not a checkpoint of transformers")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise WeightsUnavailable(f"{folder} holds no weights (*.safetensors)")


def read_config(folder: Path) -> CheckpointConfig:
    """Read ``config.json`` and, where there is one, ``preprocessor_config.json``.

    Raises:
        WrongModel: they cannot be read, or name no architecture.
    """
    raw = _read_json(folder / "config.json")
    model_type = raw.get("model_type")
    if not isinstance(model_type, str):
        raise WrongModel(f"{folder / 'config.json'} names no model_type")
    processor = folder / "preprocessor_config.json"
    return CheckpointConfig(model_type, raw, _picture_rules(_read_json(processor)) if processor.is_file() else {})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongModel(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise WrongModel(f"{path} holds no object")
    return content


def _picture_rules(processor: Mapping[str, Any]) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if processor.get("do_normalize", True):
        for ours, theirs in (("mean", "image_mean"), ("std", "image_std")):
            if isinstance(value := processor.get(theirs), list) and len(value) == 3:
                rules[ours] = tuple(float(each) for each in value)
    if isinstance(factor := processor.get("rescale_factor"), float) and factor > 0:
        rules["rescale"] = factor
    if (name := _RESAMPLE.get(processor.get("resample", -1))) is not None:
        rules["interpolation"] = name
    return rules


def check_architecture(folder: Path, wanted: tuple[str, ...]) -> None:
    """Refuse a checkpoint of another architecture.

    Raises:
        WrongModel: it is one.
    """
    found = read_config(folder).model_type
    if found not in wanted:
        raise WrongModel(f"{folder} holds a model of type {found}; {' or '.join(wanted)} is needed")


def load_pretrained(
    folder: Path,
    config_class: type[transformers.PretrainedConfig],
    model_class: type[transformers.PreTrainedModel],
) -> Any:
    """Load a checkpoint by transformers, which knows how names of weights changed over the years.

    Raises:
        WrongModel: it is of another architecture, or lacks weights that the model needs.
        ModelLoadError: transformers cannot read it.
    """
    torch = need_torch()
    kind: str = config_class.model_type
    # A whole CLIP or SigLIP holds the vision model that is wanted here.
    check_architecture(folder, tuple(dict.fromkeys((kind, kind.removesuffix("_vision_model")))))
    try:
        model, report = model_class.from_pretrained(
            folder,
            config=_config(folder, config_class),
            dtype=torch.float32,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are in the report, by name
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, need("safetensors").SafetensorError) as error:
        raise ModelLoadError(f"cannot load {folder}: {_line(error)}") from error
    if lacking := sorted(report["missing_keys"]) or sorted(str(each) for each in report["mismatched_keys"]):
        raise WrongModel(f"{folder} lacks {len(lacking)} weights of {model_class.__name__}, such as {lacking[0]}")
    return model.eval().requires_grad_(False)


def _config(folder: Path, config_class: type[transformers.PretrainedConfig]) -> transformers.PretrainedConfig:
    """The configuration of the part that is wanted; in a whole CLIP the width of its features stands beside it."""
    config = config_class.from_pretrained(folder, local_files_only=True)
    whole = read_config(folder).raw
    if "vision_config" in whole and "projection_dim" in whole:
        config.projection_dim = whole["projection_dim"]
    return config


def load_tower(folder: Path, parts: Mapping[str, torch.nn.Module]) -> None:
    """Load parts of a model, reading no more of its checkpoint than they need.

    Args:
        parts: modules by the name under which the checkpoint has them, such as ``visual``; whatever stands before that
            name in the checkpoint is ignored.

    Raises:
        WrongModel: a weight is missing, left over, or of another shape.
        ModelLoadError: a file cannot be read.
    """
    torch = need_torch()
    states: dict[str, dict[str, Any]] = {name: {} for name in parts}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            _read_parts(file, states)
        except (OSError, ValueError, need("safetensors").SafetensorError) as error:
            raise ModelLoadError(f"cannot read {file}: {_line(error)}") from error
    for name, module in parts.items():
        state = {key: value.to(torch.float32) for key, value in states[name].items()}
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise WrongModel(f"the weights of {name} in {folder} do not fit: {_line(error)}") from error


def _read_parts(file: Path, states: dict[str, dict[str, Any]]) -> None:
    from safetensors import safe_open

    names = re.compile(rf"(?:^|\.)({'|'.join(map(re.escape, states))})\.(.+)$")
    with safe_open(file, framework="pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118 - not a dictionary
            if match := names.search(key):
                states[match[1]][match[2]] = tensors.get_tensor(key)


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__
