"""Tries variants of a release: makes each, measures it beside its parent, keeps what was found.

What was made and measured lies in a folder of work, and is not made again as long as all that it
depends on is the same (``basis``).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from model_builder.child_release import Change, stage_child
from model_builder.errors import BuilderError, CannotDerive
from model_builder.evaluation.gate import Gate
from model_builder.opened_release import Opened, opened_release
from model_builder.previous import WEIGHTS
from model_builder.progress import Progress
from model_builder.task import ResolvedData, StepModel
from model_builder.variants.basis import Basis, Facts, other
from model_builder.variants.kinds import Variant, apply
from model_builder.variants.machine import Machine, this_machine
from model_builder.variants.pruned import LEARNT_AGAIN, prune
from model_builder.variants.timing import SAMPLES, Asked, Timed, timed
from triton_models.release import Check, Metric
from triton_models.store import ReleaseStore

Data = Callable[[], ResolvedData]
"""Gets what the release was built from, when something has to learn again."""


class Tried(BaseModel):
    """What was found of a variant."""

    model_config = ConfigDict(frozen=True)

    variant: str
    precision: str
    size_bytes: int
    metrics: dict[str, Metric]
    """Of the test split."""
    checks: tuple[Check, ...]
    timed: Timed
    parent_timed: Timed
    """In the same minutes, taking turns."""
    basis: dict[str, str]
    """What all this depends on."""
    measured_at: datetime

    @property
    def passed(self) -> bool:
        """Say whether the gate would accept it: also, that it is no worse than its parent."""
        return all(check.passed for check in self.checks)

    def faster(self, rows: int, what: str = "core") -> float:
        """Return how many times as fast as its parent it is in the median, at a batch size."""
        mine, theirs = getattr(self.timed, what)[rows], getattr(self.parent_timed, what)[rows]
        return float(theirs.p50_ms / mine.p50_ms)


@dataclass(frozen=True)
class Work:
    """The folder with what was made."""

    folder: Path

    @property
    def store(self) -> ReleaseStore:
        """Where variants lie; nothing there is proven or promoted."""
        return ReleaseStore(self.folder / "store")

    def found(self, variant: str) -> Tried | None:
        """Return what was found of a variant before, if it can be read: on whatever basis."""
        try:
            return Tried.model_validate_json(self._path(variant).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def made(self, release: str) -> Facts | None:
        """Return what it depends on how a variant was made, if it is known."""
        try:
            return dict(json.loads(self._basis_path(release).read_bytes()))
        except (FileNotFoundError, ValueError):
            return None

    def keep_made(self, release: str, basis: Facts) -> None:
        """Keep what it depends on."""
        path = self._basis_path(release)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(basis), indent=2), encoding="utf-8")

    def keep(self, tried: Tried) -> None:
        """Keep what was found."""
        path = self._path(tried.variant)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(tried.model_dump(mode="json"), indent=2), encoding="utf-8")

    def _basis_path(self, release: str) -> Path:
        return self.folder / "made" / f"{release}.json"

    def _path(self, variant: str) -> Path:
        return self.folder / "found" / f"{variant}.json"


@dataclass(frozen=True)
class Tries:
    """How variants of one release are tried."""

    parent: Opened
    work: Work
    gate: Gate
    data: Data
    progress: Progress
    machine: Machine = field(default_factory=this_machine)
    samples: Mapping[int, int] = field(default_factory=lambda: SAMPLES)

    @cached_property
    def basis(self) -> Basis:
        """What results depend on, here and now."""
        return Basis.of(self.parent, self.machine, self.gate, self.samples)

    def try_all(self, variants: Sequence[Variant]) -> tuple[list[Tried], dict[str, str]]:
        """Return what was found of each variant, and why others could not be made."""
        found, left_out = [], {}
        for variant in variants:
            tried = self._measured_before(variant)
            if tried is None:
                try:
                    tried = self._try(variant)
                except BuilderError as error:
                    cause = error.why if isinstance(error, CannotDerive) else str(error)
                    left_out[variant.name] = cause.splitlines()[0]
                    self.progress.say(f"{variant.name}: left out: {left_out[variant.name]}")
                    continue
                self.work.keep(tried)
                self.progress.say(told(tried))
            else:
                when = f"{tried.measured_at:%Y-%m-%d %H:%M} UTC"
                self.progress.say(f"{told(tried)} (reused: measured {when})")
            found.append(tried)
        return found, left_out

    def _measured_before(self, variant: Variant) -> Tried | None:
        """Return what was found before, if all that it depends on is as it was."""
        tried = self.work.found(variant.name)
        if tried is None:
            return None
        changed = other(tried.basis, self.basis.measured)
        if changed:
            self.progress.say(f"{variant.name}: measured before, but with {changed}: tried again")
        return None if changed else tried

    def change(self, variant: Variant) -> Change:
        """Return a variant as it was made, made now if it was not.

        Raises:
            CannotDerive: If it cannot be.
        """
        with self._made(variant) as made:
            return change_of(made, self.parent)

    def _try(self, variant: Variant) -> Tried:
        self.progress.say(f"{variant.name} …")
        self._say_if_reused(variant)
        with self._made(variant) as made:
            manifest = made.manifest
            size = made.size_bytes
            asked = {
                "parent": Asked(self.parent.manifest, self.parent.models),
                "child": Asked(manifest, made.models),
            }
            times = timed(asked, self.parent.recorded, self.samples, self.progress)
            checks = self.gate.checks(manifest, None, size, parent=self.parent.manifest)
            return Tried(
                variant=variant.name,
                precision=variant.precision,
                size_bytes=size,
                metrics=manifest.metrics["test"],
                checks=checks,
                timed=times["child"],
                parent_timed=times["parent"],
                basis=dict(self.basis.measured),
                measured_at=datetime.now(UTC),
            )

    def _made(self, variant: Variant) -> AbstractContextManager[Opened]:
        """Give a variant from the folder of work, where it is put first if it is not there."""
        name = release_of(variant)
        store, line = self.work.store, self.parent.manifest.line
        if not self._made_before(name):
            if (line, name) in store.releases():
                store.remove(line, name)
            self._make(variant)
            self.work.keep_made(name, self.basis.made)
        return opened_release(store, line, name)

    def _made_before(self, release: str) -> bool:
        """Say whether a variant is there as it would be made now."""
        there = (self.parent.manifest.line, release) in self.work.store.releases()
        return there and self.work.made(release) == self.basis.made

    def _say_if_reused(self, variant: Variant) -> None:
        if self._made_before(release_of(variant)):
            self.progress.say(f"{variant.name}: reused as it was made before")

    def _make(self, variant: Variant) -> None:
        parent = self.parent
        base, steps, parts = self._begun(variant)
        applied = apply(parts, parent, steps)
        change = replace(
            base,
            variant=variant.name,
            precision=variant.precision,
            how=variant.how,
            steps={**base.steps, **applied.steps},
            details={**base.details, **applied.details},
        )
        with tempfile.TemporaryDirectory(prefix="model-builder-variant-") as scratch:
            staged = stage_child(parent, change, Path(scratch), release_of(variant), self.progress)
            self.work.store.publish(staged.manifest, staged.models, staged.reports)

    def _begun(self, variant: Variant) -> tuple[Change, Sequence[StepModel], tuple[str, ...]]:
        """Return how far a variant is there already, its steps, and the parts that are left.

        One with fewer parts may have been made before; one that is pruned only is made first.
        """
        for count in range(len(variant.parts) - 1, -1, -1):
            before = variant.begun(count)
            if before is None or (before.parts and not self._made_before(release_of(before))):
                continue
            self._say_if_reused(before)
            with self._made(before) as made:
                return change_of(made, self.parent), made.steps, variant.parts[count:]
        if variant.prune is None:
            base = Change(variant.name, variant.precision, variant.how)
            return base, self.parent.steps, variant.parts
        self.progress.say(
            f"prune-{variant.prune:g}: learns again from {self.parent.manifest.data.name}, which "
            "can take most of the time of the build; what was measured so far is kept"
        )
        base = prune(self.parent, variant.prune, self.data(), self.progress)
        return base, self.parent.steps, ()


def told(tried: Tried) -> str:
    """Say in a line what was found of a variant."""
    ratios = ", ".join(f"{tried.faster(rows):.2f}" for rows in tried.timed.core)
    batches = ", ".join(map(str, tried.timed.core))
    refused = "" if tried.passed else "; refused"
    return f"{tried.variant}: {ratios} times as fast at {batches} rows{refused}"


def release_of(variant: Variant) -> str:
    """Return what a variant is called in the folder of work."""
    return variant.name.replace("+", ".").replace("-", "")


def change_of(made: Opened, parent: Opened) -> Change:
    """Return what is other in a child than in its parent, to be made under another name."""
    derived = made.manifest.derived
    assert derived is not None
    networks = {step.name: step.model for step in made.steps}
    return Change(
        variant=derived.variant,
        precision=derived.precision,
        how=derived.how,
        steps={name: networks[name] for name in derived.steps},
        details=derived.details,
        fields={
            name: getattr(made.manifest, name)
            for name in LEARNT_AGAIN
            if getattr(made.manifest, name) != getattr(parent.manifest, name)
        },
        reports={WEIGHTS: made.reports[WEIGHTS]} if WEIGHTS in made.reports else {},
    )
