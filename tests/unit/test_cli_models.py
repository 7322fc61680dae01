from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from streamcap.cli.models import models_app, weights_progress
from streamcap.errors import StreamcapError, UsageError, WeightsCorrupt, WeightsUnavailable
from streamcap.models.catalog import load_catalog

IDS = [entry.id for entry in load_catalog().entries]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    monkeypatch.setenv("STREAMCAP_CACHE", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "models"


def run(app: typer.Typer, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=True)


def error_of(result: Result) -> StreamcapError:
    assert isinstance(result.exception, StreamcapError), result.exception
    return result.exception


def test_list_shows_all_that_matters() -> None:
    result = run(models_app, "list")
    assert result.exit_code == 0
    for entry in load_catalog().entries:
        row = next(line for line in result.stdout.splitlines() if line.startswith(f"{entry.id} "))
        assert row.split()[1] == entry.role
        assert f"{entry.size / 1e6:.1f} MB" in row
        assert entry.licence in row
        assert row.split()[-1] == "absent"
        assert f"{entry.id}: {entry.upstream}" in result.stdout


def test_list_as_json(cache: Path) -> None:
    cache.mkdir()
    (cache / load_catalog().entries[0].file).write_bytes(b"damaged")
    rows = json.loads(run(models_app, "list", "--json").stdout)
    assert [row["id"] for row in rows] == IDS
    assert rows[0]["state"] == "damaged"
    assert rows[0]["cached"] is False
    assert rows[1]["state"] == "absent"
    assert {"role", "runtime", "size", "sha256", "licence", "upstream", "sources", "path"} <= rows[0].keys()


def test_pull_names_what_cannot_be_had_and_goes_on(cache: Path) -> None:
    result = run(models_app, "pull", "demo-clip", "movenet-lightning")
    error = error_of(result)
    assert isinstance(error, WeightsUnavailable)
    assert "movenet-lightning" in str(error)
    assert str(cache) in error.hint
    assert "failed no source of demo-clip can be reached" in result.stderr
    assert "by hand: get https://" in result.stderr


def test_pull_refuses_what_is_not_there_or_contradicts_itself() -> None:
    assert isinstance(error_of(run(models_app, "pull", "yolo")), UsageError)
    assert isinstance(error_of(run(models_app, "pull", "--all", IDS[0])), UsageError)


def test_verify_finds_damage(cache: Path) -> None:
    assert run(models_app, "verify").exit_code == 0
    cache.mkdir()
    entry = load_catalog().entries[0]
    (cache / entry.file).write_bytes(bytes(entry.size))
    result = run(models_app, "verify")
    error = error_of(result)
    assert isinstance(error, WeightsCorrupt)
    assert error.hint == f"streamcap models pull {entry.id}"
    assert f"damaged  {entry.id}" in result.stdout


def test_progress_in_a_log_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with weights_progress(Console(highlight=False)) as progress:
        for done in range(0, 50_000_001, 100_000):
            progress(done, 50_000_000, "x from y")
        progress(1, 100, "small from y")
        progress(100, 100, "small from y")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "fetching x from y",
        *(f"fetching x from y: {share} % of 50.0 MB" for share in (25, 50, 75, 100)),
        "fetching small from y",
    ]


def test_progress_on_a_terminal_shows_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with weights_progress(Console(force_terminal=True, width=120)) as progress:
        progress(0, 0, "x from y")
        progress(50_000_000, 100_000_000, "x from y")
        progress(1, 2, "z from y")
    out = capsys.readouterr().out
    assert "x from y" in out
    assert "z from y" in out
