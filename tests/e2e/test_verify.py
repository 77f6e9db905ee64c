"""`model-builder verify` on a release that a build has published, and on one that was harmed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from served import run

pytestmark = pytest.mark.e2e

LINE = "score-risk"


def test_a_built_release_is_proven_again_by_the_command(built: Any) -> None:
    release = built.summaries[LINE]["release"]
    done = run("model-builder", "verify", f"{LINE}/{release}", "--store", built.path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    manifest = built.manifest(LINE)
    assert found["parity"].keys() == {"ensemble", "fused", "gateway"}
    assert found["parity"]["ensemble"].keys() == manifest.parity.keys()
    for outputs in found["parity"].values():
        for name, parity in outputs.items():
            assert parity["rows"] == manifest.data.split["test"]
            assert parity["max_difference"] <= manifest.parity[name].tolerance
    assert f"{LINE}/{release} is proven" in " ".join(done.stderr.split())


@pytest.mark.parametrize("line", ["recommend", "diagnose-measurements", "score-risk"])
def test_every_build_was_proven_before_it_was_published(line: str, built: Any) -> None:
    manifest = built.manifest(line)
    assert manifest.verdict == "accepted"
    assert manifest.checks
    assert manifest.served_parity.keys() == {"ensemble", "fused", "gateway"}
    assert manifest.latency.keys() == {"ensemble", "fused"}


def test_a_harmed_release_is_refused_in_one_line_that_names_the_file(
    built: Any, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(built.path, store)
    release = built.summaries[LINE]["release"]
    path = store / "models" / f"{LINE}__{release}__score" / "1" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = run("model-builder", "verify", f"{LINE}/{release}", "--store", store)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"Error: The files of {LINE}/{release} are not those released")
    assert f"changed: {LINE}__{release}__score/1/model.onnx" in last
