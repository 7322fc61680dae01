"""Where ``engines`` gets weights from: folders as transformers writes them, the hub, and what may be wrong there."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamcap.config import VisionBackend, VisionSettings
from streamcap.errors import ModelError, ModelLoadError, UsageError, WeightsCorrupt, WeightsUnavailable, WrongModel
from streamcap.models.graph import Precision, read_graph
from tests.prerequisites import missing

if not missing("engines"):
    import torch

    from engines.checkpoint import Checkpoint, obtain
    from engines.files import SCRATCH, WORKING, disk
    from engines.manifest import ModelEntry, load_manifest
    from engines.verify import reference_outputs
    from engines.work import Work, begin, same_weights
    from tests import vlm_models
    from tests.engine_graphs import tiny_work

pytestmark = pytest.mark.requires("engines", "torch")

# The families of the captioner, and the models of the manifest that are their towers.
TOWERS = {
    "smolvlm": "smolvlm2-500m-vision",
    "qwen2_5_vl": "qwen2.5-vl-3b-vision",
    "qwen3_vl": "qwen3-vl-2b-vision",
}
GRID = (1, 4, 6)


def entry(name: str) -> ModelEntry:
    return load_manifest().model(name)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole CLIP, text tower included, as it lies on the hub."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    vision = {key: value for key, value in entry("clip-vit-b16").shrunk().config.items() if key != "projection_dim"}
    text = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 50,
    }
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)
    processor = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 1.0, 1.0], "resample": 2, "rescale_factor": 0.5}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_a_folder_gives_its_own_weights_size_and_picture_rules(clip: Path, tmp_path: Path) -> None:
    from transformers import CLIPModel

    weights, model = begin(entry("clip-vit-b16"), source=str(clip))
    assert (weights.source, weights.revision, weights.seed) == (str(clip), "local", None)
    assert model.input_shape == ("batch", 3, 32, 32)
    assert model.pictures.mean == (0.1, 0.2, 0.3)
    assert (model.pictures.interpolation, model.pictures.rescale) == ("bilinear", 0.5)
    fed = model.sample(2)
    with torch.inference_mode():
        wanted = CLIPModel.from_pretrained(clip).get_image_features(fed).pooler_output.numpy()
    assert np.allclose(reference_outputs(model, [fed.numpy()])[0][0], wanted, atol=1e-6)
    work = Work(entry("clip-vit-b16"), weights, model, tmp_path, clips=("test:?seconds=4&width=64&height=64",))
    info = read_graph(work.export(Precision.FP32))
    assert work.verify(Precision.FP32).passed
    assert same_weights(work.entry, info) == weights


@pytest.mark.parametrize("family", TOWERS)
def test_an_exported_tower_gives_what_the_captioners_own_gives(family: str, tmp_path: Path) -> None:
    from streamcap.models.vlm.exported import open_tower
    from streamcap.models.vlm.loading import load_runner

    folder = vlm_models.make(family, tmp_path / "model")
    one = entry(TOWERS[family])
    one = one if one.grid is None else one.model_copy(update={"grid": GRID})
    weights, model = begin(one, source=str(folder))
    work = Work(one, weights, model, tmp_path / "tower", clips=("test:?seconds=4&width=64&height=64",))
    work.export(Precision.FP32)
    assert work.verify(Precision.FP32).passed
    stated = VisionSettings(backend=VisionBackend.TRANSFORMERS, model=str(folder), device="cpu")
    own = load_runner(stated)
    sight = own._family.see(vlm_models.picture(90, 160), grid=None if one.grid is None else GRID[1:])
    with torch.inference_mode():
        made = own._family.encode(sight)
    tower = open_tower(work.folder, gpu=False, threads=1)
    found = tower.features(sight)
    assert len(found) == 1 + len(made.deep)
    for ours, theirs in zip(found, (made.tokens, *made.deep), strict=True):
        assert np.allclose(ours, theirs.numpy(), atol=2e-4 * float(theirs.abs().max()))
    tower.close()
    # The whole captioner with that tower in place of its own, which is let go.
    running = load_runner(stated.model_copy(update={"tower": work.folder}))
    assert running.reader._tower is not None
    running.close()


def test_a_model_of_another_architecture(clip: Path) -> None:
    with pytest.raises(WrongModel, match="of type clip; dinov2 is needed"):
        begin(entry("dinov2-s14"), source=str(clip))
    with pytest.raises(WrongModel, match="of type clip; smolvlm or idefics3 is needed"):
        begin(entry("smolvlm2-500m-vision"), source=str(clip))


def copied(source: Path, folder: Path, change: Callable[[Path], None]) -> Path:
    folder.mkdir()
    for each in source.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    change(folder)
    return folder


def without_a_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({key: value for key, value in tensors.items() if "vision_model.encoder.layers.1.mlp" not in key}, file)


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


CHANGES: list[tuple[Callable[[Path], Any], type[ModelError], str]] = [
    (without_a_layer, WrongModel, r"lacks 4 weights of CLIPVisionModelWithProjection, such as .*layers\.1\.mlp"),
    (cut_short, ModelLoadError, "cannot load"),
    (lambda folder: (folder / "config.json").unlink(), WeightsUnavailable, "no config.json"),
    (lambda folder: (folder / "model.safetensors").unlink(), WeightsUnavailable, "no weights"),
    (lambda folder: (folder / "config.json").write_text("{"), WrongModel, "cannot read"),
    (lambda folder: (folder / "config.json").write_text("{}"), WrongModel, "names no model_type"),
]


@pytest.mark.parametrize(("change", "error", "complaint"), CHANGES)
def test_a_damaged_folder(
    clip: Path, tmp_path: Path, change: Callable[[Path], Any], error: type[ModelError], complaint: str
) -> None:
    folder = copied(clip, tmp_path / "damaged", change)
    with pytest.raises(error, match=complaint):
        begin(entry("clip-vit-b16"), source=str(folder))


def test_a_tower_that_lacks_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = vlm_models.make("qwen3_vl", tmp_path)
    file = next(folder.glob("*.safetensors"))
    save_file({key: value for key, value in load_file(file).items() if "visual.merger" not in key}, file)
    one = entry("qwen3-vl-2b-vision").model_copy(update={"grid": GRID})
    with pytest.raises(WrongModel, match=r"weights of visual .* do not fit.*merger"):
        begin(one, source=str(folder))


def test_a_grid_that_cannot_be_merged(tmp_path: Path) -> None:
    one = entry("qwen3-vl-2b-vision").shrunk().model_copy(update={"grid": (1, 3, 4)})
    with pytest.raises(UsageError, match="cannot be merged"):
        begin(one, Checkpoint(None, "random", "random", 0))


def test_a_source_that_is_neither_folder_nor_hub_id() -> None:
    with pytest.raises(UsageError, match="neither a folder nor a hub id"):
        obtain(entry("clip-vit-b16"), source="./no/such/folder")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[int, str], None]]:
    """A hub that answers every question with one status and error code."""
    answer: tuple[int, str] = 404, "RepoNotFound"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer[0])
            self.send_header("X-Error-Code", answer[1])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None: ...

    def answers(status: int, code: str) -> None:
        nonlocal answer
        answer = status, code

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        yield answers
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "complaint", "hint"),
    [
        (404, "RepoNotFound", "the hub has no model google/", "hf auth login"),
        (404, "RevisionNotFound", "has no revision 75de2d5", ""),
        (403, "GatedRepo", "is gated", "accept it at https://huggingface.co/google/"),
        (418, "", "cannot be reached", "--random"),
    ],
)
def test_what_the_hub_says(
    hub: Callable[[int, str], None], tmp_path: Path, status: int, code: str, complaint: str, hint: str
) -> None:
    hub(status, code)
    with pytest.raises(WeightsUnavailable, match=complaint) as caught:
        obtain(entry("siglip2-b16"))
    assert hint in caught.value.hint


def test_weights_that_are_not_those_of_the_manifest(
    hub: Callable[[int, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = entry("dinov2-s14")
    folder = tmp_path / "models--facebook--dinov2-small" / "snapshots" / one.revision
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "dinov2"}')
    (folder / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsCorrupt, match="not those that the manifest names"):
        obtain(one)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_full() -> None:
    with pytest.raises(ModelError, match="no room on the disk of /dev") as caught, disk(Path("/dev")):
        Path("/dev/full").write_bytes(b"a graph")
    assert "--output" in caught.value.hint


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("folder", "hint"), [(f"/somewhere/{WORKING}1", "--output"), (f"/somewhere/{SCRATCH}1", "TMPDIR=")]
)
def test_a_disk_that_is_full_is_named_and_not_a_folder_that_is_gone(folder: str, hint: str) -> None:
    with pytest.raises(ModelError, match=r"no room on the disk of /somewhere$") as caught, disk(Path(folder)):
        Path("/dev/full").write_bytes(b"a graph")
    assert hint in caught.value.hint


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    work = tiny_work("clip-vit-b16", tmp_path)
    work.folder.write_text("a file where a folder is needed")
    with pytest.raises(ModelError, match="cannot write to"):
        work.export(Precision.FP32)
