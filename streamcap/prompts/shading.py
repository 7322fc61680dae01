"""Prompts by light and sharpness: what matters stays as it is, the rest is blurred (FGVP) or darkened (API)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.prompts.choosing import chosen, weight
from streamcap.prompts.silhouettes import Mask, regions
from streamcap.types import Fact, Instance

__all__ = ["attention_heat", "blur_reverse_mask"]

# FGVP (arXiv:2306.04356) blurs with σ = 100 where the picture is 336 pixels high.
SIGMA, SIGMA_AT = 100.0, 336.0
# Width of the soft edge around an instance, as a share of the picture's smaller side.
EDGE = 0.02
# A wide blur is made on a picture this small (pixels, larger side): it has no detail to lose.
SMALL = 64
# Attention prompting (arXiv:2409.17143): light that is left where nothing is of interest, 0..1.
SHADE = 0.35


def blur_reverse_mask(
    image: NDArray[np.uint8],
    instances: Sequence[Instance],
    facts: Sequence[Fact] = (),
    *,
    silhouettes: Mapping[int, Mask] | None = None,
) -> NDArray[np.uint8]:
    """Everything but the instances blurred, on a copy; what they cover is as it was, to the pixel.

    Args:
        image: (height, width, 3) uint8 RGB.
        instances: in view; where there are none, nothing is blurred.
        silhouettes: of some of them, by id, (height, width) bool; of the others all of the box stays.
    """
    shown = [i for i in chosen(instances, facts) if i.visible]
    if not shown:
        return image.copy()
    h, w = image.shape[:2]
    scale = min(1.0, SMALL / max(h, w))
    small = cv2.resize(image, (max(1, round(w * scale)), max(1, round(h * scale))), interpolation=cv2.INTER_AREA)
    sigma = SIGMA / SIGMA_AT * small.shape[0]
    vague = cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma), (w, h), interpolation=cv2.INTER_LINEAR)
    outside = np.ones((h, w), np.uint8)
    covered = regions(shown, image.shape, silhouettes or {})
    for instance in shown:
        left, top, right, bottom = _inside(instance, w, h)
        region = covered.get(instance.id)
        if region is not None and region.cover is not None:
            left, top, right, bottom = region.rect
            outside[top:bottom, left:right][region.cover] = 0
        else:
            outside[top:bottom, left:right] = 0
    edge = max(1.0, min(h, w) * EDGE)
    far = np.minimum(cv2.distanceTransform(outside, cv2.DIST_L2, 3) / np.float32(edge), 1.0)[..., None]
    mixed: NDArray[np.uint8] = np.round(image * (1.0 - far) + vague * far).astype(np.uint8)
    return mixed


def attention_heat(
    image: NDArray[np.uint8], instances: Sequence[Instance], facts: Sequence[Fact] = ()
) -> NDArray[np.uint8]:
    """The picture in a light that falls on what is of interest, on a copy: hues stay as they are.

    Args:
        image: (height, width, 3) uint8 RGB.
        instances: in view; each lights its place by how telling it is. Where there are none, nothing is darkened.
    """
    shown = [i for i in chosen(instances, facts) if i.visible]
    if not shown:
        return image.copy()
    h, w = image.shape[:2]
    scale = min(1.0, SMALL / max(h, w))
    sh, sw = max(1, round(h * scale)), max(1, round(w * scale))
    y, x = (np.arange(n, dtype=np.float32) + 0.5 for n in (sh, sw))
    most = max(weight(i, facts) for i in shown)
    heat = np.zeros((sh, sw), np.float32)
    for instance in shown:
        x0, y0, x1, y1 = instance.box
        cx, cy = (x0 + x1) / 2 * sw, (y0 + y1) / 2 * sh
        # A box's corner lies 0.7 of its half diagonal's σ away: in the light, and what is beside it is not.
        dx, dy = max(2.0, (x1 - x0) / 2 * sw), max(2.0, (y1 - y0) / 2 * sh)
        glow = np.exp(-0.5 * ((x[None] - cx) / dx) ** 2 - 0.5 * ((y[:, None] - cy) / dy) ** 2)
        heat = np.maximum(heat, glow * np.float32(0.5 + 0.5 * weight(instance, facts) / most if most else 1.0))
    light = SHADE + (1.0 - SHADE) * heat / max(float(heat.max()), 1e-6)
    wide = cv2.resize(light.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
    lit: NDArray[np.uint8] = np.round(image * wide[..., None]).astype(np.uint8)
    return lit


def _inside(instance: Instance, w: int, h: int) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = instance.box
    return (
        max(0, int(np.floor(x0 * w))), max(0, int(np.floor(y0 * h))),
        min(w, int(np.ceil(x1 * w))), min(h, int(np.ceil(y1 * h))),
    )  # fmt: skip
