from __future__ import annotations

import io
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from manifests import manifest
from signing_keys import make_keys

from model_builder import build
from model_builder.cli import cli
from model_builder.errors import (
    DataFault,
    ExportBroken,
    Fault,
    GateRefused,
    ParityBroken,
    ProofFailed,
    UploadFailed,
)
from model_builder.evaluation.gate import Gate
from model_builder.outgoing import upload
from model_builder.releasing import Releasing
from model_builder.routing import route_first
from model_builder.task import Candidate, ResolvedData
from triton_models.hashing import file_hashes
from triton_models.release import Metric, Routes, RouteTarget
from triton_models.remote_storage import RemoteStorage
from triton_models.signing import Signer, Verifier
from triton_models.store import ReleaseStore
from triton_models.trust import Trust


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> ReleaseStore:
    return ReleaseStore(folder)


@pytest.fixture
def make(canned, loans, store, progress) -> Callable[..., build.Built]:
    def build_canned(release: str | None = "r1", task=canned) -> build.Built:
        config = task.config_type(seed=7)
        return build.build_release(task, loans, config, store, progress, release)

    return build_canned


def content(folder: Path) -> dict[str, str]:
    return file_hashes(folder) if folder.exists() else {}


def test_the_whole_way_from_data_to_release(toy, loans, store, progress, folder) -> None:
    built = build.build_release(toy, loans, toy.config_type(), store, progress)
    manifest = store.manifest(built.manifest.line, built.manifest.release)
    assert manifest == built.manifest
    assert manifest.data.name == "generated-credit"
    assert manifest.data.generated
    assert manifest.metrics["test"]["auc"].value > 0.5
    assert [(step.name, step.role) for step in manifest.steps] == [
        ("encode", "pre"),
        ("score", "core"),
        ("decode", "post"),
    ]
    assert manifest.parity["contributions"].max_difference <= 1e-5
    assert manifest.variants == ("ensemble", "fused")
    assert manifest.fused_parity.keys() == manifest.parity.keys()
    assert manifest.fused_parity["contributions"].max_difference <= 1e-5
    assert {"train", "publish"} <= progress.stages.keys()
    assert built.seconds > 0


def test_the_manifest_says_how_it_was_made(make, folder) -> None:
    manifest = make().manifest
    assert manifest.seed == 7
    assert manifest.hyperparameters["learning_rate"] == 0.1
    assert {"python", "torch", "onnx", "onnxruntime", "transformers"} <= manifest.versions.keys()
    assert manifest.files == content(folder / "models")
    assert manifest.create_time.tzinfo is not None
    assert [tensor.name for tensor in manifest.inputs] == ["numbers", "categories"]


def test_the_reports_are_for_people_and_tests(make, candidate: Candidate) -> None:
    report = Path(make().report_path)
    answers = pq.read_table(io.BytesIO((report / "answers.parquet").read_bytes()))
    assert answers == candidate.answers
    assert (report / "report.md").read_text().startswith("# score-risk/r1\n")
    assert (report / "note.txt").read_bytes() == b"for people"


def test_reports_the_size_of_each_step(make, folder) -> None:
    built = make()
    files = {
        step.name: folder / "models" / step.model / "1/model.onnx" for step in built.manifest.steps
    }
    assert built.step_bytes == {name: file.stat().st_size for name, file in files.items()}


def test_the_first_release_of_a_line_answers_its_calls(make, store) -> None:
    assert make("r1").routed
    number, routes = store.routes()
    assert number == 1
    assert routes.lines == {"score-risk": (RouteTarget(release="r1", weight=1.0),)}
    assert routes.note == "build score-risk/r1"
    assert routes.create_time is not None


def test_a_later_release_waits(make, store) -> None:
    make("r1")
    before = store.routes()
    assert not make("r2").routed
    assert store.routes() == before


def test_routing_leaves_the_other_lines_and_shadows_alone(make, store) -> None:
    others = Routes(lines={"recommend": (RouteTarget(release="a"),)}, shadows={"recommend": "b"})
    store.add_routes(others, after=0)
    make("r1")
    _, routes = store.routes()
    assert routes.lines["recommend"] == others.lines["recommend"]
    assert routes.shadows == others.shadows
    assert "score-risk" in routes.lines


