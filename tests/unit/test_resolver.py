from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamcap.errors import UsageError, WeightsCorrupt, WeightsUnavailable
from streamcap.models.catalog import Catalog, Entry
from streamcap.models.download import FetchPolicy
from streamcap.models.resolver import Resolver, ensure
from streamcap.models.store import Store
from tests.file_server import FileServer, deaf_port, serving
from tests.patience import LONG_S, PATIENCE_S

BODY = bytes(range(256)) * 4096  # 1 MiB
FAST = FetchPolicy(connect_s=0.3, read_s=0.5, attempts=3, backoff_s=0.01, pip_s=30)

Make = Callable[..., Resolver]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxy settings do not matter here."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as server:
        yield server


def entry(*sources: str, entry_id: str = "a", body: bytes = BODY, **more: object) -> dict[str, object]:
    about = {"role": "test", "runtime": "none", "licence": "MIT", "upstream": "this test"}
    exact = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    return {"id": entry_id, "file": f"{entry_id}.bin", "sources": sources, **about, **exact, **more}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A resolver over entries, with its cache in the test's own directory."""

    def make(*entries: dict[str, object], root: Path | None = None, policy: FetchPolicy = FAST) -> Resolver:
        catalog = Catalog.model_validate({"entry": entries})
        return Resolver(catalog, Store(root or tmp_path / "cache"), policy=policy)

    return make


def leftovers(resolver: Resolver) -> set[str]:
    """Files in the cache that belong to no finished entry."""
    kept = {e.file for e in resolver.catalog.entries}
    return {p.name for p in resolver.store.root.iterdir()} - {
        f"{f}{s}" for f in kept for s in ("", ".verified", ".lock")
    }


def test_a_file_is_fetched_once_and_then_served_from_the_cache(make: Make, server: FileServer) -> None:
    server.add("/a", BODY)
    resolver = make(entry(server.url("/a")))
    assert not resolver.status()[0].cached
    path = resolver.ensure("a")
    assert path.read_bytes() == BODY
    assert resolver.ensure("a") == path
    assert resolver.ensure("a", offline=True) == path
    assert len(server.requests) == 1
    assert resolver.status()[0].cached
    assert resolver.status()[0].size == len(BODY)
    assert leftovers(resolver) == set()


def test_progress_grows_to_the_whole(make: Make, server: FileServer) -> None:
    server.add("/a", BODY)
    told: list[tuple[int, int, str]] = []
    make(entry(server.url("/a"))).ensure("a", progress=lambda *args: told.append(args))
    done = [d for d, _, _ in told]
    assert done == sorted(done)
    assert told[-1][:2] == (len(BODY), len(BODY))
    assert told[-1][2] == f"a from 127.0.0.1:{server.server_port}"


def test_a_redirect_is_followed(make: Make, server: FileServer) -> None:
    server.add("/old", b"", location="/a")
    server.add("/a", BODY)
    assert make(entry(server.url("/old"))).ensure("a").read_bytes() == BODY


def test_the_next_source_is_tried(make: Make, server: FileServer) -> None:
    server.add("/good", BODY)
    resolver = make(entry(server.url("/missing"), server.url("/good")))
    assert resolver.ensure("a").read_bytes() == BODY
    assert [request.path for request in server.requests] == ["/missing", "/good"]


def test_every_failure_is_named_with_a_way_out(make: Make, server: FileServer, tmp_path: Path) -> None:
    secret = server.url("/missing").replace("//", "//user:secret@") + "?token=secret"
    resolver = make(entry(secret, f"file:{tmp_path}/none", "http://127.0.0.1:1/closed"))
    with pytest.raises(WeightsUnavailable) as caught:
        resolver.ensure("a")
    text, hint = str(caught.value), caught.value.hint
    assert "/missing (HTTP 404 Not Found)" in text
    assert f"{tmp_path}/none (cannot be read: No such file or directory)" in text
    assert "127.0.0.1:1/closed ([Errno 111] Connection refused)" in text
    assert str(resolver.store.path(resolver.catalog.entry("a"))) in hint
    assert hashlib.sha256(BODY).hexdigest() in hint
    assert "secret" not in text + hint
    assert "\n" not in text + hint
    assert caught.value.exit_code == 4


