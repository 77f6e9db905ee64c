"""Whether a release can run where a Triton runs: told before Triton tries, and in words.

Triton's own answer to a plan of another GPU is a line of TensorRT's log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from triton_models.plans import TENSORRT, Plan, architecture, config_file
from triton_models.release import Manifest

AMPERE = (8, 0)
"""The oldest architecture that a hardware-compatible plan runs on."""

_CAPABILITY = re.compile(r"(?:sm_)?(\d{1,2})\.?(\d)")
_VERSION = re.compile(r"\d+(\.\d+){1,3}")


@dataclass(frozen=True)
class RunsOn:
    """Where a release is to run, as far as it is known."""

    profile: str = ""
    """What Triton was given as ``--model-config-name``; ``""``: nothing."""
    compute_capability: str | None = None
    """Of its GPU, such as ``9.0``."""
    tensorrt: str | None = None
    """Its version, such as ``10.13.3``."""


def capability_of(text: str) -> str:
    """Return a compute capability, ``9.0``, of how people write it: ``sm_90``, ``90``, ``9.0``.

    Raises:
        ValueError: If it is none.
    """
    match = _CAPABILITY.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a compute capability such as 9.0 or sm_90, got {text!r}")
    return f"{match[1]}.{match[2]}"


def version_of(text: str) -> str:
    """Return a version of TensorRT as it was given.

    Raises:
        ValueError: If it is none.
    """
    if not _VERSION.fullmatch(text):
        raise ValueError(f"must be a version such as 10.13.3, got {text!r}")
    return text


def plan_faults(manifest: Manifest, where: RunsOn) -> list[str]:
    """Return why a release cannot run with the profile ``tensorrt``; none for another profile.

    What is not known of the machine is taken to fit.
    """
    if where.profile != TENSORRT:
        return []
    return list(_faults(manifest, where))


def _faults(manifest: Manifest, where: RunsOn) -> Iterator[str]:
    name = f"{manifest.line}/{manifest.release}"
    for step in manifest.steps:
        if config_file(step.model, TENSORRT) not in manifest.files:
            continue  # it runs as it does on any machine
        plans = [plan for plan in manifest.plans if plan.step == step.name]
        if not plans:
            yield (
                f"step '{step.name}' has no plan: run `model-builder compile {name} "
                "--profile tensorrt` on the GPU, and serve the release that it makes"
            )
        elif not any(_fits(plan, where) for plan in plans):
            made = " and ".join(dict.fromkeys(_made_for(plan) for plan in plans))
            yield f"the plan of step '{step.name}' is for {made}; Triton has {_has(where)}"


def _fits(plan: Plan, where: RunsOn) -> bool:
    return _fits_gpu(plan, where.compute_capability) and _fits_version(plan, where.tensorrt)


def _fits_gpu(plan: Plan, found: str | None) -> bool:
    if found is None or plan.compute_capability == found:
        return True
    return plan.hardware_compatible and _numbers(found) >= AMPERE


def _fits_version(plan: Plan, found: str | None) -> bool:
    if found is None:
        return True
    own, other = _numbers(plan.tensorrt), _numbers(found)
    known = min(len(own), len(other))
    if own[:known] == other[:known]:
        return True
    return plan.version_compatible and other[:known] > own[:known]


def _made_for(plan: Plan) -> str:
    gpu = architecture(plan.compute_capability)
    if plan.hardware_compatible:
        gpu += " and any GPU from sm_80 on"
    later = " or later" if plan.version_compatible else ""
    return f"{gpu} with TensorRT {plan.tensorrt}{later}"


def _has(where: RunsOn) -> str:
    found = []
    if where.compute_capability is not None:
        found.append(architecture(where.compute_capability))
    if where.tensorrt is not None:
        found.append(f"TensorRT {where.tensorrt}")
    return " with ".join(found)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
