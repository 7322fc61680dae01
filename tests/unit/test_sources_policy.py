"""Which sources may be opened for somebody else: schemes, spellings, resolved addresses, files."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.config import SourcePolicy
from streamcap.errors import SourceRefused, UsageError
from streamcap.sources.policy import check_source, resolve

DEFAULT = SourcePolicy()
PRIVATE = SourcePolicy(allow_private=True)
NAMES = {
    "camera.example": ["93.184.215.14", "2606:2800:21f:cb07::1"],
    "inside.example": ["93.184.215.14", "10.0.0.7"],
    "rebound.example": ["93.184.215.14", "127.0.0.1"],
    "mapped.example": ["::ffff:169.254.169.254"],
    "scoped.example": ["fe80::1%eth0"],
    "lan.example": ["192.168.1.20"],
    "localhost": ["127.0.0.1", "::1"],
    "metadata.google.internal": ["169.254.169.254"],
    "nonsense.example": ["not an address"],
    "empty.example": [],
}


def names(host: str) -> list[str]:
    """A resolver that knows a few names, and is never asked for an address."""
    try:
        return NAMES[host.lower()]
    except KeyError:
        raise socket.gaierror(-2, "Name or service not known") from None


def allowed(uri: str, policy: SourcePolicy = DEFAULT) -> bool:
    try:
        check_source(uri, policy, names)
    except SourceRefused:
        return False
    return True


@pytest.mark.parametrize(
    "uri",
    [
        *("rtsp://camera.example/live", "rtsp://user:p%40ss@camera.example:8554/live?channel=1", "test:?seconds=5"),
        *("https://camera.example/a.m3u8?x=[1]", "RTSP://Camera.Example/live", "rtsps://camera.example", "test:"),
        *(
            "rtsp://93.184.215.14/live",
            "rtsp://[2606:2800:21f:cb07::1]:554/live",
            "srt://camera.example:9000?mode=caller",
        ),
        *("http://camera.example./a.mp4", "rtmp://camera.example/app/key"),
    ],
)
def test_cameras_out_there(uri: str) -> None:
    assert allowed(uri)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "localhost", "LOCALHOST", "localhost."),
        *("169.254.169.254", "169.254.1.1", "metadata.google.internal", "100.100.100.200", "192.0.0.192"),
        *("255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.2.1", "198.18.0.1", "0.1.2.3"),
        *("[::1]", "[::]", "[fe80::1]", "[ff02::1]", "[fd00:ec2::254]", "[fec0::1]", "[2001:db8::1]", "[100::1]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]", "[::127.0.0.1]"),
        *("[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]"),
        *("[2001:0:a00:1::1]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]"),
        *("rebound.example", "mapped.example", "scoped.example", "nonsense.example", "empty.example"),
        *("unknown.example", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "017700000001"),
        *("0", "127.0.0.0x1", "1.2.3.4.5", "0X7F.0.0.1", "127.0.0.1.", "010.0.0.1", "256.256.256.256"),
    ],
)
@pytest.mark.parametrize("policy", [DEFAULT, PRIVATE], ids=["default", "private"])
def test_addresses_that_stay_closed(host: str, policy: SourcePolicy) -> None:
    assert not allowed(f"rtsp://{host}/live", policy)
    assert not allowed(f"http://user:secret@{host}:80/", policy)


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.7", "172.16.0.1", "172.31.255.255", "192.168.1.20", "100.64.0.1", "lan.example"),
        *("[fd12:3456::1]", "[::ffff:192.168.1.20]", "[64:ff9b:1::a00:1]", "inside.example"),
    ],
)
def test_private_networks_where_they_are_allowed(host: str) -> None:
    assert not allowed(f"rtsp://{host}/live")
    assert allowed(f"rtsp://{host}/live", PRIVATE)


def test_networks_that_are_named() -> None:
    policy = SourcePolicy(
        networks=(ip_network("192.168.1.0/24"), ip_network("127.0.0.0/8"), ip_network("169.254.0.0/16"))
    )
    assert allowed("rtsp://lan.example/", policy) and allowed("rtsp://127.0.0.1/", policy)
    assert allowed("rtsp://[::ffff:192.168.1.9]/", policy)
    assert not allowed("rtsp://192.168.2.1/", policy) and not allowed("rtsp://[::1]/", policy)
    assert not allowed("http://169.254.169.254/", policy), "never"
    assert allowed("http://169.254.7.7/", policy)


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "http://camera.example@127.0.0.1/",
            "http://127.0.0.1@rebound.example/",
            "http://127.0.0.1\\@camera.example/",
        ),
        *("http://camera.example\\@127.0.0.1/", "http://a@b@camera.example/", "http://camera.example#@127.0.0.1/"),
        *(
            "http://camera.example:80@127.0.0.1:80/",
            "http:camera.example/",
            "http:/camera.example/",
            "http:///camera.example",
        ),
        *("http://camera.example /", "http:// camera.example/", "http://camera.example:99999999/", "http://[::1/"),
        *("http://[fe80::1%25eth0]/", "http://cämera.example/", "http://camera.example/\u2028", "http://①②⑦.⓪.⓪.①/"),
        *(
            "http://user:p@ss@camera.example/",
            "http://camera%2eexample/",
            "rtsp://camera.example/a\nb",
            "rtsp://c\tam/",
        ),
        *("http://camera.example\r\nHost: x/", "http://camera.example/\x00", "rtsp://camera.example/ä", "http://*/"),
    ],
)
def test_spellings_that_parsers_read_differently(uri: str) -> None:
    with pytest.raises(UsageError):
        check_source(uri, PRIVATE, names)


@pytest.mark.parametrize(
    "uri",
    [
        *("device:/dev/video0", "udp://@239.0.0.1:1234", "tcp://camera.example:1", "gopher://camera.example/"),
        *("concat:/etc/passwd", "pipe:0", "data:,x", "subfile:,,start,0,end,9,,:/etc/passwd", "crypto:x", "", "  "),
        *(
            "rtmp://camera.example/a?listen=1",
            "srt://camera.example:9?mode=listener",
            "rtsps://camera.example/?ca_file=/etc/x",
        ),
        *("async:http://camera.example", "hls+http://camera.example/", "ftp://camera.example/", "unix:/run/x", "fd:3"),
    ],
)
def test_schemes_that_are_not_opened(uri: str) -> None:
    with pytest.raises(UsageError):
        check_source(uri, PRIVATE, names)
    with pytest.raises(UsageError):
        check_source("device:/dev/video0", SourcePolicy(schemes=frozenset({"device", "file"})), names)


def test_schemes_can_be_chosen() -> None:
    only = SourcePolicy(schemes=frozenset({"rtsps"}))
    assert allowed("rtsps://camera.example/", only) and not allowed("rtsp://camera.example/", only)
    assert not allowed("test:", only)
    assert allowed("udp://camera.example:1", SourcePolicy(schemes=frozenset({"udp"})))


# Files


@pytest.fixture
def media(tmp_path: Path) -> Path:
    root = tmp_path / "media"
    (root / "sub").mkdir(parents=True)
    for name in ("media/a.mp4", "media/sub/b.mp4", "secret.mp4", "media-2.mp4", "media/q?loop=1"):
        (tmp_path / name).write_bytes(b"x")
    (root / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "in.mp4").symlink_to(root / "a.mp4")
    (root / "loop.mp4").symlink_to(root / "loop.mp4")
    return root


def test_files_are_closed_without_a_media_root(media: Path) -> None:
    for uri in (f"{media}/a.mp4", f"file:{media}/a.mp4", f"file://{media}/a.mp4", "a.mp4", "/etc/passwd"):
        assert not allowed(uri)


def test_files_in_the_media_root(media: Path) -> None:
    policy = SourcePolicy(media_root=media)
    for name in ("a.mp4", "sub/b.mp4", "sub/../a.mp4", "in.mp4", "a.mp4?loop=1"):
        assert allowed(f"{media}/{name}", policy) and allowed(f"file:{media}/{name}", policy), name
    for name in (
        "../secret.mp4",
        "out.mp4",
        "../media-2.mp4",
        "none.mp4",
        "loop.mp4",
        "sub/../../secret.mp4",
        "a.mp4/b",
    ):
        assert not allowed(f"{media}/{name}", policy), name
    for uri in (
        "/etc/passwd",
        "a.mp4",
        "file://%2fetc/passwd",
        f"file://{media}/..%2fsecret.mp4",
        "/proc/self/environ",
    ):
        assert not allowed(uri, policy), uri
    gone = SourcePolicy(media_root=media / "none")
    assert not allowed(f"{media}/a.mp4", gone)


def test_a_relative_path_is_refused_even_where_it_would_lead_inside(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(media)
    assert not allowed("a.mp4", SourcePolicy(media_root=media)), "the folder may change before it is opened"


def test_refusals_name_no_credentials() -> None:
    for uri in (
        "rtsp://user:secret@127.0.0.1/",
        "rtsp://user:secret@none.example/?token=secret",
        "rtsp://u:secret@a@b/",
    ):
        with pytest.raises(SourceRefused) as refusal:
            check_source(uri, DEFAULT, names)
        assert "secret" not in f"{refusal.value} {refusal.value.hint}"


@given(
    st.text(alphabet=st.sampled_from("abc:/@[]%?#\\. 0127x\u00e9\n"), max_size=30).map(lambda text: "http://" + text)
)
def test_nothing_but_refusals_comes_out_and_the_host_is_the_one_that_is_asked(uri: str) -> None:
    asked: list[str] = []

    def resolver(host: str) -> list[str]:
        asked.append(host)
        return ["93.184.215.14"]

    try:
        check_source(uri, DEFAULT, resolver)
    except UsageError:
        return
    authority = uri[7:].split("/")[0].split("?")[0]
    assert authority.rpartition("@")[2].partition(":")[0].rstrip(".") in asked or "[" in authority or not asked


def test_the_systems_resolver() -> None:
    assert set(resolve("localhost")) <= {"127.0.0.1", "::1"}
    with pytest.raises(SourceRefused):
        check_source("rtsp://localhost/", PRIVATE, resolve)
