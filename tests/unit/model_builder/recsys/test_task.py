from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gpu_readiness import reasons

from model_builder.build import reports_of, stage_release
from model_builder.child_release import Change, stage_child
from model_builder.errors import (
    CannotDerive,
    CannotGoOn,
    ConfigInvalid,
    DataFault,
    ExportBroken,
    ParityBroken,
)
from model_builder.export.chain import run_steps
from model_builder.export.ensemble import write_models
from model_builder.opened_release import opened_release
from model_builder.previous import WEIGHTS
from model_builder.progress import SilentProgress
from model_builder.proof.verifying import hashes_of
from model_builder.recsys import exporting, task
from model_builder.recsys.comparing import TOLERANCES
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.request_tensors import Request, request_tensors
from model_builder.recsys.task import TASK
from model_builder.remeasuring import remeasured
from model_builder.task import Candidate, Learnt, Prunes, ResolvedData
from model_builder.training.seeding import seed_everything
from model_builder.variants.kinds import apply
from triton_models.signatures import RECOMMEND
from triton_models.store import ReleaseStore

CONFIG = RecsysConfig(epochs=6, learning_rate=0.02, width=16, history_length=6, layers=1,
                      dropout=0.0, batch_size=16, negatives=0)  # fmt: skip
ITEMS = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ResolvedData:
    """After item ``i`` comes ``i + 1``; the last user has too little to be asked for."""
    draws = np.random.default_rng(0)
    lines = ["user,item,timestamp"]
    for user in range(40):
        start = draws.integers(ITEMS)
        lines += [f"u{user},film {(start + t) % ITEMS},{t}" for t in range(draws.integers(5, 11))]
    path: Path = tmp_path_factory.mktemp("data") / "log.csv"
    path.write_text("\n".join([*lines, "u99,film 3,1"]) + "\n")
    return ResolvedData("log.csv", path, "f00d", generated=True)


@pytest.fixture(scope="module")
def built(data: ResolvedData) -> Candidate:
    seed_everything(CONFIG.seed)
    return TASK.build(data, CONFIG, SilentProgress())


def test_the_steps_are_an_ensemble_of_the_line(built, tmp_path):
    inputs, outputs = write_models(tmp_path, built.line, "r1", built.steps, RECOMMEND)
    for found, specs in ((inputs, RECOMMEND.inputs), (outputs, RECOMMEND.outputs)):
        assert [tensor.name for tensor in found] == [s.name for s in specs if not s.optional]
    assert [(step.name, step.role) for step in built.steps] == [
        ("encode", "pre"),
        ("history", "core"),
        ("retrieve", "core"),
        ("filter", "post"),
        ("rank", "core"),
        ("decode", "post"),
    ]


def test_what_each_stage_is_worth_is_said(built):
    stages = built.details["stages"]
    assert stages.shortlist == ITEMS
    assert stages.first_stage.keys() == stages.found.keys() == {"validation", "test"}
    alone, both = (
        stages.first_stage["validation"]["ndcg@10"],
        built.metrics["validation"]["ndcg@10"],
    )
    assert both.value >= alone.value
    if stages.ranker_kept:
        assert both.value - alone.value == pytest.approx(stages.ranker_gain)


def test_quality_stands_beside_the_baselines(built):
    for split in ("validation", "test"):
        metrics, popularity = built.metrics[split], built.baselines["popularity"][split]
        assert {"ndcg@10", "hr@5", "mrr@20"} <= metrics.keys() == popularity.keys()
        assert metrics["ndcg@10"].low <= metrics["ndcg@10"].value <= metrics["ndcg@10"].high
        assert metrics["mrr"].low > popularity["mrr"].high
        neighbours = built.baselines["item_knn"][split]
        assert neighbours.keys() == metrics.keys()
        assert neighbours["mrr"].value > popularity["mrr"].high  # it finds the planted order too
    assert built.baselines.keys() == {"popularity", "item_knn", "ease", "als"}
    assert set(built.headline) <= built.metrics["test"].keys()


def test_what_was_left_to_the_task_is_said_in_numbers(built):
    assert built.chosen.keys() >= {"heads", "width", "epochs", "negatives"}
    assert "auto" not in {str(value) for value in built.chosen.values()}
    assert built.chosen["training"]["precision"] in ("fp32", "bf16")
    assert (built.chosen["width"], built.chosen["epochs"]) == (CONFIG.width, CONFIG.epochs)


