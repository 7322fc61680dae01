"""Pictures to calibrate with and to verify on: frames of clips, or of the rendered scene, made ready for a model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.families.base import Exportable
from streamcap.errors import UsageError
from streamcap.models.graph import PatchGrid
from streamcap.models.pictures import PictureRule, prepare
from streamcap.sources import SourceOptions, open_source

__all__ = ["RENDERED", "inputs", "patchify", "pictures"]

# Where no clips are given: a minute of the rendered scene, in which people and vehicles come and go.
RENDERED = "test:?seconds=60&width=640&height=360"
_FPS = 2.0
_MOST_PER_CLIP = 300  # of the beginning; half a gigabyte of pictures at most
_MOST_SIDE = 960

Image = NDArray[np.uint8]


def pictures(clips: Sequence[str], count: int) -> list[Image]:
    """Pictures spread evenly over the clips, and over the time of each.

    Args:
        clips: sources (files, ``test:`` …); none for the rendered scene.
        count: how many are wanted.

    Raises:
        SourceError: a clip cannot be read.
        UsageError: the clips hold no picture.
    """
    clips = clips or (RENDERED,)
    found: list[Image] = []
    for place, clip in enumerate(clips):
        wanted = (count * (place + 1)) // len(clips) - (count * place) // len(clips)
        taken = asyncio.run(_read(clip)) if wanted else []
        if taken:
            picks = np.linspace(0, len(taken) - 1, wanted).round().astype(int)
            found += [taken[index] for index in dict.fromkeys(picks.tolist())]
    if not found:
        raise UsageError(f"no picture in {', '.join(clips)}")
    return found


async def _read(clip: str) -> list[Image]:
    taken: list[Image] = []
    async with open_source(clip, SourceOptions(stream="calibration", fps=_FPS, max_side=_MOST_SIDE)) as source:
        async for frame in source.frames():
            taken.append(frame.image)
            if len(taken) == _MOST_PER_CLIP:
                break
    return taken


def inputs(model: Exportable, images: Sequence[Image]) -> list[NDArray[np.float32]]:
    """Pictures as the model takes them.

    Returns:
        For a model of pictures an array (1, 3, height, width) each. For one of patches an array (patches, values) for
        every run of as many pictures as its grid spans; the last picture stands in for those that lack.
    """
    rules = model.pictures
    rule = PictureRule(
        size=(rules.size[1], rules.size[0]),
        mean=rules.mean,
        std=rules.std,
        rescale=rules.rescale,
        resize=rules.resize,
        interpolation=rules.interpolation,
    )
    ready = [prepare(image, rule) for image in images]
    if model.patches is None:
        return [each[None] for each in ready]
    grid = model.patches
    span = grid.frames * grid.temporal
    runs = [ready[at : at + span] for at in range(0, len(ready), span)]
    return [patchify(np.stack([*run, *[run[-1]] * (span - len(run))]), grid) for run in runs]


def patchify(video: NDArray[np.float32], grid: PatchGrid) -> NDArray[np.float32]:
    """Pictures as Qwen's towers take them.

    Args:
        video: (frames · temporal, 3, height, width), normalised.

    Returns:
        (patches, 3 · temporal · patch · patch); patches that are merged into one token lie together.
    """
    rows, columns = grid.rows // grid.merge, grid.columns // grid.merge
    split = video.reshape(grid.frames, grid.temporal, 3, rows, grid.merge, grid.patch, columns, grid.merge, grid.patch)
    return np.ascontiguousarray(split.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(grid.patches, grid.values))
