"""Releases made on the spot: two small ONNX steps each, fit for Triton, learned from nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import spox
import spox.opset.ai.onnx.ml.v3 as ml
import spox.opset.ai.onnx.v18 as op

from model_builder.build import stage_release
from model_builder.task import Candidate, StepModel, TaskConfig
from triton_models.release import DataSource, FeatureSpec, Manifest, Metric, Routes, RouteTarget
from triton_models.store import ReleaseStore, Sign

ITEMS = ("m1", "m2", "ü")
WORK, SIZE = "work", "size"
"""The diagnosis's measurements: how many rounds it counts before it answers, and a number."""


def recommender() -> Candidate:
    """Recommends the candidates as they came, '' if unknown, with their place as the score."""
    names = {
        "history_item_ids": spox.argument(spox.Tensor(np.str_, ("B", "T"))),
        "candidate_item_ids": spox.argument(spox.Tensor(np.str_, ("B", "C"))),
        "excluded_item_ids": spox.argument(spox.Tensor(np.str_, ("B", "X"))),
    }
    numbers = range(1, len(ITEMS) + 1)
    codes = {
        name.replace("item_ids", "codes"): ml.label_encoder(
            ids, keys_strings=ITEMS, values_int64s=numbers, default_int64=0
        )
        for name, ids in names.items()
    }
    encode = spox.build(names, codes)
    inputs = {
        "history_codes": spox.argument(spox.Tensor(np.int64, ("B", "T"))),
        "candidate_codes": spox.argument(spox.Tensor(np.int64, ("B", "C"))),
        "excluded_codes": spox.argument(spox.Tensor(np.int64, ("B", "X"))),
        "history_allowed": spox.argument(spox.Tensor(np.bool_, ("B", 1))),
        "item_count": spox.argument(spox.Tensor(np.int32, ("B", 1))),
    }
    candidates = inputs["candidate_codes"]
    places = op.cast(op.unsqueeze(candidates, op.const([2])), to=np.int32)
    scores = op.div(
        op.cast(candidates, to=np.float32), op.cast(inputs["item_count"], to=np.float32)
    )
    outputs = {
        "item_ids": ml.label_encoder(
            candidates, keys_int64s=numbers, values_strings=ITEMS, default_string=""
        ),
        "scores": scores,
        "because_positions": op.concat([places, op.neg(places)], axis=2),
    }
    for name in ("history", "candidate", "excluded"):
        known = op.greater(inputs[f"{name}_codes"], op.const(np.int64(0)))
        outputs[f"{name}_known"] = known
    answer = spox.build(inputs, outputs)
    steps = (StepModel("encode", "pre", encode), StepModel("answer", "post", answer))
    return _candidate("recommend", steps, item_count=len(ITEMS))


def diagnoser(labels: tuple[str, ...] = ("big", "small")) -> Candidate:
    """Counts to ``work``, then calls ``size`` above 0 big: as slow as a test wants.

    It finds none of the labels beyond the first two. The step `work` fails where ``work`` is below
    0 in all rows.
    """
    numbers = spox.argument(spox.Tensor(np.float32, ("B", 2)))
    first = op.slice(numbers, op.const([0]), op.const([1]), op.const([1]))
    rounds = op.cast(op.reduce_max(first, keepdims=0), to=np.int64)

    def count(_number: spox.Var, _go_on: spox.Var, sum_: spox.Var) -> list[spox.Var]:
        return [op.const(np.array(True)), op.add(sum_, op.const(np.float32(1)))]

    (counted,) = op.loop(rounds, v_initial=[op.const(np.float32(0))], body=count)
    # There is one number to pick: what is below 0 asks for another, and ONNX Runtime refuses.
    place = op.max([op.neg(rounds), op.const(np.int64(0))])
    picked = op.gather(op.const(np.zeros(1, np.float32)), place)
    no_matter = op.add(op.mul(counted, op.const(np.float32(0))), picked)
    second = op.slice(numbers, op.const([1]), op.const([2]), op.const([1]))
    work = spox.build({"numbers": numbers}, {"logit": op.add(second, no_matter)})

    logit = spox.argument(spox.Tensor(np.float32, ("B", 1)))
    big = op.sigmoid(logit)
    none = op.mul(logit, op.const(np.float32(0)))
    more = [none] * (len(labels) - 2)
    per_label = op.concat([logit, op.neg(logit), *more], axis=1)
    nothing = op.concat([none] * len(labels), axis=1)
    outputs = {
        "probabilities": op.concat([big, op.sub(op.const(np.float32(1)), big), *more], axis=1),
        "contributions": op.concat(
            [op.unsqueeze(one, op.const([1])) for one in (nothing, per_label)], axis=1
        ),
        "input_rules": op.cast(op.concat([none, none], axis=1), to=np.int32),
    }
    answer = spox.build({"logit": logit}, outputs)
    steps = (StepModel("work", "core", work), StepModel("answer", "post", answer))
    features = tuple(FeatureSpec(name=name, kind="number") for name in (WORK, SIZE))
    return _candidate("diagnose-measurements", steps, features=features, labels=labels)


def scorer() -> Candidate:
    """Takes the sigmoid of the one number for the risk, and scores everybody 500."""
    numbers = spox.argument(spox.Tensor(np.float32, ("B", 1)))
    decode = spox.build({"numbers": numbers}, {"logit": op.neg(op.neg(numbers))})
    logit = spox.argument(spox.Tensor(np.float32, ("B", 1)))
    none = op.mul(logit, op.const(np.float32(0)))
    outputs = {
        "default_probability": op.sigmoid(logit),
        "score": op.add(none, op.const(np.float32(500))),
        "contributions": op.neg(logit),
        "input_rules": op.cast(none, to=np.int32),
    }
    answer = spox.build({"logit": logit}, outputs)
    steps = (StepModel("decode", "pre", decode), StepModel("answer", "post", answer))
    return _candidate("score-risk", steps, features=(FeatureSpec(name=SIZE, kind="number"),))


def publish(
    store: ReleaseStore,
    candidate: Candidate,
    release: str,
    sign: Sign | None = None,
    **changes: Any,
) -> Manifest:
    """Put a release into the store; ``changes`` make its manifest say what is not so."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = stage_release(candidate, TaskConfig(), release, Path(folder))
        manifest = manifest.model_copy(update=changes)
        store.publish(manifest, Path(folder), {}, sign)
    return manifest


def route(store: ReleaseStore, *names: str) -> None:
    """Add a route file: each of ``line/release`` gets all calls of its line."""
    number, _ = store.routes()
    lines = {
        line: (RouteTarget(release=release),)
        for line, _, release in (name.partition("/") for name in names)
    }
    store.add_routes(Routes(lines=lines), after=number)


def diagnoser_store(path: Path) -> ReleaseStore:
    """Make a store with the diagnoser, routed."""
    store = ReleaseStore(path)
    publish(store, diagnoser(), "r1")
    route(store, "diagnose-measurements/r1")
    return store


def _candidate(line: str, steps: tuple[StepModel, ...], **fields: Any) -> Candidate:
    return Candidate(
        line=line,
        steps=steps,
        data=DataSource(name="nothing", sha256="0" * 64, rows=0, generated=True),
        metrics={"test": {"auc": Metric(value=0.5, low=0, high=1)}},
        baselines={},
        parity={},
        fused_parity={},
        answers=pa.table({}),
        **fields,
    )
