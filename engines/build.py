"""ONNX to a plan, by TensorRT or TensorRT-RTX, whichever is installed: their interfaces have one shape.

TensorRT compiles for the GPU of this machine and needs it. TensorRT-RTX compiles ahead of time for kinds of GPUs, and
finishes where the plan is loaded: it needs none.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from engines.files import disk
from streamcap.errors import ModelError, ModelLoadError, UsageError
from streamcap.models.graph import GraphInfo, write_whole
from streamcap.models.plans import BatchProfile, PlanKey, write_plan

__all__ = ["Builder", "BuiltPlan", "build_plan", "find_builder"]

_log = logging.getLogger(__name__)

# Seconds between looks at whether the build is over: only so that an interrupt is seen.
_LOOK_S = 0.2

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Builder:
    """A library that builds plans.

    Attributes:
        name: as its distribution is called.
        module: the library.
    """

    name: str
    module: ModuleType

    @property
    def version(self) -> str:
        """The library's own."""
        return str(self.module.__version__)

    @property
    def portable(self) -> bool:
        """It builds for other GPUs than that of this machine, and without one."""
        return self.name == "tensorrt-rtx"


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A plan that was written.

    Attributes:
        size: bytes.
        seconds: that it took to build.
    """

    path: Path
    size: int
    seconds: float


def find_builder(name: str | None = None) -> Builder:
    """TensorRT where it is installed, else TensorRT-RTX.

    Args:
        name: ``tensorrt`` or ``tensorrt-rtx``; None for the first that is there.

    Raises:
        ModelLoadError: none is installed, or it does not load.
        UsageError: there is no builder of that name.
    """
    modules = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
    if name is not None and name not in modules:
        raise UsageError(f"no builder is called {name}", hint=f"known: {', '.join(modules)}")
    troubles = []
    for builder in (name,) if name else modules:
        try:
            return Builder(builder, __import__(modules[builder]))
        except ImportError as error:  # also a library that it needs and that is not there
            troubles.append(f"{builder}: {error}")
    hint = "pip install 'streamcap[tensorrt]' (or [tensorrt-rtx])"
    raise ModelLoadError(f"no TensorRT here: {'; '.join(troubles)}", hint=hint)
