"""The training loop: one function, any network, any batches.

``fit`` is the whole story, in the order in which it happens. What it is made of is beside it:
which weights learn (``strategies``), what moves them (``optimizers``, ``schedules``), one step
(``stepping``), where the batches come from (``feeding``), where it runs (``devices``), how it goes
on after a crash (``checkpoint``). ``accelerate`` places the network and the batches, so the same
loop runs on a CPU, on a GPU and under ``torchrun``. The settings are in ``config``; what is
written down, and where, in ``session``.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Generic

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, send_to_device
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from model_builder.errors import TrainingDiverged
from model_builder.progress import Progress, Stage
from model_builder.training.checkpoint import Keeper, Standing
from model_builder.training.devices import computed, make_accelerator, shard
from model_builder.training.feeding import Weigh, made_ahead, rows
from model_builder.training.finder import LearningRateFound, search
from model_builder.training.initialisation import initialise
from model_builder.training.memory import FreeMemory
from model_builder.training.optimizers import make_optimizer
from model_builder.training.profiling import Profile, Timer
from model_builder.training.results import Batch, Batches, Epoch, FitResult, FitSettings, Loss
from model_builder.training.resuming import Resumable, copy_of_weights
from model_builder.training.schedules import Schedule
from model_builder.training.session import Session, current_session
from model_builder.training.stepping import Stepper
from model_builder.training.strategies import adapt

__all__ = ["Batches", "Epoch", "FitResult", "FitSettings", "fit"]

_NOTE_EVERY_STEPS = 10  # reading a loss waits for the device: not at every step


def fit(
    model: nn.Module,
    *,
    batches: Callable[[int], Batches[Batch]],
    steps: int,
    loss: Loss[Batch],
    validate: Callable[[nn.Module], float],
    settings: FitSettings,
    progress: Progress,
    stage: str = "train",
    weigh: Weigh[Batch] = rows,
) -> FitResult:
    """Train ``model`` in place and leave it on the CPU, in eval mode, with its best weights.

    Args:
        model: The network; trained as it is, not a copy.
        batches: Gives the batches of an epoch (from 0). It decides the order, and must draw it
            from a seed and the epoch alone.
        steps: Batches in all epochs together; the learning rate falls over them.
        loss: The mean loss of a batch, shape ``()``. The batch is on the network's device.
        validate: How good the network is, higher is better. It is called in eval mode and
            without gradients; the network takes and gives tensors on the CPU.
        settings: How to train.
        progress: Shows one bar over all steps.
        stage: The name of that bar, and of the training in its run.
        weigh: What ``loss`` is a mean over, where a batch is computed in parts.

    Raises:
        TrainingDiverged: If a loss is not finite.
        StrategyDoesNotApply: If the network is not made for a setting.
        DeviceLacks: If the machine is not.
        LearningRateFound: If the session only looks for a learning rate.
    """
    session, config = current_session(), settings.training
    accelerator = make_accelerator(config)
    initialise(model, config)
    # A network that is spread over processes can never be put together again.
    trained = copy.deepcopy(model) if config.shard else model
    adaptation = adapt(trained, config, accelerator.num_processes)
    if config.shard:
        shard(trained, accelerator, config)
    optimizer = make_optimizer(
        trained, config, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = Schedule(optimizer, steps, config)
    adaptation.start_epoch(0)
    average = _average(trained, config.ema_decay, accelerator.device)
    with computed(trained, config), _timing(session, stage, accelerator.device) as timer:
        if accelerator.scaler is not None:  # else the wrapper only takes time, 0.15 ms a step
            optimizer = accelerator.prepare(optimizer)
        prepared = trained if config.shard else accelerator.prepare(trained)
        stepper = Stepper(accelerator, prepared, optimizer, loss, weigh, config, timer)
        prepared.train()
        if session.find_learning_rate:
            _find_learning_rate(stepper, optimizer, batches, session, settings)
        training = _Training(
            prepared=prepared,
            judged=average.module if average is not None else trained,
            average=average,
            accelerator=accelerator,
            stepper=stepper,
            schedule=schedule,
            start_epoch=adaptation.start_epoch,
            batches=batches,
            validate=validate,
            settings=settings,
            session=session,
            stage=stage,
            timer=timer,
            resumable=Resumable(accelerator, trained, optimizer, schedule, average, config.shard),
        )
        with progress.stage(stage, steps) as bar:
            standing = training.run(bar)
        accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
        trained.__dict__.pop("forward", None)  # what a lower precision was wrapped around
    if config.shard:
        adaptation = adapt(model, config)
    model.load_state_dict(standing.best_weights)
    adaptation.finish()
    model.cpu().eval()
    assert standing.best is not None, "epochs must be at least 1"
    history = tuple(standing.history)
    return FitResult(standing.best.validation, standing.best.number, len(history), history)


@dataclass
class _Training(Generic[Batch]):
    """The epochs of ``fit``."""

    prepared: nn.Module
    """Learns; wrapped by accelerate."""
    judged: nn.Module
    """Is validated and kept: the network itself, or the average of its weights."""
    average: AveragedModel | None
    accelerator: Accelerator
    stepper: Stepper[Batch]
    schedule: Schedule
    start_epoch: Callable[[int], None]
    batches: Callable[[int], Batches[Batch]]
    validate: Callable[[nn.Module], float]
    settings: FitSettings
    session: Session
    stage: str
    timer: Timer
    resumable: Resumable

    def run(self, bar: Stage) -> Standing:
        """Train from where the training stands to its end."""
        session, config = self.session, self.settings.training
        folder = session.folder / "checkpoints" if session.folder is not None else None
        self._keeper = Keeper(
            folder and folder / f"{self.stage}.pt", config, self.accelerator.num_processes
        )
        self._free = FreeMemory()
        standing = Standing()
        if session.resume:
            standing = self.resumable.restore(self._keeper, session.run_id)
            session.journal.rewind(self.stage, standing.steps)
            bar.advance(standing.steps, f"goes on after {standing.steps} steps")
        while not standing.finished and standing.epoch < self.settings.epochs:
            self._epoch(standing, bar)
            best = standing.best
            assert best is not None
            if standing.epoch - 1 - best.number >= self.settings.patience:
                break
        if self._keeper.has_written and not standing.finished:
            standing.finished = True
            self.resumable.write(self._keeper, standing)
        return standing

    def _epoch(self, standing: Standing, bar: Stage) -> None:
        number = standing.epoch
        self.start_epoch(number)
        self._learn(standing, bar)
        mean_loss = self._over_all_processes(standing) / max(standing.step, 1)
        if not math.isfinite(mean_loss):
            raise TrainingDiverged(number, mean_loss)
        epoch = Epoch(number, mean_loss, self._validation())
        self.schedule.validated(epoch.validation)
        standing.history.append(epoch)
        if standing.best is None or epoch.validation > standing.best.validation:
            standing.best, standing.best_weights = epoch, copy_of_weights(self.judged)
        standing.epoch, standing.step, standing.loss = number + 1, 0, 0.0
        values = {"epoch": number + 1, "loss": mean_loss, "validation": epoch.validation}
        self.session.journal.log(self.stage, standing.steps, values)
        if self.session.observe is not None:
            self.session.observe(self.stage, epoch)
        self._keep(standing, epoch_ended=True)
        self._free.give_back()

    def _learn(self, standing: Standing, bar: Stage) -> None:
        """Take the steps of one epoch that are not done yet."""
        self.prepared.train()
        # Kept on the device: reading it waits.
        self._total = torch.tensor(standing.loss, device=self.accelerator.device)
        batches = self.batches(standing.epoch)
        workers = self.settings.training.workers
        for batch in self.timer.data(made_ahead(batches, standing.step, workers)):
            value, norm = self.stepper.step(batch)
            self.schedule.step()
            if self.average is not None:
                self.average.update_parameters(self.resumable.model)
            self._total += value
            standing.step += 1
            standing.steps += 1
            noted = standing.step % _NOTE_EVERY_STEPS == 1
            bar.advance(1, self._note(standing, value, norm) if noted else "")
            self.timer.step()
            self._keep(standing)

    def _note(self, standing: Standing, value: torch.Tensor, norm: torch.Tensor | None) -> str:
        loss = self.accelerator.reduce(value, "mean").item()
        values = {
            "epoch": standing.epoch + 1,
            "step_loss": loss,
            "learning_rate": self.schedule.learning_rate,
        }
        if norm is not None:
            values["gradient_norm"] = norm.item()
        self.session.journal.log(self.stage, standing.steps, values)
        return f"epoch {standing.epoch + 1}, loss {loss:.4f}"

    def _validation(self) -> float:
        self.judged.eval()
        # Batches of other sizes, without gradients, would each be compiled anew.
        compiled = self.settings.training.compile != "no"
        eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
        device = self.accelerator.device
        with torch.no_grad(), eager, _fed_from_the_cpu(self.judged, device):
            value = self.validate(self.judged)
        # Processes that round differently must not stop at different epochs.
        return broadcast_object_list([value])[0]

    def _keep(self, standing: Standing, epoch_ended: bool = False) -> None:
        if self._keeper.due(standing.steps, epoch_ended):
            if not epoch_ended:
                standing.loss = self._over_all_processes(standing)
            self.resumable.write(self._keeper, standing)

    def _over_all_processes(self, standing: Standing) -> float:
        """Return the sum of the epoch's losses so far."""
        return self.accelerator.reduce(self._total, "mean").item()


def _find_learning_rate(
    stepper: Stepper[Batch],
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int], Batches[Batch]],
    session: Session,
    settings: FitSettings,
) -> None:
    def without_end() -> Iterator[Batch]:
        for epoch in itertools.count():
            yield from made_ahead(batches(epoch))

    source = without_end()
    curve = search(
        optimizer,
        lambda: stepper.step(next(source))[0].item(),
        session.find_learning_rate,
        settings.learning_rate,
    )
    raise LearningRateFound(curve)


def _average(model: nn.Module, decay: float, device: torch.device) -> AveragedModel | None:
    """Return an average that is not yet wrapped by whatever is wrapped around the network."""
    if not decay:
        return None
    average = AveragedModel(model, device, multi_avg_fn=get_ema_multi_avg_fn(decay))
    average.n_averaged = average.n_averaged.cpu()  # it is read at every step, which would wait
    return average


@contextmanager
def _timing(session: Session, stage: str, device: torch.device) -> Iterator[Timer]:
    if not session.profile or session.folder is None:
        yield Timer()
        return
    timer = Profile(session.folder / "profile", stage, device)
    try:
        yield timer
    finally:
        timer.finish()


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
