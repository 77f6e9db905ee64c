"""The variants there are: what is done to a release's networks, one thing after the other.

A variant is named by its parts in their order, such as ``prune-0.5+graph+int8-static``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from pydantic import JsonValue

from model_builder.errors import CannotDerive, ConfigInvalid
from model_builder.export.chain import given_to_cores
from model_builder.opened_release import Opened
from model_builder.task import StepModel
from model_builder.variants.calibrating import calibration_inputs
from model_builder.variants.graphs import optimised
from model_builder.variants.half import stored_in_half
from model_builder.variants.own_operators import with_own_operators
from model_builder.variants.quantising import (
    Quantised,
    layers_of,
    quantised_dynamically,
    quantised_statically,
)

PRUNE = re.compile(r"prune-(0\.[0-9]+)")
_PARTS = ("graph", "fp16-weights", "int8-dynamic", "int8-static", "ort")
USUAL = (
    "graph",
    "fp16-weights",
    "int8-dynamic",
    "int8-static",
    "graph+int8-static",
    "graph+int8-static+ort",
    "prune-0.5+graph",
    "prune-0.5+graph+int8-static",
    "prune-0.75+graph",
)
"""What is tried where nothing is said."""
_PRECISIONS = {"int8-dynamic": "int8", "int8-static": "int8", "fp16-weights": "fp32"}
_HOW = {
    "graph": "The same sums with fewer operators and without those that move nothing: constants "
    "folded, plain look-ups, only the last place of a sequence where nothing else is read, and no "
    "more places than the longest row of a batch has.",
    "fp16-weights": "Weights are stored in 16 bits and cast to 32 when they are loaded; it "
    "computes in 32 bits.",
    "int8-dynamic": "8-bit weights; activations get their range from each batch.",
    "int8-static": "8-bit weights and activations, with ranges seen on rows of the training split.",
    "ort": "Attention and the biases of 8-bit products are written as operators of ONNX Runtime, "
    "which no other runtime reads.",
}


@dataclass(frozen=True)
class Variant:
    """What is done, in order."""

    name: str
    parts: tuple[str, ...]
    """All but the pruning."""
    prune: float | None
    """Share that is pruned before all else; ``None``: nothing."""

    @property
    def precision(self) -> str:
        """Return what the changed steps compute in."""
        return next((_PRECISIONS[part] for part in self.parts if part in _PRECISIONS), "fp32")

    @property
    def how(self) -> str:
        """Say what is done, in sentences."""
        said = [_HOW[part] for part in self.parts]
        if self.prune is not None:
            said.insert(
                0,
                f"{self.prune:.0%} of it was removed (of several networks whole ones first, else "
                "of the width), and what had lost width trained on until it had recovered.",
            )
        return " ".join(said)

    def begun(self, parts: int) -> Variant | None:
        """Return the variant of the pruning and its first parts alone; ``None`` if that is none."""
        names = self.name.split("+")[: parts + (self.prune is not None)]
        return Variant("+".join(names), self.parts[:parts], self.prune) if names else None

    @property
    def whole_numbers(self) -> bool:
        """Say whether it needs a processor that multiplies 8-bit numbers fast."""
        return self.precision == "int8"


def parse(names: Sequence[str]) -> tuple[Variant, ...]:
    """Return the variants of these names.

    Raises:
        ConfigInvalid: Names everything that is wrong with them.
    """
    faults, found = [], []
    for name in dict.fromkeys(names):
        first, *rest = name.split("+")
        match = PRUNE.fullmatch(first)
        parts = rest if match else [first, *rest]
        unknown = [part for part in parts if part not in _PARTS]
        if unknown or len(set(parts)) < len(parts):
            what = ", ".join(f"'{part}'" for part in unknown) or "a part twice"
            faults.append(
                f"variant '{name}': {what}; it is made of {', '.join(_PARTS)}, joined by '+', "
                "after prune-0.N if it is to be pruned"
            )
        elif sum(part.startswith("int8") for part in parts) > 1:
            faults.append(f"variant '{name}': it is quantised twice")
        else:
            found.append(Variant(name, tuple(parts), float(match[1]) if match else None))
    if faults:
        raise ConfigInvalid(faults)
    return tuple(found)


@dataclass(frozen=True)
class Applied:
    """What became of a release's steps."""

    steps: Mapping[str, onnx.ModelProto]
    """Those that were changed."""
    details: Mapping[str, JsonValue]
    """By part, then step: what was found."""


def apply(parts: Sequence[str], parent: Opened, steps: Sequence[StepModel]) -> Applied:
    """Change the core steps of a release.

    Args:
        parts: What is done, in order.
        parent: Has the calibration rows.
        steps: Its steps, or what pruning left of them.

    Raises:
        CannotDerive: If a part changes none of them, or there are no calibration rows.
    """
    changed: dict[str, onnx.ModelProto] = {}
    details: dict[str, JsonValue] = {}
    for part in parts:
        now = [StepModel(one.name, one.role, changed.get(one.name, one.model)) for one in steps]
        found = _apply_one(part, parent, now)
        if not found:
            raise CannotDerive(parent.name, f"{part} changes none of its networks")
        changed |= {name: model for name, (model, _) in found.items()}
        details[part] = {name: said for name, (_, said) in found.items()}
    return Applied(changed, details)


def _apply_one(
    part: str, parent: Opened, steps: Sequence[StepModel]
) -> dict[str, tuple[onnx.ModelProto, JsonValue]]:
    cores = [step for step in steps if step.role == "core"]
    if part == "graph":
        asked = given_to_cores(steps, parent.recorded.batch(parent.recorded.golden())[0])
        found = {step.name: optimised(step.model, asked[step.name]) for step in cores}
        return {
            step.name: (found[step.name][0], dict(found[step.name][1]))
            for step in cores
            if found[step.name][0] is not step.model
        }
    if part == "fp16-weights":
        stored = {step.name: stored_in_half(step.model) for step in cores}
        return {
            name: (model, {"weights": count}) for name, (model, count) in stored.items() if count
        }
    if part == "ort":
        asked = given_to_cores(steps, parent.recorded.batch(parent.recorded.golden())[0])
        own = {step.name: with_own_operators(step.model, asked[step.name]) for step in cores}
        return {name: (made[0], dict(made[1])) for name, made in own.items() if made is not None}
    able = [step for step in cores if layers_of(step.model)[0]]
    if part == "int8-dynamic":
        return {step.name: _said(quantised_dynamically(step.model)) for step in able}
    inputs = calibration_inputs(parent, steps) if able else {}
    return {step.name: _said(quantised_statically(step.model, inputs[step.name])) for step in able}


def _said(made: Quantised) -> tuple[onnx.ModelProto, JsonValue]:
    return made.model, {
        "layers": made.layers,
        "in_float": list(made.in_float),
        "sensitive": list(made.sensitive),
        "moved": made.moved,
    }
