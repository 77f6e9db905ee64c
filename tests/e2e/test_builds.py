"""What `model-builder build` leaves behind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from served import TASKS, run

pytestmark = pytest.mark.e2e


def test_each_line_has_one_routed_release(built: Any) -> None:
    number, routes = built.store.routes()
    assert number == 3
    for line, summary in built.summaries.items():
        (target,) = routes.lines[line]
        assert (target.release, target.weight) == (summary["release"], 1.0)


def test_json_summary_points_at_the_manifest(built: Any) -> None:
    for line, summary in built.summaries.items():
        manifest = json.loads(Path(summary["manifest"]).read_text())
        assert manifest["line"] == summary["line"] == line
        assert summary["verdict"] == "accepted"
        assert summary["seconds"] > 0
        for split, metrics in summary["metrics"].items():
            for name, metric in metrics.items():
                assert metric == manifest["metrics"][split][name]
                assert metric["low"] <= metric["value"] <= metric["high"]


def test_manifest_says_whether_the_data_was_made_up(built: Any) -> None:
    for line in TASKS:
        data = built.manifest(line).data
        assert data.generated == data.name.startswith("generated-")
        if "TRIDENT_DATA_DIR" in os.environ:
            assert not data.generated


@pytest.mark.parametrize(
    ("line", "metric", "baseline", "floor"),
    [
        ("diagnose-measurements", "auc", "logistic_regression", 0.97),
        ("score-risk", "auc", "logistic_regression", 0.65),
    ],
)
def test_models_learn_and_stand_beside_a_baseline(
    line: str, metric: str, baseline: str, floor: float, built: Any
) -> None:
    manifest = built.manifest(line)
    assert manifest.metrics["test"][metric].value > floor
    assert metric in manifest.baselines[baseline]["test"]


def test_a_release_is_only_models_and_configurations(built: Any) -> None:
    for line in TASKS:
        files = [Path(name) for name in built.manifest(line).files]
        rows = [one for one in files if one.parent.name == "warmup"]
        assert {one.suffix for one in rows} <= {".bin"}  # tensors as they are, to warm up with
        assert {one.suffix for one in files if one not in rows} <= {
            ".onnx", ".pbtxt", ".json", ".safetensors", "",
        }  # fmt: skip


def test_a_data_fault_names_file_row_and_column_and_writes_nothing(tmp_path: Path) -> None:
    table = tmp_path / "credit.csv"
    rows = ["30,1000,0", "40,2000,1", "50,3000,0"] * 20
    rows[1] = "forty,2000,1"
    table.write_text("\n".join(["age,income,defaulted", *rows]) + "\n")
    store = tmp_path / "store"
    done = run("model-builder", "build", "risk", "--data", table, "--label", "defaulted",
               "--store", store)  # fmt: skip
    assert done.returncode == 1
    assert "credit.csv" in done.stderr
    assert "row 3" in done.stderr
    assert "'age'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not store.exists() or not any(path.is_file() for path in store.rglob("*"))
