"""How a picture becomes a network's input, and how boxes of that input come back to the picture. For the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamcap.errors import ModelError
from streamcap.models.base import Image

__all__ = ["Interpolation", "PictureRule", "Resize", "Triple", "letterboxed", "middle", "prepare", "to_picture"]

Resize = Literal["squash", "crop", "letterbox"]
Interpolation = Literal["area", "bilinear", "bicubic", "lanczos"]
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PictureRule:
    """How a picture is made ready.

    Attributes:
        size: (width, height) of the network's input in pixels.
        mean, std: of the three channels, after rescaling.
        rescale: what a pixel of 0..255 is multiplied by.
        resize: ``squash`` changes the aspect, ``crop`` takes the middle, ``letterbox`` puts the whole on black at the
            top left.
        interpolation: for a picture that grows; one that shrinks is always averaged by area.
    """

    size: tuple[int, int]
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    rescale: float = 1 / 255
    resize: Resize = "squash"
    interpolation: Interpolation = "bicubic"


def prepare(image: Image, rule: PictureRule) -> NDArray[np.float32]:
    """Resize and normalise.

    Args:
        image: (height, width, 3) uint8 RGB of any size.

    Returns:
        (3, height, width) float32 of the rule's size, contiguous.

    Raises:
        ModelError: it is no such picture.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ModelError(f"a picture must be (height, width, 3) uint8, not {image.shape} {image.dtype}")
    fitted = _fitted(image, rule)
    # In this order, as in training: a network whose scales are found as it runs turns a last bit into a hundredth.
    unit = fitted.astype(np.float32) / np.float32(1 / rule.rescale)
    scaled = (unit - np.asarray(rule.mean, np.float32)) / np.asarray(rule.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def to_picture(boxes: NDArray[np.float32], shape: tuple[int, int], rule: PictureRule) -> NDArray[np.float32]:
    """Boxes in 0..1 of the network's input as boxes in 0..1 of the picture, clipped to it.

    Args:
        boxes: (n, 4) ``x0, y0, x1, y1``.
        shape: (height, width) of the picture.
    """
    height, width = shape
    scale, offset = (1.0, 1.0), (0.0, 0.0)
    if rule.resize == "letterbox":
        inner = letterboxed(width, height, rule.size)
        scale = rule.size[0] / inner[0], rule.size[1] / inner[1]
    elif rule.resize == "crop":
        left, top, across, down = middle(width, height, rule.size)
        scale, offset = (across / width, down / height), (left / width, top / height)
    moved = boxes * np.asarray([*scale, *scale], np.float32) + np.asarray([*offset, *offset], np.float32)
    return np.asarray(np.clip(moved, 0, 1), np.float32)


def _fitted(image: Image, rule: PictureRule) -> Image:
    import cv2  # late: a plan or a sidecar is read without it

    height, width = image.shape[:2]
    if rule.resize == "crop":
        left, top, across, down = middle(width, height, rule.size)
        image = image[top : top + down, left : left + across]
    size = letterboxed(width, height, rule.size) if rule.resize == "letterbox" else rule.size
    grow = {
        "area": cv2.INTER_AREA,
        "bilinear": cv2.INTER_LINEAR,
        "bicubic": cv2.INTER_CUBIC,
        "lanczos": cv2.INTER_LANCZOS4,
    }[rule.interpolation]
    # Averaging by area is the one way down that skips no pixels; OpenCV's others read four to sixteen of them.
    shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else grow), np.uint8)
    if size == rule.size:
        return small
    whole = np.zeros((rule.size[1], rule.size[0], 3), np.uint8)
    whole[: size[1], : size[0]] = small
    return whole


def middle(width: int, height: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the largest part of the network's aspect in the middle of the picture."""
    scale = min(width / size[0], height / size[1])
    across, down = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return (width - across) // 2, (height - down) // 2, across, down


def letterboxed(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the whole picture, with its aspect kept, where it just fits into the network's size."""
    scale = min(size[0] / width, size[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
