"""A build that starts from an earlier release, through a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_builder.build import Built, build_release
from model_builder.errors import CannotGoOn, ConfigInvalid
from model_builder.previous import WEIGHTS, Previous, previous_release
from model_builder.progress import SilentProgress
from model_builder.recsys.asking import EarlierRelease
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import load_interactions, split_interactions
from model_builder.recsys.earlier import Earlier
from model_builder.recsys.task import TASK
from model_builder.releasing import Releasing
from model_builder.task import ResolvedData
from triton_models.store import ReleaseStore
from triton_models.store_errors import FilesAltered, ReleaseNotFound

SIZES = {"width": 16, "history_length": 6, "dropout": 0.0}
CONFIG = RecsysConfig(epochs=6, learning_rate=0.02, batch_size=16, negatives=0, **SIZES)
WITH_HOURS = CONFIG.model_copy(update={"context": ("hour",)})
HOW = Releasing(proven=False)


def log(path: Path, items: int, users: int) -> ResolvedData:
    """After item ``i`` comes ``i + 1``; the hour says nothing."""
    draws = np.random.default_rng(0)
    lines = ["user,item,timestamp,hour"]
    for user in range(users):
        start = draws.integers(items)
        lines += [f"u{user},film {(start + t) % items},{t},{t % 24}"
                  for t in range(draws.integers(5, 11))]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return ResolvedData(path.name, path, "f00d", generated=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def store(folder) -> ReleaseStore:
    return ReleaseStore(folder)


@pytest.fixture(scope="module")
def first(store, tmp_path_factory) -> Built:
    data = log(tmp_path_factory.mktemp("old") / "log.csv", items=12, users=60)
    return build_release(TASK, data, WITH_HOURS, store, SilentProgress(), "old", HOW)


@pytest.fixture(scope="module")
def newer(tmp_path_factory) -> ResolvedData:
    """Two more films, and one of the earlier ones nobody has any more."""
    data = log(tmp_path_factory.mktemp("new") / "log.csv", items=14, users=60)
    lines = data.path.read_text().splitlines()
    data.path.write_text("\n".join(line for line in lines if ",film 3," not in line) + "\n")
    return data


@pytest.fixture(scope="module")
def second(store, first, newer) -> Built:
    config = RecsysConfig(epochs=1, learning_rate=0.001, batch_size=16, negatives=0, dropout=0.0)
    with previous_release(store, "recommend", "old") as previous:
        return build_release(TASK, newer, config, store, SilentProgress(), "new", HOW, previous)


@pytest.fixture
def previous(store, first) -> Iterator[Previous]:
    with previous_release(store, "recommend", "old") as found:
        yield found


def test_the_catalogue_grows_and_keeps_what_nobody_has_any_more(second):
    manifest = second.manifest
    assert manifest.item_count == 14
    assert manifest.warm_start is not None
    assert manifest.warm_start.model_dump() == {
        "release": "recommend/old", "items_kept": 12, "items_unseen": 1, "items_new": 2,
    }  # fmt: skip
    assert manifest.hyperparameters["epochs"] == 1


def test_the_network_goes_on_from_what_was_learnt(second):
    """One small epoch teaches a network that begins anew nothing."""
    test = second.manifest.metrics["test"]
    assert test["hr@5"].value > 0.8


def test_old_and_new_are_measured_on_the_same_test(second):
    old = second.manifest.baselines["recommend/old"]
    assert old.keys() == second.manifest.metrics.keys()
    assert old["test"].keys() < second.manifest.metrics["test"].keys()
    assert 0 < old["test"]["hr@5"].value < second.manifest.metrics["test"]["hr@5"].value


def test_the_earlier_release_misses_what_it_does_not_know(previous, newer):
    interactions = load_interactions(newer.path)
    questions = split_interactions(interactions, CONFIG, "log.csv").test
    ranks = Earlier.of(previous).release.ranks(interactions, questions)
    targets = interactions.ids(questions.targets)
    unknown = np.array([target in ("film 12", "film 13") for target in targets])
    assert unknown.any()
    assert (ranks[unknown] == len(interactions.item_ids)).all()
    assert (ranks[~unknown] <= 3).mean() > 0.8


def test_a_release_asked_again_ranks_as_it_was_measured(previous, first, tmp_path):
    data = log(tmp_path / "again.csv", items=12, users=60)
    interactions = load_interactions(data.path, WITH_HOURS, ["hour"])
    splits = split_interactions(interactions, CONFIG, "log.csv")
    told = Earlier.of(previous).measured(interactions, splits, CONFIG.seed)["recommend/old"]
    for split, metrics in told.items():
        for name, metric in metrics.items():
            measured = first.manifest.metrics[split][name]
            assert metric.value == pytest.approx(measured.value, abs=1e-6)


def test_an_earlier_release_reads_the_context_as_far_as_there_is_one(previous, tmp_path):
    assert [feature.name for feature in previous.manifest.features] == ["hour"]
    release = EarlierRelease(previous.name, previous.fused, previous.manifest.features)
    data = log(tmp_path / "again.csv", items=12, users=60)
    for extra in (["hour"], []):
        interactions = load_interactions(data.path, CONFIG, extra)
        questions = split_interactions(interactions, CONFIG, "log.csv").test
        assert (release.ranks(interactions, questions) <= 3).mean() > 0.8


def test_a_release_that_takes_what_nobody_knows_is_refused(previous):
    with pytest.raises(CannotGoOn, match="it also takes numbers"):
        EarlierRelease(previous.name, previous.fused)


def test_other_sizes_are_refused_before_anything_is_learnt(previous, newer):
    with pytest.raises(ConfigInvalid, match="width: recommend/old has 16"):
        TASK.build_from(newer, RecsysConfig(width=32), SilentProgress(), previous)


def test_a_release_of_another_line_is_refused(previous, newer):
    other = replace(previous, manifest=previous.manifest.model_copy(update={"line": "score-risk"}))
    with pytest.raises(CannotGoOn, match="score-risk/old: it is no release of 'recommend'"):
        TASK.build_from(newer, CONFIG, SilentProgress(), other)


def test_a_task_that_begins_anew_says_so(previous, canned, loans, store, progress):
    with pytest.raises(CannotGoOn, match="always begins anew"):
        build_release(canned, loans, canned.config_type(), store, progress, "r1", HOW, previous)


def test_what_was_changed_or_is_not_there_is_refused(store, first, folder):
    def refused() -> None:
        with previous_release(store, "recommend", "old"):
            pass

    weights = folder / "reports" / "recommend" / "old" / WEIGHTS
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"!")
    with pytest.raises(CannotGoOn, match="was changed since it was released"):
        refused()
    weights.unlink()
    with pytest.raises(CannotGoOn, match=f"it has no {WEIGHTS}; build it anew"):
        refused()
    weights.write_bytes(content)
    model = next((folder / "models").glob("recommend__old__fused/1/model.onnx"))
    graph = model.read_bytes()
    model.write_bytes(graph + b"!")
    with pytest.raises(FilesAltered):
        refused()
    model.write_bytes(graph)
    refused()
    with pytest.raises(ReleaseNotFound), previous_release(store, "recommend", "none"):
        pass
