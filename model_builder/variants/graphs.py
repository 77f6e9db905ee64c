"""Rewrites a network so that it computes the same with less: the variant ``graph``.

First ONNX Runtime's own optimisations of the level *basic*: constants are folded, what does nothing
is removed, and what is left are operators of ONNX alone, so that any runtime on any processor
reads it. The higher levels write operators of ONNX Runtime, or a layout of one kind of processor,
into the file; ONNX Runtime applies them anyway when it loads a model. Then four rewritings that it
does not have: only the last place is computed where only that is read (``last_place``), a table of
one block is read by one look-up (``look_ups``), GELU is written so that it is made one operator
(``gelus``), and no more places are read than a batch has (``padding``).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from model_builder.export.onnx import serialised
from model_builder.export.running import Arrays, OnnxModel
from model_builder.variants.gelus import halved_last
from model_builder.variants.last_place import only_last_places
from model_builder.variants.look_ups import plain_look_ups
from model_builder.variants.padding import only_given_places
from model_builder.variants.tensors import drop_unused_operators

_MOST_GROWTH = 1.2
_SHORTENED = 24
"""Rows by which it is told whether padding moves an answer."""
_ALIKE = 1e-4
"""Share of an output's spread."""


def optimised(
    model: onnx.ModelProto, asked: Arrays | None = None
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Return a network that answers alike, and what was done to it.

    Where it would only get larger, as where a table is folded into a second one, it is left as it
    is, the very same.

    Args:
        model: A core of a release.
        asked: What it is given, some rows; without, padding is left in.

    Returns:
        The network, and ``nodes_before``, ``nodes_after``, ``last_places`` (how many reads of a
        last place were moved up), ``look_ups`` (how many became plain), ``gelus`` (how many became
        one operator) and ``padding`` (whether it is left out).
    """
    folded = basic(model)
    done = {
        "look_ups": plain_look_ups(folded),
        "last_places": only_last_places(folded),
        "gelus": halved_last(folded),
    }
    if any(done.values()):
        folded = basic(folded)
    if folded.ByteSize() > _MOST_GROWTH * model.ByteSize():
        folded, done = model, dict.fromkeys(done, 0)
    short = None if asked is None else _without_padding(folded, asked)
    folded = folded if short is None else short
    return folded, {
        "nodes_before": len(model.graph.node),
        "nodes_after": len(folded.graph.node),
        **done,
        "padding": int(short is not None),
    }


def _without_padding(model: onnx.ModelProto, asked: Arrays) -> onnx.ModelProto | None:
    """Return a network that reads no padding, if it answers alike to rows of any length."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    if not only_given_places(made):
        return None
    rows, places = next(iter(asked.values())).shape
    both = [OnnxModel(serialised(each)) for each in (model, made)]
    lengths = np.linspace(0, places, _SHORTENED).astype(np.int64)
    for place, length in enumerate(lengths):
        row = {name: values[[place % rows]] for name, values in asked.items()}
        for values in row.values():
            values[:, : places - length] = 0
        before, after = (each.run(row) for each in both)
        for output, values in before.items():
            if not np.allclose(after[output], values, atol=_ALIKE * float(values.std()), rtol=0):
                return None
    return made


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
