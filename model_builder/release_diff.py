"""What is different in two releases: metrics, data, code, schema, size, latency, answers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_builder.export.running import OnnxModel
from model_builder.proof.recorded import FILE, from_parquet
from model_builder.report import metric_text, settings_of
from triton_models.gaps import gaps
from triton_models.release import FUSED, Manifest, network_path
from triton_models.store import ReleaseStore


@dataclass(frozen=True)
class Row:
    """One thing that is compared."""

    part: str
    """``metrics``, ``data``, ``code``, ``schema``, ``size``, ``latency`` or ``answers``."""
    name: str
    one: str
    other: str
    remark: str = ""


def compare_releases(one: Manifest, other: Manifest, *, everything: bool = False) -> list[Row]:
    """Return what is different in two releases of a line.

    Args:
        one: The first.
        other: The second.
        everything: Also what is alike.
    """
    rows = [
        *_metrics(one, other),
        *_plain("data", _data(one), _data(other)),
        *_plain("code", _code(one), _code(other)),
        *_plain("settings", *(dict(settings_of(m.hyperparameters)) for m in (one, other))),
        *_plain("schema", _schema(one), _schema(other)),
        *_plain("latency", _latency(one), _latency(other)),
    ]
    return [row for row in rows if everything or row.one != row.other]


def _metrics(one: Manifest, other: Manifest) -> Iterator[Row]:
    for split in sorted(one.metrics.keys() | other.metrics.keys()):
        mine, theirs = one.metrics.get(split, {}), other.metrics.get(split, {})
        for name in sorted(mine.keys() | theirs.keys()):
            a, b = mine.get(name), theirs.get(name)
            remark = ""
            if a is not None and b is not None:
                apart = b.value < a.low or b.value > a.high
                remark = f"{b.value - a.value:+.4f}" + (", beyond the interval" if apart else "")
            yield Row("metrics", f"{split} {name}", metric_text(a), metric_text(b), remark)


def _plain(part: str, one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[Row]:
    for name in [*one, *(name for name in other if name not in one)]:
        yield Row(part, name, one.get(name, "–"), other.get(name, "–"))


def _data(manifest: Manifest) -> dict[str, str]:
    data = manifest.data
    return {
        "name": data.name,
        "sha256": data.sha256[:16],
        "rows": str(data.rows),
        "split": ", ".join(f"{rows} {name}" for name, rows in data.split.items()),
        "split sha256": data.split_sha256[:16],
    }


def _code(manifest: Manifest) -> dict[str, str]:
    return {"commit": manifest.git_commit, "seed": str(manifest.seed)} | {
        f"version of {name}": version for name, version in manifest.versions.items()
    }


def _schema(manifest: Manifest) -> dict[str, str]:
    found = {
        f"feature {one.name}": " ".join(
            part
            for part in (
                one.kind,
                one.unit,
                "" if one.minimum is None else f"[{one.minimum:g}, {one.maximum:g}]",
                f"of {', '.join(one.categories)}" if one.categories else "",
            )
            if part
        )
        for one in manifest.features
    }
    found["labels"] = ", ".join(manifest.labels)
    if manifest.item_count:
        found["items"] = str(manifest.item_count)
    for kind, tensors in (("input", manifest.inputs), ("output", manifest.outputs)):
        for one in tensors:
            found[f"{kind} {one.name}"] = f"{one.data_type} {list(one.dims)}"
    return found


def _latency(manifest: Manifest) -> dict[str, str]:
    return {
        f"{variant}, one row": f"{one.median_ms:.3g} ms (p95 {one.p95_ms:.3g})"
        for variant, one in manifest.latency.items()
    }


def compare_files(
    store: ReleaseStore, one: Manifest, other: Manifest, *, everything: bool = False
) -> list[Row]:
    """Return what is different in the files of two releases: their size, and their answers.

    Both are asked the golden inputs of the first, by ONNX Runtime on this machine.

    Args:
        store: Has both.
        one: The first.
        other: The second.
        everything: Also what is alike.
    """
    with tempfile.TemporaryDirectory(prefix="model-builder-diff-") as folder:
        releases = {release.release: release for release in (one, other)}
        places = {name: Path(folder, name) for name in releases}
        for name, release in releases.items():
            store.fetch_models(release, places[name])
        rows = list(_plain("size", *(_sizes(m, places[m.release]) for m in (one, other))))
        rows = [row for row in rows if everything or row.one != row.other]
        content = store.report(one.line, one.release, FILE) if one.recorded else None
        if content is not None:
            recorded = from_parquet(content)
            inputs, _ = recorded.batch(recorded.golden())
            rows += _answers(one, other, places, inputs, everything)
    return rows


def _sizes(manifest: Manifest, folder: Path) -> dict[str, str]:
    models = {FUSED: manifest.model_of(FUSED)} if FUSED in manifest.variants else {}
    models |= {step.name: step.model for step in manifest.steps}
    return {
        name: f"{(folder / network_path(model)).stat().st_size} bytes"
        for name, model in models.items()
    }


def _answers(
    one: Manifest,
    other: Manifest,
    places: Mapping[str, Path],
    inputs: Mapping[str, Any],
    everything: bool,
) -> list[Row]:
    """Return for each output how many of the golden rows are answered otherwise."""
    if FUSED not in one.variants or FUSED not in other.variants:
        return [Row("answers", "", "–", "–", "one of them has no fused variant to ask")]
    if one.inputs != other.inputs:
        return [Row("answers", "", "–", "–", "they take other inputs")]
    mine, theirs = (_run(manifest, places[manifest.release], inputs) for manifest in (one, other))
    found = []
    for name, expected in mine.items():
        actual = theirs.get(name)
        rows = len(expected)
        if actual is None or actual.shape != expected.shape:
            found.append(Row("answers", name, "", f"{rows} of {rows} differ", "another shape"))
            continue
        flat, beside = expected.reshape(rows, -1), actual.reshape(rows, -1)
        if expected.dtype.kind == "f":
            parity = one.parity.get(name)
            furthest = gaps(flat, beside).max(axis=1, initial=0)  # of each row
            differ = int((furthest > (parity.tolerance if parity else 0)).sum())
            remark = f"by {furthest.max():.3g} at most"
        else:
            differ, remark = int((flat != beside).any(axis=1).sum()), ""
        if differ or everything:
            found.append(Row("answers", name, "", f"{differ} of {rows} differ", remark))
    return found


def _run(manifest: Manifest, folder: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return OnnxModel(folder / network_path(manifest.model_of(FUSED))).run(inputs)
