"""The steps of a release merged into one ONNX model: the variant ``fused``.

It takes and gives what the ensemble does, and nothing in between: Triton runs one model instead
of handing tensors from step to step. The nodes are those of the steps, unchanged, so that the
answers are too. A node that only one output needs is reached from that output alone; whoever
runs the model for some of the outputs can leave the rest of it out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import onnx
from onnx import inliner, version_converter

from model_builder.errors import ExportBroken
from model_builder.export.joining import joined_tensors
from model_builder.export.node_names import name_after_step
from model_builder.export.onnx import BATCH_AXIS, serialised
from model_builder.export.running import OnnxModel
from model_builder.task import StepModel
from triton_models.pruning import inner_graphs, leading_to, prune
from triton_models.row_blocks import ALIKE
from triton_models.signatures import ANY, Signature, TensorSpec


def fuse(steps: Sequence[StepModel], signature: Signature) -> onnx.ModelProto:
    """Return one model that does what the steps do one after the other.

    Its inputs and outputs are those of the ensemble, in the signature's order, their axes
    called by the signature's letters.

    Raises:
        ExportBroken: If the steps do not join up, do not fit ``signature``, or cannot be brought
            to one version of their operators.
    """
    joined_tensors(steps, signature)
    models, versions = _brought_together(steps, [_inlined(step.model) for step in steps])
    graph = onnx.GraphProto(name=f"{signature.line} fused")
    border: dict[str, onnx.ValueInfoProto] = {}
    weights = _Weights(graph)
    for step, model in zip(steps, models, strict=True):
        own = model.graph
        if own.sparse_initializer:
            raise ExportBroken(f"step '{step.name}' has sparse weights, which cannot be fused")
        for value in (*own.input, *own.output):
            border.setdefault(value.name, value)
        shared = {value.name for value in (*own.input, *own.output)}
        _rename(own, f"{step.name}/", shared)
        name_after_step(own, step.name)
        _read_instead(own, weights.add(own.initializer, shared))
        graph.node.extend(own.node)
    graph.input.extend(_declared(border[s.name], s) for s in signature.inputs if s.name in border)
    graph.output.extend(_declared(border[s.name], s) for s in signature.outputs if s.name in border)
    prune(graph)
    fused = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid(*pair) for pair in sorted(versions.items())],
        ir_version=max(model.ir_version for model in models),
    )
    if alike := _telling_lengths(graph, steps):
        fused.metadata_props.add(key=ALIKE, value=alike)
    onnx.checker.check_model(fused, full_check=True)
    return fused


def _telling_lengths(graph: onnx.GraphProto, steps: Sequence[StepModel]) -> str:
    """Return the inputs of the whole that tell how long a row is, if a step has one that does."""
    told = (one.value for step in steps for one in step.model.metadata_props if one.key == ALIKE)
    named = [name for value in told for name in value.split(",")]
    return ",".join(sorted({value.name for value in graph.input} & leading_to(graph, named)))


class FusedModel(OnnxModel):
    """The fused model of a release, run by ONNX Runtime on the CPU."""

    def __init__(self, steps: Sequence[StepModel], signature: Signature) -> None:
        super().__init__(serialised(fuse(steps, signature)))


_LARGE_WEIGHTS = 64 * 1024
"""Bytes from which on weights are looked for among those of earlier steps."""


class _Weights:
    """Adds the weights of steps to a graph, large ones that are alike only once."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._known: dict[tuple[Any, ...], str] = {}

    def add(self, weights: Iterable[onnx.TensorProto], kept: Set[str]) -> dict[str, str]:
        """Return by its name each that is held already, and what it is called there.

        Those ``kept`` are added whatever is held: they are tensors of a border.
        """
        held: dict[str, str] = {}
        for one in weights:
            if len(one.raw_data) >= _LARGE_WEIGHTS and one.name not in kept:
                digest = hashlib.sha256(one.raw_data).digest()
                name = self._known.setdefault((one.data_type, *one.dims, digest), one.name)
                if name != one.name:
                    held[one.name] = name
                    continue
            self._graph.initializer.append(one)
        return held


