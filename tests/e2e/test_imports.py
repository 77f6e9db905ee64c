"""Networks from Keras and TensorFlow become releases that the gateway serves like any other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import spox.opset.ai.onnx.v18 as op
from served import Gateway, run
from sklearn.linear_model import LogisticRegression
from spox import Tensor, argument, build

from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub
from trident.risk.v1 import risk_service_pb2 as risk
from trident.risk.v1.risk_service_pb2_grpc import RiskServiceStub
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.e2e

TENSORFLOW = Path(sys.executable).parents[1] / "tensorflow" / "bin" / "python"

KERAS = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy as np
keras.utils.set_random_seed(0)
data = np.load(sys.argv[1])
numbers = keras.Input(data["train_numbers"].shape[1:], name="numbers")
places = keras.Input(data["train_categories"].shape[1:], dtype="int32", name="categories")
scale = keras.layers.Normalization()
scale.adapt(data["train_numbers"])
words = keras.layers.Flatten()(keras.layers.Embedding(8, 3)(places))
hidden = keras.layers.Concatenate()([scale(numbers), words])
hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(8, activation="relu")(hidden))
model = keras.Model([numbers, places], keras.layers.Dense(1, name="risk")(hidden))
model.compile(keras.optimizers.Adam(0.01), keras.losses.BinaryCrossentropy(from_logits=True))
inputs = [data["train_numbers"], data["train_categories"]]
model.fit(inputs, data["train_target"], epochs=10, batch_size=64, verbose=0)
model.save(sys.argv[2])
"""

SAVED_MODEL = """
import sys
import numpy as np, tensorflow as tf
data = np.load(sys.argv[1])
rows, target = data["train_numbers"], data["train_target"]
mean, spread = rows.mean(axis=0), rows.std(axis=0)
weights = tf.Variable(tf.zeros([rows.shape[1], 2]))
for _ in range(60):
    with tf.GradientTape() as tape:
        logits = tf.matmul((rows - mean) / spread, weights)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits))
    weights.assign_sub(0.3 * tape.gradient(loss, weights))
class Model(tf.Module):
    def __init__(self):
        super().__init__()
        self.weights = weights
    @tf.function(input_signature=[tf.TensorSpec([None, rows.shape[1]], tf.float32, "measured")])
    def serve(self, measured):
        return {"finding": tf.nn.softmax(tf.matmul((measured - mean) / spread, self.weights))}
model = Model()
tf.saved_model.save(model, sys.argv[2], signatures={"serving_default": model.serve})
"""