class BusyStore(ReleaseStore):
    """Somebody else adds routes between our reading and our writing, ``times`` times."""

    times = 1
    line = "recommend"

    def add_routes(self, routes: Routes, after: int) -> int:
        if self.times:
            self.times -= 1
            number, found = super().routes()
            lines = {**found.lines, self.line: (RouteTarget(release="theirs"),)}
            super().add_routes(Routes(lines=lines), after=number)
        return super().add_routes(routes, after)


def test_another_build_may_add_routes_at_the_same_time(folder) -> None:
    store = BusyStore(folder)
    assert route_first(store, manifest("score-risk"))
    assert store.routes()[1].lines.keys() == {"recommend", "score-risk"}


def test_another_build_may_be_the_first_of_the_line(folder) -> None:
    store = BusyStore(folder)
    store.line = "score-risk"
    assert not route_first(store, manifest("score-risk"))
    assert store.routes()[1].lines["score-risk"] == (RouteTarget(release="theirs"),)


def test_the_release_is_named_by_the_time_if_by_nobody(make) -> None:
    assert len(make(None).manifest.release) == len("20261123t101502")


@pytest.mark.parametrize(
    "error",
    [
        DataFault([Fault("loans.csv", "a number", "'x'", row=3, column="income")]),
        ParityBroken("score", 1.0, 0.1),
        RuntimeError("a mistake of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_build_that_fails_writes_nothing(make, canned, candidate, toy, folder, error) -> None:
    task = type(canned)(toy, candidate, error)
    with pytest.raises(type(error)):
        make(task=task)
    assert content(folder) == {}


def test_data_that_a_task_refuses_writes_nothing(toy, store, progress, folder, tmp_path) -> None:
    table = tmp_path / "loans.csv"
    table.write_text("income,months\n1,2\n")
    data = ResolvedData(name="loans.csv", path=table, sha256="")
    with pytest.raises(DataFault, match="row 1: expected a column 'default', found none"):
        build.build_release(toy, data, toy.config_type(), store, progress)
    assert content(folder) == {}


def test_broken_parity_writes_nothing(toy, loans, store, progress, folder) -> None:
    config = toy.config_type(shift=0.25)
    with pytest.raises(ParityBroken, match=r"'default_probability' differs from torch by 0\.25"):
        build.build_release(toy, loans, config, store, progress)
    assert content(folder) == {}


def test_steps_that_do_not_fit_write_nothing(make, canned, candidate, toy, folder) -> None:
    task = type(canned)(toy, replace(candidate, steps=candidate.steps[:2]))
    with pytest.raises(ExportBroken, match=r"output 'score' .* is missing"):
        make(task=task)
    assert content(folder) == {}


def test_a_variant_that_is_not_proven_writes_nothing(make, canned, candidate, toy, folder) -> None:
    unproven = {name: one for name, one in candidate.fused_parity.items() if name != "score"}
    task = type(canned)(toy, replace(candidate, fused_parity=unproven))
    with pytest.raises(ExportBroken, match="not compared in both variants: score"):
        make(task=task)
    assert content(folder) == {}


GATE = Gate.model_validate(
    {"lines": {"score-risk": {"not_worse_than_promoted": {"metrics": ["auc"]}}}}
)


UNREACHABLE = Gate.model_validate({"lines": {"score-risk": {"floors": {"test": {"auc": 2}}}}})


def of_auc(candidate: Candidate, value: float) -> Candidate:
    metric = Metric(value=value, low=value - 0.01, high=value + 0.01)
    return replace(candidate, metrics={"test": {"auc": metric}})


def test_one_that_is_worse_than_its_parent_is_refused_and_changes_nothing(
    canned, candidate, toy, loans, store, progress, folder
) -> None:
    def built(release: str, auc: float, **how: bool) -> build.Built:
        task = type(canned)(toy, of_auc(candidate, auc))
        releasing = Releasing(gate=GATE, **how)
        config = toy.config_type()
        return build.build_release(task, loans, config, store, progress, release, releasing)

    assert built("r1", 0.8).routed
    assert built("r2", 0.795).manifest.parent == "r1"
    before = content(folder)
    with pytest.raises(GateRefused, match=r"not worse than r1: test auc: wanted at least 0\.79"):
        built("r3", 0.785)
    assert content(folder) == before
    kept = built("r3", 0.785, publish_refused=True)
    assert (kept.manifest.verdict, kept.routed) == ("refused", False)
    assert [check.passed for check in kept.manifest.checks] == [False]


class NoNetwork(RemoteStorage):
    """A bucket that can be read and not be written."""

    def replace_folder(self, path: str, source: Path) -> None:
        raise ConnectionError("the network is gone")


Cut = Callable[..., UploadFailed]


@pytest.fixture
def cut(canned, loans, progress, tmp_path) -> Cut:
    """Builds for a bucket whose network is gone; gives the error that says how to go on."""

    def build_and_fail(url: str, release: str, **how: object) -> UploadFailed:
        filesystem, root = fsspec.url_to_fs(url)
        store = ReleaseStore(url, NoNetwork(filesystem, root))
        releasing = Releasing(outgoing=tmp_path / "outgoing", **how)
        with pytest.raises(UploadFailed, match="is built, but not uploaded") as caught:
            build.build_release(
                canned, loans, canned.config_type(), store, progress, release, releasing
            )
        assert ReleaseStore(url).releases() == []
        return caught.value

    return build_and_fail


def go_on(failed: UploadFailed) -> str:
    """Type what the error says; return what people see."""
    command = str(failed).rpartition("to go on: ")[2]
    program, *words = shlex.split(command)
    assert program == "model-builder"
    done = CliRunner().invoke(cli, words, env={"TRIDENT_STORE": "", "TRIDENT_SIGN_KEY": ""})
    assert done.exit_code == 0, done.output
    return done.stderr


def test_what_a_bucket_does_not_take_is_kept_and_uploaded_later(cut: Cut, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    failed = cut(url, "r1")
    assert f"model-builder releases upload {failed.place} --store {url}" in str(failed)
    store = ReleaseStore(url)
    manifest = upload(failed.place, store)[0]
    assert store.manifest("score-risk", "r1") == manifest
    store.check_files(manifest)
    assert list((tmp_path / "outgoing").iterdir()) == []


def test_the_command_that_goes_on_with_an_upload_signs_and_routes_as_the_build_would(
    cut: Cut, tmp_path: Path
) -> None:
    url = f"memory://{tmp_path.name}"
    folder = tmp_path / "our keys"
    folder.mkdir()
    private, public = make_keys(folder)
    said = go_on(cut(url, "r1", sign=Signer(private)))
    store = ReleaseStore(url)
    Trust(Verifier(public), required=True).manifest(store, "score-risk", "r1")
    assert store.routes()[1].lines == {"score-risk": (RouteTarget(release="r1"),)}
    assert f"Published {store.manifest_path('score-risk', 'r1')}" in said
    assert f"gateway serve --embedded --store {url}" in said


def test_an_upload_of_a_later_or_a_refused_release_routes_nothing(cut: Cut, tmp_path: Path) -> None:
    first, second = f"memory://{tmp_path.name}", f"memory://{tmp_path.name}-2"
    good, bad = cut(first, "r1"), cut(second, "bad", gate=UNREACHABLE, publish_refused=True)
    routes = Routes(lines={"score-risk": (RouteTarget(release="theirs"),)})
    ReleaseStore(first).add_routes(routes, after=0)
    assert f"model-builder promote score-risk/r1 --store {first}" in go_on(good)
    assert "The gate refused it" in go_on(bad)
    assert ReleaseStore(first).routes() == (1, routes)
    assert ReleaseStore(second).routes() == (0, Routes())
    assert ReleaseStore(second).manifest("score-risk", "bad").signature is None


def test_a_task_that_records_nothing_cannot_be_proven(
    canned, candidate, toy, loans, store, progress, folder
) -> None:
    task = type(canned)(toy, replace(candidate, recorded=None))
    with pytest.raises(ProofFailed, match="--unproven builds without"):
        build.build_release(
            task, loans, toy.config_type(), store, progress, "r1", Releasing(proven=True)
        )
    assert content(folder) == {}


def test_a_line_without_declared_tensors_is_refused(make, canned, candidate, toy) -> None:
    task = type(canned)(toy, replace(candidate, line="diagnose-sound"))
    with pytest.raises(ExportBroken, match="'diagnose-sound' has no declared tensors"):
        make(task=task)


def test_a_name_that_is_taken_changes_nothing(make, folder) -> None:
    from triton_models.store_errors import StoreError

    make("r1")
    before = content(folder)
    with pytest.raises(StoreError, match="r1"):
        make("r1")
    assert content(folder) == before


def test_a_name_that_cannot_be_is_refused_before_any_work(make, canned, candidate, toy) -> None:
    task = type(canned)(toy, candidate, AssertionError("built"))
    with pytest.raises(ValueError, match="release name"):
        make("Not/Good", task)
