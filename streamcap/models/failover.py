"""An engine on an accelerator that goes on on the processor when the accelerator is lost.

Some faults of a GPU stick: an illegal address, a hang, memory beyond correction. Every later call of the process fails,
and only a new process gets the GPU back. A camera should not go dark for that: the batch that met the fault and all
after it go through a spare, loaded when it is needed, slower and at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from streamcap.errors import EngineLost, ModelError
from streamcap.models.cuda import RESTART
from streamcap.models.engine import Engine, EngineInfo, Tensor

__all__ = ["FailoverEngine"]

_log = logging.getLogger(__name__)


class FailoverEngine:
    """Implements :class:`~streamcap.models.engine.Engine`.

    Args:
        engine: owned: closed when it is lost, or with this.
        spare: makes what runs instead; called once at most, by the thread that meets the loss. Owned likewise.
        what: what messages call it.
    """

    def __init__(self, engine: Engine, spare: Callable[[], Engine], *, what: str) -> None:
        self._engine, self._spare, self._what = engine, spare, what
        self._info = engine.info
        self._changing = threading.Lock()
        self._dead: EngineLost | None = None  # there is no spare either

    @property
    def info(self) -> EngineInfo:
        """What runs it now."""
        return self._info

    def run(self, batch: Tensor, *wanted: str) -> list[Tensor]:
        """See :class:`streamcap.models.engine.Engine`.

        Raises:
            EngineLost: the accelerator is lost and no spare runs.
        """
        if self._dead is not None:
            raise EngineLost(str(self._dead), hint=self._dead.hint)
        engine = self._engine
        try:
            return engine.run(batch, *wanted)
        except EngineLost as error:
            self._fail_over(engine, error)
        except ModelError:
            if self._engine is engine:
                raise
            # Another lane met the loss before this one had begun, and what it found was closed already.
        return self._engine.run(batch, *wanted)

    def close(self) -> None:
        """See :class:`streamcap.models.engine.Engine`."""
        self._engine.close()

    def _fail_over(self, lost: Engine, error: EngineLost) -> None:
        """Take the spare, once; lanes that meet the loss meanwhile wait for it.

        Raises:
            EngineLost: there is none.
        """
        with self._changing:
            if self._engine is not lost:
                return
            if self._dead is None:
                self._change(error)
            if self._dead is not None:
                raise EngineLost(str(self._dead), hint=self._dead.hint) from error
        lost.close()

    def _change(self, error: EngineLost) -> None:
        try:
            spare = self._spare()
        except ModelError as reason:
            line = f"{error}; on the processor {self._what} does not run either: {reason}"
            self._dead = EngineLost(line, hint=RESTART)
            _log.error("%s is lost: %s; %s", self._what, line, RESTART)
            return
        self._info = replace(spare.info, why=str(error), hint=RESTART, lost=str(error))
        self._engine = spare
        _log.error("%s goes on on the processor, slower: %s; %s", self._what, error, RESTART)
