"""From a release to its best child: tries, shows, chooses, publishes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model_builder.child_release import make_child
from model_builder.errors import CannotDerive, ConfigInvalid
from model_builder.evaluation.gate import Gate
from model_builder.opened_release import opened_release
from model_builder.progress import Progress
from model_builder.releasing import Releasing
from model_builder.task import ResolvedData
from model_builder.variants.choosing import chosen, gain
from model_builder.variants.kinds import Variant
from model_builder.variants.machine import this_machine
from model_builder.variants.report import Shown, page
from model_builder.variants.trying import Tried, Tries, Work
from triton_models.release import Manifest
from triton_models.store import ReleaseStore

PAGE = "variants.html"


@dataclass(frozen=True)
class Asked:
    """What ``optimize`` is asked for."""

    line: str
    release: str
    variants: tuple[Variant, ...]
    named: bool
    """Whether somebody named the variants: then they are tried whether or not they fit."""
    data: Callable[[str], ResolvedData]
    """Gets what the release was built from, by the name in its manifest."""
    work: Path
    choose: str | None = None
    child: str | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Optimised:
    """What came of it."""

    shown: Shown
    page: Path
    manifest: Manifest | None = None
    """Of the child, if one was published."""
    manifest_path: str = ""

    def summary(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        parent = self.shown.parent
        return {
            "line": parent.line,
            "parent": parent.release,
            "release": None if self.manifest is None else self.manifest.release,
            "manifest": self.manifest_path or None,
            "chosen": self.shown.chosen,
            "front": sorted(self.shown.front),
            "page": str(self.page),
            "variants": [_told(tried) for tried in self.shown.found],
            "left_out": dict(self.shown.left_out),
        }


def optimise(
    store: ReleaseStore,
    asked: Asked,
    how: Releasing,
    progress: Progress,
    shown: Callable[[Shown], None] = lambda _: None,
) -> Optimised:
    """Try the variants of a release, and publish the best one.

    Args:
        store: Has the release, and gets the child.
        asked: What is wanted.
        how: How the child is released.
        progress: Shows the parts.
        shown: Is given what was found, before anything is published.

    Raises:
        ConfigInvalid: If the child's name is taken.
        CannotDerive: If the variant that was asked for cannot be made.
        GateRefused: If it is not good enough.
        ProofFailed: If it is not served as it must be.
        StoreError: If the store refuses it.
    """
    _check_name(store, asked)
    machine = this_machine()
    with opened_release(store, asked.line, asked.release) as parent:
        left_out = {} if asked.named else {
            one.name: why for one in asked.variants if (why := machine.unfit(one)) is not None
        }  # fmt: skip
        work = Work(asked.work / asked.line / asked.release)
        tries = Tries(
            parent,
            work,
            how.gate or Gate(),
            lambda: asked.data(parent.manifest.data.name),
            progress,
            machine,
        )
        found, failed = tries.try_all([one for one in asked.variants if one.name not in left_out])
        best = _chosen(found, asked, failed)
        all_shown = Shown(
            parent=parent.manifest,
            parent_bytes=parent.size_bytes,
            machine=machine,
            found=found,
            left_out={**left_out, **failed, **machine.not_tried()},
            chosen=best,
            metric=_metric(how.gate, parent.manifest),
        )
        shown(all_shown)
        written = page(all_shown)
        path = work.folder / PAGE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written)
        done = Optimised(all_shown, path)
        if best is None or asked.dry_run:
            return done
        variant = next(one for one in asked.variants if one.name == best)
        change = tries.change(variant)
        change = replace(change, reports={**change.reports, PAGE: written})
        manifest, where = make_child(store, parent, change, how, progress, asked.child)
        return replace(done, manifest=manifest, manifest_path=where)


def _check_name(store: ReleaseStore, asked: Asked) -> None:
    if asked.child is not None and (asked.line, asked.child) in store.releases():
        raise ConfigInvalid([f"--release {asked.child}: {asked.line} has a release of this name"])


def _chosen(found: list[Tried], asked: Asked, failed: dict[str, str]) -> str | None:
    if asked.choose is None:
        best = chosen(found)
        return None if best is None else best.variant
    if asked.choose in failed:
        raise CannotDerive(f"{asked.line}/{asked.release}", failed[asked.choose])
    return asked.choose


def _metric(gate: Gate | None, parent: Manifest) -> str:
    """Return the metric that tells most: the first that the gate compares releases by."""
    rules = None if gate is None else gate.lines.get(parent.line)
    if rules is not None and rules.not_worse_than_promoted is not None:
        for name in rules.not_worse_than_promoted.metrics:
            if name in parent.metrics.get("test", {}):
                return name
    return next(iter(parent.metrics["test"]))


def _told(tried: Tried) -> dict[str, Any]:
    return {
        "variant": tried.variant,
        "precision": tried.precision,
        "passed": tried.passed,
        "size_bytes": tried.size_bytes,
        "rows_per_second": round(tried.timed.rows_per_second, 1),
        "times_as_fast": {
            "served": round(gain(tried), 3),
            "core": {str(rows): round(tried.faster(rows), 3) for rows in tried.timed.core},
        },
        "latency_ms": tried.timed.model_dump(mode="json"),
        "measured_at": tried.measured_at.isoformat(),
        "metrics": {name: one.model_dump(mode="json") for name, one in tried.metrics.items()},
    }
