"""Pictures for models as they are to look, kept in ``tests/goldens``. Made anew, to be looked at before they are kept:

python -m tests.prompt_goldens
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streamcap.config import Mark
from streamcap.prompts.marks import grid, marked
from streamcap.prompts.silhouettes import Mask, extent, silhouette
from streamcap.sources.rendered_art import Painter
from streamcap.sources.rendered_script import truth
from streamcap.types import Instance, Look
from tests.prerequisites import ROOT

GOLDENS = ROOT / "tests" / "goldens"
WIDTH, HEIGHT = 320, 180
# Grey levels by which a pixel differs from the empty street: more than the noise of the rendered camera.
DIFFERS = 24


def rendered(t: float, width: int = WIDTH, height: int = HEIGHT) -> Look:
    """The rendered test scene at a moment, with the true objects as instances."""
    image = Painter(width, height, 1).paint(t, round(t * 10))
    seen = tuple(
        Instance(each.id, "handbag" if each.label == "bag" else each.label, 0.9, each.box, (0.1, 0.0), 0.0, t)
        for each in truth(t)
        if each.visible > 0.3
    )
    return Look(t, image, seen)


def cut_out(look: Look) -> dict[int, Mask]:
    """The silhouettes of a moment of the rendered scene: what differs from the empty street, in each box."""
    height, width = look.image.shape[:2]
    empty = Painter(width, height, 1).paint(0.0, 0).astype(np.int16)
    differs = (np.abs(look.image.astype(np.int16) - empty).max(axis=2) > DIFFERS).astype(np.float32)
    cut = {each.id: silhouette(differs, each.box) for each in look.instances}
    return {key: mask for key, mask in cut.items() if mask is not None}


def couple() -> Look:
    """Two drawn figures, one half before the other, with silhouettes that overlap."""
    image = rendered(0.0).image.copy()
    cut: dict[int, Mask] = {}
    some = []
    for key, (x, top, size, colour) in {1: (150, 40, 110, (90, 90, 100)), 2: (182, 70, 86, (150, 120, 90))}.items():
        body = np.zeros(image.shape[:2], np.uint8)
        cv2.circle(body, (x, top + size // 8), size // 8, 1, cv2.FILLED)
        cv2.ellipse(body, (x, top + size * 5 // 8), (size // 4, size * 3 // 8), 0, 0, 360, 1, cv2.FILLED)
        image[body > 0] = colour
        cut[key] = body > 0
        left, upper, right, lower = extent(cut[key]) or (0, 0, 0, 0)
        box = ((left - 8) / WIDTH, (upper - 4) / HEIGHT, (right + 8) / WIDTH, (lower + 4) / HEIGHT)
        some.append(Instance(key, "person", 0.9, box, (0.0, 0.0), 0.0, 1.0))
    return Look(0.0, image, tuple(some), silhouettes=cut)


def crowd(count: int = 30) -> tuple[Instance, ...]:
    """People all over a picture, some in front of others."""
    rng = np.random.default_rng(5)
    boxes = []
    for _ in range(count):
        x, y = rng.uniform(0.02, 0.85), rng.uniform(0.05, 0.5)
        w = rng.uniform(0.03, 0.12)
        boxes.append((x, y, min(1.0, x + w), min(1.0, y + 4 * w)))
    return tuple(Instance(i, "person", 0.9, box, (0.0, 0.0), 0.0, 9.0) for i, box in enumerate(boxes, 1))


def _one(*marks: Mark, t: float = 24.2, width: int = WIDTH, height: int = HEIGHT) -> Callable[[], NDArray[np.uint8]]:
    def draw() -> NDArray[np.uint8]:
        look = rendered(t, width, height)
        return marked(look.image, look.instances, marks, number=2).image

    return draw


def _cut_out(*marks: Mark) -> Callable[[], NDArray[np.uint8]]:
    def draw() -> NDArray[np.uint8]:
        look = rendered(24.2)
        return marked(look.image, look.instances, marks, number=2, silhouettes=cut_out(look)).image

    return draw


def _couple() -> NDArray[np.uint8]:
    look = couple()
    return marked(look.image, look.instances, (Mark.SET_OF_MARK,), silhouettes=look.silhouettes).image


def _grid_cut_out() -> NDArray[np.uint8]:
    looks = [rendered(t, 640, 360) for t in (6.0, 24.2)]
    return grid([replace(look, silhouettes=cut_out(look)) for look in looks], (Mark.SET_OF_MARK,), side=640).image


def _crowd() -> NDArray[np.uint8]:
    return marked(rendered(2.0).image, crowd(), (Mark.SET_OF_MARK, Mark.FRAME_NUMBER), number=10).image


def _grid() -> NDArray[np.uint8]:
    return grid([rendered(t) for t in (6.0, 10.0, 15.0, 19.0)], (Mark.SET_OF_MARK,), side=640).image


DRAWINGS: Mapping[str, Callable[[], NDArray[np.uint8]]] = {
    "som": _one(Mark.SET_OF_MARK),
    "blur": _one(Mark.BLUR),
    "heat": _one(Mark.HEAT),
    "frame-number": _one(Mark.FRAME_NUMBER),
    "all": _one(*Mark),
    "small": _one(Mark.SET_OF_MARK, Mark.FRAME_NUMBER, width=160, height=120),
    "crowd": _crowd,
    "grid": _grid,
    "som-silhouettes": _cut_out(Mark.SET_OF_MARK),
    "blur-silhouettes": _cut_out(Mark.BLUR),
    "couple": _couple,
    "grid-silhouettes": _grid_cut_out,
}


def golden(name: str) -> NDArray[np.uint8]:
    """A picture as it is to look, (height, width, 3) uint8 RGB."""
    with Image.open(GOLDENS / f"prompt-{name}.png") as image:
        return np.asarray(image.convert("RGB"), np.uint8)


def write(folder: Path) -> None:
    """Draw all pictures anew."""
    folder.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        Image.fromarray(draw()).save(folder / f"prompt-{name}.png", optimize=True)


if __name__ == "__main__":
    write(GOLDENS)
