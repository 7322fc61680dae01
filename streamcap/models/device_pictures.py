"""Decoded pictures made ready for a network where they lie: NV12 to RGB, resized and normalised, by torch.

What NVDEC decodes is NV12 in the GPU's memory: a plane of brightness, and one of colour with half the rows and columns.
Averaging by area is a matrix product with a row for each pixel of the result, and the way from YUV to normalised RGB is
an affine map, so that all is three small products a plane: nothing but the network's input is written. The result is
what ``pictures.prepare`` makes of the same picture in the processor's memory, but for one or two grey levels:
libswscale cuts off where it should round.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from streamcap.errors import ModelError
from streamcap.models.pictures import PictureRule, letterboxed, middle

__all__ = ["DevicePictures", "area_weights", "yuv_to_rgb"]

# libav's AVColorSpace and AVColorRange, as ITU-T H.273 numbers them.
_BT709, _FULL_RANGE = 1, 2
# Shares of red and blue in the brightness (ITU-R BT.601, BT.709).
_SHARES = {False: (0.299, 0.114), True: (0.2126, 0.0722)}


def area_weights(source: int, target: int, start: float, length: float) -> NDArray[np.float32]:
    """How much of each source pixel is in each target pixel: (target, source) float32, rows sum to 1.

    Args:
        source, target: pixels.
        start, length: the part of the source that is wanted, in its pixels.

    A target pixel that covers a source pixel or more averages what it covers; a smaller one lies between the two
    nearest (bilinear).
    """
    step = length / target
    edges = np.arange(source, dtype=np.float64)
    if step >= 1:
        low = start + step * np.arange(target)[:, None]
        overlap = np.minimum(edges + 1, low + step) - np.maximum(edges, low)
        weights = np.clip(overlap, 0, None)
    else:
        centre = np.clip(start + step * (np.arange(target) + 0.5) - 0.5, 0, source - 1)[:, None]
        weights = np.clip(1 - np.abs(edges - centre), 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def yuv_to_rgb(*, bt709: bool, full_range: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The affine map from Y, U, V of 0..255 to R, G, B of 0..255: a (3, 3) matrix and what is added to its product."""
    red, blue = _SHARES[bt709]
    green = 1 - red - blue
    to_red, to_blue = 2 * (1 - red), 2 * (1 - blue)
    colour = np.array([[1, 0, to_red], [1, -to_blue * blue / green, -to_red * red / green], [1, to_blue, 0]])
    scale = np.ones(3) if full_range else np.array([255 / 219, 255 / 224, 255 / 224])
    zero = np.array([0 if full_range else 16, 128, 128])
    matrix = colour * scale
    return matrix.astype(np.float32), (-matrix @ zero).astype(np.float32)


class DevicePictures:
    """Makes decoded pictures ready on the device that they lie on, or on another.

    Args:
        rule: as for the processor; a picture that grows is interpolated bilinearly whatever the rule says.
        device: of torch, such as ``cuda``.
        half: give float16.

    Raises:
        ImportError: torch is not installed.
    """

    def __init__(self, rule: PictureRule, device: str, *, half: bool = False) -> None:
        import torch

        self._torch, self._rule, self._device = torch, rule, device
        self._dtype = torch.float16 if half else torch.float32
        # A camera's pictures are all of one size: their weights are made once.
        self._weights = lru_cache(maxsize=32)(self._weights_for)
        self._maps = lru_cache(maxsize=4)(self._map_for)

    def prepare(self, frame: av.VideoFrame) -> Any:
        """The network's input of one picture: a (3, height, width) tensor on the device.

        Args:
            frame: NV12, in the processor's memory or on the GPU (``HWAccel(..., is_hw_owned=True)``). It is not
                rotated; its owner keeps it until the result was used, as the work may only be under way.

        Raises:
            ModelError: it is of another format.
        """
        torch = self._torch
        try:
            planes = [torch.from_dlpack(plane).to(self._device, torch.float32) for plane in frame.planes]
        except (BufferError, NotImplementedError, TypeError, ValueError) as error:
            raise ModelError(f"a picture of format {frame.format.name} cannot be handed over: {error}") from error
        if len(planes) != 2 or planes[1].ndim != 3:
            raise ModelError(f"a picture must be NV12, not {frame.format.name}")
        size = (frame.width, frame.height)
        rows, columns = self._weights(size, 1.0)
        chroma_rows, chroma_columns = self._weights(size, 0.5)
        bright = rows @ planes[0] @ columns.T
        colour = torch.einsum("rh,hwc,tw->crt", chroma_rows, planes[1], chroma_columns)
        matrix, added = self._maps(frame.colorspace == _BT709, frame.color_range == _FULL_RANGE)
        rgb = torch.einsum("ic,crt->irt", matrix, torch.cat([bright[None], colour])) + added
        return self._placed(rgb.clamp(0, 255))

    def _placed(self, rgb: Any) -> Any:
        """Normalised, and on black where the rule leaves room."""
        torch, rule = self._torch, self._rule
        mean = torch.tensor(rule.mean, device=self._device)[:, None, None]
        std = torch.tensor(rule.std, device=self._device)[:, None, None]
        width, height = rule.size
        if rgb.shape[1:] != (height, width):
            padding = (0, width - rgb.shape[2], 0, height - rgb.shape[1])
            rgb = torch.nn.functional.pad(rgb, padding)
        return ((rgb * rule.rescale - mean) / std).to(self._dtype)

    def _weights_for(self, size: tuple[int, int], scale: float) -> tuple[Any, Any]:
        """For rows and columns of a plane that has ``scale`` of the picture's pixels along a side."""
        width, height = size
        rule = self._rule
        left, top, across, down = middle(width, height, rule.size) if rule.resize == "crop" else (0, 0, width, height)
        target = letterboxed(width, height, rule.size) if rule.resize == "letterbox" else rule.size
        # An odd picture has one row or column of colour more than half.
        have = (width, height) if scale == 1 else ((width + 1) // 2, (height + 1) // 2)
        rows = area_weights(have[1], target[1], top * scale, down * scale)
        columns = area_weights(have[0], target[0], left * scale, across * scale)
        return self._tensor(rows), self._tensor(columns)

    def _map_for(self, bt709: bool, full_range: bool) -> tuple[Any, Any]:
        matrix, added = yuv_to_rgb(bt709=bt709, full_range=full_range)
        return self._tensor(matrix), self._tensor(added[:, None, None])

    def _tensor(self, array: NDArray[np.float32]) -> Any:
        return self._torch.from_numpy(array).to(self._device)
