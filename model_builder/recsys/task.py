"""The task ``recsys``: what comes next for someone, from what everyone had so far."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, ClassVar

from model_builder.errors import ConfigInvalid
from model_builder.export.chain import StepChain
from model_builder.export.fused import FusedModel
from model_builder.previous import WEIGHTS, Previous
from model_builder.progress import Progress
from model_builder.recsys.answers import answer_table, calibration, recorded_answers
from model_builder.recsys.comparing import compare_models
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.content import place_items, read_placeable
from model_builder.recsys.data import data_source, load_interactions, split_interactions
from model_builder.recsys.earlier import Earlier
from model_builder.recsys.evaluation import HEADLINE, item_counts
from model_builder.recsys.exporting import check_table, export_steps
from model_builder.recsys.fitting import fit_network
from model_builder.recsys.judging import judge
from model_builder.recsys.moments import asked_moments, with_gaps
from model_builder.recsys.pruning import as_learnt, pruned
from model_builder.recsys.reference import Reference
from model_builder.recsys.report import Shown, page
from model_builder.recsys.request_tensors import Request
from model_builder.recsys.second_stage import fit_second_stage
from model_builder.recsys.sizing import Shape, sizes_for
from model_builder.recsys.weights import Weights, read_weights, weights_file
from model_builder.task import Candidate, Learnt, ResolvedData, TaskConfig
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
            ExportBroken: If the catalogue is too large for a file.
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

    def pruned_from(
        self, data: ResolvedData, config: RecsysConfig, progress: Progress, learnt: Learnt
    ) -> Candidate:
        """Prune what a release had learnt from the same log, and train it until it has recovered.

        Raises:
            CannotGoOn: If its network is of another kind.
            DataFault: If the data cannot be used.
            ParityBroken: If an exported step does not answer like torch.
        """
        weights = read_weights(learnt.release, learnt.weights)
        return self._built(data, config, progress, None, weights)

    def _built(
        self,
        data: ResolvedData,
        config: RecsysConfig,
        progress: Progress,
        earlier: Earlier | None,
        learnt: Weights | None = None,
    ) -> Candidate:
        if data.label is not None:
            raise ConfigInvalid([f"--label {data.label}: a log of interactions has no label"])
        with progress.stage("read"):
            interactions = load_interactions(data.path, config, config.context)
            if earlier is not None:
                interactions = earlier.widened(interactions)
                config = earlier.sized(config)
            if config.time_gaps:
                interactions = with_gaps(interactions, data.path.name)
            splits = split_interactions(interactions, config, data.path.name)
        item_ids = interactions.item_ids
        counts = item_counts(splits, len(item_ids))
        placeable = None
        if config.base is not None:
            with progress.stage("read items"):
                kept = () if earlier is None else earlier.weights.item_ids
                placeable = read_placeable(item_ids, counts, data.path, config.base, {*kept})
        check_table(
            len(item_ids) + (0 if placeable is None else len(placeable.items.new_ids)),
            sizes_for(config, Shape.of(splits, len(item_ids))).width,
        )
        start = None if earlier is None else earlier.start(item_ids)
        if learnt is None:
            fitted = fit_network(splits, len(item_ids), config, progress, start=start)
        else:
            fitted = as_learnt(splits, item_ids, config, learnt)
        if config.prune:
            fitted = pruned(fitted, splits, len(item_ids), config, progress)
        network = fitted.network
        findings: tuple[str, ...] = ()
        if placeable is not None:
            with progress.stage("place items"):
                network, item_ids, done = place_items(network, item_ids, placeable)
            findings = (done,)
        stages = fit_second_stage(network, splits, config, progress, interactions.columns)
        judged = judge(stages.shown, splits, len(item_ids), config.seed, progress)
        if earlier is not None:
            told = earlier.measured(interactions, splits, config.seed)
            judged = replace(judged, baselines={**judged.baselines, **told})
        source = data_source(data, interactions, splits)
        source = source.model_copy(update={"findings": (*source.findings, *findings)})
        with progress.stage("export"):
            steps = export_steps(stages.first, stages.ranker, item_ids, stages.context)
        requests = [
            Request(interactions.ids(items), context=context, times=times, asked_at=asked_at)
            for items, context, (times, asked_at) in zip(
                splits.test.histories,
                stages.contexts("test"),
                asked_moments(interactions, splits.test),
                strict=True,
            )
        ]
        with progress.stage("compare"):
            models = (StepChain(steps), FusedModel(steps, RECOMMEND))
            reference = Reference(
                network, stages.ranker, item_ids, stages.first.shortlist, stages.context
            )
            answers, (parity, fused_parity) = compare_models(models, reference, requests)
        described = stages.described(config.seed)
        details: dict[str, Any] = {"stages": described}
        if earlier is not None:
            details["warm_start"] = earlier.taken_over(interactions)
        return Candidate(
            line=RECOMMEND.line,
            steps=steps,
            data=source,
            metrics=judged.metrics,
            baselines=judged.baselines,
            parity=parity,
            fused_parity=fused_parity,
            answers=answer_table(requests, answers, interactions.ids(splits.test.targets)),
            recorded=recorded_answers(
                requests, answers, stages.context, time_gaps=reference.time_gaps
            ),
            calibration=calibration(splits, interactions, stages.context, config.seed),
            features=() if stages.context is None else stages.context.features,
            item_count=len(item_ids),
            details=details,
            headline=HEADLINE,
            chosen={**asdict(fitted.sizes), "training": fitted.training.model_dump(mode="json")},
            extra_files={
                "report.html": page(Shown(source, judged, fitted, described)),
                WEIGHTS: weights_file(network, item_ids),
            },
        )


TASK = RecsysTask()