def _read_instead(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Have a graph, and those inside it, read others in place of some weights."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for inner in inner_graphs(node):
            _read_instead(inner, names)
            for value in inner.output:
                value.name = names.get(value.name, value.name)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that calls no function of its own: two models' functions could clash."""
    if model.functions:
        return inliner.inline_local_functions(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _brought_together(
    steps: Sequence[StepModel], models: Sequence[onnx.ModelProto]
) -> tuple[list[onnx.ModelProto], dict[str, int]]:
    """Return the models as of one version of each domain of operators, the newest of theirs."""
    versions: dict[str, int] = {}
    for model in models:
        for domain, version in _imports(model).items():
            versions[domain] = max(version, versions.get(domain, 0))
    return [
        _brought_to(versions, step.name, model) for step, model in zip(steps, models, strict=True)
    ], versions


def _brought_to(versions: Mapping[str, int], step: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` as of newer versions, unchanged if its operators are still the same."""
    own = _imports(model)
    kinds = {(_domain(node.domain), node.op_type) for node in _nodes(model.graph)}
    changed = {
        domain
        for domain, kind in kinds
        if _since(kind, own[domain], domain) != _since(kind, versions[domain], domain)
    }
    if not changed:
        return model
    try:
        if changed != {""}:
            raise ValueError(f"operators of {', '.join(sorted(changed - {''}))} have changed")
        return version_converter.convert_version(model, versions[""])
    except (RuntimeError, ValueError) as error:
        wanted = ", ".join(f"{domain or 'ai.onnx'} {versions[domain]}" for domain in own)
        raise ExportBroken(f"step '{step}' cannot be brought to {wanted}: {error}") from error


def _imports(model: onnx.ModelProto) -> dict[str, int]:
    return {_domain(one.domain): one.version for one in model.opset_import}


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _since(kind: str, version: int, domain: str) -> int:
    """Return the version in which an operator became what it is in ``version``."""
    try:
        return int(onnx.defs.get_schema(kind, version, domain).since_version)
    except onnx.defs.SchemaError:  # an operator of somebody's own is as its domain says
        return version


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Return the nodes of a graph and of all graphs inside it."""
    for node in graph.node:
        yield node
        for inner in inner_graphs(node):
            yield from _nodes(inner)


def _rename(graph: onnx.GraphProto, prefix: str, kept: Set[str]) -> None:
    """Put ``prefix`` before every tensor's name but those ``kept``, also in the graphs inside.

    Not ``onnx.compose.add_prefix``: it forgets weights that an inner graph reads.
    """

    def renamed(name: str) -> str:
        return prefix + name if name and name not in kept else name

    for node in graph.node:
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
        for inner in inner_graphs(node):
            _rename(inner, prefix, kept)
            # Inside, too, the tensors' sizes would be called as another step calls its own.
            del inner.value_info[:]
            for value in (*inner.input, *inner.output):
                value.name = renamed(value.name)
                _rename_axes(value, renamed)
    for weights in graph.initializer:
        weights.name = renamed(weights.name)


def _rename_axes(value: onnx.ValueInfoProto, renamed: Callable[[str], str]) -> None:
    for dim in value.type.tensor_type.shape.dim:
        if dim.dim_param:
            dim.dim_param = renamed(dim.dim_param)


def _declared(value: onnx.ValueInfoProto, spec: TensorSpec) -> onnx.ValueInfoProto:
    """Return a tensor of the border with the axes that the signature says.

    Two steps may call different sizes by one letter, which ONNX Runtime would believe.
    """
    own = value.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else ANY for dim in own.shape.dim[1:]]
    axes = [
        axis.letter if size == ANY else size for axis, size in zip(spec.axes, sizes, strict=True)
    ]
    return onnx.helper.make_tensor_value_info(spec.name, own.elem_type, [BATCH_AXIS, *axes])
