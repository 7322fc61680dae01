from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamcap.models.catalog import Entry
from streamcap.models.store import LockStalled, State, Store, cache_root
from tests.patience import PATIENCE_S

BODY = b"weights"


@pytest.fixture
def entry() -> Entry:
    return Entry.model_validate(
        {
            "id": "a",
            "role": "test",
            "runtime": "none",
            "file": "a.bin",
            "size": len(BODY),
            "sha256": hashlib.sha256(BODY).hexdigest(),
            "licence": "MIT",
            "upstream": "this test",
            "sources": ["file:/nowhere"],
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def install(store: Store, entry: Entry) -> Path:
    store.root.mkdir(exist_ok=True)
    whole = store.part(entry)
    whole.write_bytes(BODY)
    return store.install(entry, whole)


def test_the_cache_follows_its_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAMCAP_CACHE", str(tmp_path))
    assert cache_root() == tmp_path / "models"
    monkeypatch.delenv("STREAMCAP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "streamcap" / "models"


def test_looking_creates_nothing(store: Store, entry: Entry) -> None:
    assert store.state(entry) is State.ABSENT
    assert store.recheck(entry) is State.ABSENT
    assert not store.root.exists()


def test_the_hash_is_remembered_by_size_and_time_and_recheck_reads_again(store: Store, entry: Entry) -> None:
    path = install(store, entry)
    assert store.state(entry) is State.CACHED
    before = path.stat()
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.state(entry) is State.CACHED  # size and time are as they were: nothing was read
    assert store.recheck(entry) is State.DAMAGED
    assert store.state(entry) is State.DAMAGED  # and what was remembered is forgotten


def test_a_change_is_seen_by_its_time(store: Store, entry: Entry) -> None:
    path = install(store, entry)
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(0, 0))
    assert store.state(entry) is State.DAMAGED
    path.write_bytes(BODY)
    assert store.state(entry) is State.CACHED


def test_another_hash_in_the_catalog_is_not_satisfied_by_an_old_memory(store: Store, entry: Entry) -> None:
    install(store, entry)
    other = entry.model_copy(update={"sha256": "0" * 64})
    assert store.state(other) is State.DAMAGED


@pytest.mark.parametrize("memo", ["", "[", "{}", '["x", 1]'])
def test_a_broken_memory_only_costs_a_hash(store: Store, entry: Entry, memo: str) -> None:
    path = install(store, entry)
    path.with_name("a.bin.verified").write_text(memo, encoding="utf-8")
    assert store.state(entry) is State.CACHED


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """As root, files are opened as nobody by this thread meanwhile: root may write what is read-only."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.setfsuid(65534)
    try:
        yield
    finally:
        libc.setfsuid(0)


def test_a_complete_cache_may_be_read_only(entry: Entry) -> None:
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, which nobody else may enter
        root = Path(folder)
        (root / "a.bin").write_bytes(BODY)
        (root / "a.bin").chmod(0o444)
        root.chmod(0o555)
        with unprivileged():
            with pytest.raises(PermissionError):
                (root / "new").touch()
            assert Store(root).state(entry) is State.CACHED
            with pytest.raises(PermissionError), Store(root).lock(entry):
                pass
        root.chmod(0o755)
        assert [p.name for p in root.iterdir()] == ["a.bin"]


def test_the_lock_excludes_and_is_freed(store: Store, entry: Entry) -> None:
    waited = threading.Event()
    order: list[str] = []

    def second() -> None:
        with store.lock(entry, on_wait=waited.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with store.lock(entry):
        thread.start()
        assert waited.wait(PATIENCE_S)
        order.append("first")
    thread.join(PATIENCE_S)
    assert order == ["first", "second"]


def test_a_holder_that_gets_nowhere_is_given_up(store: Store, entry: Entry) -> None:
    with store.lock(entry), pytest.raises(LockStalled, match="a and got nowhere"), store.lock(entry, stall_s=0.2):
        pass


def test_a_holder_that_gets_on_is_waited_for(store: Store, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """For several times the patience, as long as the part grows: whenever it is looked at, two seconds have passed."""
    long, done, looks = threading.Event(), threading.Event(), itertools.count(1)

    def monotonic() -> float:
        look = next(looks)
        store.part(entry).write_bytes(b"x" * look)
        if look == 12:
            long.set()
        return 2.0 * look

    def second() -> None:
        with store.lock(entry, stall_s=3.0):
            done.set()

    monkeypatch.setattr("streamcap.models.store.time", SimpleNamespace(monotonic=monotonic, sleep=time.sleep))
    thread = threading.Thread(target=second)
    with store.lock(entry):
        thread.start()
        assert long.wait(PATIENCE_S)
        assert not done.is_set()
    thread.join(PATIENCE_S)
    assert done.is_set()
