"""The picture of the README: frames of a clip with what streamcap sees and says.

python benchmarks/picture.py CLIP 5.8 16.6 20.0 --output docs/images/captions.png --credit "…"
"""

from __future__ import annotations

import asyncio
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import numpy as np
import typer
from numpy.typing import NDArray

from streamcap.captioners.grounded import GroundedCaptioner
from streamcap.captions import PACES, CaptionBook, WindowBuilder
from streamcap.config import Profile
from streamcap.metrics import Stages
from streamcap.models.pool import load_default
from streamcap.perception import Perception
from streamcap.sources import SourceOptions, open_source
from streamcap.types import Caption, Frame, Instance

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

GREEN = "#35e07a"
COLUMN = 4.4  # inches
TEXT_ROOM = 1.0  # inches below the pictures


@dataclass
class Shot:
    """One column of the picture."""

    t: float
    image: NDArray[np.uint8]
    instances: tuple[Instance, ...]


def main(
    clip: Path,
    moments: Annotated[list[float], typer.Argument(help="Media seconds to show, in order.")],
    output: Annotated[Path, typer.Option(help="PNG to write.")] = Path("docs/images/captions.png"),
    credit: Annotated[str, typer.Option(help="Whose clip it is.")] = "",
) -> None:
    """Draw frames at the given moments with instance boxes, and the captions said until then below."""
    shots, captions = asyncio.run(_watch(clip, moments))
    height, width = shots[0].image.shape[:2]
    figure, axes = plt.subplots(
        2, len(shots), figsize=(COLUMN * len(shots), COLUMN * height / width + TEXT_ROOM), squeeze=False,
        height_ratios=(COLUMN * height / width, TEXT_ROOM), layout="constrained",
    )  # fmt: skip
    for at, shot in enumerate(shots):
        previous = shots[at - 1].t if at else -1.0
        _draw(axes[0, at], shot)
        _write(axes[1, at], [c for c in captions if previous < c.end <= shot.t + 0.05])
    figure.text(0.995, 0.01, credit, ha="right", fontsize=7, color="0.4")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=110)
    print(f"wrote {output}")


async def _watch(clip: Path, moments: list[float]) -> tuple[list[Shot], list[Caption]]:
    shots: list[Shot] = []
    captions: list[Caption] = []
    book, grounded = CaptionBook(), GroundedCaptioner()
    builder = WindowBuilder("picture", pace=PACES[Profile.SURVEILLANCE])
    with load_default() as models:
        perception = Perception(models.detector, models.workers, Stages(), models.pose)
        async with open_source(str(clip), SourceOptions(stream="picture")) as source:
            async for frame in source.frames():
                seen = perception.observe(frame)
                for step in builder.add(seen):
                    caption = book.revise(
                        step.window, grounded.whole(step.window), source="grounded", final=step.closed
                    )
                    if step.closed and caption is not None:
                        captions.append(caption)
                if len(shots) < len(moments) and frame.pts >= moments[len(shots)]:
                    shots.append(_shot(frame, seen.instances))
    return shots, captions


def _shot(frame: Frame, instances: tuple[Instance, ...]) -> Shot:
    return Shot(frame.pts, frame.image, tuple(i for i in instances if i.visible))


def _draw(axis: Axes, shot: Shot) -> None:
    height, width = shot.image.shape[:2]
    axis.imshow(shot.image)
    axis.set_axis_off()
    for instance in shot.instances:
        x0, y0, x1, y1 = (a * b for a, b in zip(instance.box, (width, height, width, height), strict=True))
        axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=GREEN, lw=2))
        name = f" {instance.label} {instance.id} "
        axis.text(x0, max(y0, 0.09 * height), name, fontsize=8, color="black", backgroundcolor=GREEN, va="bottom")


def _write(axis: Axes, said: list[Caption]) -> None:
    axis.set_axis_off()
    lines = []
    for caption in said:
        head = f"{caption.end:4.1f} s  {'=' if caption.kind == 'full' else '+'}  "
        lines += textwrap.wrap(head + caption.text, 50, subsequent_indent=" " * len(head))
    axis.text(0, 1, "\n".join(lines), fontsize=8, family="monospace", va="top", transform=axis.transAxes)


if __name__ == "__main__":
    typer.run(main)
