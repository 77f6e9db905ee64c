"""Load on the real releases, and the report of what it caused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from served import run

pytestmark = pytest.mark.e2e

RPCS = {
    "recommend": "recommend",
    "diagnose": "diagnose-measurements",
    "score-risk": "score-risk",
}


@pytest.mark.parametrize("rpc", RPCS)
def test_a_load_of_real_rows_is_answered_and_accounted_for(
    rpc: str, built: Any, gateway: Any, tmp_path: Path
) -> None:
    line = RPCS[rpc]
    release = built.summaries[line]["release"]
    rows = Path(built.store.report_path(line, release)) / "answers.parquet"
    page = tmp_path / "load.html"
    done = run("gateway", "bench", rpc, "--rate", "30", "--duration", "2", "--sample", "1",
               "--target", gateway.target, "--traces", gateway.traces, "--requests", rows,
               "--settle", "2", "--html", page, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["errors"] == {}
    assert content["answered"] == content["sent"] > 20
    report = content["report"]
    assert report["calls"] == content["sent"]
    (group,) = report["groups"]
    summary = group["summary"]
    assert (summary["key"]["line"], summary["key"]["release"]) == (line, release)
    assert summary["with_client"] == content["sent"]
    assert summary["without_triton"] == 0
    means = sum(stage["mean_ms"] for stage in summary["stages"])
    assert means == pytest.approx(summary["latency"]["mean_ms"], rel=1e-6)
    assert any(stage["key"].endswith(".infer") for stage in summary["stages"])
    assert f"{line}/{release}" in page.read_text()


def test_a_budget_holds_what_was_caused(built: Any, gateway: Any, tmp_path: Path) -> None:
    # At a rate that the exporter keeps up with: a call whose spans it dropped is of no release.
    done = run("gateway", "bench", "score-risk", "--rate", "40", "--duration", "2",
               "--target", gateway.target, "--traces", gateway.traces, "--sample", "1",
               "--settle", "2", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    budget = tmp_path / "budget.yaml"
    ends, said = {}, ""
    for name, p99_ms in (("wide", 60_000), ("narrow", 0.001)):
        text = (
            f"{{min_calls: 30, budgets: [{{rpc: ScoreRisk, line: score-risk, p99_ms: {p99_ms}}}]}}"
        )
        budget.write_text(text)
        checked = run("gateway", "trace", "check", gateway.traces, "--budget", budget)
        ends[name] = checked.returncode
        said += checked.stdout + checked.stderr
        assert "RiskService/ScoreRisk by score-risk/" in checked.stdout
    assert ends == {"wide": 0, "narrow": 3}, said
