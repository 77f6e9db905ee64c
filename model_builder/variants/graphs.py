"""Rewrites a network so that it computes the same with less: the variant ``graph``.

First ONNX Runtime's own optimisations of the level *basic*: constants are folded, what does nothing
is removed, and what is left are operators of ONNX alone, so that any runtime on any processor
reads it. The higher levels write operators of ONNX Runtime, or a layout of one kind of processor,
into the file; ONNX Runtime applies them anyway when it loads a model. Then two rewritings that it
does not have: only the last place is computed where only that is read (``last_place``), and a
table of one block is read by one look-up (``look_ups``).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort

from model_builder.export.onnx import serialised
from model_builder.variants.last_place import only_last_places
from model_builder.variants.look_ups import plain_look_ups
from model_builder.variants.tensors import drop_unused_operators

_MOST_GROWTH = 1.2


def optimised(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Return a network that answers alike, and what was done to it.

    Where it would only get larger, as where a table is folded into a second one, it is left as it
    is, the very same. The second: ``nodes_before``, ``nodes_after``, ``last_places`` (how many
    reads of a last place were moved up) and ``look_ups`` (how many became plain).
    """
    folded = basic(model)
    look_ups = plain_look_ups(folded)
    places = only_last_places(folded)
    if look_ups or places:
        folded = basic(folded)
    if folded.ByteSize() > _MOST_GROWTH * model.ByteSize():
        folded, places, look_ups = model, 0, 0
    return folded, {
        "nodes_before": len(model.graph.node),
        "nodes_after": len(folded.graph.node),
        "last_places": places,
        "look_ups": look_ups,
    }


def basic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network as ONNX Runtime leaves it at the level *basic*, its border as it was."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="model-builder-graph-") as folder:
        path = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(serialised(model), options, providers=["CPUExecutionProvider"])
        made = onnx.load(path)
    drop_unused_operators(made)
    # Sizes that were inferred are inferred anew by whoever reads it; the border is as declared.
    for given, wanted in ((made.graph.input, model.graph.input),
                          (made.graph.output, model.graph.output)):  # fmt: skip
        del given[:]
        given.extend(wanted)
    del made.graph.value_info[:]
    made.ir_version = model.ir_version
    return made
