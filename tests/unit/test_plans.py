"""Plans on disk: their names, their sidecars, and why one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.errors import PlanRefused
from streamcap.models.graph import Precision, engines_root, sidecar_of
from streamcap.models.plans import BatchProfile, PlanKey, Target, build_command, choose_plan, read_plan, write_plan
from tests.graphs import encoder_info

GRAPH = encoder_info("a" * 64, precision=Precision.FP16)
HERE = Target("tensorrt-rtx", "1.7.1.116", "sm_89")


def key(**changes: object) -> PlanKey:
    fields: dict[str, object] = {
        "graph": GRAPH.digest,
        "builder": HERE.builder,
        "builder_version": HERE.builder_version,
        "architectures": ("sm_86", "sm_89"),
        "precision": Precision.FP16,
        "profile": BatchProfile(),
    }
    return PlanKey.model_validate(fields | changes)


def test_a_plan_that_fits_is_read(tmp_path: Path) -> None:
    path = write_plan(tmp_path, b"plan", model="tiny", key=key(), build_s=1.25)
    plan, info = read_plan(path, HERE, GRAPH)
    assert plan == b"plan"
    assert (info.model, info.key, info.size, info.build_s) == ("tiny", key(), 4, 1.25)
    assert choose_plan(tmp_path, HERE, GRAPH) == path
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, sidecar_of(path).name])


OTHERS = [
    ({"graph": "b" * 64}, "another graph"),
    ({"builder": "tensorrt"}, "built by tensorrt; here is tensorrt-rtx"),
    ({"builder_version": "1.6.0"}, r"tensorrt-rtx 1\.6\.0; here is 1\.7\.1\.116"),
    ({"architectures": ("sm_120",)}, "built for sm_120; the GPU here is sm_89"),
]


@pytest.mark.parametrize(("changes", "reason"), OTHERS)
def test_a_plan_for_something_else_is_refused_with_the_command(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    path = write_plan(tmp_path, b"plan", model="tiny", key=key(**changes))
    for refuse in (lambda: read_plan(path, HERE, GRAPH), lambda: choose_plan(tmp_path, HERE, GRAPH)):
        with pytest.raises(PlanRefused, match=reason) as caught:
            refuse()
        assert caught.value.hint == f"python -m engines build tiny --precision fp16 --output {tmp_path}"


@pytest.mark.parametrize("damage", [b"", b"pla", b"plam", b"plan and more"])
def test_a_damaged_plan_is_refused(tmp_path: Path, damage: bytes) -> None:
    path = write_plan(tmp_path, b"plan", model="tiny", key=key())
    path.write_bytes(damage)
    with pytest.raises(PlanRefused, match="damaged") as caught:
        read_plan(path, HERE, GRAPH)
    assert caught.value.hint == build_command("tiny", Precision.FP16, tmp_path)


def test_the_command_is_one_that_can_be_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STREAMCAP_CACHE", str(tmp_path))
    assert build_command("clip", Precision.INT8, engines_root() / "clip") == (
        "python -m engines build clip --precision int8"
    )
    small = build_command("clip-tiny", Precision.FP16, tmp_path / "my graphs")
    assert small == f"python -m engines build clip --tiny --precision fp16 --output '{tmp_path}/my graphs'"


def test_a_plan_or_sidecar_that_is_missing_or_says_nonsense(tmp_path: Path) -> None:
    path = write_plan(tmp_path, b"plan", model="tiny", key=key())
    said = json.loads(sidecar_of(path).read_text())
    path.unlink()
    with pytest.raises(PlanRefused, match="cannot be read"):
        read_plan(path, HERE, GRAPH)
    path.write_bytes(b"plan")
    for text in ("", "{}", json.dumps(said | {"format": 2}), json.dumps(said | {"more": 1})):
        sidecar_of(path).write_text(text)
        with pytest.raises(PlanRefused, match="sidecar does not hold"):
            read_plan(path, HERE, GRAPH)
    sidecar_of(path).unlink()
    with pytest.raises(PlanRefused, match="no sidecar"):
        choose_plan(tmp_path, HERE, GRAPH)


def test_of_several_the_one_that_takes_most(tmp_path: Path) -> None:
    write_plan(tmp_path, b"small", model="tiny", key=key(profile=BatchProfile(best=4, most=8)))
    large = write_plan(tmp_path, b"large", model="tiny", key=key(profile=BatchProfile(best=8, most=64)))
    write_plan(tmp_path, b"other", model="tiny", key=key(builder_version="2", profile=BatchProfile(best=8, most=128)))
    assert choose_plan(tmp_path, HERE, GRAPH) == large


def test_none_was_built(tmp_path: Path) -> None:
    write_plan(tmp_path, b"int8", model="tiny", key=key(graph="c" * 64, precision=Precision.INT8))
    with pytest.raises(PlanRefused, match=r"no plan of tiny fp16 .* on sm_89: none was built"):
        choose_plan(tmp_path, HERE, GRAPH)
    with pytest.raises(PlanRefused, match="none was built"):
        choose_plan(tmp_path / "nowhere", HERE, GRAPH)


def test_an_empty_plan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        write_plan(tmp_path, b"", model="tiny", key=key())
    assert not list(tmp_path.iterdir())


KEYS = st.builds(
    key,
    graph=st.sampled_from("ab").map(lambda c: c * 64),
    builder=st.sampled_from(["tensorrt", "tensorrt-rtx"]),
    builder_version=st.sampled_from(["1.7", "1_7", "10.2 rc/1"]),
    architectures=st.sampled_from([("sm_86",), ("sm_86", "sm_89"), ("sm_120",)]),
    precision=st.sampled_from(Precision),
    profile=st.sampled_from([BatchProfile(), BatchProfile(most=8), BatchProfile(best=1, most=64)]),
)


@given(KEYS, KEYS)
def test_names_differ_as_keys_do_and_are_plain(one: PlanKey, other: PlanKey) -> None:
    assert (one.file_name == other.file_name) == (one == other)
    assert Path(one.file_name).name == one.file_name
    assert len(one.file_name) < 200
    assert " " not in one.file_name
