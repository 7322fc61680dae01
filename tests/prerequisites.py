"""What some tests need beside the Python packages. Missing: skip. Missing and named in ``STREAMCAP_REQUIRE``: fail."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import LONG_S

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
SYSTEM_PYTHON = "/usr/bin/python3"


def required() -> set[str]:
    """Names that ``STREAMCAP_REQUIRE`` lists; what is in there must not be skipped."""
    names = {name.strip() for name in os.environ.get("STREAMCAP_REQUIRE", "").split(",")} - {""}
    if unknown := names - PREREQUISITES.keys():
        raise pytest.UsageError(
            f"STREAMCAP_REQUIRE: unknown {', '.join(sorted(unknown))}; known: {', '.join(PREREQUISITES)}"
        )
    return names


def need(name: str) -> None:
    """Skip the running test where a prerequisite is missing, or fail it where it must be there."""
    if trouble := missing(name):
        if name in required():
            pytest.fail(f"{name} is required here, but {trouble}", pytrace=False)
        pytest.skip(f"{name}: {trouble}")


@functools.cache
def missing(name: str) -> str:
    """Why a prerequisite is not met, or an empty string; looked at once a session."""
    return PREREQUISITES[name]()


def _rtsp() -> str:
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, text=True, timeout=LONG_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{SYSTEM_PYTHON} does not run: {error}"
    return "" if done.returncode == 0 else f"{SYSTEM_PYTHON} has no GstRtspServer (see CONTRIBUTING.md)"


def _ffmpeg() -> str:
    return "" if shutil.which("ffmpeg") else "no ffmpeg on the PATH"


def _srt() -> str:
    from streamcap.sources.srt_library import library_path

    if library_path() is None:
        return "no libsrt on this machine"
    done = subprocess.run(
        ["ffmpeg", "-v", "quiet", "-protocols"], capture_output=True, text=True, timeout=LONG_S, check=False
    )
    return "" if "srt" in done.stdout.split() else "this ffmpeg speaks no srt"


def _folder(*parts: str) -> Callable[[], str]:
    path = SHARED.joinpath(*parts)
    return lambda: "" if path.exists() else f"{path} is not there"


def _weights() -> str:
    from streamcap.errors import StreamcapError
    from streamcap.models.resolver import Resolver

    try:
        Resolver().pull(["default", "outlines"])
    except StreamcapError as error:
        return str(error)
    return ""


def _node() -> str:
    return "" if shutil.which("node") and shutil.which("npm") else "no node with npm on the PATH"


def _webrtc() -> str:
    try:
        from aioice.ice import get_host_addresses
    except ImportError:
        return "aiortc is not installed"
    return "" if get_host_addresses(use_ipv4=True, use_ipv6=False) else "no network interface beside loopback"


def _turn() -> str:
    return "" if shutil.which("turnserver") else "no turnserver on the PATH (Debian: coturn)"


def _browser() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    return "" if found else "no Chromium"


def _packages(extra: str, *names: str) -> Callable[[], str]:
    """Looked for, not imported: torch takes seconds."""

    def look() -> str:
        absent = [name for name in names if importlib.util.find_spec(name) is None]
        return f"{', '.join(absent)} not installed: pip install '.[{extra}]', or make test" if absent else ""

    return look


def _tensorrt_rtx() -> str:
    try:
        importlib.import_module("tensorrt_rtx")
    except (ImportError, OSError) as error:  # no such package, or its libraries do not load here
        return f"tensorrt_rtx cannot be imported: {error}"
    return ""


PREREQUISITES: dict[str, Callable[[], str]] = {
    "rtsp": _rtsp,
    "ffmpeg": _ffmpeg,
    "srt": _srt,
    "node": _node,
    "webrtc": _webrtc,
    "turn": _turn,
    "browser": _browser,  # tests/browser, which reads the names by itself
    "weights": _weights,
    "torch": _packages("torch", "torch", "transformers", "peft"),
    "openai": _packages("openai", "openai"),
    "engines": _packages("engines", "torch", "onnx", "onnxscript"),
    "tensorrt-rtx": _tensorrt_rtx,
    "clips": _folder("clips", "truth.json"),
    "stress": _folder("stress", "manifest.json"),
    "scorer": _folder("tools", "score_captions.py"),
}
