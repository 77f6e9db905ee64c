from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from model_builder.errors import CannotDerive, ConfigInvalid
from model_builder.opened_release import Opened
from model_builder.variants.choosing import chosen, front, gain
from model_builder.variants.kinds import USUAL, apply, parse
from model_builder.variants.machine import Machine, this_machine
from model_builder.variants.timing import Quantiles, Timed
from model_builder.variants.trying import Tried, release_of, told
from triton_models.release import Check, Metric, check_release_name


def test_a_variant_is_named_by_its_parts() -> None:
    (one,) = parse(["prune-0.3+graph+int8-static"])
    assert (one.prune, one.parts, one.precision) == (0.3, ("graph", "int8-static"), "int8")
    assert "30% of it was removed" in one.how
    assert parse(["graph+int8-static+ort"])[0].precision == "int8"
    (half,) = parse(["fp16-weights"])
    assert half.precision == "fp32", "it computes in 32 bits"


def test_all_that_is_wrong_with_names_is_said_at_once() -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse(["graph", "grap", "graph+graph", "int8-static+int8-dynamic", "prune-2"])
    assert len(refused.value.faults) == 4
    assert "'grap'" in str(refused.value)


def test_usual_variants_can_be_parsed_and_have_names_of_releases() -> None:
    names = {release_of(variant) for variant in parse(USUAL)}
    assert len(names) == len(USUAL)
    for name in names:
        check_release_name(name)


def test_a_part_that_changes_nothing_is_no_variant(images: Opened) -> None:
    steps = [step for step in images.steps if step.role != "core"]
    with pytest.raises(CannotDerive, match="fp16-weights changes none"):
        apply(["fp16-weights"], images, steps)


def test_parts_follow_each_other(images: Opened) -> None:
    applied = apply(["graph", "int8-static"], images, images.steps)
    assert applied.steps.keys() == {"classify"}
    assert set(applied.details) == {"graph", "int8-static"}
    assert any(node.op_type == "QuantizeLinear" for node in applied.steps["classify"].graph.node)


@pytest.mark.parametrize(
    ("flags", "fits"),
    [("fpu avx2", False), ("fpu avx512_vnni", True), ("avx2 amx_int8", True)],
)
def test_whole_numbers_want_a_processor_for_them(tmp_path: Path, flags: str, fits: bool) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"model name\t: Some CPU\nflags\t\t: {flags}\n")
    machine = this_machine(file)
    assert machine.processor == "Some CPU"
    quantised, plain = parse(["int8-static", "graph"])
    assert (machine.unfit(quantised) is None) == fits
    assert machine.unfit(plain) is None


def test_a_system_that_tells_no_flags_leaves_nothing_out(tmp_path: Path) -> None:
    machine = this_machine(tmp_path / "none")
    assert machine.flags == ()
    assert machine.unfit(parse(["int8-static"])[0]) is None


def test_variants_of_gpus_are_listed_with_the_reason() -> None:
    reasons = Machine("x", (), 2, gpu=False).not_tried()
    assert "no GPU" in reasons["tensorrt-fp16"]
    assert "model-builder compile" in reasons["tensorrt-int8"]


def tried(name: str, ms: float, auc: float = 0.9, size: int = 10, passed: bool = True) -> Tried:
    def times(value: float) -> Timed:
        quantiles = {rows: Quantiles(p50_ms=value * rows, p99_ms=value * rows) for rows in (1, 8)}
        return Timed(fused=quantiles, fused_compute=quantiles, core=quantiles, steps={})

    return Tried(
        variant=name,
        precision="fp32",
        size_bytes=size,
        metrics={"auc": Metric(value=auc, low=auc, high=auc)},
        checks=(Check(name="c", wanted="w", found="f", passed=passed),),
        timed=times(ms),
        parent_timed=times(2.0),
        basis={},
        measured_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def test_the_fastest_that_passes_is_chosen() -> None:
    found = [tried("slow", 1.9), tried("fast", 1.0), tried("bad", 0.5, passed=False)]
    best = chosen(found)
    assert best is not None
    assert best.variant == "fast"
    assert gain(best) == pytest.approx(2.0)
    assert best.faster(8) == pytest.approx(2.0)


def test_what_was_found_is_told_as_it_comes() -> None:
    assert told(tried("graph", 1.0)) == "graph: 2.00, 2.00 times as fast at 1, 8 rows"
    assert told(tried("graph", 1.0, passed=False)).endswith("; refused")


def test_what_gains_nothing_is_not_chosen() -> None:
    assert chosen([tried("same", 1.99)]) is None
    assert chosen([]) is None


def test_the_front_has_what_no_other_beats_in_all() -> None:
    found = [
        tried("fast", 1.0, auc=0.8),
        tried("good", 1.5, auc=0.9),
        tried("beaten", 1.6, auc=0.85),
        tried("small", 1.9, auc=0.8, size=5),
    ]
    assert front(found, "auc", lower_is_better=False) == {"fast", "good", "small"}
    assert "good" not in front(found, "auc", lower_is_better=True), "then less is better"
