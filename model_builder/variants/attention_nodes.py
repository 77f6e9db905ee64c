"""Writes attention as operators of ONNX Runtime: one that turns heads, one that reads by them.

What the exporter writes as thirty operators, most of which only lay numbers out anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_builder.variants.layouts import Columns, columns_of, joins_heads
from model_builder.variants.rotary_nodes import Turned
from model_builder.variants.tensors import Known, attribute
from triton_models.pruning import prune

OWN = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""
_HIDDEN = -1e3
"""Weights below it count for nothing beside others."""
_ALL_PLACES = 2


@dataclass(frozen=True)
class _Attention:
    query: Columns
    key: Columns
    value: Columns
    scale: float
    known: str
    """``(B, L)`` bool: which places may be read."""
    causal: bool
    """Whether no place reads a later one."""
    end: str
    """``(B, L, D)``, what is read."""


def fused_attention(model: onnx.ModelProto) -> int:
    """Rewrite a model in place; return how many attentions became one operator."""
    known = Known.of(model)
    found = [
        one
        for node in model.graph.node
        if node.op_type == "Softmax" and (one := _attention(node, known)) is not None
    ]
    for number, one in enumerate(found):
        _Writing(model, f"attention{number}", known).write(one)
    if found:
        prune(model.graph)
        del model.graph.value_info[:]
    return len(found)


def _attention(softmax: onnx.NodeProto, known: Known) -> _Attention | None:
    hiding = known.made_by(softmax.input[0], "Where")
    read = known.only_reader(softmax.output[0])
    if hiding is None or read is None or read.op_type != "MatMul":
        return None
    if attribute(softmax, "axis", -1) not in (-1, 3) or read.input[0] != softmax.output[0]:
        return None
    low = known.constant(hiding.input[2])
    scaled = _scaled(hiding.input[1], known)
    if low is None or low.size != 1 or low.item() > _HIDDEN or scaled is None:
        return None
    product, scale = scaled
    query, value = (columns_of(one, known) for one in (product.input[0], read.input[1]))
    key = columns_of(product.input[1], known, swapped=True)
    if query is None or key is None or value is None or not _whole([query, key, value], known):
        return None
    end = _heads_joined(read, query.heads, known)
    visible = _visible(hiding.input[0], known)
    if end is None or visible is None or len({one.heads for one in (query, key, value)}) > 1:
        return None
    return _Attention(query, key, value, scale, *visible, end.output[0])


def _whole(parts: Sequence[Columns], known: Known) -> bool:
    """Say whether what has the columns has no other, and each once."""
    for source in {one.of for one in parts}:
        end = 0
        for one in sorted((one for one in parts if one.of == source), key=lambda one: one.start):
            if one.start != end:
                return False
            end += one.width
        if end != known.sizes[source][-1]:
            return False
    return True


def _scaled(name: str, known: Known) -> tuple[onnx.NodeProto, float] | None:
    """Return a product of matrices, and what each number of it is multiplied by."""
    node = known.makers.get(name)
    if node is None or node.op_type not in ("Div", "Mul"):
        return None
    by = known.constant(node.input[1])
    product = known.made_by(node.input[0], "MatMul")
    if by is None or by.size != 1 or product is None:
        return None
    return product, float(1 / by.item() if node.op_type == "Div" else by.item())


def _heads_joined(read: onnx.NodeProto, heads: int, known: Known) -> onnx.NodeProto | None:
    chain = []
    node: onnx.NodeProto | None = read
    while node is not None and len(chain) < 2:
        node = known.only_reader(node.output[0])
        if node is None or node.op_type not in ("Transpose", "Reshape"):
            return None
        chain.append(node)
    return chain[-1] if joins_heads(chain, heads, known) else None


def _visible(name: str, known: Known) -> tuple[str, bool] | None:
    """Return the places that hold something, and whether none reads a later one."""
    sizes = known.sizes.get(name, ())
    while (maker := known.makers.get(name)) is not None and maker.op_type == "Unsqueeze":
        name = maker.input[0]
    if maker is None:
        return None
    if maker.op_type != "Or":
        same = all(size == 1 for size in sizes[1:-1])  # for all heads, and for all that read
        return (name, False) if same and len(known.sizes.get(name, ())) == _ALL_PLACES else None
    # A place without anything to read reads itself, so that it is a number; nobody reads it.
    for one, own in (maker.input, reversed(maker.input)):
        both = known.made_by(one, "And")
        if both is None or not _is(own, np.eye, known):
            continue
        for causal, there in (both.input, reversed(both.input)):
            hidden = _visible(there, known)
            if hidden is not None and not hidden[1] and _is(causal, np.tri, known):
                return hidden[0], True
    return None


def _is(name: str, like: Callable[[int], npt.NDArray[Any]], known: Known) -> bool:
    """Say whether a constant is such a square, or one cut on both axes alike."""
    maker = known.makers.get(name)
    if maker is not None and maker.op_type == "Slice":
        start = known.made_by(maker.input[1], "Concat")
        axes = known.constant(maker.input[3])
        if start is None or len({*start.input}) > 1 or not np.array_equal(axes, [0, 1]):
            return False
        name = maker.input[0]
    value = known.constant(name)
    return value is not None and np.array_equal(value, like(len(value)).astype(bool))


class _Writing:
    """Writes one attention where its end was."""

    def __init__(self, model: onnx.ModelProto, name: str, known: Known) -> None:
        self._model = model
        self._known = known
        self._name = name
        self._nodes: list[onnx.NodeProto] = []

    def write(self, one: _Attention) -> None:
        """Put the nodes in."""
        parts = [one.query, one.key, one.value]
        query, key, value = self._turned(self._cut(parts), parts)
        self._node(
            "MultiHeadAttention",
            [query, key, value, "", self._there(one.known)],
            domain=OWN,
            num_heads=one.query.heads,
            scale=one.scale,
            unidirectional=int(one.causal),
        )
        self._nodes[-1].output[0] = one.end
        nodes = self._model.graph.node
        place = next(i for i, node in enumerate(nodes) if one.end in node.output)
        del nodes[place]
        for node in reversed(self._nodes):
            nodes.insert(place, node)

    def _there(self, known: str) -> str:
        """Return ``(B, L)`` int32, above 0 where there is something: the items, if it is they."""
        maker = self._known.makers.get(known)
        if maker is not None and maker.op_type == "Greater":
            least = self._known.constant(maker.input[1])
            if least is not None and least.dtype == np.int32 and not least.any():
                return str(maker.input[0])
        return self._node("Cast", [known], to=TensorProto.INT32)

    def _cut(self, parts: list[Columns]) -> list[str]:
        """Return the columns of each part, cut from what has them."""
        found: dict[int, str] = {}
        for source in dict.fromkeys(one.of for one in parts):
            of = [place for place, one in enumerate(parts) if one.of == source]
            of.sort(key=lambda place: parts[place].start)
            widths = [parts[place].width for place in of]
            if len(of) == 1:
                found[of[0]] = source
                continue
            sizes = self._held(f"widths{of[0]}", np.array(widths, np.int64))
            made = [f"{self._name}/part{place}" for place in of]
            self._nodes.append(
                helper.make_node("Split", [source, sizes], made, name=made[0], axis=-1)
            )
            found |= dict(zip(of, made, strict=True))
        return [found[place] for place in range(len(parts))]

    def _turned(self, names: list[str], parts: list[Columns]) -> list[str]:
        return [
            name if one.turned is None else self._turn(name, one, one.turned)
            for name, one in zip(names, parts, strict=True)
        ]

    def _turn(self, name: str, one: Columns, by: Turned) -> str:
        start = by.start or self._held("first", np.array([0], np.int64))
        return self._node(
            "RotaryEmbedding",
            [name, start, by.cosines, by.sines],
            domain=OWN,
            num_heads=one.heads,
            rotary_embedding_dim=0,
        )

    def _node(self, kind: str, given: list[str], domain: str = "", **how: object) -> str:
        made = f"{self._name}/{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, given, [made], name=made, domain=domain, **how))
        return made

    def _held(self, name: str, value: np.ndarray) -> str:
        name = f"{self._name}/{name}"
        if all(one.name != name for one in self._model.graph.initializer):
            self._model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name
