"""Image encoders over any engine: pictures in, features of unit length (and patch tokens) out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamcap.models.base import Image
from streamcap.models.batching import MicroBatcher
from streamcap.models.engine import Engine, EngineInfo, Tensor
from streamcap.models.pictures import PictureRule, prepare

__all__ = ["EncoderNames", "Features", "GraphEncoder"]

# Below this a feature has no direction: a network that gives zeros is told nothing apart by.
_LEAST_NORM = 1e-12


@dataclass(frozen=True, slots=True)
class EncoderNames:
    """What the outputs of an encoder's graph are called."""

    pooled: str = "image_embeds"
    tokens: str = "patch_tokens"


@dataclass(frozen=True, slots=True)
class Features:
    """What an encoder makes of n pictures.

    Attributes:
        pooled: (n, dim) float32, each row of unit length.
        tokens: (n, tokens, width) float32 as the network gives them, those before the grid first.
    """

    pooled: NDArray[np.float32]
    tokens: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Wish:
    picture: Tensor
    tokens: bool


class GraphEncoder:
    """An image encoder. Where its engine profits from batches, the pictures of all streams share them.

    Args:
        engine: owned: closed with the encoder.
        rule: how pictures are made ready.
        dim: length of a feature.
        names: of the outputs.
        batch: most pictures put through together; None for what the engine profits from. Above 1 a thread gathers them.
    """

    def __init__(
        self,
        engine: Engine,
        rule: PictureRule,
        *,
        dim: int,
        names: EncoderNames = EncoderNames(),
        batch: int | None = None,
    ) -> None:
        self._engine, self._rule, self._dim, self._names = engine, rule, dim, names
        self.batcher: MicroBatcher[_Wish, list[Tensor]] | None = None
        size: int | Callable[[], int] = batch if batch is not None else lambda: engine.info.batch
        if (batch or engine.info.batch) > 1:
            self.batcher = MicroBatcher(self._run, size=size, lanes=engine.info.lanes, name="streamcap-encoder")

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return self._dim

    @property
    def info(self) -> EngineInfo:
        """What runs it."""
        return self._engine.info

    def encode(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """See :class:`streamcap.models.base.Encoder`."""
        if not images:
            return np.empty((0, self._dim), np.float32)
        return _unit(np.stack([row[0] for row in self._through(images, tokens=False)]))

    def features(self, images: Sequence[Image]) -> Features:
        """Encode pictures, with their patch tokens. Blocking, like ``encode``.

        Args:
            images: one or more pictures, each (height, width, 3) uint8 RGB of any size.

        Raises:
            ModelError: the runtime failed, or there are no pictures.
        """
        rows = self._through(images, tokens=True)
        return Features(_unit(np.stack([row[0] for row in rows])), np.stack([row[1] for row in rows]))

    async def encode_soon(self, images: Sequence[Image], *, deadline: float | None = None) -> NDArray[np.float32]:
        """Like ``encode``, for a task: the event loop goes on meanwhile. Cancelled, what has not begun is not done.

        Args:
            deadline: ``time.monotonic()`` seconds by which it is wanted; decides the order among all requests.
        """
        if self.batcher is None or not images:
            return await asyncio.to_thread(self.encode, images)
        wishes = await asyncio.to_thread(lambda: [_Wish(prepare(image, self._rule), False) for image in images])
        return _unit(np.stack([row[0] for row in await self.batcher.gather(wishes, deadline=deadline)]))

    def close(self) -> None:
        """End the thread and let go of the engine. May be called twice; not while pictures are encoded."""
        if self.batcher is not None:
            self.batcher.close()
        self._engine.close()

    def _through(self, images: Sequence[Image], *, tokens: bool) -> list[list[Tensor]]:
        wishes = [_Wish(prepare(image, self._rule), tokens) for image in images]
        return self.batcher.map(wishes) if self.batcher is not None else self._run(wishes)

    def _run(self, wishes: Sequence[_Wish]) -> list[list[Tensor]]:
        # Tokens are a hundred times as large as a feature: they are only fetched where somebody wants them.
        wanted = [self._names.pooled, *([self._names.tokens] if any(wish.tokens for wish in wishes) else [])]
        outputs = self._engine.run(np.stack([wish.picture for wish in wishes]), *wanted)
        return [[output[n] for output in outputs] for n in range(len(wishes))]


def _unit(rows: Tensor) -> Tensor:
    norms = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _LEAST_NORM)
    return np.asarray(rows / norms, np.float32)