def test_a_cut_line_is_resumed(make: Make, server: FileServer) -> None:
    server.add("/a", BODY, cuts=[300_000, 200_000])
    resolver = make(entry(server.url("/a")))
    assert resolver.ensure("a").read_bytes() == BODY
    last = len(BODY) - 1
    assert server.ranges() == [f"bytes=0-{last}", f"bytes=300000-{last}", f"bytes=500000-{last}"]


def test_a_later_call_carries_on(make: Make, server: FileServer) -> None:
    file = server.add("/a", BODY, cuts=[300_000, 0, 0, 0, 0])
    resolver = make(entry(server.url("/a")))
    with pytest.raises(WeightsUnavailable, match="peer closed"):
        resolver.ensure("a")
    assert leftovers(resolver) == {"a.bin.part", "a.bin.part.json"}
    file.cuts.clear()
    server.requests.clear()
    assert resolver.ensure("a").read_bytes() == BODY
    assert server.ranges() == [f"bytes=300000-{len(BODY) - 1}"]
    assert leftovers(resolver) == set()


def test_a_source_that_fails_does_not_throw_away_what_another_has_brought(make: Make, server: FileServer) -> None:
    file = server.add("/a", BODY, cuts=[300_000, 0, 0, 0, 0])
    resolver = make(entry(server.url("/a"), server.url("/missing")))
    with pytest.raises(WeightsUnavailable):
        resolver.ensure("a")
    file.cuts.clear()
    server.requests.clear()
    resolver.ensure("a")
    assert server.ranges() == [f"bytes=300000-{len(BODY) - 1}"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(make: Make, server: FileServer) -> None:
    server.add("/a", b"x" * len(BODY), etag='"old"', cuts=[300_000, 0, 0, 0, 0])
    resolver = make(entry(server.url("/a")))
    with pytest.raises(WeightsUnavailable):
        resolver.ensure("a")
    server.add("/a", BODY, etag='"new"')
    assert resolver.ensure("a").read_bytes() == BODY


def test_a_beginning_that_turns_out_wrong_is_dropped(make: Make, server: FileServer) -> None:
    """The server gives no sign that the file has changed: only the hash finds out."""
    server.add("/a", b"x" * len(BODY), etag="", cuts=[300_000, 0, 0, 0, 0])
    resolver = make(entry(server.url("/a")))
    with pytest.raises(WeightsUnavailable):
        resolver.ensure("a")
    server.add("/a", BODY, etag="")
    server.requests.clear()
    assert resolver.ensure("a").read_bytes() == BODY
    last = len(BODY) - 1
    assert server.ranges() == [f"bytes=300000-{last}", f"bytes=0-{last}"]


def test_a_server_without_ranges_starts_over(make: Make, server: FileServer) -> None:
    server.add("/a", BODY, ranges=False, cuts=[300_000])
    assert make(entry(server.url("/a"))).ensure("a").read_bytes() == BODY
    assert len(server.requests) == 2


def test_a_broken_note_beside_the_part_is_no_trouble(make: Make, server: FileServer) -> None:
    server.add("/a", BODY)
    resolver = make(entry(server.url("/a")))
    resolver.store.root.mkdir()
    (resolver.store.root / "a.bin.part").write_bytes(b"junk")
    (resolver.store.root / "a.bin.part.json").write_text("[1", encoding="utf-8")
    assert resolver.ensure("a").read_bytes() == BODY


def test_a_server_in_trouble_is_asked_again(make: Make, server: FileServer) -> None:
    server.add("/a", BODY, statuses=[503, 429])
    assert make(entry(server.url("/a"))).ensure("a").read_bytes() == BODY
    assert len(server.requests) == 3


def test_wrong_bytes_are_never_installed_and_the_next_source_serves(make: Make, server: FileServer) -> None:
    server.add("/bad", b"x" * len(BODY))
    server.add("/long", BODY + b"x")
    server.add("/short", BODY[:-1])
    server.add("/good", BODY)
    resolver = make(entry(*(server.url(f"/{name}") for name in ("bad", "long", "short", "good"))))
    assert resolver.ensure("a").read_bytes() == BODY
    assert leftovers(resolver) == set()


def test_only_wrong_bytes_is_corruption(make: Make, server: FileServer) -> None:
    server.add("/bad", b"x" * len(BODY))
    server.add("/short", b"not found, says this page")
    resolver = make(entry(server.url("/bad"), server.url("/short")))
    with pytest.raises(WeightsCorrupt) as caught:
        resolver.ensure("a")
    assert hashlib.sha256(b"x" * len(BODY)).hexdigest() in str(caught.value)
    assert "25 bytes" in str(caught.value)
    assert not resolver.status()[0].cached


def test_who_does_not_answer_costs_little_time(make: Make, server: FileServer) -> None:
    server.add("/silent", b"", silent=True)
    server.add("/good", BODY)
    with deaf_port() as port:
        resolver = make(
            entry(f"http://127.0.0.1:{port}/a", server.url("/silent"), server.url("/good")),
            policy=FetchPolicy(connect_s=0.2, read_s=0.2, attempts=2, backoff_s=0.01),
        )
        assert resolver.ensure("a").read_bytes() == BODY


def test_a_host_that_cannot_be_connected_is_named_so(make: Make) -> None:
    with deaf_port() as port, pytest.raises(WeightsUnavailable, match="no connection in time"):
        make(entry(f"http://127.0.0.1:{port}/a")).ensure("a")


def test_a_hub_source_follows_its_environment(make: Make, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url("/mirror/"))
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    server.add("/mirror/o/r/resolve/v1/dir/a.onnx", BODY)
    assert make(entry("hf:o/r/dir/a.onnx@v1")).ensure("a").read_bytes() == BODY
    assert server.requests[0].authorization == "Bearer hf_abc"


def test_a_proxy_is_used(make: Make, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url(""))
    server.add("http://weights.invalid/a", BODY)
    assert make(entry("http://weights.invalid/a")).ensure("a").read_bytes() == BODY


@pytest.mark.parametrize(("name", "value"), [("SSL_CERT_FILE", "/none.pem"), ("ALL_PROXY", "nonsense://h")])
def test_network_settings_that_do_not_hold_are_named(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(WeightsUnavailable, match="network settings do not hold"):
        make(entry("https://127.0.0.1:1/a")).ensure("a")


def test_offline_says_what_to_do(make: Make, server: FileServer) -> None:
    server.add("/a", BODY)
    resolver = make(entry(server.url("/a")))
    with pytest.raises(WeightsUnavailable) as caught:
        resolver.ensure("a", offline=True)
    assert "streamcap models pull a" in caught.value.hint
    assert server.requests == []


def test_a_file_placed_by_hand_is_taken(make: Make, tmp_path: Path) -> None:
    resolver = make(entry("http://127.0.0.1:1/a"))
    place = resolver.store.path(resolver.catalog.entry("a"))
    place.parent.mkdir()
    place.write_bytes(BODY)
    assert resolver.ensure("a") == place


def test_a_wrong_file_placed_by_hand_is_refused_or_replaced(make: Make, server: FileServer) -> None:
    server.add("/a", BODY)
    resolver = make(entry(server.url("/a")))
    place = resolver.store.path(resolver.catalog.entry("a"))
    place.parent.mkdir()
    for wrong in (b"x" * len(BODY), b"short"):
        place.write_bytes(wrong)
        with pytest.raises(WeightsCorrupt):
            resolver.ensure("a", offline=True)
        assert place.read_bytes() == wrong
        assert resolver.ensure("a").read_bytes() == BODY


def test_a_local_file_is_copied_and_checked(make: Make, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(BODY + b"x")
    (tmp_path / "good").write_bytes(BODY)
    resolver = make(entry(f"file:{tmp_path}/bad", f"file:{tmp_path}/good"))
    path = resolver.ensure("a")
    assert path.read_bytes() == BODY
    assert path.parent == resolver.store.root
    assert leftovers(resolver) == set()


def test_a_cache_that_cannot_be_written_is_named(make: Make, server: FileServer, tmp_path: Path) -> None:
    server.add("/a", BODY)
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file" / "cache", Path("/proc/streamcap")):
        with pytest.raises(WeightsUnavailable) as caught:
            make(entry(server.url("/a")), root=root).ensure("a")
        assert str(root) in str(caught.value)
        assert "STREAMCAP_CACHE" in caught.value.hint
    assert server.requests == []


def test_a_fallback_serves_and_then_needs_no_network(make: Make, server: FileServer) -> None:
    server.add("/b", b"second")
    resolver = make(
        entry(server.url("/missing"), fallback="b", required_by=("demo",)),
        entry(server.url("/b"), entry_id="b", body=b"second"),
    )
    got, path = resolver.ensure_first("a")
    assert (got.id, path.read_bytes()) == ("b", b"second")
    asked = len(server.requests)
    assert resolver.ensure_first("a") == (got, path)
    assert resolver.pull(["demo"]) == [(got, path)]
    assert len(server.requests) == asked
    with pytest.raises(WeightsUnavailable):
        resolver.pull(["a"])  # asked for by its own id, nothing else serves


def test_pull_takes_groups_and_ids_each_once(make: Make, server: FileServer) -> None:
    for name in "abc":
        server.add(f"/{name}", name.encode())
    resolver = make(
        *(
            entry(server.url(f"/{n}"), entry_id=n, body=n.encode(), required_by=g)
            for n, g in (("a", ("default",)), ("b", ("default",)), ("c", ()))
        ),
    )
    assert [e.id for e, _ in resolver.pull()] == ["a", "b"]
    assert [e.id for e, _ in resolver.pull(["c", "default", "a"])] == ["c", "a", "b"]
    assert len(server.requests) == 3
    with pytest.raises(UsageError):
        resolver.pull(["nothing"])


def test_two_threads_fetch_once(make: Make, server: FileServer) -> None:
    gate = threading.Event()
    server.add("/a", BODY, gate=gate)
    resolver = make(entry(server.url("/a")), policy=FetchPolicy())
    waits: list[str] = []
    paths: list[Path] = []

    def fetch() -> None:
        def told(_done: int, _total: int, what: str) -> None:
            if "another process" in what:
                waits.append(what)
                gate.set()  # the first one may finish once the second is known to wait for it

        paths.append(resolver.ensure("a", progress=told))

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(waits) == 1
    assert len(paths) == 2
    assert len(server.requests) == 1


FETCH = """
import sys
from pathlib import Path
from streamcap.models.catalog import load_catalog
from streamcap.models.resolver import Resolver
from streamcap.models.store import Store
print(Resolver(load_catalog(Path(sys.argv[1])), Store(Path(sys.argv[2]))).ensure("a"))
"""


def test_two_processes_fetch_once_and_one_that_is_killed_leaves_no_lock(server: FileServer, tmp_path: Path) -> None:
    gate = threading.Event()
    server.add("/a", BODY, gate=gate)
    about = entry(server.url("/a"))
    lines = [f"{k} = {list(v) if isinstance(v, tuple) else v!r}" for k, v in about.items()]
    catalog = tmp_path / "catalog.toml"
    catalog.write_text("[[entry]]\n" + "\n".join(lines), encoding="utf-8")
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", FETCH, str(catalog), str(cache)]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with start() as first:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not (cache / "a.bin.part").exists():
                assert first.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            first.kill()
    server.requests.clear()
    gate.set()
    with start() as second, start() as third:
        for process in (second, third):
            out, err = process.communicate(timeout=LONG_S)
            assert process.returncode == 0, err
            assert out.strip() == str(cache / "a.bin")
    assert (cache / "a.bin").read_bytes() == BODY
    assert len(server.requests) == 1


@pytest.mark.weights
def test_the_default_weights_can_be_had_and_are_the_right_ones(weights: Callable[[str], Path]) -> None:
    resolver = Resolver()
    needed: tuple[Entry, ...] = resolver.catalog.required_by("default")
    assert needed
    for item in needed:
        assert weights(item.id) == ensure(item.id, offline=True)
        assert resolver.status_of(item, rehash=True).cached
        assert weights(item.id).stat().st_size == item.size
