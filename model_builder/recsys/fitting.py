"""From what is learnt from to a trained network."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from model_builder.evaluation.metrics import ndcg_at
from model_builder.progress import Progress
from model_builder.recsys.company import company_vectors
from model_builder.recsys.config import RecsysConfig
from model_builder.recsys.data import Splits
from model_builder.recsys.evaluation import item_counts, network_ranks
from model_builder.recsys.precision import as_computed
from model_builder.recsys.sizing import Shape, Sizes, sizes_for
from model_builder.recsys.transformer import NextItemNetwork
from model_builder.recsys.windows import Batch, WindowBatches
from model_builder.training.config import TrainingConfig
from model_builder.training.loop import Epoch, FitSettings, fit


@dataclass(frozen=True)
class Fitted:
    """A network that has learnt."""

    network: NextItemNetwork
    sizes: Sizes
    training: TrainingConfig
    epochs: tuple[Epoch, ...]
    """How it learnt."""


def fit_network(
    splits: Splits,
    item_count: int,
    config: RecsysConfig,
    progress: Progress,
    watch: Callable[[int, float], None] | None = None,
    start: Callable[[NextItemNetwork], None] | None = None,
) -> Fitted:
    """Lay out the items' vectors, then train until the validation split no longer gains.

    Args:
        splits: What is learnt from, and what is asked of the validation split.
        item_count: The size of the catalogue.
        config: Hyperparameters.
        progress: Shows the training.
        watch: Is told the number of each epoch and its NDCG@10; what it raises ends the training.
        start: Is given the network once its items are laid out, to change what it starts from.
    """
    training = as_computed(config.training)
    sizes = sizes_for(config, Shape.of(splits, item_count))
    network = network_of(splits, item_count, sizes, training.label_smoothing)
    if config.neighbours:
        with progress.stage("lay out items"):
            vectors = company_vectors(
                splits.training, item_count, config.neighbours, sizes.width, config.seed
            )
            network.lay_out(torch.from_numpy(vectors))
    if start is not None:
        start(network)
    batches = WindowBatches(splits.training, sizes.history_length, sizes.batch_size, config.seed)
    epochs = itertools.count()

    def validate(model: NextItemNetwork) -> float:
        validation = ndcg_at(network_ranks(model, splits.validation), 10)
        if watch is not None:
            watch(next(epochs), validation)
        return validation

    result = fit(
        network,
        batches=batches,
        steps=batches.steps(sizes.epochs),
        loss=surprise,
        validate=validate,
        settings=FitSettings(
            epochs=sizes.epochs,
            batch_size=sizes.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            patience=sizes.patience,
            training=training,
        ),
        weigh=labels_in,
        progress=progress,
    )
    return Fitted(network, sizes, training, result.history)


def network_of(
    splits: Splits, item_count: int, sizes: Sizes, label_smoothing: float
) -> NextItemNetwork:
    """Return a network of these sizes that has learnt nothing but how popular items are."""
    return NextItemNetwork(
        torch.from_numpy(item_counts(splits, item_count)),
        width=sizes.width,
        layers=sizes.layers,
        heads=sizes.heads,
        history_length=sizes.history_length,
        dropout=sizes.dropout,
        negatives=sizes.negatives,
        label_smoothing=label_smoothing,
        time_gaps=sizes.time_gaps,
    )


def surprise(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the mean cross-entropy of a batch of windows, ``()``."""
    return network(batch["history"], batch["labels"], gaps=batch.get("gaps"))


def labels_in(batch: Batch) -> float:
    """Return how many items a batch asks for."""
    return float((batch["labels"] > 0).sum())
