from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import spox.opset.ai.onnx.v18 as op
from click.testing import CliRunner
from spox import Tensor, argument, build

from model_builder.cli import cli
from triton_models.store import ReleaseStore


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def invoke(cache, tmp_path):
    def run(*arguments):
        environment = {"TRIDENT_CACHE_DIR": str(cache), "TRIDENT_DATA_DIR": "", "COLUMNS": "160",
                       "TRIDENT_UNPROVEN": "1",
                       "TRIDENT_STORE": str(tmp_path / "store")}  # fmt: skip
        return CliRunner().invoke(cli, arguments, env=environment)

    return run


@pytest.fixture
def prepared(invoke, tmp_path):
    path = tmp_path / "data.npz"
    result = invoke("data", "prepare", "generated-credit", "--line", "score-risk",
                    "--out", str(path), "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), dict(np.load(path))


@pytest.fixture
def regression(prepared, tmp_path):
    """A logistic regression on the prepared columns, as an ONNX file."""
    from sklearn.linear_model import LogisticRegression

    _, arrays = prepared
    known = LogisticRegression(max_iter=5000).fit(
        arrays["train_inputs"].astype(np.float64), arrays["train_target"]
    )
    x = argument(Tensor(np.float32, ("N", arrays["train_inputs"].shape[1])))
    logit = op.matmul(x, op.const(known.coef_.T.astype(np.float32)))
    probability = op.sigmoid(op.add(logit, op.const(known.intercept_.astype(np.float32))))
    path = tmp_path / "regression.onnx"
    onnx.save(build({"x": x}, {"p": probability}), path)
    return path


def test_prepared_data_has_the_rows_and_columns_that_an_import_will_have(prepared):
    said, arrays = prepared
    assert {key: list(array.shape) for key, array in arrays.items()} == said["arrays"]
    assert len(arrays["train_target"]) == 1200
    assert len(arrays["validation_target"]) == 400
    assert arrays["train_inputs"].shape[1] == len(said["inputs"])
    assert np.isfinite(arrays["train_numbers"]).all()
    assert said["inputs"][0] == {"feature": "income", "kind": "scaled"}
    assert said["labels"] == ["paid", "default"]


def test_an_onnx_file_becomes_a_release_beside_baselines(invoke, regression, tmp_path):
    result = invoke("import", "--onnx", str(regression), "--line", "score-risk",
                    "--data", "generated-credit", "--release", "r1", "--json",
                    "--set", "resamples=20", "--set", "base_score=500", "--set", "bad_rate=0.1",
                    "--set", "band_approval_rates=[0.3, 0.6]")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["metrics"]["test"]["auc"]["value"] > 0.7
    manifest = ReleaseStore(tmp_path / "store").manifest("score-risk", "r1")
    baseline = manifest.baselines["logistic_regression"]["test"]["auc"].value
    assert manifest.metrics["test"]["auc"].value == pytest.approx(baseline, abs=1e-6)
    assert manifest.parity["default_probability"].compared == "original-onnx"
    assert manifest.hyperparameters["measured"]["base_score"] == 500
    assert manifest.hyperparameters["measured"]["band_approval_rates"] == [0.3, 0.6]
    assert manifest.cutoff.chosen_for == "bad rate 0.1"
    assert len(manifest.bands) == 3
    assert manifest.hyperparameters["imported"]["framework"] == "onnx"
    assert "parity with original" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --onnx, --keras and --savedmodel"),
        (
            ["--set", "width=8"],
            "width: the network is trained already; keys are approval_rate, bad_rate, "
            "band_approval_rates",
        ),
        (["--map", "inputs"], "must be PLACE=NAME"),
        (["--release", "R 1"], "Invalid value for --release"),
    ],
)
def test_what_is_asked_wrongly_exits_with_2(invoke, tmp_path, arguments, message):
    path = tmp_path / "a.onnx"
    path.touch()
    given = ["--onnx", str(path)] if arguments else []
    result = invoke("import", "--line", "score-risk", *given, *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr


def test_an_interpreter_without_the_framework_is_named(invoke, tmp_path):
    (tmp_path / "model").mkdir()
    asked = ("--line", "score-risk", "--data", "generated-credit")
    python = ("--framework-python", "/nowhere/python")
    result = invoke("import", "--savedmodel", str(tmp_path / "model"), *asked, *python)
    assert result.exit_code == 1
    assert "tf2onnx is not installed for /nowhere/python" in result.stderr
