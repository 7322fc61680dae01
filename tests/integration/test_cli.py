"""The command line as a user has it: the installed program, real sources, real models, real sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pysubs2
import pytest

from streamcap import __version__
from streamcap.types import CaptionKind, CaptionStatus
from streamcap.wire import (
    CaptionMessage,
    DurableMessage,
    EventMessage,
    HelloMessage,
    SnapshotMessage,
    StatusMessage,
    StreamState,
    decode,
)
from tests.cameras import free_port
from tests.patience import LONG_S
from tests.programs import QUICK_S, Done, inside, interrupted, running, side_by_side, streamcap, until

# The rendered street: 5 s a person enters from the left.
STREET = "test:?seconds=8"
SMALL = "width=320&height=180"


def files(tmp: Path) -> dict[str, Path]:
    """Files that are no videos, and settings that do not hold."""
    made = {
        "empty": b"",
        "random": np.random.default_rng(0).bytes(50_000),
        "bad.toml": b"[server]\nprot = 80\n",
        "doubled.toml": b'[[streams]]\nid = "a"\nsource = "test:"\n[[streams]]\nid = "a"\nsource = "test:"\n',
        "broken.toml": b"[server\n",
    }
    for name, content in made.items():
        (tmp / name).write_bytes(content)
    return {name: tmp / name for name in made}


# ---- help


COMMANDS = [
    "",
    "caption",
    "serve",
    "watch",
    "prompt",
    "demo",
    "doctor",
    "models",
    "models list",
    "models pull",
    "models verify",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    done = inside(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert "Usage: streamcap" in done.out
    assert max(len(line) for line in done.lines) <= 80


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "caption",
            ["--format", "--output", "--captioner", "--profile", "--fps", "--from", "--to", "--realtime", "rtsp(s)://"],
        ),
        ("serve", ["--config", "--stream", "--host", "--port", "--data"]),
        ("demo", ["--seconds"]),
        ("", ["caption", "serve", "watch", "models", "doctor", "demo"]),
    ],
)
def test_help_tells_what_a_user_needs(command: str, words: list[str]) -> None:
    text = inside(*command.split(), "--help").out
    assert [word for word in words if word not in text] == []


def test_the_installed_program_is_this_one() -> None:
    done = streamcap("--version")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"streamcap {__version__}\n"


# ---- good runs


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, weights: Callable[[str], Path]) -> dict[str, Done]:
    assert weights("efficientdet-lite0").exists()
    out = tmp_path_factory.mktemp("good") / "street.vtt"
    runs: dict[str, Callable[[], Done]] = {
        "text": lambda: streamcap("caption", STREET, "--timings"),
        "jsonl": lambda: streamcap("caption", STREET, "--format", "jsonl", "--from", "4", "--to", "7.5"),
        "srt": lambda: streamcap("caption", "test:?seconds=4&fps=2", "-f", "srt", "--profile", "general"),
        "vtt": lambda: streamcap("caption", STREET, "-f", "vtt", "--output", str(out), "--events"),
    }
    done = side_by_side(runs)
    done["file"] = Done(0, out.read_text("utf-8"), "", 0.0)
    return done


@pytest.mark.weights
def test_a_good_run_is_clean_and_sums_up(good: dict[str, Done]) -> None:
    for name, done in good.items():
        assert done.code == 0, done.err
        assert done.clean
        assert "\x1b" not in done.out + done.err
        if name != "file":
            assert re.search(r"^\d+\.\d s of video in \d+\.\d s, \d+\.\d× real time, \d+ captions", done.err, re.M)


@pytest.mark.weights
def test_text_is_a_line_a_caption(good: dict[str, Done]) -> None:
    done = good["text"]
    matches = [re.fullmatch(r"\d\d:\d\d\.\d  ([=+Σ]) {2}[A-Z].*\.", line) for line in done.lines]
    assert all(matches), done.out
    signs = [m.group(1) for m in matches if m]
    assert signs[0] == "="
    assert signs[-1] == "Σ"
    assert "A person enters from the left." in done.out
    assert f"{len(signs)} captions" in done.err


@pytest.mark.weights
def test_jsonl_is_protocol_v1(good: dict[str, Done]) -> None:
    messages = [decode(line) for line in good["jsonl"].lines]
    durable = [m for m in messages if isinstance(m, DurableMessage)]
    assert len(durable) == len(messages)
    assert [m.seq for m in durable] == list(range(1, len(durable) + 1))
    states = [m.state for m in messages if isinstance(m, StatusMessage)]
    assert (states[0], states[1], states[-1]) == (StreamState.CONNECTING, StreamState.LIVE, StreamState.ENDED)
    captions = [m for m in messages if isinstance(m, CaptionMessage)]
    assert {m.status for m in captions} == {CaptionStatus.FINAL}
    assert captions[0].kind is CaptionKind.FULL
    assert captions[-1].kind is CaptionKind.SUMMARY
    assert any(isinstance(m, EventMessage) and m.label == "enter" for m in messages)


@pytest.mark.weights
def test_times_are_from_the_beginning_of_the_clip_whatever_part_is_wanted(good: dict[str, Done]) -> None:
    """--from 4 --to 7.5: someone enters at 5 s."""
    messages = [decode(line) for line in good["jsonl"].lines]
    captions = [m for m in messages if isinstance(m, CaptionMessage)]
    assert captions[0].start == 4.0
    assert all(4 <= m.start <= m.end < 7.5 for m in captions)
    (enter,) = [m for m in messages if isinstance(m, EventMessage) and m.label == "enter"]
    assert 5 <= enter.end <= 7.5
    assert "3.4 s of video" in good["jsonl"].err


@pytest.mark.weights
@pytest.mark.parametrize("form", ["vtt", "srt"])
def test_subtitles_can_be_played(good: dict[str, Done], form: str) -> None:
    text = good["file" if form == "vtt" else "srt"].out
    cues = list(pysubs2.SSAFile.from_string(text, format_=form))
    assert len(cues) >= (2 if form == "vtt" else 1)
    assert all(0 <= cue.start < cue.end for cue in cues)
    assert all(a.end <= b.start for a, b in pairwise(cues))
    assert cues[0].plaintext.endswith(".")
    assert text.startswith("WEBVTT\n\n") == (form == "vtt")


@pytest.mark.weights
def test_written_to_a_file_nothing_goes_to_stdout(good: dict[str, Done]) -> None:
    assert good["vtt"].out == ""


@pytest.mark.weights
def test_timings_where_they_are_asked_for(good: dict[str, Done]) -> None:
    for stage in ("gate", "detect", "track"):
        assert re.search(rf"{stage} +\d+\.\d\d ms × \d+", good["text"].err)
        assert stage not in good["jsonl"].err


# ---- what cannot be


@dataclass(frozen=True)
class Bad:
    """A command line with what it has to come to."""

    arguments: list[str]
    code: int
    words: tuple[str, ...]
    hint: bool = True


def bad_ones(tmp: Path) -> dict[str, Bad]:
    given = {name: str(path) for name, path in files(tmp).items()}
    none = str(tmp / "none.mp4")
    return {
        "missing": Bad(["caption", none], 3, ("none.mp4: no such file",)),
        "empty": Bad(["caption", given["empty"]], 3, ("is empty",)),
        "random": Bad(["caption", given["random"]], 3, ("not a media file",)),
        "refused": Bad(["caption", "rtsp://user:secret@127.0.0.1:9/x"], 3, ("rtsp://127.0.0.1:9/x", "refused")),
        "scheme": Bad(["caption", "gopher://x/y"], 2, ("gopher",)),
        "option": Bad(["caption", "test:?colour=1"], 2, ("colour",)),
        "range": Bad(["caption", "test:", "--from", "5", "--to", "4"], 2, ("--to 4", "--from 5"), hint=False),
        "output": Bad(
            ["caption", "test:?seconds=1", "-o", str(tmp / "no" / "x.vtt")], 2, ("cannot write",), hint=False
        ),
        "no model": Bad(
            ["caption", "test:", "--prompt", "Dogs.", "--url", "http://x/v1"], 2, ("--prompt, --url", "no model")
        ),
        "marks": Bad(["caption", "test:", "--captioner", "vision", "--marks", "som,x"], 2, ("--marks", "x")),
        "fps": Bad(["caption", "test:", "--fps", "0"], 2, ("--fps",)),
        "form": Bad(["caption", "test:", "--format", "pdf"], 2, ("pdf",)),
        "argument": Bad(["caption"], 2, ("source",)),
        "command": Bad(["frobnicate"], 2, ("frobnicate",)),
        "bad stream": Bad(["serve", "--port", "0", "--stream", "door"], 2, ("door", "ID=SOURCE")),
        "bad id": Bad(["serve", "--port", "0", "--stream", "a/b=test:"], 2, ("id",), hint=False),
        "bad source": Bad(["serve", "--port", "0", "--stream", "a=gopher://x"], 2, ("gopher",)),
        "bad toml": Bad(["serve", "-c", given["bad.toml"]], 2, ("bad.toml", "server.prot"), hint=False),
        "broken toml": Bad(["serve", "-c", given["broken.toml"]], 2, ("broken.toml",), hint=False),
        "no toml": Bad(["serve", "-c", str(tmp / "none.toml")], 2, ("none.toml",), hint=False),
        "doubled": Bad(["serve", "-c", given["doubled.toml"]], 2, ("differ",), hint=False),
        "watch": Bad(["watch", "gopher://x"], 2, ("gopher",)),
        "model": Bad(["models", "pull", "nonsense"], 2, ("nonsense",)),
    }


# A process of its own, as models are loaded or sources opened.
WHOLE = ["missing", "empty", "random", "refused", "output"]
PARTS = [
    "scheme", "option", "range", "no model", "marks", "fps", "form", "argument", "command", "bad stream", "bad id",
    "bad source", "bad toml", "broken toml", "no toml", "doubled", "watch", "model",
]  # fmt: skip
# typer's own errors are a box with a usage line.
TYPERS = {"fps", "form", "argument", "command"}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bad]:
    return bad_ones(tmp_path_factory.mktemp("bad"))


@pytest.mark.weights
@pytest.mark.parametrize("name", WHOLE)
def test_a_source_that_cannot_be_is_one_clear_line(cases: dict[str, Bad], name: str) -> None:
    check_complaint(cases[name], streamcap(*cases[name].arguments), boxed=False)


@pytest.mark.parametrize("name", PARTS)
def test_a_command_line_that_cannot_be_is_one_clear_line(cases: dict[str, Bad], name: str) -> None:
    check_complaint(cases[name], inside(*cases[name].arguments), boxed=name in TYPERS)


def check_complaint(case: Bad, done: Done, *, boxed: bool) -> None:
    assert done.code == case.code, done.err
    assert done.clean
    assert "secret" not in done.out + done.err
    text = " ".join(done.err.split()) if boxed else done.complaint
    assert [word for word in case.words if word not in text] == []
    if not boxed:
        assert bool(done.hint) or not case.hint
        assert len(done.err.splitlines()) <= 2, done.err
    assert done.out == ""


def test_all_that_cannot_be_is_tried(cases: dict[str, Bad]) -> None:
    assert cases.keys() == {*WHOLE, *PARTS}


def test_of_what_is_not_there_it_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    """A wrong file name does not cost the download of the weights."""
    done = streamcap("caption", str(tmp_path / "none.mp4"), env=nowhere(tmp_path))
    assert done.code == 3, done.err
    assert "none.mp4: no such file" in done.complaint


def nowhere(cache: Path) -> dict[str, str]:
    """An empty cache, and no network."""
    proxies = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")
    return {
        "STREAMCAP_CACHE": str(cache),
        **dict.fromkeys(proxies, "http://127.0.0.1:9"),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }


def test_without_weights_and_network_it_says_how_to_get_them(tmp_path: Path) -> None:
    runs: dict[str, Callable[[], Done]] = {
        "caption": lambda: streamcap("caption", STREET, env=nowhere(tmp_path)),
        "serve": lambda: streamcap("serve", "--port", "0", "--stream", "a=test:", env=nowhere(tmp_path)),
    }
    for done in side_by_side(runs).values():
        assert done.code == 4, done.err
        assert done.clean
        assert "efficientdet-lite0" in done.complaint
        assert "https://" in done.hint
        assert str(tmp_path) in done.hint
        assert "sha256" in done.hint
        assert done.out == ""


# ---- ends


SAID = re.compile(r"import time:.*\n")
# A module whose loading has just ended: what runs then is the loading of the next.
LOADED = ["rich.console", "numpy", "scipy.optimize", "onnxruntime"]


def at_work(tmp_path: Path, *arguments: str, after: float, times: int = 1, number: int = signal.SIGINT) -> Done:
    """Told to end some seconds after its first line."""
    return interrupted(
        ["caption", "test:", *arguments], tmp_path / "run", when=lambda out, _: out.stat().st_size > 0,
        after=after, times=times, number=number,
    )  # fmt: skip


@pytest.mark.weights
@pytest.mark.parametrize("module", LOADED)
def test_ctrl_c_while_it_loads(tmp_path: Path, module: str) -> None:
    ending = re.compile(rf"\| +{re.escape(module)}$", re.M)
    done = interrupted(
        ["caption", "test:?realtime=1"],
        tmp_path / "run",
        # What Python says of a module comes late where LiteRT is loaded beside it, whose own line is kept from stderr.
        when=lambda out, err: bool(ending.search(err.read_text("utf-8"))) or out.stat().st_size > 0,
        env={"PYTHONPROFILEIMPORTTIME": "1"},
    )
    told = SAID.sub("", done.err)
    assert done.clean, told
    assert done.code in (0, 130), told
    assert len(told.splitlines()) <= 1
    assert done.seconds < QUICK_S


@pytest.mark.weights
@pytest.mark.parametrize(
    ("arguments", "after", "number"),
    [(["-f", "jsonl"], 0.0, signal.SIGINT), (["-f", "jsonl"], 0.9, signal.SIGINT), ([], 0.3, signal.SIGTERM)],
    ids=["at the first line", "in the middle", "by TERM"],
)
def test_ctrl_c_while_it_works_ends_it_cleanly(tmp_path: Path, arguments: list[str], after: float, number: int) -> None:
    done = at_work(tmp_path, *arguments, after=after, number=number)
    assert done.code == 0, done.err
    assert done.clean
    assert re.fullmatch(r"\d+\.\d s of video in .* captions.*\n", done.err), done.err
    assert done.seconds < QUICK_S
    if done.out.startswith("{"):
        messages = [decode(line) for line in done.lines]
        last = messages[-1]
        assert isinstance(last, StatusMessage)
        assert last.state is StreamState.ENDED
    else:
        assert re.match(r"\d\d:\d\d\.\d  = ", done.lines[0])


@pytest.mark.weights
@pytest.mark.parametrize("times", [2, 4])
def test_ctrl_c_again_and_again(tmp_path: Path, times: int) -> None:
    done = at_work(tmp_path, after=0.1, times=times)
    # The third kills; to a shell that is 130, too.
    assert done.code in (0, 130, -signal.SIGINT), done.err
    assert done.clean, done.err
    assert done.seconds < QUICK_S


@pytest.mark.weights
def test_a_reader_that_goes_away_is_no_trouble(tmp_path: Path) -> None:
    def head(form: str) -> Done:
        err = tmp_path / form
        with err.open("w") as file, running(["caption", "test:", "-f", form], subprocess.PIPE, file) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            process.stdout.close()
            return Done(process.wait(LONG_S), line, err.read_text("utf-8"), 0.0)

    for form, done in side_by_side({form: lambda form=form: head(form) for form in ("text", "jsonl")}).items():  # type: ignore[misc]
        assert done.out
        assert done.code == 0, (form, done.err)
        assert done.err == "" or re.fullmatch(r"\d+\.\d s of video in .* captions.*\n", done.err), done.err


# ---- serve and watch


@dataclass(frozen=True)
class Server:
    url: str
    port: str
    process: subprocess.Popen[str]
    err: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Callable[[str], Path]) -> Iterator[Server]:
    """`streamcap serve` with two streams that never end and one that is not there."""
    assert weights("efficientdet-lite0").exists()
    tmp = tmp_path_factory.mktemp("serve")
    settings = tmp / "streamcap.toml"
    settings.write_text(f'[server]\nport = 1\n[[streams]]\nid = "yard"\nsource = "test:?realtime=1&{SMALL}&seed=2"\n')
    street = f"street=test:?realtime=1&{SMALL}"
    arguments = ["serve", "-c", str(settings), "--stream", street, "--stream", "gone=none.mp4", "--port", "0"]
    err = tmp / "err"
    with err.open("w") as file, running(arguments, subprocess.DEVNULL, file) as process:
        until(lambda: process.poll() is not None or "/v1/streams/gone" in err.read_text("utf-8"))
        found = re.search(r"ws://127\.0\.0\.1:(\d+)", err.read_text("utf-8"))
        assert found, err.read_text("utf-8")
        yield Server(found.group(), found.group(1), process, err)
        process.send_signal(signal.SIGINT)
        process.wait(LONG_S)


@pytest.mark.weights
def test_who_has_to_be_sent_something_says_where(tmp_path: Path) -> None:
    address = f"rtmp://127.0.0.1:{free_port()}/live"
    done = interrupted(
        ["caption", f"{address}/secretkey?listen=1"],
        tmp_path / "rtmp",
        when=lambda _, err: f"listening for a sender to {address}/***?listen=1" in err.read_text("utf-8"),
    )
    assert done.clean and done.out == "" and "secretkey" not in done.err
    assert done.seconds < QUICK_S


@pytest.mark.weights
def test_watch_shows_a_feed_until_ctrl_c(server: Server, tmp_path: Path) -> None:
    runs: dict[str, Callable[[], Done]] = {
        "all": lambda: interrupted(
            ["watch", server.url, "--json"], tmp_path / "all", when=lambda out, _: '"final"' in out.read_text("utf-8")
        ),
        "one": lambda: interrupted(
            ["watch", f"{server.url}/v1/streams/street/captions"],
            tmp_path / "one",
            when=lambda out, _: "  =  " in out.read_text("utf-8"),
        ),
    }
    done = side_by_side(runs)
    for each in done.values():
        assert (each.code, each.clean) == (0, True), each.err
        assert each.seconds < QUICK_S
    messages = [decode(line) for line in done["all"].lines]
    assert {m.stream for m in messages if isinstance(m, HelloMessage)} == {"street", "yard", "gone"}
    assert any(isinstance(m, SnapshotMessage) for m in messages)
    failed = [m for m in messages if m.stream == "gone" and '"failed"' in m.model_dump_json()]
    assert failed
    assert all(json.loads(line)["type"] for line in done["all"].lines)
    assert re.search(r"^\d\d:\d\d\.\d  =  [A-Z]", done["one"].out, re.M)


@pytest.mark.weights
def test_watch_of_a_stream_that_is_not_there(server: Server) -> None:
    done = streamcap("watch", f"{server.url}/v1/streams/nothing/captions")
    assert done.code == 3, done.err
    assert done.clean
    assert "nothing" in done.complaint


@pytest.mark.weights
def test_a_port_that_is_taken_is_one_line(server: Server) -> None:
    done = streamcap("serve", "--stream", f"a=test:?seconds=5&{SMALL}", "--port", server.port)
    assert done.code == 2, done.err
    assert done.clean
    assert server.port in done.complaint
    assert "--port" in done.hint


@pytest.mark.weights
def test_serve_ends_cleanly(server: Server) -> None:
    """The last test of the server: it is stopped while somebody reads."""
    assert server.process.poll() is None
    with running(["watch", server.url, "--json"], subprocess.PIPE, subprocess.DEVNULL) as watcher:
        assert watcher.stdout is not None
        assert '"hello"' in watcher.stdout.readline()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(LONG_S) == 0
        watcher.stdout.close()
    told = server.err.read_text("utf-8")
    assert "Traceback" not in told
    assert "serves 3 stream(s)" in told
    assert told.rstrip().endswith("stopping")
