"""What was made and measured is used again as long as all that it depends on is the same."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model_builder.errors import CannotDerive
from model_builder.evaluation.gate import Gate
from model_builder.export.onnx import serialised
from model_builder.opened_release import Opened
from model_builder.progress import SilentProgress
from model_builder.task import ResolvedData
from model_builder.variants.basis import Basis, other
from model_builder.variants.kinds import parse
from model_builder.variants.machine import Machine
from model_builder.variants.timing import Quantiles, Timed
from model_builder.variants.trying import Tried, Tries, Work

MACHINE = Machine("Some CPU", ("avx512_vnni",), 2, gpu=False)
(PRUNED,) = parse(["prune-0.3"])
(GRAPH,) = parse(["graph"])


class Listening(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def no_data() -> ResolvedData:
    raise CannotDerive("it", "its data are gone")


@pytest.fixture
def progress() -> Listening:
    return Listening()


@pytest.fixture
def tries(images: Opened, tmp_path: Path, progress: Listening) -> Tries:
    return Tries(images, Work(tmp_path), Gate(), no_data, progress, MACHINE)


def measured(basis: Basis) -> Tried:
    times = {rows: Quantiles(p50_ms=1.0, p99_ms=2.0) for rows in (1, 8)}
    timed = Timed(fused=times, fused_compute=times, core=times, steps={})
    return Tried(
        variant=PRUNED.name,
        precision="fp32",
        size_bytes=1,
        metrics={},
        checks=(),
        timed=timed,
        parent_timed=timed,
        basis=dict(basis.measured),
        measured_at=datetime(2026, 11, 2, 3, 4, tzinfo=UTC),
    )


def test_what_was_measured_is_used_again_and_that_is_said(
    tries: Tries, progress: Listening
) -> None:
    tries.work.keep(measured(tries.basis))
    found, left_out = tries.try_all([PRUNED])
    assert [one.variant for one in found] == ["prune-0.3"]
    assert not left_out
    assert progress.said[0].endswith("(reused: measured 2026-11-02 03:04 UTC)")


@pytest.mark.parametrize(
    "changed",
    ["parent", "code", "onnxruntime", "onnx", "torch", "processor", "cores", "gate", "samples"],
)
def test_what_was_measured_otherwise_is_tried_again_and_why_is_said(
    tries: Tries, progress: Listening, changed: str
) -> None:
    before = measured(tries.basis)
    assert changed in before.basis
    tries.work.keep(before.model_copy(update={"basis": {**before.basis, changed: "old"}}))
    found, left_out = tries.try_all([PRUNED])
    assert not found
    assert left_out == {"prune-0.3": "its data are gone"}, "it was tried"
    now = tries.basis.measured[changed]
    assert progress.said[0] == (
        f"prune-0.3: measured before, but with {changed} old, now {now}: tried again"
    )


def test_what_an_older_version_kept_is_not_read(tries: Tries) -> None:
    kept = measured(tries.basis).model_dump(mode="json")
    del kept["basis"]
    path = tries.work.folder / "found" / "prune-0.3.json"
    path.parent.mkdir()
    path.write_text(json.dumps(kept))
    assert tries.try_all([PRUNED])[0] == []


def test_what_was_made_is_made_anew_only_by_other_code(tries: Tries) -> None:
    line, store = tries.parent.manifest.line, tries.work.store
    tries.change(GRAPH)
    first = store.manifest(line, "graph").create_time
    tries.change(GRAPH)
    assert store.manifest(line, "graph").create_time == first
    tries.work.keep_made("graph", {**tries.basis.made, "code": "old"})
    tries.change(GRAPH)
    assert store.manifest(line, "graph").create_time > first
    assert tries.work.made("graph") == tries.basis.made
    elsewhere = replace(tries, machine=replace(MACHINE, cores=64))
    second = store.manifest(line, "graph").create_time
    elsewhere.change(GRAPH)
    assert store.manifest(line, "graph").create_time == second, "a machine makes it no other"


def test_a_variant_goes_on_from_one_with_fewer_parts(tries: Tries, progress: Listening) -> None:
    (quantised,) = parse(["graph+int8-static"])
    alone = tries.change(quantised)
    assert not progress.said, "nothing was there"
    again = replace(tries, work=Work(tries.work.folder / "again"))
    again.change(GRAPH)
    onwards = again.change(quantised)
    assert progress.said == ["graph: reused as it was made before"]
    assert onwards.steps.keys() == alone.steps.keys()
    for name, model in alone.steps.items():
        assert serialised(onwards.steps[name]) == serialised(model)
    assert onwards.details == alone.details
    assert (onwards.variant, onwards.precision) == ("graph+int8-static", "int8")


def test_a_variant_begins_with_what_was_pruned() -> None:
    (one,) = parse(["prune-0.3+graph+ort"])
    found = [one.begun(count) for count in (1, 0)]
    assert found == [*parse(["prune-0.3+graph", "prune-0.3"])]
    assert parse(["graph+ort"])[0].begun(0) is None


def test_what_depends_on_code_changes_with_it(images: Opened, tmp_path: Path) -> None:
    def code() -> str:
        return Basis.of(images, MACHINE, Gate(), {}, (tmp_path,)).made["code"]

    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "one.py").write_text("a = 1\n")
    first = code()
    (tmp_path / "part" / "notes.txt").write_text("no code")
    assert code() == first
    (tmp_path / "part" / "one.py").write_text("a = 2\n")
    assert code() != first


def test_the_machine_and_the_gate_are_no_part_of_how_it_is_made(tries: Tries) -> None:
    assert set(tries.basis.measured) - set(tries.basis.made) == {
        "processor", "cores", "gate", "samples",
    }  # fmt: skip


def test_all_that_is_other_is_named() -> None:
    assert other({"a": "1", "b": "2"}, {"a": "1", "b": "2"}) == ""
    assert other({"a": "1", "b": "2"}, {"a": "3", "c": "4"}) == (
        "a 1, now 3; c unknown, now 4; b 2, now unknown"
    )
