"""The page about metrics is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.telemetry.metrics.grid import SCALE, SECONDS
from gateway.telemetry.metrics.instruments import INSTRUMENTS, Instrument, prometheus_label

PAGE = (Path(__file__).parents[5] / "docs" / "metrics.md").read_text()
ROWS = {
    cells[0].strip("`"): cells[1:]
    for line in PAGE.partition("| Metric |")[2].partition("\n\n")[0].splitlines()[2:]
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}


def test_every_metric_is_in_the_table_and_no_other() -> None:
    assert ROWS.keys() == INSTRUMENTS.keys()


@pytest.mark.parametrize("instrument", INSTRUMENTS.values(), ids=INSTRUMENTS)
def test_the_table_says_what_it_is(instrument: Instrument) -> None:
    kind, unit, attributes, meaning = ROWS[instrument.name]

    assert kind == instrument.kind
    assert unit == instrument.unit.strip("{}")
    assert tuple(re.findall("`([^`]+)`", attributes)) == instrument.attributes
    assert meaning


def test_questions_ask_for_what_there_is() -> None:
    families: dict[str, set[str]] = {}
    suffixes = {"histogram": ("", "_bucket", "_sum", "_count"), "counter": ("_total",)}
    for one in INSTRUMENTS.values():
        labels = {prometheus_label(attribute) for attribute in one.attributes} | {"le"}
        for suffix in suffixes.get(one.kind, ("",)):
            families[one.prometheus_name + suffix] = labels
    queries = re.findall("```promql\n(.*?)```", PAGE, re.DOTALL)
    code = re.sub(r"#.*|\"[^\"]*\"", "", "\n".join(queries))

    asked = {name for name in re.findall(r"[a-z_]+", code) if name in families}
    words = {name for name in re.findall(r"[a-z_]{4,}", code) if "_" in name}
    labels = set().union(*families.values())
    assert len(asked) > 10
    assert words - asked - labels - {"histogram_quantile"} == set()


def test_buckets_are_as_they_are_said() -> None:
    text = PAGE.partition("Of times: ")[2].partition(" s. Of sizes")[0]
    milliseconds, _, seconds = text.replace("\n", " ").partition(" ms,")
    said = [float(one) / 1000 for one in milliseconds.split(",")]
    said += [float(one) for one in seconds.split(",")]

    assert tuple(said) == SECONDS.explicit
    assert f"have scale {SCALE}" in PAGE
