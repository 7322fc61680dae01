"""Image encoders over any engine: pictures in, features of unit length (and patch tokens) out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamcap.models.base import Features, Image
from streamcap.models.batching import DELAY_S, MicroBatcher
from streamcap.models.engine import Engine, EngineInfo, Tensor
from streamcap.models.pictures import PictureRule, prepare

__all__ = ["EncoderNames", "GraphEncoder"]

# Below this a feature has no direction: a network that gives zeros is told nothing apart by.
_LEAST_NORM = 1e-12


@dataclass(frozen=True, slots=True)
class EncoderNames:
    """What the outputs of an encoder's graph are called."""

    pooled: str = "image_embeds"
    tokens: str = "patch_tokens"


@dataclass(frozen=True, slots=True)
class _Wish:
    picture: Tensor
    tokens: bool


@dataclass(frozen=True, slots=True)
class _Row:
    outputs: list[Tensor]
    cpu_s: float


class GraphEncoder:
    """Implements :class:`~streamcap.models.base.Encoder`. The pictures of all streams go through one micro-batcher.

    On a GPU they share batches. On a processor, which one picture fills, a batch is one picture and nobody waits for
    company; what is left of the batcher is the order by deadline, cancellation, and threads of its own.

    Args:
        engine: owned: closed with the encoder.
        rule: how pictures are made ready.
        dim: length of a feature.
        names: of the outputs.
        batch: most pictures put through together; None for what the engine profits from.
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
        info = engine.info
        self.batcher: MicroBatcher[_Wish, _Row] = MicroBatcher(
            self._run,
            size=batch if batch is not None else lambda: engine.info.batch,
            delay_s=DELAY_S if (batch or info.batch) > 1 else 0.0,
            lanes=info.lanes,
            name="streamcap-encoder",
        )

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return self._dim

    @property
    def info(self) -> EngineInfo:
        """What runs it."""
        return self._engine.info

    async def encode(self, images: Sequence[Image], *, deadline: float | None = None, tokens: bool = False) -> Features:
        """See :class:`streamcap.models.base.Encoder`.

        Args:
            tokens: give patch tokens, too, which are a hundred times as large.
        """
        if not images:
            return Features(np.empty((0, self._dim), np.float32))
        wishes = await asyncio.to_thread(self._prepared, images, tokens)
        rows = await self.batcher.gather(wishes, deadline=deadline)
        return Features(
            _unit(np.stack([row.outputs[0] for row in rows])),
            np.stack([row.outputs[1] for row in rows]) if tokens else None,
            sum(row.cpu_s for row in rows),
        )

    def close(self) -> None:
        """End the threads and let go of the engine; what waits fails. May be called twice; blocks for a batch."""
        self.batcher.close()
        self._engine.close()

    def _prepared(self, images: Sequence[Image], tokens: bool) -> list[_Wish]:
        return [_Wish(prepare(image, self._rule), tokens) for image in images]

    def _run(self, wishes: Sequence[_Wish]) -> list[_Row]:
        began = time.thread_time()
        # Tokens are only fetched where somebody wants them.
        wanted = [self._names.pooled, *([self._names.tokens] if any(wish.tokens for wish in wishes) else [])]
        outputs = self._engine.run(np.stack([wish.picture for wish in wishes]), *wanted)
        cpu_s = (time.thread_time() - began) / len(wishes)
        return [_Row([output[n] for output in outputs], cpu_s) for n in range(len(wishes))]


def _unit(rows: Tensor) -> Tensor:
    norms = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _LEAST_NORM)
    return np.asarray(rows / norms, np.float32)
