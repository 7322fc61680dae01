"""Letters and colours on pictures. The font is the one inside of Pillow (Aileron, CC0): no file is brought along."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["RGB", "colour_of", "ink_on", "lettered", "text_size", "write"]

RGB = tuple[int, int, int]

# Apart in hue and in lightness, none close to skin, asphalt or grass; after Okabe and Ito, who chose theirs for eyes
# that tell red from green badly. Numbers, not colours, name the instances: from the twelfth on colours come again.
_PALETTE: tuple[RGB, ...] = (
    (255, 215, 0),
    (0, 158, 255),
    (255, 80, 200),
    (0, 224, 150),
    (255, 120, 20),
    (150, 90, 255),
    (120, 230, 255),
    (200, 20, 60),
    (190, 255, 60),
    (20, 60, 200),
    (245, 245, 245),
)
BLACK: RGB = (0, 0, 0)
WHITE: RGB = (255, 255, 255)
# Relative luminance at which black and white contrast equally with a colour (WCAG 2.2): √(1.05 · 0.05) − 0.05.
_MIDDLE = 0.179
# Width of a letter's stroke of another colour, as a share of its height; the bundled font is not bold.
BOLD = 0.035
# Letters are drawn so many times larger first.
FINE = 4


def colour_of(number: int) -> RGB:
    """The colour of an instance, the same for ever."""
    return _PALETTE[(number - 1) % len(_PALETTE)]


def ink_on(colour: RGB) -> RGB:
    """Black or white, whichever is read better on a colour; their contrast is 4.5 : 1 at least."""
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return BLACK if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > _MIDDLE else WHITE


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # every wheel of Pillow has FreeType
    return font


@functools.lru_cache(maxsize=256)
def _mask(text: str, size: int, halo: int) -> NDArray[np.uint8]:
    """(height, width) uint8 coverage of a bold line of text with a rim of ``halo`` pixels, cut to the ink.

    Drawn large and made small: a stroke of a third of a pixel is what makes small letters bold.
    """
    font = _font(FINE * size)
    stroke = round(FINE * (size * BOLD + halo))
    x0, y0, x1, y1 = font.getbbox(text, stroke_width=stroke, anchor="ls")
    w, h = max(1, math.ceil((x1 - x0) / FINE)), max(1, math.ceil((y1 - y0) / FINE))
    sheet = Image.new("L", (w * FINE, h * FINE), 0)
    ImageDraw.Draw(sheet).text((-x0, -y0), text, fill=255, font=font, stroke_width=stroke, stroke_fill=255, anchor="ls")
    mask = np.asarray(sheet.reduce(FINE), np.uint8)
    mask.flags.writeable = False
    return mask


def text_size(text: str, size: int, *, halo: int = 0) -> tuple[int, int]:
    """(width, height) in pixels of the ink of bold text ``size`` pixels high, with a rim of ``halo`` pixels."""
    height, width = _mask(text, size, halo).shape
    return width, height


def write(
    image: NDArray[np.uint8],
    text: str,
    at: tuple[int, int],
    size: int,
    colour: RGB,
    *,
    halo: int = 0,
    rim: RGB = WHITE,
) -> None:
    """Draw one bold line into a picture; what lies outside is cut off.

    Args:
        image: (height, width, 3) uint8 RGB, drawn into.
        at: left and top of the ink, rim included, in pixels.
        size: of the font in pixels.
        halo: width of the rim in pixels, 0 for none.
    """
    if halo:
        lettered(image, _mask(text, size, halo), at, rim)
    lettered(image, _mask(text, size, 0), (at[0] + halo, at[1] + halo), colour)


def lettered(image: NDArray[np.uint8], mask: NDArray[np.uint8], at: tuple[int, int], colour: RGB) -> None:
    """Lay a colour over a picture where a mask covers it."""
    left, top = max(0, at[0]), max(0, at[1])
    right, bottom = min(image.shape[1], at[0] + mask.shape[1]), min(image.shape[0], at[1] + mask.shape[0])
    if right <= left or bottom <= top:
        return
    part = image[top:bottom, left:right]
    share = mask[top - at[1] : bottom - at[1], left - at[0] : right - at[0], None].astype(np.float32) / 255.0
    part[:] = np.round(part * (1.0 - share) + np.array(colour, np.float32) * share).astype(np.uint8)
