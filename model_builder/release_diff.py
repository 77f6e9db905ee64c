"""What is different in two releases: metrics, data, code, schema, size, latency, answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from triton_models.release import Manifest


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
        *_plain("settings", _flat(one.hyperparameters), _flat(other.hyperparameters)),
        *_plain("schema", _schema(one), _schema(other)),
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
            yield Row(
                "metrics",
                f"{split} {name}",
                "–" if a is None else f"{a.value:.4f} [{a.low:.4f}, {a.high:.4f}]",
                "–" if b is None else f"{b.value:.4f} [{b.low:.4f}, {b.high:.4f}]",
                remark,
            )


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


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = str(value)
    return found


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
