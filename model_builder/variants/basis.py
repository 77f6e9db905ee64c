"""What the results of a trial depend on: a result stands for the like alone.

What was made depends on the parent, the code that made it and the libraries that helped. What was
measured depends on the machine and on the gate's rules, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import model_builder
import triton_models
from model_builder.evaluation.gate import Gate
from model_builder.opened_release import Opened
from model_builder.provenance import versions
from model_builder.variants.machine import Machine

_CODE = tuple(Path(package.__path__[0]) for package in (model_builder, triton_models))
_LIBRARIES = ("numpy", "onnx", "onnxruntime", "torch")
"""Those that rewrite, quantise, prune or run networks."""
_SHOWN = 12
"""Of a hash."""

Facts = Mapping[str, str]
"""What is depended on, each by its name for people."""


@dataclass(frozen=True)
class Basis:
    """What results depend on."""

    made: Facts
    measured: Facts
    """Also all of ``made``."""

    @staticmethod
    def of(
        parent: Opened,
        machine: Machine,
        gate: Gate,
        samples: Mapping[int, int],
        code: tuple[Path, ...] = _CODE,
    ) -> Basis:
        """Return what trials depend on here and now.

        Args:
            parent: What variants are made of.
            machine: That measures.
            gate: Judges.
            samples: How often it is asked, by batch size.
            code: Folders of the code.
        """
        known = versions()
        made = {
            "parent": _short(parent.manifest_sha256),
            "code": _sources_hash(code),
            **{name: known.get(name, "") for name in _LIBRARIES},
        }
        rules = gate.lines.get(parent.manifest.line)
        measured = {
            **made,
            "processor": " ".join([machine.processor, *machine.flags]),
            "cores": str(machine.cores),
            "gate": _hash("" if rules is None else rules.model_dump_json()),
            "samples": json.dumps(dict(samples)),
        }
        return Basis(made, measured)


def other(then: Facts, now: Facts) -> str:
    """Say what is other now than then, such as ``onnxruntime 1.31.0, now 1.32.0``; else nothing."""
    return "; ".join(
        f"{name} {then.get(name) or 'unknown'}, now {now.get(name) or 'unknown'}"
        for name in {**now, **then}
        if then.get(name) != now.get(name)
    )


def _sources_hash(folders: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{folder.name}/{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return _short(digest.hexdigest())


def _hash(text: str) -> str:
    return _short(hashlib.sha256(text.encode()).hexdigest())


def _short(sha256: str) -> str:
    return sha256[:_SHOWN]
