"""Trains the networks of an image release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from model_builder.diagnosis.class_weights import class_weights
from model_builder.diagnosis.image.augmenting import Augmenter
from model_builder.diagnosis.image.config import ImageConfig
from model_builder.diagnosis.image.dataset import ImageData, Part
from model_builder.diagnosis.image.network import Members
from model_builder.diagnosis.image.preparing import Prepare, unit
from model_builder.diagnosis.image.pruning import (
    kept_members,
    prune_channels,
    recovering,
    share_of_channels,
    start_from,
)
from model_builder.progress import Progress
from model_builder.task import Learnt
from model_builder.training.loop import FitResult, FitSettings, fit
from model_builder.training.seeding import seed_everything

_VALIDATIONS = 20
"""In the training of a member, however long it is."""
_ROWS_AT_ONCE = 256

Answers = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]


class Batch(NamedTuple):
    """Some rows of the training data."""

    images: torch.Tensor
    """``(B, C, Y, X)`` float32, prepared."""
    truth: torch.Tensor
    """``(B, K)`` float32, the share of each class."""


class ImageBatches(Sequence[Batch]):
    """The batches of one part of the training, each made when it is asked for.

    Rows come in a random order until all have come, then in another one. What a place holds
    depends on nothing but the seed and the place.
    """

    def __init__(
        self, part: Part, prepare: Prepare, config: ImageConfig, *, classes: int, seed: int,
        first: int, count: int,
    ) -> None:  # fmt: skip
        """Give ``count`` batches.

        Args:
            part: The training rows.
            prepare: Makes what a network sees.
            config: How large batches are, and how images are changed.
            classes: K.
            seed: Of the order and the changes.
            first: The number of the first one in the whole training.
            count: How many.
        """
        self._part = part
        self._prepare = prepare
        self._config = config
        self._classes = classes
        self._seed = seed
        self._first = first
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> Batch:  # type: ignore[override]
        if not 0 <= place < self._count:
            raise IndexError(place)
        number = self._first + place
        rows = self._rows(number)
        generator = torch.Generator().manual_seed(_mixed(self._seed, number))
        how = self._config.augment.after(number / self._config.steps_taken)
        augmenter = Augmenter(how, generator)
        images = unit(torch.from_numpy(self._part.pixels[rows]))
        truth = functional.one_hot(torch.from_numpy(self._part.target[rows]), self._classes).float()
        images = self._prepare.normalised(augmenter(images))
        mixed, truth = augmenter.mixed(images, truth)
        return Batch(mixed.contiguous(memory_format=torch.channels_last), truth)

    def _rows(self, number: int) -> npt.NDArray[np.int64]:
        """Return the rows of a batch: the next ones of the order that is running."""
        rows, size = len(self._part), self._config.batch_size
        begin = number * size
        found = []
        while size:
            order = np.random.default_rng((self._seed, begin // rows)).permutation(rows)
            some = order[begin % rows : begin % rows + size]
            found.append(some)
            begin, size = begin + len(some), size - len(some)
        return np.concatenate(found)


@dataclass(frozen=True)
class Fitted:
    """Trained networks, and what they answer."""

    data: ImageData
    prepare: Prepare
    members: Members
    results: tuple[FitResult, ...]

    @cached_property
    def train_answers(self) -> Answers:
        """``logits (rows, K)``, ``maps`` and ``features (rows, D)`` of the training rows."""
        return answers(self.prepare, self.members, self.data.train.pixels)

    @cached_property
    def validation_answers(self) -> Answers:
        """The same of the validation rows."""
        return answers(self.prepare, self.members, self.data.validation.pixels)

    @cached_property
    def test_answers(self) -> Answers:
        """The same of the test rows."""
        return answers(self.prepare, self.members, self.data.test.pixels)


def train_members(
    data: ImageData,
    prepare: Prepare,
    network: Callable[[], nn.Module],
    config: ImageConfig,
    progress: Progress,
    learnt: Learnt | None = None,
) -> Fitted:
    """Train as many networks as there are to be members, one after the other.

    Args:
        data: Read and split.
        prepare: Makes what the networks see.
        network: Makes one that is not trained.
        config: Hyperparameters.
        progress: Shows the training of each.
        learnt: Instead of training from the start: what the same networks had learnt.

    Raises:
        CannotGoOn: If what was learnt is of other networks.
        TrainingDiverged: If a loss is not finite.
        StrategyDoesNotApply: If the network is not made for a setting.
    """
    members, results = [], []
    count = config.members if config.base is None else 1
    for number in range(count):
        seed = _mixed(config.seed, number) if number else config.seed
        seed_everything(seed)
        member = network()
        of_all = "" if count == 1 else f" {number + 1} of {count}"
        if learnt is None:
            stage = f"train{of_all}"
            results.append(_train(member, data, prepare, config, seed, stage, progress))
        else:
            start_from(member, f"networks.{number}.", learnt)
        members.append(member.eval())
    if config.prune:
        share = share_of_channels(count, config.prune)
        members = _best(members, kept_members(count, config.prune), data, prepare, config)
        results = []
        for number, member in enumerate(members, start=1):
            if share > 0:
                prune_channels(member, prepare(torch.from_numpy(data.train.pixels[:2])), share)
                stage, again = f"recover {number} of {len(members)}", recovering(config)
                seed = _mixed(config.seed, count + number)
                results.append(_train(member, data, prepare, again, seed, stage, progress))
    return Fitted(data, prepare, Members(members).eval(), tuple(results))


def _best(
    members: list[nn.Module], count: int, data: ImageData, prepare: Prepare, config: ImageConfig
) -> list[nn.Module]:
    """Return so many of the networks, those with the least loss on the validation rows."""
    truth = torch.from_numpy(data.validation.target)
    weights = class_weights(data.train.target, len(data.labels), config)
    losses = []
    for member in members:
        logits = torch.from_numpy(answers(prepare, member, data.validation.pixels)[0])
        losses.append(float(functional.cross_entropy(logits, truth, weights)))
    kept = sorted(np.argsort(losses, kind="stable")[:count].tolist())
    return [members[place] for place in kept]


def _train(
    model: nn.Module,
    data: ImageData,
    prepare: Prepare,
    config: ImageConfig,
    seed: int,
    stage: str,
    progress: Progress,
) -> FitResult:
    classes = len(data.labels)
    epochs = min(_VALIDATIONS, config.steps_taken)
    begins = epoch_begins(config.steps_taken, epochs)
    truth = torch.from_numpy(data.validation.target)
    weights = class_weights(data.train.target, classes, config)

    def batches(epoch: int) -> ImageBatches:
        first, end = begins[epoch : epoch + 2]
        return ImageBatches(
            data.train, prepare, config,
            classes=classes, seed=seed, first=first, count=end - first,
        )  # fmt: skip

    def validate(judged: nn.Module) -> float:
        logits = answers(prepare, judged, data.validation.pixels)[0]
        return -float(functional.cross_entropy(torch.from_numpy(logits), truth, weights))

    # Convolutions on a CPU are a fifth faster where the channels lie last in memory.
    model.to(memory_format=torch.channels_last)
    return fit(
        model,
        batches=batches,
        steps=config.steps_taken,
        loss=partial(
            soft_cross_entropy,
            weights=weights,
            smoothing=config.training.label_smoothing,
        ),
        validate=validate,
        settings=FitSettings(
            epochs=epochs,
            batch_size=config.batch_size,
            learning_rate=config.highest_rate,
            weight_decay=config.weight_decay,
            patience=config.patience,
            training=config.training,
        ),
        progress=progress,
        stage=stage,
    )


def epoch_begins(steps: int, epochs: int) -> list[int]:
    """Return the first step of each epoch, and the end of the last.

    Where it does not come out even, the first epochs have a step more.
    """
    each, longer = divmod(steps, epochs)
    return [epoch * each + min(epoch, longer) for epoch in range(epochs + 1)]


def soft_cross_entropy(
    model: nn.Module, batch: Batch, weights: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Return the mean loss against shares of classes, ``()``."""
    truth = batch.truth
    shares = truth * (1 - smoothing) + smoothing / truth.shape[1]
    logs = model(batch.images)[0].float().log_softmax(1)
    counts = (truth * weights.to(truth.device)).sum(1)  # (B,)
    return -((shares * logs).sum(1) * counts).mean()


def answers(prepare: Prepare, model: nn.Module, pixels: npt.NDArray[np.uint8]) -> Answers:
    """Return ``logits (rows, K)``, ``maps (rows, K, y, x)`` and ``features (rows, D)``.

    Args:
        prepare: Makes what the network sees.
        model: In eval mode.
        pixels: ``(rows, Y, X, C)`` uint8.
    """
    given = torch.from_numpy(pixels)
    with torch.no_grad():
        parts = [model(prepare(part)) for part in given.split(_ROWS_AT_ONCE)]
    logits, maps, features = (torch.cat(some).float().numpy() for some in zip(*parts, strict=True))
    return logits, maps, features


def _mixed(seed: int, number: int) -> int:
    """Return another seed for each pair."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
