"""What is shown of variants: how they compare, how long they take, and why one was refused."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from manifests import manifest
from rich.console import Console

from model_builder.variants.machine import Machine
from model_builder.variants.report import Shown, left_out, page, refusals, terminal_tables
from model_builder.variants.timing import BATCHES, Quantiles, Timed
from model_builder.variants.trying import Tried
from triton_models.release import Check, Metric

LONGEST = "prune-0.75+graph+int8-static"
AUC = Metric(value=0.8761, low=0.8123, high=0.9234)


def timed(ms: float) -> Timed:
    core = {rows: Quantiles(p50_ms=ms * rows, p99_ms=ms * rows + 1) for rows in BATCHES}
    fused = {rows: Quantiles(p50_ms=ms * rows + 2, p99_ms=ms * rows + 3) for rows in BATCHES}
    return Timed(fused=fused, fused_compute=fused, core=core, steps={})


def tried(variant: str, ms: float, passed: bool = True) -> Tried:
    return Tried(
        variant=variant,
        precision="fp32",
        size_bytes=12_340_000,
        metrics={"auc": AUC},
        checks=(Check(name="auc", wanted="at least 0.81", found="0.7", passed=passed),),
        timed=timed(ms),
        parent_timed=timed(6),
        basis={},
        measured_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


@pytest.fixture
def shown() -> Shown:
    parent = manifest("score-risk", metrics={"test": {"auc": AUC}})
    found = [tried("graph", 3), tried(LONGEST, 1, passed=False)]
    machine = Machine("x", (), 2, gpu=False)
    return Shown(parent, 2_000_000, machine, found, {"int8-static": "no rows"}, "graph", "auc")


def printed(shown: Shown, width: int) -> list[str]:
    text = io.StringIO()
    console = Console(file=text, width=width)
    for table in terminal_tables(shown):
        console.print(table)
    return text.getvalue().splitlines()


def test_how_variants_compare_stands_in_a_line_each(shown: Shown) -> None:
    compared = [line for line in printed(shown, 120) if "[0.8123, 0.9234]" in line]
    assert [line.split()[0] for line in compared] == ["(parent)", "graph", LONGEST]
    assert compared[1].split()[1:7] == ["2.00", "2.00", "2.00", "1.60", "1.92", "1.98"]
    assert compared[1].rstrip().endswith("chosen")
    assert compared[2].rstrip().endswith("refused *")
    assert "12.34 MB" in compared[2]


def test_times_stand_in_a_table_of_their_own(shown: Shown) -> None:
    lines = printed(shown, 120)
    times = lines[next(n for n, line in enumerate(lines) if line.startswith("Milliseconds")) :]
    (row,) = (line for line in times if line.startswith("graph"))
    assert row.split()[1:3] == ["3", "(4)"]
    assert row.split()[7:9] == ["5", "(6)"]
    assert row.split()[-1] == "327", "32 rows in 98 ms"


@pytest.mark.parametrize("width", [100, 110])
def test_a_narrow_terminal_folds_lines_and_cuts_no_number(shown: Shown, width: int) -> None:
    text = " ".join(printed(shown, width))
    assert "…" not in text
    for part in ("[0.8123,", "0.9234]", "12.34 MB", "2.67", "194 (195)", "refused *"):
        assert part in text


def test_why_a_variant_was_refused_is_said(shown: Shown) -> None:
    assert list(refusals(shown)) == [f"{LONGEST}: refused: auc: 0.7, wanted at least 0.81"]


def test_variants_that_were_left_out_for_one_reason_share_a_line(shown: Shown) -> None:
    for_gpus = {"tensorrt-fp16": "no GPU", "tensorrt-int8": "no GPU"}
    both = replace(shown, left_out={**shown.left_out, **for_gpus})
    assert list(left_out(both)) == ["int8-static: no rows", "tensorrt-fp16, tensorrt-int8: no GPU"]


def test_the_page_has_all_of_it(shown: Shown) -> None:
    text = page(shown).decode()
    for part in ("(parent)", LONGEST, "3 (4) 2.00x", "5 (6) 1.60x", "no rows", "at least 0.81"):
        assert part in text
    assert "<svg" in text
