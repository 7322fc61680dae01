"""The value types, and that each module exports what it says."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

import streamcap
from streamcap import errors, types
from streamcap.types import Detections, Instance
from tests.patience import LONG_S

MODULES = sorted(info.name for info in pkgutil.walk_packages(streamcap.__path__, "streamcap."))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_exports_what_it_says(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    if not inspect.isfunction(getattr(module, "__getattr__", None)) and not vars(module).get("__all__"):
        own = [
            key
            for key, value in vars(module).items()
            if not key.startswith("_") and getattr(value, "__module__", None) == name
        ]
        assert own == [], "public names, and no __all__"
        return
    assert len(set(module.__all__)) == len(module.__all__)
    assert [key for key in module.__all__ if not hasattr(module, key)] == []


def test_values_are_frozen() -> None:
    for name in types.__all__:
        kind = getattr(types, name)
        if not dataclasses.is_dataclass(kind):
            continue
        assert vars(kind)["__dataclass_params__"].frozen, name
        assert "__slots__" in vars(kind), name


def test_detections_are_of_one_length() -> None:
    boxes, labels, scores = np.zeros((2, 4), np.float32), np.zeros(2, np.int32), np.zeros(2, np.float32)
    assert len(Detections(boxes, labels, scores)) == 2
    assert len(Detections(boxes[:0], labels[:0], scores[:0])) == 0
    for ragged in ((boxes[:1], labels, scores), (boxes, labels[:1], scores), (boxes[:, :3], labels, scores)):
        with pytest.raises(ValueError, match="ragged"):
            Detections(*ragged)


def test_an_instance_may_not_be_changed() -> None:
    one = Instance(1, "person", 1.0, (0, 0, 1, 1), (0, 0), 0, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.label = "dog"  # type: ignore[misc]


def test_a_subscriber_needs_no_numpy() -> None:
    code = "import sys; sys.modules['numpy'] = None; import streamcap.types, streamcap.wire, streamcap.client"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=LONG_S)


def test_each_error_has_the_exit_code_of_its_branch() -> None:
    codes = {errors.UsageError: 2, errors.SourceError: 3, errors.ModelError: 4, errors.FeedError: 3}
    for name in errors.__all__:
        kind = getattr(errors, name)
        for base, code in codes.items():
            if issubclass(kind, base):
                assert kind.exit_code == code, name
    error = errors.SourceNotFound("no such file", hint="look again")
    assert (str(error), error.hint) == ("no such file", "look again")
