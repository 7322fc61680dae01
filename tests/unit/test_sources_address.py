"""SOURCE strings taken apart, and secrets kept out of what is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.errors import UsageError
from streamcap.sources import SourceOptions, open_source, redact
from streamcap.sources.address import Kind, parse
from streamcap.sources.av_errors import explain


@pytest.mark.parametrize(
    ("uri", "kind", "target", "loop"),
    [
        ("clip.mp4", Kind.FILE, "clip.mp4", False),
        ("/videos/a b.mp4?loop=1", Kind.FILE, "/videos/a b.mp4", True),
        ("clip.mp4?loop=0", Kind.FILE, "clip.mp4", False),
        ("what?.mp4", Kind.FILE, "what?.mp4", False),
        ("clip.mp4?speed=2", Kind.FILE, "clip.mp4?speed=2", False),
        (r"C:\videos\clip.mp4", Kind.FILE, r"C:\videos\clip.mp4", False),
        ("C:/videos/clip.mp4?loop=yes", Kind.FILE, "C:/videos/clip.mp4", True),
        ("./rtsp:clip.mp4", Kind.FILE, "./rtsp:clip.mp4", False),
        ("file:clip.mp4?loop=1", Kind.FILE, "clip.mp4", True),
        ("file:///videos/a%20b.mp4", Kind.FILE, "/videos/a b.mp4", False),
        ("2026-11-20T10:00:00.mp4", Kind.FILE, "2026-11-20T10:00:00.mp4", False),
        ("http://host/clip.mp4?loop=1", Kind.NETWORK, "http://host/clip.mp4?loop=1", False),
        ("RTSP://host/cam", Kind.NETWORK, "RTSP://host/cam", False),
        ("udp://@239.0.0.1:1234", Kind.NETWORK, "udp://@239.0.0.1:1234", False),
        ("device:/dev/video0", Kind.DEVICE, "/dev/video0", False),
        ("test:", Kind.TEST, "", False),
    ],
)
def test_kinds(uri: str, kind: Kind, target: str, loop: bool) -> None:
    address = parse(uri)
    assert (address.kind, address.target, address.loop) == (kind, target, loop)


def test_own_options() -> None:
    assert parse("test:?seconds=6&fps=10").query == {"seconds": "6", "fps": "10"}
    assert parse("device:/dev/video1?size=640x480").query == {"size": "640x480"}


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "",
            "  ",
            "gopher://host/x",
            "tset:?seconds=3",
            "rtsp://",
            "rtsp:/cam",
            "device:",
            "device:/dev/video0?zoom=2",
            "device:/dev/video0?size=big",
            "device:/dev/video0?fps=quick",
        ),
        *("clip.mp4?loop=maybe", "file:", "test:?speed=2", "test:?fps=0", "test:?fps=x", "test:?a", "test:?realtime=2"),
    ],
)
def test_what_cannot_be_is_a_usage_error(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_source(uri, SourceOptions(stream="s"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        *((f"rtsp://admin:Zq{letter}w0rd@10.0.0.5:554/live", "%23") for letter in "/?#"),
        *((uri, "65535") for uri in ("udp://:70000", "rtsp://10.0.0.5:99999/live", "srt://10.0.0.5:port")),
    ],
)
def test_what_stands_for_a_port_and_is_none_is_told_of_at_once(uri: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(uri)
    assert hint in caught.value.hint
    assert "Zq" not in caught.value.in_full and "w0rd" not in caught.value.in_full


def test_a_user_name_that_passes_for_the_host_is_not_told() -> None:
    address = parse("rtsp://Zq.invalid:123/w0rd@127.0.0.1/live")  # 123 may be a port
    told = explain(OSError("of libav"), address, waited=0.1, timeout=10).in_full
    assert "%2F" in told and "zq" not in told.lower() and "w0rd" not in told


def test_an_unknown_kind_lists_the_possible_ones() -> None:
    with pytest.raises(UsageError) as caught:
        open_source("gopher://host/x", SourceOptions(stream="s"))
    assert "gopher" in str(caught.value)
    assert "rtsp" in caught.value.hint
    assert "device:" in caught.value.hint


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.5:554/live", "rtsp://10.0.0.5:554/live"),
        ("rtsp://admin@10.0.0.5/live", "rtsp://10.0.0.5/live"),
        ("rtsp://admin:p@ss@10.0.0.5/live", "rtsp://10.0.0.5/live"),
        ("rtsp://admin:p@ss/w0rd@10.0.0.5/live", "rtsp://10.0.0.5/live"),
        ("rtsp://admin:pa/ss@10.0.0.5/live", "rtsp://10.0.0.5/live"),
        ("rtsp://admin:pa?ss#1@10.0.0.5/live", "rtsp://10.0.0.5/live"),
        ("http://host/cgi?user=me&password=pw&channel=1", "http://host/cgi?user=***&password=***&channel=1"),
        ("https://host/a.m3u8?X-Amz-Signature=ab12&n=3", "https://host/a.m3u8?X-Amz-Signature=***&n=3"),
        ("https://host/a.m3u8?access_token=ab.12", "https://host/a.m3u8?access_token=***"),
        ("rtmp://me:pw@host/live/a-key?listen=1", "rtmp://host/live/***?listen=1"),
        ("RTMPS://host:443/app/inst/a-key", "RTMPS://host:443/app/***"),
        ("rtmp://host/app", "rtmp://host/app"),
        ("srt://host:9000?passphrase=hush&mode=caller", "srt://host:9000?passphrase=***&mode=caller"),
        ("http://host/@user/clip.mp4", "http://host/@user/clip.mp4"),
        ("rtsp://admin:123/45@10.0.0.5/live", "rtsp://10.0.0.5/live"),
        ("http://[::1]:80/clip.mp4", "http://[::1]:80/clip.mp4"),
        ("udp://@239.0.0.1:1234", "udp://@239.0.0.1:1234"),
        ("rtsp:/admin:secret@10.0.0.5/live", "rtsp:10.0.0.5/live"),
        ("/videos/a@b.mp4?loop=1", "/videos/a@b.mp4?loop=1"),
    ],
)
def test_redact(uri: str, shown: str) -> None:
    assert redact(uri) == shown
    assert redact(shown) == shown


@given(st.text(alphabet="abc:/@?#&=%.-_0123", min_size=3, max_size=20), st.sampled_from(["", ":554"]))
def test_no_password_survives(word: str, port: str) -> None:
    assert "Zq" + word not in redact(f"rtsp://admin:Zq{word}@host{port}/path")


@pytest.mark.parametrize(
    "values",
    [
        *({"fps": 0}, {"fps": float("nan")}, {"start": -1}, {"start": 5, "end": 5}, {"end": 0}, {"max_side": 4}),
        *({"read_timeout": 0}, {"open_timeout": -1}, {"reconnect_first": 60}),
    ],
)
def test_options_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        SourceOptions(stream="s", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("uri", "waits"),
    [
        ("rtmp://0.0.0.0/a/k?listen=1", True),
        ("rtmp://host/a/k", False),
        ("srt://:9000", True),
        ("srt://host:9000?mode=listener", True),
        ("srt://host:9000", False),
        ("udp://@:5000", True),
        ("tcp://0.0.0.0:5000?listen", True),
        ("tcp://host:5000", False),
        ("rtsp://host/a?listen=1", False),
        ("clip.mp4", False),
    ],
)
def test_who_has_to_call_whom(uri: str, waits: bool) -> None:
    assert parse(uri).waits is waits
