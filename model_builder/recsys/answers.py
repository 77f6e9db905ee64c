"""What a recommender answers to the test split: as a client sees it, and as tensors."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from model_builder.proof.recorded import Recorded
from model_builder.recsys.context import Context
from model_builder.recsys.reference import Request, Tensors
from model_builder.remeasuring import TARGET_ITEM


def answer_table(
    requests: Sequence[Request], answers: Tensors, targets: Sequence[str] = ()
) -> pa.Table:
    """Return a row for each request; ``context`` is JSON, name to value, where there is any.

    Args:
        requests: What is asked.
        answers: What is answered.
        targets: What each really had next; none if it is not known.
    """
    given = answers["item_ids"] != ""  # a small catalogue may have fewer than asked for
    found = {
        name: [row[there].tolist() for row, there in zip(answers[name], given, strict=True)]
        for name in ("item_ids", "scores")
    }
    strings, numbers = pa.list_(pa.string()), pa.list_(pa.float64())
    columns = {
        "history_item_ids": pa.array([list(r.history) for r in requests], strings),
        "item_ids": pa.array(found["item_ids"], strings),
        "scores": pa.array(found["scores"], numbers),
    }
    if len(targets):
        columns[TARGET_ITEM] = pa.array(list(targets), pa.string())
    if "input_rules" in answers:
        columns["context"] = pa.array([json.dumps(dict(r.context)) for r in requests], pa.string())
    return pa.table(columns)


def recorded_answers(
    requests: Sequence[Request], answers: Tensors, context: Context | None = None
) -> Recorded:
    """Return what goes in and must come out, row by row."""
    rows = len(requests)
    histories = [list(request.history) for request in requests]
    nothing = np.full((rows, 1), "", np.object_)
    described = {} if context is None else context.tensors([r.context for r in requests])
    return Recorded(
        inputs={
            "history_item_ids": histories,
            "candidate_item_ids": nothing,
            "excluded_item_ids": nothing,
            "history_allowed": np.array([[request.history_allowed] for request in requests]),
            "item_count": np.array([[request.item_count] for request in requests], np.int32),
            **described,
        },
        # Whoever is in the log is in the catalogue, and padding counts as known.
        outputs={**answers, "history_known": [[True] * len(history) for history in histories]},
    )
