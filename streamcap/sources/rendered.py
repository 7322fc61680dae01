"""The source ``test:``: a rendered scene in which it is known what happens when and where.

    test:                                             one period of 60 s, as fast as it is read
    test:?seconds=20&fps=10&width=640&height=360&seed=1
    test:?realtime=1                                  live and without an end; the script repeats every period

See :func:`script` for what happens, and :func:`truth` for where everything is.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from functools import partial

from streamcap.errors import UsageError
from streamcap.sources.address import Address, flag
from streamcap.sources.base import Source
from streamcap.sources.options import SourceOptions
from streamcap.sources.rendered_art import Painter
from streamcap.sources.rendered_script import PERIOD, SceneEvent, TrueObject, script, truth
from streamcap.sources.session import Picture, Session, fit
from streamcap.types import SourceInfo

__all__ = ["PERIOD", "RenderedSource", "SceneEvent", "TrueObject", "script", "truth"]

# name: (default, least, most)
_NUMBERS = {
    "seconds": (PERIOD, 0.1, 1e7),
    "fps": (10.0, 0.1, 240.0),
    "width": (640.0, 64.0, 7680.0),
    "height": (360.0, 64.0, 4320.0),
    "seed": (1.0, 0.0, 2**31),
}


class RenderedSource(Source):
    """The rendered test scene.

    Args:
        address: of kind test, with its options.

    Raises:
        UsageError: an option is unknown or out of range.
    """

    def __init__(self, address: Address, options: SourceOptions) -> None:
        super().__init__(address.shown, options)
        query = dict(address.query)
        self._live = flag(query.pop("realtime", "0"), "realtime") or options.realtime
        self._endless = self._live and "seconds" not in query
        unknown = sorted(query.keys() - _NUMBERS.keys())
        if unknown:
            raise UsageError(f"test: has no option {unknown[0]}", hint=f"possible: {', '.join(_NUMBERS)}, realtime")
        self._numbers = {name: _number(name, query.get(name)) for name in _NUMBERS}

    def _connect(self, *, first: bool) -> Session:
        numbers = self._numbers
        size = fit(round(numbers["width"]), round(numbers["height"]), self._options.max_side)
        return _RenderedSession(
            SourceInfo(
                uri=self.shown,
                live=self._live,
                width=size[0],
                height=size[1],
                fps=numbers["fps"],
                duration=None if self._endless else numbers["seconds"],
            ),
            seed=round(numbers["seed"]),
        )


class _RenderedSession(Session):
    def __init__(self, info: SourceInfo, *, seed: int) -> None:
        self.info = info
        self.paced = info.live
        self._painter = Painter(info.width, info.height, seed)

    def pictures(self) -> Generator[Picture, None, None]:
        """Evenly spaced pictures; drawn only if they are wanted."""
        info = self.info
        for index in itertools.count():
            time = index / info.fps
            if info.duration is not None and time >= info.duration:
                return
            yield Picture(time, (info.width, info.height), partial(self._painter.paint, time, index))


def _number(name: str, text: str | None) -> float:
    default, least, most = _NUMBERS[name]
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise UsageError(f"{name}={text} cannot be", hint=f"a number from {least:g} to {most:g}")
    return value
