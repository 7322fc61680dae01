"""``streamcap doctor``: can the embedded default run here, and if not, which one command mends it."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from streamcap import __version__
from streamcap.cli.checks import Check, Level
from streamcap.cli.doctor_engines import examine_engines
from streamcap.cli.loading import DetectorOption, DeviceOption, EncoderOption, models_wanted
from streamcap.config import ModelSettings
from streamcap.errors import StreamcapError

__all__ = ["Check", "Level", "doctor_command", "examine"]

DEFAULT_PORT = 8750
_INSTALL = "pip install 'streamcap[cpu]'"
# Below this, decoding one 1080p stream beside the models gets the process killed on small machines.
_LEAST_MEMORY = 1_000_000_000
_LEAST_CPUS = 2

# module: distribution. What the embedded default imports.
_RUNTIME = {
    "numpy": "numpy",
    "av": "av",
    "cv2": "opencv-python-headless",
    "scipy": "scipy",
    "ai_edge_litert.interpreter": "ai-edge-litert",
    "onnxruntime": "onnxruntime",
    "inflect": "inflect",
    "platformdirs": "platformdirs",
    "httpx": "httpx",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "websockets": "websockets",
    "pydantic": "pydantic",
}
# Another distribution that brings the same module.
_TWINS = {"onnxruntime": "onnxruntime-gpu", "opencv-python-headless": "opencv-python"}


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, one JSON document.")] = False,
    port: Annotated[int, typer.Option(help="The port that `streamcap serve` shall listen on.")] = DEFAULT_PORT,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings file (TOML), whose [models] are looked at.")
    ] = None,
    encoder: EncoderOption = None,
    detector: DetectorOption = None,
    device: DeviceOption = None,
) -> None:
    """Look whether streamcap can run here, and say what to do where it cannot. Exit 0 if it can, else 4."""
    models = models_wanted(config, encoder=encoder, detector=detector, device=device)
    checks = list(examine(port, models))
    able = not any(check.level is Level.MISSING for check in checks)
    if as_json:
        typer.echo(json.dumps({"ok": able, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        _print(checks, able, "the embedded default" if models == ModelSettings() else "what these settings name")
    raise typer.Exit(0 if able else 4)


def examine(port: int = DEFAULT_PORT, models: ModelSettings = ModelSettings()) -> Iterator[Check]:
    """Look at everything, in the order in which things depend on each other; touches no network but this machine's."""
    yield _python()
    for module, distribution in _RUNTIME.items():
        yield _package(module, distribution)
    yield from _onnxruntime()
    yield from _video()
    yield _webrtc()
    yield _cpus()
    yield _memory()
    yield from _weights()
    yield from examine_engines(models)
    yield _port(port)


def _print(checks: list[Check], able: bool, what: str) -> None:
    out = Console(highlight=False)
    style = {Level.OK: "green", Level.WARN: "yellow", Level.MISSING: "red"}
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = f"[{style[check.level]}]{check.level:7}[/]"
        out.print(f"{mark} {check.name:{width}}  {escape(check.detail)}", soft_wrap=True)
        if check.fix:
            out.print(f"{'':8}{'':{width}}  → {escape(check.fix)}", soft_wrap=True)
    verdict = f"[green]{what} can run[/]" if able else f"[red]{what} cannot run yet[/]"
    out.print(f"\nstreamcap {__version__}: {verdict}")


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < (3, 11):  # noqa: UP036 - a copied tree may be run by an older one
        return Check("python", Level.MISSING, found, "install Python 3.11 or newer")
    return Check("python", Level.OK, found)


def _package(module: str, distribution: str) -> Check:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        return Check(distribution, Level.MISSING, "not installed", _INSTALL)
    except (ImportError, OSError) as error:  # installed, but a shared library is not
        first = str(error).partition("\n")[0]
        return Check(distribution, Level.MISSING, f"does not load: {first}", f"{_INSTALL} --force-reinstall")
    return Check(distribution, Level.OK, _version(distribution) or _version(_TWINS.get(distribution, "")) or "found")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution) if distribution else ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def _onnxruntime() -> Iterator[Check]:
    cpu, gpu = _version("onnxruntime"), _version("onnxruntime-gpu")
    if cpu and gpu:
        yield Check(
            "onnxruntime twins",
            Level.WARN,
            f"onnxruntime {cpu} and onnxruntime-gpu {gpu} share one folder: the last installed one is in effect",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'streamcap[gpu]'",
        )
    try:
        import onnxruntime
    except ImportError:  # reported with the packages
        return
    providers: list[str] = onnxruntime.get_available_providers()
    found = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    if gpu and "CUDAExecutionProvider" not in providers:
        fix = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'streamcap[gpu]'"
        yield Check("providers", Level.WARN, f"{found}: no CUDA, though onnxruntime-gpu is installed", fix)
    else:
        yield Check("providers", Level.OK, found)
    silent = os.environ.get("ORT_DISABLE_TELEMETRY") == "1"  # set by the package itself, unless the user says otherwise
    yield Check("telemetry", Level.OK, "off" if silent else "ONNX Runtime may report to its maker, as you have set it")


