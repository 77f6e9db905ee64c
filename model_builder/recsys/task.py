"""The task ``recsys``: what comes next for someone, from what everyone had so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import ClassVar

import numpy as np
import onnx
import pyarrow as pa
import torch

from model_builder.errors import ConfigInvalid
from model_builder.export.ensemble import StepChain
from model_builder.export.fused import FusedModel
from model_builder.export.onnx import export_core
from model_builder.previous import WEIGHTS, Previous
from model_builder.progress import Progress
from model_builder.proof.recorded import Recorded
from model_builder.recsys.comparing import compare_models
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.content import place_new_items
from model_builder.recsys.data import data_source, load_interactions, split_interactions
from model_builder.recsys.decode_graph import decode_graph
from model_builder.recsys.earlier import Earlier
from model_builder.recsys.encode_graph import encode_graph
from model_builder.recsys.evaluation import HEADLINE
from model_builder.recsys.fitting import fit_network
from model_builder.recsys.judging import judge
from model_builder.recsys.ranking import OUTPUTS, Ranker
from model_builder.recsys.reference import Reference, Request, Tensors
from model_builder.recsys.report import Shown, page
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.recsys.weights import weights_file
from model_builder.task import Candidate, ResolvedData, StepModel, TaskConfig
from triton_models.signatures import RECOMMEND


class RecsysTask:
    """Builds releases of the line ``recommend``."""

    name: ClassVar[str] = "recsys"
    summary: ClassVar[str] = "Recommends the next item from a log of who had what, when."
    default_data: ClassVar[str] = "movielens-latest-small"
    config_type: ClassVar[type[TaskConfig]] = RecsysConfig

    def build(self, data: ResolvedData, config: RecsysConfig, progress: Progress) -> Candidate:
        """Train, evaluate and export.

        Raises:
            ConfigInvalid: If a label is asked for.
            DataFault: If the data cannot be used.
            ParityBroken: If an exported step does not answer like torch.
        """
        return self._built(data, config, progress, None)

    def build_from(
        self, data: ResolvedData, config: RecsysConfig, progress: Progress, previous: Previous
    ) -> Candidate:
        """Train on from an earlier release, and ask it what it would have answered.

        Raises:
            CannotGoOn: If the release is of another line, or its network of another kind.
            ConfigInvalid: If a label is asked for, or another size of the network.
            DataFault: If the data cannot be used.
            ParityBroken: If an exported step does not answer like torch.
        """
        return self._built(data, config, progress, Earlier.of(previous))

    def _built(
        self, data: ResolvedData, config: RecsysConfig, progress: Progress, earlier: Earlier | None
    ) -> Candidate:
        if data.label is not None:
            raise ConfigInvalid([f"--label {data.label}: a log of interactions has no label"])
        with progress.stage("read"):
            interactions = load_interactions(data.path, config)
            if earlier is not None:
                interactions = earlier.widened(interactions)
                config = earlier.sized(config)
            splits = split_interactions(interactions, config, data.path.name)
        item_ids = interactions.item_ids
        start = None if earlier is None else earlier.start(item_ids)
        fitted = fit_network(splits, len(item_ids), config, progress, start=start)
        network = fitted.network
        findings: tuple[str, ...] = ()
        if config.base is not None:
            with progress.stage("place new items"):
                network, item_ids, done = place_new_items(network, item_ids, data.path, config.base)
            findings = (done,)
        judged = judge(network, splits, len(item_ids), config.seed, progress)
        if earlier is not None:
            told = earlier.measured(interactions, splits, config.seed)
            judged = replace(judged, baselines={**judged.baselines, **told})
        source = data_source(data, interactions, splits)
        source = source.model_copy(update={"findings": (*source.findings, *findings)})
        with progress.stage("export"):
            steps = export_steps(network, item_ids)
        requests = [Request(interactions.ids(items)) for items in splits.test.histories]
        with progress.stage("compare"):
            models = (StepChain(steps), FusedModel(steps, RECOMMEND))
            answers, (parity, fused_parity) = compare_models(
                models, Reference(network, item_ids), requests
            )
        return Candidate(
            line="recommend",
            steps=steps,
            data=source,
            metrics=judged.metrics,
            baselines=judged.baselines,
            parity=parity,
            fused_parity=fused_parity,
            answers=_answer_table(requests, answers),
            recorded=_recorded(requests, answers),
            item_count=len(item_ids),
            details={} if earlier is None else {"warm_start": earlier.taken_over(interactions)},
            headline=HEADLINE,
            chosen={**asdict(fitted.sizes), "training": fitted.training.model_dump(mode="json")},
            extra_files={
                "report.html": page(Shown(source, judged, fitted)),
                WEIGHTS: weights_file(network, item_ids),
            },
        )


def export_steps(network: NextItemNetwork, item_ids: tuple[str, ...]) -> tuple[StepModel, ...]:
    """Return the steps of a release: IDs to items, items to the best items, items to IDs."""
    ranker = Ranker(network).eval()
    length = network.history_length
    return (
        StepModel("encode", "pre", encode_graph(item_ids, length)),
        StepModel("rank", "core", _rank_graph(ranker, length)),
        StepModel("decode", "post", decode_graph(item_ids, length, ranker.count)),
    )


def _rank_graph(ranker: Ranker, length: int) -> onnx.ModelProto:
    sizes = {"history": length, "candidates": 3, "candidates_given": 1, "excluded": 5}
    examples = {name: torch.ones(2, size, dtype=torch.int32) for name, size in sizes.items()}
    return export_core(ranker, examples, OUTPUTS, {"candidates": {1: "C"}, "excluded": {1: "X"}})


def _answer_table(requests: list[Request], answers: Tensors) -> pa.Table:
    given = answers["item_ids"] != ""  # a small catalogue may have fewer than asked for
    found = {
        name: [row[there].tolist() for row, there in zip(answers[name], given, strict=True)]
        for name in ("item_ids", "scores")
    }
    strings, numbers = pa.list_(pa.string()), pa.list_(pa.float64())
    return pa.table(
        {
            "history_item_ids": pa.array([list(r.history) for r in requests], strings),
            "item_ids": pa.array(found["item_ids"], strings),
            "scores": pa.array(found["scores"], numbers),
        }
    )


def _recorded(requests: Sequence[Request], answers: Tensors) -> Recorded:
    rows = len(requests)
    histories = [list(request.history) for request in requests]
    nothing = np.full((rows, 1), "", np.object_)
    return Recorded(
        inputs={
            "history_item_ids": histories,
            "candidate_item_ids": nothing,
            "excluded_item_ids": nothing,
            "history_allowed": np.array([[request.history_allowed] for request in requests]),
            "item_count": np.array([[request.item_count] for request in requests], np.int32),
        },
        # Whoever is in the log is in the catalogue, and padding counts as known.
        outputs={**answers, "history_known": [[True] * len(history) for history in histories]},
    )


TASK = RecsysTask()
