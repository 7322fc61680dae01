"""Where a model's files are, whether they are whole, and whether there is room for them; before anything is loaded."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from streamcap.errors import ModelLoadError, OutOfDeviceMemory, WeightsCorrupt, WeightsUnavailable, WrongModel

__all__ = ["check_room", "find", "first_line", "free_memory", "parameters", "read_json", "read_preprocessor"]

_log = logging.getLogger(__name__)

# What a model consists of; no code, no pickles.
WANTED = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
# Of free memory this share stays for activations, keys and values, and everybody else.
SPARE = 0.1


def find(model: str, what: str = "model") -> Path:
    """The folder of a model: a local one, or what the model hub's cache holds of it, fetched where it is not there.

    Args:
        model: folder, or hub id as ``owner/name``, with ``@revision`` where it is to be pinned.
        what: it is called in messages.

    Raises:
        WeightsUnavailable: there is no such folder, no such model, it needs a licence to be accepted, or neither the
            hub can be reached nor is it cached.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    name, _, revision = model.partition("@")
    if model.startswith((".", "/", "~")) or name.count("/") != 1:
        raise WeightsUnavailable(f"there is no folder {model}", hint="a folder, or a hub id: OWNER/NAME")
    return _from_hub(name, revision or None, what)


def _from_hub(name: str, revision: str | None, what: str) -> Path:
    from huggingface_hub import errors, snapshot_download

    by_hand = "download it elsewhere and give the folder (--model PATH), or fill the cache and set HF_HUB_OFFLINE=1"
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(WANTED)))
    except errors.GatedRepoError as error:
        raise WeightsUnavailable(
            f"the {what} {name} is open only to who has accepted its licence",
            hint=f"accept it on https://huggingface.co/{name}, then set HF_TOKEN or run: hf auth login",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        where = f" at revision {revision}" if revision else ""
        raise WeightsUnavailable(
            f"the model hub has no {what} {name}{where}, or not for whoever asks", hint="check the id; set HF_TOKEN"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise WeightsUnavailable(
            f"the {what} {name} is not cached, and the model hub cannot be reached", hint=by_hand
        ) from error
    except errors.HfHubHTTPError as error:
        raise WeightsUnavailable(f"the model hub failed on {name}: {first_line(error)}", hint=by_hand) from error
    except OSError as error:
        raise WeightsUnavailable(f"cannot fetch {name}: {first_line(error)}", hint=by_hand) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        WrongModel: there is no such file: the folder holds something else.
        WeightsCorrupt: it cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise WrongModel(f"{path.parent} holds no {path.name}", hint="is it the folder of a model?") from None
    except (OSError, ValueError) as error:
        raise WeightsCorrupt(f"cannot read {path}: {first_line(error)}", hint="fetch it again") from error
    if not isinstance(content, dict):
        raise WeightsCorrupt(f"{path} is not a JSON object", hint="fetch it again")
    return content


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """How the model's pictures are made ready: ``preprocessor_config.json``, or that part of ``processor_config.json``.

    Raises:
        WrongModel, WeightsCorrupt: as :func:`read_json`.
    """
    newer = folder / "processor_config.json"
    if not (folder / "preprocessor_config.json").is_file() and newer.is_file():
        inner = read_json(newer).get("image_processor")
        if isinstance(inner, dict):
            return inner
    return read_json(folder / "preprocessor_config.json")


def parameters(folder: Path) -> int:
    """How many numbers the weights in a folder are, each file of them being seen to be whole.

    Raises:
        WrongModel: there are none of this format.
        WeightsCorrupt: a file is missing, cut short, or not what it is called.
    """
    return sum(_parameters(path) for path in _files(folder))


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = read_json(index).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise WeightsCorrupt(f"{index} names no files", hint="fetch it again")
        return [folder / name for name in sorted(set(map(str, named.values())))]
    single = folder / "model.safetensors"
    if not single.is_file():
        other = next((path.name for end in ("*.bin", "*.gguf", "*.pt*") for path in folder.glob(end)), None)
        found = f"; {other} is of a format that is not loaded" if other else ""
        raise WrongModel(f"{folder} holds no model.safetensors{found}", hint="only safetensors are loaded")
    return [single]


def _parameters(path: Path) -> int:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:  # reads the header, and sees that the file is as long as it says
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118  # no mapping
    except FileNotFoundError:
        raise WeightsCorrupt(f"{path}, which holds weights, is missing", hint="fetch the model again") from None
    except (OSError, SafetensorError) as error:
        raise WeightsCorrupt(f"{path} is damaged: {first_line(error)}", hint="delete it and fetch it again") from error


def check_room(need: int, *, free: int | None, what: str, on_gpu: bool) -> None:
    """See that weights fit.

    Args:
        need: bytes.
        free: bytes; None where that is not known, and nothing is checked.
        what: the model, in messages.

    Raises:
        OutOfDeviceMemory, ModelLoadError: they do not, on a GPU or in the machine's memory.
    """
    if free is None or need <= free * (1 - SPARE):
        return
    where = "the GPU has" if on_gpu else "this machine has"
    line = f"{what} needs {need / 1e9:.1f} GB, and {where} {free / 1e9:.1f} GB free"
    if on_gpu:
        raise OutOfDeviceMemory(line, hint="a smaller model, device = cpu, or a server with a larger GPU")
    raise ModelLoadError(line, hint="a smaller model, or a server (backend = openai)")


def free_memory() -> int | None:
    """Bytes that this process may still take, of the machine or its container, whichever is less; None: not known."""
    try:
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):  # another system than Linux
        return None
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            free = min(free, max(0, int(limit) - int((group / "memory.current").read_text(encoding="ascii"))))
    except (OSError, ValueError):
        _log.debug("no memory limit of a container can be read")
    return free


def first_line(error: BaseException) -> str:
    """The first line of what an error says; what it is called where it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
