"""`make demo` on models that are built already: every call, every waterfall, what it prints."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shown(built: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the demo prints."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(built.path, folder / "store")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        env=os.environ | {"TRIDENT_DEMO_DIR": str(folder), "COLUMNS": "100"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def waterfall(shown: str, method: str) -> str:
    """The part of the output that is one call's trace."""
    parts = [one for one in shown.split("Trace ")[1:] if f"{method} by" in one]
    return parts[0]


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("Recommend", "recommend"),
        ("Diagnose", "diagnose-measurements"),
        ("ScoreRisk", "score-risk"),
    ],
)
def test_each_domain_is_shown_with_tritons_spans(
    method: str, line: str, shown: str, built: Any
) -> None:
    part = waterfall(shown, method)
    assert re.search(r"InferRequest +triton", part)
    for step in built.manifest(line).steps:
        assert re.search(rf"{step.name} +triton", part)
    steps = len(built.manifest(line).steps)
    assert len(re.findall(r"compute +triton", part)) == steps
    assert len(re.findall(r"queue +triton", part)) == steps


def test_recommendations_have_titles_and_risk_has_reasons(shown: str, built: Any) -> None:
    if not built.manifest("recommend").data.generated:
        assert "Star Wars: Episode IV - A New Hope (1977)" in shown
    assert "title" in shown
    assert "probability of default" in shown
    assert "in words" in shown


def test_batches_and_streams_are_called_too(shown: str) -> None:
    for rpc in ("Recommend", "Diagnose", "ScoreRisk"):
        assert re.search(rf"Batch{rpc}: [1-9]\d* answers", shown)
        assert re.search(rf"Stream{rpc}: [1-9]\d* answers", shown)


def test_generated_data_takes_the_place_of_data_that_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import demo

    (tmp_path / "elsewhere" / "german-credit").mkdir(parents=True)
    (tmp_path / "elsewhere" / "german-credit" / "german.data").write_text("not what it should be")
    monkeypatch.setenv("TRIDENT_DATA_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(demo, "STORE", tmp_path / "store")
    demo.folder_of.cache_clear()

    store = demo.ReleaseStore(demo.STORE)
    demo.build(demo.MODELS[2], store)

    demo.folder_of.cache_clear()
    assert "GENERATED DATA" in capfd.readouterr().out
    ((line, release),) = store.releases()
    manifest = json.loads((tmp_path / "store" / "releases" / line / f"{release}.json").read_text())
    assert manifest["data"]["name"] == "generated-credit"
    assert manifest["data"]["generated"] is True
