"""Pictures for models as they are to look, kept in ``tests/goldens``. Made anew, to be looked at before they are kept:

python -m tests.prompt_goldens
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streamcap.config import Mark
from streamcap.prompts.marks import grid, marked
from streamcap.sources.rendered_art import Painter
from streamcap.sources.rendered_script import truth
from streamcap.types import Instance, Look
from tests.prerequisites import ROOT

GOLDENS = ROOT / "tests" / "goldens"
WIDTH, HEIGHT = 320, 180


def rendered(t: float, width: int = WIDTH, height: int = HEIGHT) -> Look:
    """The rendered test scene at a moment, with the true objects as instances."""
    image = Painter(width, height, 1).paint(t, round(t * 10))
    seen = tuple(
        Instance(each.id, "handbag" if each.label == "bag" else each.label, 0.9, each.box, (0.1, 0.0), 0.0, t)
        for each in truth(t)
        if each.visible > 0.3
    )
    return Look(t, image, seen)


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
