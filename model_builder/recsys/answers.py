"""What a recommender answers to the test split: as a client sees it, and as tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from model_builder.proof.recorded import Column, Recorded, calibration_rows
from model_builder.recsys.context import Context, Value, context_rows
from model_builder.recsys.data import Interactions, Splits
from model_builder.recsys.moments import asked_moments
from model_builder.recsys.rank_fitting import training_questions
from model_builder.recsys.request_tensors import Request, Tensors
from model_builder.remeasuring import TARGET_ITEM


def answer_table(
    requests: Sequence[Request], answers: Tensors, targets: Sequence[str] = ()
) -> pa.Table:
    """Return a row for each request; ``context`` is JSON, name to value, where there is any.

    Times are whole seconds since 1970, 0 where they are not known, where there are any.

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
    if any(request.times for request in requests):
        whole = pa.int64()
        columns["history_times"] = pa.array([list(r.times) for r in requests], pa.list_(whole))
        columns["request_time"] = pa.array([r.asked_at for r in requests], whole)
    if len(targets):
        columns[TARGET_ITEM] = pa.array(list(targets), pa.string())
    if "input_rules" in answers:
        columns["context"] = pa.array([json.dumps(dict(r.context)) for r in requests], pa.string())
    return pa.table(columns)


def recorded_answers(
    requests: Sequence[Request],
    answers: Tensors,
    context: Context | None = None,
    *,
    time_gaps: bool = False,
) -> Recorded:
    """Return what goes in and must come out, row by row.

    Args:
        requests: What is asked.
        answers: What is answered.
        context: What is read of a request's context; ``None``: nothing.
        time_gaps: Whether times are read.
    """
    known = [[True] * len(request.history) for request in requests]
    # Whoever is in the log is in the catalogue, and padding counts as known.
    inputs = _inputs(requests, context, time_gaps=time_gaps)
    return Recorded(inputs, {**answers, "history_known": known})


def calibration(
    splits: Splits, interactions: Interactions, context: Context | None, seed: int
) -> Recorded | None:
    """Return some of the questions that the ranker learnt from; ``None`` if there were none."""
    asked = training_questions(splits.training, seed)
    if not len(asked):
        return None
    asked = asked.chosen(calibration_rows(len(asked), seed))
    contexts: Sequence[Mapping[str, Value]] = [{}] * len(asked)
    if context is not None and asked.places is not None:
        contexts = context_rows(interactions.columns, asked.places)
    time_gaps = splits.training.gaps is not None
    moments = asked_moments(interactions, asked)
    requests = [
        Request(interactions.ids(history), context=described, times=times, asked_at=asked_at)
        for history, described, (times, asked_at) in zip(
            asked.histories, contexts, moments, strict=True
        )
    ]
    return Recorded(_inputs(requests, context, time_gaps=time_gaps), {})


def _inputs(
    requests: Sequence[Request], context: Context | None, *, time_gaps: bool
) -> dict[str, Column]:
    timed: dict[str, Column] = {}
    if time_gaps:
        asked_at = np.array([[request.asked_at] for request in requests], np.int64)
        timed = {"history_times": [list(r.times) for r in requests], "request_time": asked_at}
    nothing = np.full((len(requests), 1), "", np.object_)
    described = {} if context is None else context.tensors([r.context for r in requests])
    return {
        "history_item_ids": [list(request.history) for request in requests],
        "candidate_item_ids": nothing,
        "excluded_item_ids": nothing,
        "history_allowed": np.array([[request.history_allowed] for request in requests]),
        "item_count": np.array([[request.item_count] for request in requests], np.int32),
        **described,
        **timed,
    }