def test_a_report_shows_how_it_learnt_and_for_whom_it_works(built):
    report = built.extra_files["report.html"].decode()
    assert built.data.protocol.split(":")[0] in report
    assert report.count("<svg") == 3
    assert "NDCG@10 of the test above that of" in report
    for text in ("item_knn", "ease", "als", "popularity", "By how many items", "coverage@10"):
        assert text in report


def test_parity_covers_every_output_on_the_whole_test_split(built):
    assert set(built.parity) == {spec.name for spec in RECOMMEND.outputs if not spec.optional}
    assert {parity.rows for parity in built.parity.values()} == {built.data.split["test"]}


def test_the_answers_are_what_the_steps_say_to_the_same_requests(built):
    answers = built.answers.to_pydict()
    histories = answers["history_item_ids"]
    made = run_steps(built.steps, request_tensors([Request(history) for history in histories]))
    assert len(histories) == built.data.split["test"] == 40
    for row, history in enumerate(histories):
        count = ITEMS - len(set(history))  # fewer are left than the ten that are asked for
        assert answers["item_ids"][row] == made["item_ids"][row, :count].tolist()
        np.testing.assert_allclose(
            made["scores"][row, :count], answers["scores"][row], rtol=0, atol=TOLERANCES["scores"]
        )
        assert set(made["item_ids"][row, count:]) <= {""}


def test_the_next_item_of_the_planted_order_comes_first(built):
    answers = built.answers.to_pydict()
    hits = [
        answer[0] == f"film {(int(history[-1].removeprefix('film ')) + 1) % ITEMS}"
        for history, answer in zip(answers["history_item_ids"], answers["item_ids"], strict=True)
    ]
    assert np.mean(hits) > 0.8


def test_the_data_is_described(built):
    assert (built.line, built.item_count, built.data.sha256) == ("recommend", ITEMS, "f00d")
    assert built.data.generated
    assert built.data.rows == sum(built.data.split.values())
    assert "1 users with fewer" in built.data.protocol


def test_steps_that_answer_otherwise_are_refused(built, data, monkeypatch):
    """The steps are real ones, of a network that was trained longer."""
    monkeypatch.setattr(task, "export_steps", lambda *stages: built.steps)
    with pytest.raises(ParityBroken, match=r"output '.*' differs from torch"):
        TASK.build(data, CONFIG.model_copy(update={"epochs": 1}), SilentProgress())


