"""The training loop: one function, any network, any batches.

AdamW with decoupled weight decay (Loshchilov & Hutter 2019), a linear warm-up and a cosine
fall of the learning rate, clipped gradients, early stopping on a validation measure.
``accelerate`` places the network and the batches, so the same loop runs on a CPU, on a GPU
and under ``torchrun``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import nn

from model_builder.errors import TrainingDiverged
from model_builder.progress import Progress, Stage

Batch = TypeVar("Batch")

_NOTE_EVERY_STEPS = 10  # reading a loss waits for the device: not at every step


@dataclass(frozen=True)
class FitSettings:
    """How to train."""

    epochs: int
    batch_size: int
    """Rows of a batch; the loop only records it, the task makes the batches."""
    learning_rate: float
    """The highest, at the end of the warm-up."""
    weight_decay: float = 0.01
    patience: int = 5
    """Epochs without a better validation before training stops."""
    warmup_share: float = 0.05
    """Share of all steps in which the learning rate rises from 0."""
    clip_norm: float = 1.0
    """Longest gradient; 0 clips nothing."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training data gave."""

    number: int
    """From 0."""
    loss: float
    """Mean over the steps."""
    validation: float


@dataclass(frozen=True)
class FitResult:
    """How training went; the network itself holds the best weights."""

    best: float
    """The best validation, higher is better."""
    best_epoch: int
    epochs: int
    """Epochs run."""
    history: tuple[Epoch, ...]


def fit(
    model: nn.Module,
    *,
    batches: Callable[[int], Iterable[Batch]],
    steps: int,
    loss: Callable[[nn.Module, Batch], torch.Tensor],
    validate: Callable[[nn.Module], float],
    settings: FitSettings,
    progress: Progress,
    stage: str = "train",
) -> FitResult:
    """Train ``model`` in place and leave it on the CPU, in eval mode, with its best weights.

    Args:
        model: The network; trained as it is, not a copy.
        batches: Gives the batches of an epoch (from 0), each a tuple or dict of tensors on
            the CPU. It decides the order, and must draw it from a seed.
        steps: Batches in all epochs together; the learning rate falls over them.
        loss: The mean loss of a batch, shape ``()``. The batch is on the network's device.
        validate: How good the network is, higher is better. It is called in eval mode and
            without gradients; the network takes and gives tensors on the CPU.
        settings: How to train.
        progress: Shows one bar over all steps.
        stage: The name of that bar.

    Raises:
        TrainingDiverged: If a loss is not finite.
    """
    accelerator = Accelerator()
    optimizer = torch.optim.AdamW(_parameter_groups(model, settings), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, _warmup_cosine(steps, settings.warmup_share)
    )
    prepared, optimizer = accelerator.prepare(model, optimizer)

    history: list[Epoch] = []
    best = best_weights = None
    with progress.stage(stage, steps) as bar:
        for number in range(settings.epochs):
            prepared.train()
            total = torch.zeros((), device=accelerator.device)
            done = 0
            for batch in _placed(batches(number), accelerator.device):
                value = loss(prepared, batch)
                accelerator.backward(value)
                if settings.clip_norm > 0:
                    accelerator.clip_grad_norm_(prepared.parameters(), settings.clip_norm)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
                total += value.detach()
                done += 1
                _advance(bar, done, number, value)

            mean_loss = (total / max(done, 1)).item()
            if not math.isfinite(mean_loss):
                raise TrainingDiverged(number, mean_loss)
            prepared.eval()
            with torch.no_grad(), _fed_from_the_cpu(model, accelerator.device):
                history.append(Epoch(number, mean_loss, validate(model)))
            if best is None or history[-1].validation > best.validation:
                best, best_weights = history[-1], _copy_of_weights(model)
            elif number - best.number >= settings.patience:
                break

    assert best is not None, "epochs must be at least 1"
    assert best_weights is not None
    model.load_state_dict(best_weights)
    model.cpu().eval()
    return FitResult(best.validation, best.number, len(history), tuple(history))


def _placed(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    for batch in batches:
        yield send_to_device(batch, device)


@contextmanager
def _fed_from_the_cpu(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Let a validation know nothing of devices."""
    before = model.register_forward_pre_hook(
        lambda _, args, kwargs: (send_to_device(args, device), send_to_device(kwargs, device)),
        with_kwargs=True,
    )
    after = model.register_forward_hook(lambda _, args, given: send_to_device(given, "cpu"))
    try:
        yield
    finally:
        before.remove()
        after.remove()


def _advance(bar: Stage, steps: int, epoch: int, loss: torch.Tensor) -> None:
    note = f"epoch {epoch + 1}, loss {loss.item():.4f}" if steps % _NOTE_EVERY_STEPS == 1 else ""
    bar.advance(1, note)


def _parameter_groups(model: nn.Module, settings: FitSettings) -> list[dict[str, object]]:
    """Decay matrices only: norms and biases are scales, embeddings of rare IDs would vanish."""
    embeddings = {
        id(weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        for weight in module.parameters(recurse=False)
    }
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    decayed = [weight for weight in trained if weight.ndim >= 2 and id(weight) not in embeddings]
    chosen = {id(weight) for weight in decayed}
    return [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": [w for w in trained if id(w) not in chosen], "weight_decay": 0.0},
    ]


def _warmup_cosine(steps: int, warmup_share: float) -> Callable[[int], float]:
    """Return the factor on the learning rate at each step: 0 to 1, then to 0."""
    warmup = max(1, round(steps * warmup_share))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    return factor


def _copy_of_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
