"""A torch network as one ONNX file that any ONNX Runtime runs."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx
import torch
from torch import nn

from model_builder.errors import ExportBroken

OPSET = 18
"""The newest that every Triton since 23.01 and TensorRT since 8.6 reads."""

BATCH_AXIS = "B"


def export_core(
    module: nn.Module,
    example_inputs: Mapping[str, torch.Tensor],
    output_names: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
) -> onnx.ModelProto:
    """Export ``module`` with its weights inside, ready for a step of an ensemble.

    Args:
        module: Its ``forward`` takes the inputs by their names. Exported in eval mode.
        example_inputs: By name, each ``(b, …)``. A batch of 1 is doubled, since an exporter
            that sees a 1 takes it for a constant.
        output_names: The names of what ``forward`` returns, in order.
        dynamic: By input, axis to its letter, for axes after the batch that vary. Axis 0
            always varies. The same letter is the same size.

    Raises:
        ExportBroken: If the graph does not have these names, or has lost a varying axis.
    """
    axes = {name: {0: BATCH_AXIS, **(dynamic or {}).get(name, {})} for name in example_inputs}
    examples = {
        name: value.repeat(2, *[1] * (value.ndim - 1)) if value.shape[0] == 1 else value
        for name, value in example_inputs.items()
    }
    was_training = module.training
    module.eval()
    try:
        with _silenced(), torch.no_grad():
            program = torch.onnx.export(
                module,
                kwargs=dict(examples),
                input_names=list(examples),
                output_names=list(output_names),
                opset_version=OPSET,
                dynamic_shapes=axes,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        module.train(was_training)
    assert program is not None
    model = program.model_proto
    _strip(model)
    _check(model, axes, output_names)
    return model


def serialised(model: onnx.ModelProto) -> bytes:
    """Return ``model`` as file content, the same bytes for the same model."""
    return model.SerializeToString(deterministic=True)


def _strip(model: onnx.ModelProto) -> None:
    """Remove what tells of the machine that exported: stack traces, paths, module names."""
    model.ClearField("doc_string")
    del model.metadata_props[:]
    for graph in (model.graph, *model.functions):
        _strip_graph(graph)


def _strip_graph(graph: onnx.GraphProto | onnx.FunctionProto) -> None:
    graph.ClearField("doc_string")
    del graph.metadata_props[:]
    named = [*graph.node, *graph.value_info]
    if isinstance(graph, onnx.GraphProto):
        named += [*graph.input, *graph.output, *graph.initializer]
    for part in named:
        part.ClearField("doc_string")
        del part.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:  # the branches of an If, the body of a Loop
            inside = [attribute.g] if attribute.HasField("g") else []
            for inner in (*inside, *attribute.graphs):
                _strip_graph(inner)


def _check(
    model: onnx.ModelProto, axes: Mapping[str, Mapping[int, str]], output_names: Sequence[str]
) -> None:
    onnx.checker.check_model(model, full_check=True)
    inputs = {value.name: value for value in model.graph.input}
    outputs = {value.name: value for value in model.graph.output}
    # An input that nothing reads is dropped or kept as the exporter likes; both hide a mistake.
    read = {name for node in model.graph.node for name in node.input} | set(outputs)
    if set(inputs) != set(axes) or not set(inputs) <= read:
        raise ExportBroken(f"inputs {sorted(axes)} became {sorted(set(inputs) & read)}")
    if list(outputs) != list(output_names):
        raise ExportBroken(f"outputs {list(output_names)} became {list(outputs)}")
    for name, letters in axes.items():
        for axis, letter in letters.items():
            if not inputs[name].type.tensor_type.shape.dim[axis].dim_param:
                raise ExportBroken(f"axis {axis} ({letter}) of input '{name}' became fixed")
    for name, value in outputs.items():
        dims = value.type.tensor_type.shape.dim
        if not dims or not dims[0].dim_param:
            raise ExportBroken(f"axis 0 ({BATCH_AXIS}) of output '{name}' became fixed")


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep the exporter's warnings and advertisements from the user; its errors still come."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
