"""A picture made ready for a vision tower, to the pixel as transformers' own PIL processors do it.

Written anew because those of ``AutoProcessor`` need torchvision, and because here a picture's share of the prompt is
bounded. Sizes and orders follow ``Idefics3``/``SmolVLM`` (arXiv:2408.12637, arXiv:2504.05299) and ``Qwen2-VL``
(arXiv:2409.12191); tests hold them to transformers' processors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streamcap.errors import PromptRefused, WrongModel

__all__ = ["Levels", "PatchRule", "Patches", "TileRule", "Tiles", "resized"]

# Idefics3 never looks at more pixels a side.
LONGEST_SIDE = 4096
# Qwen2-VL refuses pictures that are narrower: there would be hardly a patch across.
NARROWEST = 200


def resized(image: NDArray[np.uint8], height: int, width: int, resample: int) -> NDArray[np.uint8]:
    """A picture of another size, by Pillow: what the models were trained with.

    Args:
        image: (height, width, 3) RGB.
        resample: Pillow's number of the filter, 1 for Lanczos, 3 for bicubic.
    """
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), resample=Image.Resampling(resample)))


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """What each level of 0..255 of each channel becomes: (3, 256) float32.

    A table gives what the arithmetic on each pixel gives, to the bit, at a tenth of the cost.
    """

    table: NDArray[np.float32]

    @classmethod
    def of(cls, mean: Any, std: Any, rescale: float) -> Levels:
        """``(level · rescale − mean) / std``, rounded where transformers rounds."""
        levels = (np.arange(256, dtype=np.float64) * rescale).astype(np.float32)
        means, stds = np.asarray(mean, dtype=np.float32), np.asarray(std, dtype=np.float32)
        if means.shape != (3,) or stds.shape != (3,):
            raise WrongModel("the model's pictures do not have three channels")
        return cls((levels[None] - means[:, None]) / stds[:, None])

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(height, width, 3) uint8 → (3, height, width) float32."""
        return np.stack([self.table[channel][image[..., channel]] for channel in range(3)])


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """A picture as square tiles, row by row, the whole picture as the last.

    Attributes:
        pixels: (tiles, 3, side, side) float32.
        rows, columns: 0 where the picture is one tile alone.
    """

    pixels: NDArray[np.float32]
    rows: int
    columns: int


