"""The pages: what their headers promise, what they load, and that the wheel holds them."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from streamcap.server.pages import Pages
from tests.feeding import http_to, opened, serving
from tests.patience import LONG_S

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENTS = ROOT / "clients"
SOURCES = [path for name in ("web", "js/src", "js/examples") for path in (CLIENTS / name).rglob("*") if path.is_file()]


async def test_the_page_runs_nothing_but_its_own_files() -> None:
    async with (
        serving(await opened("cam")) as where,
        http_to(where) as http,
    ):
        page = await http.get("/")
        assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
        policy = dict(each.split(" ", 1) for each in page.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'" and policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff" and "set-cookie" not in page.headers
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page.text), "nothing inline"
        for address in re.findall(r'(?:src|href)="([^"#]+)"', page.text):
            assert address.startswith("/app/"), f"{address} is not of this server"
            assert (await http.get(address)).status_code == 200, address


async def test_files_are_compressed_and_not_sent_twice() -> None:
    async with (
        serving(await opened("cam")) as where,
        http_to(where) as http,
    ):
        script = await http.get("/app/js/src/index.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert script.headers["content-encoding"] == "gzip" and "CaptionClient" in script.text
        plain = await http.get("/app/js/src/index.js", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers and plain.content == script.content
        again = await http.get("/app/js/src/index.js", headers={"if-none-match": script.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        for path in ("/app/js/package.json", "/app/../pyproject.toml", "/app/web/%2e%2e/js/package.json", "/app/"):
            assert (await http.get(path)).status_code == 404, path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CLIENTS)))
def test_what_is_served_asks_nothing_of_others(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    # Names of XML namespaces are no addresses, nor are examples in comments.
    addresses = re.findall(r"""["'(](https?://[^"')]+)""", text)
    assert [each for each in addresses if not each.startswith("http://www.w3.org/")] == []
    if path.suffix == ".js":
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


def test_the_wheel_holds_every_file(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=LONG_S)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    inside = tmp_path / "unpacked" / "streamcap" / "clients"
    assert Pages(inside).names == Pages(CLIENTS).names
    assert not list(inside.rglob("package.json")), "nothing but what is served"
