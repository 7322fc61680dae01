"""Draws the rendered test scene: flat shaded figures on textured ground, with light, camera and sensor noise."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.sources.rendered_script import CUT, PERIOD, Actor, Camera, actors, brightness, camera

__all__ = ["Painter"]

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

_MARGIN = 0.3  # how much of the world there is beyond the picture at rest, on each side
_NOISE = 1.5  # grey levels, standard deviation: a decent camera by day
_NOISE_TILES = 4
_SHIFT = 4  # cv2 draws on sixteenths of a pixel, so slow things move smoothly
_SKIN: Colour = (214, 170, 140)
_COATS: dict[int, Colour] = {1: (170, 40, 40), 3: (40, 70, 150)}
_PAINT: dict[str, Colour] = {"truck": (225, 225, 215), "car": (60, 110, 70)}


class Painter:
    """Draws any moment of the scene; the same moment always looks the same.

    Args:
        width, height: pixels of the picture.
        seed: of texture and noise.
    """

    def __init__(self, width: int, height: int, seed: int) -> None:
        self._width = width
        self._height = height
        rng = np.random.default_rng(seed)
        size = (round(height * (1 + 2 * _MARGIN)), round(width * (1 + 2 * _MARGIN)))
        self._street = _street(*size, rng)
        self._yard = _yard(*size, rng)
        noise = rng.normal(0.0, _NOISE, (_NOISE_TILES, height, width, 3))
        self._noise = noise.round().astype(np.int16)

    def paint(self, time: float, index: int) -> Image:
        """The (height, width, 3) uint8 RGB picture at ``time`` (media seconds); ``index`` picks the noise."""
        look = camera(time)
        picture = self._ground(self._street if time % PERIOD < CUT else self._yard, look)
        for actor in sorted(actors(time), key=lambda a: -a.depth):
            place = actor.place(time % PERIOD)
            if place is not None:
                self._draw(picture, actor, place, look, time)
        light = brightness(time)
        if light < 1.0:
            picture = cv2.convertScaleAbs(picture, alpha=light)
        grain = np.roll(self._noise[index % _NOISE_TILES], index * 37, axis=1)
        return np.asarray(cv2.add(picture, grain, dtype=cv2.CV_8U), dtype=np.uint8)

    def _ground(self, world: Image, look: Camera) -> Image:
        """The part of the world that the camera sees."""
        zoom = look.zoom
        left = (look.x - 0.5 / zoom + _MARGIN) * self._width
        top = (look.y - 0.5 / zoom + _MARGIN) * self._height
        if zoom == 1.0 and look == Camera():
            x, y = round(left), round(top)
            return world[y : y + self._height, x : x + self._width].copy()
        matrix = np.array([[1 / zoom, 0, left], [0, 1 / zoom, top]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(world, matrix, (self._width, self._height), flags=flags), dtype=np.uint8)

    def _draw(self, picture: Image, actor: Actor, place: tuple[float, float], look: Camera, time: float) -> None:
        (x, y), (width, height) = place, actor.size
        x0, y0 = look.project(x - width / 2, y - height)
        x1, y1 = look.project(x + width / 2, y)
        brush = _Brush(picture, (x0 * self._width, y0 * self._height, x1 * self._width, y1 * self._height))
        draw: dict[str, Callable[[_Brush], None]] = {
            "person": lambda b: _person(b, _COATS.get(actor.id, (90, 90, 90)), _stride(actor, time)),
            "bag": _bag,
            "truck": lambda b: _vehicle(b, _PAINT["truck"], cabin=0.3),
            "car": lambda b: _vehicle(b, _PAINT["car"], cabin=0.0),
        }
        draw[actor.label](brush)


class _Brush:
    """Draws in the coordinates of an object's box: x and y run from 0 to 1."""

    def __init__(self, picture: Image, box: tuple[float, float, float, float]) -> None:
        self._picture = picture
        self._x, self._y = box[0], box[1]
        self._w, self._h = box[2] - box[0], box[3] - box[1]

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """A filled polygon."""
        pixels = [(self._x + x * self._w, self._y + y * self._h) for x, y in points]
        fixed = np.round(np.array(pixels) * 2**_SHIFT).astype(np.int32)
        cv2.fillPoly(self._picture, [fixed], colour, cv2.LINE_AA, _SHIFT)

    def oval(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """A filled ellipse around (x, y)."""
        scale = 2**_SHIFT
        centre = (round((self._x + x * self._w) * scale), round((self._y + y * self._h) * scale))
        axes = (round(width / 2 * self._w * scale), round(height / 2 * self._h * scale))
        cv2.ellipse(self._picture, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)

    def limb(self, start: tuple[float, float], end: tuple[float, float], width: float, colour: Colour) -> None:
        """A bar from one point to another."""
        half = width / 2
        (x0, y0), (x1, y1) = start, end
        self.polygon([(x0 - half, y0), (x0 + half, y0), (x1 + half, y1), (x1 - half, y1)], colour)


def _stride(actor: Actor, time: float) -> float:
    """How far the legs are apart, -1..1: it swings with the way that was gone, and rests where nobody walks."""
    now, before = actor.place(time % PERIOD), actor.place(max(0.0, time % PERIOD - 0.05))
    if now is None or before is None or now == before:
        return 0.15
    return float(np.sin(now[0] * 60.0))


def _person(brush: _Brush, coat: Colour, stride: float) -> None:
    trousers = (45, 45, 60)
    swing = 0.3 * stride
    for side in (swing, -swing):
        brush.limb((0.5, 0.55), (0.5 + side, 0.97), 0.24, trousers)
        brush.oval(0.53 + side, 0.975, 0.34, 0.05, (25, 20, 20))
    dark = (coat[0] * 3 // 4, coat[1] * 3 // 4, coat[2] * 3 // 4)
    brush.limb((0.5, 0.22), (0.5 - 0.9 * swing, 0.53), 0.2, dark)
    brush.polygon([(0.28, 0.19), (0.72, 0.19), (0.76, 0.58), (0.24, 0.58)], coat)
    brush.limb((0.5, 0.22), (0.5 + 0.9 * swing, 0.53), 0.2, dark)
    brush.oval(0.5, 0.17, 0.24, 0.1, _SKIN)
    brush.oval(0.5, 0.085, 0.38, 0.15, _SKIN)
    brush.oval(0.5, 0.05, 0.4, 0.1, (50, 35, 25))


def _bag(brush: _Brush) -> None:
    brush.oval(0.5, 0.3, 0.6, 0.6, (30, 30, 30))
    brush.oval(0.5, 0.3, 0.4, 0.4, (150, 130, 110))
    brush.polygon([(0.0, 0.25), (1.0, 0.25), (0.95, 1.0), (0.05, 1.0)], (200, 130, 20))
    brush.polygon([(0.0, 0.25), (1.0, 0.25), (1.0, 0.45), (0.0, 0.45)], (150, 90, 10))


def _vehicle(brush: _Brush, paint: Colour, *, cabin: float) -> None:
    """``cabin`` above 0 draws a van whose cab is that share of its length, at the left; else a car."""
    glass, dark = (150, 180, 200), (paint[0] * 2 // 3, paint[1] * 2 // 3, paint[2] * 2 // 3)
    if cabin:
        brush.polygon(
            [(cabin, 0.0), (1.0, 0.0), (1.0, 0.85), (0.0, 0.85), (0.0, 0.5), (0.1, 0.15), (cabin, 0.1)], paint
        )
        brush.polygon([(0.05, 0.48), (0.12, 0.2), (cabin - 0.04, 0.2), (cabin - 0.04, 0.48)], glass)
        brush.polygon([(cabin, 0.3), (1.0, 0.3), (1.0, 0.42), (cabin, 0.42)], (200, 60, 40))
    else:
        brush.polygon(
            [(0.0, 0.85), (0.0, 0.5), (0.2, 0.42), (0.34, 0.05), (0.72, 0.05), (0.9, 0.45), (1.0, 0.55), (1.0, 0.85)],
            paint,
        )
        brush.polygon([(0.26, 0.42), (0.37, 0.12), (0.52, 0.12), (0.52, 0.42)], glass)
        brush.polygon([(0.56, 0.42), (0.56, 0.12), (0.7, 0.12), (0.83, 0.42)], glass)
    brush.polygon([(0.0, 0.72), (1.0, 0.72), (1.0, 0.85), (0.0, 0.85)], dark)
    radius = 0.2 if cabin else 0.17
    for x in (0.2, 0.8):
        brush.oval(x, 0.85, radius, 0.3, (20, 20, 20))
        brush.oval(x, 0.85, radius / 2, 0.15, (130, 130, 130))


def _texture(height: int, width: int, rng: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """Grain at several scales around 0, in grey levels: something for optical flow to hold on to."""
    total = np.zeros((height, width), dtype=np.float32)
    for cell in (4, 12, 40):
        coarse = rng.normal(0.0, strength, (height // cell + 2, width // cell + 2)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return total


def _paved(height: int, width: int, horizon: float, wall: Colour, floor: Colour, rng: np.random.Generator) -> Image:
    """A wall above ``horizon`` (0..1) and a floor below, both textured."""
    ground = np.empty((height, width, 3), dtype=np.float32)
    line = round(height * horizon)
    ground[:line] = wall
    ground[line:] = floor
    ground += _texture(height, width, rng, 7.0)[:, :, None]
    return np.asarray(np.clip(ground, 0, 255), dtype=np.uint8)


def _street(height: int, width: int, rng: np.random.Generator) -> Image:
    """A house front with windows and a ledge, and a pavement of slabs."""
    image = _paved(height, width, 0.6, (150, 120, 100), (125, 125, 122), rng)
    whole = _Brush(image, (0, 0, width, height))
    for y in np.arange(0.0, 0.6, 0.022):
        whole.polygon([(0, y), (1, y), (1, y + 0.002), (0, y + 0.002)], (128, 100, 84))
    for x in np.arange(0.04, 1.0, 0.16):
        whole.polygon([(x, 0.12), (x + 0.08, 0.12), (x + 0.08, 0.3), (x, 0.3)], (235, 230, 220))
        whole.polygon([(x + 0.006, 0.13), (x + 0.074, 0.13), (x + 0.074, 0.29), (x + 0.006, 0.29)], (60, 75, 95))
    whole.polygon([(0.6, 0.435), (0.85, 0.435), (0.85, 0.46), (0.6, 0.46)], (95, 95, 100))
    for x in np.arange(-0.3, 1.3, 0.07):
        whole.polygon([(x, 0.6), (x + 0.004, 0.6), (x * 1.6 - 0.3, 1.0), (x * 1.6 - 0.306, 1.0)], (104, 104, 102))
    for y in (0.63, 0.68, 0.75, 0.85):
        whole.polygon([(0, y), (1, y), (1, y + 0.004), (0, y + 0.004)], (104, 104, 102))
    whole.polygon([(0.245, 0.1), (0.255, 0.1), (0.255, 0.66), (0.245, 0.66)], (40, 45, 50))
    return image


def _yard(height: int, width: int, rng: np.random.Generator) -> Image:
    """Grass before a hedge, with stones and fence posts scattered about."""
    image = _paved(height, width, 0.45, (70, 95, 75), (120, 140, 85), rng)
    whole = _Brush(image, (0, 0, width, height))
    for x in np.arange(0.02, 1.0, 0.055):
        whole.polygon([(x, 0.3), (x + 0.012, 0.3), (x + 0.012, 0.5), (x, 0.5)], (175, 150, 115))
    for y in (0.34, 0.42):
        whole.polygon([(0, y), (1, y), (1, y + 0.014), (0, y + 0.014)], (165, 140, 105))
    for x, y, size in rng.uniform((0.0, 0.52, 0.008), (1.0, 0.98, 0.03), (70, 3)):
        grey = int(rng.integers(60, 210))
        whole.oval(x, y, size, size, (grey, grey, max(0, grey - 15)))
    return image
