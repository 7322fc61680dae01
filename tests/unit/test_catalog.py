from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.errors import ConfigError, UsageError
from streamcap.models.catalog import (
    Entry,
    FileSource,
    HttpSource,
    HubSource,
    Source,
    WheelSource,
    load_catalog,
    parse_source,
)

ENTRY = {
    "id": "a",
    "role": "detector",
    "runtime": "litert",
    "file": "a.tflite",
    "size": 3,
    "sha256": "ab" * 32,
    "licence": "MIT",
    "upstream": "somebody",
    "sources": ["https://example.org/a"],
}


def toml(*entries: dict[str, object]) -> str:
    def value(v: object) -> str:
        return str(v) if isinstance(v, int) else repr(v)

    return "\n".join("[[entry]]\n" + "\n".join(f"{k} = {value(v)}" for k, v in e.items()) for e in entries)


@pytest.fixture
def write(tmp_path: Path) -> Path:
    return tmp_path / "catalog.toml"


def test_the_catalog_that_is_shipped_holds() -> None:
    catalog = load_catalog()
    roles = {entry.role for entry in catalog.required_by("default")}
    assert roles == {"detector", "encoder", "pose"}
    assert [entry.id for entry in catalog.chain("demo-clip")] == ["demo-clip", "demo-clip-street"]
    assert {entry.role for entry in catalog.chain("demo-clip")} == {"demo-clip"}


def test_what_the_default_needs_is_in_the_package_registries() -> None:
    for entry in load_catalog().required_by("default"):
        assert any(isinstance(source, WheelSource) for source in entry.sources), entry.id


@pytest.mark.parametrize("entry", load_catalog().entries, ids=lambda entry: entry.id)
def test_plain_downloads_are_encrypted_and_pinned(entry: Entry) -> None:
    for source in entry.sources:
        if isinstance(source, HttpSource):
            assert source.url.startswith("https://")
            assert "/master/" not in source.url
            assert "/latest/" not in source.url


NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,12}", fullmatch=True)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
SOURCES: st.SearchStrategy[Source] = st.one_of(
    st.builds(lambda path: HttpSource(f"https://example.org/{path}"), PATHS),
    st.builds(lambda owner, name, path, rev: HubSource(f"{owner}/{name}", path, rev), NAMES, NAMES, PATHS, NAMES),
    st.builds(WheelSource, NAMES, st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", fullmatch=True), PATHS),
    st.builds(lambda path: FileSource(Path("/") / path), PATHS),
)


@given(SOURCES)
def test_a_source_reads_back_as_it_was_written(source: Source) -> None:
    assert parse_source(str(source)) == source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://example.org/a",
        "hf:owner/repo/file",
        "hf:owner@main",
        "pypi:pkg/file",
        "pypi:pkg==1.0",
        "pypi:pkg>=1.0/file",
        "pypi:--index-url==1/file",
        "file:relative/path",
    ],
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="source"):
        parse_source(text)


def test_file_urls_are_read_with_and_without_slashes() -> None:
    assert parse_source("file:///srv/a b") == parse_source("file:/srv/a b") == FileSource(Path("/srv/a b"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("entry = [", "not TOML"),
        ("", "entry"),
        (toml(ENTRY, ENTRY), "'a' stands twice"),
        (toml(ENTRY, ENTRY | {"id": "b"}), "'a.tflite' stands twice"),
        (toml(ENTRY | {"sha256": "AB" * 32}), "sha256"),
        (toml(ENTRY | {"size": 0}), "size"),
        (toml(ENTRY | {"file": "../a"}), "plain file name"),
        (toml(ENTRY | {"file": ".."}), "plain file name"),
        (toml(ENTRY | {"sources": []}), "sources"),
        (toml(ENTRY | {"sources": ["gopher://a"]}), "not a source"),
        (toml(ENTRY | {"colour": "red"}), "colour"),
        (toml(ENTRY | {"fallback": "b"}), "'b' is not in the catalog"),
        (toml(ENTRY | {"fallback": "a"}), "circle"),
        (toml(ENTRY | {"fallback": "b"}, ENTRY | {"id": "b", "file": "b", "fallback": "a"}), "circle"),
        (toml({k: v for k, v in ENTRY.items() if k != "licence"}), "licence"),
    ],
)
def test_a_bad_catalog_is_refused_in_one_line(write: Path, text: str, says: str) -> None:
    write.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_catalog(write)
    assert says in str(caught.value)
    assert "catalog.toml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_catalog_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_catalog(tmp_path / "none.toml")


def test_an_unknown_id_is_refused_with_a_suggestion(write: Path) -> None:
    write.write_text(toml(ENTRY | {"id": "movenet"}), encoding="utf-8")
    catalog = load_catalog(write)
    with pytest.raises(UsageError) as caught:
        catalog.entry("movnet")
    assert caught.value.hint == "did you mean movenet?"
    with pytest.raises(UsageError) as caught:
        catalog.entry("xyz")
    assert caught.value.hint == "known: movenet"
    assert catalog.required_by("nobody") == ()
