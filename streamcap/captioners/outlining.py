"""Silhouettes of instances for the pictures of a prompt: cut out only where marks need them, and in limited time.

The segmenter is loaded when the first marked picture is to be drawn. Until it is there, and where it cannot be had,
marks follow boxes, and the log says so once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from streamcap.config import Mark, Outlines
from streamcap.errors import ModelError, ModelLoadError
from streamcap.flow import Clock, aside
from streamcap.models.base import Segmenter
from streamcap.models.segmenting import load_segmenter
from streamcap.prompts.choosing import chosen
from streamcap.prompts.silhouettes import Mask, silhouette
from streamcap.types import Fact, Look

__all__ = ["Outliner"]

_log = logging.getLogger(__name__)

# Marks that follow bodies.
MARKS: Final = frozenset({Mark.SET_OF_MARK, Mark.BLUR})
# Seconds that the first window waits for weights that are cached, which load in a tenth of that. Those after it do not
# wait: they are being fetched.
LOAD_S: Final = 1.0
# Seconds after which a segmenter that could not be had is tried again.
AGAIN_S: Final = 900.0
# Seconds that the silhouettes of one prompt may take in all; who is not cut out by then has a box. Twelve instances in
# two pictures take half of it on one core that has nothing else to do.
MOST_S: Final = 1.0


class Outliner:
    """Cuts instances out of pictures for all streams, one at a time.

    Args:
        outlines: with ``box`` nothing is ever loaded.
        load: makes the segmenter; blocks, and may fetch weights.
    """

    def __init__(self, outlines: Outlines, clock: Clock, load: Callable[[], Segmenter] = load_segmenter) -> None:
        self._wanted = outlines is Outlines.SILHOUETTE
        self._clock, self._load = clock, load
        self._segmenter: Segmenter | None = None
        self._loading: asyncio.Task[None] | None = None
        self._began = self._again = -math.inf
        self._told = False

    async def ready(self, marks: Sequence[Mark], *, patience_s: float = LOAD_S) -> bool:
        """Load the segmenter where marks need one, and wait for it; true where it is there.

        Cancelled, it goes on being loaded.

        Args:
            patience_s: to wait since its loading began, at most.
        """
        if not self._wanted or not MARKS & set(marks):
            return False
        now = self._clock.monotonic()
        if self._segmenter is None and self._loading is None and now >= self._again:
            self._began = now
            self._loading = asyncio.create_task(self._keep_loading(), name="load-segmenter")
        if self._loading is not None:
            await asyncio.wait([self._loading], timeout=max(0.0, self._began + patience_s - now))
        return self._segmenter is not None

    async def close(self) -> None:
        """Let go of the segmenter; a fetch that is under way ends in its thread."""
        if self._loading is not None:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loading
        self._segmenter, self._wanted = None, False

    def cut(self, looks: Sequence[Look], facts: Sequence[Fact]) -> tuple[Look, ...]:
        """The looks with the silhouettes of whom marks would be drawn for; the newest first, as far as time goes.

        Blocks, on a worker thread: 10 to 25 ms for each instance.
        """
        segmenter, deadline = self._segmenter, self._clock.monotonic() + MOST_S
        if segmenter is None:
            return tuple(looks)
        found = [replace(look, silhouettes=self._of(segmenter, look, facts, deadline)) for look in reversed(looks)]
        return tuple(reversed(found))

    def _of(self, segmenter: Segmenter, look: Look, facts: Sequence[Fact], deadline: float) -> dict[int, Mask]:
        found: dict[int, Mask] = {}
        for instance in chosen(look.instances, facts):
            if not instance.visible or self._clock.monotonic() >= deadline:
                continue
            try:
                likelihood = segmenter.segment(look.image, instance.box, instance.label)
            except ModelError as error:
                self._give_up(error)
                break
            mask = None if likelihood is None else silhouette(likelihood, instance.box)
            if mask is not None:
                found[instance.id] = mask
        return found

    async def _keep_loading(self) -> None:
        try:
            self._segmenter = await aside(self._load, name="load-segmenter")
        except ModelError as error:
            self._give_up(error)
        except Exception as error:  # a defect; nothing but the form of marks hangs on it
            _log.exception("the segmenter cannot be loaded")
            self._give_up(ModelLoadError(f"the segmenter cannot be loaded: {error!r}"))
        finally:
            self._loading = None

    def _give_up(self, error: ModelError) -> None:
        self._segmenter, self._again = None, self._clock.monotonic() + AGAIN_S
        _log.log(logging.DEBUG if self._told else logging.WARNING, "marks are boxes, not outlines: %s", error.in_full)
        self._told = True
