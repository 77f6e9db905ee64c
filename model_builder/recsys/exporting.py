"""The steps of a release, each one ONNX model: from IDs to the best items, and back to IDs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from model_builder.errors import ExportBroken
from model_builder.export.onnx import export_core
from model_builder.recsys.context import Context
from model_builder.recsys.decode_graph import decode_graph
from model_builder.recsys.encode_graph import encode_graph
from model_builder.recsys.filter_graph import filter_graph
from model_builder.recsys.item_table import table_bytes
from model_builder.recsys.ranking import OUTPUTS, Ranker
from model_builder.recsys.retrieve_graph import retrieve_graph
from model_builder.recsys.shortlists import FirstStage
from model_builder.task import StepModel

LARGEST_TABLE = 2_000_000_000
"""Bytes; an ONNX file ends at 2 GiB."""


def check_table(items: int, width: int) -> None:
    """Refuse a catalogue whose table would not fit; it can be known before anything is learnt.

    Args:
        items: ``V``.
        width: ``D``.

    Raises:
        ExportBroken: If it does not fit a file.
    """
    size = table_bytes(items, width)
    if size > LARGEST_TABLE:
        raise ExportBroken(
            f"the vectors of {items:,} items are {size / 1e9:.1f} GB, and an ONNX file "
            f"holds {LARGEST_TABLE / 1e9:.1f}: a smaller width, or fewer items (min_item_users)"
        )


def export_steps(
    first: FirstStage, ranker: Ranker, item_ids: Sequence[str], context: Context | None = None
) -> tuple[StepModel, ...]:
    """Return the steps, in the order of the work.

    Args:
        first: The first stage, trained.
        ranker: The second.
        item_ids: The catalogue; the item number is the place, from 1.
        context: What is read of a request's context; ``None``: nothing.

    Raises:
        ExportBroken: If the table of the items does not fit a file.
    """
    check_table(first.table.count, first.table.width)
    length = first.history_length
    prepare = () if context is None else (StepModel("context", "pre", context.graph()),)
    read = ["history", *(["history_gaps"] if first.time_gaps else [])]
    query = export_core(
        first.query.eval(),
        {name: torch.ones(2, length, dtype=torch.int32) for name in read},
        ["query"],
    )
    return (
        StepModel("encode", "pre", encode_graph(item_ids, length, time_gaps=first.time_gaps)),
        *prepare,
        StepModel("history", "core", query),
        StepModel("retrieve", "core", retrieve_graph(first.table, first.shortlist)),
        StepModel("filter", "post", filter_graph(first.shortlist)),
        StepModel("rank", "core", export_core(ranker.eval(), _examples(first, context), OUTPUTS)),
        StepModel("decode", "post", decode_graph(item_ids, length, first.count)),
    )


def _examples(first: FirstStage, context: Context | None) -> dict[str, torch.Tensor]:
    sizes = {"history": first.history_length, "shortlist": first.shortlist}
    examples = {name: torch.ones(2, size, dtype=torch.int32) for name, size in sizes.items()}
    examples["query"] = torch.ones(2, first.table.width + 2)
    examples["shortlist_scores"] = torch.zeros(2, first.shortlist)
    if context is not None:
        examples["inputs"] = torch.zeros(2, context.width)
    return examples
