"""What can be wrong with a model that is to be loaded, and what is said of it."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from streamcap.config import VisionBackend, VisionSettings
from streamcap.errors import ModelError, ModelLoadError, WeightsCorrupt, WeightsUnavailable, WrongModel
from tests import vlm_models

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vlm_models.make("smolvlm", tmp_path_factory.mktemp("smolvlm"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def load(model: Path | str, **settings: Any) -> Any:
    from streamcap.models.vlm.loading import load_runner

    stated = {"device": "cpu"} | settings
    return load_runner(VisionSettings(backend=VisionBackend.TRANSFORMERS, model=str(model), **stated))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cut(path: Path, to: int) -> None:
    path.write_bytes(path.read_bytes()[:to])


Damage = Callable[[Path], object]
WEIGHTS = "model.safetensors"


def drop_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    del tensors["model.connector.modality_projection.proj.weight"]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def write_index(folder: Path) -> None:
    index = {"weight_map": {"a": WEIGHTS, "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (lambda f: (f / "config.json").unlink(), WrongModel, "holds no config.json"),
        (lambda f: cut(f / "config.json", 30), WeightsCorrupt, "cannot read"),
        (lambda f: (f / "config.json").write_text("[]"), WeightsCorrupt, "not a JSON object"),
        (lambda f: edit(f / "config.json", model_type="llava"), WrongModel, "of architecture llava"),
        (lambda f: (f / "preprocessor_config.json").unlink(), WrongModel, "holds no preprocessor_config.json"),
        (lambda f: edit(f / "preprocessor_config.json", size={}), WrongModel, "not that of a SmolVLM"),
        (lambda f: cut(f / WEIGHTS, 5), WeightsCorrupt, "is damaged"),
        (lambda f: cut(f / WEIGHTS, 200), WeightsCorrupt, "is damaged"),
        (lambda f: cut(f / WEIGHTS, (f / WEIGHTS).stat().st_size - 8), WeightsCorrupt, "is damaged"),
        (lambda f: (f / WEIGHTS).write_bytes(b"not it"), WeightsCorrupt, "is damaged"),
        (lambda f: (f / WEIGHTS).rename(f / "pytorch_model.bin"), WrongModel, "pytorch_model.bin is of a format"),
        (write_index, WeightsCorrupt, "00002-of-00002.safetensors, which holds weights, is missing"),
        (drop_a_tensor, WeightsCorrupt, "lacks 1 of the model's tensors, model.connector"),
        (lambda f: (f / "tokenizer.json").write_text("{"), ModelLoadError, "cannot read the tokenizer"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(folder: Path, damage: Damage, error: type[ModelError], says: str) -> None:
    damage(folder)
    with pytest.raises(error, match=says) as caught:
        load(folder)
    assert caught.value.hint or error is WrongModel


def test_an_architecture_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    edit(folder / "config.json", model_type="llava")
    with pytest.raises(WrongModel) as caught:
        load(folder)
    assert "smolvlm, qwen2_5_vl, qwen3_vl" in caught.value.hint


@pytest.mark.parametrize("model", ["/no/such/folder", "./nor/this", "justaname", "a/b/c"])
def test_a_model_that_is_not_there_is_told(model: str) -> None:
    with pytest.raises(WeightsUnavailable) as caught:
        load(model)
    assert caught.value.hint


def test_code_that_comes_with_a_model_is_not_run(folder: Path, tmp_path: Path) -> None:
    """Neither of the model's class nor of its tokenizer's."""
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: pass\n")
    edit(folder / "config.json", auto_map={"AutoModelForImageTextToText": "evil.Evil", "AutoConfig": "evil.Evil"})
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})
    load(folder)
    assert not ran.exists()


def test_memory_is_looked_at_before_anything_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamcap.models.vlm import weights

    monkeypatch.setattr(weights, "free_memory", lambda: 400_000_000)
    with pytest.raises(ModelLoadError, match=r"needs 0\.5 GB, and this machine has 0\.4 GB free") as caught:
        load(folder)
    assert "smaller model" in caught.value.hint


def test_free_memory_is_that_of_this_machine() -> None:
    from streamcap.models.vlm.weights import free_memory

    free = free_memory()
    assert free is not None
    assert 10_000_000 < free < 100_000_000_000_000


def test_a_gpu_that_is_not_there_is_told(folder: Path) -> None:
    import torch

    device = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ModelLoadError, match=device):
        load(folder, device=device)


class Hub(BaseHTTPRequestHandler):
    """Answers as the model hub does to who asks for what it does not give."""

    answers: ClassVar[dict[str, tuple[int, str]]] = {
        "gated": (403, "GatedRepo"),
        "nothing": (404, "RepoNotFound"),
        "broken": (400, ""),
    }

    def do_GET(self) -> None:
        status, code = self.answers[self.path.split("/")[4]]
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The hub's own client, with a cache of its own, speaks to a server of ours."""
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("model", "says", "hint"),
    [
        ("owner/gated", "only to who has accepted its licence", "HF_TOKEN"),
        ("owner/nothing", "has no model owner/nothing", "check the id"),
        ("owner/nothing@v3", "at revision v3", "check the id"),
        ("owner/broken", "cannot be reached", "--model PATH"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_give_is_told(model: str, says: str, hint: str) -> None:
    with pytest.raises(WeightsUnavailable, match=says) as caught:
        load(model)
    assert hint in caught.value.hint


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("offline", [True, False])
def test_no_hub_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(WeightsUnavailable, match="not cached, and the model hub cannot be reached") as caught:
        load("owner/model")
    assert "--model PATH" in caught.value.hint
    assert "HF_HUB_OFFLINE" in caught.value.hint
