"""Writes GELU in the order in which ONNX Runtime knows it.

``x * (0.5 * (1 + erf(x / sqrt(2))))``, as torch's exporter writes it, is five operators that each
read and write all numbers. ONNX Runtime makes one of them when it loads a model, with the layer's
bias in it, if the half is multiplied last.
"""

from __future__ import annotations

import onnx

from model_builder.variants.tensors import Known


def halved_last(model: onnx.ModelProto) -> int:
    """Rewrite a model in place; return how many were put into that order."""
    known = Known.of(model)
    done = 0
    for node in model.graph.node:
        found = _parts(node, known)
        if found is None or known.only_reader(found[0].output[0]) is None:
            continue
        inner, half, plus, x = found
        inner.input[:] = [x, plus]
        node.input[:] = [inner.output[0], half]
        done += 1
    if done:
        del model.graph.value_info[:]
    return done


def _parts(node: onnx.NodeProto, known: Known) -> tuple[onnx.NodeProto, str, str, str] | None:
    """Return of ``x * (half * plus)`` the inner product, ``half``, ``plus`` and ``x``."""
    if node.op_type != "Mul":
        return None
    for x, name in (node.input, reversed(node.input)):
        inner = known.made_by(name, "Mul")
        if inner is None:
            continue
        for half, plus in (inner.input, reversed(inner.input)):
            if _is(half, 0.5, known) and _erf_of(plus, known) == x:
                return inner, half, plus, x
    return None


def _erf_of(plus: str, known: Known) -> str | None:
    """Return ``x`` of ``1 + erf(x / …)``."""
    added = known.made_by(plus, "Add")
    if added is None:
        return None
    for name, one in (added.input, reversed(added.input)):
        erf = known.made_by(name, "Erf")
        if erf is None or not _is(one, 1.0, known):
            continue
        scaled = known.makers.get(erf.input[0])
        if scaled is not None and scaled.op_type in ("Div", "Mul"):
            return str(scaled.input[0])
    return None


def _is(name: str, value: float, known: Known) -> bool:
    found = known.constant(name)
    return found is not None and found.size == 1 and float(found.item()) == value