def made(python: Path | str, code: str, *arguments: Path) -> None:
    done = subprocess.run(
        [python, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


def called(*command: object) -> subprocess.CompletedProcess[str]:
    done = run("model-builder", *command)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("imports")


@pytest.fixture(scope="module")
def keras_file(folder: Path) -> Path:
    path = folder / "credit.npz"
    called("data", "prepare", "generated-credit", "--line", "score-risk", "--out", path)
    made(sys.executable, KERAS, path, folder / "risk.keras")
    return folder / "risk.keras"


@pytest.fixture(scope="module")
def saved_model(folder: Path, missing_tool: Callable[[str], None]) -> Path:
    if not TENSORFLOW.exists():
        missing_tool(f"TensorFlow, in an environment of its own: {TENSORFLOW} (make test makes it)")
    path = folder / "cancer.npz"
    called("data", "prepare", "breast-cancer", "--line", "diagnose-measurements", "--out", path)
    made(TENSORFLOW, SAVED_MODEL, path, folder / "cancer")
    return folder / "cancer"


@pytest.fixture(scope="module")
def onnx_file(folder: Path) -> Path:
    """A logistic regression on the prepared columns."""
    path = folder / "prepared.npz"
    called("data", "prepare", "generated-credit", "--line", "score-risk", "--out", path)
    arrays = np.load(path)
    known = LogisticRegression(max_iter=5000).fit(
        arrays["train_inputs"].astype(np.float64), arrays["train_target"]
    )
    x = argument(Tensor(np.float32, ("N", arrays["train_inputs"].shape[1])))
    logit = op.matmul(x, op.const(known.coef_.T.astype(np.float32)))
    logit = op.add(logit, op.const(known.intercept_.astype(np.float32)))
    onnx.save(build({"x": x}, {"logit": logit}), folder / "regression.onnx")
    return folder / "regression.onnx"


@pytest.fixture(scope="module")
def store(folder: Path, keras_file: Path, saved_model: Path) -> ReleaseStore:
    """A store with both as releases."""
    options = ("--release", "r1", "--store", folder / "store", "--set", "resamples=50", "--json")
    called("import", "--keras", keras_file, "--line", "score-risk", "--data", "generated-credit",
           "--takes", "features", "--gives", "logits", *options)  # fmt: skip
    called("import", "--savedmodel", saved_model, "--line", "diagnose-measurements",
           "--takes", "features", "--map", "numbers=measured", "--framework-python", TENSORFLOW,
           *options)  # fmt: skip
    return ReleaseStore(folder / "store")


@pytest.fixture(scope="module")
def channel(
    store: ReleaseStore, folder: Path, embedded_triton_available: None
) -> Iterator[grpc.Channel]:
    server = Gateway(folder / "store", folder)
    server.start()
    with grpc.insecure_channel(server.target) as channel:
        yield channel
    server.stop()


def rows_of(store: ReleaseStore, line: str) -> list[dict[str, Any]]:
    return pq.read_table(Path(store.report_path(line, "r1")) / "answers.parquet").to_pylist()


def value(given: float | str) -> FeatureValue:
    return FeatureValue(category=given) if isinstance(given, str) else FeatureValue(number=given)


def imported(file: Path, folder: Path, gate: Path) -> tuple[object, ...]:
    """Return the command that imports an ONNX file into a store of its own."""
    return ("import", "--onnx", file, "--line", "score-risk", "--data", "generated-credit",
            "--gives", "logits", "--release", "r1", "--store", folder / "store",
            "--set", "resamples=50", "--gate", gate, "--unproven")  # fmt: skip


def scored_as_recorded(store: ReleaseStore, channel: grpc.Channel) -> None:
    """Ask for the score of every test row, and compare it with what the framework answered."""
    rows, manifest = rows_of(store, "score-risk"), store.manifest("score-risk", "r1")
    requests = [
        risk.ScoreRiskRequest(
            features={n: value(v) for n, v in json.loads(row["features"]).items()}, reason_count=20
        )
        for row in rows
    ]
    stub = RiskServiceStub(channel)
    answers = stub.BatchScoreRisk(risk.BatchScoreRiskRequest(requests=requests)).responses
    names = [feature.name for feature in manifest.features]
    assert len(answers) == len(rows) > 100
    for row, answer in zip(rows, answers, strict=True):
        assert answer.default_probability == pytest.approx(row["default_probability"], abs=1e-5)
        expected = dict(zip(names, row["contributions"], strict=True))
        for reason in answer.reasons:
            assert reason.contribution == pytest.approx(expected[reason.feature], abs=1e-4)


@pytest.mark.parametrize(
    ("line", "framework", "compared"),
    [
        ("score-risk", "keras", "keras-onnx"),
        ("diagnose-measurements", "savedmodel", "tensorflow-onnx"),
    ],
)
def test_the_manifest_says_what_was_imported_and_compared(
    line: str, framework: str, compared: str, store: ReleaseStore
) -> None:
    manifest = store.manifest(line, "r1")
    imported: Any = manifest.hyperparameters["imported"]
    assert imported["framework"] == framework
    assert len(imported["sha256"]) == 64
    assert {parity.compared for parity in manifest.parity.values()} == {compared}
    assert {parity.rows for parity in manifest.parity.values()} == {manifest.data.split["test"]}
    assert [step.role for step in manifest.steps] == ["pre", "core", "post"]
    assert "trained elsewhere" in manifest.data.protocol
    assert manifest.metrics["test"]["auc"].value > 0.65  # it has learnt, and no place is mixed up


def test_a_keras_network_answers_through_the_gateway(
    store: ReleaseStore, channel: grpc.Channel
) -> None:
    scored_as_recorded(store, channel)


def test_an_onnx_network_passes_the_gate_and_answers_through_the_gateway(
    onnx_file: Path, tmp_path: Path, embedded_triton_available: None
) -> None:
    gate = tmp_path / "gate.yaml"
    gate.write_text("lines: {score-risk: {floors: {test: {auc: 0.65}}}}")
    called(*imported(onnx_file, tmp_path, gate))
    manifest = ReleaseStore(tmp_path / "store").manifest("score-risk", "r1")
    assert manifest.verdict == "accepted"
    assert {check.name: check.passed for check in manifest.checks}["floor: test auc"] is True
    assert manifest.parity["default_probability"].compared == "original-onnx"
    server = Gateway(tmp_path / "store", tmp_path)
    server.start()
    with grpc.insecure_channel(server.target) as channel:
        scored_as_recorded(ReleaseStore(tmp_path / "store"), channel)
    server.stop()


def test_an_import_that_the_gate_refuses_exits_with_3_and_leaves_nothing(
    onnx_file: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate.yaml"
    gate.write_text("lines: {score-risk: {floors: {test: {auc: 0.9999}}}}")
    done = run("model-builder", *imported(onnx_file, tmp_path, gate), "--json")
    assert done.returncode == 3, done.stderr
    said = json.loads(done.stdout)
    assert (said["line"], said["release"], said["verdict"]) == ("score-risk", "r1", "refused")
    [refused] = [check for check in said["checks"] if not check["passed"]]
    assert refused["name"] == "floor: test auc"
    assert "Traceback" not in done.stderr
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_a_tensorflow_network_answers_through_the_gateway(
    store: ReleaseStore, channel: grpc.Channel
) -> None:
    rows = rows_of(store, "diagnose-measurements")
    labels = store.manifest("diagnose-measurements", "r1").labels
    requests = [
        diagnose.DiagnoseRequest(
            measurements=diagnose.Measurements(values=json.loads(row["measurements"]))
        )
        for row in rows
    ]
    stub = DiagnoseServiceStub(channel)
    answers = stub.BatchDiagnose(diagnose.BatchDiagnoseRequest(requests=requests)).responses
    assert len(answers) == len(rows) > 100
    for row, answer in zip(rows, answers, strict=True):
        served = {finding.label: finding.probability for finding in answer.findings}
        expected = dict(zip(labels, row["probabilities"], strict=True))
        assert served == pytest.approx(expected, abs=1e-5)


def test_a_network_that_does_not_fit_is_refused_with_every_difference(
    keras_file: Path, folder: Path
) -> None:
    done = run("model-builder", "import", "--keras", keras_file, "--line", "score-risk",
               "--data", "generated-credit", "--store", folder / "none")  # fmt: skip
    assert done.returncode == 1
    assert "risk.keras does not fit:" in done.stderr
    for place in ("input 'inputs'", "input 'numbers'", "input 'categories'"):
        assert place in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "none").exists()


def test_what_keras_cannot_read_is_one_clear_line(folder: Path) -> None:
    (folder / "broken.keras").write_bytes(b"nothing")
    done = run("model-builder", "import", "--keras", folder / "broken.keras", "--line",
               "score-risk", "--data", "generated-credit", "--store", folder / "none")  # fmt: skip
    assert done.returncode == 1
    assert "broken.keras cannot be converted: " in done.stderr
    assert "Traceback" not in done.stderr
