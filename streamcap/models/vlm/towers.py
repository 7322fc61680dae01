"""What a vision tower is to the runner, so that an exported one may stand in the place of the model's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sight", "VisionTower"]


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A picture made ready for a model.

    Attributes:
        pixels: (tiles, 3, side, side) or (patches, values) float32, as the family's tower takes them.
        grid: rows and columns of patches; None for a family that cuts tiles.
        tokens: of the prompt that the picture takes.
        text: what stands for it in the prompt, with a placeholder for each of these tokens.
        count: frames that it stands for.
        alike: others of the same form, that it is blended with.
    """

    pixels: NDArray[np.float32]
    grid: tuple[int, int] | None
    tokens: int
    text: str
    count: int = 1
    alike: tuple[Sight, ...] = ()


class VisionTower(Protocol):
    """Turns a picture made ready into visual tokens, connector included."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of patches that it takes, where it takes no others."""
        ...

    def features(self, sight: Sight) -> tuple[NDArray[np.float32], ...]:
        """Visual tokens, of shape (sight.tokens, width of the language model); then, where the family has them, those
        that are added after its first layers, of the same shape.

        Raises:
            ModelError: the tower failed.
        """
        ...

    def close(self) -> None:
        """Let go of its memory. Idempotent."""
        ...