def _video() -> Iterator[Check]:
    try:
        import av
    except ImportError:  # reported with the packages
        return
    have = {scheme: _speaks(scheme) for scheme in ("rtsp", "rtmp", "https")}
    found = ", ".join(scheme for scheme, spoken in have.items() if spoken)
    lacking = ", ".join(scheme for scheme, spoken in have.items() if not spoken)
    version = getattr(av, "ffmpeg_version_info", "")
    detail = f"FFmpeg {version} speaks {found}" + (f", not {lacking}" if lacking else "")
    if all(have.values()):
        yield Check("video input", Level.OK, detail)
    else:
        yield Check("video input", Level.WARN, detail, "pip install --force-reinstall --only-binary av av")
    yield _srt()


def _srt() -> Check:
    from streamcap.sources.srt_library import INSTALL, library_path

    path = library_path()
    if path is None:  # only srt: sources need it
        return Check("srt input", Level.WARN, "libsrt is not installed: srt:// sources cannot be opened", INSTALL)
    return Check("srt input", Level.OK, path)


def _webrtc() -> Check:
    missing = _package("aiortc", "aiortc")
    if missing.level is Level.OK:
        return Check("webrtc", Level.OK, f"aiortc {missing.detail}")
    return Check("webrtc", Level.WARN, f"aiortc {missing.detail}: no WHIP, no WHEP", "pip install 'streamcap[webrtc]'")


def _speaks(scheme: str) -> bool:
    """Whether FFmpeg knows the protocol: PyAV has no list of them, but an unknown one fails before any connection."""
    import av

    try:
        av.open(f"{scheme}://127.0.0.1:1/", timeout=(1.0, 1.0)).close()
    except av.ProtocolNotFoundError:
        return False
    except (av.FFmpegError, OSError):  # nobody listens there, as expected
        return True
    return True


def _cpus() -> Check:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count < _LEAST_CPUS:
        return Check("processors", Level.WARN, f"{count}", "give it 2 or more for a live stream")
    return Check("processors", Level.OK, f"{count}")


def _memory() -> Check:
    try:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return Check("memory", Level.OK, "unknown on this system")
    fields = dict(line.split(":") for line in _lines(Path("/proc/meminfo")))
    if "MemAvailable" in fields:  # counts what the page cache would give back, which sysconf does not
        available = int(fields["MemAvailable"].split()[0]) * 1024
    detail = f"{available / 1e9:.1f} of {total / 1e9:.1f} GB free"
    if available < _LEAST_MEMORY:
        return Check("memory", Level.WARN, detail, "free some: one stream needs about 0.6 GB")
    return Check("memory", Level.OK, detail)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def _weights() -> Iterator[Check]:
    try:
        from streamcap.models.resolver import Resolver

        resolver = Resolver()
        statuses = resolver.status()
    except ImportError:  # reported with the packages
        return
    except StreamcapError as error:
        yield Check("weights", Level.MISSING, str(error), error.hint)
        return
    root = resolver.store.root
    yield _cache(root)
    for status in statuses:
        needed = "default" in status.entry.required_by
        detail = f"{status.state}, {status.entry.size / 1e6:.1f} MB, {status.entry.licence}"
        fix = "" if status.cached or not needed else "streamcap models pull"
        level = Level.OK if status.cached or not needed else Level.MISSING
        if status.state == "damaged":
            level, fix = (Level.MISSING if needed else Level.WARN), f"streamcap models pull {status.entry.id}"
        yield Check(f"weights {status.entry.id}", level, detail, fix)


def _cache(root: Path) -> Check:
    existing = next(place for place in (root, *root.parents) if place.exists())
    if os.access(existing, os.W_OK | os.X_OK) and existing.is_dir():
        return Check("cache", Level.OK, str(root))
    return Check("cache", Level.WARN, f"{root} cannot be written", "set STREAMCAP_CACHE to a directory that can")


def _port(port: int) -> Check:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            detail = f"127.0.0.1:{port}: {error.strerror}"
            return Check("port", Level.WARN, detail, "streamcap serve --port with another number")
    return Check("port", Level.OK, f"127.0.0.1:{port} is free")