def test_a_faulty_log_builds_nothing(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,timestamp\nann,x,soon\n")
    with pytest.raises(DataFault, match=r"log.csv, row 2, column 'timestamp': expected a finite"):
        TASK.build(ResolvedData("log.csv", path, ""), CONFIG, SilentProgress())


@pytest.fixture
def untrained(monkeypatch) -> None:
    def fit(*given: object, **named: object) -> None:
        raise AssertionError("it was trained first")

    monkeypatch.setattr(task, "fit_network", fit)


@pytest.mark.usefixtures("untrained")
def test_an_encoder_that_cannot_be_used_is_refused_before_anything_is_learnt(data, tmp_path):
    with pytest.raises(DataFault, match=r"items.csv or .* beside the log"):
        TASK.build(data, CONFIG.model_copy(update={"base": "any"}), SilentProgress())
    path = tmp_path / "log.csv"
    path.write_bytes(data.path.read_bytes())
    titles = "".join(f"film {item},title {item}\n" for item in range(ITEMS + 1))
    path.with_name("items.csv").write_text(f"id,title\n{titles}")
    config = CONFIG.model_copy(update={"base": str(tmp_path / "nothing")})
    with pytest.raises(DataFault, match="a sentence-transformers model"):
        TASK.build(ResolvedData("log.csv", path, ""), config, SilentProgress())


@pytest.mark.usefixtures("untrained")
def test_a_catalogue_that_fits_no_file_is_refused_before_anything_is_learnt(data, monkeypatch):
    monkeypatch.setattr(exporting, "LARGEST_TABLE", 13 * (CONFIG.width + 2) * 4 - 1)
    with pytest.raises(ExportBroken, match="vectors of 12 items are"):
        TASK.build(data, CONFIG, SilentProgress())


def test_a_label_is_refused(data):
    labelled = ResolvedData(data.name, data.path, "", label="rating")
    with pytest.raises(ConfigInvalid, match="--label rating: a log of interactions has no label"):
        TASK.build(labelled, CONFIG, SilentProgress())


def test_tensorrt_takes_every_core(built):
    assert reasons(built) == {"history": (), "retrieve": (), "rank": ()}


@pytest.fixture(scope="module")
def released(built, tmp_path_factory):
    """The release in a store, opened as a parent."""
    folder = tmp_path_factory.mktemp("released")
    (folder / "models").mkdir()
    manifest = stage_release(built, CONFIG, "r1", folder / "models")
    reports = reports_of(built)
    manifest = manifest.model_copy(update={"recorded": hashes_of(reports)})
    store = ReleaseStore(folder / "store")
    store.publish(manifest, folder / "models", reports)
    with opened_release(store, "recommend", "r1") as opened:
        yield opened


def test_a_release_asked_for_its_lists_is_measured_as_it_was_built(released):
    manifest = released.manifest
    found = remeasured(manifest, released.steps, released.answers, released.recorded)
    assert found.keys() <= manifest.metrics["test"].keys()
    for name in ("ndcg@10", "hr@10", "mrr@10"):
        assert found[name].value == pytest.approx(manifest.metrics["test"][name].value)
        assert found[name].low == pytest.approx(manifest.metrics["test"][name].low)


def test_without_the_true_items_nothing_is_measured(released):
    answers = released.answers.drop_columns(["target_item_id"])
    with pytest.raises(CannotDerive, match="target_item_id"):
        remeasured(released.manifest, released.steps, answers, released.recorded)


def test_calibration_rows_are_what_was_learnt_from(built, data):
    had: dict[str, list[str]] = {}
    for line in data.path.read_text().splitlines()[1:]:
        user, item, _ = line.split(",")
        had.setdefault(user, []).append(item)
    learnt = {
        tuple(items[:count])
        for items in (one[:-2] for one in had.values())  # the last two validate and test
        for count in range(1, len(items))
    }
    asked = {tuple(row) for row in built.calibration.inputs["history_item_ids"]}
    recorded = {tuple(row) for row in built.recorded.inputs["history_item_ids"]}
    assert asked <= learnt
    assert not recorded <= learnt


def test_a_release_that_reads_times_is_asked_with_them_and_keeps_them(built, data):
    config = CONFIG.model_copy(update={"time_gaps": True, "epochs": 1, "rank_epochs": 0})
    timed = TASK.build(data, config, SilentProgress())
    assert (built.chosen["time_gaps"], timed.chosen["time_gaps"]) == (False, True)
    assert "The network is told when each item was had" in timed.data.protocol
    for of in ("recorded", "calibration"):
        plain, inputs = getattr(built, of).inputs, getattr(timed, of).inputs
        assert inputs.keys() - plain.keys() == {"history_times", "request_time"}
        for ids, times, (asked_at,) in zip(
            inputs["history_item_ids"], inputs["history_times"], inputs["request_time"], strict=True
        ):
            # Each user had something every second, from 0 on, which is no moment.
            assert times == list(range(len(ids)))
            assert asked_at == len(ids)
    assert timed.answers["history_times"].to_pylist() == timed.recorded.inputs["history_times"]
    assert "history_times" not in built.answers.column_names


def test_a_rewritten_recommender_lists_the_same_items(released, tmp_path):
    applied = apply(["graph"], released, released.steps)
    done = applied.details["graph"]["history"]
    assert done["padding"] == 1, "no more places are read than there are"
    assert done["last_places"] == 0, "the release itself computes the last place alone"
    change = Change("graph", "fp32", "The same.", applied.steps, details=applied.details)
    (tmp_path / "models").mkdir()
    staged = stage_child(released, change, tmp_path / "models", "c1", SilentProgress())
    old = released.recorded.outputs
    assert (staged.recorded.outputs["item_ids"] == old["item_ids"]).all()
    assert staged.manifest.metrics["test"]["hr@10"] == pytest.approx(
        released.manifest.metrics["test"]["hr@10"]
    )
    assert staged.answers["item_ids"] == released.answers["item_ids"]


def test_half_the_width_is_gone_and_the_next_item_still_found(built, data):
    assert isinstance(TASK, Prunes)
    config = CONFIG.model_copy(update={"prune": 0.5})
    learnt = Learnt("recommend/r1", built.extra_files[WEIGHTS])
    pruned = TASK.pruned_from(data, config, SilentProgress(), learnt)
    assert (built.chosen["width"], pruned.chosen["width"]) == (16, 8)
    sizes = {
        name: [s.model.ByteSize() for s in one.steps if s.role == "core"]
        for name, one in (("before", built), ("after", pruned))
    }
    assert all(a < b for a, b in zip(sizes["after"], sizes["before"], strict=True))
    assert pruned.metrics["test"]["hr@10"].value > 0.5
    other = Learnt("recommend/r1", b"nothing")
    with pytest.raises(CannotGoOn):
        TASK.pruned_from(data, config, SilentProgress(), other)
