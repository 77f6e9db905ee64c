"""Nodes that say of which step they are: what ONNX Runtime says of one that fails is all there is.

An ensemble's caller gets the message of the step that failed, and NVIDIA's backend passes ONNX
Runtime's on as it is: ``… while running Gather node. Name:'encode/val_3' …``. The model that it ran
is not in it.
"""

from __future__ import annotations

import onnx

from triton_models.pruning import inner_graphs


def name_after_step(graph: onnx.GraphProto, step: str) -> None:
    """Begin the name of each node, also of the graphs inside, with ``step/``."""
    prefix = f"{step}/"
    for place, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{place}"
        node.name = name if name.startswith(prefix) else prefix + name
        for inner in inner_graphs(node):
            name_after_step(inner, step)