@dataclass(frozen=True, slots=True, eq=False)
class TileRule:
    """How Idefics3 and SmolVLM cut a picture.

    Attributes:
        side: of a tile, in pixels.
        longest: the longer side of a picture before it is cut.
        split: cut at all; else the picture is one tile.
        resample: Pillow's number of the filter.
    """

    side: int
    longest: int
    split: bool
    resample: int
    levels: Levels

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> TileRule:
        """From a ``preprocessor_config.json``.

        Raises:
            WrongModel: it does not say what is needed.
        """
        try:
            return cls(
                side=int(settings["max_image_size"]["longest_edge"]),
                longest=int(settings["size"]["longest_edge"]),
                split=bool(settings.get("do_image_splitting", True)),
                resample=int(settings.get("resample", Image.Resampling.LANCZOS)),
                levels=_levels(settings, (0.5,) * 3, (0.5,) * 3),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise WrongModel(f"preprocessor_config.json is not that of a SmolVLM: {error!r}") from error

    def at_most(self, tiles: int) -> TileRule:
        """The same rule with pictures so small that none becomes more than that many tiles, the whole one counted."""
        side = max(1, math.isqrt(max(0, tiles - 1)))  # the whole picture is a tile beside the side · side others
        return replace(self, longest=min(self.longest, side * self.side))

    def cut(self, image: NDArray[np.uint8]) -> Tiles:
        """Make a picture ready.

        Args:
            image: (height, width, 3) uint8 RGB, any size.
        """
        side = self.side
        image = resized(image, *self._longest_edge(*image.shape[:2]), self.resample)
        if not self.split:
            return Tiles(self._stack([resized(image, side, side, self.resample)]), 0, 0)
        image = resized(image, *self._multiple(*image.shape[:2]), self.resample)
        height, width = image.shape[:2]
        if height <= side and width <= side:
            return Tiles(self._stack([image]), 0, 0)
        corners = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
        tiles = [image[y : y + side, x : x + side] for y, x in corners]
        tiles.append(resized(image, side, side, self.resample))
        return Tiles(self._stack(tiles), height // side, width // side)

    def _stack(self, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.stack([self.levels.apply(tile) for tile in tiles])

    def _longest_edge(self, height: int, width: int) -> tuple[int, int]:
        aspect = width / height
        if width >= height:
            width, height = self.longest, _even(int(self.longest / aspect))
        else:
            height, width = self.longest, _even(int(self.longest * aspect))
        height, width = max(height, 1), max(width, 1)
        if max(height, width) > LONGEST_SIDE:
            aspect = width / height
            if width >= height:
                width, height = LONGEST_SIDE, int(LONGEST_SIDE / aspect)
            else:
                height, width = LONGEST_SIDE, int(LONGEST_SIDE * aspect)
        return max(height, 1), max(width, 1)

    def _multiple(self, height: int, width: int) -> tuple[int, int]:
        aspect = width / height
        if width >= height:
            width = math.ceil(width / self.side) * self.side
            height = math.ceil(int(width / aspect) / self.side) * self.side
        else:
            height = math.ceil(height / self.side) * self.side
            width = math.ceil(int(height * aspect) / self.side) * self.side
        return max(height, self.side), max(width, self.side)


def _even(length: int) -> int:
    return length + length % 2


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """A picture as a row of patches, in the order in which the tower merges them.

    Attributes:
        pixels: (rows · columns, 3 · temporal · patch · patch) float32.
        rows, columns: of patches.
    """

    pixels: NDArray[np.float32]
    rows: int
    columns: int


@dataclass(frozen=True, slots=True, eq=False)
class PatchRule:
    """How Qwen2-VL and its successors cut a picture.

    Attributes:
        patch: side of a patch, in pixels.
        merge: patches a side that become one token.
        temporal: how often a still picture stands in a patch, for the tower that expects that many frames.
        fewest, most: pixels of a picture.
        resample: Pillow's number of the filter.
    """

    patch: int
    merge: int
    temporal: int
    fewest: int
    most: int
    resample: int
    levels: Levels

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> PatchRule:
        """From a ``preprocessor_config.json``, of the older form (``min_pixels``) or the newer (``size``).

        Raises:
            WrongModel: it does not say what is needed.
        """
        size = settings.get("size") or {}
        try:
            return cls(
                patch=int(settings["patch_size"]),
                merge=int(settings["merge_size"]),
                temporal=int(settings["temporal_patch_size"]),
                fewest=int(settings.get("min_pixels") or size["shortest_edge"]),
                most=int(settings.get("max_pixels") or size["longest_edge"]),
                resample=int(settings.get("resample", Image.Resampling.BICUBIC)),
                levels=_levels(settings, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise WrongModel(f"preprocessor_config.json is not that of a Qwen-VL: {error!r}") from error

    @property
    def token_pixels(self) -> int:
        """Pixels that become one token."""
        return (self.patch * self.merge) ** 2

    def at_most(self, tokens: int) -> PatchRule:
        """The same rule with pictures so small that none becomes more than that many tokens."""
        most = min(self.most, tokens * self.token_pixels)
        return replace(self, fewest=min(self.fewest, most), most=most)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels that a picture gets: whole tokens, near its aspect, within the bounds.

        Raises:
            PromptRefused: a picture that is narrower than any camera's.
        """
        if max(height, width) > NARROWEST * min(height, width):
            raise PromptRefused(f"a picture of {width} x {height} pixels is too narrow for the model")
        unit = self.patch * self.merge
        high, wide = round(height / unit) * unit, round(width / unit) * unit
        if high * wide > self.most:
            shrink = math.sqrt(height * width / self.most)
            high = max(unit, math.floor(height / shrink / unit) * unit)
            wide = max(unit, math.floor(width / shrink / unit) * unit)
        elif high * wide < self.fewest:
            grow = math.sqrt(self.fewest / (height * width))
            high = math.ceil(height * grow / unit) * unit
            wide = math.ceil(width * grow / unit) * unit
        return high, wide

    def cut(self, image: NDArray[np.uint8], *, grid: tuple[int, int] | None = None) -> Patches:
        """Make a picture ready.

        Args:
            image: (height, width, 3) uint8 RGB, any size.
            grid: rows and columns of patches that it is squashed to; None for what suits its size.

        Raises:
            PromptRefused: as :meth:`size`.
        """
        if grid is None:
            height, width = self.size(*image.shape[:2])
        else:
            height, width = grid[0] * self.patch, grid[1] * self.patch
        pixels = self.levels.apply(resized(image, height, width, self.resample))
        rows, columns, unit, patch = height // self.patch, width // self.patch, self.merge, self.patch
        blocks = pixels.reshape(3, rows // unit, unit, patch, columns // unit, unit, patch)
        blocks = blocks.transpose(1, 4, 2, 5, 0, 3, 6)[:, :, :, :, :, None]  # by token, then within it row by row
        blocks = np.broadcast_to(blocks, (*blocks.shape[:5], self.temporal, patch, patch))
        return Patches(blocks.reshape(rows * columns, -1), rows, columns)


def _levels(settings: Mapping[str, Any], mean: Any, std: Any) -> Levels:
    rescale = float(settings.get("rescale_factor", 1 / 255))
    return Levels.of(settings.get("image_mean", mean), settings.get("image_std", std), rescale)
