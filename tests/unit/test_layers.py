"""The layers of docs/architecture.md, enforced: imports point down, and every module has its place."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import LONG_S
from tests.prerequisites import ROOT

PACKAGE = ROOT / "streamcap"

# A name stands for itself and, where it is a package, for all that is in it. A new module gets its place here, and in
# docs/architecture.md where it opens a new subject.
LAYERS: dict[int, set[str]] = {
    0: {"streamcap", "types", "errors"},
    1: {"config", "flow", "metrics", "crew", "heap"},
    2: {
        *("geometry", "gating", "camera", "egomotion", "foreground", "stationary", "transform", "regions", "memory"),
        *(
            "appearance",
            "attention",
            "sightings",
            "closeups",
            "reid",
            "colours",
            "labels",
            "pose",
            "body",
            "load",
            "carrying",
            "tracks",
            "assignment",
            "instances",
            "facts",
            "health",
            "nearness",
            "swing",
            "steadiness",
            "turned",
            "setting",
            "language",
            "prompts",
            "captions",
            "calibration",
            "saliency",
            "wire",
            "standing",
            "recall",
            "shedding",
            "breaker",
            "budget",
            "subtitles",
            "subtitles_live",
        ),
    },
    3: {"sources", "models", "captioners", "journal", "frames", "webrtc", "scan", "client", "questions", "tokens"},
    4: {
        "perception",
        "detecting",
        "posing",
        "keyframes",
        "looks",
        "answering",
        "pipeline",
        "telling",
        "wording",
        "hub",
        "runs",
        "supervision",
        "manager",
    },
    5: {"server"},
    6: {"cli", "__main__"},
}
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names}

# Layer 2 decides; it does not read a clock, wait, or touch the world.
NOT_PURE = {
    *("asyncio", "concurrent", "multiprocessing", "threading", "time", "socket", "subprocess", "urllib", "http"),
    *("httpx", "websockets", "starlette", "fastapi", "uvicorn", "av", "onnxruntime", "ai_edge_litert", "platformdirs"),
}

# What only a watcher of video needs; a subscriber installs without it.
NOT_IN_BASE = (
    *("numpy", "av", "cv2", "scipy", "onnxruntime", "ai_edge_litert", "inflect", "platformdirs", "httpx"),
    *("starlette", "uvicorn", "fastapi", "prometheus_client", "aiortc"),
)


def name_of(path: Path) -> str:
    """``streamcap.models.catalog`` for its file, ``streamcap.models`` for the package's ``__init__.py``."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def subject(module: str) -> str:
    """The name that has a layer: ``models`` for ``streamcap.models.catalog``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def imports(module: str) -> set[str]:
    """All that a module imports, anywhere in it, also late or for its types only, by full name."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # ``from streamcap import wire`` names a module, ``from streamcap import __version__`` does not.
            found |= {f"{origin}.{a.name}" if f"{origin}.{a.name}" in MODULES else origin for a in node.names}
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_place(module: str) -> None:
    assert subject(module) in LAYER_OF, f"{module} has no layer: place it in LAYERS and in docs/architecture.md"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    layer = LAYER_OF.get(subject(module), 0)
    for name in sorted(imports(module)):
        if name.split(".")[0] == "streamcap":
            assert LAYER_OF.get(subject(name), 99) <= layer, (
                f"{module} (L{layer}) imports {name}, which stands above it"
            )


@pytest.mark.parametrize("module", [name for name in MODULES if LAYER_OF.get(subject(name)) == 2])
def test_layer_two_is_pure(module: str) -> None:
    outside = {name.split(".")[0] for name in imports(module)} & NOT_PURE
    assert not outside, f"{module} decides and must not import {', '.join(sorted(outside))}"


def test_the_client_knows_only_the_wire() -> None:
    parts = [module for module in MODULES if subject(module) == "client"]
    known = {subject(name) for part in parts for name in imports(part) if name.split(".")[0] == "streamcap"}
    assert known <= LAYERS[0] | LAYERS[1] | {"client", "wire"}


def test_the_service_imports_no_tools_of_the_checkout() -> None:
    tools = {"engines", "benchmarks", "tests"}
    found = {
        module: names for module in MODULES if (names := {each.partition(".")[0] for each in imports(module)} & tools)
    }
    assert not found


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {module: imports(module) & MODULES.keys() - {module} for module in MODULES}
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in done:
            for below in sorted(graph[module]):
                walk(below, (*path, module))
            done.add(module)

    for module in sorted(graph):
        walk(module, ())


@pytest.mark.parametrize(
    "module",
    [
        "streamcap.client",
        "streamcap.questions",
        "streamcap.wire",
        "streamcap.cli",
        "streamcap.cli.models",
        "streamcap.cli.doctor",
        "streamcap.tokens",
    ],
)
def test_a_subscriber_installs_without_the_vision_packages(module: str) -> None:
    blocker = f"""
import importlib, importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {set(NOT_IN_BASE)!r}:
            raise ImportError(f"{{name}} is not part of the base install")

sys.meta_path.insert(0, Blocker())
importlib.import_module({module!r})
"""
    done = subprocess.run([sys.executable, "-c", blocker], capture_output=True, text=True, timeout=LONG_S, check=False)
    assert done.returncode == 0, done.stderr


def test_a_violation_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING\n"
        "import streamcap.hub\n"
        "from streamcap import wire\n"
        "from . import manager\n"
        "from .sources import base\n"
        "if TYPE_CHECKING:\n    from streamcap.server import app\n"
        "def late():\n    import streamcap.cli\n",
        encoding="utf-8",
    )
    monkeypatch.setitem(MODULES, "streamcap.bad", file)
    monkeypatch.setitem(MODULES, "streamcap.manager", file)
    found = {subject(name) for name in imports("streamcap.bad") if name.startswith("streamcap")}
    assert found >= {"hub", "manager", "sources", "server", "cli"}
