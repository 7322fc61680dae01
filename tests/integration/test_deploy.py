"""What docker/ builds and runs, without Docker: the same steps, in the same order, by a user who owns nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streamcap import __version__
from streamcap.config import is_loopback, load_settings
from streamcap.journal.files import FILE_NAME
from streamcap.journal.sqlite import SqliteJournal
from streamcap.models.kernels import kernels_path
from streamcap.models.store import cache_root
from tests.cameras import free_port
from tests.feeding import event
from tests.patience import LONG_S, PATIENCE_S
from tests.prerequisites import ROOT, need
from tests.programs import until

DOCKER = ROOT / "docker"
NOGROUP = "nogroup"
HEALTHCHECK = DOCKER / "healthcheck.py"
BUILD_S = 900  # pip fetches what the image holds
# yes: install everything that the image holds, as its RUN lines say, with Debian's Python, and run it as `nobody` (as
# root only). Otherwise the wheel alone is installed, over this environment's packages: the same program within seconds.
WHOLE = os.environ.get("STREAMCAP_IMAGE") == "whole"


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Instructions and what they say, with continued lines joined and comments left out."""
    text = re.sub(r"(?m)^\s*#.*\n", "", dockerfile)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


def by_stage(steps: list[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, by its name."""
    stages: dict[str, list[tuple[str, str]]] = {"": []}
    for word, rest in steps:
        if word == "FROM":
            stages[rest.rpartition(" AS ")[2]] = []
        else:
            stages[list(stages)[-1]].append((word, rest))
    return stages


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    return instructions((DOCKER / "Dockerfile").read_text("utf-8"))


def test_what_is_copied_is_there_and_not_ignored(steps: list[tuple[str, str]]) -> None:
    ignore = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert ignore[ignore.index("*") :], "nothing goes to the builder unless it is named"
    copied = [rest.split()[:-1] for word, rest in steps if word == "COPY" and not rest.startswith("--from")]
    assert copied
    for source in {path for paths in copied for path in paths}:
        assert (ROOT / source).exists() and f"!{source}" in ignore, source


def test_both_targets_run_as_somebody_who_is_nobody(steps: list[tuple[str, str]]) -> None:
    stages = by_stage(steps)
    for name in ("cpu", "gpu"):
        said = dict(stages[name])
        assert said["USER"] == "10001:10001" and said["EXPOSE"] == "8750"
        assert "/opt/streamcap/healthcheck.py" in said["HEALTHCHECK"] and "/opt/streamcap/" in said["COPY"]
        assert json.loads(said["ENTRYPOINT"]) == ["streamcap"] and json.loads(said["CMD"])[0] == "serve"
    assert list(stages)[-1] == "cpu", "what a build without a target gives"


def test_the_tools_of_the_engines_image_are_whole(steps: list[tuple[str, str]], tmp_path: Path) -> None:
    """They run with nothing of the checkout but what that image holds of it."""
    stage = by_stage(steps)["engines"]
    for word, rest in stage:
        if word == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            for source in sources:
                place = tmp_path / target.removeprefix("/opt/streamcap/tools/")
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    place.mkdir(exist_ok=True)
                    shutil.copy(ROOT / source, place)
    said = dict(stage)
    assert said["USER"] == "10001:10001" and "PYTHONPATH=/opt/streamcap/tools" in said["ENV"]
    (tmp_path / "streamcap").symlink_to(ROOT / "streamcap")  # installed from the wheel there
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "STREAMCAP_CACHE": str(tmp_path / "cache")}
    entry = [sys.executable, "-P", *json.loads(said["ENTRYPOINT"])[1:]]
    for words, code in (("list", 0), ("bench clip-vit-b16", 4)):
        done = subprocess.run([*entry, *words.split()], env=environment, capture_output=True, text=True, timeout=LONG_S)
        assert (done.returncode, "a defect" in done.stderr) == (code, False), done.stderr
        assert "nothing is made yet" in done.stdout or "there is no graph in" in done.stderr


def test_the_settings_of_the_compose_file_hold() -> None:
    settings = load_settings(DOCKER / "streamcap.toml")
    compose = (DOCKER / "compose.yml").read_text("utf-8")
    assert not is_loopback(settings.server.host) and f":{settings.server.port}" in compose
    assert settings.server.data is not None and f"data:{settings.server.data.as_posix()}" in compose
    assert settings.streams[0].source in compose, "what is published there is watched"
    assert not settings.security.insecure, "who comes from outside needs a token"


def test_the_gpu_service_has_a_place_for_what_is_compiled_of_plans(
    steps: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans are mounted to be read only; kernels are written to a volume that belongs to the image's user."""
    stage = dict(by_stage(steps)["gpu"])
    (cache,) = re.findall(r"STREAMCAP_CACHE=(\S+)", stage["ENV"])
    monkeypatch.setenv("STREAMCAP_CACHE", cache)
    plans = f"{cache}/engines"
    kernels = kernels_path(Path(plans, "clip", "x.plan"), "a GPU").parent.as_posix()
    made = re.fullmatch(r"install --directory --owner=10001 --group=10001 --mode=0755 (.+)", stage["RUN"])
    assert made is not None and made.group(1).split() == [plans, kernels]
    compose = (DOCKER / "compose.gpu.yml").read_text("utf-8")
    assert f"engines:{plans}:ro" in compose
    assert re.search(rf"- kernels:{kernels}\s", compose) and re.search(r"^  kernels:$", compose, re.MULTILINE)


async def test_a_copy_of_the_journal_is_put_back_as_the_manual_says(tmp_path: Path) -> None:
    manual = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    (statement,) = re.findall(r'sqlite3 journal\.sqlite3 "(.+)"', manual)
    running, copy = tmp_path / "running", tmp_path / "copy"
    copy.mkdir()
    journal = await SqliteJournal.open(running)
    await journal.append("cam", [event(1), event(2)])
    with (
        contextlib.closing(sqlite3.connect(running / FILE_NAME)) as ours,
        contextlib.closing(sqlite3.connect(copy / FILE_NAME)) as theirs,
    ):
        ours.backup(theirs)  # what the shell's .backup does, while it runs
    await journal.append("cam", [event(3)])
    epoch = journal.epoch
    await journal.close()
    with contextlib.closing(sqlite3.connect(copy / FILE_NAME)) as theirs:
        theirs.execute(statement)
        theirs.commit()
    journal = await SqliteJournal.open(copy)
    assert journal.epoch != epoch and len(journal.epoch) == len(epoch)
    assert [message.seq for message, _ in await journal.append("cam", [event(4)])] == [3], "after what the copy holds"
    await journal.close()


@dataclass(frozen=True)
class Image:
    """What the image holds, in a folder.

    Attributes:
        opt: stands for ``/opt/streamcap``.
        who: whose rights it runs with; None for the tests' own.
    """

    opt: Path
    env: dict[str, str]
    who: str | None

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Run a program of the image, in its data folder, without anything of the tests' environment."""
        return subprocess.Popen(
            arguments, cwd=self.env["STREAMCAP_DATA"], env=self.env, user=self.who, group=self.who and NOGROUP,
            extra_groups=[] if self.who else None, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, **options,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run one to its end."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=LONG_S)
            return process.returncode, out, err


@pytest.fixture(scope="module")
def image(steps: list[tuple[str, str]]) -> Iterator[Image]:
    need("weights")
    with tempfile.TemporaryDirectory(prefix="streamcap-image-") as folder:  # pytest's own are closed to everybody else
        Path(folder).chmod(0o755)
        yield _image(steps, Path(folder))


def _image(steps: list[tuple[str, str]], root: Path) -> Image:
    opt, dist, data = root / "streamcap", root / "dist", root / "data"
    for word, rest in by_stage(steps)["wheel"]:
        if word == "RUN":
            assert "pip wheel --no-deps --wheel-dir /dist ." in rest
            build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w"]
            subprocess.run([*build, str(dist), str(ROOT)], check=True, timeout=BUILD_S, capture_output=True)
    data.mkdir(mode=0o700)
    env = {"PATH": f"{opt}/bin:/usr/bin:/bin", "STREAMCAP_DATA": str(data), "LANG": "C.UTF-8"}
    if WHOLE:
        env["STREAMCAP_CACHE"] = str(opt / "cache")
        _build(by_stage(steps)["cpu-build"], {"/opt/streamcap": str(opt), "/dist": str(dist)})
        shutil.copy(HEALTHCHECK, opt)
        shutil.chown(data, "nobody", NOGROUP)
        return Image(opt, env, "nobody")
    env["STREAMCAP_CACHE"] = str(cache_root().parent)
    subprocess.run([sys.executable, "-m", "venv", opt], check=True, timeout=LONG_S)
    (site,) = opt.glob("lib/python*/site-packages")
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    install = [str(opt / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", *map(str, dist.glob("*.whl"))]
    subprocess.run(install, check=True, timeout=LONG_S)
    shutil.copy(HEALTHCHECK, opt)
    return Image(opt, env, None)


def _build(stage: list[tuple[str, str]], places: dict[str, str]) -> None:
    """The RUN lines of a stage, with its arguments and in other places."""
    said = dict(os.environ)
    for word, rest in stage:
        for here, there in places.items():
            rest = rest.replace(here, there)
        if word in {"ARG", "ENV"}:
            name, _, value = rest.partition("=")
            said[name] = value
        elif word == "RUN":
            script = re.sub(r"--mount=\S+", "", rest).replace("python3 -m venv", "/usr/bin/python3 -m venv")
            subprocess.run(["/bin/sh", "-euc", script], env=said, check=True, timeout=BUILD_S)


def test_the_image_serves_says_that_it_is_well_and_stops(image: Image, tmp_path: Path) -> None:
    assert image.run("streamcap", "--version") == (0, f"streamcap {__version__}\n", "")
    python, check = str(image.opt / "bin" / "python"), str(image.opt / "healthcheck.py")
    url = f"http://127.0.0.1:{(port := free_port())}/healthz"
    assert image.run(python, check, url)[0] == 1, "nobody is there yet"

    settings = image.opt.parent / "streamcap.toml"
    text = (DOCKER / "streamcap.toml").read_text("utf-8")
    settings.write_text(text.replace("/var/lib/streamcap", image.env["STREAMCAP_DATA"]), "utf-8")
    serve = ("streamcap", "serve", "--config", str(settings), "--port", str(port))
    code, _, err = image.run(*serve)
    assert code == 2 and "token" in err, "who comes from outside needs a token, and nobody has one"
    code, token, _ = image.run("streamcap", "token", "create", "--scope", "read", "--name", "me")
    assert code == 0 and token.startswith("sc_")

    with image.start(*serve) as server:
        until(lambda: server.poll() is not None or image.run(python, check, url)[0] == 0)
        request = urllib.request.Request(url.replace("healthz", "v1/streams"))
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=PATIENCE_S)
        request.add_header("authorization", f"Bearer {token.strip()}")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            assert [each["id"] for each in json.load(answer)["streams"]] == ["sample"]
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=LONG_S)
        assert server.returncode == 0 and "Traceback" not in err, err
    written = sorted(path.name for path in Path(image.env["STREAMCAP_DATA"]).iterdir())
    assert "journal.sqlite3" in written and "tokens.json" in written
    if image.who:
        assert image.run("find", str(image.opt), "-writable", "-not", "-type", "l") == (0, "", ""), "root's alone"
