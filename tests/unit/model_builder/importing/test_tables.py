from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import spox.opset.ai.onnx.v18 as op

from model_builder.errors import ConfigInvalid
from model_builder.export.chain import run_steps
from model_builder.importing.errors import ConversionFailed, ImportMismatch
from model_builder.importing.foreign import opened
from model_builder.importing.graphs import logits_of
from model_builder.importing.tables import import_network, read_for_import
from model_builder.risk.task import RiskConfig
from model_builder.task import StepModel

CONFIG = RiskConfig(cross_validate_below=0, members=1, resamples=20)
F = np.float32


@pytest.fixture(scope="session")
def read(loans_table):
    return read_for_import(loans_table, CONFIG)


@pytest.fixture
def imported(read):
    def bring(path, takes="prepared", gives="logits", classes=1, names=None):
        with opened("onnx", path) as foreign:
            return import_network(read, foreign, what=path.name, takes=takes, gives=gives,
                                  classes=classes, names=names or {})  # fmt: skip

    return bring


def chained(network):
    before, core = network.export()
    steps = [StepModel("prepare", "pre", before), StepModel("score", "core", core)]
    return run_steps(steps, network.test_tensors())


def compared(network):
    made = chained(network)
    for name, expected in network.test_answers().items():
        np.testing.assert_allclose(made[name], expected, atol=1e-5)
    np.testing.assert_array_equal(made["input_rules"], network.rules[network.splits.test])
    return network.test_answers()


def wide(read):
    return {"x": (F, read.inputs.shape[1])}


def separate(read, dtype=np.int64):
    numbers, places = read.taken("features")
    return {"numbers": (F, numbers.values.shape[1]), "categories": (dtype, places.values.shape[1])}


def test_a_network_on_prepared_columns_is_run_as_it_answers_itself(imported, network, read):
    answers = compared(imported(network(wide(read))))
    fall = np.abs(answers["logits"] - answers["reset_logits"][:, :, 0])
    assert (fall.max(axis=0) > 0).all()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_network_on_features_is_run_as_it_answers_itself(imported, network, read, dtype):
    answers = compared(imported(network(separate(read, dtype)), takes="features"))
    assert np.isfinite(answers["logits"]).all()  # gaps are filled before it reads


def test_a_feature_that_is_typical_already_contributes_exactly_nothing(imported, network, read):
    found = imported(network(separate(read)), takes="features")
    made = chained(found)
    place = [feature.name for feature in read.encoding.features].index("housing")
    housing = found.test_tensors()["categories"][:, 0]
    typical = np.isin(housing, ["", read.encoding.features[place].typical])
    difference = made["reset_logits"][:, place] - made["logits"]
    assert (difference[typical] == 0).all()
    assert (difference[~typical] != 0).all()


def test_probabilities_become_logits(imported, network, read):
    logits = compared(imported(network(wide(read))))["logits"]
    of_one = compared(imported(network(wide(read), op.sigmoid), gives="probabilities"))["logits"]
    np.testing.assert_allclose(of_one, logits, atol=1e-3)


def test_two_classes_may_come_as_two_columns_or_one(imported, network, read):
    softmax = network(wide(read), lambda x: op.softmax(x, axis=1), width=2)
    two = compared(imported(softmax, gives="probabilities", classes=2))["logits"]
    np.testing.assert_allclose(np.exp(two).sum(axis=1), 1, atol=1e-5)
    one = compared(imported(network(wide(read)), classes=2))["logits"]
    assert (one[:, 0] == 0).all()


def test_the_smallest_and_largest_probabilities_have_finite_logits():
    found = logits_of(np.array([[0.0], [0.5], [1.0]], F), "probabilities", 1)
    assert np.isfinite(found).all()
    assert found[1, 0] == 0
    assert found[0, 0] == pytest.approx(-found[2, 0], abs=1e-3)


@pytest.mark.parametrize(
    ("finish", "gives", "fault"),
    [
        (op.identity, "probabilities", r"no probabilities; are they logits \(--gives logits\)"),
        (op.sigmoid, "logits", "look like probabilities"),
        (lambda x: op.sqrt(x), "logits", "with no finite number"),
    ],
)
def test_answers_that_are_not_what_they_are_called_are_refused(
    imported, network, read, finish, gives, fault
):
    with pytest.raises(ImportMismatch, match=fault):
        imported(network(wide(read), finish), gives=gives)


def test_a_network_for_another_table_is_refused(imported, network):
    with pytest.raises(ImportMismatch, match=r"input 'inputs' must be FP32\[\*, \d+\], 'x' is"):
        imported(network({"x": (F, 3)}))


def test_a_monotonic_feature_is_refused(loans_table):
    columns = tuple(
        dataclasses.replace(column, monotonic="decreasing") if column.name in ("income", "amount")
        else column for column in loans_table.columns
    )  # fmt: skip
    with pytest.raises(ConfigInvalid) as caught:
        read_for_import(dataclasses.replace(loans_table, columns=columns), CONFIG)
    assert [fault.split(",")[0] for fault in caught.value.faults] == [
        "schema: 'income' is monotonic", "schema: 'amount' is monotonic",
    ]  # fmt: skip


def test_what_is_no_onnx_or_too_new_is_refused(tmp_path, network, read):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with (
        pytest.raises(ConversionFailed, match=r"broken\.onnx cannot be converted"),
        opened("onnx", broken),
    ):
        pass
    path = network(wide(read))
    model = onnx.load(path)
    model.opset_import[0].version = 21
    onnx.save(model, path)
    with pytest.raises(ConversionFailed, match="opset 21, and at most 18"), opened("onnx", path):
        pass


def test_the_data_source_says_that_the_training_is_not_known(imported, network, read, loans):
    source = imported(network(wide(read))).data_source(loans, CONFIG)
    assert "trained elsewhere and imported" in source.protocol
    assert source.split_sha256 == read.splits.sha256
    assert set(source.split) == {"train", "validation", "test"}
