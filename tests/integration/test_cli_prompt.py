"""``streamcap prompt`` as a user has it: real perception, the captioner's own prompts, a picture and words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.programs import Done, inside, streamcap

pytestmark = pytest.mark.weights

# The rendered street: 5 s a person enters from the left, 10 s stops.
STREET = "test:?seconds=16&width=480&height=270"


def prompt(*args: str) -> Done:
    return streamcap("prompt", *args)


def test_it_shows_the_very_pictures_and_words_of_a_window(tmp_path: Path) -> None:
    sheet = tmp_path / "seen.png"
    done = prompt(STREET, "--at", "6", "--prompt", "Tell of red clothes.", "-o", str(sheet), "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["window"]["start"] <= 6 <= said["window"]["end"] + 3
    assert said["answer"]["name"] == "window"
    words = "\n".join(part["text"] for part in said["parts"] if "text" in part)
    assert "enters from the left" in words
    assert '"Tell of red clothes."' in words
    assert "Tell of red clothes" not in said["system"]
    pictures = [part["picture"] for part in said["parts"] if "picture" in part]
    assert {(p["width"], p["height"]) for p in pictures if p["t"] > 4} == {(480, 270)}
    with Image.open(sheet) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or []}
    assert (255, 0, 0) in colours  # the picture's number
    assert (255, 215, 0) in colours  # the plate of instance 1
    assert "written to" in done.err


def test_a_grid_is_one_picture_and_words_are_for_people(tmp_path: Path) -> None:
    sheet = tmp_path / "grid.png"
    done = prompt(STREET, "--at", "6", "--mode", "grid", "--marks", "none", "-o", str(sheet))
    assert done.code == 0, done.err
    assert "── system" in done.out
    assert "in one grid" in done.out
    assert sheet.stat().st_size > 1000


def test_a_moment_after_the_end_is_told() -> None:
    done = prompt("test:?seconds=2&width=320&height=180", "--at", "900")
    assert done.code == 2
    assert "ends at 1.8 s" in done.complaint


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ((STREET, "--at", "6", "--marks", "som,glitter"), 2, ["glitter", "frame-number"]),
        ((STREET, "--at", "6", "-o", "seen.jpg"), 2, ["seen.jpg", ".png"]),
        ((STREET, "--at", "6", "-o", "/no/such/folder/seen.png"), 2, ["cannot write"]),
        ((STREET, "--at", "6", "--prompt", "x" * 100_000), 2, ["--prompt", "4000"]),
        (("none.mp4", "--at", "6"), 3, ["no such file"]),
        ((STREET,), 2, ["--at"]),
    ],
)
def test_what_cannot_be_is_told_in_a_line(args: tuple[str, ...], code: int, words: list[str]) -> None:
    done = inside("prompt", *args)
    assert done.code == code, done.err
    assert [word for word in words if word not in " ".join(done.err.split())] == []
    assert "Traceback" not in done.err


def test_a_small_model_is_asked_in_few_words() -> None:
    done = prompt(STREET, "--at", "6", "--answers", "text", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["answer"] is None
    assert len(said["system"]) < 700
    assert said["parts"][-1]["text"].endswith("In one sentence: what changed?")


def test_without_the_weights_of_outlines_marks_are_boxes_and_that_is_said(
    tmp_path: Path, weights: Callable[[str], Path]
) -> None:
    cache = tmp_path / "models"
    cache.mkdir()
    for name in ("efficientdet-lite0", "clip-vit-b16-int8", "movenet-lightning"):
        for file in weights(name).parent.glob(f"{weights(name).name}*"):
            shutil.copy2(file, cache)
    away = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9")
    away |= {"STREAMCAP_CACHE": str(tmp_path), "NO_PROXY": "", "no_proxy": ""}
    sheet = tmp_path / "boxes.png"
    done = streamcap("prompt", STREET, "--at", "6", "-o", str(sheet), env=away)
    assert done.code == 0, done.err
    said = "marks are boxes, not outlines: no source of pose-landmarker-full can be reached"
    assert " ".join(done.err.split()).count(said) == 1
    assert sheet.stat().st_size > 1000


def test_boxes_alone_need_no_weights_of_outlines(tmp_path: Path) -> None:
    done = prompt(STREET, "--at", "6", "--outlines", "box", "-o", str(tmp_path / "boxes.png"))
    assert done.code == 0, done.err
    assert "marks are boxes" not in done.err
